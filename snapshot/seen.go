package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// seen is the state of a host that had seen so much of each incarnation and no more, folded from what this log has of that: in whichever order it
// came here, the fold is the same. Its index is the number of events it took, and none of this log's. The error wraps ErrNoMoment where the log has a part
// of that only within a state that was taken over, with more.
func (f *Folds) seen(ctx context.Context, seen map[events.Incarnation]uint64) (*projection.State, error) {
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	only := &onlySeen{ctx: ctx, log: f.Source, seen: seen, left: len(seen)}
	start, from := (*projection.State)(nil), uint64(1)
	for _, name := range slices.Backward(names) {
		s, next, err := f.load(ctx, name)
		if err == nil && !slices.ContainsFunc(s.Vector(), func(h projection.Head) bool { return h.Seq > seen[h.Inc] }) {
			start, from, only.index = s, next, s.Index()
			break
		}
	}
	if start != nil {
		only.left -= reached(start, seen)
	}
	s, err := projection.FoldUntil(only, start, from, func(events.Record) bool { return false })
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && (len(s.Vector()) != len(seen) || reached(s, seen) != len(seen)) {
		err = fmt.Errorf("%w: of what had been seen then it holds a part only together with what came later", ErrNoMoment)
	}
	return s, err
}

// reached is of how many incarnations the state has just what was seen.
func reached(s *projection.State, seen map[events.Incarnation]uint64) (n int) {
	for _, h := range s.Vector() {
		if seen[h.Inc] == h.Seq {
			n++
		}
	}
	return n
}

// onlySeen is what a log has of what was seen, as if nothing else were in it.
type onlySeen struct {
	ctx   context.Context
	log   projection.Scanner
	seen  map[events.Incarnation]uint64
	left  int // incarnations of which there is more to come
	index uint64
}

// Scan ends once it has given all that was seen: a state that was taken over after that is nothing to it.
func (o *onlySeen) Scan(from uint64, fn func(events.Record) error) error {
	if o.left == 0 {
		return nil
	}
	err := o.log.Scan(from, func(r events.Record) error {
		if err := o.ctx.Err(); err != nil {
			return err
		}
		last := r.Seq + uint64(r.Count) - 1
		if r.Inc != 0 && last > o.seen[r.Inc] {
			return nil
		}
		r.Index = o.index + 1
		o.index = r.Last()
		if err := fn(r); err != nil {
			return err
		}
		if r.Inc != 0 && last == o.seen[r.Inc] {
			if o.left--; o.left == 0 {
				return errFound
			}
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return nil
	}
	return err
}
