package projection

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// memoryLog is a Log that keeps records in memory, and fails when told to.
type memoryLog struct {
	inc     events.Incarnation
	records []events.Record
	appends int // calls of Append
	mu      sync.Mutex
	err     error // of the next Append; set by fail while a ledger runs
	enter   chan struct{}
	leave   chan struct{} // Append waits for it, when it is not nil
}

func newMemoryLog() *memoryLog { return &memoryLog{inc: 7} }

func (l *memoryLog) Incarnation() events.Incarnation { return l.inc }

// fail has every Append from now on return err.
func (l *memoryLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *memoryLog) Renew() (events.Incarnation, error) {
	l.inc++
	return l.inc, nil
}

func (l *memoryLog) Append(entries []events.Entry) error {
	l.appends++
	if l.leave != nil {
		l.enter <- struct{}{}
		<-l.leave
	}
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for _, e := range entries {
		end := l.End()
		l.records = append(l.records, events.Record{Number: end.Record + 1, Index: end.Index + 1, Count: e.Count,
			At: time.UnixMicro(int64(end.Record) + 1).UTC(), Inc: e.Inc, Seq: e.Seq, Hash: e.Hash, Payload: bytes.Clone(e.Payload)})
	}
	return nil
}

func (l *memoryLog) End() events.Position {
	if len(l.records) == 0 {
		return events.Position{}
	}
	r := &l.records[len(l.records)-1]
	return events.Position{Record: r.Number, Index: r.Last(), At: r.At}
}

func (l *memoryLog) Scan(from uint64, fn func(events.Record) error) error {
	for _, r := range l.records[min(from-1, uint64(len(l.records))):] {
		r.Payload = bytes.Clone(r.Payload)
		if err := fn(r); err != nil {
			return err
		}
		for i := range r.Payload {
			r.Payload[i] = '!'
		}
	}
	return nil
}

func mustOpen(t testing.TB, log Log, start *State, from uint64) *Ledger {
	t.Helper()
	l, err := OpenLedger(log, start, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// running opens a ledger on the log and runs it until the test ends, or stop is called.
func running(t testing.TB, log Log) (l *Ledger, stop func()) {
	t.Helper()
	l = mustOpen(t, log, nil, 0)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	}
	t.Cleanup(stop)
	return l, stop
}

func realLog(t testing.TB, dir string) *events.Log {
	t.Helper()
	log, err := events.Open(dir, events.Options{Reserve: -1, MinFree: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func put(key, object string) Change {
	return Change{Kind: events.Declared, Key: key, Object: []byte(object)}
}

// set has decide return the changes, whatever the state.
func set(changes ...Change) func(*State) ([]Change, error) {
	return func(*State) ([]Change, error) { return changes, nil }
}

func mustRecord(t testing.TB, l *Ledger, changes ...Change) Receipt {
	t.Helper()
	r, err := l.Record(context.Background(), By{"someone", "to see"}, set(changes...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}
