package sync

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// touched are three hosts, of which b has recorded five things, and a copy of its disk as it was after the second. All agents but that of b run.
func touched(t *testing.T, seed uint64) (s *sim, then string, had uint64) {
	s = settled(t, seed, "a", "b", "c")
	b := s.nodes["b"]
	for i := range 5 {
		if i == 2 {
			b.crash()
			then = b.image()
			b.start()
			s.run(10 * time.Second)
			b.starting = false
		}
		b.recordOne(t, fmt.Sprintf("o%d", i))
		s.run(5 * time.Second)
	}
	had = b.ledger.View().Head(b.log.Incarnation()).Seq
	b.crash()
	return s, then, had
}

func (n *node) findings() []Finding { return n.core.status().Findings }

// again has the agent end and start, with what it remembers.
func (n *node) again() {
	claims := n.core.status().Claims
	n.crash()
	n.start()
	n.core.remember(claims)
}

// Events that were on a host's disk and are not any more are found by all who heard of them, also after those have started again, once, and
// the host gets them back.
func TestClaim_theEndOfALogIsCutOff(t *testing.T) {
	s, then, had := touched(t, 1)
	a, b, c := s.nodes["a"], s.nodes["b"], s.nodes["c"]
	a.again()
	b.put(then)
	b.start()
	inc := b.log.Incarnation()
	has := b.ledger.View().Head(inc).Seq
	s.run(time.Minute)
	for _, n := range []*node{a, c} {
		all := n.findings()
		if len(all) != 1 || !all[0].Cut() || all[0].Host != "b" || all[0].Inc != inc || all[0].First != has+1 || all[0].Has != has || all[0].Had != had {
			t.Errorf("host %s has found %+v, want that b lacks events %d to %d of %v", n.id, all, has+1, had, inc)
		}
	}
	if len(b.findings()) > 0 || s.agree() != "" {
		t.Errorf("b has found %v; do they agree? %s", b.findings(), s.agree())
	}
	b.again()
	s.run(time.Minute)
	if n := len(a.findings()) + len(c.findings()); n != 2 {
		t.Errorf("it is told of %d times, want once by each", n)
	}
}

// What the others have of a host and it has not any more is found as well where it was put back before a beat had told of it.
func TestClaim_putBackBeforeABeat(t *testing.T) {
	s := settled(t, 4, "a", "b", "c")
	a, b, c := s.nodes["a"], s.nodes["b"], s.nodes["c"]
	b.recordOne(t, "o0")
	s.run(10 * time.Second)
	b.crash()
	then := b.image()
	b.start()
	s.run(10 * time.Second)
	b.starting = false
	inc := b.log.Incarnation()
	has := b.ledger.View().Head(inc).Seq
	b.core.nextBeat = s.now.Add(time.Hour)
	b.recordOne(t, "o1")
	b.recordOne(t, "o2")
	s.run(time.Second)
	for _, n := range []*node{a, c} {
		if n.ledger.View().Head(inc).Seq != has+2 {
			t.Fatalf("host %s has not heard of it", n.id)
		}
		if i := slices.IndexFunc(n.core.claims["b"], func(k Claim) bool { return k.Inc == inc }); n.core.claims["b"][i].Seq > has {
			t.Fatalf("a beat has told host %s of it", n.id)
		}
	}
	b.crash()
	s.run(5 * time.Second)
	b.put(then)
	b.start()
	s.run(time.Minute)
	for _, n := range []*node{a, c} {
		all := n.findings()
		if len(all) != 1 || !all[0].Cut() || all[0].Host != "b" || all[0].Inc != inc || all[0].Has != has || all[0].Had != has+2 {
			t.Errorf("host %s has found %+v, want that b lacks two events after %d of %v", n.id, all, has, inc)
		}
	}
	if len(b.findings()) > 0 || s.agree() != "" {
		t.Errorf("b has found %v; do they agree? %s", b.findings(), s.agree())
	}
}

// A log that begins anew, or counts on under another incarnation, hides nothing: what it asks for tells what it lacks.
func TestClaim_countedAnew(t *testing.T) {
	for name, touch := range map[string]func(b *node, then string){
		"an empty disk":       func(b *node, _ string) { b.lose() },
		"another incarnation": func(b *node, then string) { b.put(then); b.machine = "another machine" },
	} {
		s, then, had := touched(t, 2)
		a, b, c := s.nodes["a"], s.nodes["b"], s.nodes["c"]
		touch(b, then)
		b.start()
		s.run(time.Minute)
		all := append(a.findings(), c.findings()...)
		if len(all) == 0 {
			t.Errorf("%s: nobody has found anything", name)
		}
		for _, f := range all {
			if !f.Cut() || f.Host != "b" || f.Had != had || f.First != f.Has+1 {
				t.Errorf("%s: found %+v, want that b lacks events up to %d", name, f, had)
			}
		}
	}
}

// forge has a host's log say something else than the others know of it, from one event on.
func (n *node) forge(t *testing.T, name string) {
	t.Helper()
	log, err := events.Open(n.dir, events.Options{Reserve: -1, MinFree: 1, Machine: n.machine})
	if err != nil {
		t.Fatal(err)
	}
	l, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Node = n.name
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	for range 3 {
		mustApply(t, l, name)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// A log whose end was written anew is found by the first event that is another, whichever of the two comes to stand.
func TestClaim_theEndOfALogIsWrittenAnew(t *testing.T) {
	for seed := range uint64(2) {
		s, then, _ := touched(t, 10+seed)
		a, b, c := s.nodes["a"], s.nodes["b"], s.nodes["c"]
		b.put(then)
		b.forge(t, "forged")
		b.start()
		inc := b.log.Incarnation()
		s.run(2 * time.Minute)
		var found []Finding
		for _, n := range []*node{a, b, c} {
			found = append(found, n.findings()...)
		}
		ok := false
		for _, f := range found {
			ok = ok || f.Inc == inc && !f.Cut() && f.First == 3
		}
		if !ok || s.agree() != "" {
			t.Errorf("seed %d: found %+v, want the third event of %v; do they agree? %s", seed, found, inc, s.agree())
		}
	}
}

// Agents that are killed, hosts that are cut off and messages that are lost are no reason to say that somebody has touched a log.
func TestClaim_noFalseAlarm(t *testing.T) {
	for seed := range uint64(4) {
		s := settled(t, 100+seed, "a", "b", "c")
		s.loss, s.twice = 0.05, 0.05
		all := s.sorted()
		for i := range 40 {
			n := all[s.rng.IntN(len(all))]
			switch s.rng.IntN(6) {
			case 0:
				if n.up {
					n.again()
				}
			case 1:
				s.isolate(n.id, true)
			case 2:
				s.isolate(n.id, false)
			default:
				n.record("a test", projection.Change{Kind: events.Declared, Key: key(fmt.Sprintf("o%d", i)), Object: []byte(`{"a":1}`)})
			}
			s.run(time.Duration(s.rng.Int64N(int64(8 * time.Second))))
		}
		for _, n := range all {
			if f := n.findings(); len(f) > 0 {
				t.Errorf("seed %d: host %s says %+v", seed, n.id, f)
			}
		}
	}
}
