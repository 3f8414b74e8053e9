package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Lines calls fn with each JSON value of a stream, in order, until the stream ends, fn returns an error, or ctx ends.
// The bytes are fn's to keep. It returns nil at the end of the stream.
func (c *Client) Lines(ctx context.Context, path string, query url.Values, fn func(json.RawMessage) error) error {
	return c.lines(ctx, path, query, func() {}, fn)
}

// lines is Lines, and calls opened once the agent has begun to answer.
func (c *Client) lines(ctx context.Context, path string, query url.Values, opened func(), fn func(json.RawMessage) error) error {
	body, err := c.Open(ctx, Request{Path: path, Query: query})
	if err != nil {
		return err
	}
	defer body.Close()
	opened()
	d := json.NewDecoder(body)
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return c.unreachable(ctx, http.MethodGet, err)
		}
		if err := fn(raw); err != nil {
			return err
		}
	}
}

// Patience is how long Follow and Watch wait for an agent that has gone away to come back.
const Patience = time.Minute

// again opens a stream again whenever it ends, until ctx ends, open returns an error of another kind than that the
// agent is away, or it has been away for Patience. Unless it was there just now, the first try must succeed. lost is
// called each time that an agent that was there goes away.
func again(ctx context.Context, there bool, lost func(error), open func(opened func()) error) error {
	const pause = 500 * time.Millisecond
	var away time.Time // since when; zero while it has not been there yet
	told := !there
	if there {
		away = time.Now()
	}
	for {
		err := open(func() { told, away = false, time.Now() })
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		gone := IsUnreachable(err) || IsUnavailable(err)
		switch {
		case err != nil && !gone, away.IsZero(), told && time.Since(away) > Patience:
			return err
		case !told:
			told, away = gone, time.Now()
			if gone {
				lost(err)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Follow is Lines for a stream that can be taken up again: query gives the request for what comes after the last
// value that fn was given. It goes on when the agent restarts; lost is called each time that it goes away.
func (c *Client) Follow(ctx context.Context, path string, query func() url.Values, lost func(error), fn func(json.RawMessage) error) error {
	return again(ctx, false, lost, func(opened func()) error { return c.lines(ctx, path, query(), opened, fn) })
}

// WatchEvent is the change of one object, as a watch tells it.
type WatchEvent struct {
	Type   string          `json:"type"` // ADDED, MODIFIED, DELETED
	Object json.RawMessage `json:"object"`
}

// Watch calls fn with every change of the objects at path after resourceVersion, which a list has just given, until
// ctx ends or fn returns an error. It goes on when the agent restarts; lost is called each time that it goes away. When what came after
// resourceVersion is no longer to be had, the error is IsGone.
func (c *Client) Watch(ctx context.Context, path string, query url.Values, resourceVersion string, lost func(error),
	fn func(WatchEvent) error) error {
	q := url.Values{"watch": {"true"}, "allowWatchBookmarks": {"true"}}
	maps.Copy(q, query)
	next := func() url.Values {
		q.Set("resourceVersion", resourceVersion)
		return q
	}
	one := func(raw json.RawMessage) error {
		var e WatchEvent
		if err := json.Unmarshal(raw, &e); err != nil {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		if e.Type == "ERROR" {
			s := &StatusError{Path: path}
			if err := json.Unmarshal(e.Object, &s.Status); err != nil {
				return fmt.Errorf("watch %s: %w", path, err)
			}
			s.Code = int(s.Status.Code)
			return s
		}
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(e.Object, &o); err != nil {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		resourceVersion = o.ResourceVersion
		if e.Type == "BOOKMARK" {
			return nil
		}
		return fn(e)
	}
	return again(ctx, true, lost, func(opened func()) error { return c.lines(ctx, path, next(), opened, one) })
}
