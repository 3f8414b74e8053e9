package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// newCluster is a house that is the first of the hosts, all of which are alive and have 4 CPUs and 8 GiB.
func newCluster(t testing.TB, names ...string) *house {
	h := newHouse(t)
	h.as = &Cluster{Host: names[0], Since: h.now}
	for _, name := range names {
		h.host(name, func(*projection.Host) {})
	}
	h.hear(names...)
	return h
}

// host has a host say what it is.
func (h *house) host(name string, edit func(*projection.Host)) {
	h.t.Helper()
	fact := projection.Host{CPUs: 4, Memory: 8 << 30, Podman: "5.4.2", Started: h.now}
	edit(&fact)
	h.record(projection.Change{Kind: events.Observed, Key: projection.HostKey(name), Object: projection.Encode(fact)})
}

// node has people say something of a host.
func (h *house) node(name string, edit func(*projection.Node)) {
	h.t.Helper()
	var n projection.Node
	if o, ok := h.View().Lookup(projection.NodeKey(name)); ok {
		read(o.Version, &n)
	}
	edit(&n)
	h.record(projection.Change{Kind: events.Declared, Key: projection.NodeKey(name), Object: projection.Encode(n)})
}

// hear has all of these hear each other from now on, and all others be silent since.
func (h *house) hear(names ...string) {
	was := map[string]Peer{}
	for _, p := range h.as.Peers {
		was[p.Host] = p
	}
	h.as.Peers = nil
	for o := range h.View().All(projection.HostType + "/") {
		name := strings.TrimPrefix(o.Key, "host/")
		p, ok := was[name]
		if !ok {
			p = Peer{Host: name, Ready: true, Writable: true}
		}
		switch {
		case slices.Contains(names, name):
			p.Silent, p.Hears = time.Time{}, names
		case p.Silent.IsZero():
			p.Silent, p.Hears = h.now, nil
		}
		h.as.Peers = append(h.as.Peers, p)
	}
}

// peer changes what is heard of a host.
func (h *house) peer(name string, edit func(*Peer)) {
	for i := range h.as.Peers {
		if h.as.Peers[i].Host == name {
			edit(&h.as.Peers[i])
		}
	}
}

// where is which hosts the replicas of a Deployment are placed on: "web-0:a web-1:b".
func (h *house) where(name string) string {
	h.t.Helper()
	var all []string
	for p, err := range h.View().Placements("default/" + name + "/") {
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, p.Name()+":"+p.Host)
	}
	return strings.Join(all, " ")
}

// runs holds where the replicas are to what is wanted, once nothing more is decided.
func (h *house) runs(name, want string) {
	h.t.Helper()
	h.settle(name)
	if got := h.where(name); got != want {
		h.t.Errorf("%s is placed %s, want %s", name, got, want)
	}
}

func (h *house) placement(name string, ordinal int) *projection.Placed {
	h.t.Helper()
	p, err := h.View().Placement(projection.Pod{Namespace: "default", Deployment: name, Ordinal: ordinal})
	if err != nil || p == nil {
		h.t.Fatalf("%s-%d is not placed: %v", name, ordinal, err)
	}
	return p
}

func (h *house) stuck(name string, ordinal int) string {
	return Stuck(h.View().State, h.cluster())[projection.Pod{Namespace: "default", Deployment: name, Ordinal: ordinal}]
}

func (h *house) later(d time.Duration) { h.now = h.now.Add(d) }

func requests(cpu, memory string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
}

func writes(path string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		s := &d.Spec.Template.Spec
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}}}
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	}
}

func pods(edit func(*corev1.PodSpec)) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { edit(&d.Spec.Template.Spec) }
}

func TestCluster_spreads(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.deploy("web", 3)
	h.runs("web", "web-0:a web-1:b web-2:c")
	if got, want := h.placement("web", 1).Why, "spread: fewest replicas of web of 3 hosts"; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
	h.deploy("db", 1, requests("1", "1Gi"))
	h.runs("db", "db-0:a")
	if got, want := h.placement("db", 0).Why, "first by name of 3 hosts"; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
	h.deploy("one", 1, requests("100m", "100Mi"))
	h.runs("one", "one-0:b")
	if got, want := h.placement("one", 0).Why, "least asked of its cpu and memory of 3 hosts"; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
	h.deploy("web", 7)
	h.settle("web")
	h.deploy("web", 4) // those that share a host go first
	h.settle("web")
	count := map[string]int{}
	for p := range h.View().Placements("default/web/") {
		count[p.Host]++
	}
	if count["a"] > 2 || count["b"] > 2 || count["c"] > 2 {
		t.Errorf("scaled down to %v, want them spread", count)
	}
}

// What a host may be given, one filter at a time. The house is on b, so that a's own filters are another's, too.
func TestCluster_filters(t *testing.T) {
	required := func(terms ...corev1.NodeSelectorRequirement) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: terms}}}}}
		}
	}
	gen := func(op corev1.NodeSelectorOperator, values ...string) func(*corev1.PodSpec) {
		return required(corev1.NodeSelectorRequirement{Key: "gen", Operator: op, Values: values})
	}
	taint := func(effect corev1.TaintEffect) func(*house) {
		return func(h *house) {
			h.node("a", func(n *projection.Node) { n.Taints = []corev1.Taint{{Key: "gpu", Value: "yes", Effect: effect}} })
		}
	}
	tolerate := func(ts ...corev1.Toleration) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.Tolerations = ts }
	}
	labelled := func(h *house) {
		h.host("a", func(f *projection.Host) { f.Labels = map[string]string{"gen": "3", "disk": "ssd"} })
	}
	nothing := func(*house) {}
	plain := func(*corev1.PodSpec) {}
	for _, c := range []struct {
		name string
		do   func(*house)
		pod  func(*corev1.PodSpec)
		want string // where it goes; otherwise why a cannot take it
	}{
		{"nothing", nothing, plain, "a"},
		{"cordoned", func(h *house) { h.node("a", func(n *projection.Node) { n.Unschedulable = true }) }, plain, "cordoned"},
		{"drained", func(h *house) { h.node("a", func(n *projection.Node) { n.Draining = true }) }, plain, "drained"},
		{"silent", func(h *house) { h.hear("b") }, plain, "silent"},
		{"stopped", func(h *house) { h.host("a", func(f *projection.Host) { f.Left = h.now }) }, plain, "stopped"},
		{"no Podman", func(h *house) { h.host("a", func(f *projection.Host) { f.Podman = "" }) }, plain, "without an answer from Podman"},
		{"read-only by its word", func(h *house) { h.host("a", func(f *projection.Host) { f.ReadOnly = "full" }) }, plain, "read-only"},
		{"read-only by its beat", func(h *house) { h.peer("a", func(p *Peer) { p.Writable = false }) }, plain, "read-only"},
		{"recovering", func(h *house) { h.peer("a", func(p *Peer) { p.Ready = false }) }, plain, "recovering"},
		{"NoSchedule", taint(corev1.TaintEffectNoSchedule), plain, "tainted (a: gpu=yes:NoSchedule)"},
		{"NoExecute", taint(corev1.TaintEffectNoExecute), plain, "tainted (a: gpu=yes:NoExecute)"},
		{"PreferNoSchedule", taint(corev1.TaintEffectPreferNoSchedule), plain, "b: has no taint to be avoided of 2 hosts"},
		{"tolerated by value", taint(corev1.TaintEffectNoSchedule), tolerate(corev1.Toleration{Key: "gpu", Value: "yes"}), "a"},
		{"another value", taint(corev1.TaintEffectNoSchedule), tolerate(corev1.Toleration{Key: "gpu", Value: "no"}), "tainted"},
		{"tolerated by key", taint(corev1.TaintEffectNoSchedule), tolerate(corev1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists}), "a"},
		{"another key", taint(corev1.TaintEffectNoSchedule), tolerate(corev1.Toleration{Key: "cpu", Operator: corev1.TolerationOpExists}), "tainted"},
		{"all tolerated", taint(corev1.TaintEffectNoExecute), tolerate(corev1.Toleration{Operator: corev1.TolerationOpExists}), "a"},
		{"another effect", taint(corev1.TaintEffectNoExecute), tolerate(corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}), "tainted"},
		{"all tolerated and cordoned", func(h *house) { h.node("a", func(n *projection.Node) { n.Unschedulable = true }) },
			tolerate(corev1.Toleration{Operator: corev1.TolerationOpExists}), "cordoned"},
		{"nodeSelector", labelled, func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "hdd"} }, "without the label disk=hdd"},
		{"nodeSelector that fits", labelled, func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "ssd"} }, "a"},
		{"the label that every host has", nothing, func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{hostname: "a"} }, "a"},
		{"a label that people gave", func(h *house) {
			labelled(h)
			h.node("a", func(n *projection.Node) { n.Labels = map[string]string{"disk": "hdd"} })
		}, func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "hdd"} }, "a"},
		{"In", labelled, gen(corev1.NodeSelectorOpIn, "3", "4"), "a"},
		{"not In", labelled, gen(corev1.NodeSelectorOpIn, "4"), "not matched by nodeAffinity"},
		{"NotIn", labelled, gen(corev1.NodeSelectorOpNotIn, "3"), "not matched"},
		{"NotIn others", labelled, gen(corev1.NodeSelectorOpNotIn, "4"), "a"},
		{"NotIn without it", nothing, gen(corev1.NodeSelectorOpNotIn, "4"), "a"},
		{"Exists", labelled, gen(corev1.NodeSelectorOpExists), "a"},
		{"Exists not", nothing, gen(corev1.NodeSelectorOpExists), "not matched"},
		{"DoesNotExist", labelled, gen(corev1.NodeSelectorOpDoesNotExist), "not matched"},
		{"Gt", labelled, gen(corev1.NodeSelectorOpGt, "2"), "a"},
		{"not Gt", labelled, gen(corev1.NodeSelectorOpGt, "3"), "not matched"},
		{"Lt", labelled, gen(corev1.NodeSelectorOpLt, "4"), "a"},
		{"not Lt", labelled, gen(corev1.NodeSelectorOpLt, "3"), "not matched"},
		{"Gt of no number", nothing, required(corev1.NodeSelectorRequirement{Key: hostname, Operator: corev1.NodeSelectorOpGt, Values: []string{"1"}}), "not matched"},
		{"by name", nothing, func(s *corev1.PodSpec) {
			required()(s)
			s.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields = []corev1.NodeSelectorRequirement{
				{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}}
		}, "a"},
		{"a term that says nothing", nothing, required(), "not matched"},
		{"cpu", nothing, func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4001m")}
		}, "too little cpu"},
		{"memory, by its limit", nothing, func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("9Gi")}
		}, "too little memory"},
		{"all of it", nothing, func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi")}
		}, "a"},
		{"removed", func(h *house) {
			h.record(projection.Change{Kind: events.Trust, Key: projection.MemberKey("a"), Object: projection.Encode(projection.Member{Removed: true})})
		}, plain, "b: only host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newCluster(t, "b", "a")
			c.do(h)
			h.deploy("x", 1, pods(c.pod))
			h.settle("x")
			p := h.placement("x", 0)
			switch got := p.Host + ": " + p.Why; {
			case c.want == "a" && p.Host != "a", c.want != "a" && strings.HasPrefix(c.want, "b: ") && got != c.want,
				c.want != "a" && p.Host == "a", c.want != "a" && !strings.HasPrefix(c.want, "b: ") && !strings.Contains(p.Why, c.want):
				t.Errorf("placed %s, want %s", got, c.want)
			}
		})
	}
}

func TestCluster_whyNone(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.node("a", func(n *projection.Node) { n.Unschedulable = true })
	h.deploy("big", 1, requests("1", "9Gi"))
	h.settle("big")
	if got, want := h.placement("big", 0).Why, "0/3 hosts can take it: 1 cordoned (a), 2 too little memory (b, c)"; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
	h.deploy("full", 20, requests("1", "1Mi"))
	h.settle("full")
	n := 0
	for p := range h.View().Placements("default/full/") {
		if p.Host == "" {
			n++
		}
	}
	if n != 12 {
		t.Errorf("%d of 20 are placed nowhere, want 12: 8 CPUs are free", n)
	}
}

func TestCluster_podAffinity(t *testing.T) {
	term := func(app, key string) corev1.PodAffinityTerm {
		return corev1.PodAffinityTerm{LabelSelector: selector(app), TopologyKey: key}
	}
	with := func(ts ...corev1.PodAffinityTerm) func(*appsv1.Deployment) {
		return pods(func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: ts}}
		})
	}
	without := func(ts ...corev1.PodAffinityTerm) func(*appsv1.Deployment) {
		return pods(func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: ts}}
		})
	}
	h := newCluster(t, "a", "b", "c", "d")
	for name, zone := range map[string]string{"a": "1", "b": "1", "c": "2"} {
		h.node(name, func(n *projection.Node) { n.Labels = map[string]string{"zone": zone} })
	}
	h.deploy("alone", 5, without(term("alone", hostname)))
	h.runs("alone", "alone-0:a alone-1:b alone-2:c alone-3:d alone-4:")
	h.remove("alone")
	h.settle("alone")

	h.deploy("zoned", 3, without(term("zoned", "zone"))) // d has no zone, and is near to nobody
	h.runs("zoned", "zoned-0:a zoned-1:c zoned-2:d")
	h.remove("zoned")
	h.settle("zoned")

	h.deploy("friend", 2, with(term("friend", "zone"))) // the first of its kind may begin anywhere that is a place
	h.runs("friend", "friend-0:a friend-1:b")
	h.deploy("other", 1, with(term("nobody", "zone")))
	h.runs("other", "other-0:")
	if got := h.placement("other", 0).Why; !strings.Contains(got, "4 not near what podAffinity wants") {
		t.Errorf("why: %q", got)
	}
	h.deploy("near", 2, with(term("friend", hostname)))
	h.runs("near", "near-0:a near-1:b")
	h.deploy("far", 1, without(term("friend", "zone")))
	h.runs("far", "far-0:c")
	h.deploy("friend", 3, with(term("friend", "zone"))) // and is not wanted near itself
	h.runs("friend", "friend-0:a friend-1:b friend-2:a")
	h.deploy("hater", 1, without(term("late", "zone")))
	h.runs("hater", "hater-0:d") // fewest replicas
	h.deploy("hater", 2, without(term("late", "zone")))
	h.settle("hater")
	h.deploy("late", 1)
	h.settle("late")
	for p := range h.View().Placements("default/hater/") {
		at, late := h.placement("hater", p.Ordinal).Host, h.placement("late", 0).Host
		if zones := map[string]string{"a": "1", "b": "1", "c": "2"}; zones[at] != "" && zones[at] == zones[late] {
			t.Errorf("late is on %s beside hater on %s", late, at)
		}
	}
}

func TestCluster_preferred(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.node("c", func(n *projection.Node) { n.Labels = map[string]string{"disk": "ssd"} })
	h.deploy("db", 1, pods(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
			{Weight: 5, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: "In", Values: []string{"ssd"}}}}}}}}
	}))
	h.runs("db", "db-0:c")
	liked := func(weight int32) corev1.WeightedPodAffinityTerm {
		return corev1.WeightedPodAffinityTerm{Weight: weight, PodAffinityTerm: corev1.PodAffinityTerm{LabelSelector: selector("db"), TopologyKey: hostname}}
	}
	h.deploy("near", 1, pods(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{liked(1)}}}
	}))
	h.runs("near", "near-0:c")
	for i, name := range []string{"far", "away", "off"} {
		h.deploy(name, 1, pods(func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{liked(1)}}}
		}))
		h.runs(name, name+"-0:"+[]string{"a", "b", "a"}[i])
	}
}

func TestCluster_topologySpread(t *testing.T) {
	constraint := func(when corev1.UnsatisfiableConstraintAction, app string) func(*appsv1.Deployment) {
		return pods(func(s *corev1.PodSpec) {
			s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: when, LabelSelector: selector(app)}}
		})
	}
	h := newCluster(t, "a", "b", "c", "d")
	for name, zone := range map[string]string{"a": "1", "b": "1", "c": "2"} {
		h.node(name, func(n *projection.Node) { n.Labels = map[string]string{"zone": zone} })
	}
	h.deploy("web", 5, constraint(corev1.DoNotSchedule, "web")) // d is in no zone
	h.runs("web", "web-0:a web-1:c web-2:b web-3:c web-4:a")
	h.deploy("soft", 4, constraint(corev1.ScheduleAnyway, "soft"))
	h.settle("soft")
	count := map[string]int{}
	for p := range h.View().Placements("default/soft/") {
		count[p.Host]++
	}
	if count["c"]+count["d"] < 2 {
		t.Errorf("spread over %v", count)
	}
	h.node("c", func(n *projection.Node) { n.Unschedulable = true }) // and then zone 2 is no place any more
	h.deploy("web", 7, constraint(corev1.DoNotSchedule, "web"))
	h.runs("web", "web-0:a web-1:c web-2:b web-3:c web-4:a web-5:b web-6:a")
}

func TestCluster_hostPorts(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.deploy("web", 3, port(80, ""))
	h.runs("web", "web-0:a web-1:b web-2:")
	want := "0/2 hosts can take it: 2 host port taken (a: 80/TCP by default/web-0, b: 80/TCP by default/web-1)"
	if got := h.placement("web", 2).Why; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
}

// The same state and the same word of the hosts give the same decisions, in whatever order they come.
func TestCluster_isPure(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	h.deploy("web", 5, requests("100m", "1Mi"))
	c := h.cluster()
	first, _, _ := Decide(h.View().State, c, "default", "web")
	for range 20 {
		slices.Reverse(c.Peers)
		if again, _, _ := Decide(h.View().State, c, "default", "web"); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Fatalf("decided\n%s\nand then\n%s", first, again)
		}
		c.Peers = append(c.Peers[1:], c.Peers[0])
	}
}
