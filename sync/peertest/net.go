package peertest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Faults is what a Net does to messages by itself. Zero is a perfect network.
type Faults struct {
	Loss      float64       // how likely it is that a message is lost: 0 to 1
	Duplicate float64       // how likely it is that it comes twice
	Reorder   float64       // how likely it is that it overtakes, or is overtaken; this breaks what Bus promises
	Delay     time.Duration // how long each is under way, with Run
	Jitter    time.Duration // up to how much longer, with Run
}

// Packet is one message on its way to one end.
type Packet struct {
	From, To string
	Subject  string
	Data     []byte
	Due      time.Time // when Run delivers it

	free bool // of the order of its link
}

// String names the packet for the transcript of a test.
func (p Packet) String() string {
	return fmt.Sprintf("%s→%s %s %dB", p.From, p.To, p.Subject, len(p.Data))
}

type link struct{ from, to string }

// Net is a network in memory. Its methods may be called from any goroutine, deliver functions included.
type Net struct {
	mu     sync.Mutex
	rng    *rand.Rand
	faults Faults
	ends   []*End // in the order in which they were made, so that a run can be repeated
	cut    map[link]bool
	flight []*Packet
	lost   int
	woken  chan struct{}
}

// NewNet makes a network without ends. The same seed and the same calls give the same run.
func NewNet(seed uint64) *Net {
	return &Net{rng: rand.New(rand.NewPCG(seed, 0)), cut: map[link]bool{}, woken: make(chan struct{}, 1)}
}

// Faults sets what happens to messages that are published from now on.
func (n *Net) Faults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// End makes an end, the Bus of one host. A second one of the same name takes the place of the first, as after a
// restart: the first hears nothing more, and what it publishes goes nowhere.
func (n *Net) End(name string) *End {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &End{net: n, name: name}
	for i, old := range n.ends {
		if old.name == name {
			old.gone = true
			n.ends[i] = e
			return e
		}
	}
	n.ends = append(n.ends, e)
	return e
}

// CutOneWay loses all that one end says to the other, also what is under way, until it is healed.
func (n *Net) CutOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link{from, to}] = true
}

// Cut loses all that two ends say to each other, also what is under way, until it is healed.
func (n *Net) Cut(a, b string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// HealOneWay undoes CutOneWay.
func (n *Net) HealOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, link{from, to})
}

// Heal undoes Cut.
func (n *Net) Heal(a, b string) {
	n.HealOneWay(a, b)
	n.HealOneWay(b, a)
}

// HealAll undoes every cut.
func (n *Net) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

// Isolate cuts an end off from all the others.
func (n *Net) Isolate(name string) {
	for _, e := range n.names() {
		if e != name {
			n.Cut(name, e)
		}
	}
}

// Lost is how many messages were lost so far: to faults, cuts, Drop, and subscriptions that were too slow.
func (n *Net) Lost() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

func (n *Net) names() (names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.ends {
		names = append(names, e.name)
	}
	return names
}

// publish puts one packet per other end under way. Whether there is a subscriber shows when it arrives.
func (n *Net) publish(from *End, subject string, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if from.gone {
		return
	}
	for _, to := range n.ends {
		if to == from {
			continue
		}
		if n.cut[link{from.name, to.name}] || n.rng.Float64() < n.faults.Loss {
			n.lost++
			continue
		}
		p := &Packet{From: from.name, To: to.name, Subject: subject, Data: bytes.Clone(data)}
		p.free = n.rng.Float64() < n.faults.Reorder
		p.Due = n.due(p)
		n.flight = append(n.flight, p)
		if n.rng.Float64() < n.faults.Duplicate {
			again := *p
			again.Due = n.due(&again)
			n.flight = append(n.flight, &again)
		}
	}
	n.wake()
}

// due is when a packet arrives: not before those of its link that left before it, unless it is free of the order.
func (n *Net) due(p *Packet) time.Time {
	due := time.Now().Add(n.faults.Delay)
	if n.faults.Jitter > 0 {
		due = due.Add(time.Duration(n.rng.Int64N(int64(n.faults.Jitter))))
	}
	if p.free {
		return due
	}
	for _, q := range n.flight {
		if q.From == p.From && q.To == p.To && !q.free && q.Due.After(due) {
			due = q.Due
		}
	}
	return due
}

func (n *Net) wake() {
	select {
	case n.woken <- struct{}{}:
	default:
	}
}
