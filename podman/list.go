package podman

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// lister asks Podman what is there: now and then, and soon after Podman says that something has happened.
type lister struct {
	found     chan listing
	hints     chan struct{}
	listing   bool      // one is under way
	due       time.Time // when the next is to begin
	last      time.Time // when the last began
	asked     bool      // something happened while one was under way
	listClock uint64    // the loop's clock, when the last began
	failed    int       // in a row
	down      error     // why Podman does not answer; nil when it does
	since     time.Time // when it was first seen not to
	back      time.Time // when it was last seen to answer again
	seen      bool      // there has been an answer
}

// listing is what one list found.
type listing struct {
	there []Container
	err   error
}

// hintPause is between two lists that Podman's events ask for.
const hintPause = 250 * time.Millisecond

func newLister() lister {
	return lister{found: make(chan listing), hints: make(chan struct{}, 1)}
}

// list begins a list.
func (l *loop) list(ctx context.Context) {
	l.listing, l.asked, l.last, l.listClock = true, false, time.Now(), l.clock
	l.goes(func() {
		var out listing
		out.err = within(ctx, quick, func(ctx context.Context) (err error) {
			out.there, err = l.Engine.List(ctx, LabelCluster, l.own.cluster)
			return err
		})
		select {
		case l.found <- out:
		case <-ctx.Done():
		}
	})
}

// hinted makes the next list begin soon.
func (l *loop) hinted() {
	if l.listing {
		l.asked = true
		return
	}
	if l.down == nil {
		l.due = earlier(l.due, later(time.Now(), l.last.Add(hintPause)))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// listed takes over what a list has found.
func (l *loop) listed(found listing) {
	l.listing = false
	l.stats.Passes.Add(1)
	if found.err != nil {
		l.silent(found.err)
		return
	}
	if l.down != nil {
		l.back = time.Now()
		if l.Log != nil {
			l.Log.Info("Podman answers again", "after", time.Since(l.since).Round(time.Second))
		}
	}
	l.down, l.failed, l.seen = nil, 0, true
	l.take(found.there)
	l.due = l.last.Add(l.every())
	if l.asked {
		l.due = later(time.Now(), l.last.Add(hintPause))
	}
}

// silent notes that Podman does not answer, and says so once.
func (l *loop) silent(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	l.stats.Errors.Add(1)
	if l.down == nil {
		l.since = time.Now()
		if l.Log != nil {
			l.Log.Warn("Podman does not answer; containers run on, and nothing is changed until it does", "err", err)
		}
	}
	l.down = err
	l.due = time.Now().Add(min(backoff(time.Second, l.failed), l.every()))
	l.failed++
}

// take compares what was found with what is known. Of a pod whose turn has been under way since the list began it says
// nothing: it may be older than what the turn did.
func (l *loop) take(there []Container) {
	by := map[part][]Container{}
	l.strays = nil
	for _, c := range there {
		if !l.own.has(c.Labels) {
			continue
		}
		pod, _, ok := labelled(c.Labels)
		if !ok {
			l.strays = append(l.strays, Orphan{Container: c, Why: "its labels cannot be read"})
			continue
		}
		p := part{pod, c.Labels[LabelContainer]}
		by[p] = append(by[p], c)
	}
	for p := range by {
		l.atPart(p)
	}
	for r := range l.parts {
		if r.busy || r.turned > l.listClock {
			l.asked = l.asked || r.stale
			continue
		}
		r.There, r.stale = by[r.part()], false
		l.dirty[r.Pod] = true
		if r.Of == "" && r.Recorded == nil && len(r.There) > 0 { // made by a turn whose end this agent did not live to see
			var ports []projection.Port
			for _, c := range r.There {
				ports = slices.Concat(ports, c.Ports)
			}
			l.ports.keep(r.Pod, ports)
		}
	}
}

// hear listens to Podman's events until ctx ends. What they say is not looked at: each means that it is worth while to
// list.
func (l *loop) hear(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		err := l.Engine.Events(ctx, LabelCluster, l.own.cluster, l.hint)
		if time.Since(began) > time.Minute {
			n = 0
		}
		if ctx.Err() != nil {
			return
		}
		if l.Log != nil && !errors.Is(err, ErrUnavailable) { // that the lists tell of
			l.Log.Debug("Podman's events broke off", "err", err)
		}
		l.hint() // whatever ended the stream, it is worth a look
		if Wait(min(backoff(time.Second, n), l.every()))(ctx) != nil {
			return
		}
	}
}

func (l *loop) hint() {
	select {
	case l.hints <- struct{}{}:
	default: // there is one already
	}
}
