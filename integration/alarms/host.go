package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
)

// among is a command to run others with among the processes of a host, where they find themselves in /proc: so an agent can say since when it runs. What
// is run is the child of a process that merely waits for it, and is killed when that is.
func among(h *street.Host) []string {
	return append(slices.Insert(h.Podman.Inside(), 1, "--pid"), "setpriv", "--pdeathsig", "KILL")
}

// start starts a host's agent, and does not wait for it to do anything.
func start(h *street.Host) error {
	h.Agent.Before = among(h)
	return h.Agent.Start()
}

// up is start, and returns when the agent is ready.
func up(ctx context.Context, h *street.Host) error {
	if err := start(h); err != nil {
		return err
	}
	return h.Agent.Ready(ctx)
}

// pid is that of a host's agent itself; 0 when it does not run.
func pid(h *street.Host) (int, error) {
	if h.Agent.Ended() {
		return 0, nil
	}
	waits := h.Agent.Pid()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", waits))
	if err != nil {
		return 0, fmt.Errorf("find the agent of %s: %w", h.Name, err)
	}
	children := strings.Fields(string(b))
	if len(children) != 1 {
		return 0, fmt.Errorf("find the agent of %s: process %d has the children %v, want one", h.Name, waits, children)
	}
	return strconv.Atoi(children[0])
}

// kill kills a host's agent with SIGKILL. It is gone on return.
func kill(ctx context.Context, h *street.Host) error {
	n, err := pid(h)
	if err := errors.Join(err, h.Agent.Kill()); err != nil || n == 0 {
		return err
	}
	return until(ctx, time.Minute, func() error {
		if err := syscall.Kill(n, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("the agent of %s is still there: %v", h.Name, err)
		}
		return nil
	})
}

// terminate ends a host's agent in order.
func terminate(ctx context.Context, h *street.Host) error {
	n, err := pid(h)
	if err != nil {
		return err
	}
	if err := syscall.Kill(n, syscall.SIGTERM); err != nil {
		return fmt.Errorf("send the agent of %s SIGTERM: %w", h.Name, err)
	}
	code, err := h.Agent.Wait(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("after SIGTERM the agent of %s ended with %d", h.Name, code)
	}
	return err
}

// restart ends a host's agent and starts it again, as it is to be from now on.
func restart(ctx context.Context, h *street.Host, change func()) error {
	if err := kill(ctx, h); err != nil {
		return err
	}
	change()
	return up(ctx, h)
}
