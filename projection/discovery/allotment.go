package discovery

import (
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// allotment gives each claimant the first thing on its list that no older claimant has. Who gets what follows from who there is
// alone, not from the order in which they came, so all hosts come to the same without asking each other. It is kept in step by
// insert and remove; what these cost grows with how many wanted the same thing, and not with how many claimants there are.
type allotment[C, R comparable] struct {
	claims  map[C]*claim[C, R]
	holder  map[R]*claim[C, R]
	refused map[R]map[*claim[C, R]]bool // who would rather have it
}

// claim is one claimant and how far down its list it had to go.
type claim[C, R comparable] struct {
	who  C
	age  age
	list func(k int) (R, bool) // the things it would take, the best first; false: no further one
	// tried are the things before the one that it has, all of which older ones have.
	tried  []R
	has    R
	placed bool
}

// age orders claimants. Of two that were made in the same second, the lesser id is the older.
type age struct {
	made time.Time
	uid  events.ID
	port int // of one Service
}

func (a age) older(b age) bool {
	if !a.made.Equal(b.made) {
		return a.made.Before(b.made)
	}
	if c := a.uid.Compare(b.uid); c != 0 {
		return c < 0
	}
	return a.port < b.port
}

func newAllotment[C, R comparable]() *allotment[C, R] {
	return &allotment[C, R]{map[C]*claim[C, R]{}, map[R]*claim[C, R]{}, map[R]map[*claim[C, R]]bool{}}
}

// get is what the claimant has; false when there is nothing for it.
func (a *allotment[C, R]) get(who C) (r R, ok bool) {
	if c := a.claims[who]; c != nil && c.placed {
		return c.has, true
	}
	return r, false
}

// insert adds a claimant that is not there, and tells moved of every other one that has something else now.
func (a *allotment[C, R]) insert(who C, age age, list func(k int) (R, bool), moved func(C)) {
	c := &claim[C, R]{who: who, age: age, list: list}
	a.claims[who] = c
	for c != nil {
		if c = a.settle(c); c != nil {
			moved(c.who)
		}
	}
}

// settle has c take the first thing that it can, from where it stands, and returns who had that.
func (a *allotment[C, R]) settle(c *claim[C, R]) (ousted *claim[C, R]) {
	for {
		r, ok := c.list(len(c.tried))
		if !ok {
			return nil
		}
		h := a.holder[r]
		if h == nil || c.age.older(h.age) {
			c.has, c.placed = r, true
			a.holder[r] = c
			if h != nil {
				h.placed = false
				a.refuse(h, r)
			}
			return h
		}
		a.refuse(c, r)
	}
}

func (a *allotment[C, R]) refuse(c *claim[C, R], r R) {
	c.tried = append(c.tried, r)
	if a.refused[r] == nil {
		a.refused[r] = map[*claim[C, R]]bool{}
	}
	a.refused[r][c] = true
}

// forgive forgets that c was refused r.
func (a *allotment[C, R]) forgive(c *claim[C, R], r R) {
	if delete(a.refused[r], c); len(a.refused[r]) == 0 {
		delete(a.refused, r)
	}
}

// remove takes a claimant away, if it is there, and tells moved of every other one that has something else now.
func (a *allotment[C, R]) remove(who C, moved func(C)) {
	c := a.claims[who]
	if c == nil {
		return
	}
	delete(a.claims, who)
	for _, r := range c.tried {
		a.forgive(c, r)
	}
	free, vacant := c.has, c.placed
	for vacant {
		free, vacant = a.vacate(free, moved)
	}
}

// vacate gives r to the oldest of those who would rather have it, and returns what that one had.
func (a *allotment[C, R]) vacate(r R, moved func(C)) (free R, vacant bool) {
	delete(a.holder, r)
	var next *claim[C, R]
	for c := range a.refused[r] {
		if next == nil || c.age.older(next.age) {
			next = c
		}
	}
	if next == nil {
		return free, false
	}
	free, vacant = next.has, next.placed
	at := 0
	for next.tried[at] != r {
		at++
	}
	over := next.tried[at:]
	next.tried = next.tried[:at:at]
	for _, t := range over {
		if !slices.Contains(next.tried, t) { // a list may name a thing twice
			a.forgive(next, t)
		}
	}
	next.has, next.placed = r, true
	a.holder[r] = next
	moved(next.who)
	return free, vacant
}
