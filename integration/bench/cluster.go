package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/sync"
	"github.com/podman-swarm/podman-swarm/sync/mesh"
)

// host is what an agent has of a cluster, in this process: a log and a ledger, and sync over embedded NATS.
type host struct {
	name   string
	dir    string // of its log
	log    *events.Log
	ledger *projection.Ledger
	mesh   *mesh.Mesh
	sync   *sync.Sync

	stop context.CancelFunc
	done errgroup.Group
}

// cluster is hosts of which each has a route to each other, over mutual TLS on loopback.
type cluster struct {
	hosts []*host
	all   *objects
	made  int // versions so far
	dirs  []string
}

// memoryFolder is where hosts have their logs that are too many for one disk.
const memoryFolder = "/dev/shm"

// openCluster makes a cluster of n hosts. The first has its log below dir; so have the others, unless inMemory.
func openCluster(ctx context.Context, dir string, n int, inMemory bool, size int) (c *cluster, err error) {
	c = &cluster{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("a cluster of %d hosts in this process: %w", n, err), c.close())
		}
	}()
	if c.all, err = newObjects(size); err != nil {
		return c, err
	}
	issuer, err := newIssuer()
	if err != nil {
		return c, err
	}
	for i := range n {
		parent := dir
		if inMemory && i > 0 {
			parent = memoryFolder
		}
		h, err := c.add(ctx, parent, issuer, i)
		if err != nil {
			return c, err
		}
		h.begin(ctx)
		if err := h.routes(ctx, i); err != nil { // one after the other: all at once are a thousand handshakes that time out
			return c, err
		}
	}
	for _, h := range c.hosts {
		if err := h.routes(ctx, n-1); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *cluster) add(ctx context.Context, parent string, issuer *issuer, i int) (*host, error) {
	h := &host{name: fmt.Sprintf("host%d", i)}
	dir, err := os.MkdirTemp(parent, "swarm-bench-"+h.name+"-")
	if err != nil {
		return nil, err
	}
	c.dirs = append(c.dirs, dir)
	h.dir = filepath.Join(dir, "events")
	secure, err := issuer.config(h.name)
	if err != nil {
		return nil, err
	}
	h.mesh = &mesh.Mesh{Cluster: "bench", Node: h.name, Addr: "127.0.0.1:0", TLS: secure}
	if i > 0 {
		h.mesh.Peers = []string{c.hosts[0].mesh.Advertised()}
	}
	if err := h.mesh.Open(); err != nil {
		return nil, err
	}
	if h.log, err = events.Open(h.dir, events.Options{Reserve: -1, MinFree: 1}); err != nil {
		return nil, errors.Join(err, h.mesh.Close())
	}
	if h.ledger, err = projection.OpenLedger(h.log, nil, 1, nil); err != nil {
		return nil, errors.Join(err, h.mesh.Close(), h.log.Close())
	}
	h.ledger.Node, h.stop = h.name, func() {}
	h.sync = &sync.Sync{Bus: h.mesh, Ledger: h.ledger, Log: h.log, Node: h.name, Cluster: "bench", Version: "bench",
		Address: h.mesh.Advertised(), Ready: func() (bool, bool) { return false, false }, Say: slog.New(slog.DiscardHandler)}
	h.sync.Open()
	c.hosts = append(c.hosts, h)
	return h, nil
}

// begin has all of the host run, but for sync: see join.
func (h *host) begin(ctx context.Context) {
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	h.done.Go(func() error { return h.ledger.Run(ctx) })
	h.done.Go(func() error { return h.mesh.Run(ctx) })
}

// join has the host sync.
func (h *host) join(ctx context.Context) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	rest := h.stop
	h.stop = func() { stop(); rest() }
	h.done.Go(func() error { return h.sync.Run(ctx) })
}

func (h *host) close() error {
	h.stop()
	return errors.Join(h.mesh.Close(), h.done.Wait(), h.log.Close())
}

// routes waits until the host has so many routes.
func (h *host) routes(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, 20*time.Millisecond, func() error {
		if got := len(h.mesh.Routes()); got != want {
			return fmt.Errorf("%s has %d routes, want %d", h.name, got, want)
		}
		return nil
	})
}

// join has all hosts sync, and waits until each has heard each other.
func (c *cluster) join(ctx context.Context) error {
	for _, h := range c.hosts {
		h.join(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, 20*time.Millisecond, func() error {
		for _, h := range c.hosts {
			st, _ := h.sync.Status()
			alive := 0
			for _, p := range st.Peers {
				if p.Alive && p.Folded {
					alive++
				}
			}
			if alive != len(c.hosts)-1 {
				return fmt.Errorf("%s hears %d hosts, want %d", h.name, alive, len(c.hosts)-1)
			}
		}
		return nil
	})
}

func (c *cluster) close() error {
	for _, h := range c.hosts {
		h.stop() // all of them first, so that none looks for those that are closed
	}
	errs := make([]error, len(c.hosts))
	var together errgroup.Group
	for i, h := range c.hosts {
		together.Go(func() error {
			errs[i] = h.close()
			return nil
		})
	}
	_ = together.Wait() // each has left its own error
	for _, dir := range c.dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// record records changes on the first host and returns the last event's number.
func (c *cluster) record(ctx context.Context, changes ...projection.Change) (events.ID, error) {
	by := projection.By{Actor: "bench", Cause: "apply"}
	r, err := c.hosts[0].ledger.Record(ctx, by, func(*projection.State) ([]projection.Change, error) { return changes, nil })
	if err != nil {
		return events.ID{}, err
	}
	id := r.Stamp.ID
	id.Seq += uint64(len(changes)) - 1
	return id, nil
}

// fill has n objects in the state of every host.
func (c *cluster) fill(ctx context.Context, n int) error {
	const many = 250
	var last events.ID
	for from := 0; from < n; from += many {
		var changes []projection.Change
		for i := from; i < min(from+many, n); i++ {
			changes = append(changes, projection.Change{Kind: events.Declared, Key: key(i), Object: c.all.of(i, 0)})
		}
		var err error
		if last, err = c.record(ctx, changes...); err != nil {
			return err
		}
	}
	return c.spread(ctx, last)
}

// next is a change of one object or another, of n.
func (c *cluster) next(n int) projection.Change {
	c.made++
	return c.change(c.made, n)
}

// change is the v-th change, in an order that jumps about in the state.
func (c *cluster) change(v, n int) projection.Change {
	i := v * 7919 % n
	return projection.Change{Kind: events.Declared, Key: key(i), Object: c.all.of(i, v)}
}

// spread waits until every host shows the event.
func (c *cluster) spread(ctx context.Context, id events.ID) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, h := range c.hosts {
		if err := h.shows(ctx, id); err != nil {
			return fmt.Errorf("wait until %s shows an event: %w", h.name, err)
		}
	}
	return nil
}

// shows returns when the host shows the event, which then is on its disk.
func (h *host) shows(ctx context.Context, id events.ID) error {
	for {
		v := h.ledger.View()
		if v.Covers(id) {
			return nil
		}
		select {
		case <-v.Changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
