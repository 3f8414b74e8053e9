package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// A host has taken over a state of which a part is commits of one number with others that stand. It gives up that part for the state
// of a host that holds those, and records again what it had of it.
func TestYield_whatATakenOverStateHolds(t *testing.T) {
	ctx := context.Background()
	alog, blog := newMemoryLog(), newMemoryLog() // of one incarnation, as when a disk was copied
	a, _ := running(t, alog)
	b, _ := running(t, blog)
	mustRecord(t, a, put("deployment/default/x", `{"n":1}`))
	mustRecord(t, a, put("deployment/default/old", `{}`))
	admit(t, b, alog.records[0].Payload, alog.records[1].Payload)
	mustRecord(t, a, put("deployment/default/x", `{"by":"a"}`))
	mustRecord(t, a, put("deployment/default/new", `{"by":"a"}`))
	mustRecord(t, a, Change{Kind: events.Declared, Key: "deployment/default/old"})
	mustRecord(t, b, put("deployment/default/x", `{"by":"b"}`))

	clog := realLog(t, t.TempDir())
	c, _ := running(t, clog)
	if err := c.Join(ctx, copied(t, a.View().State), "trimmed"); err != nil {
		t.Fatal(err)
	}
	mustRecord(t, c, put("deployment/default/own", `{}`))
	if err := c.GiveUp(ctx, 7, 2, "a fork"); !errors.Is(err, ErrEntangled) {
		t.Fatalf("got %v, want %v", err, ErrEntangled)
	}
	if err := c.Yield(ctx, 7, 2, copied(t, b.View().State), "a fork"); err != nil {
		t.Fatal(err)
	}
	v := c.View()
	if v.Head(7) != b.View().Head(7) {
		t.Errorf("its head is %v, want %v", v.Head(7), b.View().Head(7))
	}
	seen := map[string]bool{}
	for o := range v.All("") {
		seen[o.Key+" "+string(o.Version.Object)] = true
	}
	for _, l := range v.Conflicts() {
		seen[l.Key+" "+string(l.Version.Object)] = true
	}
	for _, want := range []string{`x {"by":"a"}`, `x {"by":"b"}`, `new {"by":"a"}`, `own {}`} {
		if !seen["deployment/default/"+want] {
			t.Errorf("%s is neither shown nor listed as lost: %v", want, seen)
		}
	}
	if _, ok := v.Lookup("deployment/default/old"); ok {
		t.Error("what was deleted is back")
	}
	if again := mustOpen(t, clog, nil, 0); again.View().Digest() != v.Digest() {
		t.Error("opened again, the state is another one")
	}
	if err := c.Yield(ctx, 7, 9, copied(t, b.View().State), "a fork"); err != nil || c.View().State != v.State {
		t.Errorf("with nothing to give up: %v", err)
	}
}

// What is recorded again of a placement tells by which numbers it was known, and whose it is now; also where the Deployment was changed after it was
// placed, so that the state holds of it only what is newer than the placement.
func TestYield_placements(t *testing.T) {
	for what, after := range map[string][]Change{"": nil, "scaled": {put("deployment/default/web", `{"n":2}`)}} {
		t.Run(what, func(t *testing.T) { yieldsPlacements(t, after...) })
	}
}

func yieldsPlacements(t *testing.T, after ...Change) {
	ctx := context.Background()
	stands, given, _, _, inc := parted(t)
	pod, of := Pod{Namespace: "default", Deployment: "web"}, Pod{Namespace: "default", Deployment: "old"}
	old, _ := given.View().Lookup("deployment/default/old")
	made := mustRecord(t, given, put("deployment/default/web", `{}`))
	for pod, owner := range map[Pod]events.ID{pod: made.Stamp.ID, of: old.UID} {
		mustRecord(t, given, Change{Kind: events.Decided, Key: pod.PlacementKey(), For: made.Stamp, Object: Encode(Placement{Host: "b", Owner: owner, SpecHash: "hash"})})
	}
	if after != nil {
		mustRecord(t, given, after...)
	}
	mustRecord(t, stands, put("deployment/default/other", `{}`))
	c, _ := others(t)
	if err := c.Join(ctx, copied(t, given.View().State), "trimmed"); err != nil {
		t.Fatal(err)
	}
	before := map[Pod]events.ID{}
	for _, pod := range []Pod{pod, of} {
		p, err := c.View().Placement(pod)
		if err != nil || p == nil {
			t.Fatalf("the placement is %+v (%v)", p, err)
		}
		before[pod] = p.Event()
	}
	if err := c.Yield(ctx, inc, 1, copied(t, stands.View().State), "a fork"); err != nil {
		t.Fatal(err)
	}
	for pod, was := range before {
		d, _ := c.View().Lookup(DeploymentKey(pod.Namespace, pod.Deployment))
		p, err := c.View().Placement(pod)
		if err != nil || p == nil || p.Owner != d.UID || p.Event() == was || !p.Is(was) {
			t.Errorf("the placement %v is %+v of Deployment %v (%v)", was, p, d.UID, err)
		}
	}
}

// What another deleted is known by a state that was taken over, and not by the log: when the log's commits are recorded again, that stays deleted.
func TestYield_whatOnlyTheStateKnowsToBeDeleted(t *testing.T) {
	ctx := context.Background()
	stands, given, _, giving, inc := parted(t)
	mustRecord(t, stands, put("deployment/default/other", `{}`))
	c, clog := others(t)
	admit(t, c, payloads(t, giving, inc)...)
	x, _ := others(t)
	admit(t, x, payloads(t, giving, inc)...)
	mustRecord(t, x, del("gone"))
	mustRecord(t, given, put("deployment/default/kept", `{"by":"given, unseen"}`))
	admit(t, c, payloads(t, giving, inc)[4:]...)
	mustRecord(t, x, del("kept"))
	if err := c.Join(ctx, copied(t, x.View().State), "trimmed"); err != nil {
		t.Fatal(err)
	}
	if err := c.Yield(ctx, inc, 1, copied(t, stands.View().State), "a fork"); err != nil {
		t.Fatal(err)
	}
	v := c.View()
	if got, want := shownIn(v.State), []string{`both {"by":"given"}`, `old {}`, `other {}`}; !slices.Equal(got, want) {
		t.Errorf("shown is %q, want %q", got, want)
	}
	if all := v.Conflicts(); len(all) != 1 || !all[0].Ended || string(all[0].Version.Object) != `{"by":"given, unseen"}` {
		t.Errorf("%d changes are listed as lost, want the one that was not seen by who deleted it: %+v", len(all), all)
	}
	if len(payloads(t, clog, forkOf(inc, events.HashOf(payloads(t, giving, inc)[1])))) != 4 {
		t.Error("it is not recorded again in the words of all others")
	}
}

// cutLog is a log that was trimmed of the records after one and before another, which cannot be read.
type cutLog struct {
	*memoryLog
	upTo, first uint64
}

func (l *cutLog) Scan(from uint64, fn func(events.Record) error) error {
	if from >= l.first {
		return l.memoryLog.Scan(from, fn)
	}
	for _, r := range l.records[from-1 : max(l.upTo, from-1)] {
		if err := fn(r); err != nil {
			return err
		}
	}
	return &events.TrimmedError{First: l.first}
}

// Of a log that was trimmed, and cannot be read from its beginning, no state is made anew: what stands is taken over, and what the log and the state hold
// of what is given up is recorded again, whole, wherever the log was cut.
func TestYield_ofALogThatWasTrimmed(t *testing.T) {
	ctx := context.Background()
	const all, fork = 20, 5
	log := newMemoryLog()
	w, stop := running(t, log)
	var want []string
	for i := range all {
		mustRecord(t, w, put(fmt.Sprintf("deployment/default/%02d", i), `{}`))
		want = append(want, fmt.Sprintf("%02d {}", i))
	}
	mustRecord(t, w, put("deployment/default/07", `{"n":2}`))
	mustRecord(t, w, del("08"))
	want = slices.Delete(want, 8, 9)
	want[7] = `07 {"n":2}`
	stop()
	commits := payloads(t, log, 7)
	stands := newMemoryLog()
	s, _ := running(t, stands)
	admit(t, s, commits[:fork]...)
	for range all { // so that all numbers are given again
		mustRecord(t, s, put("deployment/default/stands", `{}`))
	}
	want = append(want, "stands {}")
	for what, c := range map[string]struct {
		upTo, first uint64
		same        bool // it is recorded again in the words of all others
	}{
		"before the fork":       {0, 3, true},
		"at the fork":           {0, fork + 1, true},
		"after it":              {0, fork + 2, false},
		"between, before it":    {2, 4, true},
		"between, over it":      {2, 10, false},
		"between, after it":     {8, 15, false},
		"between, over the end": {8, all + 3, false},
	} {
		t.Run(what, func(t *testing.T) {
			cut := &cutLog{memoryLog: newMemoryLog()}
			cut.inc = 99
			l, _ := running(t, cut)
			admit(t, l, commits...)
			cut.upTo, cut.first = c.upTo, c.first
			if _, err := l.Refold(ctx, "states differ"); !errors.Is(err, ErrEntangled) || !errors.Is(err, events.ErrTrimmed) {
				t.Errorf("it is folded anew: %v", err)
			}
			if err := l.GiveUp(ctx, 7, fork, "a fork"); !errors.Is(err, ErrEntangled) {
				t.Errorf("it is given up: %v", err)
			}
			if err := l.Yield(ctx, 7, fork, copied(t, s.View().State), "a fork"); err != nil {
				t.Fatal(err)
			}
			if got := shownIn(l.View().State); !slices.Equal(got, want) || l.View().Head(7) != s.View().Head(7) {
				t.Errorf("shown is %q, want %q", got, want)
			}
			if n := len(l.View().Conflicts()); n > 0 {
				t.Errorf("%d changes are listed as lost", n)
			}
			if got := l.View().Head(forkOf(7, events.HashOf(commits[fork]))).Seq; (got == uint64(len(commits)-fork)) != c.same {
				t.Errorf("in the words of all others are recorded %d events again", got)
			}
			cut.first = 0
			if again := mustOpen(t, cut, nil, 0); again.View().Digest() != l.View().Digest() {
				t.Error("opened again, the state is another one")
			}
		})
	}
}
