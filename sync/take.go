package sync

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// arrival is a commit that has come.
type arrival struct {
	commit  []byte
	peer    string // that sent it; "" where nobody is to be asked about it
	fetched bool   // with an answer to an ask for commits, or follows on such
}

func arrivals(commits [][]byte, peer string, fetched bool) []arrival {
	all := make([]arrival, len(commits))
	for i, b := range commits {
		all[i] = arrival{b, peer, fetched}
	}
	return all
}

// take folds commits that have come.
func (c *core) take(came []arrival) {
	c.garbled = false
	for len(came) > 0 {
		commits := make([][]byte, len(came))
		for i := range came {
			commits[i] = came[i].commit
		}
		all, err := c.ledger.Admit(c.ctx, commits)
		if err != nil {
			if !c.ends(err) {
				c.problem("admit", "commits of other hosts cannot be taken: "+err.Error(), "make room on the disk of this host")
			}
			c.misses++
			c.pull = nil
			for _, p := range c.peers {
				p.rest = nil // what came last may have been a part of it
			}
			c.paused = c.now.Add(c.every.answer) // they are asked for again, and not as fast as they can come
			return
		}
		c.solved("admit")
		before := came
		came = nil
		for i, a := range all {
			came = append(came, c.fate(&before[i], &a)...)
		}
	}
}

// fate looks at what became of a commit, and gives those that can be taken now and have waited for it.
func (c *core) fate(of *arrival, a *projection.Admission) []arrival {
	switch a.Fate {
	case projection.Taken:
		c.counts.Taken += a.Last - a.Seq + 1
		if of.fetched {
			c.counts.Fetched += a.Last - a.Seq + 1
		}
		if a.Inc == c.log.Incarnation() {
			c.counts.Own += a.Last - a.Seq + 1
		}
		c.lateSaid = c.lateSaid || a.Late
		return arrivals(c.stash.next(a.Inc, a.Last), "", of.fetched)
	case projection.Known:
		c.counts.Known += a.Last - a.Seq + 1
	case projection.Ahead:
		c.misses++
		if _, ok := c.forgone[a.Inc]; ok {
			return nil // it follows on that
		}
		c.counts.Gaps++
		c.stash.put(a, of.commit)
		c.wants(of.peer)
	case projection.Forgone:
		c.misses++
		c.forgone[a.Inc] = c.now
	case projection.Astray:
		c.misses++
		c.garbled = c.garbled || of.fetched
		c.counts.Astray++
		c.suspect(of.peer, a.Inc)
	case projection.Unread:
		c.garbled = c.garbled || of.fetched
		c.unread(of.peer, a)
	}
	return nil
}

func (c *core) wants(peer string) {
	if peer != "" {
		c.want[peer] = true
	}
}

// unread tells of what cannot be read. It may be had from another host. Of a later format that is told once for each incarnation: a host of a
// later version may write on for days before this one is upgraded.
func (c *core) unread(peer string, a *projection.Admission) {
	c.counts.Unreadable++
	first, told := c.later[a.Inc]
	later := errors.Is(a.Err, events.ErrVersion)
	if !later || !told {
		c.say.Warn("a commit cannot be read; other hosts are asked for it", "peer", peer, "incarnation", a.Inc, "seq", a.Seq, "err", a.Err)
	}
	if later {
		if !told {
			first = a.Seq
		}
		if told || len(c.later) < problemsMost {
			c.later[a.Inc] = min(first, a.Seq)
		}
		c.problem("unread "+a.Inc.String(), "commits of incarnation "+a.Inc.String()+" are of a later version", "upgrade the agent of this host")
	}
	if p := c.peers[peer]; p != nil {
		p.bad = c.now
	}
	for _, p := range c.sorted() {
		if p.name != peer && c.alive(p) {
			if _, known := c.seen.at[p.Vector]; !known {
				c.want[p.name] = true
			}
		}
	}
}

// next begins the next ask for commits, if one is wanted and none is under way.
func (c *core) next() {
	if c.pull != nil || c.transfer != nil || len(c.want) == 0 || c.now.Before(c.paused) {
		return
	}
	var best *peer
	for _, p := range c.sorted() {
		if !c.want[p.name] {
			continue
		}
		if !c.alive(p) {
			delete(c.want, p.name)
			continue
		}
		if best == nil || c.rather(p, best, 0) {
			best = p
		}
	}
	if best == nil {
		clear(c.want) // of hosts that have not been heard yet: their beats will tell
		return
	}
	delete(c.want, best.name)
	best.turn = max(best.turn, c.turn)
	c.turn = best.turn
	rest := best.rest
	best.rest = nil
	c.askCommits(best.name, rest)
}

// rather reports whether a is to be asked before b: one that hears this host; of those one that has not failed lately, or longer ago; and of
// those the one to whose answers was given less time, by more than that. Who was not asked for long is not owed all the time since: so a host that
// takes long for each page leaves the others as much time in between, and comes to its turn however much they have.
func (c *core) rather(a, b *peer, by time.Duration) bool {
	if hearsA, hearsB := slices.Contains(a.Hears, c.node), slices.Contains(b.Hears, c.node); hearsA != hearsB {
		return hearsA
	}
	if failedA, failedB := c.failed(a), c.failed(b); !failedA.Equal(failedB) {
		return failedA.Before(failedB)
	}
	return max(a.turn, c.turn)+by < max(b.turn, c.turn)
}

// failed is when a host failed last; zero if that is long ago, since it must not be last for ever for one message that was lost.
func (c *core) failed(p *peer) time.Time {
	if c.now.Sub(p.bad) < c.every.sync {
		return p.bad
	}
	return time.Time{}
}

// yields reports whether another host is to be asked before the next page of this one. To go on with the same is cheaper: its next page comes while
// this one is folded. So those whose pages come soon have some of them at a time.
func (c *core) yields(p *peer) bool {
	if p == nil || c.transfer != nil || c.now.Before(c.paused) { // then nobody else is asked
		return false
	}
	for name := range c.want {
		if o := c.peers[name]; o != nil && o != p && c.alive(o) && c.rather(o, p, 4*soon) {
			return true
		}
	}
	return false
}

// askCommits asks a host for what it has; after is where such asks are to go on, nil for the first.
func (c *core) askCommits(peer string, after *pull) {
	next := pull{peer: peer, most: pageBytes}
	if after != nil {
		next = *after
	}
	q := ask{Ask: askCommits, Record: next.record, Most: next.most}
	// What others have given up need not be sent again and again: whoever still has that is about to hear of it. Nor need what cannot be read, once
	// all before it is here: that may have been missed, though what came later was heard.
	spared := append(slices.Collect(maps.Keys(c.forgone)), c.tooNew()...)
	slices.Sort(spared)
	for _, h := range c.ledger.View().Vector() {
		if _, ok := slices.BinarySearch(spared, h.Inc); h.Seq > 0 && !ok {
			q.Have = append(q.Have, point{h.Inc, h.Seq, h.Hash})
		}
	}
	for _, inc := range slices.Compact(spared) {
		q.Have = append(q.Have, point{Inc: inc, Seq: 1<<64 - 1})
	}
	next.asked, next.until, next.spared = c.now, c.now.Add(c.every.answer), next.spared || len(c.forgone) > 0
	next.id = c.question(peer, &q)
	c.pull = &next
	c.counts.Asked++
}

// tooNew are the incarnations of which all is here that comes before what is of a later format.
func (c *core) tooNew() (all []events.Incarnation) {
	s := c.ledger.View().State
	for inc, first := range c.later {
		if s.Head(inc).Seq+1 >= first {
			all = append(all, inc)
		}
	}
	return all
}

// soon is within what time an answer comes whose like may be larger.
const soon = 100 * time.Millisecond

// next is how much to ask for next: more, in fewer pieces and with fewer syncs, as long as the link and this host keep up.
func (p *pull) next(now time.Time) int {
	switch took := now.Sub(p.asked); {
	case took < soon:
		return min(2*p.most, pageMost)
	case took > 4*soon:
		return max(p.most/2, pageBytes)
	}
	return p.most
}

// onCommits takes an answer with commits: it gives them, and what to do once they are folded. The next piece is asked for before that, unless it
// is another's turn.
func (c *core) onCommits(a *answer) (page []arrival, then func()) {
	commits := lines(a.body)
	page = arrivals(commits, a.From, true)
	if c.pull == nil || c.pull.id != a.ID || c.pull.peer != a.From {
		return page, func() {} // it came too late, as all do where the link is slow: without them nothing would ever get on
	}
	c.pull.taken, c.pull.torn = c.pull.taken+len(commits), c.pull.torn || a.Torn
	done := c.pull
	if done.record == 0 {
		done.misses = c.misses
	}
	p := c.peers[a.From]
	if p != nil {
		p.turn += c.now.Sub(done.asked)
	}
	after := *done
	after.record, after.most = a.Record, done.next(c.now)
	switch {
	case !a.More || a.Record <= done.record:
		c.pull = nil
	case c.yields(p):
		c.pull, p.rest, c.want[p.name] = nil, &after, true
	default:
		c.askCommits(a.From, &after)
	}
	return page, func() { c.pulled(done, a, commits) }
}

// pulled looks at what came of an answer with commits.
func (c *core) pulled(done *pull, a *answer, commits [][]byte) {
	if c.garbled {
		// What follows on it must not have it asked for again at once, for ever. What comes unasked holds up nothing: a host of
		// a later version may say it all the time.
		c.misses++
		c.paused = c.now.Add(c.every.beat)
	}
	if a.More {
		return
	}
	for _, inc := range a.Astray {
		c.suspect(a.From, inc)
	}
	p := c.peers[a.From]
	if p != nil && !done.torn {
		p.told = c.now
	}
	switch {
	case p == nil:
	case len(a.Astray) > 0: // first must be known whose chain stands: a state has both folded that have it
	case len(a.Gone) > 0:
		c.gone(p, a.Gone)
	case done.torn: // in one piece it can say what it does not hold
		c.want[p.name] = true
	case c.misses == done.misses && !done.spared && c.covers(commits):
		p.folded, p.strange, p.gone = true, 0, time.Time{}
		lacks := len(c.tooNew()) > 0
		if !lacks {
			p.strayed = time.Time{}
		}
		c.seen.add(a.Vector, passed{c.ledger.View().Index(), c.now, lacks})
		if done.taken > 1000 {
			c.say.Info("caught up with a host", "peer", p.name, "commits", done.taken)
		}
	}
}

// covers reports whether the last of the commits has been folded: then all before it have been.
func (c *core) covers(commits [][]byte) bool {
	s := c.ledger.View().State
	return !slices.ContainsFunc(commits, func(b []byte) bool {
		last, err := events.ParseCommit(b)
		return err != nil || !s.Covers(last.ID(len(last.Events)-1))
	})
}

// gone is told that a host does not hold what is lacked here any more. Another may; if none does, it tells its state.
func (c *core) gone(p *peer, incs []events.Incarnation) {
	before := p.gone
	p.gone = c.now
	for _, o := range c.sorted() {
		_, known := c.seen.at[o.Vector]
		// While all go on writing, what another says to have is never what was had here, also where it has been asked since.
		asked := c.now.Sub(before) < c.every.sync && o.told.After(before)
		if o != p && c.alive(o) && !known && !asked && c.now.Sub(o.gone) > c.every.sync {
			c.want[o.name] = true
			return
		}
	}
	c.wantState(p, "the log of host "+p.name+" and those of the others no longer hold all commits of "+incs[0].String())
}
