package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// peers collects what there is to say of the other hosts, all at one moment.
type peers struct{ a *agent }

// Describe sends nothing: the labels of what Collect sends are not known before.
func (p *peers) Describe(chan<- *prometheus.Desc) {}

// Collect sends how the other hosts are heard, and what sync has done.
func (p *peers) Collect(out chan<- prometheus.Metric) {
	send := sending(out)
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	st, _ := p.a.cluster.sync.Status()
	agree := true
	members := p.a.members(st)
	for i := range members {
		o := &members[i]
		p.peer(o, func(name, help string, value float64) { send(gauge, name, help, value, "peer", o.Host) })
		agree = agree && (!o.Alive || !o.Agrees.IsZero())
	}
	send(gauge, "sync_agree", "1 while all hosts that are alive have the same state.", truth(agree))
	send(gauge, "sync_problems", "Things that do not go by themselves, see psctl status.", float64(len(st.Problems)))
	c := st.Counts
	for name, n := range map[string]uint64{"published": c.Published, "received": c.Taken, "duplicate": c.Known, "served": c.Served} {
		send(counter, "sync_events_total", "Events that were carried between hosts.", float64(n), "what", name)
	}
	for name, n := range map[string]uint64{"gap": c.Gaps, "astray": c.Astray, "unreadable": c.Unreadable, "lost_ask": c.Lost,
		"fork": c.Forks, "transfer": c.Transfers, "unequal": c.Unequal, "finding": c.Findings} {
		send(counter, "sync_incidents_total", "What had to be made good: gaps, commits off the chain, what could not be read, forks, states taken over, logs that were not what they had been.",
			float64(n), "what", name)
	}
	send(counter, "sync_asks_total", "Asks for commits that were lacked.", float64(c.Asked))
	send(counter, "sync_bytes_total", "Bytes of sync's messages.", float64(c.BytesIn), "direction", "in")
	send(counter, "sync_bytes_total", "Bytes of sync's messages.", float64(c.BytesOut), "direction", "out")
	send(counter, "clock_skewed_total", "Commits of other hosts that were stamped further ahead of this host's clock than --max-clock-skew.",
		float64(p.a.ledger.Stats().Skewed.Load()))
	m := p.a.cluster.mesh.Stats()
	send(counter, "mesh_dropped_total", "Messages that came faster than they could be taken; they are asked for again.", float64(m.Dropped))
	send(counter, "mesh_losses_total", "Routes to other hosts that were lost.", float64(m.Losses))
	send(counter, "mesh_refused_total", "Connections that were turned away.", float64(p.a.cluster.member.Refused()))
	send(gauge, "certificate_expires_timestamp_seconds", "When the first of the certificates ends that this host lives by.",
		float64(p.a.cluster.member.Expires().Unix()))
}

func (p *peers) peer(o *peersync.Peer, send func(name, help string, value float64)) {
	up := 0.0
	if o.Alive {
		up = 1
	}
	send("peer_up", "1 while the host is heard.", up)
	send("peer_heard_seconds", "Seconds since its newest beat was heard by anybody whom this host hears.", time.Since(o.Heard).Seconds())
	send("peer_behind_events", "Events that it lacks and this host has.", float64(o.Behind))
	send("peer_lacked_events", "Its own events that have not come here.", float64(o.Lacked))
	send("peer_behind_seconds", "For how long it has lacked them.", o.For.Seconds())
	send("peer_clock_offset_seconds", "Its clock less this host's.", o.Offset.Seconds())
	send("peer_round_trip_seconds", "Time of a message there and back.", o.RTT.Seconds())
	agrees := 0.0
	if !o.Agrees.IsZero() {
		agrees = 1
	}
	send("peer_agrees", "1 while it has the same state.", agrees)
}
