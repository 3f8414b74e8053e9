package vip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	mdnetlink "github.com/mdlayher/netlink"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

const (
	lookEvery = 10 * time.Second // at address, route, bridges
	retry     = time.Second      // after a transaction was refused
	buffers   = 16 << 20         // bytes, for a transaction of a large table and the kernel's answers to it
)

// kernel keeps the table, and what goes with it.
type kernel struct {
	rules   *Rules
	table   *table
	metrics *Metrics

	conn    *nftables.Conn
	id      atomic.Uint32             // of conn, as others see who has changed something; read beside run
	written map[discovery.Name][]port // what the table holds; nil: it must be written as a whole
	outer   []string                  // bridges that lead to other machines
	mended  time.Time                 // when the table was last written anew because somebody had changed it
}

// possible says why this process cannot keep rules of nftables; nil when it can.
func possible() error {
	conn, err := nftables.New()
	if err == nil {
		_, err = conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	}
	if err != nil {
		return fmt.Errorf("the kernel's packet rules (nftables) cannot be had: %w", err)
	}
	return nil
}

// open connects to the kernel.
func (k *kernel) open() error {
	var id uint32
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *mdnetlink.Conn) (err error) {
		if id, err = portID(c); err != nil {
			return err
		}
		return errors.Join(c.SetReadBuffer(buffers), c.SetWriteBuffer(buffers))
	}))
	if err != nil {
		return fmt.Errorf("speak to the kernel of packet rules: %w", err)
	}
	k.conn = conn
	k.id.Store(id)
	return nil
}

func (k *kernel) run(ctx context.Context) error {
	release, err := k.claim(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := k.open(); err != nil {
		return err
	}
	defer func() { _ = k.conn.CloseLasting() }() // nothing is under way
	foreign, stop, err := watch(k.table.Name, func(sender uint32) bool { return sender == k.id.Load() })
	if err != nil {
		return err
	}
	defer stop()
	news, wait := make(chan discovery.News), make(chan struct{})
	done, cancel := context.WithCancel(ctx)
	go func() {
		defer close(wait)
		follow(done, k.rules.Source, func(n discovery.News) {
			select {
			case news <- n:
			case <-done.Done():
			}
		})
	}()
	defer func() { cancel(); <-wait }()

	look := time.NewTicker(lookEvery)
	defer look.Stop()
	again := time.NewTimer(retry)
	defer again.Stop()
	k.surroundings()
	for known := false; ; { // until something is, what an earlier run has left stays as it is
		select {
		case <-ctx.Done():
			return ctx.Err()
		case n := <-news:
			known = true
			k.change(n)
		case <-foreign:
			k.mend()
		case <-look.C:
			k.surroundings()
			if k.written != nil && !k.there() { // which it would have been told
				k.mend()
			}
		case <-again.C:
		}
		if !known {
			continue
		}
		if k.written == nil {
			k.whole()
		}
		if k.written == nil {
			again.Reset(retry)
		} else {
			k.rules.setReady()
		}
	}
}

// change makes the table as the news have it.
func (k *kernel) change(n discovery.News) {
	if k.written == nil {
		return // all is written anew, from the newest
	}
	names := n.Services
	if n.Whole { // which of them have changed is to be seen here
		names = slices.Collect(maps.Keys(k.written))
		for s := range n.Table.Services() {
			if k.written[s.Name] == nil {
				names = append(names, s.Name)
			}
		}
	}
	begun := time.Now()
	b := &batch{conn: k.conn, table: k.table}
	is := map[discovery.Name][]port{}
	var flows, now []port
	for _, name := range names {
		ports := portsOf(n.Service(name), k.rules.Host, (*discovery.Endpoint).On)
		if slices.EqualFunc(k.written[name], ports, equalPorts) {
			continue
		}
		is[name] = ports
		b.change(objectsOfAll(k.written[name]), objectsOfAll(ports))
		flows, now = append(append(flows, lost(k.written[name], ports)...), found(k.written[name], ports)...), append(now, ports...)
	}
	if len(is) == 0 {
		return
	}
	if err := k.commit(b); err != nil {
		k.rules.Log.Warn("a change of the rules of virtual addresses was refused; all are written anew", "err", err)
		k.written = nil
		return
	}
	for name, ports := range is {
		k.metrics.more(len(ports) - len(k.written[name]))
		if k.written[name] = ports; len(ports) == 0 {
			delete(k.written, name)
		}
	}
	k.metrics.took(begun)
	k.flush(flows, false)
	k.reflect(now)
}

// whole writes the table anew, in one transaction: at no moment is there none. Connections go on, as the kernel knows them
// by themselves; clients that stay with an endpoint still do.
func (k *kernel) whole() {
	begun := time.Now()
	if !k.surroundings() {
		return
	}
	source := k.rules.Source.Table()
	b := &batch{conn: k.conn, table: k.table}
	stayed := k.stayed()
	b.conn.AddTable(k.table.Table) // so that there is one to remove
	b.conn.DelTable(k.table.Table)
	b.conn.AddTable(k.table.Table)
	b.base(k.outer)
	written, all := map[discovery.Name][]port{}, []port(nil)
	for s := range source.Services() {
		if ports := portsOf(s, k.rules.Host, (*discovery.Endpoint).On); len(ports) > 0 {
			written[s.Name], all = ports, append(all, ports...)
			o := objectsOfAll(ports)
			b.change(objects{}, o)
			for _, s := range o.stays {
				if in := stayed[s.name]; len(in) > 0 {
					set := &nftables.Set{Table: k.table.Table, Name: s.name, HasTimeout: true}
					b.err(k.conn.SetAddElements(set, in))
				}
			}
		}
	}
	if err := k.commit(b); err != nil {
		k.rules.problem(aboutTable, fmt.Sprintf("the kernel refuses the rules of virtual addresses, so Services answer as they did before, or not at all: %v", err))
		return
	}
	k.rules.problem(aboutTable, "")
	k.written = written
	k.metrics.all(len(all))
	k.metrics.took(begun)
	k.flush(all, true)
	k.reflect(all)
}

// stayed is who stays with which endpoint, so that the table can be written anew without them being sent elsewhere.
func (k *kernel) stayed() map[string][]nftables.SetElement {
	all := map[string][]nftables.SetElement{}
	sets, err := k.conn.GetSets(k.table.Table)
	if err != nil {
		return all // there is no table yet
	}
	for _, s := range sets {
		if !stayOf(s.Name) {
			continue
		}
		in, err := k.conn.GetSetElements(s)
		if err != nil {
			continue
		}
		for i := range in {
			in[i].Timeout = max(in[i].Expires, time.Millisecond) // what is left of it
			if len(all[s.Name]) < 400 {
				all[s.Name] = append(all[s.Name], in[i])
			}
		}
	}
	return all
}

// commit makes what is queued true, all of it or none.
func (k *kernel) commit(b *batch) error {
	if err := errors.Join(b.errs...); err != nil {
		_ = k.reopen() // the queue goes with the connection
		return err
	}
	err := k.conn.Flush()
	if err != nil { // answers to it may still come, and would be taken for those to the next
		err = errors.Join(err, k.reopen())
	}
	return err
}

// reopen connects anew; the connection stays as it is where that cannot be.
func (k *kernel) reopen() error {
	old := k.conn
	if err := k.open(); err != nil {
		return err
	}
	_ = old.CloseLasting()
	return nil
}

// there says whether there is a table at all.
func (k *kernel) there() bool {
	_, err := k.conn.ListTableOfFamily(k.table.Name, nftables.TableFamilyIPv4)
	return err == nil
}

// mend writes the table anew after somebody else has changed or removed it.
func (k *kernel) mend() {
	k.written = nil
	k.metrics.mend()
	if k.mended.IsZero() || time.Since(k.mended) > time.Hour { // once, however often it goes on
		k.rules.Log.Warn("somebody else changed or removed the rules of virtual addresses; they are written anew, whenever it happens",
			"table", "ip "+k.table.Name)
	}
	k.mended = time.Now()
}

// objectsOfAll is what the table holds for the ports.
func objectsOfAll(ports []port) (o objects) {
	for i := range ports {
		p := objectsOf(&ports[i])
		o.stays, o.chains, o.elements = append(o.stays, p.stays...), append(o.chains, p.chains...), append(o.elements, p.elements...)
	}
	return o
}

// equalPorts says whether nothing about two ports is different.
func equalPorts(a, b port) bool {
	return a.name == b.name && a.front == b.front && a.udp == b.udp && a.node == b.node && a.affinity == b.affinity && a.local == b.local &&
		slices.Equal(a.inside, b.inside) && slices.Equal(a.outside, b.outside)
}

// found gives the UDP ports that had no endpoint, and have one: what was sent to them from this host goes on being refused else, as long as it comes
// from the same port.
func found(was, is []port) (all []port) {
	for _, p := range is {
		i := slices.IndexFunc(was, func(w port) bool { return p.name == w.name })
		if none := i < 0 || len(was[i].inside) == 0 && len(p.inside) > 0 || len(was[i].outside) == 0 && len(p.outside) > 0; p.udp && none {
			all = append(all, p)
		}
	}
	return all
}

// lost gives the UDP ports that have lost an endpoint, as they are now: with none at all when the port itself is gone.
func lost(was, is []port) (all []port) {
	for _, w := range was {
		if !w.udp {
			continue
		}
		i := slices.IndexFunc(is, func(p port) bool { return p.name == w.name })
		if i < 0 || is[i].front != w.front || is[i].node != w.node {
			all = append(all, port{name: w.name, front: w.front, udp: true, node: w.node})
		}
		if i >= 0 && is[i].left(&w) {
			all = append(all, is[i])
		}
	}
	return all
}
