package sync

import (
	"testing"
	"time"
)

// A host that comes back asks for what it has missed once it hears a beat: it must not wait for one that is just over.
func TestBeat_whoIsHeardAnewHearsOneAtOnce(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	a, b := s.nodes["a"], s.nodes["b"]
	a.starting, b.starting = false, false
	s.run(10 * time.Second)
	b.crash()
	s.run(10 * time.Second)
	id := a.recordOne(t, "web")
	for a.core.nextBeat.Sub(s.now) < a.core.every.beat-tickEvery {
		s.run(time.Millisecond)
	}
	s.run(2 * s.delay) // and what was sent then is over
	b.start()
	began := s.now
	for !b.ledger.View().Covers(id) {
		if s.run(time.Millisecond); s.now.Sub(began) > a.core.every.beat/2 {
			t.Fatalf("a host that came back did not have what it had missed after %v", s.now.Sub(began))
		}
	}
}
