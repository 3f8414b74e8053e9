package podman

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Info implements Engine.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var i struct {
		Host struct {
			CPUs             int
			MemTotal         int64
			OS, Kernel, Arch string
		}
		Version struct{ Version string }
	}
	if err := c.call(ctx, request{method: http.MethodGet, path: "/info"}, &i); err != nil {
		return Info{}, fmt.Errorf("ask Podman about itself: %w", err)
	}
	return Info{i.Version.Version, i.Host.CPUs, i.Host.MemTotal, i.Host.OS, i.Host.Kernel, i.Host.Arch}, nil
}

// Image implements Engine.
func (c *Client) Image(ctx context.Context, name string) (Image, error) {
	var i struct {
		ID   string `json:"Id"`
		User string
	}
	if err := c.call(ctx, request{method: http.MethodGet, path: "/images/%s/json", args: []string{name}}, &i); err != nil {
		return Image{}, fmt.Errorf("inspect image %s: %w", name, err)
	}
	return Image{i.ID, i.User}, nil
}

// Pull implements Engine.
func (c *Client) Pull(ctx context.Context, name string) error {
	query := url.Values{"reference": {name}, "policy": {"always"}, "quiet": {"true"}}
	body, err := c.stream(ctx, request{method: http.MethodPost, path: "/images/pull", query: query})
	if err != nil {
		return fmt.Errorf("pull image %s: %w", name, err)
	}
	defer body.Close()
	done := false
	for reports := json.NewDecoder(body); ; { // a 200 says only that it has begun
		var report struct {
			Error  string
			ID     string
			Images []string
		}
		switch err := reports.Decode(&report); {
		case errors.Is(err, io.EOF) && done:
			return nil
		case err != nil:
			return fmt.Errorf("pull image %s: %w", name, unavailable(ctx, err))
		case report.Error != "":
			return fmt.Errorf("pull image %s: %w", name, &Refusal{Message: report.Error})
		}
		done = done || report.ID != "" || len(report.Images) > 0
	}
}

// CreateVolume implements Engine.
func (c *Client) CreateVolume(ctx context.Context, name, owner string, labels map[string]string) error {
	err := c.call(ctx, request{method: http.MethodGet, path: "/volumes/%s/exists", args: []string{name}}, nil)
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrNotFound) {
		body := map[string]any{"Name": name, "Label": labels, "Labels": labels}
		if uid, gid, both := strings.Cut(owner, ":"); both {
			body["Options"] = map[string]string{"o": "uid=" + uid + ",gid=" + gid}
		} else if uid != "" {
			body["Options"] = map[string]string{"o": "uid=" + uid}
		}
		err = c.call(ctx, request{method: http.MethodPost, path: "/volumes/create", body: body}, nil)
	}
	if err != nil {
		return fmt.Errorf("create volume %s: %w", name, err)
	}
	return nil
}

// Volumes implements Engine.
func (c *Client) Volumes(ctx context.Context, label, value string) ([]Volume, error) {
	var all []Volume
	query := url.Values{"filters": {filters("label", label+"="+value)}}
	if err := c.call(ctx, request{method: http.MethodGet, path: "/volumes/json", query: query}, &all); err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	return all, nil
}

// RemoveVolume implements Engine.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	err := c.call(ctx, request{method: http.MethodDelete, path: "/volumes/%s", args: []string{name}}, nil)
	if absent(err) != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}

// Events implements Engine.
func (c *Client) Events(ctx context.Context, label, value string, hint func()) error {
	b, err := json.Marshal(map[string][]string{"type": {"container"}, "label": {label + "=" + value}})
	if err != nil {
		return err
	}
	query := url.Values{"stream": {"true"}, "filters": {string(b)}}
	body, err := c.stream(ctx, request{method: http.MethodGet, path: "/events", query: query})
	if err != nil {
		return fmt.Errorf("read Podman's events: %w", err)
	}
	defer body.Close()
	lines := bufio.NewReader(body)
	for {
		if _, err := lines.ReadSlice('\n'); err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("read Podman's events: %w", unavailable(ctx, err))
		}
		hint()
	}
}

// Logs implements Engine.
func (c *Client) Logs(ctx context.Context, container string, o LogOptions) (io.ReadCloser, error) {
	query := url.Values{"stdout": {"true"}, "stderr": {"true"},
		"follow": {strconv.FormatBool(o.Follow)}, "timestamps": {strconv.FormatBool(o.Timestamps)}}
	if !o.Since.IsZero() {
		query.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	if o.Limit {
		query.Set("tail", strconv.Itoa(o.Tail))
	}
	body, err := c.stream(ctx, request{method: http.MethodGet, path: "/containers/%s/logs", args: []string{container}, query: query})
	if err != nil {
		return nil, fmt.Errorf("read the logs of container %s: %w", container, err)
	}
	return &frames{ReadCloser: body}, nil
}

// frames takes apart the frames, each with a head of eight bytes, in which Podman sends stdout and stderr.
type frames struct {
	io.ReadCloser
	left uint32 // of the frame
}

// Read gives what the container has written, stdout and stderr as they came.
func (f *frames) Read(p []byte) (int, error) {
	for f.left == 0 {
		var head [8]byte
		if _, err := io.ReadFull(f.ReadCloser, head[:]); err != nil {
			return 0, err // io.EOF between frames
		}
		f.left = binary.BigEndian.Uint32(head[4:])
	}
	n, err := f.ReadCloser.Read(p[:min(len(p), int(f.left))])
	f.left -= uint32(n)
	if errors.Is(err, io.EOF) && f.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
