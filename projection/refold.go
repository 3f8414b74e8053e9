package projection

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
)

// ErrEntangled says that a state cannot be made of commits, since it holds what some did that are not in this log: a state was taken over, or they were
// trimmed off it and cannot be read any more, which is events.ErrTrimmed as well.
var ErrEntangled = errors.New("the log does not hold all commits of the state")

// Refold makes the state anew of the commits that the log holds, in an order that is the same on every host, and reports whether it is
// another than before. Commits are true whatever has been made of them meanwhile, and hosts that hold the same ones come to the same.
// Where one number has meant two commits for a while, a fold in the order in which they came may have come to something else.
//
// It reads the whole log. On nil the log holds a jump, or nothing was to be changed. ErrEntangled: the log does not hold all
// commits.
func (l *Ledger) Refold(ctx context.Context, cause string) (changed bool, err error) {
	err = l.ask(ctx, &request{rewrite: func(s *State) (*rewritten, error) {
		r, err := l.refold(s.vector, 0, 0)
		if err != nil || r.state.Digest() == s.Digest() {
			return nil, err
		}
		changed = true
		return &rewritten{state: r.state, cause: cause}, nil
	}}).err
	return changed && err == nil, err
}

// refolded is what commits come to without those that are given up.
type refolded struct {
	state  *State
	given  [][]byte // these
	others []said   // commits of others that say something of objects under such numbers
	links  *links
}

// refold is what the commits of the log that end at the heads come to, without those of an incarnation after event seq. Jumps in
// the log say only what was made of commits at some time, and are passed over.
//
// The order is that of stamps, as far as each incarnation's own allows. What is read before its turn waits in memory: that is little,
// since commits came nearly in that order.
func (l *Ledger) refold(heads []Head, inc events.Incarnation, seq uint64) (*refolded, error) {
	links, err := l.links()
	if errors.Is(err, events.ErrTrimmed) {
		return nil, fmt.Errorf("%w: %w", ErrEntangled, err)
	}
	if err != nil {
		return nil, err
	}
	given := map[uint64]bool{} // by number of the record
	var order []turn
	for _, h := range heads {
		chain, ok := links.chain(h)
		if !ok {
			return nil, ErrEntangled
		}
		var latest events.Time
		for _, i := range chain {
			c := &links.all[i]
			switch {
			case h.Inc != inc || c.last() <= seq:
				latest = max(latest, c.time) // a clock may have been set back
				order = append(order, turn{latest, c})
			case c.first <= seq:
				return nil, fmt.Errorf("event %d of incarnation %v is not the last of its commit", seq, inc)
			default:
				given[c.record] = true
			}
		}
	}
	slices.SortFunc(order, func(a, b turn) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.inc, b.inc), cmp.Compare(a.first, b.first))
	})
	turns := make(map[uint64]int, len(order)) // of records
	for i, c := range order {
		turns[c.record] = i
	}
	r := &refolded{state: NewState(), links: links}
	about := renumbering{inc: inc, after: seq}
	early := map[int]events.Record{}
	next := 0
	return r, l.log.Scan(1, func(rec events.Record) error {
		turn, ok := turns[rec.Number]
		if !ok && !given[rec.Number] {
			return nil
		}
		if rec.Payload = bytes.Clone(rec.Payload); !ok {
			r.given = append(r.given, rec.Payload)
			return nil
		}
		early[turn] = rec
		for ; ; next++ {
			rec, ok := early[next]
			if !ok {
				return nil
			}
			delete(early, next)
			c, err := events.ParseCommit(rec.Payload)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(c.Events, about.named) {
				r.others = append(r.others, said{c, rec.Hash})
			}
			r.state.fold(r.state.objects, &c, rec.Hash, rec.Index, rec.At)
		}
	})
}

// turn is a commit, and when it comes.
type turn struct {
	time events.Time
	*link
}

// link is a commit in a log, as part of a chain.
type link struct {
	record, first uint64 // where it is, and its first event
	inc           events.Incarnation
	time          events.Time
	hash          events.Hash
	count         uint32
	prev          int32 // which the one before it on its chain is, of all; below zero: the log does not hold it
}

func (c *link) last() uint64 { return c.first + uint64(c.count) - 1 }

// links are all commits in a log, in its order, also those that were given up.
type links struct {
	all []link
	at  map[events.Hash]int32
}

// links are those of the whole log.
func (l *Ledger) links() (*links, error) {
	k := newLinks()
	return k, l.log.Scan(1, k.add())
}

func newLinks() *links { return &links{at: map[events.Hash]int32{}} }

// add is what takes in the records of a log.
func (k *links) add() func(events.Record) error {
	var parser events.Parser
	return func(rec events.Record) error {
		if _, ok := k.at[rec.Hash]; ok || rec.Inc == 0 {
			return nil
		}
		c, err := parser.Parse(rec.Payload)
		if err != nil {
			return err
		}
		prev, ok := k.at[c.Prev]
		if !ok {
			prev = -1
		}
		k.at[rec.Hash] = int32(len(k.all))
		k.all = append(k.all, link{rec.Number, c.Seq, c.Inc, c.Time, rec.Hash, rec.Count, prev})
		return nil
	}
}

// until has the reading of a log end when ctx does.
func until(ctx context.Context, fn func(events.Record) error) func(events.Record) error {
	return func(rec events.Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(rec)
	}
}

// left reads the log. Of one that was trimmed of what cannot be read any more it reads what is left, and reports that.
func (l *Ledger) left(fn func(events.Record) error) (trimmed bool, err error) {
	err = l.log.Scan(1, fn)
	var t *events.TrimmedError
	if !errors.As(err, &t) {
		return false, err
	}
	return true, l.log.Scan(t.First, fn)
}

// chain is which commits end at a head, the first first; not whole when the log does not hold all of them.
func (k *links) chain(h Head) (chain []int32, whole bool) {
	i, ok := k.at[h.Hash]
	last := h.Seq
	for last > 0 && ok && i >= 0 && k.all[i].inc == h.Inc && k.all[i].last() == last {
		chain = append(chain, i)
		i, last = k.all[i].prev, k.all[i].first-1
	}
	slices.Reverse(chain)
	return chain, last == 0
}

// renumbered is what versions are stamped now whose commits were given up at some time, in the log's order: from one that a state tells to be
// given up, on its chain. What they were recorded again as may have been given up in its turn: then that is renumbered as well.
func (k *links) renumbered(s *State) map[events.Stamp]events.Stamp {
	now := map[events.Stamp]events.Stamp{}
	by := map[int32]renumbering{} // of which of all
	for i := range k.all {
		c := &k.all[i]
		r, ok := by[c.prev]
		if s.Forgone(c.inc, c.hash) {
			r, ok = renumbering{c.inc, c.first - 1, forkOf(c.inc, c.hash)}, true
		}
		if !ok {
			continue
		}
		by[int32(i)] = r
		for seq := c.first; seq <= c.last(); seq++ {
			was := events.Stamp{Time: c.time, ID: events.ID{Inc: c.inc, Seq: seq}}
			is := was
			r.id(&is.ID)
			now[was] = is
		}
	}
	return now
}

// Forgone reports whether others have given up the commit of an incarnation, and what follows on it: then they have recorded it
// again, under an incarnation that follows from it, and of that the state knows. So it is told for ever, by every disk that holds what
// was recorded again, even when the commits that were to stand in its place are lost.
func (s *State) Forgone(inc events.Incarnation, commit events.Hash) bool {
	return s.Head(forkOf(inc, commit)).Seq > 0
}

// Forgone finds commits of the state that others have given up, after an event of an incarnation: this host has to give them up as well, or
// what they did is there twice. It reads the whole log, or what is left of it, until ctx ends, and holds up no change meanwhile. What it finds is true of the
// state as it was when it began, and of those after it up to the next GiveUp, Yield or Join; what needs to be done with it is for GiveUp.
func (l *Ledger) Forgone(ctx context.Context) (inc events.Incarnation, after uint64, found bool, err error) {
	s := l.View().OnDisk()
	given := map[events.Hash]bool{}
	_, err = l.left(until(ctx, func(rec events.Record) error {
		if rec.Inc != 0 && s.Forgone(rec.Inc, rec.Hash) {
			given[rec.Hash] = true
		}
		return nil
	}))
	if err != nil || len(given) == 0 {
		return 0, 0, false, err
	}
	links := newLinks() // most of what is given up is not of the state any more
	trimmed, err := l.left(until(ctx, links.add()))
	if err != nil {
		return 0, 0, false, err
	}
	for _, h := range s.vector {
		chain, whole := links.chain(h)
		if !whole && !trimmed {
			continue
		}
		for _, i := range chain {
			if c := &links.all[i]; given[c.hash] {
				return c.inc, c.first - 1, true, nil
			}
		}
	}
	return 0, 0, false, nil
}
