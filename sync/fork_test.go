package sync

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// A host that gave up commits for a state that holds others has those others in its state alone. What its log still has under their
// numbers is no answer to where two chains part.
func TestChain_whatTheLogHoldsMayBeGivenUp(t *testing.T) {
	ctx := context.Background()
	n, _ := lone(t)
	if _, err := n.ledger.Admit(ctx, chain(t, 9, 4)); err != nil {
		t.Fatal(err)
	}
	n.step(func() {
		if all, whole := n.core.chain(9, 0); !whole || len(all) != 4 {
			t.Fatalf("%d points, whole: %v, want 4", len(all), whole)
		}
	})
	stands := projection.NewState()
	for _, b := range chain(t, 9, 1) {
		c, err := events.ParseCommit(b)
		if err != nil {
			t.Fatal(err)
		}
		c.Actor = "another"
		if b, err = c.Append(nil); err != nil {
			t.Fatal(err)
		}
		stands = stands.Fold(&c, events.HashOf(b), 1, simStart)
	}
	if err := n.ledger.Yield(ctx, 9, 0, stands, "a fork"); err != nil {
		t.Fatal(err)
	}
	n.step(func() {
		if all, whole := n.core.chain(9, 0); whole {
			t.Errorf("%d points that were given up pass for the chain", len(all))
		}
		if a := n.core.serveChain(&ask{Ask: askChain, Inc: 9}); len(a.Gone) != 1 || a.body != nil {
			t.Errorf("the answer is %+v, want that it is gone", a)
		}
		a := n.core.serveCommits(&ask{Ask: askCommits})
		if !slices.Contains(a.Gone, 9) || slices.ContainsFunc(lines(a.body), func(b []byte) bool { c, _ := events.ParseCommit(b); return c.Inc == 9 }) {
			t.Errorf("who lacks all of it is given %s and told that %v are gone", a.body, a.Gone)
		}
	})
}

// Others may have used the numbers to come of an incarnation that was forked, and said something of what they counted by them.
func TestPart_whoseChainStandsCountsAnewAllTheSame(t *testing.T) {
	n, _ := lone(t)
	own := n.log.Incarnation()
	n.step(func() { n.core.part(&search{peer: "b", inc: own + 1}, events.Hash{1}, events.Hash{2}) })
	if got := n.log.Incarnation(); got != own {
		t.Errorf("for a fork of another incarnation it counts anew, as %v", got)
	}
	n.step(func() { n.core.part(&search{peer: "b", inc: own}, events.Hash{1}, events.Hash{2}) })
	if got := n.log.Incarnation(); got == own {
		t.Error("it goes on under the incarnation that was forked")
	}
}

// Of long chains only some points are compared at first, and what a log that was trimmed begins with may be none of them: then it says with which it
// begins, and they are compared from there on.
func TestChain_isComparedFromWhereBothLogsHoldIt(t *testing.T) {
	const trimmed, common = samples + 12, samples + 13 // of which neither is compared at first by who holds all
	stands := chain(t, 9, 3*samples)
	c, err := events.ParseCommit(stands[common])
	if err != nil {
		t.Fatal(err)
	}
	c.Actor = "another"
	next, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	other := append(slices.Clone(stands[:common]), next)
	for _, trimmedAsks := range []bool{false, true} {
		whole, heard := lone(t)
		cut, alsoHeard := lone(t)
		for n, all := range map[*node][][]byte{whole: stands, cut: other} {
			if _, err := n.ledger.Admit(context.Background(), all); err != nil {
				t.Fatal(err)
			}
		}
		cut.floor[9] = trimmed
		asks, serves, said := whole, cut, heard
		if trimmedAsks {
			asks, serves, said = cut, whole, alsoHeard
		}
		var answers []*answer
		asks.step(func() {
			*said = nil
			asks.core.search = &search{peer: "b", inc: 9, floor: asks.core.floor(9)}
			asks.core.askChain()
		})
		for asks.core.search != nil && len(answers) < 10 {
			var q ask
			head, _ := unhead((*said)[len(*said)-1].data)
			if err := unmarshal(head, &q); err != nil || q.Ask != askChain {
				t.Fatalf("%v: %s", err, head)
			}
			var a *answer
			serves.step(func() { a = serves.core.serveChain(&q) })
			a.ID, a.From = q.ID, "b"
			asks.step(func() { asks.core.onChain(a) })
			answers = append(answers, a)
		}
		if got := asks.core.findings; len(got) != 1 || got[0].First != common+1 {
			t.Errorf("the trimmed log asks: %v; found %+v after %d answers, want that they part at event %d; the last is %+v", trimmedAsks, got, len(answers), common+1, answers[len(answers)-1])
		}
	}
}

// Each of two hosts may hold it for settled that its own chain stands, as when a disk was put back once more since: then one looks again as soon as the other
// tells it to, and they do not tell each other so without end.
func TestSuspect_bothHoldTheirsForSettled(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	s.delay = time.Millisecond
	a, b := s.nodes["a"], s.nodes["b"]
	a.starting, b.starting = false, false
	write := func(name string) {
		t.Helper()
		if _, ok := b.record("test", projection.Change{Kind: events.Declared, Key: key(name), Object: []byte(`{}`)}); !ok {
			t.Fatal("b takes no change")
		}
	}
	write("x")
	s.run(time.Second)
	b.crash()
	image := b.image()
	b.start()
	b.starting = false
	inc := b.log.Incarnation()
	write("y")
	s.run(time.Second)
	b.crash()
	b.put(image)
	b.start()
	b.starting = false
	write("z")
	for _, n := range s.sorted() {
		n.step(func() {
			head := n.ledger.View().Head(inc)
			if head.Seq != 2 {
				t.Fatalf("%s has %d events, want a fork at the second", n.id, head.Seq)
			}
			n.core.settled[point(head)] = n.core.now
		})
	}
	before := s.sent
	s.run(10 * time.Second)
	if wrong := s.agree(); wrong != "" {
		t.Error(wrong)
	}
	if n := s.sent - before; n > 200 {
		t.Errorf("%d messages", n)
	}
}

// trimming is a log that is trimmed while it is read, after so many readings.
type trimming struct {
	Log
	n     *node
	after int
}

func (l *trimming) Missing(ctx context.Context, have func(events.Incarnation) uint64, from uint64, fn func(events.Record) error) ([]events.Incarnation, error) {
	gone, err := l.Log.Missing(ctx, have, from, fn)
	if l.after--; l.after == 0 {
		l.n.floor[9] = 2
	}
	return gone, err
}

// A log is trimmed beside the steps. Where that happens in the middle of a comparison, nothing is said by what was half read, and nobody is told that a person is
// needed: it is compared once more, from where the log begins by then.
func TestChain_trimmedWhileItIsCompared(t *testing.T) {
	all := chain(t, 9, 4)
	trimmedAfter := func(readings int) *node {
		n, _ := lone(t)
		if _, err := n.ledger.Admit(context.Background(), all); err != nil {
			t.Fatal(err)
		}
		n.core.log = &trimming{n.core.log, n, readings}
		return n
	}
	q := &ask{Ask: askChain, Inc: 9, Points: []point{{9, 1, events.HashOf(all[0])}, {9, 3, events.HashOf(all[2])}}}
	for readings := range 4 { // of the floor, the chain, and what is compared; with 0 it is not trimmed
		n := trimmedAfter(readings)
		n.step(func() {
			switch a := n.core.serveChain(q); {
			case readings > 0 && a != nil:
				t.Errorf("trimmed after reading %d, it answers %+v, want nothing", readings, a)
			case readings == 0 && (a == nil || a.Common != 3):
				t.Errorf("not trimmed, it answers %+v, want that event 3 is common", a)
			}
			if a := n.core.serveChain(q); a == nil || a.Common != 3 {
				t.Errorf("asked again, it answers %+v, want that event 3 is common", a)
			}
		})
	}
	n := trimmedAfter(1)
	n.step(func() {
		n.core.search = &search{peer: "b", inc: 9, floor: n.core.floor(9)}
		n.core.askChain()
	})
	if n.core.search != nil || len(n.core.problems) > 0 {
		t.Errorf("the asker: search %+v, problems %v; want neither", n.core.search, n.core.problems)
	}
}
