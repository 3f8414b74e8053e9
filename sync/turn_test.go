package sync

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// slowly has the host take so long for each answer to an ask for commits.
func (n *node) slowly(took time.Duration) {
	send := n.core.out.send
	n.core.out.send = func(subject string, data []byte) {
		_, to := n.core.subject.read(subject)
		if !bytes.HasPrefix(data, []byte(`{"answer":"commits"`)) {
			send(subject, data)
			return
		}
		n.sim.sent++
		heap.Push(&n.queue, delivery{n.now.Add(took), n.sim.sent, n.id, to, message{subject, slices.Clone(data)}, nil})
	}
}

// pages notes where in whose log is asked on.
func (s *sim) pages() map[string][]uint64 {
	from := map[string][]uint64{}
	s.heard = func(m message) {
		var q ask
		if kind, to := (subjects{"sim"}).read(m.subject); kind == "host" && bytes.HasPrefix(m.data, []byte(`{"ask":"commits"`)) {
			if head, _ := unhead(m.data); unmarshal(head, &q) == nil && q.From == "a" {
				from[to] = append(from[to], q.Record)
			}
		}
	}
	return from
}

// apart are a, which hears b and c, and those two, which do not hear each other. Each holds commits that nobody else does, and is slow.
func apart(t *testing.T, b, c int, tookB, tookC time.Duration) *sim {
	s := settled(t, 1, "a", "b", "c")
	s.cut[[2]string{"b", "c"}], s.cut[[2]string{"c", "b"}] = true, true
	for _, o := range []struct {
		id   string
		inc  events.Incarnation
		n    int
		took time.Duration
	}{{"b", 9, b, tookB}, {"c", 8, c, tookC}} {
		n := s.nodes[o.id]
		if o.n > 0 {
			if _, err := n.ledger.Admit(context.Background(), large(t, o.inc, o.n, 100_000)); err != nil {
				t.Fatal(err)
			}
		}
		n.slowly(o.took)
	}
	return s
}

// What one host takes long to tell holds up no gap that another can fill at once, and goes on afterwards where it was.
func TestPull_aSlowHostHoldsUpNoOther(t *testing.T) {
	const took = 4500 * time.Millisecond
	s := apart(t, 60, 0, took, time.Millisecond)
	a, c := s.nodes["a"], s.nodes["c"]
	from := s.pages()
	for len(from["b"]) < 3 {
		s.run(time.Second)
	}
	s.cut[[2]string{"c", "a"}] = true
	id := c.recordOne(t, "x")
	s.cut[[2]string{"c", "a"}] = false
	lost := s.now
	for !a.ledger.View().Covers(id) {
		if s.run(50 * time.Millisecond); s.now.Sub(lost) > took+3*time.Second {
			t.Fatalf("a lacks for %v what c would give it at once; asked was %v", s.now.Sub(lost), from)
		}
	}
	if got := a.ledger.View().Head(9).Seq; got == 60 {
		t.Fatal("what b has came too soon for the test to tell anything")
	}
	for a.ledger.View().Head(9).Seq < 60 {
		if s.run(time.Second); s.now.Sub(lost) > 25*took {
			t.Fatalf("%v on, a has %d of 60 commits that b has", s.now.Sub(lost), a.ledger.View().Head(9).Seq)
		}
	}
	if s.run(10 * time.Second); !slices.IsSorted(from["b"][:20]) || !a.core.peers["b"].folded {
		t.Errorf("b was asked from records %v on, want each to follow on the one before; all of it is folded: %v", from["b"], a.core.peers["b"].folded)
	}
}

// Of two hosts that both have much to tell, each is given as much time as the other: so the slow one holds up the other no longer than by as much as it has
// itself, and is not held up for ever by it.
func TestPull_eachHasAsMuchTime(t *testing.T) {
	s := apart(t, 120, 300, 4500*time.Millisecond, 300*time.Millisecond)
	a := s.nodes["a"]
	from := s.pages()
	for began := s.now; a.ledger.View().Head(8).Seq < 300; s.run(100 * time.Millisecond) {
		if s.now.Sub(began) > 80*time.Second { // twice what it takes alone, a page of the other's and some air
			t.Fatalf("after %v a has %d of the 300 commits that c has; asked was %v", s.now.Sub(began), a.ledger.View().Head(8).Seq, from)
		}
	}
	if pages := len(from["b"]); pages < 5 || pages > 10 {
		t.Errorf("while c gave all it had, b was asked %d times, want it to have as much time", pages)
	}
}

// Who is asked in between does not have it forgotten that something of a pull could not be folded, or was given up since.
func TestPull_restsWithWhatItHasMissed(t *testing.T) {
	all := chain(t, 9, 3)
	for name, c := range map[string]struct {
		first     []byte
		meanwhile func(n *node)
		folded    bool
	}{
		"nothing":            {all[0], func(*node) {}, true},
		"what comes before":  {all[2], func(*node) {}, false},
		"what was given up":  {all[0], func(n *node) { n.core.gaveUp() }, false},
		"another start of b": {all[0], func(n *node) { n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 9, Number: 9, Vector: 7}, nil)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := lone(t)
			n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 1, Vector: 7, Hears: []string{"a"}}, nil))
			n.hear(n.core.subject.beat("c"), headed(&beat{Boot: 2, Number: 1, Vector: 8, Hears: []string{"a"}}, nil))
			answers := func(from string, a answer, body []byte) {
				t.Helper()
				p := n.core.pull
				if p == nil || p.peer != from {
					t.Fatalf("asked is %+v, want %s", p, from)
				}
				n.sim.now = n.now.Add(time.Second)
				a.Answer, a.From, a.ID = askCommits, from, p.id
				n.hear(n.core.subject.host("a"), headed(&a, body))
			}
			answers("b", answer{Vector: 7, Record: 5, More: true}, c.first)
			c.meanwhile(n)
			answers("c", answer{Vector: 8}, nil)
			if p := n.core.pull; name != "another start of b" && (p == nil || p.record != 5) || name == "another start of b" && p.record != 0 {
				t.Errorf("asked is %+v, want b to be asked where it was", p)
			}
			n.core.peers["b"].folded = false
			answers("b", answer{Vector: 7, Record: 5, More: name == "another start of b"}, nil)
			if got := n.core.peers["b"].folded; got != c.folded {
				t.Errorf("all that b has is folded: %v, want %v", got, c.folded)
			}
		})
	}
}

// refusing is a ledger that takes nothing of others.
type refusing struct{ Ledger }

func (refusing) Admit(context.Context, [][]byte) ([]projection.Admission, error) {
	return nil, errors.New("the disk does not answer")
}

// A page that came as another's turn had come, and could not be written, is not passed over later.
func TestPull_goesOnBehindNothingThatWasNotWritten(t *testing.T) {
	n, _ := lone(t)
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 1, Vector: 7, Hears: []string{"a"}}, nil))
	n.hear(n.core.subject.beat("c"), headed(&beat{Boot: 2, Number: 1, Vector: 8, Hears: []string{"a"}}, nil))
	ledger := n.core.ledger
	n.core.ledger = refusing{ledger}
	n.sim.now = n.now.Add(time.Second)
	n.hear(n.core.subject.host("a"), headed(&answer{Answer: askCommits, From: "b", ID: n.core.pull.id, Vector: 7, Record: 5, More: true}, chain(t, 9, 1)[0]))
	n.core.ledger = ledger
	n.core.want = map[string]bool{"b": true}
	n.sim.now = n.now.Add(n.core.every.answer)
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 2, Vector: 7, Hears: []string{"a"}}, nil))
	if p := n.core.pull; p == nil || p.peer != "b" || p.record != 0 {
		t.Errorf("asked is %+v, want b from the beginning", p)
	}
}

// A host that failed is asked last for a while, not for ever; and who was not asked for long is not owed all the time since.
func TestNext_whoseTurnItIs(t *testing.T) {
	for name, c := range map[string]struct {
		failed time.Duration // how long ago b has
		turns  [2]time.Duration
		want   string
	}{
		"none failed, b has had less":              {time.Hour, [2]time.Duration{1, 2}, "b"},
		"none failed, c has had less":              {time.Hour, [2]time.Duration{2, 1}, "c"},
		"b failed just now, and has had less":      {time.Second, [2]time.Duration{1, 2}, "c"},
		"neither was asked while others were":      {time.Hour, [2]time.Duration{-1, -2}, "b"},
		"b failed long ago, and has had as little": {31 * time.Second, [2]time.Duration{1, 1}, "b"},
	} {
		n, _ := lone(t)
		n.step(func() {
			for i, name := range []string{"b", "c"} {
				p := n.core.peer(name)
				p.direct, p.turn = n.now, n.core.turn+c.turns[i]
				n.core.want[name] = true
			}
			n.core.peers["b"].bad = n.now.Add(-c.failed)
		})
		if n.core.pull == nil || n.core.pull.peer != c.want {
			t.Errorf("%s: asked is %+v, want %s", name, n.core.pull, c.want)
		}
	}
}

// Whose pages come soon is asked on at once, while others wait: its next page comes while this one is folded.
func TestPull_goesOnWithWhoIsQuick(t *testing.T) {
	for took, want := range map[time.Duration]string{4 * soon: "b", 4*soon + time.Millisecond: "c"} {
		n, _ := lone(t)
		n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 1, Vector: 7, Hears: []string{"a"}}, nil))
		n.hear(n.core.subject.beat("c"), headed(&beat{Boot: 2, Number: 1, Vector: 8, Hears: []string{"a"}}, nil))
		n.sim.now = n.now.Add(took)
		n.step(func() {
			n.core.onCommits(&answer{From: "b", ID: n.core.pull.id, Vector: 7, Record: 5, More: true})
			if p := n.core.pull; (p != nil) != (want == "b") {
				t.Errorf("before a page is folded that took %v, asked is %+v", took, p)
			}
		})
		if p := n.core.pull; p == nil || p.peer != want {
			t.Errorf("after a page that took %v asked is %+v, want %s", took, p, want)
		}
	}
}
