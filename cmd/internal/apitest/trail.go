package apitest

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
)

// trail is the log of an agent that hears no other.
type trail struct{ dir string }

func (t trail) Verify(ctx context.Context, known []events.Known) ([]events.Chain, error) {
	return events.Verify(ctx, filepath.Join(t.dir, "events"), nil, nil, known...)
}

func (t trail) Host(events.Incarnation) string { return Node }

func (t trail) Remembered() []api.Mark { return nil }

func (t trail) Peer(_ context.Context, host string) (holds, remembers []api.Mark, err error) {
	return nil, nil, fmt.Errorf("host %s is not heard", host)
}

func (t trail) Commits(_ context.Context, host string, _ events.Incarnation, _, _ uint64, _ func([]byte) error) error {
	return fmt.Errorf("host %s is not heard", host)
}

func (t trail) Points(_ context.Context, host string, _ events.Incarnation, _, _ uint64) ([]api.Mark, error) {
	return nil, fmt.Errorf("host %s is not heard", host)
}
