package sync

import "testing"

// What the model holds to be lost, no host is held to. So it must not take for lost what a host has in memory, as while its
// disk is full: that is on the disk as soon as there is room.
func TestHistory_lostIsWhatNoHostHasEvenInMemory(t *testing.T) {
	for _, forks := range []bool{false, true} {
		h := &history{sim: newSim(t, 1, "a", "b"), truth: newTruth(), forks: forks}
		a, b := h.nodes["a"], h.nodes["b"]
		a.starting, b.starting = false, false
		b.crash()
		empty := b.image()
		b.start()
		b.starting = false
		a.full.Store(true)
		h.apply(b, "x")
		h.run(500e6)
		b.crash()
		b.put(empty)
		b.start()
		if h.lost(); h.changes[0].lost {
			t.Errorf("forks %v: a change is lost that a host holds in memory", forks)
		}
		a.crash()
		if h.lost(); !h.changes[0].lost {
			t.Errorf("forks %v: a change is not lost that nothing holds", forks)
		}
	}
}

// A change that no disk and no memory held may yet be under way: once a log holds it, it must be there like any other.
func TestHistory_whatALogHoldsIsNotLost(t *testing.T) {
	h := &history{sim: newSim(t, 1, "a"), truth: newTruth(), forks: true}
	a := h.nodes["a"]
	a.starting = false
	h.apply(a, "x")
	h.changes[0].lost = true
	if h.found(); h.changes[0].lost {
		t.Error("a change counts as lost that a log holds")
	}
}
