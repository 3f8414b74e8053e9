package mesh

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	lookEvery = 5 * time.Second        // even if NATS says nothing
	settle    = 100 * time.Millisecond // of routes, before they are looked at
	sayEvery  = time.Minute            // where we are, for those who did not listen yet when we said it first
)

// Route is the connection to one other host, as NATS counts it.
type Route struct {
	Node   string
	Addr   string        // where the packets come from; its port is the peer's own only if we dialled
	Dialed bool          // by us
	RTT    time.Duration // of the newest ping that was answered, at most a minute ago; 0: none was yet
	Since  time.Time
	// What has come in and gone out, since then. Pending waits to be sent, in bytes.
	MsgsIn, MsgsOut, BytesIn, BytesOut uint64
	Pending                            int
}

// Stats counts from Open on.
type Stats struct {
	MsgsIn, MsgsOut, BytesIn, BytesOut uint64 // what this host was told, and told the others, each once
	Dropped                            uint64 // messages that a subscription did not take fast enough
	Connects, Losses                   uint64 // of routes
	Refused                            map[string]uint64
}

// Routes returns the routes there are now, by node.
func (m *Mesh) Routes() []Route {
	if m.front == nil || m.server == nil {
		return nil
	}
	z, err := m.server.Routez(nil)
	if err != nil {
		return nil // it never is
	}
	routes := make([]Route, 0, len(z.Routes))
	for _, r := range z.Routes {
		routes = append(routes, m.route(r))
	}
	slices.SortFunc(routes, func(a, b Route) int { return strings.Compare(a.Node, b.Node) })
	return routes
}

func (m *Mesh) route(r *server.RouteInfo) Route {
	addr, inbound := m.front.whose(net.JoinHostPort(r.IP, strconv.Itoa(r.Port)))
	rtt, _ := time.ParseDuration(r.RTT)
	return Route{Node: r.RemoteName, Addr: addr, Dialed: !inbound, RTT: rtt, Since: r.Start, Pending: r.Pending,
		MsgsIn: uint64(r.InMsgs), MsgsOut: uint64(r.OutMsgs), BytesIn: uint64(r.InBytes), BytesOut: uint64(r.OutBytes)}
}

// Stats returns the counters.
func (m *Mesh) Stats() Stats {
	s := m.client.Stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counters
	c.MsgsIn, c.MsgsOut, c.BytesIn, c.BytesOut = s.InMsgs, s.OutMsgs, s.InBytes, s.OutBytes
	for sub := range m.subscribed {
		if dropped, err := sub.Dropped(); err == nil {
			c.Dropped += uint64(dropped)
		}
	}
	c.Refused = m.log.refusals()
	return c
}

// watch says which hosts come and go, and why others do not come, until ctx is done.
func (m *Mesh) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	again := time.NewTicker(sayEvery)
	defer again.Stop()
	unsure := false // whether all who are there have heard where we are
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-m.log.closed:
			m.lookInto(ctx, c)
			continue
		case <-m.log.poke:
			select {
			case <-time.After(settle): // a pair of hosts may dial each other at once, and drop one of the two
			case <-ctx.Done():
				return
			}
		case <-tick.C:
			if unsure {
				m.sayAddress()
				unsure = false
			}
		case <-again.C:
			m.sayAddress()
		}
		if m.look() {
			m.sayAddress()
			unsure = true // a route is there a little before the peer's subscriptions are
		}
	}
}

// look compares the routes with those that were there when last looked, and reports whether there are new ones.
func (m *Mesh) look() bool {
	routes := map[string]Route{}
	for _, r := range m.Routes() {
		if twin, ok := routes[r.Node]; ok { // NATS compares names only with its own
			m.log.say(errorLevel, "two hosts have the same name: one of them must be given another", r.Node,
				"node", r.Node, "addr", r.Addr, "other", twin.Addr)
			if twin.Since.Before(r.Since) {
				continue
			}
		}
		routes[r.Node] = r
	}
	m.mu.Lock()
	before := m.seen
	m.seen = routes
	m.mu.Unlock()
	var came, went uint64
	for node, r := range routes {
		old, was := before[node]
		if was && old.Since.Equal(r.Since) {
			continue
		}
		came++
		if r.Dialed {
			if err := boundTo(r.Addr); err != nil {
				m.log.say(warn, "that a route is dead will be noticed late", err.Error(), "node", node, "err", err)
			}
		}
		if was {
			went++
			m.log.seldom(info, sayFlapping, "connected anew to another host", node, "node", node, "addr", r.Addr, "was", m.log.reason(node))
			continue
		}
		m.log.seldom(info, sayFlapping, "connected to another host", node, "node", node, "addr", r.Addr)
	}
	for node, old := range before {
		if _, is := routes[node]; !is {
			went++
			m.log.seldom(warn, sayFlapping, "lost the connection to another host", node, "node", node, "addr", old.Addr, "why", m.log.reason(node))
		}
	}
	m.mu.Lock()
	m.counters.Connects += came
	m.counters.Losses += went
	m.mu.Unlock()
	return came > 0
}

// lookInto finds out why a host that we dialled does not keep us, and says so: NATS itself does not know.
func (m *Mesh) lookInto(ctx context.Context, c closing) {
	for _, r := range m.Routes() {
		if r.Dialed && r.Addr == c.addr && r.Node != m.Node {
			return // it has been let in since
		}
	}
	if time.Since(m.diagnosed[c.addr]) < diagnoseEvery {
		return // NATS dials each second whoever takes the call and hangs up
	}
	if len(m.diagnosed) > maxKnown {
		clear(m.diagnosed)
	}
	m.diagnosed[c.addr] = time.Now()
	why := m.diagnose(ctx, c.addr)
	if why == nil || ctx.Err() != nil {
		return
	}
	level := warn
	if errors.Is(why, errSameName) {
		level = max(level, errorLevel)
	}
	m.log.say(level, "another host does not let us in", c.addr+why.Error(), "addr", c.addr, "err", why)
}
