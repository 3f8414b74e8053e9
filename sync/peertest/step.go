package peertest

import (
	"bytes"
	"slices"
)

// Pending returns what is under way, in the order in which it was published.
func (n *Net) Pending() []Packet {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]Packet, len(n.flight))
	for i, p := range n.flight {
		all[i] = *p
	}
	return all
}

// Next returns the indices into Pending of what may be delivered now without breaking the order that Bus promises.
func (n *Net) Next() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.next()
}

func (n *Net) next() (may []int) {
	seen := map[link]bool{}
	for i, p := range n.flight {
		l := link{p.From, p.To}
		if !seen[l] || p.free {
			may = append(may, i)
		}
		seen[l] = seen[l] || !p.free
	}
	return may
}

// Deliver delivers the i-th of Pending, in this goroutine, to the subscriptions that its end has by now. If the link
// is cut, it is lost. Any i will do: one that Next does not name breaks the order that Bus promises.
func (n *Net) Deliver(i int) {
	n.mu.Lock()
	p := n.take(i)
	subscriptions := n.reached(p)
	n.mu.Unlock()
	for _, s := range subscriptions {
		if !s.stopped.Load() {
			s.deliver(p.Subject, bytes.Clone(p.Data))
		}
	}
}

// Drop loses the i-th of Pending.
func (n *Net) Drop(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.take(i)
	n.lost++
}

// Duplicate puts a copy of the i-th of Pending behind it, and returns the copy's index.
func (n *Net) Duplicate(i int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	again := *n.flight[i]
	n.flight = slices.Insert(n.flight, i+1, &again)
	return i + 1
}

// Step delivers one of those that may be delivered now, drawn by the seed, and reports whether there was one.
func (n *Net) Step() bool {
	n.mu.Lock()
	may := n.next()
	if len(may) == 0 {
		n.mu.Unlock()
		return false
	}
	i := may[n.rng.IntN(len(may))]
	n.mu.Unlock()
	n.Deliver(i)
	return true
}

// Settle steps until nothing is under way, at most limit times, and reports whether it came so far.
func (n *Net) Settle(limit int) bool {
	for range limit {
		if !n.Step() {
			return true
		}
	}
	return len(n.Pending()) == 0
}

func (n *Net) take(i int) *Packet {
	p := n.flight[i]
	n.flight = slices.Delete(n.flight, i, i+1)
	return p
}

// reached is which subscriptions a packet reaches that arrives now.
func (n *Net) reached(p *Packet) (reached []*subscription) {
	if n.cut[link{p.From, p.To}] {
		n.lost++
		return nil
	}
	for _, e := range n.ends {
		if e.name != p.To {
			continue
		}
		for _, s := range e.subscriptions {
			if matches(s.pattern, p.Subject) {
				reached = append(reached, s)
			}
		}
	}
	return reached
}
