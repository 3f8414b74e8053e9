package projection

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// Yield has this host give up the commits of an incarnation after event seq, as GiveUp does, where they cannot be taken out of
// its log any more: they are part of a state that it took over, or of what was trimmed and cannot be read. other is the state of a host that holds the commits that stand;
// the ledger may change it. What the log still holds of the commits is recorded again as GiveUp does it. What else only this host
// holds of what is given up (versions that are shown, and such as were lost unseen) is recorded again, at the same times, under an
// incarnation that follows from it. On nil the log holds all that; after an error, and after a crash, all or nothing of it, save
// that another incarnation may have been drawn.
func (l *Ledger) Yield(ctx context.Context, inc events.Incarnation, seq uint64, other *State, cause string) error {
	return l.ask(ctx, &request{rewrite: func(s *State) (*rewritten, error) {
		if s.Head(inc).Seq <= seq {
			return nil, nil
		}
		if other.Head(inc).Seq <= seq {
			return nil, fmt.Errorf("yield event %d of incarnation %v: the other state holds nothing in its place", seq+1, inc)
		}
		other.renumber(s.index + 1)
		mine, taken := s.stripped(inc, seq)
		given, others, err := l.held(s, inc, seq)
		if err != nil {
			return nil, err
		}
		links := newLinks()
		if _, err := l.left(links.add()); err != nil {
			return nil, err
		}
		before := links.renumbered(s)
		others = slices.DeleteFunc(others, func(c said) bool { return !before[c.Stamp(0)].IsZero() }) // what they became says the same
		ends, err := s.ended(given, others, taken)
		if err != nil {
			return nil, err
		}
		again, err := recordAgain(given, seq, append(others, ends...), before)
		if err != nil {
			return nil, err
		}
		rest, err := taken.record(inc, seq, again)
		if err != nil {
			return nil, err
		}
		if inc == l.log.Incarnation() {
			if _, err := l.log.Renew(); err != nil {
				return nil, err
			}
		}
		n := Join(mine, other)
		n.dropEmpty()
		return &rewritten{n, cause, slices.Concat(again.commits, again.says, rest), inc}, nil
	}}).err
}

// held are the commits of an incarnation after event seq that end at its head in a state, and what others said of objects under such numbers, by what is left
// of the log; none, when it does not hold all of those commits.
func (l *Ledger) held(s *State, inc events.Incarnation, seq uint64) (given [][]byte, others []said, err error) {
	r := renumbering{inc: inc, after: seq}
	var chain []Head // of what is given, where each commit ends
	_, err = l.left(func(rec events.Record) error {
		if rec.Inc == 0 {
			s, err := jumped(&rec)
			if err != nil {
				return err
			}
			n := slices.Index(chain, s.Head(inc)) + 1 // what is after it, or other than it, is not the incarnation's any more
			given, chain = given[:n], chain[:n]
			return nil
		}
		c, err := events.ParseCommit(bytes.Clone(rec.Payload))
		switch {
		case err != nil:
			return err
		case c.Inc == inc && (c.Seq == seq+1 || len(chain) > 0 && c.Prev == chain[len(chain)-1].Hash):
			given = append(given, bytes.Clone(rec.Payload))
			chain = append(chain, Head{inc, c.Last(), rec.Hash})
		case c.Inc != inc && slices.ContainsFunc(c.Events, r.named):
			others = append(others, said{c, rec.Hash})
		}
		return nil
	})
	if err == nil && (len(chain) == 0 || chain[len(chain)-1] != s.Head(inc)) {
		given = nil
	}
	return given, others, err
}

// ended says of objects that are recorded again what the state alone knows: that they are over. Nothing that is left of what others said ends them, as when that
// came as a state. taken are the versions that the state holds of what is given up: who ended the object has not seen these.
func (s *State) ended(given [][]byte, others []said, taken yieldedAll) (ends []said, err error) {
	all, made := NewState(), map[events.ID]events.Stamp{}
	for _, b := range given {
		c, err := events.ParseCommit(b)
		if err != nil {
			return nil, err
		}
		for n := range c.Events {
			if e := &c.Events[n]; e.UID == c.ID(n) && e.Base.IsZero() {
				made[e.UID] = c.Stamp(n)
			}
		}
		all.fold(all.objects, &c, events.Hash{}, 1, time.Time{})
	}
	for i := range others {
		all.fold(all.objects, &others[i].Commit, events.Hash{}, 1, time.Time{})
	}
	all.objects.Scan(func(key string, e *entry) bool {
		is, ok := s.objects.Get(key)
		for _, l := range e.lives {
			base, mine := made[l.uid]
			if !mine || l.top == nil || ok && slices.ContainsFunc(is.lives, func(o life) bool { return o.uid == l.uid && !o.ended }) {
				continue
			}
			if !slices.ContainsFunc(taken, func(y yielded) bool { return y.key == key && y.Stamp == l.top.Stamp }) {
				base = l.top.Stamp
			}
			c := events.Commit{Inc: l.uid.Inc, Seq: 1, Time: min(l.top.Stamp.Time+1, events.LastTime), Actor: "podman-swarm-agent", Cause: "recorded again: its end",
				Events: []events.Event{{Kind: l.top.Kind, Key: key, UID: l.uid, Base: base, Ends: []events.End{{UID: l.uid, Base: base}}}}}
			var b []byte
			if b, err = c.Append(nil); err != nil {
				return false
			}
			ends = append(ends, said{c, events.HashOf(b)})
		}
		return true
	})
	return ends, err
}

// yielded is a version that is given up.
type yielded struct {
	key string
	uid events.ID
	*Version
}

type yieldedAll []yielded

// stripped is the state without the versions that are commits' of an incarnation after event seq, and those.
func (s *State) stripped(inc events.Incarnation, seq uint64) (*State, yieldedAll) {
	gone := func(id events.ID) bool { return id.Inc == inc && id.Seq > seq }
	n := s.clone()
	if i, ok := n.find(inc); ok {
		n.vector[i] = Head{Inc: inc, Seq: seq} // its hash is the other's
	}
	var taken yieldedAll
	s.objects.Scan(func(key string, e *entry) bool {
		next := &entry{key: key}
		for i := range e.lives {
			l := e.lives[i]
			all := gone(l.uid)
			for _, v := range l.leaves() {
				if all || gone(v.Stamp.ID) {
					taken = append(taken, yielded{key, l.uid, v})
				}
			}
			if all {
				continue
			}
			out := func(v *Version) bool { return gone(v.Stamp.ID) }
			l.lost = slices.DeleteFunc(slices.Clone(l.lost), out)
			l.missing = slices.DeleteFunc(slices.Clone(l.missing), func(m events.Stamp) bool { return gone(m.ID) })
			if l.top != nil && out(l.top) {
				l.top = nil
			}
			next.lives = append(next.lives, l)
		}
		n.put(n.objects, e, next)
		return true
	})
	slices.SortFunc(taken, func(a, b yielded) int { return a.Stamp.Compare(b.Stamp) })
	return n, taken
}

// record makes commits of the versions that are not recorded again already, of one incarnation that follows from them.
func (all yieldedAll) record(inc events.Incarnation, seq uint64, again *again) (commits [][]byte, err error) {
	all = slices.DeleteFunc(all, func(y yielded) bool { to, ok := again.moved[y.Stamp]; return ok && to != y.Stamp })
	name := events.ID{Inc: again.to, Seq: seq}.String()
	for _, y := range all {
		name += y.Stamp.String()
	}
	to := forkOf(inc, events.HashOf([]byte(name)))
	uids := map[events.ID]events.ID{} // of which a state holds the newest versions alone: what was made for an object may come before it
	for i, y := range all {
		if y.uid.Inc == inc && y.uid.Seq > seq && uids[y.uid].IsZero() {
			uids[y.uid] = events.ID{Inc: to, Seq: uint64(i) + 1}
		}
	}
	var prev events.Hash
	for i, y := range all {
		id := events.ID{Inc: to, Seq: uint64(i) + 1}
		e := events.Event{Kind: y.Kind, Key: y.key, UID: y.uid, Base: y.Base, For: y.For, Object: y.Version.Object}
		anew := func(uid *events.ID, key string) bool {
			if uid.Inc != inc || uid.Seq <= seq {
				return false
			}
			if len(again.moved) > 0 {
				return again.uid(uid, key)
			}
			to, ok := uids[*uid]
			if ok {
				*uid = to
			}
			return ok
		}
		anew(&e.UID, y.key)
		e.Object = redecided(y.Kind, y.key, y.Version.Object, y.Stamp.ID, anew)
		if base, ok := again.moved[e.Base]; ok {
			e.Base = base
		} else if e.Base.Inc == inc && e.Base.Seq > seq {
			e.Base = events.Stamp{}
		}
		c := events.Commit{Inc: to, Seq: id.Seq, Time: y.Stamp.Time, Prev: prev, Actor: "podman-swarm-agent", Cause: "recorded again: " + y.Stamp.String(), Events: []events.Event{e}}
		b, err := c.Append(nil)
		if err != nil {
			return nil, fmt.Errorf("record again %v: %w", y.Stamp, err)
		}
		prev = events.HashOf(b)
		commits = append(commits, b)
	}
	return commits, nil
}

// dropEmpty forgets live objects of which no version is held: what they showed is recorded again.
func (s *State) dropEmpty() {
	var with []*entry
	s.objects.Scan(func(_ string, e *entry) bool {
		if slices.ContainsFunc(e.lives, func(l life) bool { return l.hollow() }) {
			with = append(with, e)
		}
		return true
	})
	for _, e := range with {
		next := &entry{key: e.key}
		for _, l := range e.lives {
			if l.hollow() && len(l.lost) > 0 {
				l.top, l.lost = l.lost[len(l.lost)-1], slices.Clone(l.lost[:len(l.lost)-1])
			}
			if !l.hollow() {
				next.lives = append(next.lives, l)
			}
		}
		s.put(s.objects, e, next)
	}
}

func (l *life) hollow() bool { return !l.ended && l.top == nil }
