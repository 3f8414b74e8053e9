package projection

import (
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
)

// Join is the state of somebody who has folded every event that a or b has: what a host holds after another, whose
// log no longer has the events in between, told it its state instead. Neither is changed.
//
// Index and At are a's, and so is Version.Index of what both hold; that of what only b holds is still b's.
func Join(a, b *State) *State {
	n := a.clone()
	for _, h := range b.vector {
		if i, ok := n.find(h.Inc); !ok {
			n.vector = slices.Insert(n.vector, i, h)
		} else if n.vector[i].Seq < h.Seq {
			n.vector[i] = h
		}
	}
	a.objects.Scan(func(key string, ea *entry) bool {
		eb, _ := b.objects.Get(key)
		n.put(n.objects, ea, joinEntries(key, a, b, ea, eb))
		return true
	})
	b.objects.Scan(func(key string, eb *entry) bool {
		if _, ok := a.objects.Get(key); !ok {
			n.put(n.objects, nil, joinEntries(key, a, b, nil, eb))
		}
		return true
	})
	return n
}

func joinEntries(key string, a, b *State, ea, eb *entry) *entry {
	n := &entry{key: key}
	var la, lb []life
	if ea != nil {
		la = ea.lives
	}
	if eb != nil {
		lb = eb.lives
	}
	for len(la) > 0 || len(lb) > 0 {
		order := 0
		switch {
		case len(lb) == 0:
			order = -1
		case len(la) == 0:
			order = 1
		default:
			order = la[0].uid.Compare(lb[0].uid)
		}
		switch {
		case order < 0:
			n.lives = append(n.lives, joinLives(a, b, la[0], absent(b, la[0].uid)))
			la = la[1:]
		case order > 0:
			n.lives = append(n.lives, joinLives(a, b, absent(a, lb[0].uid), lb[0]))
			lb = lb[1:]
		default:
			n.lives = append(n.lives, joinLives(a, b, la[0], lb[0]))
			la, lb = la[1:], lb[1:]
		}
	}
	return n
}

// absent is what a state that does not hold uid knows of it: it is over, if its creation was heard of.
func absent(s *State, uid events.ID) life { return life{uid: uid, ended: s.Covers(uid)} }

func joinLives(a, b *State, la, lb life) life {
	n := life{uid: la.uid, ended: la.ended || lb.ended}
	for _, m := range slices.Concat(la.missing, lb.missing) {
		if !a.Covers(m.ID) && !b.Covers(m.ID) && !slices.Contains(n.missing, m) {
			n.missing = append(n.missing, m)
		}
	}
	slices.SortFunc(n.missing, events.Stamp.Compare)
	all := slices.Concat(survivors(&la, &lb, b), survivors(&lb, &la, a))
	slices.SortStableFunc(all, (*Version).compare)
	all = slices.CompactFunc(all, func(x, y *Version) bool { return x.Stamp == y.Stamp })
	if len(all) == 0 && !n.ended { // each of two states knows the other's to have been replaced, which only forks make them say
		all = greatest(la.top, lb.top)
	}
	if len(all) > 0 && !n.ended {
		n.top, all = all[len(all)-1], all[:len(all)-1]
	}
	n.lost = slices.DeleteFunc(all, func(v *Version) bool { return !branches(v.Kind) })
	return n
}

// greatest is the greater of two versions, if there is any.
func greatest(a, b *Version) []*Version {
	switch {
	case a == nil && b == nil:
		return nil
	case a == nil || b != nil && a.less(b):
		return []*Version{b}
	}
	return []*Version{a}
}

// survivors are the leaves of l that the other state, which holds theirs of the same uid, does not know to have been
// replaced: it has not heard of them, or holds them as leaves as well.
func survivors(l, theirs *life, other *State) []*Version {
	held := theirs.leaves()
	return slices.DeleteFunc(l.leaves(), func(v *Version) bool {
		same := func(o *Version) bool { return o.Stamp == v.Stamp }
		return branches(v.Kind) &&
			(slices.Contains(theirs.missing, v.Stamp) || other.Covers(v.Stamp.ID) && !slices.ContainsFunc(held, same))
	})
}

// leaves are the versions of the life that are still held: the shown one and those that lost.
func (l *life) leaves() []*Version {
	all := slices.Clone(l.lost)
	if l.top != nil {
		all = append(all, l.top)
	}
	return all
}
