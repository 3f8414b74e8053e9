package podman

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/containers/podman/v5/pkg/bindings"
)

// Client is Podman's REST API at URL, an Engine. It connects when it is first asked for something, and again after
// Podman was away. Podman 4.3 and later are spoken to.
type Client struct {
	URL string // as URL gives it

	mu   sync.Mutex
	conn *bindings.Connection
}

// Refusal is what Podman answered to a request that it did not do.
type Refusal struct {
	Message string // in Podman's own words
	Class   error  // ErrNotFound, ErrNameInUse, ErrPortInUse; nil when none applies
}

// Error gives Podman's words.
func (r *Refusal) Error() string { return r.Message }

// Unwrap gives the class.
func (r *Refusal) Unwrap() error { return r.Class }

// words is what a person is to be told of an error: Podman's own words where there are any.
func words(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Message
	}
	return err.Error()
}

// request is one call of the API.
type request struct {
	method, path string // path without what all have in common; its %s are filled with the escaped args
	args         []string
	query        url.Values
	body         any
}

// connection gives the connection, made and tried if there is none.
func (c *Client) connection(ctx context.Context) (*bindings.Connection, error) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	// Without the lock, and not for ever: a Podman that takes the connection and never answers holds nobody else up.
	var with context.Context
	err := within(ctx, quick, func(ctx context.Context) (err error) {
		with, err = bindings.NewConnection(ctx, c.URL)
		return err
	})
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	if conn, err = bindings.GetClient(with); err != nil {
		return nil, err
	}
	if t, ok := conn.Client.Transport.(*http.Transport); ok {
		t.MaxIdleConnsPerHost = 32 // one for each replica that is worked on
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil { // somebody was faster
		conn.Client.CloseIdleConnections()
		return c.conn, nil
	}
	c.conn = conn
	return conn, nil
}

// drop forgets a connection that failed, so that the next request makes a new one.
func (c *Client) drop(conn *bindings.Connection) {
	conn.Client.CloseIdleConnections() // nobody else would
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn {
		c.conn = nil
	}
}

// unavailable is the error of a request that got no answer. When ctx has ended, that is why, and Podman may be well.
func unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// stream sends a request and gives the body of Podman's answer, which the caller must close. Answers with a status of
// 300 and more are Refusals, except 304: there was nothing to do.
func (c *Client) stream(ctx context.Context, r request) (io.ReadCloser, error) {
	conn, err := c.connection(ctx)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	headers := http.Header{}
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
		headers.Set("Content-Type", "application/json")
	}
	resp, err := conn.DoRequest(ctx, body, r.method, r.path, r.query, headers, r.args...)
	if err != nil {
		c.drop(conn)
		return nil, unavailable(ctx, err)
	}
	if resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp.StatusCode, resp.Body)
}

// call sends a request and decodes the answer into out; nil discards it.
func (c *Client) call(ctx context.Context, r request, out any) error {
	body, err := c.stream(ctx, r)
	if err != nil {
		return err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return unavailable(ctx, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read Podman's answer: %w", err)
	}
	return nil
}

// refusal reads an answer that is an error.
func refusal(code int, body io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(body, 1<<20))
	var answer struct{ Message string }
	if err != nil || json.Unmarshal(b, &answer) != nil || answer.Message == "" {
		answer.Message = strings.TrimSpace(fmt.Sprintf("Podman answered %d %s", code, b))
	}
	return &Refusal{answer.Message, class(code, answer.Message)}
}

// class tells the refusals that are acted upon. Podman has no code for most of them but its text, which has been the
// same since version 3.
func class(code int, message string) error {
	switch {
	case strings.Contains(message, "name is already in use"), strings.HasSuffix(message, "container already exists"):
		return ErrNameInUse
	case strings.Contains(message, "address already in use"), strings.Contains(message, "port is already allocated"):
		return ErrPortInUse
	case code == http.StatusNotFound, strings.HasSuffix(message, "image not known"):
		return ErrNotFound
	}
	return nil
}

// filters is the query that Podman's lists take.
func filters(kind string, values ...string) string {
	b, err := json.Marshal(map[string][]string{kind: values})
	if err != nil { // texts always marshal
		return ""
	}
	return string(b)
}

// absent is nil for the error that says that there is no such thing.
func absent(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
