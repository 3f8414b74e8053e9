package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// budget is how many facts of one kind may be told of: burst at once, and from then on one each so often. full is when burst may be again.
type budget struct {
	burst int
	every time.Duration
	full  time.Time
}

// wait is how long to wait until there may be another.
func (b *budget) wait(now time.Time) time.Duration {
	all := time.Duration(b.burst) * b.every
	if !b.full.After(now) {
		return 0
	}
	if b.full.Sub(now) > all { // the clock was set back
		b.full = now.Add(all)
	}
	return max(0, b.full.Sub(now)-all+b.every)
}

// take is that there is another.
func (b *budget) take(now time.Time) {
	if b.full.Before(now) {
		b.full = now
	}
	b.full = b.full.Add(b.every)
}

const (
	startsName  = "starts.json" // in the data dir
	startsBurst = 10            // so many starts in a row are told of as they come,
	startsEvery = 6 * time.Minute
)

// starts bounds how often it is told in events that the agent was started: one that ends again and again would write for ever. It is kept beside the log,
// over the agent's lives, and what no event has told of is counted.
type starts struct {
	path string
	now  func() time.Time
	log  *slog.Logger
	told chan struct{} // closed once this start may be told of

	mu     sync.Mutex
	budget budget
	more   int // starts before this one that no event tells of
}

// startsFile is what is kept.
type startsFile struct {
	Version int       `json:"version"`
	Full    time.Time `json:"full"`   // when as many as at first may be told of again
	Untold  int       `json:"untold"` // starts since the last that was
}

// openStarts counts this start. What cannot be read is taken for nothing: then more is told of.
func openStarts(dir string, now func() time.Time, log *slog.Logger) *starts {
	s := &starts{path: filepath.Join(dir, startsName), now: now, log: log, told: make(chan struct{}), budget: budget{burst: startsBurst, every: startsEvery}}
	var f startsFile
	b, err := os.ReadFile(s.path)
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("how often the agent was started is not known", "file", s.path, "err", err)
	}
	s.budget.full, s.more = f.Full, f.Untold
	s.keep(startsFile{1, f.Full, f.Untold + 1})
	return s
}

// keep writes what is to be kept. Where it cannot be, nor can the log.
func (s *starts) keep(f startsFile) {
	err := snapshot.WriteFile(s.path, s.path+".tmp", 0o640, func(w io.Writer) error { return json.NewEncoder(w).Encode(f) })
	if err != nil {
		s.log.Warn("how often the agent was started cannot be put down", "err", err)
	}
}

// run waits until this start may be told of, or ctx ends.
func (s *starts) run(ctx context.Context) {
	s.mu.Lock()
	wait := s.budget.wait(s.now())
	s.mu.Unlock()
	if wait > 0 {
		s.log.Warn("this agent was started many times within an hour; that it was is told of in no event before it has run for a while", "wait", wait.Round(time.Second), "untold", s.more)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	s.mu.Lock()
	s.budget.take(s.now())
	s.keep(startsFile{1, s.budget.full, 0})
	s.mu.Unlock()
	close(s.told)
}

// tell waits until this start may be told of, and says how many before it no event tells of; false when ctx has ended.
func (s *starts) tell(ctx context.Context) (more int, may bool) {
	select {
	case <-s.told:
		return s.more, true
	default:
	}
	select {
	case <-s.told:
		return s.more, true
	case <-ctx.Done():
		return 0, false
	}
}

// may reports whether this start may be told of by now.
func (s *starts) may() bool {
	select {
	case <-s.told:
		return true
	default:
		return false
	}
}

// countStarts has this start told of once it may be.
func (a *agent) countStarts(ctx context.Context) error {
	if a.settle(ctx) == nil {
		a.starts.run(ctx)
	}
	return nil
}

// merelyStarted reports whether what this host would say of itself is what it has said, but for when its agent was started; and nobody has said
// since that the host is dead, which a start takes back.
func (a *agent) merelyStarted(h projection.Host) bool {
	said, ok := a.saidHost()
	if !ok {
		return false
	}
	if n, _ := projection.Read[projection.Node](a.ledger.View().State, projection.NodeKey(a.c.NodeName)); n.Down.After(said.Started) {
		return false
	}
	said.Started = h.Started
	return string(projection.Encode(said)) == string(projection.Encode(h))
}
