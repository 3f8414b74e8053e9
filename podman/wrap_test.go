package podman_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/podman-swarm/podman-swarm/podman"
)

// losesAnswers is an engine whose first n creates are done, and their answers lost. With hide it does not list what
// does not run yet, either.
type losesAnswers struct {
	podman.Engine
	n    int32
	hide bool
	done atomic.Int32
}

// killsForMemory is an engine of whose containers the kernel has ended each that has ended.
type killsForMemory struct{ podman.Engine }

func (e killsForMemory) Inspect(ctx context.Context, name string) (podman.Container, error) {
	c, err := e.Engine.Inspect(ctx, name)
	c.OOMKilled = c.Status.Ended()
	return c, err
}

func (e *losesAnswers) Create(ctx context.Context, spec *podman.Spec) (string, error) {
	id, err := e.Engine.Create(ctx, spec)
	if err == nil && e.done.Add(1) <= e.n {
		return "", fmt.Errorf("create %s: %w", spec.Name, context.DeadlineExceeded)
	}
	return id, err
}

func (e *losesAnswers) List(ctx context.Context, label, value string) ([]podman.Container, error) {
	all, err := e.Engine.List(ctx, label, value)
	if e.hide {
		all = slices.DeleteFunc(all, func(c podman.Container) bool { return !c.Status.Runs() })
	}
	return all, err
}
