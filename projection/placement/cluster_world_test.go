package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// In a random cluster, where hosts fall silent, return, are split from each other, cordoned, drained and said to be
// dead, a placement changes its host only for a named reason that is true, nothing is moved twice for one, and once all
// is well the wanted number runs, spread to within one.
func TestCluster_randomHistories(t *testing.T) {
	moves := 0
	for i := range *worlds / 5 {
		seed := *firstSeed + uint64(i)
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			w := &history{r: r, names: []string{"a", "b", "c", "d", "e"}[:2+r.IntN(4)], cut: map[string]int{}, silent: map[string]time.Time{}, touched: map[string]bool{}}
			w.house = newCluster(t, w.names...)
			w.run()
			moves += w.moves
		})
		if !ok {
			t.Fatalf("failed; again with: go test ./projection/placement -run %s -seed %d -worlds 5", t.Name(), seed)
		}
	}
	if *worlds >= 150 && moves < 50 {
		t.Errorf("%d moves: that tests nothing", moves)
	}
}

type history struct {
	*house
	r       *rand.Rand
	names   []string
	cut     map[string]int       // which side of a split each host is on
	touched map[string]bool      // hosts that people have given a reason to leave
	silent  map[string]time.Time // since when A does not hear B: "A B"
	wanted  int32
	moves   int
}

func (w *history) run() {
	w.wanted = int32(1 + w.r.IntN(8))
	w.deploy("web", w.wanted)
	w.settle("web")
	w.balanced()
	for range 60 {
		w.later(time.Duration(w.r.IntN(60)) * time.Second)
		switch w.r.IntN(10) {
		case 0, 1, 2:
			w.split()
		case 3:
			w.heal()
		case 4:
			w.people()
		}
		w.listen()
		for _, side := range w.sides() { // every side decides, as its first host sees it
			w.decideAs(side)
		}
		w.work()
	}
	w.heal()
	w.listen()
	for _, name := range w.names {
		w.node(name, func(n *projection.Node) { *n = projection.Node{} })
	}
	for range 20 {
		w.later(time.Minute)
		for w.decideAs(w.names) || w.work() {
		}
	}
	r := w.rollout("web")
	if !r.Complete() {
		w.t.Errorf("in the end %s, want %d replicas that run", w.where("web"), w.wanted)
	}
	w.as.Host = "a"
	w.deploy("web", w.wanted, image("v2"))
	w.settle("web")
	w.balanced()
}

// balanced holds the replicas to being spread.
func (w *history) balanced() {
	w.t.Helper()
	count := map[string]int{}
	for _, name := range w.names {
		count[name] = 0
	}
	for p := range w.View().Placements("default/web/") {
		count[p.Host]++
	}
	least, most := int(w.wanted), 0
	for _, n := range count {
		least, most = min(least, n), max(most, n)
	}
	if most-least > 1 {
		w.t.Errorf("spread %v", count)
	}
}

func (w *history) split() {
	for _, name := range w.names {
		w.cut[name] = w.r.IntN(3) / 2 * (1 + w.r.IntN(2)) // mostly together
	}
}

func (w *history) heal() { clear(w.cut) }

func (w *history) people() {
	name := w.names[w.r.IntN(len(w.names))]
	w.node(name, func(n *projection.Node) {
		switch w.r.IntN(4) {
		case 0:
			n.Unschedulable = !n.Unschedulable
		case 1:
			n.Draining = !n.Draining
			w.touched[name] = w.touched[name] || n.Draining
		case 2:
			*n = projection.Node{}
		case 3:
			if w.cut[name] != 0 {
				n.Down = w.now
				w.touched[name] = true
			}
		}
	})
}

func (w *history) sides() (all [][]string) {
	for i := range 3 {
		side := slices.DeleteFunc(slices.Clone(w.names), func(name string) bool { return w.cut[name] != i })
		if len(side) > 0 {
			all = append(all, side)
		}
	}
	return all
}

// listen notes who hears whom.
func (w *history) listen() {
	for _, a := range w.names {
		for _, b := range w.names {
			if w.cut[a] == w.cut[b] {
				delete(w.silent, a+" "+b)
			} else if _, ok := w.silent[a+" "+b]; !ok {
				w.silent[a+" "+b] = w.now
			}
		}
	}
}

// decideAs has the first host of a side decide, and holds what it does to the reasons that there are.
func (w *history) decideAs(side []string) bool {
	w.t.Helper()
	w.as.Host = side[0]
	w.as.Peers = nil
	for _, name := range w.names {
		p := Peer{Host: name, Silent: w.silent[side[0]+" "+name], Ready: true, Writable: true}
		if slices.Contains(side, name) {
			p.Hears = side
		}
		w.as.Peers = append(w.as.Peers, p)
	}
	hs := w.cluster().hosts(w.View().State, register{})
	if hs.decider != side[0] {
		w.t.Errorf("%s decides for %v, want %s", hs.decider, side, side[0])
	}
	before := map[projection.Pod]*projection.Placed{}
	for p := range w.View().Placements("default/web/") {
		before[p.Pod] = p
	}
	said := w.once("web")
	for p := range w.View().Placements("default/web/") {
		was := before[p.Pod]
		if was == nil || was.Event() == p.Event() || was.Host == "" {
			continue
		}
		w.moves++
		from := hs.at(was.Host)
		if !strings.HasPrefix(p.Why, "moved from "+was.Host+" (") || from.gone == "" || p.Host == "" || slices.Contains(side, was.Host) {
			w.t.Errorf("%s: %s went from %s to %s: %s; gone %q", said, p.Name(), was.Host, p.Host, p.Why, from.gone)
		}
		word := from.down
		if !word && (!hs.majority || w.now.Sub(from.silent) < rescheduleAfter) {
			w.t.Errorf("%s moved with %d of %d in sight, silent for %v", p.Name(), hs.inSight, hs.counted, w.now.Sub(from.silent))
		}
		if !word && was.Moves > 0 && w.now.Sub(was.Moved) < rescheduleAfter<<min(was.Moves, 5) {
			w.t.Errorf("%s moved again after %v, %d times before", p.Name(), w.now.Sub(was.Moved), was.Moves)
		}
	}
	after := w.rollout("web")
	for pod, was := range before {
		if p, _ := w.View().Placement(pod); p == nil && len(before) <= int(w.wanted) && !w.touched[was.Host] {
			w.t.Errorf("%s: %s was dropped from %s, of %d for %d", said, pod.Name(), was.Host, len(before), w.wanted)
		}
	}
	if n := len(after.Replicas); n > max(len(before), int(w.wanted)+2) {
		w.t.Errorf("%s: %d replicas, want %d", said, n, w.wanted)
	}
	return said != ""
}
