package sync

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// sendBeat says to all how far this host has come.
func (c *core) sendBeat() {
	s := c.ledger.View().OnDisk()
	vector := markOf(s.Vector())
	// It is worth the trouble once the vector has stood for a beat; and now and then while it does not, so that hosts which differ find that out
	// under load as well.
	if !c.now.Before(c.digestAt) && (vector == c.last || c.now.Sub(c.digestedAt) >= c.every.sync) {
		c.digest(vector, s)
	}
	c.last, c.beatAt = vector, c.now
	c.pulse.say(c.own(), c.now, c.publishBeat)
}

// own is what a beat has to say of this host.
func (c *core) own() beat {
	s := c.ledger.View().OnDisk()
	inc := c.log.Incarnation()
	head := s.Head(inc)
	b := beat{Inc: inc, Seq: head.Seq, Hash: head.Hash, Vector: markOf(s.Vector()), Began: c.began, Boot: c.boot, Started: c.started, Up: c.now.Sub(c.born).Milliseconds()}
	b.Starting, b.ReadOnly = c.ready()
	b.Digest = c.digests[b.Vector]
	all := c.sorted()
	for _, p := range all {
		if c.alive(p) {
			b.Hears = append(b.Hears, p.name)
			if c.late(p) {
				b.Waits = append(b.Waits, p.name)
			}
		}
	}
	b.Told = c.tell(all)
	return b
}

func (c *core) publishBeat(b *beat) { c.out.publish(c.subject.beat(c.node), headed(b, nil)) }

// tell gives the newest beats of the hosts that are heard, by this one or by others, to those who hear this one and do not hear
// them: so one broken link makes nobody silent. Where all hear all, there is nothing to tell.
func (c *core) tell(all []*peer) map[string]uint64 {
	lacked, unsure := map[string]bool{}, false
	for _, p := range all {
		switch {
		case c.late(p):
			unsure = unsure || c.now.Sub(p.heard) < c.every.silence // it may hear this one; whom else, is not known any longer
		case slices.Contains(p.Hears, c.node):
			p.lacks(all, lacked)
		}
	}
	told := map[string]uint64{}
	for _, o := range all {
		if (unsure || lacked[o.name]) && c.now.Sub(o.heard) < c.every.silence || c.now.Sub(o.behind) < c.every.silence {
			told[o.name] = o.number
		}
	}
	return told
}

// lacks adds whom of all the host does not hear, by its own word, or begins to miss.
func (p *peer) lacks(all []*peer, lacked map[string]bool) {
	heard := p.Hears
	for _, o := range all {
		for len(heard) > 0 && heard[0] < o.name {
			heard = heard[1:]
		}
		if o != p && (len(heard) == 0 || heard[0] != o.name) {
			lacked[o.name] = true
		}
	}
	for _, name := range p.Waits {
		lacked[name] = true
	}
}

// late reports whether a beat of the peer is overdue.
func (c *core) late(p *peer) bool { return c.now.Sub(p.direct) >= c.every.late() }

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// soon has the next beat come at once, unless one has just been said.
func (c *core) soon() {
	if at := c.beatAt.Add(c.every.beat / 4); at.Before(c.nextBeat) {
		c.nextBeat = at
	}
}

// overdue has a beat say at once whose beats do not come as they should: so others that hear them tell of them before that is
// taken for silence.
func (c *core) overdue() {
	for _, p := range c.peers {
		if late := c.alive(p) && c.late(p); late != p.overdue {
			if p.overdue = late; late {
				c.soon()
			}
		}
	}
}

// call asks the hosts that are silent for a beat. As long as they are out of reach that goes nowhere, and costs nothing; and once they are not, two
// halves hear each other at once, though none in them was alone.
func (c *core) call() {
	for _, p := range c.sorted() {
		if !c.alive(p) && !p.direct.IsZero() {
			c.question(p.name, &ask{Ask: askBeat})
		}
	}
}

// greet says all of a beat to one host, which may have missed something, and asks once it hears how far others are.
func (c *core) greet(node string) { c.question(node, &ask{Ask: askHello, Beat: c.pulse.once(c.own())}) }

// digest finds out the state's digest, once for each vector.
func (c *core) digest(m mark, s *projection.State) {
	if _, ok := c.digests[m]; ok {
		return
	}
	c.digested = slices.DeleteFunc(c.digested, func(o mark) bool { return o == m })
	if len(c.digested) >= 100 {
		delete(c.digests, c.digested[0])
		c.digested = c.digested[1:]
	}
	c.digests[m], c.digestedAt = s.Digest()[:16], c.now
	c.digestAt = c.now.Add(time.Duration(s.Len()) * 100 * time.Microsecond) // it takes a hundredth of that
	c.digested = append(c.digested, m)
}

// digestOf is the digest of the state that this host had at a vector: found out now, if it is remembered how that was.
func (c *core) digestOf(m mark) (digest string, ok bool) {
	if digest, ok = c.digests[m]; ok || c.now.Before(c.digestAt) {
		return digest, ok
	}
	had, known := c.seen.at[m]
	if !known {
		return "", false
	}
	v := c.ledger.View()
	s := v.State
	if steps, ok := v.Since(had.index); !ok {
		return "", false
	} else if len(steps) > 0 {
		s = steps[0].Before
	}
	if markOf(s.Vector()) != m {
		return "", false
	}
	c.digest(m, s)
	return c.digests[m], true
}

// onBeat takes what a host says of itself.
func (c *core) onBeat(node string, data []byte) {
	var b beat
	if err := unmarshal(data, &b); err != nil {
		c.counts.Unreadable++
		return
	}
	c.heed(node, b)
}

// heed takes a beat, by whichever way it came.
func (c *core) heed(node string, b beat) {
	if node == "" || c.peers[node] == nil && len(c.peers) >= peersMost {
		c.counts.Unreadable++
		return
	}
	if b.As > 0 {
		p := c.peers[node]
		if p == nil || p.whole.Number != b.Number-b.As { // nor is it known of another agent of this host's own name
			c.question(node, &ask{Ask: askBeat})
			return
		}
		b = b.filled(p.whole)
		b.Up += c.now.Sub(p.wholeAt).Milliseconds()
	}
	if node == c.node {
		c.second(&b)
		return
	}
	if b.Inc == c.log.Incarnation() {
		c.question(node, &ask{Ask: askCopy, Inc: b.Inc}) // it may never hear it from this host, which is about to change it
		c.copied(node)
	}
	p := c.peer(node)
	if p.passed(&b) {
		return
	}
	if b.As == 0 {
		slices.Sort(b.Hears)
		p.whole, p.wholeAt = b, c.now
	}
	anew := !c.alive(p)
	if p.Boot != b.Boot {
		if b.Boot == p.other.Boot && c.now.Sub(p.otherAt) < c.every.silence {
			c.twins(p, &b)
		} else {
			c.solved("twins " + node)
		}
		p.other, p.otherAt = p.beat, p.direct
		p.folded, p.strange, p.strayed, p.rest = false, 0, time.Time{}, nil
		c.stash.forget(b.Inc) // its disk may have been put back, and what it said is no longer so
	}
	if p.ReadOnly && !b.ReadOnly { // what it had heard meanwhile, and claimed nothing of, is on its disk now
		p.folded = false
	}
	p.beat, p.number, p.direct, p.heard = b, max(p.number, b.Number), c.now, c.now
	if anew {
		c.say.Info("a host is heard", "peer", node)
		p.since, p.folded = c.now, false
		c.greet(node)
	}
	c.claim(p)
	if slices.ContainsFunc(b.Waits, func(name string) bool { o := c.peers[name]; return o != nil && !c.late(o) }) {
		c.soon()
	}
	for _, name := range b.Hears {
		// It heard that one since its beats are not overdue there: so nobody takes it for silent who was cut off from both and hears but
		// this one yet. That is never later than its newest beat was, so silence is not stretched by it.
		if o := c.peers[name]; o != nil && o != p && !slices.Contains(b.Waits, name) {
			o.heard = latest(o.heard, c.now.Add(-c.every.late()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Told)) {
		c.told(name, b.Told[name])
	}
	c.compare(p)
}

// passed reports whether a later beat of the same agent has been heard: what this one says is no longer so. A hello comes by another way than the beats
// to all, and may be passed by one of them. The beats of another start have numbers of their own, as when the clock was set back between the two.
func (p *peer) passed(b *beat) bool {
	return !p.direct.IsZero() && b.Boot == p.Boot && b.Number <= p.beat.Number
}

// told learns of a beat of a host from another that knows of it.
func (c *core) told(name string, number uint64) {
	switch {
	case name == c.node:
		// Those who know of that one, as when this host's clock was set back between two starts, and hear it only through others, would
		// take it for silent.
		c.pulse.pass(number)
		return
	case name == "" || c.peers[name] == nil && len(c.peers) >= peersMost:
		return
	}
	switch p := c.peer(name); {
	case number > p.number: // else it is of a beat that is known
		p.number, p.heard = number, c.now
	case number < p.number && c.now.Sub(p.heard) >= c.every.silence:
		p.behind = c.now
	}
}

// peersMost bounds of how many hosts is kept what they say.
const peersMost = 4096

func (c *core) peer(name string) *peer {
	p := c.peers[name]
	if p == nil {
		p = &peer{name: name}
		c.peers[name] = p
	}
	return p
}

// compare finds out from a beat whether the host has something that is lacked here, and whether it agrees.
func (c *core) compare(p *peer) {
	s := c.ledger.View().State
	had, known := c.seen.at[p.Vector]
	switch {
	case known && !had.lacks:
		p.strayed = time.Time{}
	case p.strayed.IsZero():
		p.strayed = c.now
	}
	if known {
		p.strange, p.folded = 0, true
	} else if p.strange++; p.strange >= 2 || !p.folded || p.Seq > s.Head(p.Inc).Seq {
		c.want[p.name] = true
	}
	mine, ok := "", false
	if p.Digest != "" {
		mine, ok = c.digestOf(p.Vector)
	}
	differs := ok && p.Digest != mine
	if differs {
		if !p.differs {
			c.counts.Unequal++
			c.say.Error("the state of a host differs with the same commits folded: both fold them anew", "peer", p.name, "vector", p.Vector)
		}
		// If that does not help, as between agents that fold differently, it must not fill both disks.
		if c.now.Sub(p.joined) >= p.wait {
			p.joined, p.wait = c.now, min(max(2*p.wait, c.every.sync), time.Hour)
			c.even(p)
		}
	}
	if p.differs = differs; !differs {
		p.parts = ""
	}
	switch {
	case differs || p.Vector != markOf(s.Vector()):
		p.agrees = time.Time{}
	case p.agrees.IsZero() && ok: // from when it is known
		p.agrees, p.wait = c.now, 0
	}
}

// twins tells two agents of one name of each other: they have no route to each other, and perhaps know of none. The one
// that has been up for less long ends.
func (c *core) twins(p *peer, b *beat) {
	c.problem("twins "+p.name, "two agents are called "+p.name, "stop the one that should not be, or give it another --node-name")
	elder := b
	if p.beat.Up > b.Up {
		elder = &p.beat
	}
	c.question(p.name, &ask{Ask: askTwin, Beat: elder})
}

var errSecond = errors.New("another agent of this name is alive")

// second finds out that another agent has this host's name. The one that has been up for less long ends: that is measured
// by each on its own, whatever the clocks say.
func (c *core) second(b *beat) {
	if b.Boot == c.boot {
		return
	}
	started := time.UnixMilli(b.Started).UTC()
	c.say.Error("another agent has this host's name: one of the two must be given another (--node-name), or be stopped", "started", started)
	if c.now.Sub(c.clashed) > 2*c.every.silence {
		c.clash = 0
	}
	c.clashed = c.now
	older := time.Duration(b.Up)*time.Millisecond - c.now.Sub(c.born)
	if older > time.Second || older > -time.Second && b.Boot < c.boot {
		if c.clash++; c.clash >= 2 {
			c.fatal = fmt.Errorf("%w: %s, started at %s; give this host another name (--node-name)", errSecond, c.node, started.Format(time.RFC3339))
		}
	}
}
