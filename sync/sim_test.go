package sync

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// sim is a cluster in one process, under virtual time: real logs and ledgers, the real core, and a network that delays,
// loses, repeats and reorders. Everything happens in one goroutine, in an order that follows from the seed.
type sim struct {
	t     testing.TB
	rng   *rand.Rand
	dir   string
	now   time.Time
	nodes map[string]*node // by id
	queue deliveries
	cut   map[[2]string]bool // from, to
	loss  float64
	twice float64
	delay time.Duration // at most
	// together is within what time what comes to a host is taken in one step, as where it is slow; zero: each message by itself.
	together time.Duration
	// reads is how long it takes at most until hosts begin to read their whole log, and as long until they have; zero: it takes no time.
	reads time.Duration
	sent  uint64
	seen  hash.Hash         // of all that was delivered, in order
	heard func(message)     // is given what is delivered; nil: nobody
	story func(line string) // is told what is delivered and what hosts say; nil: nobody
	incs  map[string]string // names of incarnations, for people
}

type delivery struct {
	at       time.Time
	n        uint64 // breaks ties
	from, to string
	message
	do func() // in the place of a message
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	return d[i].at.Before(d[j].at) || d[i].at.Equal(d[j].at) && d[i].n < d[j].n
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

var simStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newSim(t testing.TB, seed uint64, names ...string) *sim {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: simStart, nodes: map[string]*node{}, cut: map[[2]string]bool{},
		delay: 20 * time.Millisecond, seen: sha256.New(), incs: map[string]string{}}
	dir, err := os.MkdirTemp("/dev/shm", "sim")
	if err != nil {
		dir = t.TempDir()
	}
	s.dir = dir
	t.Cleanup(func() {
		for _, n := range s.sorted() {
			n.crash()
		}
		os.RemoveAll(dir)
	})
	for _, name := range names {
		s.add(name, name, filepath.Join(dir, name), "machine of "+name)
	}
	return s
}

// sorted are the hosts by id: nothing may depend on the order of a map.
func (s *sim) sorted() (all []*node) {
	for _, id := range slices.Sorted(maps.Keys(s.nodes)) {
		all = append(all, s.nodes[id])
	}
	return all
}

// send puts a message on its way to everybody whom it is for.
func (n *node) send(subject string, data []byte) {
	kind, to := subjects{"sim"}.read(subject)
	for _, o := range n.sim.sorted() {
		if o == n || kind == "host" && o.name != to {
			continue
		}
		times := 1
		if n.rng.Float64() < n.twice {
			times = 2
		}
		for range times {
			if n.cut[[2]string{n.id, o.id}] {
				n.sim.tell(n, o, message{subject, data}, " (cut)")
				continue
			}
			if n.rng.Float64() < n.loss {
				continue
			}
			n.sim.sent++
			heap.Push(&n.queue, delivery{n.now.Add(time.Millisecond + time.Duration(n.rng.Int64N(int64(n.delay)))), n.sim.sent, n.id, o.id, message{subject, slices.Clone(data)}, nil})
		}
	}
}

// beside has the core's jobs take time: others' steps come before one, and between it and what is done about what it found.
func (n *node) beside(job func(context.Context) func()) {
	core := n.core
	soon := func(do func()) {
		n.sim.sent++
		heap.Push(&n.queue, delivery{at: n.now.Add(time.Duration(n.rng.Int64N(int64(n.reads)))), n: n.sim.sent, do: func() {
			if n.up && n.core == core {
				do()
			}
		}})
	}
	soon(func() {
		then := job(context.Background())
		soon(func() { n.step(then) })
	})
}

// unsend loses what is on its way from a host.
func (s *sim) unsend(id string) {
	s.queue = slices.DeleteFunc(s.queue, func(d delivery) bool { return d.from == id && d.do == nil })
	heap.Init(&s.queue)
}

// run lets time pass.
func (s *sim) run(d time.Duration) {
	end := s.now.Add(d)
	for {
		next := end
		var due *node
		for _, n := range s.sorted() {
			if n.up && n.nextTick.Before(next) {
				next, due = n.nextTick, n
			}
		}
		if len(s.queue) > 0 && !s.queue[0].at.After(next) {
			m := heap.Pop(&s.queue).(delivery)
			s.now = later(s.now, m.at)
			if m.do != nil {
				m.do()
				continue
			}
			var all []message
			n := s.nodes[m.to]
			for _, m := range append([]delivery{m}, s.also(m.to)...) {
				if n.up && !s.cut[[2]string{m.from, m.to}] {
					fmt.Fprintf(s.seen, "%v %s %s %s %x\n", s.now.Sub(simStart), m.from, m.to, m.subject, sha256.Sum256(m.data))
					s.tell(s.nodes[m.from], n, m.message, "")
					if s.heard != nil {
						s.heard(m.message)
					}
					all = append(all, m.message)
				}
			}
			if len(all) > 0 {
				n.step(func() { n.core.receive(all) })
			}
			continue
		}
		if due == nil {
			s.now = end
			return
		}
		s.now = later(s.now, next)
		due.nextTick = s.now.Add(tickEvery)
		due.step(due.core.tick)
		due.recover()
	}
}

// also takes from the queue what comes to a host together with what comes now.
func (s *sim) also(to string) (all []delivery) {
	if s.together == 0 {
		return nil
	}
	s.queue = slices.DeleteFunc(s.queue, func(d delivery) bool {
		comes := d.to == to && d.at.Sub(s.now) <= s.together
		if comes {
			all = append(all, d)
		}
		return comes
	})
	heap.Init(&s.queue)
	slices.SortFunc(all, func(a, b delivery) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.n, b.n)) })
	return all
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// agree reports what the hosts that are up do not agree about; "" when they do.
func (s *sim) agree() string {
	var first *node
	for _, n := range s.sorted() {
		switch {
		case !n.up:
		case first == nil:
			first = n
		default:
			a, b := first.ledger.View(), n.ledger.View()
			if markOf(a.Vector()) != markOf(b.Vector()) {
				return fmt.Sprintf("%s has %s\n%s has %s", first.id, heads(a.State), n.id, heads(b.State))
			}
			if a.Digest() != b.Digest() {
				return fmt.Sprintf("%s and %s differ with the same commits: %s", first.id, n.id, heads(a.State))
			}
		}
	}
	return ""
}

func heads(s *projection.State) string {
	var all []string
	for _, h := range s.Vector() {
		all = append(all, fmt.Sprintf("%.4s:%d:%.4s", h.Inc, h.Seq, h.Hash))
	}
	return strings.Join(all, " ")
}

func (n *node) step(do func()) {
	n.core.step(context.Background(), n.now, do)
	n.sim.inc(n.log.Incarnation())
	n.pub.publish(context.Background())
	if n.core.fatal != nil {
		n.sim.line("%s ends: %v", n.id, n.core.fatal)
		n.crash()
	}
}
