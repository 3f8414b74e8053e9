package podmantest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/podman"
)

// written is what a program of these arguments writes.
func written(command []string) (lines []string, err error) {
	for _, arg := range command {
		var n int
		if v, ok := strings.CutPrefix(arg, "-lines="); ok {
			if _, err := fmt.Sscan(v, &n); err != nil {
				return nil, err
			}
		}
		for i := range n {
			lines = append(lines, fmt.Sprintf("out %d\n", i+1), fmt.Sprintf("err %d\n", i+1))
		}
	}
	return lines, nil
}

// SetExec has fn answer every Exec that has begun; it may wait. nil ends that: then the command is a program as all are.
func (f *Fake) SetExec(fn func(container string, command []string) (code int, output string, err error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exec = fn
}

// answered is what fn answers, unless ctx ends before: then fn goes on, as the command in a real container does.
func answered(ctx context.Context, fn func() (int, string, error)) (int, string, error) {
	type answer struct {
		code   int
		output string
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		a.code, a.output, a.err = fn()
		done <- a
	}()
	select {
	case a := <-done:
		return a.code, a.output, a.err
	case <-ctx.Done():
		return 0, "", ctx.Err()
	}
}

// Exec implements podman.Engine.
func (f *Fake) Exec(ctx context.Context, name string, command []string, begun func()) (int, string, error) {
	if err := f.asked(ctx, "Exec", name, false); err != nil {
		return 0, "", err
	}
	c, fn := f.find(name), f.exec
	runs := c != nil && c.Status.Runs()
	f.mu.Unlock()
	switch {
	case c == nil:
		return 0, "", refuse(podman.ErrNotFound, "no container with name or ID %q found: no such container", name)
	case !runs:
		return 0, "", refuse(nil, "can only create exec sessions on running containers: container state improper")
	case fn != nil:
		begun()
		return answered(ctx, func() (int, string, error) { return fn(c.Name, command) })
	case command[0] != "/web":
		return 0, "", refuse(nil, "executable file %q not found", command[0])
	}
	begun()
	after, code := program(command)
	end := time.NewTimer(after)
	defer end.Stop()
	select {
	case <-end.C:
	case <-ctx.Done():
		return 0, "", fmt.Errorf("exec in %s: %w", name, ctx.Err())
	}
	lines, err := written(command)
	return code, strings.Join(lines, ""), err
}
