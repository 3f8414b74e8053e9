package sync

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// errEnough ends the reading of a log.
var errEnough = errors.New("enough")

// search looks for the place where two chains of one incarnation part.
type search struct {
	peer   string
	id     uint64
	inc    events.Incarnation
	common uint64  // up to here they agree
	floor  point   // what the own log holds is what follows upon this: before it, nothing can be compared
	points []point // on the own chain, after common: what was asked about
	until  time.Time
}

// samples is how many points of a chain are asked about at once.
const samples = 200

// suspect begins to find out where a host's commits of an incarnation are others than those held here. Two hosts may have
// written under one incarnation: a copied disk, or one that was put back to what it once was.
func (c *core) suspect(peer string, inc events.Incarnation) {
	p := c.peers[peer]
	if p == nil || c.search != nil || !c.alive(p) {
		return
	}
	head := c.ledger.View().Head(inc)
	if at, ok := c.settled[point{inc, head.Seq, head.Hash}]; ok && c.now.Sub(at) < c.every.sync {
		c.question(peer, &ask{Ask: askLook, Inc: inc}) // this host's chain is known to be the one that stands: the other has to find that out
		return
	}
	c.search = &search{peer: peer, inc: inc, floor: c.floor(inc)}
	c.askChain()
}

// unsettle has this host look itself at what another holds of an incarnation, though it has found before that its own chain stands: the other's may be a third
// one by now, as when its disk was put back once more. If each held its own for settled and told the other to look, neither ever would, and the two would do
// nothing but tell each other.
func (c *core) unsettle(inc events.Incarnation) {
	head := c.ledger.View().Head(inc)
	delete(c.settled, point{inc, head.Seq, head.Hash})
}

// copied ends it that a host of another name counts its events under this host's incarnation: one of the disks is a copy of
// the other, as when a machine was cloned. Each that finds out counts anew, before two commits have one number.
func (c *core) copied(node string) {
	inc := c.log.Incarnation()
	if err := c.ledger.Renew(c.ctx); err != nil {
		c.problem("copied", "the disk of this host is a copy of that of host "+node+", or the other way round, and its events cannot be counted anew: "+err.Error(),
			"stop the agent of one of the two")
		return
	}
	if c.solved("copied"); inc != c.log.Incarnation() {
		c.say.Warn("the disk of this host is a copy of another's, or the other way round: this host counts its events anew",
			"peer", node, "was", inc, "incarnation", c.log.Incarnation())
	}
}

// askChain asks about points of the own chain after what is known to be common, all of them if they are not too many.
func (c *core) askChain() {
	s := c.search
	own, whole := c.chain(s.inc, max(s.common, s.floor.Seq))
	if !whole {
		if c.search = nil; c.floor(s.inc) == s.floor { // else the log was trimmed since the search began, which begins again from where it is now
			c.lostFork(s)
		}
		return
	}
	if s.common < s.floor.Seq {
		own = append([]point{s.floor}, own...)
	}
	if len(own) == 0 {
		c.search = nil // nothing is held after it: then it is only behind
		c.wants(s.peer)
		return
	}
	step := (len(own) + samples - 1) / samples
	s.points = s.points[:0]
	for i := 0; i < len(own); i += step {
		s.points = append(s.points, own[i])
	}
	q := ask{Ask: askChain, Inc: s.inc, Points: s.points}
	if s.common > 0 {
		q.Have = []point{{s.inc, s.common, events.Hash{}}}
	}
	s.id = c.question(s.peer, &q)
	s.until = c.now.Add(c.every.answer)
}

// lostFork tells of a fork whose beginning one of the two logs does not hold any more.
func (c *core) lostFork(s *search) {
	which := "of the two whose disk was put back or copied"
	if slices.ContainsFunc(c.findings, func(f Finding) bool { return f.Host == s.peer && f.Inc == s.inc && f.Cut() }) {
		which = s.peer + ", whose disk was put back"
	}
	c.problem("fork "+s.inc.String(), fmt.Sprintf("hosts %s and %s hold different commits of incarnation %v, and where they part was trimmed from a log, or cannot be read",
		c.node, s.peer, s.inc), "stop the agent of the host "+which+
		", move its events folder aside and start it: the others tell it their state; "+aside)
}

// aside is what a person has to know who moves an events folder.
const aside = "what it alone recorded is in that folder, apply that again"

// chain is what this host holds of an incarnation after an event: the last event of each commit, and its hash. It is not
// whole when the log does not hold all of it, or holds other commits in its place, which were given up for a state.
func (c *core) chain(inc events.Incarnation, after uint64) (all []point, whole bool) {
	head := c.ledger.View().OnDisk().Head(inc) // before the log is read, which may have more by then
	gone, err := c.log.Missing(c.ctx, only(inc, after), 0, func(r events.Record) error {
		all = append(all, point{inc, r.Seq + uint64(r.Count) - 1, r.Hash})
		return nil
	})
	if err != nil {
		c.say.Warn("the own log cannot be read", "err", err)
	}
	return all, err == nil && len(gone) == 0 && (head.Seq <= after || slices.Contains(all, point(head)))
}

// floor is the event upon which follows what this host's log holds of an incarnation; the beginning, where it holds all.
func (c *core) floor(inc events.Incarnation) point {
	at := point{Inc: inc, Seq: c.log.Floor(inc)}
	if head := c.ledger.View().OnDisk().Head(inc); at.Seq >= head.Seq {
		return point{inc, head.Seq, head.Hash}
	}
	_, err := c.log.Missing(c.ctx, only(inc, at.Seq), 0, func(r events.Record) error {
		next, err := events.ParseCommit(r.Payload)
		if err == nil && next.Seq == at.Seq+1 {
			at.Hash = next.Prev
		}
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		c.say.Warn("the own log cannot be read", "err", err)
	}
	return at
}

// passes reports whether the own chain goes through a point.
func (c *core) passes(p *point) bool {
	on, _ := c.onChainOf(p) // what cannot be read may be
	return on && p.Seq <= c.ledger.View().OnDisk().Head(p.Inc).Seq
}

// only is having everything, but of one incarnation nothing after an event.
func only(inc events.Incarnation, after uint64) func(events.Incarnation) uint64 {
	return func(i events.Incarnation) uint64 {
		if i == inc {
			return after
		}
		return 1<<64 - 1
	}
}

// onChain is told up to which point the other agrees, and what it holds next.
func (c *core) onChain(a *answer) {
	s := c.search
	if s == nil || s.id != a.ID || s.peer != a.From || s.inc != a.Inc {
		return
	}
	if len(a.Gone) > 0 && a.Floor != nil && a.Floor.Inc == s.inc && a.Floor.Seq > max(s.common, s.floor.Seq) && c.passes(a.Floor) {
		s.common = a.Floor.Seq // there the other can begin
		c.askChain()
		return
	}
	if a.Common < max(s.common, s.floor.Seq) || len(a.Gone) > 0 {
		c.search = nil
		c.lostFork(s)
		return
	}
	s.common = a.Common
	own, _ := c.chain(s.inc, s.common)
	if i := slices.IndexFunc(s.points, func(p point) bool { return p.Seq > s.common }); len(own) > 0 && i >= 0 && s.points[i] != own[0] {
		c.askChain() // the points were too far from each other
		return
	}
	c.search = nil
	theirs, err := events.ParseCommit(a.body)
	switch {
	case len(own) == 0:
		c.wants(a.From) // this host is only behind
	case len(a.body) == 0:
		// The other is only behind.
	case err != nil || theirs.Inc != s.inc || theirs.Seq != s.common+1:
		c.counts.Unreadable++
	default:
		c.part(s, own[0].Hash, events.HashOf(a.body))
	}
}

// part ends a fork. All hosts that know of both chains decide alike, each by itself: the commit with the smaller hash
// stands, and what follows on it.
func (c *core) part(s *search, own, theirs events.Hash) {
	head := c.ledger.View().Head(s.inc)
	if own != theirs {
		c.find(Finding{Host: s.peer, Inc: s.inc, First: s.common + 1})
	}
	if c.ledger.View().Forgone(s.inc, theirs) {
		c.settled[point{s.inc, head.Seq, head.Hash}] = c.now // the other is about to hear of that, and gives it up
		return
	}
	switch bytes.Compare(own[:], theirs[:]) {
	case 0:
		return
	case -1:
		c.settled[point{s.inc, head.Seq, head.Hash}] = c.now
		c.question(s.peer, &ask{Ask: askLook, Inc: s.inc}) // one that is further ahead cannot see it from what this host has
		c.say.Warn("two hosts have written under one incarnation: a copied disk, or one put back to an earlier state; what this host holds stands, the other records its own again",
			"incarnation", s.inc, "after", s.common, "peer", s.peer)
		c.countAnew(s.inc)
		return
	}
	c.counts.Forks++
	cause := fmt.Sprintf("two hosts have written under incarnation %v after event %d: what stands is with host %s", s.inc, s.common, s.peer)
	c.say.Warn("two hosts have written under one incarnation: a copied disk, or one put back to an earlier state; what this host holds is recorded again under another, and nothing is lost",
		"incarnation", s.inc, "after", s.common, "events", head.Seq-s.common, "peer", s.peer)
	c.jumps++
	err := c.ledger.GiveUp(c.ctx, s.inc, s.common, cause)
	if errors.Is(err, projection.ErrEntangled) { // then by way of the other's state
		if p := c.peers[s.peer]; p != nil {
			if c.wantState(p, cause); c.transfer != nil && c.transfer.peer == s.peer {
				c.transfer.yield = &point{Inc: s.inc, Seq: s.common}
			}
		}
		return
	}
	if err != nil {
		c.unended("fork "+s.inc.String(), s.inc, err)
		return
	}
	c.solved("fork " + s.inc.String())
	c.gaveUp()
	c.want[s.peer] = true
}

// gaveUp has all hosts be asked for what is lacked now: of what they have was found before that nothing of it is.
func (c *core) gaveUp() {
	c.seen, c.lateSaid = vectors{}, true
	c.misses++
	if c.pull != nil {
		c.pull.spared = true
	}
}

// countAnew has this host not go on under an incarnation of its own that was forked, though its commits stand: of the numbers to
// come, others may have said what they mean to say of the commits that are given up.
func (c *core) countAnew(inc events.Incarnation) {
	if inc != c.log.Incarnation() {
		return
	}
	if err := c.ledger.Renew(c.ctx); err != nil {
		c.say.Warn("this host's events cannot be counted anew", "incarnation", inc, "err", err)
	}
}

// even ends it that a host has another state of the same commits. Where one number has meant two commits for a while, what is folded depends on
// the order in which they came: each folds anew what its log holds, in the same order. Only if the log does not hold all, or not whole, what the other has is
// taken over: what is absent there has ended by then, and a state that is what the log says must not lose an object by that.
func (c *core) even(p *peer) {
	cause := "host " + p.name + " had another state with the same commits"
	changed, err := c.ledger.Refold(c.ctx, cause)
	var damage *events.CorruptError
	if errors.As(err, &damage) {
		c.damaged(damage)
	}
	switch {
	case err != nil && damage == nil && !errors.Is(err, projection.ErrEntangled):
		c.say.Error("the own commits cannot be folded anew", "err", err)
	case changed:
		delete(c.digests, markOf(c.ledger.View().Vector())) // it was that of another state
	case (err == nil || damage != nil) && p.wait <= 2*c.every.sync: // the other has yet to do the same
	case c.transfer == nil && (err != nil || p.parts == ""):
		if c.wantState(p, cause); c.transfer != nil {
			c.transfer.even, c.transfer.keep = true, err == nil
		}
	}
}
