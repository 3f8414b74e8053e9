package trial

import (
	"context"
	"fmt"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
)

// Witnesses are running containers of one Deployment that nothing which happens to the agent may touch.
type Witnesses struct {
	Host *podmanhost.Host
	Name string // of the Deployment

	seen    []Container
	Bounced []string // each container that was touched all the same, or is one too many
}

// Begin has the agent run so many, and returns when they do. None is none.
func (w *Witnesses) Begin(ctx context.Context, url string, replicas int) error {
	if replicas == 0 {
		return nil
	}
	if _, err := ApplyOnce(ctx, url, Deployment(w.Name, replicas, "")); err != nil {
		return fmt.Errorf("apply Deployment %s of the containers that must stay: %w", w.Name, err)
	}
	var err error
	w.seen, err = Pods(ctx, w.Host, w.Name, replicas)
	return err
}

// Look compares them with what they were when last looked at.
func (w *Witnesses) Look(ctx context.Context) error {
	all, err := Containers(ctx, w.Host)
	if err != nil {
		return err
	}
	now := OfDeployment(all, w.Name)
	w.Bounced = append(w.Bounced, Bounced(w.seen, now)...)
	if len(now) > len(w.seen) {
		w.Bounced = append(w.Bounced, fmt.Sprintf("%d containers where %d are wanted: %v", len(now), len(w.seen), now))
	}
	w.seen = now
	return nil
}
