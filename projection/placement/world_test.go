package placement

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

var (
	firstSeed = flag.Uint64("seed", 1, "seed of the first random world; the n-th has seed+n-1")
	worlds    = flag.Int("worlds", 150, "how many random worlds are tried")
)

// In a random world, where people edit and containers start late, fail and come back, a Deployment never has more
// replicas than its strategy allows, no decision takes away one that serves while it is needed, and once people leave
// it alone it becomes what was asked for.
func TestDecide_randomWorlds(t *testing.T) {
	for i := range *worlds {
		seed := *firstSeed + uint64(i)
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w := &randomWorld{house: newHouse(t), r: rand.New(rand.NewPCG(seed, 0))}
			w.run()
		})
		if !ok {
			t.Fatalf("failed; again with: go test ./projection/placement -run %s -seed %d -worlds 1", t.Name(), seed)
		}
	}
}

type randomWorld struct {
	*house
	r *rand.Rand

	replicas int32
	edits    []func(*appsv1.Deployment)
}

func (w *randomWorld) run() {
	w.edit()
	for range 80 {
		w.now = w.now.Add(time.Duration(w.r.IntN(20)) * time.Second)
		switch p := w.r.IntN(100); {
		case p < 8:
			w.edit()
		case p < 10:
			w.remove("web")
			w.decide()
			w.edit()
		case p < 13:
			w.label("disk", []string{"ssd", "none"}[w.r.IntN(2)])
		case p < 20:
			w.failOne()
		case p < 60:
			w.workSome()
		default:
			w.decide()
		}
	}
	w.edits = append(w.edits, image("v9"), func(d *appsv1.Deployment) { d.Spec.Paused = false }) // in the end, all is well
	w.label("disk", "ssd")
	w.deploy("web", w.replicas, w.edits...)
	for range 400 {
		did := w.decide()
		w.workAll()
		w.now = w.now.Add(5 * time.Second)
		if r := w.rollout("web"); !did && r.Complete() {
			return
		}
	}
	w.t.Fatalf("never became %d of v9: %s", w.replicas, w.shape("web"))
}

func (w *randomWorld) edit() {
	w.replicas = int32(w.r.IntN(6))
	bound := func() string { return []string{"0", "1", "2", "25%", "50%", "100%"}[w.r.IntN(6)] }
	w.edits = []func(*appsv1.Deployment){image([]string{"v1", "v2", "v3", "bad"}[w.r.IntN(4)]), rolling(bound(), bound())}
	if w.r.IntN(5) == 0 {
		w.edits = append(w.edits, recreate)
	}
	if w.r.IntN(8) == 0 {
		w.edits = append(w.edits, paused)
	}
	if w.r.IntN(3) == 0 {
		w.edits = append(w.edits, func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"}
		})
	}
	if w.r.IntN(3) == 0 {
		w.edits = append(w.edits, func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 10 })
	}
	w.deploy("web", w.replicas, w.edits...)
}

// decide takes one decision and holds it to what the strategy allows.
func (w *randomWorld) decide() bool {
	if _, ok := w.View().Lookup(projection.DeploymentKey("default", "web")); !ok {
		return w.once("web") != ""
	}
	before := w.rollout("web")
	surge, unavailable := bounds(before.Deployment)
	wanted := before.Wanted()
	var had, serving []projection.Pod
	for i := range before.Replicas {
		if rep := &before.Replicas[i]; before.owns(rep) {
			had = append(had, rep.Pod)
			if rep.Available {
				serving = append(serving, rep.Pod)
			}
		}
	}
	said := w.once("web")
	after := w.rollout("web")
	kept, olds, news := 0, 0, 0
	for i := range after.Replicas {
		rep := &after.Replicas[i]
		if slices.Contains(serving, rep.Pod) {
			kept++
		}
		if rep.Updated {
			news++
		} else {
			olds++
		}
	}
	if most := max(wanted+surge, len(had)); len(after.Replicas) > most {
		w.t.Errorf("%s: %d replicas, want at most %d", said, len(after.Replicas), most)
	}
	recreates := before.Deployment.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType
	if recreates && olds > 0 && news > 0 && !before.Deployment.Spec.Paused && said != "" {
		w.t.Errorf("%s: %d old replicas beside %d new ones", said, olds, news)
	}
	if least := min(wanted-unavailable, len(serving)); !recreates && kept < least {
		w.t.Errorf("%s: %d of %d that served are left, want at least %d", said, kept, len(serving), least)
	}
	return said != ""
}

func (w *randomWorld) failOne() {
	s := w.View().State
	for p := range s.Placements("default/web/") {
		if r, _ := s.Replica(p); r != nil && r.Phase == projection.Running && w.r.IntN(2) == 0 {
			w.fail(p.Ordinal, "web")
			return
		}
	}
}

// workSome has the host do some of what is to be done, and start again what has exited.
func (w *randomWorld) workSome() {
	s := w.View().State
	for p := range s.Placements("default/web/") {
		if r, _ := s.Replica(p); p.Host == "h" && w.r.IntN(2) == 0 && (r == nil || r.Phase != projection.Running) {
			w.seen(p, running(imageOf(p), w.now))
		}
	}
	for o := range s.All(projection.ReplicaType + "/") {
		pod, _, _ := projection.PodOf(o.Key)
		if p, _ := s.Placement(pod); p == nil && w.r.IntN(2) == 0 {
			w.record(projection.Change{Kind: "observed", Key: o.Key})
		}
	}
}

func (w *randomWorld) workAll() {
	w.work()
	s := w.View().State
	for p := range s.Placements("default/web/") {
		if r, _ := s.Replica(p); r != nil && r.Phase == projection.Exited {
			w.seen(p, running(imageOf(p), w.now))
		}
	}
}
