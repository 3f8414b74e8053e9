package podman

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// other is a container of placement seq that is not its pod's first, and has the network of one.
func other(id, of, network string, status Status, seq uint64) Container {
	c := there(id, status, 1, seq, "hash")
	c.Name += "." + of
	c.Labels[LabelContainer] = of
	if network != "" {
		c.Labels[LabelNetwork] = network
	}
	return c
}

// saying is what is recorded of a pod whose first container is as said, and of others.
func saying(first *projection.Replica, others map[string]*projection.Replica) *projection.Replica {
	whole := *first
	whole.Others = map[string]projection.Replica{}
	for name, part := range others {
		whole.Others[name] = *part
	}
	return &whole
}

func TestPlan_several(t *testing.T) {
	two := Layout{Others: []string{"side"}, Joined: true}
	init := Layout{Init: []string{"one", "two"}, Others: []string{"side"}, Joined: true}
	here := state{held: placed("one", 5), covered: 9}
	runs, first := fact("a", 5, projection.Running), there("a", StatusRunning, 1, 5, "hash")
	side := fact("s", 5, projection.Running)
	again := fact("a", 5, projection.Running)
	again.Started = again.Started.Add(time.Millisecond)
	done, failed := fact("i", 5, projection.Exited), fact("i", 5, projection.Exited)
	failed.ExitCode = 1
	waiting := saying(&projection.Replica{Placement: events.ID{Inc: 1, Seq: 5}, Phase: projection.Pending}, nil)
	exited0, exited1 := other("i", "one", "", StatusExited, 5), other("i", "one", "", StatusExited, 5)
	exited1.ExitCode = 1
	renamed := other("s", "side", "a", StatusRunning, 5)
	renamed.Name = first.Name
	for _, c := range []struct {
		name  string
		state state
		Case
		want string
	}{
		{"the first does not run yet", here, Case{Of: "side", Layout: two}, ", waits"},
		{"the first has ended", here, Case{Of: "side", Layout: two, Whole: fact("a", 5, projection.Exited)}, ", waits"},
		{"the first runs for another placement", here, Case{Of: "side", Layout: two, Whole: fact("a", 4, projection.Running)}, ", waits"},
		{"the first runs", here, Case{Of: "side", Layout: two, Whole: runs, Rest: []Container{first}}, "create"},
		{"both run as recorded", here, Case{Of: "side", Layout: two, Whole: saying(runs, map[string]*projection.Replica{"side": side}),
			There: []Container{other("s", "side", "a", StatusRunning, 5)}}, ""},
		{"it has ended", here, Case{Of: "side", Layout: two, Whole: saying(runs, map[string]*projection.Replica{"side": side}),
			There: []Container{other("s", "side", "a", StatusExited, 5)}}, "start s"},
		{"it has ended with the first", here, Case{Of: "side", Layout: two, Whole: saying(fact("a", 5, projection.Exited), map[string]*projection.Replica{"side": side}),
			There: []Container{other("s", "side", "a", StatusExited, 5)}}, "adopt s, waits"},
		{"the first was started since", here, Case{Of: "side", Layout: two, Whole: saying(again, map[string]*projection.Replica{"side": side}),
			There: []Container{other("s", "side", "a", StatusRunning, 5)}}, "stop s"},
		{"the first was started since, in the host's network", here, Case{Of: "side", Layout: Layout{Others: []string{"side"}},
			Whole: saying(again, map[string]*projection.Replica{"side": side}), There: []Container{other("s", "side", "", StatusRunning, 5)}}, ""},
		{"the first was made anew", here, Case{Of: "side", Layout: two, Whole: saying(fact("b", 5, projection.Running), map[string]*projection.Replica{"side": side}),
			There: []Container{other("s", "side", "a", StatusRunning, 5)}}, "remove s, create"},
		{"of the first it is not recorded yet that it runs", here, Case{Of: "side", Layout: two, Whole: waiting,
			There: []Container{other("s", "side", "a", StatusRunning, 5)}}, "adopt s"},
		{"it is recorded, and has no label that says whose network", here, Case{Of: "side", Layout: two, Whole: saying(runs, map[string]*projection.Replica{"side": side}),
			There: []Container{other("s", "side", "", StatusRunning, 5)}}, ""},
		{"it has the first's name", here, Case{Of: "side", Layout: two, Whole: runs, There: []Container{renamed}}, "create, orphan s"},
		{"a newer placement", state{held: placed("one", 6), covered: 9}, Case{Of: "side", Layout: two, Whole: runs,
			There: []Container{other("s", "side", "a", StatusRunning, 5)}}, "remove s, waits"},
		{"it is none of the template's", here, Case{Of: "side", Whole: runs, There: []Container{other("s", "side", "a", StatusRunning, 4)}}, "remove s"},
		{"nobody has heard of its placement", state{held: placed("one", 5), covered: 5}, Case{Of: "side", Layout: two, Whole: runs,
			There: []Container{other("s", "side", "a", StatusRunning, 7)}}, "create, orphan s"},

		{"the first is over, and has to wait for the other", state{covered: 9}, Case{Layout: two, Whole: runs, There: []Container{first},
			Rest: []Container{other("s", "side", "a", StatusRunning, 5)}}, ", waits"},
		{"the first is over, and another has no network of its", state{covered: 9}, Case{Layout: two, Whole: runs, There: []Container{first},
			Rest: []Container{other("s", "side", "b", StatusRunning, 5)}}, "remove a, forget"},
		{"the first is over, and a person's copy has its network", state{covered: 9}, Case{Layout: two, Whole: runs, There: []Container{first}, Rest: []Container{func() Container {
			c := other("s", "side", "a", StatusRunning, 5)
			c.Name = "mine"
			return c
		}()}}, "remove a, forget"},
		{"the first is gone, the other not yet", state{covered: 9}, Case{Layout: two, Whole: saying(runs, map[string]*projection.Replica{"side": side}),
			Rest: []Container{other("s", "side", "a", StatusRunning, 5)}}, ", waits"},

		{"before the first", here, Case{Layout: init}, ", waits"},
		{"the first init container", here, Case{Of: "one", Layout: init}, "create"},
		{"the second has to wait", here, Case{Of: "two", Layout: init}, ", waits"},
		{"it has failed", here, Case{Of: "one", Layout: init, Whole: saying(waiting, map[string]*projection.Replica{"one": failed}), There: []Container{exited1}}, "start i"},
		{"it is done, and not recorded", here, Case{Of: "one", Layout: init, There: []Container{exited0}}, "adopt i"},
		{"it is done", here, Case{Of: "one", Layout: init, Whole: saying(waiting, map[string]*projection.Replica{"one": done}), There: []Container{exited0}}, ""},
		{"it is done, and its container gone", here, Case{Of: "one", Layout: init, Whole: saying(waiting, map[string]*projection.Replica{"one": done})}, ""},
		{"then the second", here, Case{Of: "two", Layout: init, Whole: saying(waiting, map[string]*projection.Replica{"one": done})}, "create"},
		{"one of two", here, Case{Layout: init, Whole: saying(waiting, map[string]*projection.Replica{"one": done, "two": failed})}, ", waits"},
		{"then the first container", here, Case{Layout: init, Whole: saying(waiting, map[string]*projection.Replica{"one": done, "two": done})}, "create"},
		{"the first is there, so it is done", here, Case{Of: "one", Layout: init, Whole: runs, There: []Container{exited0}, Rest: []Container{first}}, "remove i"},
		{"the first is there, and nothing is recorded", here, Case{Of: "one", Layout: init, Rest: []Container{first}}, ""},
		{"the first has ended: they are not run again", here, Case{Layout: init, Whole: runs, There: []Container{there("a", StatusExited, 1, 5, "hash")}}, "start a"},
	} {
		c.Pod = web0
		c.Recorded = c.Whole.Part(c.Of)
		d, err := Plan(c.state, "one", c.Case)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, s := range d.Steps {
			all = append(all, strings.TrimSpace(string(s.Action)+" "+s.Container.ID))
		}
		for _, o := range d.Orphans {
			all = append(all, "orphan "+o.ID)
		}
		got := strings.Join(all, ", ")
		if d.Waits != "" {
			got += ", waits"
		}
		if got != c.want {
			t.Errorf("%s: got %q (%s), want %q", c.name, got, fmt.Sprint(d.Waits), c.want)
		}
	}
}
