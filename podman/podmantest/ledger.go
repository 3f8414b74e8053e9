package podmantest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Log is a log in memory: a projection.Log that outlives the ledgers opened on it, as a folder does.
type Log struct {
	mu      sync.Mutex
	inc     events.Incarnation
	records []events.Record
	failing error
}

// NewLog is an empty log.
func NewLog() *Log { return &Log{inc: events.NewIncarnation()} }

// Fail makes every Append fail with err, until it is told nil.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing = err
}

// Append implements projection.Log.
func (l *Log) Append(entries []events.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing != nil {
		return l.failing
	}
	for _, e := range entries {
		end := l.end()
		l.records = append(l.records, events.Record{Number: end.Record + 1, Index: end.Index + 1, Count: e.Count, At: time.Now().UTC(),
			Inc: e.Inc, Seq: e.Seq, Hash: e.Hash, Payload: e.Payload})
	}
	return nil
}

// End implements projection.Log.
func (l *Log) End() events.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end()
}

func (l *Log) end() events.Position {
	if len(l.records) == 0 {
		return events.Position{}
	}
	last := l.records[len(l.records)-1]
	return events.Position{Record: last.Number, Index: last.Index + uint64(last.Count) - 1, At: last.At}
}

// Incarnation implements projection.Log.
func (l *Log) Incarnation() events.Incarnation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inc
}

// Renew implements projection.Log.
func (l *Log) Renew() (events.Incarnation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inc = events.NewIncarnation()
	return l.inc, nil
}

// Scan implements projection.Log.
func (l *Log) Scan(from uint64, fn func(events.Record) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records[min(from-1, uint64(len(l.records))):] {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// Ledger opens a ledger on the log and runs it until the test's end, or until stop is called.
func Ledger(t testing.TB, log *Log) (ledger *projection.Ledger, stop func()) {
	t.Helper()
	ledger, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := ledger.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return ledger, stop
}
