package projection

import (
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// Which of two restores has the other over is told by what each had seen, whatever the clocks say, and by the clocks where neither had seen the other.
func TestRestore_overrides(t *testing.T) {
	noon := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	asked := func(inc events.Incarnation, minute int, seen map[events.Incarnation]uint64) *Restore {
		return &Restore{Asked: noon.Add(time.Duration(minute) * time.Minute), Seen: seen, Spans: []Span{{First: events.ID{Inc: inc, Seq: 10}, Count: 3}}}
	}
	first := asked(1, 0, map[events.Incarnation]uint64{2: 9})
	for what, c := range map[string]struct {
		other *Restore
		want  bool
	}{
		"later, and it had seen the first":                  {asked(2, 1, map[events.Incarnation]uint64{1: 10}), true},
		"its clock is behind, and it had seen the first":    {asked(2, -1, map[events.Incarnation]uint64{1: 10}), true},
		"later, by a host that did not know of the first":   {asked(2, 1, map[events.Incarnation]uint64{1: 9}), true},
		"earlier, by a host that did not know of the first": {asked(2, -1, map[events.Incarnation]uint64{1: 9}), false},
		"its clock is ahead, and the first had seen it":     {&Restore{Asked: noon.Add(time.Minute), Spans: []Span{{First: events.ID{Inc: 2, Seq: 9}}}}, false},
	} {
		if got := c.other.Overrides("x", first); got != c.want {
			t.Errorf("%s: got %v", what, got)
		}
	}
	undo := Restore{Undoes: "x", Asked: noon.Add(-time.Hour), Spans: first.Spans, Only: []string{"a"}}
	if !undo.Overrides("x", first) || undo.Overrides("y", asked(1, -90, nil)) {
		t.Error("what takes a restore back has that one over, and no other")
	}
}

// What a restore had seen it restores, however late it is stamped: a host whose clock is ahead may have stamped it after the restore was asked for.
func TestRestore_stampedAhead(t *testing.T) {
	l, _ := running(t, newMemoryLog())
	mustRecord(t, l, put("deployment/default/a", `{"n":1}`), put("deployment/default/b", `{"n":1}`))
	was := l.View().Declarations()
	r := Restore{Asked: time.Unix(0, 0), After: "deployment/default/a"}
	r.Saw(l.View().State)
	if changes := r.Next("x", l.View().State, Declarations{}, nil, was, 1<<20, l.View().At()); len(changes) != 2 || changes[1].Key != "deployment/default/b" || changes[1].Object != nil {
		t.Errorf("got %+v", changes)
	}
}
