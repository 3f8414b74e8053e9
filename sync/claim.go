package sync

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// Claim is how far a host has said, by its beats, to have one incarnation on its disk under which it counts its events. What is remembered of
// that proves later that something was taken away.
type Claim struct {
	Host string             `json:"host"`
	Inc  events.Incarnation `json:"incarnation"`
	Seq  uint64             `json:"seq"`
	Hash events.Hash        `json:"hash,omitzero"` // zero: an agent of before did not say
	Boot uint64             `json:"boot"`          // which start of the agent said so
	At   time.Time          `json:"at"`            // when, by this host's clock
}

// claimsMost bounds how many incarnations of one host are remembered.
const claimsMost = 8

// Finding is that the log of a host is not what it was.
type Finding struct {
	Host  string             // whose log
	Inc   events.Incarnation // in which incarnation's events
	First uint64             // the first that is missing, or another
	// Had is the last event that the host once said to have on its disk, Has the last that it had on its disk when it was found; both zero
	// where it has not less, but other events than this host.
	Had, Has uint64
	At       time.Time
}

// Cut reports whether events are missing; else they are others.
func (f *Finding) Cut() bool { return f.Had > f.Has }

// findingsMost bounds how many findings are remembered, and so how often one is told of that comes back.
const findingsMost = 64

// begun is where this host's own incarnation ended on its disk when the agent started: nobody but who touches the disk
// while no agent runs can have it end before what was claimed.
func begun(ledger Ledger, log Log) point {
	inc := log.Incarnation()
	if h := ledger.View().OnDisk().Head(inc); h.Seq > 0 {
		return point(h)
	}
	return point{Inc: inc}
}

// remember has the claims of before the start be known.
func (c *core) remember(all []Claim) {
	for _, k := range all {
		if k.Host != "" && k.Inc != 0 && len(c.claims[k.Host]) < claimsMost && len(c.claims) < peersMost {
			c.claims[k.Host] = append(c.claims[k.Host], k)
		}
	}
	c.claimed = nil
}

// claim takes what a host's beat says of its disk, and finds out whether it holds what an earlier agent there had. Beats may pass commits on the
// way, so what one agent says is not compared with itself: an agent that runs takes nothing back but in a fork.
func (c *core) claim(p *peer) {
	b := &p.beat
	if b.Inc == 0 {
		return
	}
	all := c.claims[p.name]
	i := slices.IndexFunc(all, func(k Claim) bool { return k.Inc == b.Began.Inc })
	if i >= 0 && all[i].Boot != b.Boot {
		k := &all[i]
		switch same := k.Hash == b.Began.Hash || unsaid(k.Hash) || unsaid(b.Began.Hash); {
		case b.Began.Seq < k.Seq:
			c.find(Finding{Host: p.name, Inc: k.Inc, First: b.Began.Seq + 1, Had: k.Seq, Has: b.Began.Seq})
		case b.Began.Seq == k.Seq && !same:
			c.find(Finding{Host: p.name, Inc: k.Inc, First: k.Seq})
		case b.Began.Seq >= k.Seq:
			c.unclaimed(p)
		}
		*k = Claim{p.name, k.Inc, b.Began.Seq, b.Began.Hash, b.Boot, c.now}
		c.claimed = nil
	}
	if i = slices.IndexFunc(all, func(k Claim) bool { return k.Inc == b.Inc }); i < 0 {
		if len(all) >= claimsMost {
			all = slices.Delete(slices.Clone(all), 0, 1)
		}
		c.claims[p.name], i = append(all, Claim{Host: p.name, Inc: b.Inc, Boot: b.Boot}), len(all)
		all = c.claims[p.name]
	}
	if k := &all[i]; b.Seq > k.Seq && k.Boot == b.Boot {
		*k = Claim{p.name, b.Inc, b.Seq, b.Hash, b.Boot, c.now}
		c.claimed = nil
	}
}

// unclaimed finds out whether a host whose agent has just started lacks commits of its own that this host holds, though no beat had told of them: what
// leaves a host was on its disk. Those are meant that both clocks say to be older than the agent, since what it has written itself may come before the
// first of its beats that is heard.
func (c *core) unclaimed(p *peer) {
	b := &p.beat
	if c.ledger.View().OnDisk().Head(b.Began.Inc).Seq <= b.Began.Seq {
		return
	}
	started, here := time.UnixMilli(b.Started), c.now.Add(-time.Duration(b.Up)*time.Millisecond-c.every.beat)
	had := b.Began.Seq
	_, err := c.log.Missing(c.ctx, only(b.Began.Inc, b.Began.Seq), 0, func(r events.Record) error {
		commit, err := events.ParseCommit(r.Payload)
		if err != nil || r.Seq != had+1 || !commit.Time.Wall().Before(started) || !r.At.Before(here) {
			return errEnough
		}
		had += uint64(r.Count)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		c.say.Warn("the own log cannot be read", "err", err)
	}
	if had > b.Began.Seq {
		c.find(Finding{Host: p.name, Inc: b.Began.Inc, First: b.Began.Seq + 1, Had: had, Has: b.Began.Seq})
	}
}

func unsaid(h events.Hash) bool { return h == events.Hash{} }

// lacks finds out from what a host asks for whether it has what an earlier agent there had of what is no longer its incarnation. Only what this host
// holds itself counts: what was given up since in a fork nobody has to have.
func (c *core) lacks(q *ask) {
	p := c.peers[q.From]
	if p == nil || p.Boot == 0 || q.Record > 0 {
		return
	}
	for i := range c.claims[q.From] {
		k := &c.claims[q.From][i]
		if k.Boot == p.Boot || k.Inc == p.Began.Inc {
			continue
		}
		var has uint64
		if n := slices.IndexFunc(q.Have, func(h point) bool { return h.Inc == k.Inc }); n >= 0 {
			has = q.Have[n].Seq
		}
		at := point{k.Inc, k.Seq, k.Hash}
		if has < k.Seq && k.Seq <= c.ledger.View().OnDisk().Head(k.Inc).Seq && (unsaid(k.Hash) || c.passes(&at)) {
			c.find(Finding{Host: q.From, Inc: k.Inc, First: has + 1, Had: k.Seq, Has: has})
		}
		k.Boot = p.Boot
		c.claimed = nil
	}
}

// find remembers a finding, and tells of it once.
func (c *core) find(f Finding) {
	f.At = c.now
	if slices.ContainsFunc(c.findings, func(o Finding) bool {
		return o.Host == f.Host && o.Inc == f.Inc && o.First == f.First && o.Cut() == f.Cut()
	}) {
		return
	}
	c.findings = slices.Clone(c.findings) // others read the one before
	if len(c.findings) >= findingsMost {
		c.findings = c.findings[1:]
	}
	c.findings = append(c.findings, f)
	c.counts.Findings++
	if f.Cut() {
		c.say.Error("the log of a host lacks events that were on its disk: the disk was put back to an earlier state, or begun anew, or the log was cut",
			"peer", f.Host, "incarnation", f.Inc, "first", f.First, "had", f.Had, "has", f.Has)
		return
	}
	c.say.Error("the log of a host holds other events than this host's: a copied disk, one that was put back, or a log that was written anew",
		"peer", f.Host, "incarnation", f.Inc, "first", f.First)
}

// claimsNow are all claims; they are not changed afterwards.
func (c *core) claimsNow() []Claim {
	if c.claimed == nil {
		c.claimed = []Claim{}
		for _, host := range slices.Sorted(maps.Keys(c.claims)) {
			c.claimed = append(c.claimed, c.claims[host]...)
		}
	}
	return c.claimed
}
