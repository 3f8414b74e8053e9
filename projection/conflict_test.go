package projection

import (
	"fmt"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// teller has hosts record versions of one object as their ledgers would, each knowing only what it is told to have seen.
type teller struct {
	t    *testing.T
	tick int64
	seqs map[events.Incarnation]*Ledger
}

func newTeller(t *testing.T) *teller { return &teller{t: t, seqs: map[events.Incarnation]*Ledger{}} }

func (tl *teller) tell(inc events.Incarnation, seen *State, object string) *events.Commit {
	tl.t.Helper()
	if tl.seqs[inc] == nil {
		now := func() time.Time { return time.UnixMilli(1_700_000_000_000 + tl.tick) }
		tl.seqs[inc] = &Ledger{log: noLog{inc: inc}, clock: events.NewClock(now)}
	}
	tl.tick++
	ch := Change{Kind: events.Declared, Key: "deployment/default/web"}
	if object != "" {
		ch.Object = []byte(object)
	}
	c, err := tl.seqs[inc].stamp(seen, By{}, []Change{ch})
	if err != nil {
		tl.t.Fatal(err)
	}
	return c
}

func after(s *State, cs ...*events.Commit) *State {
	for _, c := range cs {
		s = s.Fold(c, hashOf(c), s.Index()+1, s.At())
	}
	return s
}

func web(image string, generation int) string {
	return fmt.Sprintf(`{"kind":"Deployment","metadata":{"name":"web","generation":%d,"creationTimestamp":"2026-01-0%dT00:00:00Z"},"spec":{"image":%q}}`,
		generation, generation, image)
}

// One manifest given to two hosts at once is no conflict, nor does it become one when the object is changed again.
func TestConflicts_sameContent(t *testing.T) {
	tl := newTeller(t)
	made := tl.tell(1, NewState(), web("v1", 1))
	s := after(NewState(), made)
	b, c := tl.tell(2, s, web("v2", 2)), tl.tell(3, s, web("v2", 3))
	if both := after(s, b, c); len(both.Conflicts()) != 0 {
		t.Errorf("the same twice: %v", both.Conflicts())
	}
	d := tl.tell(3, after(s, b, c), web("v3", 4))
	want := after(s, b, c, d)
	if len(want.Conflicts()) != 0 {
		t.Errorf("changed again by who had seen both: %v", want.Conflicts())
	}
	for _, s := range []*State{after(NewState(), made, c, d, b), after(NewState(), c, d, b, made), after(NewState(), b, c, d, made)} {
		if s.Digest() != want.Digest() || picture(s) != picture(want) {
			t.Errorf("in another order:\n%s\nwant\n%s", picture(s), picture(want))
		}
	}
	if early := after(NewState(), made, c, d); len(early.Conflicts()) != 0 {
		t.Errorf("before the other is heard: %v", early.Conflicts())
	}
}

// What was lost unseen is listed until somebody applies it again, or the same; from then on it is not, whatever
// happens to the object, and nothing of it is kept.
func TestConflicts_appliedAgain(t *testing.T) {
	tl := newTeller(t)
	s := after(NewState(), tl.tell(1, NewState(), web("v1", 1)))
	b, c := tl.tell(2, s, web("v2", 2)), tl.tell(3, s, web("other", 2))
	s = after(s, b, c)
	s = after(s, tl.tell(1, s, web("v3", 3)))
	if got := s.Conflicts(); len(got) != 1 || got[0].Stamp != b.Stamp(0) {
		t.Fatalf("conflicts are %v, want the change to v2", got)
	}
	s = after(s, tl.tell(1, s, web("v2", 4)))
	s = after(s, tl.tell(1, s, web("v4", 5)))
	if got := s.Conflicts(); len(got) != 0 {
		t.Errorf("applied again, and changed: %v", got)
	}

	late := tl.tell(2, s, web("late", 6)) // who does not know that it was deleted
	s = after(s, tl.tell(1, s, ""), late)
	if got := s.Conflicts(); len(got) != 1 || !got[0].Ended {
		t.Fatalf("conflicts are %v, want the change of what was deleted", got)
	}
	s = after(s, tl.tell(1, s, web("late", 1)))
	s = after(s, tl.tell(1, s, web("v5", 2)))
	if e, _ := s.objects.Get("deployment/default/web"); len(s.Conflicts()) != 0 || len(e.lives) != 1 {
		t.Errorf("made again as it was meant, and changed: %v, %d objects are kept", s.Conflicts(), len(e.lives))
	}
}

// What was lost unseen is listed also when a version after it, which may have replaced it, is on a disk that is lost.
func TestConflicts_whatComesBetweenIsLost(t *testing.T) {
	tl := newTeller(t)
	s := after(NewState(), tl.tell(1, NewState(), web("v1", 1)))
	b, c := tl.tell(2, s, web("v2", 2)), tl.tell(3, s, web("v3", 2))
	d := tl.tell(4, after(s, c), web("v4", 3))
	without := after(s, b, d) // c does not come
	if got := without.Conflicts(); len(got) != 1 || got[0].Stamp != b.Stamp(0) || !got[0].Open {
		t.Errorf("conflicts are %v, want the change to v2, and that this may yet be none", got)
	}
	if got := after(without, c).Conflicts(); len(got) != 1 || got[0].Stamp != b.Stamp(0) || got[0].Open {
		t.Errorf("once it has come, conflicts are %v, want the change to v2, for sure", got)
	}
}
