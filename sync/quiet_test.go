package sync

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// settled is a sim of hosts that have heard each other, beat at moments of their own, and have nothing to say.
func settled(t *testing.T, seed uint64, names ...string) *sim {
	s := newSim(t, seed, names...)
	for _, n := range s.sorted() {
		n.starting = false
	}
	s.run(10 * time.Second)
	for _, n := range s.sorted() {
		n.core.nextBeat = s.now.Add(time.Duration(s.rng.Int64N(int64(n.core.every.beat))))
	}
	s.run(10 * time.Second)
	return s
}

// What hosts say to each other while nothing happens does not grow with their number.
func TestBeat_saysNextToNothingWhileNothingHappens(t *testing.T) {
	for _, n := range []int{3, 20} {
		s := settled(t, 1, names(n)...)
		longest := 0
		s.heard = func(m message) {
			if kind, _ := (subjects{"sim"}).read(m.subject); kind == "beat" {
				longest = max(longest, len(m.data))
			}
		}
		s.run(20 * time.Second)
		if longest == 0 || longest > 40 {
			t.Errorf("a beat of %d hosts has %d bytes", n, longest)
		}
	}
}

// Who was cut off from all hears one of them first when that is over. It takes the others for no more silent than that one does: it
// would move what they run. And who has died meanwhile is silent, though that one had heard it until then.
func TestBeat_whoComesBackTakesNobodyForSilentWhomOthersHear(t *testing.T) {
	for _, dies := range []bool{false, true} {
		s := settled(t, 1, "a", "b", "c")
		a, c := s.nodes["a"], s.nodes["c"]
		s.isolate("a", true)
		s.run(17 * time.Second)
		if dies {
			c.crash()
			s.run(6 * time.Second)
		}
		s.cut[[2]string{"a", "b"}], s.cut[[2]string{"b", "a"}] = false, false
		silent := func() time.Duration { return s.now.Sub(a.core.peers["c"].heard) }
		for !a.core.alive(a.core.peers["b"]) {
			s.run(time.Millisecond)
		}
		if dies != (silent() >= a.core.every.silence) {
			t.Errorf("c is dead: %v; when a hears b again, c has been silent for %v", dies, silent())
		}
		for began := s.now; s.now.Sub(began) < 20*time.Second; s.run(10 * time.Millisecond) {
			if !dies && silent() >= a.core.every.silence {
				t.Fatalf("%v after a hears b again, c has been silent for %v", s.now.Sub(began), silent())
			}
		}
		if !dies { // and what is vouched for ends with what is heard
			c.crash()
			died := s.now
			for s.run(10 * time.Millisecond); silent() < a.core.every.silence; s.run(10 * time.Millisecond) {
				if s.now.Sub(died) > a.core.every.silence+a.core.every.beat {
					t.Fatal("c is dead, and not silent for a")
				}
			}
		}
	}
}

// While a host records all the time, its beats say how far it is, and not whom it hears; and once it rests that is said once.
func TestPulse_saysOnlyWhatChanges(t *testing.T) {
	s := settled(t, 1, "a", "b")
	a := s.nodes["a"]
	var said []beat
	a.core.out.send = func(subject string, data []byte) {
		var b beat
		if kind, _ := (subjects{"sim"}).read(subject); kind == "beat" {
			if err := unmarshal(data, &b); err != nil {
				t.Fatal(err)
			}
			said = append(said, b)
		}
		a.send(subject, data)
	}
	for i := range 5 {
		a.recordOne(t, names(5)[i])
		s.run(2200 * time.Millisecond)
		if i > 0 && (said[len(said)-1].As == 0 || said[len(said)-1].Inc == 0 || said[len(said)-1].Hears != nil) {
			t.Errorf("while it records it says %+v", said[len(said)-1])
		}
	}
	if got, want := s.nodes["b"].core.peers["a"].Seq, a.ledger.View().Head(a.log.Incarnation()).Seq; got != want {
		t.Errorf("b has heard that a is at %d, want %d", got, want)
	}
	said = nil
	s.run(20 * time.Second)
	whole := 0
	for _, b := range said {
		if b.As == 0 {
			whole++
		}
	}
	if last := said[len(said)-1]; whole != 1 || last.Inc != 0 || last.As == 0 {
		t.Errorf("at rest it says everything %d times, and then %+v", whole, last)
	}
	if p := s.nodes["b"].core.peers["a"]; p.agrees.IsZero() || p.Digest == "" || p.Up < s.now.Sub(a.since).Milliseconds()-2500 {
		t.Errorf("b takes from it %+v", p.beat)
	}
}

// A beat that refers to one that did not come counts for nothing: it is asked for whole, and comes at once.
func TestBeat_oneThatCannotBeUnderstoodIsAskedForWhole(t *testing.T) {
	n, said := lone(t)
	n.hear(n.core.subject.beat("b"), headed(&beat{Number: 5, As: 2}, nil))
	if len(*said) != 1 || !bytes.Contains((*said)[0].data, []byte(`"ask":"beat"`)) || n.core.peers["b"] != nil {
		t.Fatalf("it says %s", *said)
	}
	n.hear(n.core.subject.beat("b"), headed(&beat{Number: 6, Boot: 1}, nil))
	n.hear(n.core.subject.beat("b"), headed(&beat{Number: 7, As: 2}, nil)) // as in 5
	if p := n.core.peers["b"]; p == nil || p.number != 6 {
		t.Errorf("it knows %+v", p)
	}
	n.hear(n.core.subject.beat("b"), headed(&beat{Number: 8, As: 2}, nil))
	if p := n.core.peers["b"]; p.number != 8 || p.Boot != 1 {
		t.Errorf("it knows %+v", p)
	}
	n.hear(n.core.subject.beat("b"), headed(&beat{Number: 9, Boot: 1, Hears: []string{"z", "c", "a"}}, nil)) // in no order
	n.hear(n.core.subject.beat("c"), headed(&beat{Number: 9, Boot: 2, Hears: []string{"a", "b", "z"}}, nil))
	n.hear(n.core.subject.beat("z"), headed(&beat{Number: 9, Boot: 3, Hears: []string{"a", "b", "c"}}, nil))
	if told := n.core.tell(n.core.sorted()); len(told) > 0 {
		t.Errorf("it tells those who hear each other of %v", told)
	}
	n.run(10 * time.Second)
	n.hear(n.core.subject.beat("b"), headed(&beat{Number: 10, Boot: 1}, nil))
	n.run(2 * time.Second) // and what is to be said of that has been
	*said = nil
	n.hear(n.core.subject.host("a"), []byte(`{"ask":"beat","from":"b","id":1}`))
	n.run(600 * time.Millisecond)
	if !slices.ContainsFunc(*said, func(m message) bool {
		var b beat
		return m.subject == n.core.subject.beat("a") && unmarshal(m.data, &b) == nil && b.Boot == n.core.boot
	}) {
		t.Errorf("asked for a whole beat it says %s", *said)
	}
}

// unheard is for how long the host has not heard of the other, by its own word.
func (n *node) unheard(other string) time.Duration { return n.now.Sub(n.core.peers[other].heard) }

// The silence of a host is measured on what all hear: no broken link makes one silent, nor does the beginning of it.
func TestBeat_aBrokenLinkMakesNobodySilent(t *testing.T) {
	both := func(a, b string) [][2]string { return [][2]string{{a, b}, {b, a}} }
	for name, c := range map[string]struct {
		hosts []string
		cut   [][2]string
	}{
		"both ways":           {[]string{"a", "b", "c"}, both("a", "b")},
		"one way":             {[]string{"a", "b", "c"}, [][2]string{{"a", "b"}}},
		"a ring of one way":   {[]string{"a", "b", "c"}, [][2]string{{"a", "b"}, {"b", "c"}, {"c", "a"}}},
		"a chain of four":     {[]string{"a", "b", "c", "d"}, append(append(both("a", "c"), both("a", "d")...), both("b", "d")...)},
		"all but one of five": {[]string{"a", "b", "c", "d", "e"}, append(append(both("a", "b"), both("a", "c")...), both("a", "d")...)},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				holds(t, settled(t, seed, c.hosts...), c.hosts, c.cut)
			}
		})
	}
}

func holds(t *testing.T, s *sim, hosts []string, cut [][2]string) {
	for _, l := range cut {
		s.cut[l] = true
	}
	for range 600 {
		s.run(100 * time.Millisecond)
		for _, n := range s.sorted() {
			for _, o := range hosts {
				if o != n.name && n.unheard(o) >= n.core.every.silence {
					t.Fatalf("%s takes %s for silent after %v", n.name, o, s.now.Sub(simStart))
				}
			}
		}
	}
	clear(s.cut)
	s.run(30 * time.Second)
	for _, n := range s.sorted() {
		if told := n.core.tell(n.core.sorted()); len(told) > 0 {
			t.Errorf("once all hear all, %s still tells %v", n.name, told)
		}
	}
}

// A host that is dead is silent for all after little more than the time for it, whoever heard it last; and the others do not tell each
// other for ever that they have heard of it.
func TestBeat_aDeadHostIsSilentForAllSoon(t *testing.T) {
	for seed := range uint64(20) {
		s := settled(t, seed, "a", "b", "c")
		s.cut[[2]string{"a", "c"}], s.cut[[2]string{"c", "a"}] = true, true
		if seed%2 == 0 {
			s.run(20 * time.Second)
		}
		s.nodes["c"].crash()
		died := s.now
		for _, name := range []string{"a", "b"} {
			for n := s.nodes[name]; n.unheard("c") < n.core.every.silence; s.run(100 * time.Millisecond) {
				if s.now.Sub(died) > n.core.every.silence+n.core.every.beat*3/2 {
					t.Fatalf("c is not silent for %s, %v after its death", name, s.now.Sub(died))
				}
			}
		}
		s.run(time.Minute)
		for _, name := range []string{"a", "b"} {
			if since := s.now.Sub(died); s.nodes[name].unheard("c") < since-9*time.Second {
				t.Errorf("%s has heard of c %v ago, which is dead for %v", name, s.nodes[name].unheard("c"), since)
			}
			if told := s.nodes[name].core.tell(s.nodes[name].core.sorted()); len(told) > 0 {
				t.Errorf("%s still tells of the beats of the dead: %v", name, told)
			}
		}
	}
}

// A host whose clock was set back while it was off, and which is heard only through another, is not silent for long, whether
// that other remembers the beats of before or not.
func TestBeat_aClockSetBackMakesNobodySilent(t *testing.T) {
	for seed := range uint64(10) {
		forgets := seed%2 == 0
		s := settled(t, seed, "a", "b", "c")
		s.cut[[2]string{"a", "c"}], s.cut[[2]string{"c", "a"}] = true, true
		s.run(20 * time.Second)
		s.nodes["c"].crash()
		s.run(time.Minute)
		if forgets {
			s.nodes["b"].crash()
			s.nodes["b"].start()
			s.run(20 * time.Second)
		}
		s.nodes["c"].skew = -time.Hour
		s.nodes["c"].start()
		s.run(10 * time.Second)
		for range 300 {
			s.run(100 * time.Millisecond)
			if s.nodes["a"].unheard("c") >= 5*time.Second {
				t.Fatalf("b forgets: %v: a takes c for silent", forgets)
			}
		}
	}
}

// What a host says to one alone and what it says to all come by two ways, so an earlier beat may come later. It takes back nothing of what was said
// since, nor what later ones refer to; and of an agent that was started anew, whose clock may have been set back, all is taken.
func TestBeat_anEarlierOneThatComesLateTakesNothingBack(t *testing.T) {
	n, said := lone(t)
	hears := func(b beat) { n.hear(n.core.subject.beat("b"), headed(&b, nil)) }
	m := markOf(n.ledger.View().Vector())
	hears(beat{Number: 5, Boot: 1, Vector: m, ReadOnly: true})
	hears(beat{Number: 7, Boot: 1, Vector: m, Hears: []string{"a"}})
	*said = nil
	n.now = n.now.Add(time.Second)
	late := beat{Number: 6, Boot: 1, Vector: 77, ReadOnly: true}
	n.hear(n.core.subject.host("a"), headed(&ask{Ask: askHello, From: "b", ID: 1, Beat: &late}, nil))
	hears(beat{Number: 5, Boot: 1, Vector: m, ReadOnly: true})
	p := n.core.peers["b"]
	if p.ReadOnly || p.Vector != m || p.beat.Number != 7 || p.strange > 0 || n.now.Sub(p.direct) != time.Second {
		t.Errorf("after an earlier beat it takes of b %+v, heard %v ago", p.beat, n.now.Sub(p.direct))
	}
	if !slices.ContainsFunc(*said, func(m message) bool { return bytes.Contains(m.data, []byte(`"answer":"hello"`)) }) {
		t.Errorf("the hello itself is not answered: %s", *said)
	}
	*said = nil
	hears(beat{Number: 8, As: 1})
	if p.beat.Number != 8 || !slices.Equal(p.Hears, []string{"a"}) || slices.ContainsFunc(*said, func(m message) bool { return bytes.Contains(m.data, []byte(`"ask":"beat"`)) }) {
		t.Errorf("of a beat that refers to the newest it takes %+v, and says %s", p.beat, *said)
	}
	if hears(beat{Number: 2, Boot: 3, Vector: 9}); p.beat.Number != 2 || p.Boot != 3 || p.number != 8 {
		t.Errorf("of another start it takes %+v", p.beat)
	}
}
