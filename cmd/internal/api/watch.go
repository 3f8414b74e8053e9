package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

const (
	// piece is about how many bytes of a stream are made ready before they are sent. What a client has not read yet
	// costs no more than that, and holds on to no state.
	piece = 64 << 10
	// idleIndexes is after how many events that changed nothing that it shows a watch is told how far it has come,
	// so that it can be taken up again before the ledger has forgotten where it was.
	idleIndexes = 256
)

// change is what one commit did to one object. Both are as they are answered; nil is not there.
type change struct {
	index         uint64 // of the last event that did it
	own           bool   // that event is the object's own, and not one that changes how it looks
	before, after object
}

// watch is one watch. It reads the ledger's views at the pace of its client; when the ledger has forgotten what comes
// next, it says so and ends.
type watch struct {
	s    *Server
	q    *request
	r    *resource
	sel  selection
	o    listOptions
	last uint64             // index of the last event it has looked at
	told uint64             // the last index that its client has been given
	due  map[name]time.Time // when objects will look different although nothing is recorded
	out  bytes.Buffer
	rows *table // nil: it is told whole objects
}

// watch answers a watch: one JSON object a line, until the client leaves or nothing more can be told.
func (s *Server) watch(q *request, r *resource, sel selection, o listOptions) error {
	w := &watch{s: s, q: q, r: r, sel: sel, o: o, due: map[name]time.Time{}, rows: q.tabled(r)}
	changed, err := w.begin()
	if err != nil && err != errEnded {
		return err
	}
	out := q.stream("application/json")
	var timeout <-chan time.Time
	if o.timeout > 0 {
		t := time.NewTimer(o.timeout)
		defer t.Stop()
		timeout = t.C
	}
	bookmarks := time.NewTicker(cmp.Or(s.Bookmarks, time.Minute))
	defer bookmarks.Stop()
	for {
		if !out.send(w.out.Bytes()) || err != nil {
			return nil
		}
		w.out.Reset()
		if changed == nil { // there is more to tell
			changed, err = w.next()
			continue
		}
		select {
		case <-changed:
			changed, err = w.next()
		case <-w.wake():
			if changed, err = w.next(); err == nil { // first what was recorded before
				w.ripe()
			}
		case <-bookmarks.C:
			w.bookmark(false)
		case <-timeout:
			w.bookmark(false)
			out.send(w.out.Bytes())
			return nil
		case <-q.stop:
			return nil
		case <-q.Context().Done():
			return nil
		}
	}
}

// begin finds where the watch starts and tells what is there, if that was asked for.
func (w *watch) begin() (changed <-chan struct{}, err error) {
	v := w.s.Ledger.View().Durable()
	asked := w.o.initial != nil
	fromNow := w.o.version == "" || w.o.version == "0"
	if fromNow || asked && *w.o.initial {
		if err := w.s.fresh(v, w.o); err != nil {
			return nil, err
		}
		w.last, w.told = v.Index(), v.Index()
		switch {
		case !asked || *w.o.initial:
			err = w.initial(v)
		case w.r.timed:
			w.missed(v)
		}
		return v.Changed, err
	}
	index, ours, err := w.s.indexOf(w.o.version)
	if err != nil {
		return nil, err
	}
	if !ours || index > v.Index() {
		w.fail(expired("resourceVersion " + w.o.version + " is not of this host's log as it is now"))
		return nil, errEnded
	}
	w.last, w.told = index, index
	if w.r.timed {
		w.missed(v)
	}
	return nil, nil
}

// errEnded ends a watch that has told its client why.
var errEnded = errors.New("the watch has ended")

func (w *watch) initial(v *projection.View) error {
	items, err := w.s.all(v, w.lookAt(v.State), w.r, w.sel)
	if err != nil {
		return err
	}
	for _, o := range items {
		w.tell("ADDED", o)
	}
	if w.o.initial != nil {
		w.bookmark(true)
	}
	return nil
}

// next tells what the newest view has after last, as far as it fits into a piece. changed is nil when there is more.
// After an error the watch has ended, and its client has been told why. No view is held on to.
func (w *watch) next() (changed <-chan struct{}, err error) {
	v := w.s.Ledger.View().Durable()
	steps, ok := v.Since(w.last)
	if !ok {
		w.fail(expired(fmt.Sprintf("too old resource version: %s: the changes after it are no longer held",
			w.s.resourceVersion(w.last))))
		return nil, errEnded
	}
	for i := range steps {
		changes, err := w.changes(v, &steps[i])
		if err != nil {
			w.s.log().Error("a watch ended", "resource", w.r.plural, "error", err)
			w.fail(err)
			return nil, errEnded
		}
		for _, c := range changes {
			w.change(c)
		}
		w.last = steps[i].After.Index()
		if w.out.Len() >= piece {
			return nil, nil
		}
	}
	if w.last >= w.told+idleIndexes {
		w.bookmark(false)
	}
	return v.Changed, nil
}

// changes are what a step did to the objects of the kind, after last, in the order of their indexes.
func (w *watch) changes(v *projection.View, step *projection.Step) ([]change, error) {
	if w.r.told {
		return w.s.happenings(v, step, w.last), nil
	}
	touched, own := map[name]uint64{}, map[name]uint64{}
	for i := range step.Commit.Events {
		key, index := step.Commit.Events[i].Key, step.First()+uint64(i)
		if n, ok := w.r.touched(key); ok && w.sel.named(n) {
			touched[n], own[n] = index, index
		}
		if w.r.stirred == nil {
			continue
		}
		for _, n := range w.r.stirred(step, w.s.Node, key) {
			if w.sel.named(n) {
				touched[n] = index
			}
		}
	}
	then, now := w.q.lookAt(step.Before), w.lookAt(step.After)
	if w.r.found != nil {
		for _, n := range w.s.refound(w.r, then, now) {
			if _, already := touched[n]; !already && w.sel.named(n) {
				touched[n] = step.After.Index()
			}
		}
	}
	var all []change
	for n, index := range touched {
		if index <= w.last {
			continue
		}
		before, _, err1 := w.s.show(then, w.r, n)
		after, _, err2 := w.s.show(now, w.r, n)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		all = append(all, change{index, own[n] == index, before, after})
	}
	w.version(all)
	return all, nil
}

// version puts changes in order and gives them the versions with which they are told. Of what one event did to several objects all but the last
// is told with the version before it: a client that has heard of the one, and takes the watch up again after it, is to hear of the others. Last is
// the object whose own event it is, so that what has its version can be written back.
func (w *watch) version(all []change) {
	slices.SortFunc(all, func(a, b change) int {
		switch {
		case a.index != b.index:
			return cmp.Compare(a.index, b.index)
		case a.own != b.own && b.own:
			return -1
		case a.own != b.own:
			return 1
		}
		return 0
	})
	for i, c := range all {
		told := c.index
		if i+1 < len(all) && all[i+1].index == c.index {
			told--
		}
		if c.after != nil {
			c.after.SetResourceVersion(w.s.resourceVersion(told))
		}
		if c.before == nil {
			continue
		}
		if c.after != nil && replaced(c.before, c.after) { // told as two
			told = c.index - 1
		}
		c.before.SetResourceVersion(w.s.resourceVersion(told))
	}
}

// change tells of a change as it looks through the selection.
func (w *watch) change(c change) {
	was, is := w.sel.has(w.r, c.before), w.sel.has(w.r, c.after)
	switch {
	case was && is && replaced(c.before, c.after):
		w.tell("DELETED", c.before)
		w.tell("ADDED", c.after)
	case was && is:
		if !alike(c.before, c.after) {
			w.tell("MODIFIED", c.after)
		} else {
			return
		}
	case is:
		w.tell("ADDED", c.after)
	case was: // gone, or no longer selected
		w.tell("DELETED", c.before)
	default:
		return
	}
	w.told = c.index
}

// replaced reports whether after is another pod than before, of its name: one that has moved. A pod that had no host yet is
// the same one.
func replaced(before, after object) bool {
	p, ok := before.(*corev1.Pod)
	return ok && p.Spec.NodeName != "" && p.UID != after.GetUID()
}

// alike reports whether two objects are shown alike, but for their versions.
func alike(a, b object) bool {
	x, y := a.GetResourceVersion(), b.GetResourceVersion()
	defer func() { a.SetResourceVersion(x); b.SetResourceVersion(y) }()
	a.SetResourceVersion("")
	b.SetResourceVersion("")
	p, err1 := json.Marshal(a)
	q, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(p, q)
}

// bookmark tells the client how far the watch has come, if it asked to be told and has not been yet. The one after
// what was there at the beginning is always told.
func (w *watch) bookmark(initial bool) {
	if !initial && (!w.o.bookmarks || w.last == w.told) {
		return
	}
	o := metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: w.r.kind, APIVersion: w.r.gvk().GroupVersion().String()}}
	o.ResourceVersion = w.s.resourceVersion(w.last)
	if initial {
		o.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	w.tell("BOOKMARK", &o)
	w.told = w.last
}

func (w *watch) fail(err error) {
	st := statusOf(err)
	w.say("ERROR", &st)
}

func (w *watch) tell(typ string, o object) {
	if w.rows != nil {
		w.say(typ, w.rows.of(o.GetResourceVersion(), w.s.now(), o))
		return
	}
	w.say(typ, o)
}

func (w *watch) say(typ string, o any) {
	e := json.NewEncoder(&w.out)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		Type   string `json:"type"`
		Object any    `json:"object"`
	}{typ, o})
	if err != nil { // these are Kubernetes' own types, which always marshal
		w.s.log().Error("a change was not told to a watch", "resource", w.r.plural, "error", err)
	}
}

// stream is an answer that goes on.
type stream struct {
	w        http.ResponseWriter
	c        *http.ResponseController
	patience time.Duration
}

// stream begins an answer that goes on, so that the client knows at once that it is there.
func (q *request) stream(mediaType string) *stream {
	out := &stream{q.w, http.NewResponseController(q.w), q.s.patience()}
	q.streams()
	q.w.Header().Set("Content-Type", mediaType)
	q.w.WriteHeader(http.StatusOK)
	out.send(nil)
	_ = out.c.SetReadDeadline(time.Time{}) // of a body that nobody wanted: it would end the stream
	return out
}

// send gives b to the client, and reports whether it could. A client that does not read for too long is given up.
func (out *stream) send(b []byte) bool { return out.give(b) == nil }

// give is send, and says why it could not.
func (out *stream) give(b []byte) error {
	if err := write(out.w, b, out.patience); err != nil {
		return err
	}
	return out.c.Flush()
}

// write writes b in pieces, with so much time for each: a client that reads slowly gets all, and one that does not read
// is given up.
func write(w http.ResponseWriter, b []byte, patience time.Duration) error {
	for {
		// A connection that takes no deadline is one of a test.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
		n := min(len(b), 64<<10)
		if _, err := w.Write(b[:n]); err != nil || n == len(b) {
			return err
		}
		b = b[n:]
	}
}
