package projection

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

func del(name string) Change { return Change{Kind: events.Declared, Key: "deployment/default/" + name} }

// parted are two hosts of one incarnation, as when a disk was put back: what each has written after event 1 has the same numbers.
func parted(t *testing.T) (stands, given *Ledger, standing, giving *memoryLog, inc events.Incarnation) {
	standing, giving = newMemoryLog(), newMemoryLog()
	stands, _ = running(t, standing)
	given, _ = running(t, giving)
	inc = standing.Incarnation()
	mustRecord(t, stands, put("deployment/default/old", `{}`))
	admit(t, given, payloads(t, standing, inc)...)
	stands.clock.Witness(events.TimeOf(time.Now().Add(5*time.Second)), maxAhead) // the two do not write at the very same time
	mustRecord(t, given, put("deployment/default/gone", `{"by":"given"}`))
	mustRecord(t, given, put("deployment/default/kept", `{"by":"given"}`))
	mustRecord(t, given, put("deployment/default/both", `{"by":"given"}`))
	return stands, given, standing, giving, inc
}

// What another host said of objects holds under their new numbers too, on every host, in whatever order they find out.
func TestGiveUp_whatOthersSaidFollows(t *testing.T) {
	stands, given, standing, giving, inc := parted(t)
	mustRecord(t, stands, put("deployment/default/other", `{}`))
	mustRecord(t, stands, put("deployment/default/gone", `{"by":"stands"}`))
	mustRecord(t, stands, put("deployment/default/both", `{"by":"stands"}`)) // with the number of the other's

	w, wlog := others(t)
	admit(t, w, payloads(t, giving, inc)...)
	mustRecord(t, w, del("gone"), put("deployment/default/kept", `{"by":"w"}`))
	mustRecord(t, w, del("kept"))
	mustRecord(t, w, put("deployment/default/both", `{"by":"w"}`))
	z, zlog := others(t)
	admit(t, z, payloads(t, standing, inc)...)
	mustRecord(t, z, del("both")) // which the other wrote
	admit(t, w, payloads(t, zlog, zlog.Incarnation())...)

	for _, l := range []*Ledger{w, given} {
		if err := l.GiveUp(context.Background(), inc, 1, "a fork"); err != nil {
			t.Fatal(err)
		}
		admit(t, l, payloads(t, standing, inc)...)
	}
	if s := shownIn(w.View().State); !slices.Equal(s, []string{`both {"by":"w"}`, `gone {"by":"stands"}`, `old {}`, `other {}`}) {
		t.Errorf("who knew all shows %q", s)
	}
	for _, l := range []*Ledger{given, stands} {
		for _, log := range []Log{wlog, giving, zlog} {
			admit(t, l, but(t, log, inc)...)
		}
	}
	for what, l := range map[string]*Ledger{"who wrote it": given, "who never had it": stands} {
		if got, want := shownIn(l.View().State), shownIn(w.View().State); !slices.Equal(got, want) {
			t.Errorf("%s shows %q, want %q", what, got, want)
		}
	}
}

// but are the commits in a log that are not of an incarnation.
func but(t *testing.T, log Log, inc events.Incarnation) (all [][]byte) {
	if err := log.Scan(1, func(r events.Record) error {
		if r.Inc != 0 && r.Inc != inc {
			all = append(all, bytes.Clone(r.Payload))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// shownIn is what the deployments of a state say.
func shownIn(s *State) (all []string) {
	for o := range s.All("deployment/default/") {
		all = append(all, o.Key[len("deployment/default/"):]+" "+string(o.Version.Object))
	}
	return all
}

// A host that has taken over a state since, and whose log still holds the commits, records the same commits again as all others:
// so that one object does not become two, of which only one is deleted.
func TestYield_sameAsGiveUpWhereTheLogHoldsIt(t *testing.T) {
	ctx := context.Background()
	stands, given, _, giving, inc := parted(t)
	mustRecord(t, stands, put("deployment/default/other", `{}`))
	clog := newMemoryLog()
	clog.inc = 99
	c, _ := running(t, clog)
	admit(t, c, payloads(t, giving, inc)...)
	mustRecord(t, c, del("gone"))
	x, xlog := others(t)
	admit(t, x, payloads(t, giving, inc)...)
	mustRecord(t, x, put("deployment/default/kept", `{"by":"x"}`))
	if err := c.Join(ctx, copied(t, x.View().State), "trimmed"); err != nil {
		t.Fatal(err)
	}
	if err := c.GiveUp(ctx, inc, 1, "a fork"); !errors.Is(err, ErrEntangled) {
		t.Fatalf("got %v, want %v", err, ErrEntangled)
	}
	to := forkOf(inc, events.HashOf(payloads(t, giving, inc)[1]))
	if err := c.Yield(ctx, inc, 1, copied(t, stands.View().State), "a fork"); err != nil {
		t.Fatal(err)
	}
	if err := given.GiveUp(ctx, inc, 1, "a fork"); err != nil {
		t.Fatal(err)
	}
	if got, want := payloads(t, clog, to), payloads(t, giving, to); len(want) != 3 || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("recorded again are %d commits, want the %d of the others", len(got), len(want))
	}
	if n := len(payloads(t, clog, 99)) + len(but(t, clog, 99)) - len(payloads(t, clog, inc)); n != 1+3+1+1 {
		t.Errorf("beside the %d commits of the incarnation the log holds %d, want c's own, 3 again, its end of one, and what it had from x", len(payloads(t, clog, inc)), n)
	}
	want := []string{`both {"by":"given"}`, `kept {"by":"x"}`, `old {}`, `other {}`}
	if got := shownIn(c.View().State); !slices.Equal(got, want) {
		t.Errorf("shown is %q, want %q", got, want)
	}
	if o, _ := c.View().Lookup("deployment/default/kept"); o.UID != (events.ID{Inc: to, Seq: 2}) {
		t.Errorf("what another made of an object is %v, want %v", o.UID, events.ID{Inc: to, Seq: 2})
	}
	admit(t, stands, payloads(t, giving, to)...)
	admit(t, stands, but(t, clog, inc)...)
	admit(t, stands, but(t, xlog, inc)...)
	if got := shownIn(stands.View().State); !slices.Equal(got, want) {
		t.Errorf("who never had it shows %q, want %q", got, want)
	}
}

// What the log holds of an incarnation counts only as far as the state is on its chain.
func TestYield_whatTheLogHolds(t *testing.T) {
	ctx := context.Background()
	stands, given, standing, giving, inc := parted(t)
	mustRecord(t, stands, put("deployment/default/other", `{}`))
	c, _ := others(t)
	holds := func(when string, want [][]byte) {
		t.Helper()
		if got, _, err := c.held(c.View().State, inc, 1); err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s: %d commits are held, want %d (%v)", when, len(got), len(want), err)
		}
	}
	admit(t, c, payloads(t, giving, inc)...)
	holds("at first", payloads(t, giving, inc)[1:])
	if err := c.GiveUp(ctx, inc, 1, "a fork"); err != nil {
		t.Fatal(err)
	}
	holds("given up", nil)
	admit(t, c, payloads(t, standing, inc)...)
	holds("with what stands", payloads(t, standing, inc)[1:])
	mustRecord(t, stands, put("deployment/default/other", `{"n":2}`))
	mustRecord(t, given, put("deployment/default/far", `{}`))
	if err := c.Join(ctx, copied(t, stands.View().State), "trimmed"); err != nil {
		t.Fatal(err)
	}
	holds("with a state that goes on", nil)
	mustRecord(t, stands, put("deployment/default/other", `{"n":3}`))
	admit(t, c, payloads(t, standing, inc)[3])
	holds("after that", nil)
}

// What others say of objects that are given up is told from what they say of others, under whatever number.
func TestRecordAgain_whatOthersSaid(t *testing.T) {
	const inc, key = events.Incarnation(7), "deployment/default/x"
	commit := func(inc events.Incarnation, seq uint64, at events.Time, e events.Event) ([]byte, said) {
		t.Helper()
		c := events.Commit{Inc: inc, Seq: seq, Time: at, Node: "n", Actor: "a", Cause: "why", Events: []events.Event{e}}
		if seq > 1 {
			c.Prev = events.HashOf([]byte("before"))
		}
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b, said{c, events.HashOf(b)}
	}
	stamp := func(at events.Time, inc events.Incarnation, seq uint64) events.Stamp {
		return events.Stamp{Time: at, ID: events.ID{Inc: inc, Seq: seq}}
	}
	x, p := stamp(100, inc, 2), stamp(101, inc, 3)
	first, _ := commit(inc, 2, 100, events.Event{Kind: events.Declared, Key: key, UID: x.ID, Object: []byte(`{}`)})
	second, _ := commit(inc, 3, 101, events.Event{Kind: events.Decided, Key: "placement/default/x/0", UID: p.ID, For: x, Object: []byte(`{}`)})
	// Of what stands, which it had heard of, under a number that it has itself.
	ofOther, _ := commit(inc, 4, 102, events.Event{Kind: events.Declared, Key: "deployment/default/y", UID: events.ID{Inc: inc, Seq: 2}, Base: stamp(50, inc, 2),
		Ends: []events.End{{UID: events.ID{Inc: inc, Seq: 2}, Base: stamp(50, inc, 2)}}})
	_, update := commit(9, 1, 200, events.Event{Kind: events.Declared, Key: key, UID: x.ID, Base: x, Object: []byte(`{"n":1}`), Ends: []events.End{{UID: x.ID, Base: x}}})
	_, end := commit(9, 2, 201, events.Event{Kind: events.Declared, Key: key, UID: x.ID, Base: stamp(200, 9, 1), Ends: []events.End{{UID: x.ID, Base: stamp(200, 9, 1)}}})
	_, decision := commit(9, 3, 202, events.Event{Kind: events.Decided, Key: "placement/default/x/0", UID: p.ID, Base: p, For: x, Object: []byte(`{"n":1}`)})
	_, over := commit(9, 4, 203, events.Event{Kind: events.Decided, Key: "placement/default/x/0", UID: p.ID, Base: stamp(202, 9, 3), Ends: []events.End{{UID: p.ID, Base: stamp(202, 9, 3)}}})
	_, other := commit(9, 5, 204, events.Event{Kind: events.Declared, Key: key, UID: x.ID, Base: stamp(99, inc, 2), Ends: []events.End{{UID: x.ID, Base: stamp(99, inc, 2)}}})
	to := forkOf(inc, events.HashOf(first))
	// As another host has recorded the update again, which gave them up before this one.
	_, again := commit(8, 1, 201, events.Event{Kind: events.Declared, Key: key, UID: events.ID{Inc: to, Seq: 1}, Base: stamp(100, to, 1), Object: []byte(`{"n":1}`),
		Ends: []events.End{{UID: x.ID, Base: stamp(200, 9, 1)}}})
	a, err := recordAgain([][]byte{first, second, ofOther}, 1, []said{other, over, again, decision, end, update}, nil)
	if err != nil {
		t.Fatal(err)
	}
	uid, moved := events.ID{Inc: to, Seq: 1}, stamp(201, forkOf(to, update.hash), 1)
	place := events.ID{Inc: to, Seq: 2}
	want := []events.Event{
		{Kind: events.Declared, Key: key, UID: uid, Base: stamp(100, to, 1), Object: []byte(`{"n":1}`), Ends: []events.End{{UID: x.ID, Base: stamp(200, 9, 1)}}},
		{Kind: events.Declared, Key: key, UID: uid, Base: moved, Ends: []events.End{{UID: uid, Base: moved}}},
		{Kind: events.Decided, Key: "placement/default/x/0", UID: place, Base: stamp(202, 9, 3), Ends: []events.End{{UID: place, Base: stamp(202, 9, 3)}}},
	}
	if len(a.commits) != 3 || len(a.says) != len(want) {
		t.Fatalf("%d commits and %d of others, want 3 and %d", len(a.commits), len(a.says), len(want))
	}
	if c, err := events.ParseCommit(a.commits[1]); err != nil || c.Events[0].UID != place || c.Events[0].For != stamp(100, to, 1) {
		t.Errorf("a decision for what is given up too: %+v (%v)", c, err)
	}
	if c, err := events.ParseCommit(a.commits[2]); err != nil || c.Events[0].Ends[0] != (events.End{UID: events.ID{Inc: inc, Seq: 2}, Base: stamp(50, inc, 2)}) {
		t.Errorf("what is said of what stands: %+v (%v)", c, err)
	}
	for i, b := range a.says {
		c, err := events.ParseCommit(b)
		if err != nil || len(c.Events) != 1 || !reflect.DeepEqual(c.Events[0], want[i]) || c.Node != "n" || c.Actor != "a" || c.Cause != "why" {
			t.Errorf("%d: got %+v, want %+v (%v)", i, c, want[i], err)
		}
	}
}

// A placement says in itself whose it is, and hosts say by which one they run what: that holds under the new numbers, also once the old
// ones mean something else.
func TestGiveUp_placementsAreFoundByTheirOldNumbers(t *testing.T) {
	stands, given, standing, giving, inc := parted(t)
	pod := Pod{Namespace: "default", Deployment: "web"}
	made := mustRecord(t, given, put("deployment/default/web", `{}`))
	uid := made.Stamp.ID
	mustRecord(t, given, Change{Kind: events.Decided, Key: pod.PlacementKey(), For: made.Stamp, Object: Encode(Placement{Host: "b", Owner: uid, SpecHash: "hash"})})
	b, _ := others(t)
	admit(t, b, payloads(t, giving, inc)...)
	before, err := b.View().Placement(pod)
	if err != nil || before == nil || before.Owner != uid {
		t.Fatalf("the placement is %+v (%v)", before, err)
	}
	mustRecord(t, b, Change{Kind: events.Observed, Key: pod.ReplicaKey("b"), Object: Encode(Replica{Placement: before.Event(), Phase: Running})})
	look := func(when string) {
		t.Helper()
		s := b.View().State
		d, _ := s.Lookup("deployment/default/web")
		p, err := s.Placement(pod)
		if err != nil || p == nil || p.Event() == before.Event() || p.Owner != d.UID {
			t.Fatalf("%s: the placement is %+v of Deployment %v (%v)", when, p, d.UID, err)
		}
		if !p.Is(p.Event()) || !p.Is(before.Event()) || p.Is(uid) {
			t.Errorf("%s: it is known as %v and %v", when, p.Event(), p.Was)
		}
		if r, err := s.Replica(p); err != nil || r == nil {
			t.Errorf("%s: nothing is known of the container (%v)", when, err)
		}
	}
	if err := b.GiveUp(context.Background(), inc, 1, "a fork"); err != nil {
		t.Fatal(err)
	}
	look("given up")
	for _, name := range []string{"1", "2", "3", "4", "5", "6"} {
		mustRecord(t, stands, put("deployment/default/"+name, `{}`))
	}
	admit(t, b, payloads(t, standing, inc)...)
	if !b.View().Covers(before.Event()) {
		t.Fatal("the old number is not given again")
	}
	look("given again")
}

// What a placement says of itself follows, and nothing else of it changes, however often it is given up.
func TestRecordAgain_placements(t *testing.T) {
	const inc = events.Incarnation(7)
	uid, stays := events.ID{Inc: inc, Seq: 2}, events.ID{Inc: inc, Seq: 1}
	decided := func(owner events.ID) []byte {
		return []byte(`{"host":"b","owner":"` + owner.String() + `","later":{"z":1,"a":2},"why":"a<b"}`)
	}
	c := events.Commit{Inc: inc, Seq: 2, Time: 20, Prev: events.HashOf(nil), Events: []events.Event{
		{Kind: events.Declared, Key: "deployment/default/x", UID: uid, Object: []byte(`{"owner":"` + uid.String() + `"}`)},
		{Kind: events.Decided, Key: "placement/default/x/0", UID: events.ID{Inc: inc, Seq: 3}, Object: decided(uid)},
		{Kind: events.Decided, Key: "placement/default/y/0", UID: events.ID{Inc: inc, Seq: 4}, Object: decided(stays)},
		{Kind: events.Decided, Key: "placement/default/z/0", UID: events.ID{Inc: inc, Seq: 5}, Object: decided(uid)}, // of a Deployment of another name
		{Kind: events.Decided, Key: "placement/default/x/1", UID: events.ID{Inc: inc, Seq: 6}, Object: []byte(`{"owner":7}`)},
	}}
	b, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := recordAgain([][]byte{b}, 1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := recordAgain(first.commits, 0, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	once, again := first.to, second.to
	id := func(inc events.Incarnation, seq uint64) string {
		return `"` + events.ID{Inc: inc, Seq: seq}.String() + `"`
	}
	said := func(owner, was string) string {
		return `{"host":"b","later":{"z":1,"a":2},"owner":` + owner + `,"was":[` + was + `],"why":"a\u003cb"}`
	}
	for _, w := range []struct {
		commits [][]byte
		want    []string
	}{
		{first.commits, []string{`{"owner":"` + uid.String() + `"}`, said(id(once, 1), id(inc, 3)), said(id(inc, 1), id(inc, 4)), said(id(inc, 2), id(inc, 5)), `{"owner":7,"was":[` + id(inc, 6) + `]}`}},
		{second.commits, []string{`{"owner":"` + uid.String() + `"}`, said(id(again, 1), id(inc, 3)+`,`+id(once, 2)), said(id(inc, 1), id(inc, 4)+`,`+id(once, 3)),
			said(id(inc, 2), id(inc, 5)+`,`+id(once, 4)), `{"owner":7,"was":[` + id(inc, 6) + `,` + id(once, 5) + `]}`}},
	} {
		c, err := events.ParseCommit(w.commits[0])
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range w.want {
			if got := string(c.Events[i].Object); got != want {
				t.Errorf("%s\n  got %s,\n want %s", c.Events[i].Key, got, want)
			}
		}
	}
}
