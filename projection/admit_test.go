package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// payloads are the bytes of an incarnation's commits in a log, in order.
func payloads(t testing.TB, log Log, inc events.Incarnation) (all [][]byte) {
	t.Helper()
	if err := log.Scan(1, func(r events.Record) error {
		if r.Inc == inc {
			all = append(all, bytes.Clone(r.Payload))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func admit(t testing.TB, l *Ledger, commits ...[]byte) (fates []Fate) {
	t.Helper()
	all, err := l.Admit(context.Background(), commits)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		fates = append(fates, a.Fate)
	}
	return fates
}

// others is a host with its own incarnation, in a real log.
func others(t testing.TB) (*Ledger, *events.Log) {
	log := realLog(t, t.TempDir())
	l, _ := running(t, log)
	return l, log
}

func TestAdmit_sameFoldAsTheWriters(t *testing.T) {
	a, alog := others(t)
	b, blog := others(t)
	mustRecord(t, a, put("deployment/default/a", `{"n":1}`))
	mustRecord(t, a, put("deployment/default/b", `{"n":1}`), put("deployment/default/c", `{"n":1}`))
	mustRecord(t, a, Change{Kind: events.Declared, Key: "deployment/default/a"})
	given := payloads(t, alog, alog.Incarnation())

	if got, want := admit(t, b, given[2], given[0], given[0], given[1], given[2], []byte("{}")), []Fate{Ahead, Taken, Known, Taken, Taken, Unread}; !slices.Equal(got, want) {
		t.Errorf("fates: got %v, want %v", got, want)
	}
	if got, want := b.View().Digest(), a.View().Digest(); got != want {
		t.Errorf("digests differ:\n%s\n%s", got, want)
	}
	if got := payloads(t, blog, alog.Incarnation()); !slices.EqualFunc(got, given, bytes.Equal) {
		t.Error("what the log holds are not the writer's bytes")
	}
	if got, want := b.Stats().Admitted.Load(), uint64(4); got != want || b.Stats().Commits.Load() != 0 {
		t.Errorf("%d events of others counted, %d own commits; want %d, none", got, b.Stats().Commits.Load(), want)
	}
	again := mustOpen(t, blog, nil, 0)
	if got, want := again.View().Digest(), b.View().Digest(); got != want {
		t.Error("opened again, the state is another one")
	}
	steps, ok := b.View().Since(0)
	if !ok || len(steps) != 3 || steps[1].First() != 2 {
		t.Errorf("steps of what others said: %d, %v", len(steps), ok)
	}
}

func TestAdmit_knowsWhatIsAstray(t *testing.T) {
	a, alog := others(t)
	mustRecord(t, a, put("deployment/default/a", `{"n":1}`))
	mustRecord(t, a, put("deployment/default/a", `{"n":2}`))
	given := payloads(t, alog, alog.Incarnation())
	b, _ := others(t)
	admit(t, b, given...)
	c, err := events.ParseCommit(given[1])
	if err != nil {
		t.Fatal(err)
	}
	other := c
	other.Cause = "by a copy of the host"
	forked, err := other.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	next := events.Commit{Inc: c.Inc, Seq: 3, Time: c.Time, Prev: events.HashOf(forked), Events: c.Events[:1]}
	next.Events[0].UID = events.ID{Inc: c.Inc, Seq: 1}
	follows, err := next.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	before := b.View().State
	if got := admit(t, b, forked, follows); !slices.Equal(got, []Fate{Astray, Astray}) || b.View().State != before {
		t.Errorf("got %v, want both astray and nothing changed", got)
	}
	late := events.Commit{Inc: 99, Seq: 1, Time: events.LastTime + 1, Events: c.Events[:1]}
	late.Events[0].UID = events.ID{Inc: 99, Seq: 1}
	lateBytes, err := late.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := admit(t, b, lateBytes); !slices.Equal(got, []Fate{Unread}) {
		t.Errorf("stamped after the last time: got %v", got)
	}
}

func TestAdmit_liftsTheClockButNotByMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := running(t, newMemoryLog())
		from := func(inc events.Incarnation, ahead time.Duration) []byte {
			c := events.Commit{Inc: inc, Seq: 1, Time: events.TimeOf(time.Now().Add(ahead)), Node: "x", Events: []events.Event{
				{Kind: events.Declared, Key: fmt.Sprintf("deployment/default/%v", inc), UID: events.ID{Inc: inc, Seq: 1}, Object: []byte(`{}`)}}}
			p, err := c.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		admit(t, b, from(1, 5*time.Second))
		r := mustRecord(t, b, put("deployment/default/b", `{}`))
		if got := time.Until(r.Stamp.Time.Wall()); got < 4*time.Second || got > 6*time.Second {
			t.Errorf("after hearing a clock 5 s ahead, stamps are %v ahead", got)
		}
		admit(t, b, from(2, time.Hour))
		r = mustRecord(t, b, put("deployment/default/b", `{"n":1}`))
		if got := time.Until(r.Stamp.Time.Wall()); got > 11*time.Second || b.Stats().Skewed.Load() != 1 {
			t.Errorf("after hearing a clock an hour ahead, stamps are %v ahead; %d counted", got, b.Stats().Skewed.Load())
		}
		r = mustRecord(t, b, put("deployment/default/0000000000000002", `{"n":1}`))
		if o, _ := r.State.Lookup("deployment/default/0000000000000002"); string(o.Version.Object) != `{"n":1}` {
			t.Errorf("what a clock gone wrong has stamped cannot be changed: %s", o.Version.Object)
		}
	})
}

// TestAdmit_fullDisk: a host whose disk is full goes on hearing the others, claims none of it, refuses its own
// changes, and catches up by itself.
func TestAdmit_fullDisk(t *testing.T) {
	a, alog := others(t)
	mustRecord(t, a, put("deployment/default/a", `{"n":1}`))
	mustRecord(t, a, put("deployment/default/b", `{"n":1}`))
	given := payloads(t, alog, alog.Incarnation())
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		b, _ := running(t, log)
		log.fail(events.ErrFull)
		if got := admit(t, b, given[0]); !slices.Equal(got, []Fate{Taken}) {
			t.Errorf("while the disk is full: got %v", got)
		}
		v := b.View()
		if _, ok := v.Lookup("deployment/default/a"); !ok || v.OnDisk().Index() != 0 {
			t.Errorf("seen: %v, claimed up to %d", ok, v.OnDisk().Index())
		}
		if d := v.Durable(); d.State != v.OnDisk() || d.OnDisk() != v.OnDisk() || d.Changed != v.Changed {
			t.Errorf("durable is %+v", d)
		} else if steps, ok := d.Since(0); len(steps) > 0 || !ok {
			t.Errorf("durable since the beginning are %d steps, %v", len(steps), ok)
		}
		if _, err := b.Record(context.Background(), By{}, set(put("deployment/default/own", `{}`))); !errors.Is(err, events.ErrFull) {
			t.Errorf("an own change: got %v, want %v", err, events.ErrFull)
		}
		admit(t, b, given[1])
		log.fail(nil)
		changed := b.View().Changed
		<-changed // without anybody's doing
		if v := b.View(); v.OnDisk() != v.State || log.End().Index != 2 || v.Index() != 2 {
			t.Errorf("with room again: on disk up to %d, log at %d, state at %d", v.OnDisk().Index(), log.End().Index, v.Index())
		}
		mustRecord(t, b, put("deployment/default/own", `{}`))
		if again := mustOpen(t, log, nil, 0); again.View().Digest() != b.View().Digest() {
			t.Error("opened again, the state is another one")
		}
	})
}

func TestAdmit_fullDiskKeepsOnlySoMuch(t *testing.T) {
	a, alog := others(t)
	mustRecord(t, a, put("deployment/default/a", `{"n":1}`))
	given := payloads(t, alog, alog.Incarnation())
	log := newMemoryLog()
	b, _ := running(t, log)
	b.excess = maxBehind
	log.fail(events.ErrFull)
	if _, err := b.Admit(context.Background(), given); !errors.Is(err, events.ErrFull) || b.View().Index() != 0 {
		t.Errorf("got %v, state at %d; want nothing taken", err, b.View().Index())
	}
}

// Of what other hosts said and was not taken nobody is told, neither who wanted just that, and therefore nothing more.
func TestAdmit_nobodyIsToldOfWhatWasNotTaken(t *testing.T) {
	a, alog := others(t)
	mustRecord(t, a, put("deployment/default/a", `{"n":1}`))
	log := newMemoryLog()
	b := mustOpen(t, log, nil, 0)
	b.excess = maxBehind
	log.fail(events.ErrFull)
	heard := &request{commits: payloads(t, alog, alog.Incarnation()), done: make(chan result, 1)}
	same := &request{done: make(chan result, 1), decide: func(s *State) ([]Change, error) {
		if _, ok := s.Lookup("deployment/default/a"); ok {
			return nil, nil
		}
		return []Change{put("deployment/default/a", `{"n":1}`)}, nil
	}}
	if err := b.commitAll([]*request{heard, same}); !errors.Is(err, events.ErrFull) {
		t.Fatalf("got %v", err)
	}
	for _, r := range []*request{heard, same} {
		if got := <-r.done; !errors.Is(got.err, events.ErrFull) {
			t.Errorf("got %+v, want %v", got, events.ErrFull)
		}
	}
}

func TestJoin_survivesARestart(t *testing.T) {
	a, alog := others(t)
	mustRecord(t, a, put("deployment/default/a", `{"n":1}`))
	mustRecord(t, a, put("deployment/default/a", `{"n":2}`), put("deployment/default/b", `{"n":1}`))
	mustRecord(t, a, Change{Kind: events.Declared, Key: "deployment/default/b"})
	b, blog := others(t)
	mustRecord(t, b, put("deployment/default/own", `{}`))
	before := b.View().State
	if err := b.Join(context.Background(), copied(t, a.View().State), "host a had trimmed its log"); err != nil {
		t.Fatal(err)
	}
	if want := Join(before, a.View().State).Digest(); b.View().Digest() != want {
		t.Errorf("got the state %s, want %s", b.View().Digest(), want)
	}
	if o, _ := b.View().Lookup("deployment/default/a"); o.Index != 2 || b.View().Index() != 2 {
		t.Errorf("a has index %d, the state %d, want that of the jump, 2", o.Index, b.View().Index())
	}
	if err := b.Join(context.Background(), copied(t, a.View().State), "again"); err != nil || b.Stats().Jumps.Load() != 1 {
		t.Errorf("what is held already: %v, %d jumps", err, b.Stats().Jumps.Load())
	}
	mustRecord(t, a, put("deployment/default/c", `{}`))
	given := payloads(t, alog, alog.Incarnation())
	if got := admit(t, b, given[3]); !slices.Equal(got, []Fate{Taken}) {
		t.Errorf("what follows: got %v", got)
	}
	mustRecord(t, b, put("deployment/default/own", `{"n":2}`))
	again := mustOpen(t, blog, nil, 0)
	if again.View().Digest() != b.View().Digest() || again.View().Index() != b.View().Index() {
		t.Error("opened again, the state is another one")
	}
}

func copied(t testing.TB, s *State) *State {
	t.Helper()
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		t.Fatal(err)
	}
	c, err := DecodeState(&b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGiveUp_recordsAgain: two copies of one host go on by themselves. Both that write and those that only hold what one
// of them wrote come to the same.
func TestGiveUp_recordsAgain(t *testing.T) {
	a, alog := others(t)
	inc := alog.Incarnation()
	mustRecord(t, a, put("deployment/default/a", `{"n":1}`))
	mustRecord(t, a, put("deployment/default/x", `{"n":1}`))
	shared := payloads(t, alog, inc)
	copy1 := newMemoryLog()
	copy1.inc = inc
	b, _ := running(t, copy1)
	admit(t, b, shared...)
	mustRecord(t, a, put("deployment/default/a", `{"n":"a"}`))
	created := mustRecord(t, b, put("deployment/default/b", `{"n":"b"}`))
	mustRecord(t, b, put("deployment/default/b", `{"n":"b again"}`), put("deployment/default/x", `{"n":2}`))
	losing := payloads(t, copy1, inc)
	witness, wlog := others(t)
	admit(t, witness, losing...)
	mustRecord(t, witness, put("deployment/default/w", `{}`))

	for name, l := range map[string]*Ledger{"the writer": b, "a witness": witness} {
		if err := l.GiveUp(context.Background(), inc, 2, "host a has another event 3"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		o, ok := l.View().Lookup("deployment/default/b")
		to := forkOf(inc, events.HashOf(losing[2]))
		if !ok || string(o.Version.Object) != `{"n":"b again"}` || o.UID != (events.ID{Inc: to, Seq: 1}) || o.Stamp.ID != (events.ID{Inc: to, Seq: 2}) || o.Base.Time != created.Stamp.Time {
			t.Errorf("%s: b is %+v", name, o)
		}
		if h := l.View().Head(inc); h.Seq != 2 || h.Hash != events.HashOf(shared[1]) {
			t.Errorf("%s: head %+v", name, h)
		}
		given := payloads(t, alog, inc)
		if got := admit(t, l, given[2]); !slices.Equal(got, []Fate{Taken}) {
			t.Errorf("%s: what stands: got %v", name, got)
		}
		if err := l.GiveUp(context.Background(), inc, 3, "again"); err != nil || l.Stats().Jumps.Load() != 1 {
			t.Errorf("%s: nothing to give up: %v", name, err)
		}
	}
	if copy1.inc == inc {
		t.Error("the writer goes on under the incarnation whose events it gave up")
	}
	mustRecord(t, b, put("deployment/default/after", `{}`))
	to := forkOf(inc, events.HashOf(losing[2]))
	again := payloads(t, copy1, to)
	if got := payloads(t, wlog, to); len(got) != 2 || !slices.EqualFunc(got, again, bytes.Equal) {
		t.Errorf("the witness recorded again %d commits, the writer %d, want the same 2", len(got), len(again))
	}
	admit(t, a, again...)
	admit(t, a, payloads(t, copy1, copy1.inc)...)
	admit(t, b, payloads(t, wlog, wlog.Incarnation())...)
	admit(t, a, payloads(t, wlog, wlog.Incarnation())...)
	if a.View().Digest() != b.View().Digest() {
		t.Error("the copies differ in the end")
	}
	for _, log := range []Log{copy1, wlog} {
		l := b
		if log == Log(wlog) {
			l = witness
		}
		if opened := mustOpen(t, log, nil, 0); opened.View().Digest() != l.View().Digest() {
			t.Error("opened again, the state is another one")
		}
	}
}

func TestGiveUp_entangled(t *testing.T) {
	a, alog := others(t)
	mustRecord(t, a, put("deployment/default/a", `{"n":1}`))
	mustRecord(t, a, put("deployment/default/a", `{"n":2}`))
	b, _ := others(t)
	if err := b.Join(context.Background(), copied(t, a.View().State), "trimmed"); err != nil {
		t.Fatal(err)
	}
	before := b.View().State
	err := b.GiveUp(context.Background(), alog.Incarnation(), 1, "another")
	if !errors.Is(err, ErrEntangled) || b.View().State != before {
		t.Errorf("got %v", err)
	}
}

// Also under an incarnation without events: a disk may have been put back to before the first, which others have seen.
func TestRenew_alsoWithoutEventsAndOnAFullDisk(t *testing.T) {
	log := newMemoryLog()
	l, _ := running(t, log)
	if err := l.Renew(context.Background()); err != nil || log.inc != 8 {
		t.Errorf("without events: %v, incarnation %v", err, log.inc)
	}
	other, olog := others(t)
	mustRecord(t, other, put("deployment/default/b", `{}`))
	log.fail(events.ErrFull)
	admit(t, l, payloads(t, olog, olog.Incarnation())...)
	if err := l.Renew(context.Background()); err != nil || log.inc != 9 {
		t.Errorf("on a full disk, with what is not on it yet: %v, incarnation %v", err, log.inc)
	}
	log.fail(nil)
	r := mustRecord(t, l, put("deployment/default/a", `{"n":2}`))
	if r.Stamp.ID != (events.ID{Inc: 9, Seq: 1}) {
		t.Errorf("what follows is %v", r.Stamp.ID)
	}
}

// TestRecord_nothingAfterTheLastTime: a version stamped at the end of time is an error, not a wrap-around.
func TestRecord_nothingAfterTheLastTime(t *testing.T) {
	b, _ := running(t, newMemoryLog())
	c := events.Commit{Inc: 1, Seq: 1, Time: events.LastTime, Events: []events.Event{
		{Kind: events.Declared, Key: "deployment/default/a", UID: events.ID{Inc: 1, Seq: 1}, Object: []byte(`{}`)}}}
	p, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	admit(t, b, p)
	if _, err := b.Record(context.Background(), By{}, set(put("deployment/default/a", `{"n":1}`))); err == nil || !strings.Contains(err.Error(), "nothing can be stamped later") {
		t.Errorf("got %v", err)
	}
	mustRecord(t, b, put("deployment/default/b", `{}`))
}

// A disk that was put back while it ran is two hosts that count under one incarnation. What they make of one version, which both clocks are behind,
// must not be stamped alike: nothing else would tell who goes on from which.
func TestStamp_whoIsBehindDoesNotStampAlike(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	const key = "deployment/default/a"
	c := events.Commit{Inc: 9, Seq: 1, Time: events.TimeOf(noon.Add(time.Hour)), Events: []events.Event{{Kind: events.Declared, Key: key, UID: events.ID{Inc: 9, Seq: 1}, Object: []byte(`{}`)}}}
	s := NewState().Fold(&c, events.Hash{}, 1, noon)
	all := map[events.Stamp]bool{}
	for i := range 10 {
		l, err := OpenLedger(newMemoryLog(), nil, 1, func() time.Time { return noon.Add(time.Duration(i) * 7 * time.Millisecond) })
		if err != nil {
			t.Fatal(err)
		}
		next, err := l.stamp(s, By{}, []Change{put(key, `{"n":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		if next.Time <= c.Time || next.Time > c.Time+1<<17 {
			t.Errorf("what replaces %v is stamped %v, want a little later", c.Time, next.Time)
		}
		all[next.Stamp(0)] = true
	}
	if len(all) != 10 {
		t.Errorf("ten changes made at ten moments have %d stamps", len(all))
	}
}
