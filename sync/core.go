package sync

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Ledger is what is needed of a projection.Ledger.
type Ledger interface {
	View() *projection.View
	Admit(ctx context.Context, commits [][]byte) ([]projection.Admission, error)
	Join(ctx context.Context, other *projection.State, cause string) error
	GiveUp(ctx context.Context, inc events.Incarnation, seq uint64, cause string) error
	Yield(ctx context.Context, inc events.Incarnation, seq uint64, other *projection.State, cause string) error
	Refold(ctx context.Context, cause string) (changed bool, err error)
	Forgone(ctx context.Context) (inc events.Incarnation, after uint64, found bool, err error)
	Late(ctx context.Context) (n int, err error)
	Renew(ctx context.Context) error
}

// Log is what is needed of an events.Log.
type Log interface {
	Incarnation() events.Incarnation
	Missing(ctx context.Context, have func(events.Incarnation) uint64, from uint64, fn func(events.Record) error) ([]events.Incarnation, error)
	Floor(inc events.Incarnation) uint64
}

// core decides what to say and what to take. It has no goroutine and no clock of its own: it is told what time it is, and
// what has come, and calls send with what ought to be said; what takes long it has others do beside the steps. So a whole cluster of them can be run step by step.
type core struct {
	node    string
	boot    uint64
	started int64 // Unix milliseconds
	every   times
	ledger  Ledger
	log     Log
	out     *sender
	say     *slog.Logger
	wall    func() time.Time
	ready   func() (starting, readOnly bool)
	about   answer // what to say to a hello
	subject subjects
	// beside does a job while the core goes on, and has what that returns be done in a step; where ctx ends before that, not at all. nil: both at once.
	beside func(job func(ctx context.Context) (then func()))

	ctx        context.Context // of the step that is being done
	now        time.Time       // in it
	peers      map[string]*peer
	seen       vectors
	digests    map[mark]string
	digested   []mark // the keys of digests, oldest first
	last       mark   // at the last beat
	stash      stash
	pull       *pull
	misses     uint64          // times that something that came could not be folded
	garbled    bool            // something in the answers that came last cannot be read
	paused     time.Time       // until when nothing is asked for
	want       map[string]bool // peers that have what this host lacks
	turn       time.Duration   // that of the peer that was chosen last
	search     *search
	transfer   *transfer
	serving    *transfer // a state that is being given to another
	page       []byte    // room for the next page of commits
	settled    map[point]time.Time
	forgone    map[events.Incarnation]time.Time // when commits of it came that others have given up
	known      events.Incarnation               // the sum of those among which was looked for such
	forgoAt    time.Time                        // when to look again
	failing    map[string]time.Time             // since when what will be tried again
	looking    bool                             // the log is being read beside the steps
	jumps      uint64                           // how often something was given up or taken over, or was to be: commits may have given way to others of the same numbers
	lateSaid   bool                             // something may have been said of what was given up before
	later      map[events.Incarnation]uint64    // the first commit of each that is of a later version than can be read here, as far as has been heard
	holding    []ask                            // that are to be answered once what they ask for is on disk
	held       map[uint64]func()                // what to do when an ask of this host for that is answered
	parts      parts
	asked      uint64
	pulse      pulse
	beatAt     time.Time // when the last beat was sent
	nextBeat   time.Time
	nextLook   time.Time
	looks      int
	born       time.Time // when the first step was done
	clash      int
	clashed    time.Time
	digestAt   time.Time // when a digest is worth its trouble again
	digestedAt time.Time // when the newest was found out, or the first step was done
	counts     Counts
	problems   map[string]*Problem
	fatal      error

	began    point // where the own incarnation ended when the agent started
	claims   map[string][]Claim
	claimed  []Claim // all of them; nil: to be gathered
	findings []Finding
}

func newCore(node string, boot uint64, started int64, every times, ledger Ledger, log Log, out *sender, say *slog.Logger) *core {
	return &core{lateSaid: true, node: node, boot: boot, started: started, pulse: pulse{number: uint64(started), anew: true}, every: every, ledger: ledger, log: log, out: out, say: say, wall: time.Now,
		ready: func() (bool, bool) { return false, false }, peers: map[string]*peer{}, digests: map[mark]string{}, want: map[string]bool{},
		settled: map[point]time.Time{}, forgone: map[events.Incarnation]time.Time{}, later: map[events.Incarnation]uint64{}, held: map[uint64]func(){}, problems: map[string]*Problem{}, failing: map[string]time.Time{},
		began: begun(ledger, log), claims: map[string][]Claim{}}
}

// times are how long things take. All have defaults.
type times struct {
	beat    time.Duration // between beats
	silence time.Duration // after which a host counts as silent
	sync    time.Duration // between looks at everything
	answer  time.Duration // after which an ask counts as lost
	stands  time.Duration // after which what does not arrive is a problem
}

// late is after how long the next beat is overdue.
func (t *times) late() time.Duration { return t.beat * 5 / 4 }

// peer is another host.
type peer struct {
	beat
	name    string
	number  uint64        // of its newest beat, as far as anybody knows whom this host hears
	behind  time.Time     // when others told of a smaller number, though it was silent here: it has to be told this one
	whole   beat          // its newest that said everything
	wholeAt time.Time     // when that was heard
	overdue bool          // that its next beat is has been said
	direct  time.Time     // when its newest beat was heard here
	heard   time.Time     // when its newest beat was heard by anybody whom this host hears
	since   time.Time     // since when it is heard
	strange int           // beats in a row that told of a vector that this host has never had
	strayed time.Time     // since when they do
	folded  bool          // this host has all that it had when it was heard first, or again after a silence
	gone    time.Time     // when it said that it does not hold what is lacked here
	told    time.Time     // when it had given all of what was lacked here that it has
	bad     time.Time     // when it sent what cannot be read, or did not answer
	turn    time.Duration // whoever has the smallest is asked next: it grows by the time that answers take
	rest    *pull         // where to go on asking it for commits, while others are asked; nil: at the beginning
	agrees  time.Time     // since when its state is this host's; zero: it is not
	differs bool          // its digest is another, with the same vector
	parts   string        // the first key of which the two states do not say the same; "" until its state has come
	other   beat          // of the agent of that name before the one now heard
	otherAt time.Time     // when it was heard last
	joined  time.Time     // when its state was asked for on that account
	wait    time.Duration // until it is asked for so again
	offset  time.Duration
	rtt     time.Duration
	version string
	address string

	hello     uint64 // the ask for it that is under way
	helloAt   time.Time
	helloWall time.Time
}

// pull is an ask for commits that is under way, or the next that is to be made of the same host.
type pull struct {
	peer   string
	id     uint64
	record uint64
	most   int // bytes
	asked  time.Time
	until  time.Time
	taken  int    // commits so far
	spared bool   // something is left out that the other may hold in the place of what was given up
	torn   bool   // a piece said so
	misses uint64 // how many there were when its first piece came
}

// vectors are marks of vectors that this host has had, or has found to hold nothing that it lacks.
type vectors struct {
	at   map[mark]passed
	ring []mark
}

// passed is when this host had a vector, and the state's index then.
type passed struct {
	index uint64
	at    time.Time
	lacks bool // something of a later format, which cannot be had here
}

const remembered = 512

// left is when this host had another vector after it had this one: from then on, who still has it is behind.
func (v *vectors) left(m mark) time.Time {
	if i := slices.Index(v.ring, m); i >= 0 && i+1 < len(v.ring) {
		return v.at[v.ring[i+1]].at
	}
	return v.at[m].at
}

func (v *vectors) add(m mark, p passed) {
	if _, ok := v.at[m]; ok {
		return
	}
	if v.at == nil {
		v.at = map[mark]passed{}
	}
	if len(v.ring) >= remembered {
		delete(v.at, v.ring[0])
		v.ring = v.ring[1:]
	}
	v.at[m] = p
	v.ring = append(v.ring, m)
}

// step does something at a time.
func (c *core) step(ctx context.Context, now time.Time, do func()) {
	if c.ctx, c.now = ctx, now; c.born.IsZero() {
		c.born, c.digestedAt = now, now
	}
	c.note()
	do()
	c.forgo()
	c.sayAgain()
	c.note()
	c.hold()
	c.next()
}

// note remembers the vector as it now is.
func (c *core) note() {
	v := c.ledger.View()
	c.seen.add(markOf(v.Vector()), passed{v.Index(), c.now, false})
	if d := v.OnDisk(); d != v.State {
		c.seen.add(markOf(d.Vector()), passed{d.Index(), c.now, false})
	}
}

// message is what came from another host.
type message struct {
	subject string
	data    []byte
}

// receive takes what has come: first all commits, those in answers included, so that they share one sync however much else is said between
// them. With a sync for each beat among them a slow disk would fall ever further behind. Then comes all else, in order.
func (c *core) receive(all []message) {
	var live, fetched []arrival
	var then []func()
	for _, m := range all {
		c.counts.BytesIn += uint64(len(m.data))
		switch kind, node := c.subject.read(m.subject); kind {
		case "commit":
			live = append(live, arrivals(lines(c.whole(m.data)), node, false)...)
		case "beat":
			then = append(then, func() { c.onBeat(node, m.data) })
		case "host":
			q, a := c.direct(c.whole(m.data))
			switch {
			case q != nil:
				then = append(then, func() { c.reply(q) })
			case a != nil && a.Answer == askCommits:
				page, next := c.onCommits(a)
				fetched, then = append(fetched, page...), append(then, next)
			case a != nil:
				then = append(then, func() { c.onAnswer(a) })
			}
		}
	}
	c.take(append(fetched, live...)) // what was asked for comes before it
	for _, do := range then {
		do()
	}
}

// tick does what is due.
func (c *core) tick() {
	if c.pull != nil && !c.now.Before(c.pull.until) {
		c.counts.Lost++
		c.say.Debug("an ask for commits was not answered", "peer", c.pull.peer)
		if p := c.peers[c.pull.peer]; p != nil {
			p.bad = c.now
			p.turn += c.now.Sub(c.pull.asked)
		}
		c.want[c.pull.peer] = true
		c.pull = nil
	}
	c.stash.prune(c.ledger.View().State)
	maps.DeleteFunc(c.settled, func(_ point, at time.Time) bool { return c.now.Sub(at) >= c.every.sync })
	maps.DeleteFunc(c.forgone, func(_ events.Incarnation, at time.Time) bool { return c.now.Sub(at) >= c.every.answer })
	c.parts.bound(c.now.Add(-c.every.answer))
	if c.search != nil && !c.now.Before(c.search.until) {
		c.search = nil
	}
	if c.serving != nil && !c.now.Before(c.serving.until) {
		c.serving = nil // whoever asked for it is gone
	}
	if c.transfer != nil && !c.now.Before(c.transfer.until) {
		c.transfer = nil
	}
	if !c.now.Before(c.nextLook) {
		c.nextLook = c.now.Add(c.every.sync)
		c.looks++
		for _, p := range c.sorted() {
			if c.alive(p) {
				if c.looks%2 == 1 { // a clock goes wrong less quickly than a message is lost
					c.question(p.name, &ask{Ask: askHello})
				}
				if _, known := c.seen.at[p.Vector]; !known {
					c.want[p.name] = true
				}
			}
		}
	}
	c.overdue()
	c.call()
	if c.pulse.differs(c.ready()) {
		c.soon() // a host that has recovered may be given replicas, and one that takes nothing must not be
	}
	alone := c.alone()
	if alone {
		c.pulse.all() // whoever comes has heard none of the last beats
	}
	if alone || !c.now.Before(c.nextBeat) { // where nobody hears it, it costs nothing, and who comes hears it at once
		c.nextBeat = c.now.Add(c.every.beat)
		c.sendBeat()
	}
}

// sorted are the peers by name: what is done must not depend on the order of a map.
func (c *core) sorted() []*peer {
	all := slices.Collect(maps.Values(c.peers))
	slices.SortFunc(all, func(a, b *peer) int { return cmp.Compare(a.name, b.name) })
	return all
}

// alone reports whether this host hears no other.
func (c *core) alone() bool {
	for _, p := range c.peers {
		if c.alive(p) {
			return false
		}
	}
	return true
}

// alive reports whether the peer is heard by this host itself.
func (c *core) alive(p *peer) bool { return c.now.Sub(p.direct) < c.every.silence }
