package podman

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// outputLimit is how much of what a command writes is kept, in bytes.
const outputLimit = 10 << 10

// Exec implements Engine.
func (c *Client) Exec(ctx context.Context, container string, command []string, begun func()) (int, string, error) {
	var session struct {
		ID string `json:"Id"`
	}
	err := within(ctx, quick, func(ctx context.Context) error {
		return c.call(ctx, request{method: http.MethodPost, path: "/containers/%s/exec", args: []string{container},
			body: map[string]any{"AttachStdout": true, "AttachStderr": true, "Cmd": command}}, &session)
	})
	if err != nil {
		return 0, "", fmt.Errorf("prepare a command in container %s: %w", container, err)
	}
	output, err := c.startExec(ctx, session.ID, begun)
	if err != nil {
		return 0, "", fmt.Errorf("run a command in container %s: %w", container, err)
	}
	code, err := c.execEnd(ctx, session.ID)
	if err != nil {
		return 0, "", fmt.Errorf("ask how a command in container %s ended: %w", container, err)
	}
	return code, output, nil
}

// startExec starts a prepared command and reads what it writes until it has closed its output.
func (c *Client) startExec(ctx context.Context, session string, begun func()) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(quick, cancel)
	body, err := c.stream(ctx, request{method: http.MethodPost, path: "/exec/%s/start", args: []string{session},
		body: map[string]any{"Detach": false, "Tty": false}})
	if !late.Stop() && err == nil {
		err = errors.Join(context.DeadlineExceeded, body.Close())
	}
	if err != nil {
		return "", err
	}
	defer body.Close()
	begun()
	text := &frames{ReadCloser: body}
	output, err := io.ReadAll(io.LimitReader(text, outputLimit))
	if err == nil {
		_, err = io.Copy(io.Discard, text)
	}
	if err != nil {
		return "", unavailable(ctx, err)
	}
	return string(output), nil
}

// execEnd gives the exit code once the command has ended, which Podman may say a moment after its output did.
func (c *Client) execEnd(ctx context.Context, session string) (int, error) {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		var now struct {
			Running  bool
			ExitCode int
		}
		err := within(ctx, quick, func(ctx context.Context) error {
			return c.call(ctx, request{method: http.MethodGet, path: "/exec/%s/json", args: []string{session}}, &now)
		})
		if err != nil || !now.Running {
			return now.ExitCode, err
		}
		if err := Wait(pause)(ctx); err != nil {
			return 0, err
		}
	}
}
