package sync

import (
	"bytes"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// transfer is a state on its way from one host to another, in pieces.
type transfer struct {
	peer  string
	whole uint64 // names it
	state []byte // so far; where it is served, all of it
	size  int
	cause string
	yield *point // from here on, what is held here of an incarnation is given up for what the other holds
	even  bool   // it is asked for since it differs, not for commits that are lacked
	keep  bool   // and only to say in what: what is held here is what the log says
	id    uint64
	until time.Time
}

// statePiece is how much of a state is sent at once.
const statePiece = 384 << 10

// stateMost bounds what is taken over: a log takes no more in one record.
const stateMost = 1 << 30

// wantState asks a host for its whole state.
func (c *core) wantState(p *peer, cause string) {
	if c.transfer != nil || !c.alive(p) {
		return
	}
	c.say.Info("a host is asked for its state", "peer", p.name, "cause", cause)
	c.transfer = &transfer{peer: p.name, cause: cause}
	c.askState()
}

func (c *core) askState() {
	t := c.transfer
	t.id = c.question(t.peer, &ask{Ask: askState, Whole: t.whole, Offset: len(t.state)})
	t.until = c.now.Add(c.every.answer)
}

// onState takes a piece of a state, and the whole once it is there.
func (c *core) onState(a *answer) {
	t := c.transfer
	if t == nil || t.id != a.ID || t.peer != a.From {
		return
	}
	if a.Whole == 0 || t.whole != 0 && a.Whole != t.whole || a.Offset != len(t.state) || len(a.body) == 0 || a.Size > stateMost {
		c.transfer = nil // the other has forgotten it; it is asked again in time
		return
	}
	c.counts.Pieces++
	t.whole, t.size = a.Whole, a.Size
	if t.state = append(t.state, a.body...); len(t.state) < t.size {
		c.askState()
		return
	}
	c.transfer = nil
	s, err := projection.DecodeState(bytes.NewReader(t.state))
	if p := c.peers[t.peer]; err == nil && p != nil && p.differs {
		if p.parts, _ = s.Differs(c.ledger.View().State); p.parts != "" {
			c.say.Error("the first object that differs", "peer", p.name, "key", p.parts)
		}
	}
	if err == nil && t.keep {
		return
	}
	if err == nil && t.even {
		if _, known := c.seen.at[markOf(s.Vector())]; !known {
			c.want[t.peer] = true // its log tells what came since, and this host's is to hold all of its state
			return
		}
	}
	c.jumps++
	switch {
	case err != nil:
	case t.yield != nil:
		err = c.ledger.Yield(c.ctx, t.yield.Inc, t.yield.Seq, s, t.cause)
	default:
		err = c.ledger.Join(c.ctx, s, t.cause)
	}
	if err != nil {
		c.counts.Unreadable++
		c.say.Error("the state of a host cannot be taken over", "peer", t.peer, "err", err)
		c.paused = c.now.Add(c.every.sync)
		return
	}
	c.counts.Transfers++
	delete(c.digests, markOf(c.ledger.View().Vector())) // it may be another state with the same vector
	c.stash.prune(c.ledger.View().State)
	c.want[t.peer] = true
}

// serveState gives a piece of this host's state. What is given stays the same from piece to piece.
func (c *core) serveState(q *ask) *answer {
	t := c.serving
	if q.Offset == 0 && (t == nil || t.peer == q.From || !c.now.Before(t.until)) {
		var b bytes.Buffer
		if err := c.ledger.View().OnDisk().Encode(&b); err != nil {
			c.say.Error("the state cannot be given to another host", "err", err)
			return nil
		}
		c.asked++
		t = &transfer{peer: q.From, whole: c.asked, state: b.Bytes()}
		c.serving = t
	}
	a := &answer{Answer: askState}
	if t == nil || t.peer != q.From || q.Offset < 0 || q.Offset > 0 && t.whole != q.Whole || q.Offset >= len(t.state) {
		return a // as it is, it says that there is none
	}
	t.until = c.now.Add(2 * c.every.answer)
	a.Whole, a.Size, a.Offset = t.whole, len(t.state), q.Offset
	a.body = slices.Clone(t.state[q.Offset:min(len(t.state), q.Offset+statePiece)])
	if q.Offset+len(a.body) == len(t.state) {
		c.serving = nil
	}
	return a
}
