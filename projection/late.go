package projection

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
)

// Late records again what others have said of versions that were given up, and what came only after that: by GiveUp, that was recorded again of which it knew. Else an
// object that was deleted would stand, under another number, where its deletion named it by the one that is no more. As all that is recorded again
// it is the same on every host, which may do so at any time. It reads the whole log, until ctx ends, and reports how many commits it has recorded.
//
// From then on an Admission of a commit that speaks of such a version says so: call it again then. It holds up no change.
func (l *Ledger) Late(ctx context.Context) (n int, err error) {
	_, moved, err := l.late(ctx)
	if err != nil || len(moved) == 0 {
		return 0, err
	}
	err = l.ask(ctx, &request{aside: true, rewrite: func(*State) (*rewritten, error) {
		l.moved = moved // what is admitted from now on is told by it, and what was before is in the log
		return nil, nil
	}}).err
	if err != nil {
		return 0, err
	}
	says, _, err := l.late(ctx)
	if err != nil || len(says) == 0 {
		return 0, err
	}
	_, err = l.Admit(ctx, says)
	return len(says), err
}

// partedAt is a chain of commits that were given up.
type partedAt struct {
	renumbering
	chain []int32 // of all links
	given [][]byte
	said  []said
}

// errParted ends the reading of a log.
var errParted = errors.New("something was given up")

// late are the commits to be recorded, and the versions that were given up, with those of others that follow them.
func (l *Ledger) late(ctx context.Context) (says [][]byte, moved map[events.Stamp]events.Stamp, err error) {
	v := l.View()
	s := v.OnDisk()
	if v.State != s {
		return nil, nil, events.ErrFull // the log does not hold what others have said yet
	}
	_, err = l.left(until(ctx, func(rec events.Record) error {
		if rec.Inc != 0 && s.Forgone(rec.Inc, rec.Hash) {
			return errParted
		}
		return nil
	}))
	if !errors.Is(err, errParted) {
		return nil, nil, err // nothing was ever given up, as nearly always: that is found out without looking into commits
	}
	links := newLinks()
	if err := l.log.Scan(1, until(ctx, links.add())); err != nil {
		return nil, nil, err
	}
	before := links.renumbered(s)
	moved = maps.Clone(before)
	all := links.parted(s)
	if err := l.heard(ctx, s, links, all); err != nil {
		return nil, nil, err
	}
	for i := range all {
		p := &all[i]
		again, err := recordAgain(p.given, p.after, p.said, before)
		if err != nil {
			return nil, nil, err
		}
		maps.Copy(moved, again.moved)
		for _, b := range again.says {
			c, err := events.ParseCommit(b)
			if err != nil {
				return nil, nil, err
			}
			if s.Head(c.Inc).Seq == 0 && !s.Forgone(c.Inc, events.HashOf(b)) { // else it was recorded, perhaps in other words
				says = append(says, b)
			}
		}
	}
	return says, moved, nil
}

// parted are the chains that were given up, in the log's order.
func (k *links) parted(s *State) (all []partedAt) {
	by := map[int32]int{} // of which of all
	for i := range k.all {
		c := &k.all[i]
		n, ok := by[c.prev]
		if s.Forgone(c.inc, c.hash) {
			n, ok = len(all), true
			all = append(all, partedAt{renumbering: renumbering{c.inc, c.first - 1, forkOf(c.inc, c.hash)}})
		}
		if !ok || len(all[n].chain) > 0 && all[n].chain[len(all[n].chain)-1] != c.prev {
			continue
		}
		by[int32(i)] = n
		all[n].chain = append(all[n].chain, int32(i))
	}
	return all
}

// heard reads what was given up, and what others, whose commits stand, have said of it.
func (l *Ledger) heard(ctx context.Context, s *State, k *links, all []partedAt) error {
	stands, given := map[uint64]bool{}, map[uint64]int{} // by number of the record
	for _, h := range s.vector {
		chain, whole := k.chain(h)
		if !whole {
			continue // of what was taken over as state it is not known, and nothing was given up of it here
		}
		for _, i := range chain {
			stands[k.all[i].record] = true
		}
	}
	for n := range all {
		for _, i := range all[n].chain {
			given[k.all[i].record] = n
		}
	}
	return l.log.Scan(1, until(ctx, func(rec events.Record) error {
		if n, ok := given[rec.Number]; ok {
			all[n].given = append(all[n].given, bytes.Clone(rec.Payload))
			return nil
		}
		if !stands[rec.Number] {
			return nil
		}
		c, err := events.ParseCommit(rec.Payload)
		if err != nil {
			return err
		}
		for n := range all {
			p := &all[n]
			if slices.ContainsFunc(c.Events, p.named) {
				c, err := events.ParseCommit(bytes.Clone(rec.Payload))
				if err != nil {
					return err
				}
				p.said = append(p.said, said{c, rec.Hash})
			}
		}
		return nil
	}))
}

// speaksOf reports whether a commit replaces or ends versions that were given up.
func speaksOf(c *events.Commit, moved map[events.Stamp]events.Stamp) bool {
	for i := range c.Events {
		e := &c.Events[i]
		if _, ok := moved[e.Base]; ok {
			return true
		}
		for _, end := range e.Ends {
			if _, ok := moved[end.Base]; ok {
				return true
			}
		}
	}
	return false
}
