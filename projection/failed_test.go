package projection

import (
	"errors"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// A log that has stopped for good takes nothing any more, so a ledger that went on would only refuse; its end lets
// the agent end, and be started again, which is how it is found out what the disk holds.
func TestLedger_endsWithItsLog(t *testing.T) {
	log := newMemoryLog()
	l := mustOpen(t, log, nil, 1)
	log.err = events.ErrFailed
	done := make(chan error, 1)
	go func() { done <- l.Run(t.Context()) }()
	record := func() error {
		_, err := l.Record(t.Context(), By{Actor: "test"}, func(*State) ([]Change, error) {
			return []Change{{Kind: events.Declared, Key: "service/default/web", Object: []byte("{}")}}, nil
		})
		return err
	}
	if err := record(); !errors.Is(err, events.ErrFailed) {
		t.Errorf("Record = %v, want %v", err, events.ErrFailed)
	}
	if err := <-done; !errors.Is(err, events.ErrFailed) {
		t.Errorf("Run = %v, want %v", err, events.ErrFailed)
	}
	if err := record(); !errors.Is(err, ErrClosed) {
		t.Errorf("Record afterwards = %v, want %v", err, ErrClosed)
	}
}
