package sync

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// pageBytes is about how much is sent at once: enough that the way there and back does not matter, little enough that
// whoever else uses the link does not wait. In answer to an ask for commits it may be up to pageMost, if the other wants it.
const (
	pageBytes = 384 << 10
	pageMost  = 2 << 20
)

// unmarshal reads JSON of this package's own.
func unmarshal(b []byte, v any) error { return json.Unmarshal(b, v) }

// question sends an ask to one host and returns its id.
func (c *core) question(to string, q *ask) uint64 {
	c.asked++
	q.ID, q.From = c.asked, c.node
	if q.Ask == askHello {
		c.hello(to, q.ID)
	}
	c.out.publish(c.subject.host(to), headed(q, nil))
	return q.ID
}

// direct reads an ask or an answer; neither when there is none to be made of it.
func (c *core) direct(b []byte) (*ask, *answer) {
	if b == nil {
		return nil, nil // a part of a message whose others are still to come
	}
	head, body := unhead(b)
	var kind struct{ Ask, Answer string }
	if err := unmarshal(head, &kind); err != nil {
		c.counts.Unreadable++
		return nil, nil
	}
	if kind.Ask != "" {
		var q ask
		if err := unmarshal(head, &q); err != nil || q.From == "" {
			c.counts.Unreadable++
			return nil, nil
		}
		return &q, nil
	}
	a := answer{body: body}
	if err := unmarshal(head, &a); err != nil || a.From == "" {
		c.counts.Unreadable++
		return nil, nil
	}
	return nil, &a
}

// reply answers an ask, if there is something to say.
func (c *core) reply(q *ask) {
	if a := c.serve(q); a != nil {
		a.From, a.ID = c.node, q.ID
		c.out.publish(c.subject.host(q.From), headed(a, a.body))
	}
}

// onAnswer takes an answer that is none with commits.
func (c *core) onAnswer(a *answer) {
	switch a.Answer {
	case askHello:
		c.onHello(a)
	case askChain:
		c.onChain(a)
	case askState:
		c.onState(a)
	case askHolds:
		if done := c.held[a.ID]; done != nil && a.Holds {
			delete(c.held, a.ID)
			done()
		}
	}
}

// serve answers; nil says nothing, and the other asks again.
func (c *core) serve(q *ask) *answer {
	switch q.Ask {
	case askHello:
		if q.Beat != nil {
			c.heed(q.From, *q.Beat)
		}
		a := c.about
		a.Answer, a.Wall = askHello, c.wall().UnixMicro()
		return &a
	case askCommits:
		c.lacks(q)
		return c.serveCommits(q)
	case askChain:
		return c.serveChain(q)
	case askState:
		return c.serveState(q)
	case askLook:
		c.unsettle(q.Inc)
		c.suspect(q.From, q.Inc)
	case askBeat:
		if p := c.peers[q.From]; p != nil && !c.alive(p) {
			c.greet(q.From)
			break
		}
		c.pulse.all()
		c.soon()
	case askCopy:
		if q.Inc == c.log.Incarnation() {
			c.copied(q.From)
		}
	case askTwin:
		if q.Beat != nil {
			c.second(q.Beat)
		}
	case askHolds:
		if len(c.holding) < holdingMost {
			q.Within = time.Duration(c.now.Add(min(q.Within, 10*time.Minute)).UnixNano()) // from now on, until when
			c.holding = append(c.holding, *q)
		}
	}
	return nil // of a later version
}

// holdingMost bounds how many asks wait for what is not on this host's disk yet.
const holdingMost = 10_000

// serveCommits gives what the other lacks, a page of it.
func (c *core) serveCommits(q *ask) *answer {
	have := map[events.Incarnation]uint64{}
	a := &answer{Answer: askCommits, Vector: markOf(c.ledger.View().OnDisk().Vector()), body: c.page[:0]}
	most := min(max(q.Most, pageBytes), pageMost)
	unsure := map[events.Incarnation]bool{} // whether what would be sent follows on what the other has
	for _, p := range q.Have {
		have[p.Inc] = p.Seq
		on, err := c.onChainOf(&p)
		if unsure[p.Inc] = err != nil; !on {
			a.Astray = append(a.Astray, p.Inc)
			have[p.Inc] = 1<<64 - 1 // what would be sent does not follow on what the other has
		}
	}
	gone, err := c.log.Missing(c.ctx, func(inc events.Incarnation) uint64 { return have[inc] }, q.Record, func(r events.Record) error {
		if len(a.body) > 0 && len(a.body)+len(r.Payload) > most {
			a.Record, a.More = r.Number, true
			return errEnough
		}
		a.body = append(append(a.body, r.Payload...), '\n')
		c.counts.Served += uint64(r.Count)
		return nil
	})
	var damage *events.CorruptError
	if errors.As(err, &damage) {
		c.damaged(damage)
		if a.Torn = a.More || q.Record > 0; a.Torn { // gone may only not have been come to yet, or have been given before
			gone = slices.DeleteFunc(gone, func(inc events.Incarnation) bool { return have[inc] >= c.log.Floor(inc) })
		}
		if slices.ContainsFunc(gone, func(inc events.Incarnation) bool { return unsure[inc] }) {
			return nil // it may be a fork, which a state that is taken over would end unseen
		}
	} else if err != nil && !errors.Is(err, errEnough) {
		c.say.Error("the own log cannot be read for another host", "peer", q.From, "err", err)
		return nil
	}
	slices.Sort(gone)
	a.Gone = gone
	if c.page = nil; a.More {
		c.page = a.body // which is sent before the next ask is looked at
	}
	return a
}

// damaged tells that the own log cannot be read where it was whole when the agent started.
func (c *core) damaged(err *events.CorruptError) {
	c.problem("damage", "the own log cannot be read: "+err.Error()+"; who lacks what is damaged asks other hosts for it",
		"stop the agent, look at the disk, move its events folder aside and start it: the others tell it their state; "+aside)
}

// onChainOf reports whether the point is on the chain that is held here, or beyond its end. The error says that this cannot be read; then it may be.
func (c *core) onChainOf(p *point) (bool, error) {
	head := c.ledger.View().OnDisk().Head(p.Inc)
	switch {
	case p.Seq > head.Seq:
		return true, nil
	case p.Seq == head.Seq:
		return p.Hash == head.Hash, nil
	}
	found := true // a point that is not held any more
	_, err := c.log.Missing(c.ctx, only(p.Inc, p.Seq-1), 0, func(r events.Record) error {
		found = r.Seq+uint64(r.Count)-1 == p.Seq && r.Hash == p.Hash
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return true, err
	}
	return found, nil
}

// serveChain says up to which of the points this host agrees, and gives what it holds next. Of what its log does not hold any more it cannot say
// anything: then at least one of the points must be on what it holds, or it says where that begins.
func (c *core) serveChain(q *ask) *answer {
	a := &answer{Answer: askChain, Inc: q.Inc}
	var from uint64
	if len(q.Have) > 0 {
		from = q.Have[0].Seq
	}
	floor := c.floor(q.Inc)
	begin := from
	if from < floor.Seq {
		if begin = floor.Seq; slices.Contains(q.Points, floor) {
			from = floor.Seq
		}
	}
	if _, whole := c.chain(q.Inc, begin); !whole && c.floor(q.Inc) == floor {
		a.Gone = []events.Incarnation{q.Inc}
		return a
	}
	a.Common = from
	points := map[uint64]events.Hash{}
	for _, p := range q.Points {
		points[p.Seq] = p.Hash
	}
	parted := false
	_, err := c.log.Missing(c.ctx, only(q.Inc, begin), 0, func(r events.Record) error {
		last := r.Seq + uint64(r.Count) - 1
		hash, asked := points[last]
		switch {
		case asked && hash == r.Hash && !parted:
			a.Common, a.body = last, nil
			return nil
		case asked && hash != r.Hash:
			parted = true
		}
		if a.body == nil {
			a.body = slices.Clone(r.Payload)
		}
		if parted {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) || c.floor(q.Inc) != floor {
		return nil // also where the log was trimmed meanwhile: what was read is not to be compared by where it began. It is asked again
	}
	if a.Common < begin {
		a.Gone, a.Floor, a.body = []events.Incarnation{q.Inc}, &floor, nil
	}
	return a
}

// parts are messages of which some pieces have come.
type parts struct {
	of    map[partID]*pieces
	bytes int
}

type partID struct {
	from string
	id   uint64
}

type pieces struct {
	all  [][]byte
	left int
	at   time.Time
}

// partsMost bounds the memory for messages that are not whole yet.
const partsMost = 64 << 20

// whole is the message, if this is all of it or the last piece; else nil.
func (c *core) whole(b []byte) []byte {
	var h part
	head, body := unhead(b)
	if len(b) < 10 || string(b[:8]) != `{"part":` || unmarshal(head, &h) != nil || h.Of < 2 || h.Of > 4096 || h.Piece < 0 || h.Piece >= h.Of {
		return b
	}
	return c.parts.add(&h, body, c.now)
}

// add takes a piece, and gives the message if that was the last of it.
func (p *parts) add(h *part, body []byte, now time.Time) []byte {
	if p.of == nil {
		p.of = map[partID]*pieces{}
	}
	id := partID{h.From, h.Part}
	m := p.of[id]
	if m == nil {
		m = &pieces{all: make([][]byte, h.Of), left: h.Of}
		p.of[id] = m
		p.bytes += pieceCost * h.Of
	}
	m.at = now
	if len(m.all) != h.Of || m.all[h.Piece] != nil {
		return nil
	}
	m.all[h.Piece] = body
	p.bytes += len(body)
	if m.left--; m.left > 0 {
		p.bound(time.Time{})
		return nil
	}
	p.drop(id)
	return slices.Concat(m.all...)
}

// pieceCost is what a piece costs that has not come.
const pieceCost = 24

// bound forgets what has waited since before then, and the oldest if it is too much.
func (p *parts) bound(before time.Time) {
	if len(p.of) == 0 || p.bytes <= partsMost && before.IsZero() {
		return
	}
	ids := slices.SortedFunc(maps.Keys(p.of), func(a, b partID) int {
		return cmp.Or(p.of[a].at.Compare(p.of[b].at), cmp.Compare(a.from, b.from), cmp.Compare(a.id, b.id))
	})
	for _, id := range ids {
		if p.bytes > partsMost || p.of[id].at.Before(before) {
			p.drop(id)
		}
	}
}

func (p *parts) drop(id partID) {
	p.bytes -= pieceCost * len(p.of[id].all)
	for _, b := range p.of[id].all {
		p.bytes -= len(b)
	}
	delete(p.of, id)
}
