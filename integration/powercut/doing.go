package main

import (
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// doing is something that was done while a disk was recorded, and how much had reached that when it began and when it ended.
type doing struct {
	what     string
	from, to int
}

// around reports whether the power goes in the middle of it after so much: something of it has reached the disk, and something not.
func (d doing) around(at int) bool { return d.from < at && at < d.to }

// aim is a moment in the middle of one of the claims, of each in turn; otherwise where it is never so.
func (h *trace) aim(rnd *rand.Rand, turn, otherwise int) int {
	if len(h.claims) == 0 {
		return otherwise
	}
	what := h.claims[turn%len(h.claims)]
	all := slices.DeleteFunc(slices.Clone(h.doings), func(d doing) bool { return d.what != what || d.to-d.from < 2 })
	if len(all) == 0 {
		return otherwise
	}
	d := all[rnd.IntN(len(all))]
	return d.from + 1 + rnd.IntN(d.to-d.from-1)
}

// count counts what a moment is in the middle of.
func (h *trace) count(at int, within trial.Situations) {
	for i := range within {
		if slices.ContainsFunc(h.doings, func(d doing) bool { return d.what == within[i].What && d.around(at) }) {
			within[i].Hits++
		}
	}
}

// life is one of an agent's on a recorded disk.
type life struct {
	sealing trial.Sealing
	did     []trial.Did
	ended   time.Time
}

const (
	takingOver = "the taking over of version 1"
	resealing  = "a reseal"
)

func sealed(s trial.Sealing) string { return "a backup or increment " + s.String() }

// claims are what this trial is to show that the power may go in.
func (w *working) claims() (all []string) {
	for d := range trial.Doings {
		all = append(all, d.String())
	}
	return append(all, takingOver, resealing, sealed(trial.ForKey), sealed(trial.ByPassphrase))
}

// doings are what the agent did in all its lives.
func (w *working) doings() (all []doing) {
	reached := func(t time.Time) int { // by then
		return sort.Search(len(w.ops), func(i int) bool { return w.ops[i].at.After(t) })
	}
	for _, l := range w.lives {
		for _, x := range l.did {
			if x.Ended.IsZero() {
				x.Ended = l.ended
			}
			d := doing{x.Doing.String(), reached(x.Begun), reached(x.Ended)}
			all = append(all, d)
			if l.sealing != trial.Plain && (x.Doing == trial.BackingUp || x.Doing == trial.Incrementing) {
				all = append(all, doing{sealed(l.sealing), d.from, d.to})
			}
		}
	}
	for _, k := range w.kept {
		all = append(all, doing{resealing, k.asked, k.done})
	}
	return append(all, doing{takingOver, w.from, w.taken})
}
