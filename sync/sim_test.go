package sync

import (
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// sim is a cluster in one process, under virtual time: real logs and ledgers, the real core, and a network that delays,
// loses, repeats and reorders. Everything happens in one goroutine, in an order that follows from the seed.
type sim struct {
	t     testing.TB
	rng   *rand.Rand
	now   time.Time
	nodes map[string]*node
	queue deliveries
	cut   map[[2]string]bool // from, to
	loss  float64
	twice float64
	delay time.Duration // at most
	sent  uint64
	incs  uint64
}

// node is one host. Its folder outlives its agent.
type node struct {
	*sim
	name     string
	dir      string
	machine  string
	skew     time.Duration
	floor    map[events.Incarnation]uint64 // what its log is made to have trimmed
	up       bool
	starting bool
	alone    time.Time // when it recovers alone, if it hears nobody

	log      *events.Log
	ledger   *projection.Ledger
	core     *core
	pub      *publisher
	stop     func()
	nextTick time.Time
	say      *slog.Logger
}

type delivery struct {
	at       time.Time
	n        uint64 // breaks ties
	from, to string
	message
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

func newSim(t testing.TB, seed uint64, names ...string) *sim {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		nodes: map[string]*node{}, cut: map[[2]string]bool{}, delay: 20 * time.Millisecond}
	dir, err := os.MkdirTemp("/dev/shm", "sim")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() {
		for _, n := range s.sorted() {
			n.crash()
		}
		os.RemoveAll(dir)
	})
	for _, name := range names {
		s.add(name, filepath.Join(dir, name), "machine of "+name)
	}
	return s
}

func (s *sim) add(name, dir, machine string) *node {
	n := &node{sim: s, name: name, dir: dir, machine: machine, floor: map[events.Incarnation]uint64{}, say: slog.New(slog.DiscardHandler)}
	if testing.Verbose() && *talk {
		n.say = slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
	}
	s.nodes[name] = n
	n.start()
	return n
}

func (s *sim) sorted() (all []*node) {
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		all = append(all, s.nodes[name])
	}
	return all
}

// trimmed is a log that has been made to have forgotten what is up to a floor.
type trimmed struct {
	*events.Log
	floor map[events.Incarnation]uint64
}

func (l trimmed) Missing(ctx context.Context, have func(events.Incarnation) uint64, from uint64, fn func(events.Record) error) ([]events.Incarnation, error) {
	var gone []events.Incarnation
	more, err := l.Log.Missing(ctx, func(inc events.Incarnation) uint64 {
		if h := have(inc); h >= l.floor[inc] {
			return h
		}
		gone = append(gone, inc)
		return 1<<64 - 1
	}, from, fn)
	gone = append(gone, more...)
	slices.Sort(gone)
	return slices.Compact(gone), err
}

func (n *node) start() {
	if n.up {
		return
	}
	log, err := events.Open(n.dir, events.Options{Reserve: -1, MinFree: 1, Machine: n.machine,
		Now: func() time.Time { return n.now }, Draw: func() events.Incarnation { return events.Incarnation(n.rng.Uint64() | 1) }})
	if err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
	n.log = log
	n.ledger, err = projection.OpenLedger(log, nil, 1, func() time.Time { return n.now.Add(n.skew) })
	if err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
	n.ledger.Node = n.name
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.ledger.Run(ctx) }()
	n.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			n.t.Errorf("%s: %v", n.name, err)
		}
		if err := log.Close(); err != nil {
			n.t.Errorf("%s: %v", n.name, err)
		}
	}
	out := &sender{node: n.name, send: n.send}
	out.parts.Store(n.rng.Uint64() >> 12)
	source := trimmed{log, n.floor}
	every := times{2 * time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Second, time.Minute}
	n.core = newCore(n.name, n.rng.Uint64()>>11, n.now.Add(n.skew).UnixMilli(), every, n.ledger, source, out, n.say)
	n.core.subject = subjects{"sim"}
	n.core.wall = func() time.Time { return n.now.Add(n.skew) }
	n.core.ready = func() (bool, bool) { return n.starting, false }
	n.pub = &publisher{ledger: n.ledger, log: source, out: out, subject: n.core.subject.commit(n.name), say: n.say}
	n.pub.begin()
	n.up, n.starting, n.alone = true, true, n.now.Add(time.Minute)
	n.nextTick = n.now
}

func (n *node) crash() {
	if n.up {
		n.up = false
		n.stop()
	}
}

// send puts a message on its way to everybody whom it is for.
func (n *node) send(subject string, data []byte) {
	kind, to := subjects{"sim"}.read(subject)
	for _, o := range n.sorted() {
		if o == n || kind == "host" && o.name != to {
			continue
		}
		times := 1
		if n.rng.Float64() < n.twice {
			times = 2
		}
		for range times {
			if n.cut[[2]string{n.name, o.name}] || n.rng.Float64() < n.loss {
				continue
			}
			n.sim.sent++
			heap.Push(&n.queue, delivery{n.now.Add(time.Millisecond + time.Duration(n.rng.Int64N(int64(n.delay)))), n.sim.sent, n.name, o.name, message{subject, slices.Clone(data)}})
		}
	}
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
			if n := s.nodes[m.to]; n.up && !s.cut[[2]string{m.from, m.to}] {
				n.step(func() { n.core.receive([]message{m.message}) })
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

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (n *node) step(do func()) {
	n.core.step(context.Background(), n.now, do)
	n.pub.publish(context.Background())
	if n.core.fatal != nil {
		n.t.Logf("%s: %v", n.name, n.core.fatal)
		n.crash()
	}
}

// recover ends the recovery once a majority has been heard, or the patience is over.
func (n *node) recover() {
	if !n.starting || !n.up {
		return
	}
	folded := 1
	for _, p := range n.core.peers {
		if p.folded {
			folded++
		}
	}
	switch {
	case folded > len(n.nodes)/2:
	case n.now.After(n.alone):
		if err := n.ledger.Renew(context.Background()); err != nil {
			n.t.Fatal(err)
		}
	default:
		return
	}
	n.starting = false
}

// ready reports whether the host takes changes.
func (n *node) ready() bool { return n.up && !n.starting }

// record records changes at the host; false when it takes none.
func (n *node) record(changes ...projection.Change) bool {
	if !n.ready() {
		return false
	}
	_, err := n.ledger.Record(context.Background(), projection.By{Actor: "sim", Cause: "sim"},
		func(*projection.State) ([]projection.Change, error) { return changes, nil })
	if err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
	n.step(func() {})
	return true
}

func key(name string) string { return "deployment/default/" + name }

// content is what an object of the sim says: whose life it is, and which version.
type content struct{ Life, Version int }

func (n *node) shown(name string) (c content, ok bool) { return shownIn(n.ledger.View().State, name) }

func shownIn(s *projection.State, name string) (c content, ok bool) {
	o, ok := s.Lookup(key(name))
	if ok {
		_ = json.Unmarshal(o.Version.Object, &c)
	}
	return c, ok
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
				return fmt.Sprintf("%s has %s\n%s has %s", first.name, heads(a.State), n.name, heads(b.State))
			}
			if a.Digest() != b.Digest() {
				return fmt.Sprintf("%s and %s differ with the same commits: %s", first.name, n.name, heads(a.State))
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

// image is a copy of a folder.
func (n *node) image() string {
	to := fmt.Sprintf("%s.image%d", n.dir, n.rng.Uint32())
	if err := os.CopyFS(to, os.DirFS(n.dir)); err != nil {
		n.t.Fatal(err)
	}
	return to
}

// put puts a copy of a folder in the place of the host's, whose agent must not run.
func (n *node) put(image string) {
	if err := os.RemoveAll(n.dir); err != nil {
		n.t.Fatal(err)
	}
	if err := os.CopyFS(n.dir, os.DirFS(image)); err != nil {
		n.t.Fatal(err)
	}
}
