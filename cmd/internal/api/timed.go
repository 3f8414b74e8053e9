package api

import (
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Some objects change by the passing of time alone: a replica is available once it has run for minReadySeconds, and
// nobody records that. A watch wakes up by itself then and tells of it, with the version of what was recorded last.

// lookAt is a look at a state, now, that notes when objects will look different.
func (w *watch) lookAt(st *projection.State) *look {
	l := w.q.lookAt(st)
	l.later = w.later
	return l
}

// later notes when an object will look different.
func (w *watch) later(n name, at time.Time) { w.due[n] = at }

// wake fires when the next object is due; it is nil when none is.
func (w *watch) wake() <-chan time.Time {
	var next time.Time
	for _, at := range w.due {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.IsZero() {
		return nil
	}
	return time.After(next.Sub(w.s.now()))
}

// ripe tells of the objects that are due.
func (w *watch) ripe() {
	v := w.s.Ledger.View().Durable()
	if v.Index() != w.last { // there is more to tell first, and that looks at the time as well
		return
	}
	l := w.lookAt(v.State)
	for n, at := range w.due {
		if at.After(l.now) {
			continue
		}
		delete(w.due, n)
		w.again(l, n)
	}
}

// again tells of an object as it looks now.
func (w *watch) again(l *look, n name) {
	o, ok, err := w.s.show(l, w.r, n)
	if err != nil {
		w.s.log().Error("a change was not told to a watch", "resource", w.r.plural, "name", n.name, "error", err)
		return
	}
	if ok && w.sel.has(w.r, o) {
		o.SetResourceVersion(w.s.resourceVersion(w.last))
		w.tell("MODIFIED", o)
	}
}

// missed tells a watch that is taken up after last of objects that time alone has changed since: nobody may have watched
// then.
func (w *watch) missed(v *projection.View) {
	then := v.At()
	if steps, ok := v.Since(w.last); ok && len(steps) > 0 {
		then = steps[0].Before.At()
	}
	now := w.lookAt(v.State)
	for n := range w.r.names(v.State, w.sel.namespace) {
		if !w.sel.named(n) || w.r.version(now, n) > w.last { // the changes after last tell how it is
			continue
		}
		is, ok, err1 := w.r.get(now, n)
		was, _, err2 := w.r.get(&look{State: v.State, self: w.s.Node, now: then}, n)
		if err1 == nil && err2 == nil && ok && !alike(was, is) {
			w.again(now, n)
		}
	}
}
