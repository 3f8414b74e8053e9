package projection

import (
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// Fold is the state after commit c: pure, and indifferent to the order in which commits of different incarnations
// come. Commits of one incarnation must come in their own order, each once.
//
// hash is the hash of the commit's bytes; first the index of its first event in this host's log, and at the time
// when the host wrote it there.
func (s *State) Fold(c *events.Commit, hash events.Hash, first uint64, at time.Time) *State {
	n := s.clone()
	n.fold(n.objects, c, hash, first, at)
	return n
}

// index is where the entries of a state that nobody else has seen yet are kept: btree.Map is one.
type index interface {
	Get(key string) (*entry, bool)
	Set(key string, e *entry) (*entry, bool)
	Delete(key string) (*entry, bool)
}

// fold is Fold upon a state that nobody else has seen yet.
func (s *State) fold(x index, c *events.Commit, hash events.Hash, first uint64, at time.Time) {
	i, ok := s.find(c.Inc)
	if !ok {
		s.vector = slices.Insert(s.vector, i, Head{Inc: c.Inc})
	}
	for n := range c.Events {
		e := &c.Events[n]
		old, _ := x.Get(e.Key)
		next := s.foldEvent(old, e, Version{e.Kind, c.Stamp(n), e.Base, e.For, first + uint64(n), e.Object})
		s.vector[i].Seq = c.Seq + uint64(n)
		s.put(x, old, next)
	}
	s.vector[i].Hash = hash
	s.index = first + uint64(len(c.Events)) - 1
	s.at = at
}

// foldEvent is the entry after event e, which gave the given version. The vector does not cover that version yet.
func (s *State) foldEvent(old *entry, e *events.Event, given Version) *entry {
	next := &entry{key: e.Key}
	switch {
	case old == nil:
	case len(old.lives) == 1 && len(e.Ends) == 0: // nearly always: the next version of the only object
		next.key = old.key
		next.lives = append(next.first[:0], old.lives[0])
	default:
		next.key = old.key
		next.lives = slices.Clone(old.lives)
	}
	for _, end := range e.Ends {
		l := s.life(next, end.UID)
		if e.Object == nil || end.UID != e.UID {
			l.end()
		} // else it only says that the writer had seen that version of its own object as well
		if branches(e.Kind) {
			l.replaced(s, given.Stamp, end.Base)
		}
	}
	if e.Object != nil {
		v := &given
		s.life(next, e.UID).add(s, v)
	}
	return next
}

// life is the entry's life of uid, begun if the entry does not hold it. One whose creation the vector covers, and
// that is held no longer, has ended: what is heard of it only now may still be a conflict.
func (s *State) life(e *entry, uid events.ID) *life {
	i, ok := slices.BinarySearchFunc(e.lives, uid, func(l life, uid events.ID) int { return l.uid.Compare(uid) })
	if !ok {
		l := life{uid: uid, ended: s.Covers(uid)}
		if e.lives == nil {
			e.lives = append(e.first[:0], l)
		} else {
			e.lives = slices.Insert(e.lives, i, l)
		}
	}
	return &e.lives[i]
}

// branches reports whether versions of the kind that no known version replaced are kept, so that a change which
// lost unseen can be told. The other known kinds have one writer, or one decider: their newest is all that matters.
func branches(k events.Kind) bool {
	return k != events.Decided && k != events.Observed && k != events.Trust
}

// add puts version v to the life. A declared version that no known version replaced is a leaf; the greatest is
// shown, the other leaves were lost unseen.
func (l *life) add(s *State, v *Version) {
	replaced := l.came(v.Stamp) && branches(v.Kind)
	if branches(v.Kind) {
		l.replaced(s, v.Stamp, v.Base)
	}
	switch {
	case replaced && (l.ended || l.top != nil): // else, by what hosts say that took others' numbers, nothing would be left
	case l.ended:
		l.keep(v)
	case l.top == nil:
		l.top = v
	case l.top.less(v):
		l.keep(l.top)
		l.top = v
	default:
		l.keep(v)
	}
}

// end ends the life. What it showed is lost, unless whoever ended it had seen it.
func (l *life) end() {
	top := l.top
	l.ended, l.top = true, nil
	if top != nil {
		l.keep(top)
	}
}

// came reports whether a version that replaced this one came before it.
func (l *life) came(v events.Stamp) bool {
	i := slices.Index(l.missing, v)
	if i < 0 {
		return false
	}
	l.missing = slices.Delete(slices.Clone(l.missing), i, i+1)
	return true
}

// replaced notes that the writer of event by had seen version base, and replaced or ended it. What an event cannot
// have seen it has not replaced: so the greatest version of all is always a leaf, and the one that is shown.
func (l *life) replaced(s *State, by, base events.Stamp) {
	if base.IsZero() || !base.Less(by) {
		return
	}
	if l.top != nil && l.top.Stamp == base && branches(l.top.Kind) {
		l.top = nil // its successor takes its place
		return
	}
	for i, v := range l.lost {
		if v.Stamp == base {
			l.lost = slices.Delete(slices.Clone(l.lost), i, i+1)
			return
		}
	}
	if !s.Covers(base.ID) && !slices.Contains(l.missing, base) {
		l.missing = append(slices.Clone(l.missing), base)
		slices.SortFunc(l.missing, events.Stamp.Compare)
	}
}

// keep adds a leaf that lost, if it is of a kind that has them.
func (l *life) keep(v *Version) {
	if !branches(v.Kind) {
		return
	}
	i, _ := slices.BinarySearchFunc(l.lost, v, func(a, b *Version) int { return a.Stamp.Compare(b.Stamp) })
	l.lost = slices.Insert(slices.Clone(l.lost), i, v)
}

// over reports whether nothing of the life matters any more: it has ended, the vector says so by itself, and no
// change to it was lost.
func (l *life) over(s *State) bool {
	return l.ended && len(l.lost) == 0 && len(l.missing) == 0 && s.Covers(l.uid)
}

// put replaces the old entry of a key by next, forgetting what is over.
func (s *State) put(x index, old, next *entry) {
	next.lives = slices.DeleteFunc(next.lives, func(l life) bool { return l.over(s) })
	switch {
	case len(next.lives) > 0:
		x.Set(next.key, next)
	case old != nil:
		x.Delete(next.key)
	}
}
