package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// lives are the objects that one key stands for, or stood for, as far as the log has told of them: what another host did before comes after what is
// newer, and is not shown then.
type lives struct {
	alive map[events.ID]life
	over  map[events.ID]bool
	heads []projection.Head // of the state that a jump said: what it covers, and did not hold, is over
}

type life struct {
	carries, stamp events.Stamp // carries is of what is decided alone
	object         json.RawMessage
}

// livesAfter are those that the state of a jump has of a key. What was told before it counts no more: of what was given up, nothing need end the
// objects, and what was taken over as state may have ended others.
func livesAfter(jump []byte, key string) (l lives, err error) {
	j, err := events.ParseJump(jump)
	if err != nil {
		return l, err
	}
	s, err := projection.DecodeState(bytes.NewReader(j.State))
	if err != nil {
		return l, err
	}
	l = lives{alive: map[events.ID]life{}, over: map[events.ID]bool{}, heads: s.Vector()}
	for _, o := range s.Lives(key) {
		if o.Version == nil {
			l.over[o.UID] = true
			continue
		}
		is := life{stamp: o.Stamp, object: o.Version.Object}
		if o.Kind == events.Decided {
			is.carries = o.For
		}
		l.alive[o.UID] = is
	}
	return l, nil
}

// ended reports whether an object that is not alive is over.
func (l *lives) ended(uid events.ID) bool {
	i, ok := slices.BinarySearchFunc(l.heads, uid.Inc, func(h projection.Head, inc events.Incarnation) int { return cmp.Compare(h.Inc, inc) })
	return l.over[uid] || ok && uid.Seq <= l.heads[i].Seq
}

// before orders as the fold does (projection).
func (l *life) before(o *life) bool {
	return cmp.Or(l.carries.Compare(o.carries), l.stamp.Compare(o.stamp)) < 0
}

// pass takes the next event of the key, and gives what is shown after it, or nil, and whether the event's own object is not.
func (l *lives) pass(e *events.Event, stamp events.Stamp) (shown json.RawMessage, lost bool) {
	if l.alive == nil {
		l.alive, l.over = map[events.ID]life{}, map[events.ID]bool{}
	}
	for _, end := range e.Ends {
		if e.Object != nil && end.UID == e.UID { // a version that was lost unseen, and is made good
			continue
		}
		delete(l.alive, end.UID)
		l.over[end.UID] = true
	}
	is := life{stamp: stamp, object: e.Object}
	if e.Kind == events.Decided {
		is.carries = e.For
	}
	if was, ok := l.alive[e.UID]; e.Object != nil && (ok && was.before(&is) || !ok && !l.ended(e.UID)) {
		l.alive[e.UID] = is
	}
	best := l.best()
	return best.object, e.Object != nil && best.stamp != stamp
}

// best is what is shown; without an object, nothing is.
func (l *lives) best() (best life) {
	for _, x := range l.alive {
		if best.object == nil || best.before(&x) {
			best = x
		}
	}
	return best
}
