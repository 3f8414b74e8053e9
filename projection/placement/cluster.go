package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Peer is what is known now of one host of the cluster by being heard, or not. No state holds it: it is handed in.
type Peer struct {
	Host string
	// Silent is since when nobody whom this host hears has heard of it; zero: it is alive. It keeps its monotonic reading (so no UTC, no
	// Truncate): how long that is must not change with the wall clock, which is set where a host has no clock of its own that runs while it is off.
	Silent   time.Time
	Ready    bool     // it has recovered
	Writable bool     // its log takes changes
	Hears    []string // whom it hears, by its own word
	// Since is since when it is heard without a pause; zero: for long enough. One that was away may not have heard again yet who lives.
	Since time.Time
}

// Cluster is how things stand with the hosts at one moment, as one of them sees it.
type Cluster struct {
	Host  string // who looks: alive, whatever else is known
	Alone bool   // there are no others: replicas run here, and those that are placed elsewhere are left as they are
	// Peers are all hosts of which anything was heard, in any order. Host itself should be among them; if it is not, it
	// is ready and writable, and hears all who are alive.
	Peers []Peer
	Since time.Time // since when Host listens: a host of which nothing was heard has been silent since then
	Now   time.Time // like Since and what is said of Peers, as time.Now gave it

	RescheduleAfter time.Duration // how long a host must be silent before its replicas move; zero: 60 s
	ReturnAfter     time.Duration // how long one that said it would be back must be silent; zero: 15 min
}

const (
	rescheduleAfter = time.Minute
	returnAfter     = 15 * time.Minute
	longestWait     = time.Hour // between two moves of one replica; one that stayed as long begins anew
)

// fixed are what the state says of a host, read once for each version of it.
type fixed struct {
	versions [3]*projection.Version // of host, node, member
	name     string
	spoke    bool // it has said what it is
	fact     projection.Host
	node     projection.Node
	labels   map[string]string
	removed  bool
}

// host is one host as it is now.
type host struct {
	*fixed
	self, known bool
	silent      time.Time // by the clock as it is set now; zero: alive
	ready       bool
	writable    bool
	down        bool      // a person says that it is dead
	gone        string    // why its replicas move to others now; "": they do not
	due         time.Time // when they will, if nothing else happens; zero: that cannot be said
	held        string    // why they do not move although it is silent
	closed      string    // why it takes no replica at all; "": it may
}

// hosts are all hosts of a cluster at one moment.
type hosts struct {
	cluster  Cluster
	all      []*host // the known ones, by name
	byName   map[string]*host
	counted  int // known, and not said to be dead
	inSight  int // of those, on this host's side
	majority bool
	formed   time.Time // since when it is one; zero: for long enough
	decider  string
	wake     time.Time // when something here becomes another by the passing of time alone; zero: never
}

func (c Cluster) reschedule() time.Duration { return cmp.Or(c.RescheduleAfter, rescheduleAfter) }

// hosts reads how things stand.
func (c Cluster) hosts(s *projection.State, r register) *hosts {
	hs := &hosts{cluster: c, byName: map[string]*host{}}
	peers := map[string]*Peer{}
	for i := range c.Peers {
		peers[c.Peers[i].Host] = &c.Peers[i]
	}
	for _, f := range r.read(s, c) {
		h := &host{fixed: f, self: f.name == c.Host, known: !f.removed}
		hs.byName[f.name] = h
		if h.known {
			hs.all = append(hs.all, h)
		}
		hs.hear(h, peers[f.name])
	}
	hs.decide(peers)
	for _, h := range hs.byName {
		hs.judge(h)
	}
	return hs
}

// hear notes whether the host is alive.
func (hs *hosts) hear(h *host, p *Peer) {
	c := &hs.cluster
	switch {
	case h.self:
		h.ready, h.writable = p == nil || p.Ready, p == nil || p.Writable
		return
	case p == nil:
		h.silent = c.Since
		if h.silent.IsZero() {
			h.silent = c.Now
		}
	default:
		h.silent, h.ready, h.writable = p.Silent, p.Ready, p.Writable
	}
	// A person's word holds until the host is heard again. What was never heard since this host listens has not spoken.
	down := h.node.Down
	h.down = !down.IsZero() && down.After(h.fact.Started) && !h.silent.IsZero() && (!h.silent.After(down) || !h.silent.After(c.Since))
	if !h.silent.IsZero() {
		h.silent = c.Now.Add(-c.Now.Sub(h.silent)) // the same moment; but what others say, and people read, is by the clock of now
	}
}

// decide finds out who is on this host's side, whether that is a majority, and who decides.
func (hs *hosts) decide(peers map[string]*Peer) {
	var names []string // who counts
	for _, h := range hs.all {
		if !h.down {
			names = append(names, h.name)
		}
		if hs.decider == "" && h.silent.IsZero() && h.ready && h.writable {
			hs.decider = h.name
		}
	}
	side := hs.side(peers)
	var since []time.Time // since when each of this host's side is heard
	for _, name := range names {
		if side[name] {
			heard := time.Time{}
			if p := peers[name]; p != nil && name != hs.cluster.Host {
				heard = p.Since
			}
			since = append(since, heard)
		}
	}
	hs.inSight, hs.counted = len(since), len(names)
	half := hs.inSight*2 == hs.counted && len(names) > 0 && side[names[0]]
	if hs.majority = hs.inSight*2 > hs.counted || half; hs.majority {
		slices.SortFunc(since, time.Time.Compare)
		hs.formed = since[min(hs.counted/2, hs.inSight-1)] // when the last that it takes came
	}
}

// settle is for how long a majority must have been one before it moves what is on a host that it does not hear: whoever of it was away itself has by then
// heard again of who lives, and said so.
const settle = 5 * time.Second

// side are the hosts that this one hears and that hear it, by the word of both, directly or through others of them.
func (hs *hosts) side(peers map[string]*Peer) map[string]bool {
	c := &hs.cluster
	hears := func(a, b string) bool {
		if p := peers[a]; p != nil {
			return slices.Contains(p.Hears, b)
		}
		p := peers[b]
		return a == c.Host && p != nil && p.Silent.IsZero()
	}
	var rest []string
	for name, p := range peers {
		if name != c.Host && p.Silent.IsZero() {
			rest = append(rest, name)
		}
	}
	side := map[string]bool{c.Host: true}
	for todo := []string{c.Host}; len(todo) > 0; todo = todo[1:] {
		rest = slices.DeleteFunc(rest, func(name string) bool {
			near := hears(todo[0], name) && hears(name, todo[0])
			if near {
				side[name] = true
				todo = append(todo, name)
			}
			return near
		})
	}
	return side
}

// judge finds out whether replicas may come to the host, and whether they must leave it.
func (hs *hosts) judge(h *host) {
	c := &hs.cluster
	if c.Alone && !h.self { // what is placed there may be of an earlier cluster; nobody knows
		h.silent, h.closed = time.Time{}, "not part of this cluster"
		return
	}
	silent := !h.silent.IsZero()
	wait := c.reschedule()
	if !h.fact.Left.IsZero() { // since when is by this host's clock: the other's may be wrong
		wait = max(wait, cmp.Or(c.ReturnAfter, returnAfter))
	}
	h.due = h.silent.Add(wait)
	if settled := hs.formed.Add(settle); hs.majority && settled.After(h.due) {
		h.due = settled
	}
	switch {
	case h.removed:
		h.gone = "removed from the cluster"
	case !silent:
	case h.down:
		h.gone = "said to be down"
	case !hs.majority:
		h.held = fmt.Sprintf("%d of %d hosts in sight", hs.inSight, hs.counted)
	case h.due.After(c.Now):
		h.held = fmt.Sprintf("waiting until %s (%s)", clock(h.due), h.quiet())
		hs.wakeAt(h.due)
	default:
		h.gone = h.quiet()
	}
	left := !h.fact.Left.IsZero() && !h.self
	switch {
	case h.removed:
		h.closed = "removed"
	case h.down:
		h.closed = "down"
	case silent && left:
		h.closed = "stopped"
	case silent:
		h.closed = "silent"
	case h.node.Draining:
		h.closed = "drained"
	case h.node.Unschedulable:
		h.closed = "cordoned"
	case !c.Alone && !h.spoke:
		h.closed = "not known well enough yet"
	case !h.ready:
		h.closed = "recovering"
	case !c.Alone && h.fact.Podman == "":
		h.closed = "without an answer from Podman"
	case !h.writable || h.fact.ReadOnly != "":
		h.closed = "read-only" // then one that is back cannot take back that it left, either
	case left:
		h.closed = "stopped"
	}
}

// quiet says since when the host is silent.
func (h *host) quiet() string {
	if !h.fact.Left.IsZero() {
		return fmt.Sprintf("host %s stopped at %s, and meant to come back", h.name, clock(h.fact.Left))
	}
	return fmt.Sprintf("host %s silent since %s", h.name, clock(h.silent))
}

// clock is a time as people read it in what happens now.
func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

func (hs *hosts) wakeAt(t time.Time) {
	if hs.wake.IsZero() || t.Before(hs.wake) {
		hs.wake = t
	}
}

// at is the host of that name. One that nobody has spoken of has been silent since this host listens.
func (hs *hosts) at(name string) *host {
	h := hs.byName[name]
	if h == nil {
		h = &host{fixed: &fixed{name: name, labels: map[string]string{hostname: name}}}
		hs.hear(h, nil)
		hs.judge(h)
		hs.byName[name] = h
	}
	return h
}

// silent are the hosts that are, and since when.
func (hs *hosts) silent() map[string]time.Time {
	all := map[string]time.Time{}
	for name, h := range hs.byName {
		if !h.silent.IsZero() {
			all[name] = h.silent
		}
	}
	return all
}
