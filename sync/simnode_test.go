package sync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// node is one host. Its folder outlives its agent.
type node struct {
	*sim
	id       string // in the sim
	name     string // as it says; two may say the same
	dir      string
	machine  string
	skew     time.Duration
	floor    map[events.Incarnation]uint64 // what its log is made to have trimmed
	full     atomic.Bool                   // its disk
	up       bool
	starting bool
	since    time.Time         // when it started
	begin    *projection.State // what it has kept of its log's fold when it starts; nil: nothing

	log      *events.Log
	ledger   *projection.Ledger
	core     *core
	pub      *publisher
	stop     func()
	nextTick time.Time
	say      *slog.Logger
}

func (s *sim) add(id, name, dir, machine string) *node {
	n := &node{sim: s, id: id, name: name, dir: dir, machine: machine, floor: map[events.Incarnation]uint64{}, say: slog.New(slog.DiscardHandler)}
	switch {
	case s.story != nil:
		n.say = slog.New(&teller{n})
	case testing.Verbose() && *talk:
		n.say = slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", id)
	}
	s.nodes[id] = n
	n.start()
	return n
}

// fickle is a log that can be made to have forgotten what is up to a floor, and to be full.
type fickle struct {
	*events.Log
	n *node
}

func (l fickle) Missing(ctx context.Context, have func(events.Incarnation) uint64, from uint64, fn func(events.Record) error) ([]events.Incarnation, error) {
	var gone []events.Incarnation
	more, err := l.Log.Missing(ctx, func(inc events.Incarnation) uint64 {
		if h := have(inc); h >= l.n.floor[inc] {
			return h
		}
		gone = append(gone, inc)
		return 1<<64 - 1
	}, from, fn)
	gone = append(gone, more...)
	slices.Sort(gone)
	return slices.Compact(gone), err
}

func (l fickle) Floor(inc events.Incarnation) uint64 { return max(l.n.floor[inc], l.Log.Floor(inc)) }

func (l fickle) Append(entries []events.Entry) error {
	if l.n.full.Load() {
		return events.ErrFull
	}
	return l.Log.Append(entries)
}

func (n *node) start() {
	if n.up {
		return
	}
	log, err := events.Open(n.dir, events.Options{Reserve: -1, MinFree: 1, Machine: n.machine,
		Now: func() time.Time { return n.now }, Draw: func() events.Incarnation { return events.Incarnation(n.rng.Uint64() | 1) }})
	if err != nil {
		n.t.Fatalf("%s: %v", n.id, err)
	}
	n.log = log
	source := fickle{log, n}
	n.ledger, err = projection.OpenLedger(source, n.begin, log.End().Record+1, func() time.Time { return n.now.Add(n.skew) })
	if err != nil {
		n.t.Fatalf("%s: %v", n.id, err)
	}
	n.ledger.Node = n.name
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.ledger.Run(ctx) }()
	n.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			n.t.Errorf("%s: %v", n.id, err)
		}
		if err := log.Close(); err != nil {
			n.t.Errorf("%s: %v", n.id, err)
		}
	}
	out := &sender{node: n.name, send: n.send}
	out.parts.Store(n.rng.Uint64() >> 12)
	every := times{2 * time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Second, time.Minute}
	n.core = newCore(n.name, n.rng.Uint64()>>11, n.now.Add(n.skew).UnixMilli(), every, n.ledger, source, out, n.say)
	n.core.subject = subjects{"sim"}
	n.core.wall = func() time.Time { return n.now.Add(n.skew) }
	n.core.ready = func() (bool, bool) { return n.starting, n.full.Load() }
	if n.reads > 0 {
		n.core.beside = n.beside
	}
	n.pub = &publisher{ledger: n.ledger, log: source, out: out, subject: n.core.subject.commit(n.name), say: n.say}
	n.pub.begin()
	n.up, n.starting, n.since = true, true, n.now
	n.nextTick = n.now
	n.sim.inc(log.Incarnation())
}

func (n *node) crash() {
	if n.up {
		n.up = false
		n.stop()
	}
}

// recover ends the recovery as an agent does: once a majority is heard and all that it had is folded, or when the patience
// is over. Unless all hosts were heard, and have all that they know on disk, where it can be had, one of them may know more of
// this host than it does itself: it counts anew.
func (n *node) recover() {
	if !n.starting || !n.up {
		return
	}
	folded := 1
	for _, o := range n.sim.sorted() {
		if p := n.core.peers[o.name]; o != n && p != nil && p.folded && !p.ReadOnly {
			folded++
		}
	}
	switch waited := n.now.Sub(n.since); {
	case folded == len(n.nodes):
	case folded > len(n.nodes)/2 && waited > 6*time.Second, waited > time.Minute:
		if err := n.ledger.Renew(context.Background()); err != nil {
			n.t.Fatal(err)
		}
	default:
		return
	}
	n.starting = false
}

// record records changes at the host; false when it takes none.
func (n *node) record(cause string, changes ...projection.Change) (projection.Receipt, bool) {
	if !n.up || n.starting {
		return projection.Receipt{}, false
	}
	r, err := n.ledger.Record(context.Background(), projection.By{Actor: "sim", Cause: cause},
		func(*projection.State) ([]projection.Change, error) { return changes, nil })
	if errors.Is(err, events.ErrFull) {
		return r, false
	}
	if err != nil {
		n.t.Fatalf("%s: %v", n.id, err)
	}
	fmt.Fprintf(n.seen, "%s records %v\n", n.id, r.Stamp)
	n.step(func() {})
	return r, true
}

// room has the disk be full no more; what is behind is written at once.
func (n *node) room() {
	n.full.Store(false)
	if n.up {
		_, err := n.ledger.Record(context.Background(), projection.By{}, func(*projection.State) ([]projection.Change, error) { return nil, nil })
		if err != nil {
			n.t.Fatalf("%s: %v", n.id, err)
		}
	}
}

func key(name string) string { return "deployment/default/" + name }

// content is what an object of the sim says: whose life it is, and which version.
type content struct{ Life, Version int }

func contentOf(b []byte) (c content) {
	_ = json.Unmarshal(b, &c)
	return c
}

func (n *node) shown(name string) (c content, ok bool) {
	o, ok := n.ledger.View().Lookup(key(name))
	if ok {
		c = contentOf(o.Version.Object)
	}
	return c, ok
}

// image is a copy of a folder.
func (n *node) image() string {
	to := fmt.Sprintf("%s.image%d", n.dir, n.rng.Uint32())
	if err := os.CopyFS(to, os.DirFS(n.dir)); err != nil {
		n.t.Fatal(err)
	}
	return to
}

// lose loses the disk. The agent must not run.
func (n *node) lose() {
	n.unsend(n.id)
	clear(n.floor)
	if err := os.RemoveAll(n.dir); err != nil {
		n.t.Fatal(err)
	}
}

// put puts a copy of a folder in the place of the host's, whose agent must not run.
func (n *node) put(image string) {
	n.lose()
	if err := os.CopyFS(n.dir, os.DirFS(image)); err != nil {
		n.t.Fatal(err)
	}
}

// damage flips the last bit of what stands on the disk.
func (n *node) damage(what string) {
	n.t.Helper()
	files, _ := filepath.Glob(filepath.Join(n.dir, "*"))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // a folder
		}
		if at := bytes.Index(b, []byte(what)); at >= 0 {
			at += len(what) - 1
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte{b[at] ^ 1}, int64(at))
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				n.t.Fatal(err)
			}
			return
		}
	}
	n.t.Fatalf("%s does not hold %s", n.id, what)
}
