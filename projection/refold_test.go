package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// written is a log of incarnation 7 that holds the given commits, and one more of each key.
func written(t *testing.T, before [][]byte, keys ...string) *memoryLog {
	t.Helper()
	log := newMemoryLog()
	l, stop := running(t, log)
	admit(t, l, before...)
	for _, key := range keys {
		mustRecord(t, l, put("deployment/default/"+key, `{"by":"`+key+`"}`))
		time.Sleep(time.Microsecond) // of two chains no two commits are stamped alike
	}
	stop()
	return log
}

// A fork is ended from the commits that the log holds, also when another fork was ended before: in whatever order, all come to the same.
func TestGiveUp_severalIncarnations(t *testing.T) {
	ctx := context.Background()
	seven := payloads(t, written(t, nil, "a", "b", "c"), 7)
	standing := payloads(t, written(t, seven[:1], "s"), 7)[1:]
	nine := newMemoryLog()
	nine.inc = 9
	w, _ := running(t, nine)
	admit(t, w, seven...)
	mustRecord(t, w, put("deployment/default/b", `{"by":"w"}`))
	mustRecord(t, w, put("deployment/default/x", `{"by":"w"}`), del("c"))
	var states []*State
	for _, order := range [][]events.Incarnation{{7, 9}, {9, 7}} {
		l, log := others(t)
		admit(t, l, seven...)
		admit(t, l, payloads(t, nine, 9)...)
		for _, inc := range order {
			seq := map[events.Incarnation]uint64{7: 1, 9: 1}[inc]
			if err := l.GiveUp(ctx, inc, seq, "a fork"); err != nil {
				t.Fatalf("%v of %v: %v", inc, order, err)
			}
		}
		admit(t, l, standing...)
		if got, want := shownIn(l.View().State), []string{`a {"by":"a"}`, `b {"by":"w"}`, `s {"by":"s"}`, `x {"by":"w"}`}; !slices.Equal(got, want) {
			t.Errorf("%v: shown is %q, want %q", order, got, want)
		}
		if again := mustOpen(t, log, nil, 0); again.View().Digest() != l.View().Digest() {
			t.Errorf("%v: opened again, the state is another one", order)
		}
		states = append(states, l.View().State)
	}
	if got, want := states[1].Head(forkOf(7, events.HashOf(seven[1]))), states[0].Head(forkOf(7, events.HashOf(seven[1]))); got != want || got.Seq != 2 {
		t.Errorf("recorded again are %v and %v", got, want)
	}
}

// A disk was put back twice: from one commit on, two chains are given up. Of what is recorded again for the one a host has heard when it gives up
// the other.
func TestGiveUp_whatOthersHaveRecordedAgainIsForkedToo(t *testing.T) {
	ctx := context.Background()
	common := payloads(t, written(t, nil, "common", "both"), 7)
	chains := [][][]byte{payloads(t, written(t, common, "a", "a2"), 7), payloads(t, written(t, common, "b"), 7)}
	var vectors [][]Head
	for i, own := range chains {
		q, qlog := others(t)
		admit(t, q, chains[1-i]...)
		if err := q.GiveUp(ctx, 7, 1, "a fork"); err != nil {
			t.Fatal(err)
		}
		to := forkOf(7, events.HashOf(common[1]))
		p, plog := others(t)
		admit(t, p, own...)
		admit(t, p, payloads(t, qlog, to)...)
		if err := p.GiveUp(ctx, 7, 1, "a fork"); err != nil {
			t.Fatal(err)
		}
		want := []string{`a {"by":"a"}`, `a2 {"by":"a2"}`, `b {"by":"b"}`, `both {"by":"both"}`, `common {"by":"common"}`}
		if got := shownIn(p.View().State); !slices.Equal(got, want) {
			t.Errorf("shown is %q, want %q", got, want)
		}
		if n := len(p.View().Conflicts()); n > 0 {
			t.Errorf("%d changes are listed as lost", n)
		}
		if again := mustOpen(t, plog, nil, 0); again.View().Digest() != p.View().Digest() {
			t.Error("opened again, the state is another one")
		}
		vectors = append(vectors, p.View().Vector())
	}
	if !slices.Equal(vectors[0], vectors[1]) {
		t.Errorf("whichever is heard of first, what stands is the same: %v and %v", vectors[0], vectors[1])
	}
}

// What was recorded again may have been given up in its turn: then it is not recorded once more as it was.
func TestGiveUp_whatOthersHaveGivenUpAgain(t *testing.T) {
	ctx := context.Background()
	seven := payloads(t, written(t, nil, "common", "a", "b"), 7)
	to := forkOf(7, events.HashOf(seven[1]))
	p, plog := others(t)
	admit(t, p, seven...)
	if err := errors.Join(p.GiveUp(ctx, 7, 1, "a fork"), p.GiveUp(ctx, to, 0, "a fork")); err != nil {
		t.Fatal(err)
	}
	next := p.View().Vector()[slices.IndexFunc(p.View().Vector(), func(h Head) bool { return h.Inc != 7 && h.Seq > 0 })].Inc
	q, _ := others(t)
	admit(t, q, seven...)
	admit(t, q, payloads(t, plog, next)...)
	if err := q.GiveUp(ctx, 7, 1, "a fork"); err != nil {
		t.Fatal(err)
	}
	if s := q.View().State; s.Head(to).Seq != 0 || s.Head(next) != p.View().Head(next) || s.Len() != 3 {
		t.Errorf("it has recorded again %d events as they were given up, and %d as others have, want none and 2", s.Head(to).Seq, s.Head(next).Seq)
	}
}

// Who goes on from a version knows it by the number that it had. When the object is given up as well, that holds, whichever of the two
// was given up first and however often.
func TestGiveUp_whatFollowsOnWhatWasGivenUpBefore(t *testing.T) {
	ctx := context.Background()
	made := payloads(t, written(t, nil, "gone", "kept"), 7)
	others9 := newMemoryLog()
	others9.inc = 9
	l9, _ := running(t, others9)
	admit(t, l9, made...)
	mustRecord(t, l9, put("deployment/default/other", `{}`))
	mustRecord(t, l9, put("deployment/default/gone", `{"by":"9"}`))
	mustRecord(t, l9, put("deployment/default/kept", `{"by":"9"}`))
	changed := payloads(t, others9, 9)
	third := newMemoryLog()
	third.inc = 11
	l11, _ := running(t, third)
	admit(t, l11, slices.Concat(made, changed)...)
	mustRecord(t, l11, del("gone"))
	mustRecord(t, l11, put("deployment/default/kept", `{"by":"11"}`))
	again := forkOf(9, events.HashOf(changed[0]))
	stands, _ := others(t)
	admit(t, stands, payloads(t, written(t, nil, "stands"), 7)...)
	l, _ := others(t) // has taken over a state
	admit(t, l, slices.Concat(made, changed, payloads(t, third, 11))...)
	if err := errors.Join(l.GiveUp(ctx, 9, 0, "a fork"), l.Join(ctx, elsewhere(t), "trimmed"), l.Yield(ctx, 7, 0, copied(t, stands.View().State), "a fork")); err != nil {
		t.Fatal(err)
	}
	if got, want := shownIn(l.View().State), []string{`elsewhere {}`, `kept {"by":"11"}`, `other {}`, `stands {"by":"stands"}`}; !slices.Equal(got, want) {
		t.Errorf("who takes over what stands shows %q, want %q", got, want)
	}
	if all := l.View().Conflicts(); len(all) > 0 {
		t.Errorf("who takes over what stands lists %d changes as lost", len(all))
	}
	for _, order := range [][]Head{{{Inc: 9}, {Inc: 7}}, {{Inc: 7}, {Inc: 9}}, {{Inc: 9}, {Inc: again, Seq: 1}, {Inc: 7}}} {
		l, _ := others(t)
		admit(t, l, slices.Concat(made, changed, payloads(t, third, 11))...)
		for _, h := range order {
			if err := l.GiveUp(ctx, h.Inc, h.Seq, "a fork"); err != nil {
				t.Fatalf("%v of %v: %v", h.Inc, order, err)
			}
		}
		if got, want := shownIn(l.View().State), []string{`kept {"by":"11"}`, `other {}`}; !slices.Equal(got, want) {
			t.Errorf("%v: shown is %q, want %q", order, got, want)
		}
		// Given up last, they say once more what was recorded again of them already, of what is over: then that is listed, see DESIGN.md.
		if all := l.View().Conflicts(); len(all) > 0 && order[0].Inc == 9 {
			t.Errorf("%v: %d changes are listed as lost, the first is %s", order, len(all), all[0].Version.Object)
		}
	}
}

// An object that is changed in what is given up may have the number that the change itself has: a disk was put back, and heard again of what it had made.
func TestRecordAgain_aChangeOfAnObjectWithItsOwnNumber(t *testing.T) {
	c := events.Commit{Inc: 7, Seq: 1, Time: 20, Events: []events.Event{{Kind: events.Declared, Key: "deployment/default/x", UID: events.ID{Inc: 7, Seq: 1},
		Base: events.Stamp{Time: 10, ID: events.ID{Inc: 9, Seq: 1}}, Object: []byte(`{}`)}}}
	b, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := recordAgain([][]byte{b}, 0, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := events.ParseCommit(a.commits[0]); err != nil || c.Events[0].UID != (events.ID{Inc: 7, Seq: 1}) {
		t.Errorf("it is said of %v (%v), want what it was said of", c.Events[0].UID, err)
	}
}

// Who knew of more has recorded again in other words what another said: neither is in the way of the other.
func TestFit_inOtherWords(t *testing.T) {
	commit := func(inc events.Incarnation, cause string) []byte {
		t.Helper()
		c := events.Commit{Inc: inc, Seq: 1, Time: 20, Cause: cause, Events: []events.Event{{Kind: events.Declared, Key: "deployment/default/x", UID: events.ID{Inc: 7, Seq: 1}, Object: []byte(`{}`)}}}
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	l, _ := others(t)
	admit(t, l, commit(5, "more"))
	a := again{renumbering: renumbering{to: 8}, commits: [][]byte{commit(8, "")}, says: [][]byte{commit(5, "less"), commit(6, "")}}
	all, err := a.fit(l.View().State, &links{})
	if err != nil || len(all) != 3 {
		t.Fatalf("%d commits, want 3 (%v)", len(all), err)
	}
	if fates := admit(t, l, all...); slices.ContainsFunc(fates, func(f Fate) bool { return f != Taken }) {
		t.Errorf("they are %v, want all taken", fates)
	}
	if again, err := a.fit(l.View().State, &links{}); err != nil || !slices.EqualFunc(again, all, bytes.Equal) {
		t.Errorf("when that is known, they are others (%v)", err)
	}
}

// Where a number has meant two objects for a while, it depends on the order what is folded, until it is folded anew.
func TestRefold_sameWhateverCameFirst(t *testing.T) {
	ctx := context.Background()
	x := events.ID{Inc: 7, Seq: 1} // as another meant it who changed it
	say := func(c events.Commit) []byte {
		t.Helper()
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	of7 := say(events.Commit{Inc: 7, Seq: 1, Time: 10, Events: []events.Event{{Kind: events.Declared, Key: "deployment/default/y", UID: x, Object: []byte(`{}`)}}})
	of9 := say(events.Commit{Inc: 9, Seq: 1, Time: 20, Events: []events.Event{{Kind: events.Declared, Key: "deployment/default/x", UID: x, Base: events.Stamp{Time: 5, ID: x}, Object: []byte(`{}`)}}})
	var ledgers []*Ledger
	for _, order := range [][][]byte{{of7, of9}, {of9, of7}} {
		l, log := others(t)
		admit(t, l, order...)
		ledgers = append(ledgers, l)
		before := l.View().Digest()
		changed, err := l.Refold(ctx, "states differ")
		if err != nil || changed != (l.View().Digest() != before) {
			t.Errorf("changed: %v, %v", changed, err)
		}
		index := l.View().Index()
		if changed, err := l.Refold(ctx, "states differ"); err != nil || changed || l.View().Index() != index {
			t.Errorf("once more: %v, %v, and the log has %d events, want %d", changed, err, l.View().Index(), index)
		}
		if again := mustOpen(t, log, nil, 0); again.View().Digest() != l.View().Digest() {
			t.Error("opened again, the state is another one")
		}
		if changed != (len(ledgers) == 2) {
			t.Errorf("order %d: changed: %v", len(ledgers), changed)
		}
	}
	if a, b := fmt.Sprint(ledgers[0].View().Vector()), fmt.Sprint(ledgers[1].View().Vector()); a != b {
		t.Errorf("the vectors are %v and %v", a, b)
	}
	if a, b := ledgers[0].View().Digest(), ledgers[1].View().Digest(); a != b {
		t.Errorf("the digests are %v and %v", a, b)
	}
}

// What came late is folded in its turn, each commit after the one before it, though a clock was set back between them.
func TestRefold_inOrder(t *testing.T) {
	l, _ := others(t)
	at := func(time events.Time, seq uint64, prev []byte) []byte {
		t.Helper()
		c := events.Commit{Inc: 9, Seq: seq, Time: time, Events: []events.Event{{Kind: events.Declared, Key: fmt.Sprintf("deployment/default/n%d", seq), UID: events.ID{Inc: 9, Seq: seq}, Object: []byte(`{}`)}}}
		if prev != nil {
			c.Prev = events.HashOf(prev)
		}
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := at(50, 1, nil)
	second := at(10, 2, first)
	admit(t, l, first, second, at(70, 3, second))
	mustRecord(t, l, put("deployment/default/own", `{}`))
	r, err := l.refold(l.View().Vector(), 9, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := shownIn(r.state); !slices.Equal(got, []string{"n1 {}", "n2 {}", "own {}"}) || len(r.given) != 1 {
		t.Errorf("got %q and %d given up", got, len(r.given))
	}
	if err := l.Join(context.Background(), elsewhere(t), "trimmed"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Refold(context.Background(), "states differ"); !errors.Is(err, ErrEntangled) {
		t.Errorf("with a state of commits that are not in the log: %v, want %v", err, ErrEntangled)
	}
}

// elsewhere is a state of commits that no log here holds.
func elsewhere(t *testing.T) *State {
	l, _ := others(t)
	mustRecord(t, l, put("deployment/default/elsewhere", `{}`))
	return copied(t, l.View().State)
}

// What others have given up is found in what is left of a log that was trimmed, where what went cannot be read; and that it cannot is no fork.
func TestForgone_ofALogThatWasTrimmed(t *testing.T) {
	ctx := context.Background()
	log, err := events.Open(t.TempDir(), events.Options{Reserve: -1, MinFree: 1 << 20, SegmentBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	l, _ := running(t, log)
	inc := log.Incarnation()
	const all = 60
	for i := range all {
		mustRecord(t, l, put(fmt.Sprintf("deployment/default/%d", i), `{}`))
	}
	commits := payloads(t, log, inc)
	if err := log.Trim(all / 2); err != nil || log.First() == 1 {
		t.Fatalf("it begins with event %d, %v", log.First(), err)
	}
	if _, _, found, err := l.Forgone(ctx); found || err != nil {
		t.Errorf("nothing was given up: got %v, %v", found, err)
	}
	if n, err := l.Late(ctx); n != 0 || err != nil {
		t.Errorf("nothing was given up: %d commits are recorded again, %v", n, err)
	}
	giver, given := others(t)
	admit(t, giver, commits...)
	if err := giver.GiveUp(ctx, inc, all-2, "a fork"); err != nil {
		t.Fatal(err)
	}
	admit(t, l, but(t, given, inc)...)
	if of, after, found, err := l.Forgone(ctx); of != inc || after != all-2 || !found || err != nil {
		t.Errorf("others have given up what comes after event %d: got %v, %d, %v, %v", all-2, of, after, found, err)
	}
	if err := l.GiveUp(ctx, inc, all-2, "a fork"); !errors.Is(err, events.ErrTrimmed) {
		t.Errorf("it is given up without what it follows on: %v", err)
	}
	if _, err := l.Late(ctx); !errors.Is(err, events.ErrTrimmed) {
		t.Errorf("what others said of it is recorded without what they said it of: %v", err)
	}
}

// Of what was taken over as a state a part is in the log at most. What others have given up of it is left to a comparison of chains, and to Yield.
func TestForgone_ofAStateThatWasTakenOver(t *testing.T) {
	ctx := context.Background()
	w, wlog := others(t)
	inc := wlog.Incarnation()
	mustRecord(t, w, put("deployment/default/a", `{}`))
	state := w.View().State
	mustRecord(t, w, put("deployment/default/b", `{}`))
	commits := payloads(t, wlog, inc)
	l, _ := others(t)
	if err := l.Join(ctx, state, "a test"); err != nil {
		t.Fatal(err)
	}
	admit(t, l, commits[1])
	giver, given := others(t)
	admit(t, giver, commits...)
	if err := giver.GiveUp(ctx, inc, 1, "a fork"); err != nil {
		t.Fatal(err)
	}
	admit(t, l, but(t, given, inc)...)
	if l.View().Head(inc).Seq != 2 {
		t.Fatalf("it holds event %d of what is given up", l.View().Head(inc).Seq)
	}
	if _, _, found, err := l.Forgone(ctx); found || err != nil {
		t.Errorf("got %v, %v", found, err)
	}
}
