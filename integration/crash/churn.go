package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// churn scales and changes a Deployment of its own, so that the agent is also killed in the middle of what it does with
// Podman. What that leaves must come right in the end.
type churn struct {
	rnd      *rand.Rand
	replicas int // as last applied with an answer
	turn     int
}

const churned = "churn"

// run changes the Deployment until ctx ends or the agent does not answer.
func (c *churn) run(ctx context.Context, url string) {
	for ctx.Err() == nil {
		if c.apply(context.WithoutCancel(ctx), url) != nil {
			return
		}
		next := time.NewTimer(time.Duration(c.rnd.Int64N(int64(300 * time.Millisecond))))
		select {
		case <-ctx.Done():
			next.Stop()
		case <-next.C:
		}
	}
}

func (c *churn) apply(ctx context.Context, url string) error {
	c.turn++
	n := c.rnd.IntN(3)
	_, err := trial.ApplyOnce(ctx, url, trial.Deployment(churned, n, fmt.Sprint("turn ", c.turn/3)))
	if err == nil {
		c.replicas = n
	}
	return err
}

// settle applies a last time and waits until Podman has just the containers that are wanted.
func (c *churn) settle(ctx context.Context, url string, host *podmanhost.Host) error {
	if err := c.apply(ctx, url); err != nil {
		return fmt.Errorf("apply the Deployment that changes a last time: %w", err)
	}
	_, err := trial.Pods(ctx, host, churned, c.replicas)
	return err
}
