package placement

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func TestMove_silentHost(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.deploy("web", 3)
	h.runs("web", "web-0:a web-1:b web-2:c")
	h.hear("a", "b")
	silent := clock(h.now)
	h.later(59 * time.Second)
	h.runs("web", "web-0:a web-1:b web-2:c")
	if got, want := h.stuck("web", 2), "waiting until "+clock(h.now.Add(time.Second))+" (host c silent since "+silent+")"; got != want {
		t.Errorf("stuck: %q, want %q", got, want)
	}
	_, wake, err := Decide(h.View().State, h.cluster(), "default", "web")
	if err != nil || !wake.Equal(h.now.Add(time.Second)) {
		t.Errorf("to be asked again at %v, %v, want in a second", wake, err)
	}
	h.later(time.Second)
	h.runs("web", "web-0:a web-1:b web-2:a")
	p := h.placement("web", 2)
	if want := "moved from c (host c silent since " + silent + "): first by name of 2 hosts"; p.Why != want || p.Moves != 1 || !p.Moved.Equal(h.now) {
		t.Errorf("why: %q, moves %d at %v, want %q", p.Why, p.Moves, p.Moved, want)
	}
	h.later(time.Hour)
	h.hear("a", "b", "c")
	h.runs("web", "web-0:a web-1:b web-2:a") // nothing moves back by itself
}

func TestMove_fieldsOfTheDecider(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.as.RescheduleAfter, h.as.ReturnAfter = 10*time.Second, 20*time.Second
	h.deploy("web", 3)
	h.settle("web")
	h.host("b", func(f *projection.Host) { f.Left = h.now })
	h.hear("a")
	h.peer("a", func(p *Peer) { p.Hears = []string{"b", "c"} })
	h.hear("a", "c")
	h.later(10 * time.Second)
	h.runs("web", "web-0:a web-1:b web-2:c")
	if got, want := h.stuck("web", 1), "host b stopped at "+clock(h.now.Add(-10*time.Second))+", and meant to come back"; !strings.Contains(got, want) {
		t.Errorf("stuck: %q, want %q", got, want)
	}
	h.later(10 * time.Second)
	h.runs("web", "web-0:a web-1:a web-2:c")
}

// A host that said that it would be back is waited for as long as nobody hears it, whatever its clock said when it left.
func TestMove_leftHostIsWaitedFor(t *testing.T) {
	for _, wrong := range []time.Duration{0, time.Hour, -time.Hour} {
		h := newCluster(t, "a", "b", "c")
		h.deploy("web", 3)
		h.settle("web")
		h.host("b", func(f *projection.Host) { f.Left = h.now.Add(wrong) })
		h.runs("web", "web-0:a web-1:b web-2:c")
		h.hear("a", "c")
		h.later(15*time.Minute - time.Second)
		h.runs("web", "web-0:a web-1:b web-2:c")
		h.later(time.Second)
		h.runs("web", "web-0:a web-1:a web-2:c")
	}
}

// What is heard of a host goes before what it said last: one that is back on a full disk cannot take back that it left.
func TestCluster_leftAndHeard(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.host("b", func(f *projection.Host) { f.Left = h.now })
	closed := func() string { return h.cluster().hosts(h.View().State, register{}).at("b").closed }
	if got := closed(); got != "stopped" {
		t.Errorf("closed as %q, and it is about to stop", got)
	}
	h.peer("b", func(p *Peer) { p.Writable = false })
	if got := closed(); got != "read-only" {
		t.Errorf("closed as %q, and it is heard to be read-only", got)
	}
	h.later(time.Hour)
	if gone := h.cluster().hosts(h.View().State, register{}).at("b").gone; gone != "" {
		t.Errorf("its replicas would move: %s", gone)
	}
	h.hear("a")
	if got := closed(); got != "stopped" {
		t.Errorf("closed as %q, and it is not heard any more", got)
	}
}

// Only the side that is a majority moves anything; of two halves, the one with the first name.
func TestMove_splits(t *testing.T) {
	for _, c := range []struct {
		name  string
		hosts []string
		sides [][]string
		moves []bool // whether each side does
	}{
		{"2|1", []string{"a", "b", "c"}, [][]string{{"a", "b"}, {"c"}}, []bool{true, false}},
		{"1|2", []string{"a", "b", "c"}, [][]string{{"a"}, {"b", "c"}}, []bool{false, true}},
		{"2|2", []string{"a", "b", "c", "d"}, [][]string{{"a", "d"}, {"b", "c"}}, []bool{true, false}},
		{"1|1|1", []string{"a", "b", "c"}, [][]string{{"a"}, {"b"}, {"c"}}, []bool{false, false, false}},
		{"2|1|1", []string{"a", "b", "c", "d"}, [][]string{{"a", "b"}, {"c"}, {"d"}}, []bool{true, false, false}},
		{"2|1|1 without the first", []string{"a", "b", "c", "d"}, [][]string{{"a"}, {"b", "d"}, {"c"}}, []bool{false, false, false}},
		{"1|1", []string{"a", "b"}, [][]string{{"a"}, {"b"}}, []bool{true, false}},
		{"3|2", []string{"a", "b", "c", "d", "e"}, [][]string{{"a", "b"}, {"c", "d", "e"}}, []bool{false, true}},
	} {
		for i, side := range c.sides {
			for _, who := range side {
				t.Run(c.name+" seen by "+who, func(t *testing.T) {
					h := newCluster(t, c.hosts...)
					h.deploy("web", int32(len(c.hosts)))
					h.settle("web")
					before := h.where("web")
					h.as.Host = who
					h.hear(side...)
					if got := h.cluster().hosts(h.View().State, register{}).decider; got != side[0] {
						t.Errorf("decided by %s, want %s", got, side[0])
					}
					h.later(10 * time.Minute)
					h.settle("web")
					if moved := h.where("web") != before; moved != c.moves[i] {
						t.Errorf("moved to %s from %s, want moved %v", h.where("web"), before, c.moves[i])
					}
					for p := range h.View().Placements("default/web/") {
						if c.moves[i] && !slices.Contains(side, p.Host) {
							t.Errorf("%s is still on %s", p.Name(), p.Host)
						}
					}
					ordinal := slices.IndexFunc(c.hosts, func(name string) bool { return !slices.Contains(side, name) })
					if got := h.stuck("web", ordinal); !c.moves[i] && !strings.Contains(got, "hosts in sight") {
						t.Errorf("stuck: %q", got)
					}
				})
			}
		}
	}
}

func TestMove_minoritySaysWhy(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.deploy("web", 2)
	h.settle("web")
	h.as.Host = "b"
	h.hear("b")
	h.later(time.Hour)
	h.runs("web", "web-0:a web-1:b")
	if got, want := h.stuck("web", 0), "not moved: 1 of 2 hosts in sight; if a is dead, psctl node down a"; got != want {
		t.Errorf("stuck: %q, want %q", got, want)
	}
	h.node("a", func(n *projection.Node) { n.Down = h.now })
	h.runs("web", "web-0:b web-1:b")
	if got, want := h.placement("web", 0).Why, "moved from a (said to be down): only other host"; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
}

// A link that works one way only, or one broken link of three, is no side of its own; words must be mutual.
func TestMove_links(t *testing.T) {
	for _, c := range []struct {
		name    string
		hears   map[string]string // whom each hears, by its word
		silent  string
		inSight int
	}{
		{"all", map[string]string{"a": "abc", "b": "abc", "c": "abc"}, "", 3},
		{"a and c do not hear each other, b hears both", map[string]string{"a": "ab", "b": "abc", "c": "bc"}, "", 3},
		{"c hears all and is not heard", map[string]string{"a": "ab", "b": "ab"}, "c", 2},
		{"c hears all, is not heard, and is heard of", map[string]string{"a": "ab", "b": "ab", "c": "abc"}, "", 2},
		{"a is not heard by anybody", map[string]string{"a": "abc", "b": "bc", "c": "bc"}, "", 1},
		{"nobody is heard by a but b, which does not hear it", map[string]string{"a": "ab", "b": "b"}, "c", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newCluster(t, "a", "b", "c")
			for name := range map[string]bool{"a": true, "b": true, "c": true} {
				h.peer(name, func(p *Peer) {
					p.Hears = strings.Split(c.hears[name], "")
					if name == c.silent {
						p.Silent = h.now
					}
				})
			}
			if got := h.cluster().hosts(h.View().State, register{}).inSight; got != c.inSight {
				t.Errorf("%d in sight, want %d", got, c.inSight)
			}
		})
	}
}

func TestMove_personsWord(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.deploy("web", 3)
	h.deploy("db", 1, writes("/data"), pods(func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{hostname: "c"} }))
	h.settle("web")
	h.settle("db")
	h.node("c", func(n *projection.Node) { n.Down = h.now.Add(time.Second) })
	h.later(2 * time.Second)
	h.runs("web", "web-0:a web-1:b web-2:c") // it is heard, whatever people say
	h.hear("a", "b")
	h.runs("web", "web-0:a web-1:b web-2:c") // and was heard after that
	h.later(time.Second)
	h.node("c", func(n *projection.Node) { n.Down = h.now })
	h.runs("web", "web-0:a web-1:b web-2:a")
	h.hear("a", "b", "c")
	h.host("c", func(f *projection.Host) { f.Started = h.now.Add(time.Second) })
	h.deploy("web", 4)
	h.runs("web", "web-0:a web-1:b web-2:a web-3:c") // it has started since

	h.later(time.Minute)
	h.record(projection.Change{Kind: events.Trust, Key: projection.MemberKey("c"), Object: projection.Encode(projection.Member{Removed: true})})
	h.settle("web")
	if got := h.where("web"); strings.Contains(got, "c") && strings.Contains(got, ":c") {
		t.Errorf("placed %s, want nothing on a host that was removed", got)
	}
}

// A person's word is about the life that the host had then, also for one who has not listened all the time.
func TestMove_wordOfAnEarlierLife(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.deploy("web", 3)
	h.settle("web")
	h.node("c", func(n *projection.Node) { n.Down = h.now })
	h.later(time.Second)
	h.host("c", func(f *projection.Host) { f.Started = h.now })
	h.later(time.Second)
	h.as.Since = h.now
	h.hear("a", "b")
	h.runs("web", "web-0:a web-1:b web-2:c")
	h.later(time.Second)
	h.node("c", func(n *projection.Node) { n.Down = h.now })
	h.as.Since = h.now.Add(time.Hour) // it is still dead after this host was started again
	h.peer("c", func(p *Peer) { p.Silent = h.as.Since })
	h.runs("web", "web-0:a web-1:b web-2:a")
}

// Those that people say are dead do not count among the hosts of which a majority is needed.
func TestMove_deadHostsDoNotCount(t *testing.T) {
	h := newCluster(t, "a", "b", "c", "d", "e")
	h.deploy("web", 5)
	h.settle("web")
	h.hear("a", "b")
	h.later(time.Hour)
	h.runs("web", "web-0:a web-1:b web-2:c web-3:d web-4:e")
	h.node("d", func(n *projection.Node) { n.Down = h.now })
	h.node("e", func(n *projection.Node) { n.Down = h.now })
	h.settle("web")
	if got := h.where("web"); strings.ContainsAny(got, "cd") || strings.Contains(got, ":e") {
		t.Errorf("placed %s, want all on a and b: they are two of three", got)
	}
}

// What writes to a folder of its host does not move by itself: on a person's word only.
func TestMove_writableHostPath(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.node("c", func(n *projection.Node) { n.Unschedulable = true })
	h.node("b", func(n *projection.Node) { n.Unschedulable = true })
	h.as.Host = "b"
	h.deploy("db", 1, writes("/data"))
	h.runs("db", "db-0:a")
	h.node("b", func(n *projection.Node) { n.Unschedulable = false })
	h.hear("b", "c")
	h.later(time.Hour)
	h.runs("db", "db-0:a")
	if got, want := h.stuck("db", 0), "not moved: has a writable hostPath /data: if host a silent since"; !strings.HasPrefix(got, want) {
		t.Errorf("stuck: %q, want %q", got, want)
	}
	h.node("a", func(n *projection.Node) { n.Down = h.now })
	h.runs("db", "db-0:b")

	read := func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].VolumeMounts[0].ReadOnly = true }
	h = newCluster(t, "a", "b", "c")
	h.deploy("web", 3, writes("/srv"), read)
	h.settle("web")
	h.hear("a", "b")
	h.later(time.Minute)
	h.runs("web", "web-0:a web-1:b web-2:a")
}

// A replica that was moved stays longer each time before it is moved again, unless it has stayed an hour.
func TestMove_doublingWait(t *testing.T) {
	h := newCluster(t, "a", "b", "c", "d", "e")
	h.deploy("web", 1, pods(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: hostname, Operator: "In", Values: []string{"d", "e"}}}}}}}}
	}))
	h.runs("web", "web-0:d")
	all := []string{"a", "b", "c", "d", "e"}
	for i, want := range []time.Duration{60 * time.Second, 120 * time.Second, 240 * time.Second, 480 * time.Second} {
		at := h.placement("web", 0).Host
		h.hear(slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == at })...)
		begun := h.now
		for h.placement("web", 0).Host == at {
			h.later(time.Second)
			h.settle("web")
			if h.now.Sub(begun) > 2*time.Hour {
				t.Fatalf("does not move: %s", h.stuck("web", 0))
			}
		}
		if got := h.now.Sub(begun); got != want {
			t.Errorf("move %d after %v, want %v", i+1, got, want)
		}
		if got := h.placement("web", 0).Moves; got != i+1 {
			t.Errorf("%d moves, want %d", got, i+1)
		}
		h.hear(all...)
	}
	h.later(time.Hour)
	at := h.placement("web", 0).Host
	h.hear(slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == at })...)
	h.later(time.Minute)
	h.settle("web")
	if p := h.placement("web", 0); p.Host == at || p.Moves != 1 {
		t.Errorf("on %s after %d moves, want it moved, and that to count as the first", p.Host, p.Moves)
	}
}

// A replica for which there is no other host stays placed where it is.
func TestMove_nowhereToGo(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.deploy("web", 3, port(80, ""))
	h.settle("web")
	h.hear("a", "b")
	h.later(time.Hour)
	h.runs("web", "web-0:a web-1:b web-2:c")
	if got, want := h.stuck("web", 2), "not moved: 0/2 hosts can take it: 2 host port taken"; !strings.HasPrefix(got, want) {
		t.Errorf("stuck: %q, want %q", got, want)
	}
	h.deploy("web", 2, port(80, ""))
	h.runs("web", "web-0:a web-1:b") // what is not heard is missed least
}

// Nobody knows how the replicas of a silent host are: they serve nobody, and are no roll-out that stands still.
func TestMove_unknownReplicas(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.deploy("web", 3)
	h.settle("web")
	h.later(time.Hour)
	h.record(projection.Change{Kind: events.Observed, Key: projection.SightKey("a"), Object: projection.Encode(projection.Sight{
		Silent: map[string]time.Time{"c": h.now}})})
	o, _ := h.View().Lookup(projection.DeploymentKey("default", "web"))
	r, err := AsSeen(h.View().State, o, h.View().HeardBy("a").Silent, h.now)
	if err != nil {
		t.Fatal(err)
	}
	st := r.Status()
	if st.ReadyReplicas != 2 || st.AvailableReplicas != 2 || st.UnavailableReplicas != 1 || st.Replicas != 3 {
		t.Errorf("status is %+v, want one of three not ready", st)
	}
	if got, want := r.Replicas[2].Held(), "unknown: host c silent since "+clock(h.now); got != want {
		t.Errorf("held by %q, want %q", got, want)
	}
	if c := st.Conditions[1]; c.Status != "True" {
		t.Errorf("Progressing is %s: %s", c.Status, c.Message)
	}
	if c := st.Conditions[0]; c.Status != "False" || !c.LastTransitionTime.Time.Equal(h.now) {
		t.Errorf("Available is %s since %v, want False since %v: 25%% of 3 is none", c.Status, c.LastTransitionTime, h.now)
	}
	if st := h.rollout("web").Status(); st.ReadyReplicas != 3 {
		t.Errorf("heard by all, %d are ready, want 3", st.ReadyReplicas)
	}
	if got := h.View().State.HeardBy("b").Silent; got != nil {
		t.Errorf("b does not hear %v, and has not said so", got)
	}

	// A roll-out counts it as away: nothing that serves goes for it.
	h.hear("a", "b")
	h.deploy("web", 3, image("v2"))
	h.want("web", "+web-3 v2")
	h.work()
	h.want("web", "-web-2") // the one that nobody hears of
}

// What a dead host has left does not hold up those that wait for containers to go.
func TestMove_recreateWaitsForNoDeadHost(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.deploy("web", 3, recreate)
	h.settle("web")
	h.hear("a", "b")
	h.deploy("web", 3, recreate, image("v2"))
	h.want("web", "-web-0, -web-1, -web-2")
	h.work()
	h.want("web", "") // that of c may still run
	h.later(time.Minute)
	h.want("web", "+web-0 v2, +web-1 v2, +web-2 v2")
}

func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name  string
		edits []func(*appsv1.Deployment)
		steps string
	}{
		{"a new one first", []func(*appsv1.Deployment){rolling("1", "0")}, "+web-3 v1; -web-2"},
		{"one may be away", []func(*appsv1.Deployment){rolling("0", "1")}, "-web-2; +web-2 v1"},
		{"recreate", []func(*appsv1.Deployment){recreate}, "-web-2; +web-2 v1"},
		{"paused", []func(*appsv1.Deployment){rolling("1", "0"), paused}, "+web-3 v1; -web-2"},
		{"paused, recreate", []func(*appsv1.Deployment){recreate, paused}, "-web-2; +web-2 v1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newCluster(t, "a", "b", "c")
			h.deploy("web", 3, c.edits[:1]...)
			h.settle("web")
			h.deploy("web", 3, c.edits...)
			h.node("c", func(n *projection.Node) { n.Draining, n.Unschedulable = true, true })
			if got, want := h.stuck("web", 2), "leaves c, which is drained, once another runs in its place"; got != want {
				t.Errorf("stuck: %q, want %q", got, want)
			}
			if got := h.settle("web"); got != c.steps {
				t.Errorf("drained by %q, want %q", got, c.steps)
			}
			if r := h.rollout("web"); !r.Complete() || strings.Contains(h.where("web"), ":c") {
				t.Errorf("placed %s", h.where("web"))
			}
			h.node("c", func(n *projection.Node) { n.Draining, n.Unschedulable = false, false })
			if got := h.settle("web"); got != "" {
				t.Errorf("moved back by %q", got)
			}
		})
	}
}

// A drain never leaves fewer than the strategy says, however slowly new ones start.
func TestDrain_oneByOne(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.ran = 0
	h.deploy("web", 4, rolling("1", "0"))
	h.settle("web")
	h.later(time.Hour)
	h.node("b", func(n *projection.Node) { n.Draining = true })
	least := 4
	for range 100 {
		h.once("web")
		n := 0
		for _, r := range h.rollout("web").Replicas {
			if r.Available {
				n++
			}
		}
		least = min(least, n)
		h.later(2 * time.Second)
		h.work()
	}
	if got := h.where("web"); least < 4 || strings.Contains(got, ":b") {
		t.Errorf("placed %s, and at least %d served meanwhile, want 4", got, least)
	}
	if got, want := h.placement("web", 4).Why, "in place of web-1 on b, which is drained: only 1/2 hosts can take it: 1 drained (b)"; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
}

// A host that is drained is emptied also of replicas from an old template, whose roll-out stands still: what is new does not
// run. No more than one at a time is on its way, whatever the strategy.
func TestDrain_rolloutThatStandsStill(t *testing.T) {
	for _, c := range []struct {
		name     string
		strategy func(*appsv1.Deployment)
		replicas int32
	}{
		{"a new one first", rolling("1", "0"), 3}, {"one may be away", rolling("0", "1"), 3}, {"a quarter", rolling("25%", "25%"), 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newCluster(t, "a", "b", "c")
			h.deploy("web", c.replicas, c.strategy)
			h.settle("web")
			h.deploy("web", c.replicas, c.strategy, image("bad"))
			h.settle("web")
			before := h.shape("web")
			h.node("c", func(n *projection.Node) { n.Draining = true })
			_, unavailable := bounds(h.rollout("web").Deployment)
			for range 100 {
				said := h.once("web")
				n := 0
				for _, r := range h.rollout("web").Replicas {
					if r.Available {
						n++
					}
				}
				if least := int(c.replicas) - unavailable - 1; n < least {
					t.Errorf("%s: %d serve, want %d", said, n, least)
				}
				if did := h.work(); said == "" && !did {
					break
				}
			}
			if got := h.where("web"); strings.Contains(got, ":c") {
				t.Errorf("placed %s", got)
			}
			if got := h.shape("web"); got != before {
				t.Errorf("runs %s, want %s as before", got, before)
			}
			h.deploy("web", c.replicas, c.strategy, image("v2"))
			h.settle("web")
			if r := h.rollout("web"); !r.Complete() || strings.Contains(h.where("web"), ":c") {
				t.Errorf("placed %s", h.where("web"))
			}
		})
	}
}

// While a roll-out gets on, what is old leaves a drained host by it, and before it leaves others.
func TestDrain_rolloutUnderWay(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.deploy("web", 6, rolling("1", "0"))
	h.settle("web")
	h.ran = 0
	h.node("b", func(n *projection.Node) { n.Draining = true })
	h.deploy("web", 6, rolling("1", "0"), image("v2"))
	on := func(host string) int { return strings.Count(h.where("web"), ":"+host) }
	for range 100 {
		h.later(2 * time.Second)
		said := h.once("web")
		if strings.Contains(said, "v1") {
			t.Fatalf("%s: an old one was placed anew", said)
		}
		olds := 0
		for _, r := range h.rollout("web").Replicas {
			if imageOf(r.Placed) == "v1" && r.Host != "b" {
				olds++
			}
		}
		if olds < 4 && on("b") > 0 {
			t.Fatalf("%s: an old one left another host before b is empty: %s", said, h.where("web"))
		}
		h.work()
	}
	if on("b") > 0 || !h.rollout("web").Complete() {
		t.Errorf("placed %s", h.where("web"))
	}
}

func TestDrain_whatStays(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.deploy("db", 2, writes("/data"), rolling("0", "1"))
	h.deploy("web", 2, port(80, ""), rolling("0", "1"))
	h.deploy("more", 2, port(81, ""), rolling("1", "0"))
	h.settle("db")
	h.settle("web")
	h.settle("more")
	h.node("b", func(n *projection.Node) { n.Draining = true })
	h.runs("db", "db-0:a db-1:b")
	h.runs("web", "web-0:a web-1:b")
	h.runs("more", "more-0:a more-1:b") // and none that could run nowhere
	if got := h.stuck("db", 1); !strings.Contains(got, "stays on b, which is drained: has a writable hostPath /data") {
		t.Errorf("stuck: %q", got)
	}
	if got := h.stuck("web", 1); !strings.HasPrefix(got, "stays on b, which is drained: 0/1 hosts can take it: 1 host port taken") {
		t.Errorf("stuck: %q", got)
	}
	h.host("c", func(*projection.Host) {})
	h.hear("a", "b", "c")
	h.runs("web", "web-0:a web-1:c")
}

func TestDrain_noExecute(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.deploy("web", 2)
	h.deploy("strong", 2, pods(func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} }))
	h.settle("web")
	h.settle("strong")
	h.node("b", func(n *projection.Node) {
		n.Taints = []corev1.Taint{{Key: "broken", Effect: corev1.TaintEffectNoExecute}}
	})
	h.settle("web")
	if got := h.where("web"); strings.Contains(got, ":b") {
		t.Errorf("placed %s", got)
	}
	h.runs("strong", "strong-0:a strong-1:b")
}

// Two hosts that decided at once may have given one port away twice. Whoever does not run goes elsewhere.
func TestMove_portGivenAwayTwice(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.deploy("web", 1, port(80, ""))
	h.settle("web")
	h.node("a", func(n *projection.Node) { n.Unschedulable = true })
	h.deploy("api", 1, port(80, ""))
	h.once("api")
	twice := func() {
		p := h.placement("api", 0)
		p.Placement.Host = "a"
		h.record(projection.Change{Kind: events.Decided, Key: p.Key, For: p.Object.Version.For, Object: projection.Encode(p.Placement)})
	}
	twice()
	h.once("web")
	h.runs("api", "api-0:b") // although it is the first by name: the other runs
	if got, want := h.placement("api", 0).Why, "moved from a (host port 80/TCP taken by default/web-0): only other host"; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
	h.node("b", func(n *projection.Node) { n.Unschedulable = true })
	twice()
	h.runs("api", "api-0:")
	h.runs("web", "web-0:a")
	want := "not placed: 0/2 hosts can take it: 2 cordoned (a, b)"
	if got := h.stuck("api", 0); got != want {
		t.Errorf("stuck: %q, want %q", got, want)
	}
}

// Two that could not hear each other for long, and now do, are a majority at once; but the one that was away itself may be about to hear the third
// again. They wait until whoever lives has had the time to be heard.
func TestCluster_aMajorityThatHasJustFormed(t *testing.T) {
	for _, back := range []bool{true, false} {
		h := newCluster(t, "a", "b", "c")
		h.deploy("web", 3)
		const placed = "web-0:a web-1:b web-2:c"
		h.runs("web", placed)
		h.hear("a")
		h.later(2 * time.Minute)
		h.runs("web", placed)
		h.hear("a", "b")
		h.peer("b", func(p *Peer) { p.Since = h.now })
		h.runs("web", placed)
		if got := h.stuck("web", 2); !strings.Contains(got, "waiting until") {
			t.Errorf("got %q, want it to wait", got)
		}
		h.later(settle - time.Second)
		h.runs("web", placed)
		if back {
			h.hear("a", "b", "c")
		}
		h.later(time.Second)
		want := placed
		if !back {
			want = "web-0:a web-1:b web-2:a"
		}
		h.runs("web", want)
	}
}

// Who joins a majority that there is already does not begin its time anew.
func TestCluster_aMajorityThatGrows(t *testing.T) {
	h := newCluster(t, "a", "b", "c", "d", "e")
	h.deploy("web", 5)
	h.hear("a", "b", "c", "d")
	h.later(time.Hour)
	h.peer("d", func(p *Peer) { p.Since = h.now })
	h.runs("web", "web-0:a web-1:b web-2:c web-3:d web-4:a")
}
