package podman

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// state is what Plan asks: one placement at most, and an incarnation heard up to a seq.
type state struct {
	held    *projection.Placed
	covered uint64
	serves  bool // the host that it is placed on says that it runs there
	err     error
}

func (s state) Placement(projection.Pod) (*projection.Placed, error) { return s.held, s.err }
func (s state) Covers(id events.ID) bool                             { return id.Inc == 1 && id.Seq <= s.covered }

var web0 = projection.Pod{Namespace: "default", Deployment: "web", Ordinal: 0}

func (s state) Serves(*projection.Placed) bool { return s.serves }

// placed is a placement on a host by event seq.
func placed(host string, seq uint64) *projection.Placed {
	return &projection.Placed{
		Object: projection.Object{Version: &projection.Version{Stamp: events.Stamp{ID: events.ID{Inc: 1, Seq: seq}}}},
		Pod:    web0, Placement: projection.Placement{Host: host, SpecHash: "hash", Why: "no host is ready"},
	}
}

// known8As is placement 8 on host one, which was recorded again and was known by another number before.
func known8As(inc events.Incarnation, seq uint64) *projection.Placed {
	p := placed("one", 8)
	p.Was = []events.ID{{Inc: inc, Seq: seq}}
	return p
}

// there is a container of placement seq.
func there(id string, status Status, inc events.Incarnation, seq uint64, hash string) Container {
	return Container{ID: id, Name: containerName(web0, events.ID{Inc: inc, Seq: seq}, 0), Status: status, Started: time.Unix(100, 0), Labels: map[string]string{
		LabelNamespace: "default", LabelPod: "web-0", LabelPlacement: events.ID{Inc: inc, Seq: seq}.String(), LabelSpecHash: hash}}
}

func fact(container string, seq uint64, phase projection.Phase) *projection.Replica {
	return &projection.Replica{Placement: events.ID{Inc: 1, Seq: seq}, Container: container, Phase: phase, Started: time.Unix(100, 5)}
}

func TestPlan(t *testing.T) {
	unreadable := there("a", StatusRunning, 1, 1, "hash")
	unreadable.Labels[LabelPlacement] = "?"
	copied, renamed := there("b", StatusRunning, 1, 5, "hash"), there("a", StatusRunning, 1, 5, "hash")
	copied.Name, renamed.Name = copied.Name+"-clone", "mine"
	for _, c := range []struct {
		name  string
		state state
		Case
		want string // steps, then orphans
	}{
		{"nothing wanted, nothing there", state{}, Case{}, ""},
		{"placed here", state{held: placed("one", 5), covered: 5}, Case{}, "create"},
		{"placed elsewhere", state{held: placed("two", 5), covered: 5}, Case{}, ""},
		{"line 6: it runs, as recorded", state{held: placed("one", 5), covered: 9},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, ""},
		{"line 6: it runs, and was not recorded yet", state{held: placed("one", 5), covered: 5},
			Case{There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, "adopt a"},
		{"line 12: it runs, and something else is recorded", state{held: placed("one", 5), covered: 5},
			Case{Recorded: fact("a", 5, projection.Pending), There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, "adopt a"},
		{"line 7: it has exited", state{held: placed("one", 5), covered: 5},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusExited, 1, 5, "hash")}}, "start a"},
		{"it was made and not started", state{held: placed("one", 5), covered: 5},
			Case{There: []Container{there("a", StatusCreated, 1, 5, "hash")}}, "start a"},
		{"line 6: it cannot be started", state{held: placed("one", 5), covered: 5},
			Case{There: []Container{there("a", "removing", 1, 5, "hash")}}, "remove a, create"},
		{"a word that another version of Podman has", state{held: placed("one", 5), covered: 5},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", "checkpointing", 1, 5, "hash")}}, ""},
		{"it was paused", state{held: placed("one", 5), covered: 5},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusPaused, 1, 5, "hash")}}, "adopt a"},
		{"line 11: a newer placement of another spec", state{held: placed("one", 8), covered: 8},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 1, 5, "old")}}, "remove a, create"},
		{"the newer one is there already", state{held: placed("one", 8), covered: 8},
			Case{There: []Container{there("a", StatusRunning, 1, 5, "old"), there("b", StatusExited, 1, 8, "hash")}}, "remove a, start b"},
		{"line 12 of B: moved to another host, where it does not run yet", state{held: placed("two", 8), covered: 8},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, ""},
		{"moved to another host, and not recorded", state{held: placed("two", 8), covered: 8},
			Case{There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, ""},
		{"moved, and it does not run here either", state{held: placed("two", 8), covered: 8},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusExited, 1, 5, "hash")}}, "remove a, forget"},
		{"moved, and of two one runs", state{held: placed("two", 8), covered: 8},
			Case{Recorded: fact("b", 5, projection.Running), There: []Container{there("a", StatusExited, 1, 4, "hash"), there("b", StatusRunning, 1, 5, "hash")}}, "remove a"},
		{"moved, and in the way of another", state{held: placed("two", 8), covered: 8},
			Case{InTheWay: "its port", Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, "remove a, forget"},
		{"moved to another host, where it runs", state{held: placed("two", 8), covered: 8, serves: true},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, "remove a, forget"},
		{"it fits nowhere now", state{held: placed("", 8), covered: 8},
			Case{There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, "remove a"},
		{"line 12: its placement has ended", state{covered: 8},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, "remove a, forget"},
		{"the container is gone", state{covered: 8}, Case{Recorded: fact("a", 5, projection.Running)}, "forget"},
		{"an empty log", state{},
			Case{There: []Container{there("a", StatusRunning, 7, 5, "hash")}}, "orphan a"},
		{"a log that has not got so far", state{covered: 4},
			Case{There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, "orphan a"},
		{"the wrong log, which places the same pod here", state{held: placed("one", 5), covered: 9},
			Case{There: []Container{there("a", StatusRunning, 7, 5, "hash")}}, "create; orphan a"},
		{"the same id, made from another spec", state{held: placed("one", 5), covered: 9},
			Case{There: []Container{there("a", StatusRunning, 1, 5, "other")}}, "create; orphan a"},
		{"labels that cannot be read", state{held: placed("one", 5), covered: 9},
			Case{There: []Container{unreadable}}, "create; orphan a"},
		{"a copy of the container, labels and all", state{held: placed("one", 5), covered: 9},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 1, 5, "hash"), copied}}, "orphan b"},
		{"a copy of one that is over", state{covered: 9},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 1, 5, "hash"), copied}}, "remove a, forget; orphan b"},
		{"it was renamed", state{held: placed("one", 5), covered: 9},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{renamed}}, ""},
		{"an adopted orphan", state{held: placed("one", 5), covered: 9},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 7, 3, "hash")}}, ""},
		{"an orphan was just adopted", state{held: placed("one", 5), covered: 9},
			Case{Recorded: fact("a", 5, projection.Running),
				There: []Container{there("a", StatusRunning, 7, 3, "hash"), there("b", StatusRunning, 1, 5, "hash")}}, "remove b"},
		{"an adopted orphan's placement has ended", state{covered: 9},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 7, 3, "hash")}}, "remove a, forget"},
		{"two of one placement: the one that runs stays", state{held: placed("one", 5), covered: 9},
			Case{Recorded: fact("a", 5, projection.Exited),
				There: []Container{there("a", StatusExited, 1, 5, "hash"), there("b", StatusRunning, 1, 5, "hash")}}, "remove a, adopt b"},
		{"recorded again under another number", state{held: known8As(1, 5), covered: 9},
			Case{Recorded: fact("a", 5, projection.Running), There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, "adopt a"},
		{"recorded again, and its old number means nothing here any more", state{held: known8As(7, 5), covered: 9},
			Case{There: []Container{there("a", StatusRunning, 7, 5, "hash")}}, "adopt a"},
		{"recorded again, and that is recorded", state{held: known8As(7, 5), covered: 9},
			Case{Recorded: fact("a", 8, projection.Running), There: []Container{there("a", StatusRunning, 7, 5, "hash")}}, ""},
		{"recorded again, and another was made for it", state{held: known8As(7, 5), covered: 9},
			Case{Recorded: fact("a", 8, projection.Running),
				There: []Container{there("a", StatusRunning, 7, 5, "hash"), there("b", StatusRunning, 1, 8, "hash")}}, "remove b"},
		{"its old number means another placement, of another spec", state{held: known8As(1, 5), covered: 9},
			Case{There: []Container{there("a", StatusRunning, 1, 5, "other")}}, "remove a, create"},
		{"its old number is not known, and it was made from another spec", state{held: known8As(7, 5), covered: 9},
			Case{There: []Container{there("a", StatusRunning, 7, 5, "other")}}, "create; orphan a"},
		{"a placement that cannot be read", state{err: errors.New("unreadable"), covered: 9},
			Case{There: []Container{there("a", StatusRunning, 1, 5, "hash")}}, "error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.Case.Pod = web0
			if got := describe(Plan(c.state, "one", c.Case)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func describe(d Decision, err error) string {
	if err != nil {
		return "error"
	}
	var steps, orphans []string
	for _, s := range d.Steps {
		steps = append(steps, strings.TrimSpace(string(s.Action)+" "+s.Container.ID))
	}
	for _, o := range d.Orphans {
		orphans = append(orphans, "; orphan "+o.ID)
	}
	return strings.TrimPrefix(strings.Join(steps, ", ")+strings.Join(orphans, ""), "; ")
}

var seed = flag.Uint64("seed", 0, "seed of the random tests; zero draws one")

// random is a generator whose seed is printed when the test fails.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -seed %d", s, s)
	return rand.New(rand.NewPCG(s, 0))
}

// From any state to the wanted one in one pass, and then no steps; and nothing is removed without evidence.
func TestPlan_onePassIsEnough(t *testing.T) {
	r := random(t)
	statuses := []Status{StatusRunning, StatusExited, StatusStopped, StatusCreated, StatusPaused, "removing", "unknown"}
	for range 20000 {
		s := state{covered: r.Uint64N(10), serves: r.IntN(2) > 0}
		if s.covered > 0 && r.IntN(4) > 0 {
			s.held = placed([]string{"one", "two", ""}[r.IntN(3)], 1+r.Uint64N(s.covered))
			for range r.IntN(3) {
				s.held.Was = append(s.held.Was, events.ID{Inc: events.Incarnation(1 + r.IntN(2)), Seq: 1 + r.Uint64N(10)})
			}
		}
		c := Case{Pod: web0}
		for i := range r.IntN(4) {
			c.There = append(c.There, there(fmt.Sprint("c", i), statuses[r.IntN(len(statuses))],
				events.Incarnation(1+r.IntN(2)), 1+r.Uint64N(10), []string{"hash", "other"}[r.IntN(2)]))
		}
		if r.IntN(2) > 0 && s.covered > 0 {
			c.Recorded = fact(fmt.Sprint("c", r.IntN(4)), 1+r.Uint64N(s.covered), projection.Running)
			for _, there := range c.There {
				if there.ID == c.Recorded.Container {
					there.Labels[LabelSpecHash] = "hash" // nothing else is ever recorded of a placement
				}
			}
		}
		d, err := Plan(s, "one", c)
		if err != nil {
			t.Fatal(err)
		}
		after := carry(t, s, c, d)
		if again, err := Plan(s, "one", after); err != nil || len(again.Steps) > 0 {
			t.Fatalf("%+v, %+v: after one pass got %q", s, c, describe(again, err))
		}
		n := 0
		for _, there := range after.There {
			if !slices.ContainsFunc(d.Orphans, func(o Orphan) bool { return o.ID == there.ID }) {
				n++
			}
		}
		if d.Kept != "" {
			ran := slices.ContainsFunc(c.There, func(there Container) bool { return there.Status.Runs() })
			if s.serves || s.held == nil || s.held.Host != "two" || n == 0 || !ran {
				t.Fatalf("%+v, %+v: keeps %d", s, c, n)
			}
			continue
		}
		if wanted := s.held != nil && s.held.Host == "one"; n != map[bool]int{true: 1, false: 0}[wanted] {
			t.Fatalf("%+v, %+v: %d containers after %q", s, c, n, describe(d, nil))
		}
	}
}

// carry does the steps, and holds each removal against the evidence.
func carry(t *testing.T, s state, c Case, d Decision) Case {
	t.Helper()
	all := map[string]Container{}
	for _, there := range c.There {
		all[there.ID] = there
	}
	run := func(there Container) {
		there.Status = StatusRunning
		all[there.ID] = there
		c.Recorded = fact(there.ID, d.Placed.Event().Seq, projection.Running)
	}
	for _, step := range d.Steps {
		switch step.Action {
		case Create:
			run(there("new", StatusRunning, 1, d.Placed.Event().Seq, "hash"))
		case Start, Adopt:
			run(step.Container)
		case Forget:
			c.Recorded = nil
		case Remove:
			if id, why := carriesOut(&step.Container, c.Recorded); why != "" || !s.Covers(id) && !(s.held != nil && s.held.Is(id)) {
				t.Fatalf("%+v: removes %+v without evidence", s, step.Container)
			}
			delete(all, step.Container.ID)
		}
	}
	c.There = slices.Collect(maps.Values(all))
	return c
}
