package sync

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Counts are what sync has done since the agent started. Events are counted, not commits.
type Counts struct {
	Published, Taken, Known, Served uint64
	Fetched                         uint64 // of those taken: with an answer to an ask for them, what had waited for them included
	Own                             uint64 // and of those this host's own, which its log did not have any more
	Gaps, Astray, Unreadable, Lost  uint64 // commits that came too early; off the chain; messages that made no sense; asks without an answer
	Asked, Forks, Transfers         uint64 // asks for commits; forks ended here; states taken over
	Pieces                          uint64 // of states that are to be taken over
	Unequal                         uint64 // times that a host had another state with the same commits
	Findings                        uint64 // times that the log of a host was not what it had been
	BytesIn, BytesOut               uint64
}

// Problem is something that a person should look at.
type Problem struct {
	What  string    // what is wrong
	Do    string    // what to do about it
	Since time.Time // since when
}

// Peer is what is known of another host beside the state.
type Peer struct {
	Host     string
	Version  string
	Address  string    // of its cluster port
	Alive    bool      // its beats come here
	Heard    time.Time // when its newest beat was heard, by this host or one that it hears
	Direct   time.Time // when its newest beat was heard by this host
	Since    time.Time // since when its beats come, without a pause
	Starting bool      // it recovers
	ReadOnly bool
	Hears    []string // whom it hears, by its own word; itself included
	Folded   bool     // all that it had at Since is folded here
	// Behind is how far it is behind this host: events, and for how long it has been. Unknown when it has something that
	// this host has not.
	Behind  uint64
	For     time.Duration
	Unknown bool
	Lacked  uint64    // of its own events, how many have not come here
	Ahead   time.Time // since when it has something that this host has not; zero: it has nothing
	Agrees  time.Time // since when it has the same state; zero: it has not, or that is not known
	Differs bool      // it has another state with the same commits
	Parts   string    // the key of the first object that differs; "" while its state has not come
	Offset  time.Duration
	RTT     time.Duration // zero: not measured yet
}

// Status is what sync says of itself at one moment. It is not changed afterwards.
type Status struct {
	At       time.Time
	Peers    []Peer // by name
	Problems []Problem
	Looking  bool // the log is being read for what others have given up, or have said of that: it may still be shown, though it was deleted since
	Counts   Counts
	Claims   []Claim   // how far hosts have ever said to be
	Findings []Finding // the newest, the oldest first; Counts tells how many there were
}

// status is what there is to say now.
func (c *core) status() *Status {
	st := &Status{At: c.now, Looking: c.looking, Counts: c.counts, Claims: c.claimsNow(), Findings: c.findings}
	s := c.ledger.View().State
	for _, p := range c.sorted() {
		o := Peer{Host: p.name, Version: p.version, Address: p.address, Alive: c.alive(p), Heard: p.heard, Direct: p.direct, Since: p.since,
			Starting: p.Starting, ReadOnly: p.ReadOnly, Folded: p.folded, Ahead: p.strayed, Agrees: p.agrees, Differs: p.differs, Parts: p.parts, Offset: p.offset, RTT: p.rtt}
		o.Hears = append(o.Hears, p.name)
		o.Hears = append(o.Hears, p.beat.Hears...)
		slices.Sort(o.Hears)
		if had, ok := c.seen.at[p.Vector]; !ok {
			o.Unknown = true
		} else if o.Behind = s.Index() - min(had.index, s.Index()); o.Behind > 0 {
			o.For = c.now.Sub(c.seen.left(p.Vector))
		}
		if head := s.Head(p.Inc); head.Seq < p.Seq {
			o.Lacked = p.Seq - head.Seq
		}
		st.Peers = append(st.Peers, o)
		c.watch(p, o.Lacked)
	}
	for _, key := range slices.Sorted(maps.Keys(c.problems)) {
		st.Problems = append(st.Problems, *c.problems[key])
	}
	return st
}

// watch finds out whether what a host has does not arrive, and whether its clock is off.
func (c *core) watch(p *peer, lacked uint64) {
	key := "stands " + p.name
	if c.alive(p) && !p.strayed.IsZero() && c.now.Sub(p.strayed) > c.every.stands && !c.seen.at[p.Vector].lacks { // that is a problem of its own
		seq := c.ledger.View().Head(p.Inc).Seq + 1
		what := fmt.Sprintf("what host %s holds does not arrive", p.name)
		if lacked > 0 {
			what += fmt.Sprintf(": its own commits from event %d on (incarnation %v)", seq, p.Inc)
		}
		c.problem(key, what, "see the logs of both hosts, and the link between them")
	} else {
		c.solved(key)
	}
}

// problem says that something is wrong, once, and what to do, which may change.
func (c *core) problem(key, what, do string) {
	if p := c.problems[key]; p != nil {
		p.What, p.Do = what, do
		return
	}
	if len(c.problems) >= problemsMost {
		return
	}
	c.problems[key] = &Problem{What: what, Do: do, Since: c.now}
	c.say.Error(what, "do", do)
}

// problemsMost bounds how many problems are told of at once: who has so many has one.
const problemsMost = 100

// solved takes back what was wrong.
func (c *core) solved(key string) {
	if p := c.problems[key]; p != nil {
		delete(c.problems, key)
		c.say.Info("no longer: "+p.What, "took", c.now.Sub(p.Since))
	}
}

// hello notes when a host was asked who it is.
func (c *core) hello(to string, id uint64) {
	if p := c.peers[to]; p != nil {
		p.hello = id
		p.helloAt, p.helloWall = c.now, c.wall()
	}
}

// onHello learns who the other is, and what time it has: the middle of the way there and back, as NTP takes it.
func (c *core) onHello(a *answer) {
	p := c.peers[a.From]
	if p == nil || p.hello != a.ID {
		return
	}
	p.rtt = c.now.Sub(p.helloAt)
	p.offset = time.UnixMicro(a.Wall).Sub(p.helloWall.Add(p.rtt / 2))
	p.version, p.address = a.Version, a.Address
}
