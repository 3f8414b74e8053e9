package placement

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

func shuns(app, key string) func(*appsv1.Deployment) {
	return pods(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{LabelSelector: selector(app), TopologyKey: key}}}}
	})
}

// What does not want another near is not given it, although that one would not mind.
func TestCluster_shunnedByOthers(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.deploy("shy", 1, shuns("late", hostname))
	h.runs("shy", "shy-0:a")
	h.node("a", func(n *projection.Node) { n.Unschedulable = true })
	h.deploy("many", 5)
	h.settle("many")
	h.node("a", func(n *projection.Node) { n.Unschedulable = false })
	h.deploy("late", 1)
	h.runs("late", "late-0:b")
	if got, want := h.placement("late", 0).Why, "only 1/2 hosts can take it: 1 with replicas that do not want it near (a)"; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
}

// A replica that moves is not in its own way, nor is one that leaves in that of what takes its place.
func TestMove_notInItsOwnWay(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	for _, name := range []string{"a", "b", "c"} {
		h.node(name, func(n *projection.Node) { n.Labels, n.Unschedulable = map[string]string{"zone": "1"}, name != "c" })
	}
	h.deploy("solo", 1, shuns("solo", "zone"), rolling("0", "1"))
	h.runs("solo", "solo-0:c")
	for _, name := range []string{"a", "b"} {
		h.node(name, func(n *projection.Node) { n.Unschedulable = false })
	}
	h.hear("a", "b")
	h.later(time.Minute)
	h.runs("solo", "solo-0:a")
	h.node("a", func(n *projection.Node) { n.Draining = true })
	h.runs("solo", "solo-0:b")
}

// Of replicas that serve alike, those go first that share a host.
func TestDecide_scalesDownWhereThereAreMost(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.node("b", func(n *projection.Node) { n.Unschedulable = true })
	h.deploy("web", 2)
	h.settle("web")
	h.node("b", func(n *projection.Node) { n.Unschedulable = false })
	h.deploy("web", 3)
	h.runs("web", "web-0:a web-1:a web-2:b")
	h.deploy("web", 2)
	h.runs("web", "web-0:a web-2:b")
}

// What is decided in several commits, since it is much, is decided as if it were in one.
func TestRun_commitsCountOnEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for i := range chunk + 10 {
			h.deploy(fmt.Sprintf("app-%d", i), 1, port(80, ""))
		}
		_, said := deciding(t, h)
		synctest.Wait()
		if got := strings.Count(said.String(), "replica placed"); got != 1 {
			t.Errorf("%d were given the same port, want 1", got)
		}
	})
}
