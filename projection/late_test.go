package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// What another host has deleted, not having heard that it was given up, stays deleted where that comes only later: on who had it, and on those who have had
// only what was recorded again. Each says so in the same words, once, and also after a restart.
func TestLate_whatIsDeletedStaysDeleted(t *testing.T) {
	ctx := context.Background()
	stands, given, standing, giving, inc := parted(t)
	mustRecord(t, stands, put("deployment/default/other", `{}`))
	w, wlog := others(t)
	admit(t, w, payloads(t, giving, inc)...)
	mustRecord(t, w, put("deployment/default/kept", `{"by":"w"}`)) // upon which the deletion below is
	late := func(l *Ledger, want int) {
		t.Helper()
		if n, err := l.Late(ctx); err != nil || n != want {
			t.Fatalf("%d commits, %v; want %d", n, err, want)
		}
	}
	late(given, 0)
	if err := given.GiveUp(ctx, inc, 1, "a fork"); err != nil {
		t.Fatal(err)
	}
	late(given, 0)
	admit(t, given, payloads(t, standing, inc)...)
	mustRecord(t, w, del("gone"), del("both"))
	mustRecord(t, w, del("kept"))

	for i, a := range must(given.Admit(ctx, payloads(t, wlog, wlog.Incarnation())))(t) {
		if a.Fate != Taken || a.Late != (i < 2) { // the third speaks of the first, which is known to do so from then on
			t.Errorf("commit %d: %+v, want it taken, and that it speaks of what was given up", i, a)
		}
	}
	if s := shownIn(given.View().State); len(s) == 2 {
		t.Fatalf("it shows %q without anything being done", s)
	}
	late(given, 3)
	late(given, 0)
	want := []string{`old {}`, `other {}`}
	if s := shownIn(given.View().State); !slices.Equal(s, want) {
		t.Errorf("who gave it up shows %q, want %q", s, want)
	}

	// One that never had it, and one that had all of it before it gave it up.
	admit(t, stands, but(t, giving, inc)...)
	if s := shownIn(stands.View().State); !slices.Equal(s, want) {
		t.Errorf("who never had it shows %q, want %q", s, want)
	}
	if err := w.GiveUp(ctx, inc, 1, "a fork"); err != nil {
		t.Fatal(err)
	}
	admit(t, w, payloads(t, standing, inc)...)
	late(w, 0)
	admit(t, w, but(t, giving, inc)...)
	if s := shownIn(w.View().State); !slices.Equal(s, want) {
		t.Errorf("who knew all of it shows %q, want %q", s, want)
	}
	for _, l := range []*Ledger{stands, w} { // as hosts do that have the same commits and other states, since a number has meant two
		if _, err := l.Refold(ctx, "they differ"); err != nil {
			t.Fatal(err)
		}
		if s := shownIn(l.View().State); !slices.Equal(s, want) {
			t.Errorf("folded anew it shows %q, want %q", s, want)
		}
	}
	if a, b := w.View().Digest(), stands.View().Digest(); a != b {
		t.Errorf("who never had it and who knew all of it differ: %s, %s", b, a)
	}

	again, err := OpenLedger(giving, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if says, moved, err := again.late(t.Context()); err != nil || len(says) != 0 || len(moved) == 0 {
		t.Errorf("after a restart: %d commits, %v, and it knows of %d versions that were given up", len(says), err, len(moved))
	}
}

// What stands may speak of what was given up as well: a disk was put back, and its host deletes what it had once made itself, which it knows again by what
// another has made of it meanwhile. That stays deleted.
func TestLate_whatStandsDeletes(t *testing.T) {
	ctx := context.Background()
	stands, given, standing, giving, inc := parted(t)
	w, wlog := others(t)
	admit(t, w, payloads(t, giving, inc)...)
	mustRecord(t, w, put("deployment/default/kept", `{"by":"w"}`))
	mustRecord(t, stands, put("deployment/default/other", `{}`))
	admit(t, stands, payloads(t, wlog, wlog.Incarnation())...)
	mustRecord(t, stands, del("kept"))
	mustRecord(t, stands, put("deployment/default/kept", `{"by":"stands"}`)) // another object, of a number that is given up
	admit(t, given, payloads(t, wlog, wlog.Incarnation())...)
	if err := given.GiveUp(ctx, inc, 1, "a fork"); err != nil {
		t.Fatal(err)
	}
	for _, a := range must(given.Admit(ctx, payloads(t, standing, inc)))(t) {
		if a.Late {
			t.Error("what was given up is not known to be spoken of before Late has looked")
		}
	}
	if n, err := given.Late(ctx); err != nil || n != 1 {
		t.Fatalf("%d commits, %v; want one, of the deletion", n, err)
	}
	if n, err := given.Late(ctx); err != nil || n != 0 {
		t.Fatalf("once more %d commits, %v", n, err)
	}
	admit(t, stands, but(t, giving, inc)...)
	for what, l := range map[string]*Ledger{"who gave it up": given, "who wrote what stands": stands} {
		if s, want := shownIn(l.View().State), []string{`both {"by":"given"}`, `gone {"by":"given"}`, `kept {"by":"stands"}`, `old {}`, `other {}`}; !slices.Equal(s, want) {
			t.Errorf("%s shows %q, want %q", what, s, want)
		}
		for _, o := range l.View().State.Conflicts() {
			t.Errorf("%s lists %+v", what, o)
		}
	}
}

// Who reads the whole log leaves off when its caller ends, and has then found out nothing.
func TestLate_endsWithItsCaller(t *testing.T) {
	log := newMemoryLog()
	l, _ := running(t, log)
	for i := range 3 {
		mustRecord(t, l, put(fmt.Sprintf("deployment/default/%d", i), `{}`))
	}
	ctx, cancel := context.WithCancel(t.Context())
	read := 0
	l.log = scanned{log, func() {
		if read++; read == 2 {
			cancel()
		}
	}}
	if _, _, found, err := l.Forgone(ctx); found || !errors.Is(err, context.Canceled) || read != 2 {
		t.Errorf("what others have given up: %v, %v, after %d records", found, err, read)
	}
	if n, err := l.Late(ctx); n != 0 || !errors.Is(err, context.Canceled) || read != 3 {
		t.Errorf("what was said of it: %d, %v, after %d records", n, err, read)
	}
}

// scanned is a log that says of each record that it is about to give it.
type scanned struct {
	*memoryLog
	gives func()
}

func (l scanned) Scan(from uint64, fn func(events.Record) error) error {
	return l.memoryLog.Scan(from, func(r events.Record) error {
		l.gives()
		return fn(r)
	})
}

// must gives what a call returned, if that was no error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
