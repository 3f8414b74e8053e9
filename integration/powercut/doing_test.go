package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// What an agent did is between the ops that reached the disk meanwhile; what none did nothing can be in the middle of. It is aimed at each in turn, and counted.
func TestTrace_doings(t *testing.T) {
	at := func(ms int) time.Time {
		return time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
	}
	w := &working{taken: 3, kept: []kept{{asked: 8, done: 10}}}
	for i := range 10 { // op i at i*10 ms
		w.ops = append(w.ops, op{at: at(10 * i)})
	}
	w.lives = []life{
		{trial.ForKey, []trial.Did{{Doing: trial.BackingUp, Begun: at(15), Ended: at(45)}, {Doing: trial.Pruning, Begun: at(46), Ended: at(49)}}, at(50)},
		{trial.Plain, []trial.Did{{Doing: trial.Trimming, Begun: at(65)}}, at(95)},
	}
	h := &trace{ops: w.ops, doings: w.doings(), claims: w.claims()}
	want := map[string][2]int{"a backup": {2, 5}, "a backup or increment sealed for a key": {2, 5}, "a prune": {5, 5}, "a trim": {7, 10}, "a reseal": {8, 10}, "the taking over of version 1": {0, 3}}
	if len(h.doings) != len(want) {
		t.Errorf("got %v", h.doings)
	}
	for _, d := range h.doings {
		if want[d.what] != [2]int{d.from, d.to} {
			t.Errorf("got %v, want %v", d, want[d.what])
		}
	}
	var within trial.Situations
	for _, what := range h.claims {
		within = append(within, trial.Situation{What: what})
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for turn := range h.claims {
		cut := h.aim(rnd, turn, 6)
		if what := h.claims[turn]; cut == 6 != (want[what] == [2]int{} || what == "a prune") {
			t.Errorf("%s: aimed at %d", what, cut)
		}
		h.count(cut, within)
	}
	hits := map[string]bool{}
	for _, s := range within {
		hits[s.What] = s.Hits > 0
	}
	for _, what := range []string{"a restore", "an increment", "a prune", "a backup or increment sealed with a passphrase"} {
		if hits[what] {
			t.Errorf("%s was never under way, and is counted", what)
		}
	}
	for _, what := range []string{"a backup", "a trim", "a reseal", "the taking over of version 1"} {
		if !hits[what] {
			t.Errorf("%s was aimed at, and is not counted: %v", what, within)
		}
	}
	within = trial.Situations{{What: "a backup"}}
	for _, edge := range []int{2, 5} { // nothing of it has reached the disk, or all
		h.count(edge, within)
	}
	if within[0].Hits > 0 {
		t.Errorf("at the edges of it: %v", within)
	}
}
