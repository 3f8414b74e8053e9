package sync

import (
	"testing"
	"time"
)

// A host that comes back asks for what it has missed as soon as it is heard: it waits for no beat that is due some time.
func TestBeat_whoIsHeardAnewIsToldAtOnce(t *testing.T) {
	for name, away := range map[string]struct {
		goes, comes func(*sim)
		within      time.Duration // ways there and back
	}{
		"started": {func(s *sim) { s.nodes["b"].crash() }, func(s *sim) { s.nodes["b"].start() }, 0},
		"cut off": {func(s *sim) { s.isolate("b", true) }, func(s *sim) { s.isolate("b", false) }, tickEvery},
	} {
		s := newSim(t, 1, "a", "b", "c")
		for _, n := range s.sorted() {
			n.starting = false
		}
		s.run(10 * time.Second)
		away.goes(s)
		s.run(10 * time.Second)
		a, b := s.nodes["a"], s.nodes["b"]
		id := a.recordOne(t, "web")
		for a.core.nextBeat.Sub(s.now) < a.core.every.beat-tickEvery {
			s.run(time.Millisecond)
		}
		s.run(2 * s.delay) // and what was sent then is over
		away.comes(s)
		began := s.now
		for !b.ledger.View().Covers(id) {
			if s.run(time.Millisecond); s.now.Sub(began) > away.within+5*s.delay {
				t.Fatalf("a host that was %s did not have what it had missed after %v", name, s.now.Sub(began))
			}
		}
	}
}

// Two halves hear each other as soon as that, though no host in them was alone.
func TestBeat_twoHalvesHearEachOtherAtOnce(t *testing.T) {
	s := settled(t, 1, "a", "b", "c", "d")
	halves := func(cut bool) {
		for _, x := range []string{"a", "b"} {
			for _, y := range []string{"c", "d"} {
				s.cut[[2]string{x, y}], s.cut[[2]string{y, x}] = cut, cut
			}
		}
	}
	halves(true)
	s.run(10 * time.Second)
	id := s.nodes["a"].recordOne(t, "web")
	for _, n := range s.sorted() { // no beat is due for some time
		n.core.beatAt, n.core.nextBeat = s.now, s.now.Add(n.core.every.beat)
	}
	halves(false)
	for began := s.now; !s.nodes["c"].ledger.View().Covers(id) || !s.nodes["d"].ledger.View().Covers(id); s.run(time.Millisecond) {
		if s.now.Sub(began) > tickEvery+5*s.delay {
			t.Fatalf("after %v the other half does not have what it has missed", s.now.Sub(began))
		}
	}
}

// What a host is for the others is known soon after it has become so: who has just recovered is given replicas at once, and who
// takes nothing is given none.
func TestBeat_whatAHostIsIsSaidSoon(t *testing.T) {
	s := settled(t, 1, "a", "b")
	a, b := s.nodes["a"], s.nodes["b"]
	for _, change := range []func(){
		func() { a.starting = !a.starting }, func() { a.starting = !a.starting },
		func() { a.full.Store(true) }, func() { a.full.Store(false) },
	} {
		for began := a.core.nextBeat; a.core.nextBeat.Equal(began); {
			s.run(time.Millisecond) // a beat has just been said
		}
		change()
		for began := s.now; ; s.run(time.Millisecond) {
			if p := b.core.peers["a"]; p.Starting == a.starting && p.ReadOnly == a.full.Load() {
				break
			}
			if s.now.Sub(began) > a.core.every.beat/4+tickEvery+5*s.delay {
				t.Fatalf("%v after it changed the other host holds starting %v, read-only %v", s.now.Sub(began), b.core.peers["a"].Starting, b.core.peers["a"].ReadOnly)
			}
		}
	}
}

// isolate cuts a host off from all others, or joins it to them again.
func (s *sim) isolate(id string, cut bool) {
	for _, o := range s.sorted() {
		s.cut[[2]string{id, o.id}], s.cut[[2]string{o.id, id}] = cut, cut
	}
}
