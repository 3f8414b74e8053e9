package main

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/projection"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// peers collects what there is to say of the other hosts, all at one moment.
type peers struct{ a *agent }

// Describe sends nothing: the labels of what Collect sends are not known before.
func (p *peers) Describe(chan<- *prometheus.Desc) {}

// peerStates are how another host can be doing, as a label says it.
func peerStates() []string {
	return []string{"alive", "recovering", "read_only", "silent", "stopped", "down"}
}

// Collect sends how the other hosts are heard, and what sync has done.
func (p *peers) Collect(out chan<- prometheus.Metric) {
	f := figures{out}
	st, _ := p.a.cluster.sync.Status()
	members := p.a.members(st)
	agree, since := true, time.Time{}
	count := map[string]int{}
	for i := range members {
		o := &members[i]
		count[p.peer(f, o)]++
		if !o.Alive {
			continue
		}
		if agree = agree && !o.Agrees.IsZero(); o.Agrees.After(since) {
			since = o.Agrees
		}
	}
	for _, host := range p.a.known() { // those that this agent has never heard are the first that somebody should know of
		heard := slices.ContainsFunc(members, func(o peersync.Peer) bool { return o.Host == host })
		if host != p.a.c.NodeName && !heard {
			count[p.peer(f, &peersync.Peer{Host: host, Unknown: true})]++
		}
	}
	for _, state := range peerStates() {
		f.gauge("peers", "Other hosts of the cluster by how they are doing.", float64(count[state]), "state", state)
	}
	if !agree {
		since = time.Time{}
	}
	f.gauge("sync_agree", "1 while all hosts that are alive have the same state.", truth(agree))
	f.gauge("sync_agree_since_timestamp_seconds", "Since when they have; 0: they have not, or there are none.", timestamp(since))
	f.gauge("sync_problems", "Things that do not go by themselves, see psctl status.", float64(len(st.Problems)))
	p.ofSync(f, &st.Counts)
	f.counter("clock_skewed_total", "Commits of other hosts that were stamped further ahead of this host's clock than --max-clock-skew.",
		float64(p.a.ledger.Stats().Skewed.Load()))
	m := p.a.cluster.mesh.Stats()
	f.counter("mesh_dropped_total", "Messages that came faster than they could be taken; they are asked for again.", float64(m.Dropped))
	f.counter("mesh_losses_total", "Routes to other hosts that were lost.", float64(m.Losses))
	for why, n := range m.Refused {
		f.counter("mesh_refused_total", "Connections to the cluster port that were turned away, by why.", float64(n), "why", why)
	}
	f.counter("authority_refused_total", "Hosts whose token or certificate was turned away.", float64(p.a.cluster.member.Refused()))
	f.gauge("certificate_expires_timestamp_seconds", "When the first of the certificates ends that this host lives by.",
		timestamp(p.a.cluster.member.Expires()))
}

func (p *peers) ofSync(f figures, c *peersync.Counts) {
	for what, n := range map[string]uint64{"published": c.Published, "received": c.Taken, "fetched": c.Fetched, "duplicate": c.Known, "served": c.Served} {
		f.counter("sync_events_total", "Events that were carried between hosts. The fetched are those of the received that were asked for.", float64(n), "what", what)
	}
	for what, n := range map[string]uint64{"gap": c.Gaps, "astray": c.Astray, "unreadable": c.Unreadable, "lost_ask": c.Lost,
		"fork": c.Forks, "transfer": c.Transfers, "unequal": c.Unequal, "finding": c.Findings} {
		f.counter("sync_incidents_total", "What had to be made good: gaps, commits off the chain, what could not be read, forks, states taken over, logs that were not what they had been.",
			float64(n), "what", what)
	}
	f.counter("sync_asks_total", "Asks for commits that were lacked.", float64(c.Asked))
	f.counter("sync_bytes_total", "Bytes of sync's messages.", float64(c.BytesIn), "direction", "in")
	f.counter("sync_bytes_total", "Bytes of sync's messages.", float64(c.BytesOut), "direction", "out")
}

// peer sends what there is to say of one host, and returns its state. What is not known is not sent: a figure of 0 would say that all is
// well.
func (p *peers) peer(f figures, o *peersync.Peer) string {
	gauge := func(name, help string, value float64) { f.gauge(name, help, value, "peer", o.Host) }
	gauge("peer_up", "1 while the host is heard.", truth(o.Alive))
	state := p.state(o)
	for _, s := range peerStates() {
		f.gauge("peer_state", "1 for how the host is doing: of those that are not heard, stopped ones mean to come back, and down ones somebody gave their word for.",
			truth(s == state), "peer", o.Host, "state", s)
	}
	if !o.Heard.IsZero() {
		gauge("peer_heard_seconds", "Seconds since its newest beat was heard by anybody whom this host hears.", time.Since(o.Heard).Seconds())
	}
	if !o.Unknown {
		gauge("peer_behind_events", "Events that it lacks and this host has.", float64(o.Behind))
		gauge("peer_behind_seconds", "For how long it has lacked them.", o.For.Seconds())
	}
	gauge("peer_lacked_events", "Its own events that have not come here.", float64(o.Lacked))
	lacked := 0.0
	if o.Alive && !o.Ahead.IsZero() {
		lacked = time.Since(o.Ahead).Seconds()
	}
	gauge("peer_lacked_seconds", "For how long it has had something that has not come here, while it is heard.", lacked)
	if o.Alive && o.RTT > 0 {
		gauge("peer_clock_offset_seconds", "Its clock less this host's.", o.Offset.Seconds())
		gauge("peer_round_trip_seconds", "Time of a message there and back.", o.RTT.Seconds())
	}
	var agrees time.Time // what it had when it was heard is no word on what it has now
	if o.Alive {
		agrees = o.Agrees
	}
	gauge("peer_agrees", "1 while it has the same state.", truth(!agrees.IsZero()))
	gauge("peer_agrees_since_timestamp_seconds", "Since when it has; 0: it has not, or that is not known.", timestamp(agrees))
	gauge("peer_differs", "1 while it has the same commits and another state, which should never be.", truth(o.Alive && o.Differs))
	return state
}

// state is how a host is doing.
func (p *peers) state(o *peersync.Peer) string {
	said, _ := projection.Read[projection.Host](p.a.ledger.View().State, projection.HostKey(o.Host))
	switch {
	case o.Alive && o.ReadOnly:
		return "read_only"
	case o.Alive && o.Starting:
		return "recovering"
	case o.Alive:
		return "alive"
	case !slices.Contains(p.a.awaited([]peersync.Peer{*o}), o.Host) && slices.Contains(p.a.known(), o.Host):
		return "down"
	case !said.Left.IsZero():
		return "stopped"
	}
	return "silent"
}
