package street

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
)

// ClusterPort is where agents listen for each other, on their host's address on the street.
const ClusterPort = 6222

// ClusterAddr is where the host's agent listens for others.
func (h *Host) ClusterAddr() string { return fmt.Sprintf("%s:%d", h.Addr(), ClusterPort) }

// Form starts the agents of the hosts as one cluster: the first makes it, the others join it with its token. No agent
// may run. On return all are ready. An agent that is started again later finds the others by itself, with its data dir
// or without.
func Form(ctx context.Context, name string, hosts []*Host) error {
	return FormBy(ctx, name, hosts, func(ctx context.Context, h *Host) error { return h.Up(ctx) })
}

// FormBy is Form for who starts agents in another way: up returns when a host's agent is ready.
func FormBy(ctx context.Context, name string, hosts []*Host, up func(context.Context, *Host) error) error {
	for _, h := range hosts {
		h.Agent.Args = append(h.Agent.Args, "--cluster-name", name, "--cluster-addr", h.ClusterAddr())
	}
	if err := up(ctx, hosts[0]); err != nil {
		return err
	}
	token, err := hosts[0].Token(ctx)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		for _, other := range hosts {
			if other != h {
				h.Agent.Args = append(h.Agent.Args, "--join", other.ClusterAddr())
			}
		}
		h.Agent.Args = append(h.Agent.Args, "--join-token", token)
	}
	together, ctx := errgroup.WithContext(ctx)
	for _, h := range hosts[1:] {
		together.Go(func() error { return up(ctx, h) })
	}
	return together.Wait()
}

// Token asks the host's agent for the token with which others join its cluster.
func (h *Host) Token(ctx context.Context) (string, error) {
	cmd := h.Command(ctx, h.Agent.Bin, "token", "--api-addr", APIAddr)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask the agent of %s for a join token: %w: %s", h.Name, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
