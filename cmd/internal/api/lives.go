package api

import (
	"cmp"
	"encoding/json"

	"github.com/podman-swarm/podman-swarm/events"
)

// lives are the objects that one key stands for, or stood for, as far as the log has told of them: what another host did before comes after what is
// newer, and is not shown then.
type lives struct {
	alive map[events.ID]life
	over  map[events.ID]bool
}

type life struct {
	carries, stamp events.Stamp // carries is of what is decided alone
	object         json.RawMessage
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
	if was, ok := l.alive[e.UID]; e.Object != nil && !l.over[e.UID] && (!ok || was.before(&is)) {
		l.alive[e.UID] = is
	}
	var best life
	for _, x := range l.alive {
		if best.object == nil || best.before(&x) {
			best = x
		}
	}
	return best.object, e.Object != nil && best.stamp != stamp
}
