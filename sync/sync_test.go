package sync

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// air is a Bus for hosts in one process: what one publishes all others hear that are not cut off.
type air struct {
	mu   gosync.Mutex
	subs []*sub
	cut  map[string]bool // hosts
}

type sub struct {
	host, pattern string
	in            chan message
}

type antenna struct {
	*air
	host string
}

func (a antenna) Publish(subject string, data []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.subs {
		matches := s.pattern == subject || strings.HasSuffix(s.pattern, ">") && strings.HasPrefix(subject, strings.TrimSuffix(s.pattern, ">"))
		if s.host == a.host || !matches || a.cut[s.host] || a.cut[a.host] {
			continue
		}
		select {
		case s.in <- message{subject, slices.Clone(data)}:
		default: // it is slow
		}
	}
	return nil
}

func (a antenna) Subscribe(pattern string, deliver func(string, []byte)) (func(), error) {
	s := &sub{a.host, pattern, make(chan message, 1000)}
	a.mu.Lock()
	a.subs = append(a.subs, s)
	a.mu.Unlock()
	var wg gosync.WaitGroup
	wg.Go(func() {
		for m := range s.in {
			deliver(m.subject, m.data)
		}
	})
	return func() {
		a.mu.Lock()
		a.subs = slices.DeleteFunc(a.subs, func(o *sub) bool { return o == s })
		a.mu.Unlock()
		close(s.in)
		wg.Wait()
	}, nil
}

// live is a host that runs as in an agent.
func live(t *testing.T, bus *air, name string) (*Sync, *projection.Ledger) {
	t.Helper()
	return liveOn(t, antenna{bus, name}, name, func(l *projection.Ledger) Ledger { return l })
}

// liveOn is the same, on a Bus, and where sync sees another ledger.
func liveOn(t *testing.T, bus Bus, name string, as func(*projection.Ledger) Ledger) (*Sync, *projection.Ledger) {
	t.Helper()
	return liveAt(t, bus, name, 50*time.Millisecond, func(l *events.Log) projection.Log { return l }, as)
}

// liveAt is the same, with so much time between beats, and where its ledger sees another log.
func liveAt(t *testing.T, bus Bus, name string, beat time.Duration, disk func(*events.Log) projection.Log, as func(*projection.Ledger) Ledger) (*Sync, *projection.Ledger) {
	t.Helper()
	log, err := events.Open(filepath.Join(t.TempDir(), name), events.Options{Reserve: -1, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(disk(log), nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Sync{Bus: bus, Ledger: as(ledger), Log: log, Node: name, Cluster: "test", Say: slog.New(slog.DiscardHandler),
		Ready: func() (bool, bool) { return false, false }, Beat: beat}
	s.Open()
	ctx, cancel := context.WithCancel(context.Background())
	var wg gosync.WaitGroup
	wg.Go(func() {
		if err := ledger.Run(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := log.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return s, ledger
}

func mustApply(t *testing.T, l *projection.Ledger, name string) events.ID {
	t.Helper()
	r, err := l.Record(context.Background(), projection.By{Actor: "a test"}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: events.Declared, Key: key(name), Object: []byte(`{}`)}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Stamp.ID
}

// waitFor waits until it holds of the host's state.
func waitFor(t *testing.T, l *projection.Ledger, holds func(*projection.State) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		v := l.View()
		if holds(v.State) {
			return
		}
		select {
		case <-v.Changed:
		case <-ctx.Done():
			t.Fatalf("it does not come: %s", heads(v.State))
		}
	}
}

func TestRun_whatOneRecordsAllHold(t *testing.T) {
	bus := &air{cut: map[string]bool{}}
	_, a := live(t, bus, "a.example.org")
	early := mustApply(t, a, "early") // before anybody hears it
	_, b := live(t, bus, "b")
	_, c := live(t, bus, "c")
	now := mustApply(t, b, "now")
	for _, l := range []*projection.Ledger{a, b, c} {
		waitFor(t, l, func(s *projection.State) bool { return s.Covers(early) && s.Covers(now) })
	}
	if a.View().Digest() != b.View().Digest() || b.View().Digest() != c.View().Digest() {
		t.Error("they hold the same commits and are not the same")
	}
}

func TestSpread_whoHasItAndWhoHasNot(t *testing.T) {
	bus := &air{cut: map[string]bool{}}
	sa, a := live(t, bus, "a")
	_, b := live(t, bus, "b")
	live(t, bus, "c")
	hosts := []string{"a", "b", "c"}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	id := mustApply(t, a, "x")
	if have, missing, err := sa.Spread(ctx, id, hosts, 0); err != nil || len(have) != 3 || len(missing) != 0 {
		t.Errorf("all: %v have it, %v have not, %v", have, missing, err)
	}
	bus.mu.Lock()
	bus.cut["c"] = true
	bus.mu.Unlock()
	id = mustApply(t, a, "y")
	if have, _, err := sa.Spread(ctx, id, hosts, 2); err != nil || !slices.Equal(have, []string{"a", "b"}) {
		t.Errorf("two of three: %v have it, %v", have, err)
	}
	if !b.View().OnDisk().Covers(id) {
		t.Error("b has it not")
	}
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	have, missing, err := sa.Spread(short, id, hosts, 0)
	if !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(have, []string{"a", "b"}) || !slices.Equal(missing, []string{"c"}) {
		t.Errorf("all, of which one is away: %v have it, %v have not, %v", have, missing, err)
	}
	bus.mu.Lock()
	delete(bus.cut, "c")
	bus.mu.Unlock()
	if have, missing, err := sa.Spread(ctx, id, hosts, 0); err != nil || len(have) != 3 {
		t.Errorf("once it is back: %v have it, %v have not, %v", have, missing, err)
	}
}

// Of two that start at once, one ends and the other goes on.
func TestRun_oneOfTwoOfANameEnds(t *testing.T) {
	bus := &air{cut: map[string]bool{}}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 2)
	for _, id := range []string{"a", "a'"} {
		log, err := events.Open(t.TempDir(), events.Options{Reserve: -1, MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		ledger, err := projection.OpenLedger(log, nil, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := &Sync{Bus: antenna{bus, id}, Ledger: ledger, Log: log, Node: "a", Cluster: "test", Say: slog.New(slog.DiscardHandler),
			Ready: func() (bool, bool) { return true, false }, Beat: 50 * time.Millisecond}
		s.Open()
		go func() { ended <- s.Run(ctx) }()
	}
	if err := <-ended; !errors.Is(err, errSecond) || ctx.Err() != nil {
		t.Errorf("got %v, want %v, by itself", err, errSecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the other ended with %v", err)
	}
}
