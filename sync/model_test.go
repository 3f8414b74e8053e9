package sync

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

var (
	seed = flag.Uint64("seed", 0, "seed of the first random history; zero draws one")
	runs = flag.Int("runs", 0, "how many random histories; zero: a few")
	talk = flag.Bool("talk", false, "with -v: show what the hosts say")
)

// history is a random history, and what must be true of it in the end.
type history struct {
	*sim
	forks    bool // copies go on by themselves; else disks are lost
	names    []string
	versions int
	lives    int
	acked    map[int]version // by Version
	dead     map[int]bool    // lives that somebody has deleted, having seen them
	images   map[string]string
	lostOK   map[int]bool      // versions that only a lost disk held
	uids     map[int]events.ID // of lives
	digests  map[mark]string
}

type version struct {
	key      string
	life     int
	by       string
	replaced bool // knowingly, by a change or a delete
}

func TestModel(t *testing.T) {
	n, first := *runs, *seed
	if n == 0 {
		if n = 60; testing.Short() {
			n = 15
		}
	}
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	} else if *runs == 0 {
		n = 1
	}
	t.Logf("seeds from %d on: repeat one with -run TestModel -seed N", first)
	var total Counts
	for i := range n {
		s := first + uint64(i)
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			h := newHistory(t, s)
			h.live(120)
			h.end()
			for _, n := range h.sorted() {
				total.Forks += n.core.counts.Forks
				total.Transfers += n.core.counts.Transfers
				total.Gaps += n.core.counts.Gaps
				total.Unequal += n.core.counts.Unequal
			}
		})
	}
	t.Logf("%d histories: %d gaps, %d forks ended, %d states taken over, %d unequal digests", n, total.Gaps, total.Forks, total.Transfers, total.Unequal)
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{acked: map[int]version{}, dead: map[int]bool{}, images: map[string]string{}, lostOK: map[int]bool{}, uids: map[int]events.ID{}, digests: map[mark]string{}}
	count := 2 + int(seed%6)
	for i := range count {
		h.names = append(h.names, string(rune('a'+i)))
	}
	h.sim = newSim(t, seed, h.names...)
	h.forks = h.rng.IntN(3) == 0
	h.loss, h.twice = h.rng.Float64()*.2, h.rng.Float64()*.2
	h.delay = time.Duration(1+h.rng.IntN(400)) * time.Millisecond
	return h
}

func (h *history) any() *node { return h.nodes[h.names[h.rng.IntN(len(h.names))]] }

func (h *history) live(steps int) {
	h.run(time.Duration(h.rng.IntN(15)) * time.Second)
	for range steps {
		h.act()
		h.run(time.Duration(h.rng.Int64N(int64(3 * time.Second))))
		h.check()
	}
}

// act has one thing happen.
func (h *history) act() {
	n := h.any()
	name := string("xyzw"[h.rng.IntN(4)])
	switch p := h.rng.Float64(); {
	case p < .45:
		h.apply(n, name)
	case p < .6:
		h.delete(n, name)
	case p < .65: // a commit of two
		h.applyPair(n)
	case p < .72:
		a, b := h.any().name, h.any().name
		h.cut[[2]string{a, b}] = true
		if h.rng.IntN(2) == 0 {
			h.cut[[2]string{b, a}] = true
		}
	case p < .76: // split in two
		for _, a := range h.names {
			for _, b := range h.names {
				if (a < n.name) != (b < n.name) {
					h.cut[[2]string{a, b}] = true
				}
			}
		}
	case p < .84:
		clear(h.cut)
	case p < .88:
		n.crash()
	case p < .93:
		for _, o := range h.sorted() {
			o.start()
		}
	case p < .95:
		n.skew = []time.Duration{0, time.Hour, -time.Hour, 5 * time.Second}[h.rng.IntN(4)]
	case p < .97 && !h.forks: // where two commits have one number, their logs must be whole to find out
		for _, head := range n.ledger.View().Vector() {
			n.floor[head.Inc] = head.Seq
		}
	default:
		h.disaster(n)
	}
}

func (h *history) disaster(n *node) {
	if old, ok := h.images[n.name]; !ok || h.rng.IntN(2) == 0 {
		up := n.up
		n.crash()
		h.images[n.name] = n.image()
		if up {
			n.start()
		}
		return
	} else if h.forks { // put back while it runs: it does not notice, and goes on
		h.forget(n)
		n.crash()
		n.put(old)
		clear(n.floor)
		n.start()
		n.starting = false
		return
	} else if h.rng.IntN(2) == 0 { // put back while it is off
		h.forget(n)
		n.crash()
		n.put(old)
		clear(n.floor)
	} else { // its disk is lost
		h.forget(n)
		n.crash()
		clear(n.floor)
		delete(h.images, n.name)
		if err := os.RemoveAll(n.dir); err != nil {
			h.t.Fatal(err)
		}
	}
	n.start()
}

// forget notes what nobody but n holds, which is about to lose it.
func (h *history) forget(n *node) {
	for v := range h.acked {
		if !h.lostOK[v] && !slices.ContainsFunc(h.sorted(), func(o *node) bool { return o != n && holds(o, v) }) {
			h.lostOK[v] = true
		}
	}
	for life := range h.dead {
		if !slices.ContainsFunc(h.sorted(), func(o *node) bool { return o != n && o.ledger.View().Covers(h.uids[life]) && !lives(o, life) }) {
			delete(h.dead, life)
		}
	}
}

// lives reports whether the host holds the object as one that has not ended.
func lives(n *node, life int) bool {
	s := n.ledger.View().State
	for o := range s.All("deployment/") {
		if contentOf(o.Version.Object).Life == life {
			return true
		}
	}
	return slices.ContainsFunc(s.Conflicts(), func(c projection.Conflict) bool { return !c.Ended && contentOf(c.Version.Object).Life == life })
}

// holds reports whether a version is shown at the host, or listed as having lost.
func holds(n *node, version int) bool {
	s := n.ledger.View().State
	for o := range s.All("deployment/") {
		if contentOf(o.Version.Object).Version == version {
			return true
		}
	}
	return slices.ContainsFunc(s.Conflicts(), func(c projection.Conflict) bool { return contentOf(c.Version.Object).Version == version })
}

func contentOf(b []byte) (c content) {
	_ = json.Unmarshal(b, &c)
	return c
}

// change is a new version of the key at the host.
func (h *history) change(n *node, name string) (projection.Change, content, content) {
	old, ok := n.shown(name)
	h.versions++
	now := content{old.Life, h.versions}
	if !ok {
		h.lives++
		now.Life = h.lives
	}
	b, err := json.Marshal(now)
	if err != nil {
		h.t.Fatal(err)
	}
	return projection.Change{Kind: events.Declared, Key: key(name), Object: b}, now, old
}

func (h *history) apply(n *node, name string) {
	c, now, old := h.change(n, name)
	beside := others(n, name)
	if n.record(c) {
		h.ended(beside)
		h.replaced(old)
		h.ack(n, name, now)
	}
}

func (h *history) applyPair(n *node) {
	c1, now1, old1 := h.change(n, "x")
	c2, now2, old2 := h.change(n, "y")
	beside := append(others(n, "x"), others(n, "y")...)
	if n.record(c1, c2) {
		h.ended(beside)
		h.replaced(old1)
		h.replaced(old2)
		h.ack(n, "x", now1)
		h.ack(n, "y", now2)
	}
}

func (h *history) ack(n *node, name string, c content) {
	h.acked[c.Version] = version{key: name, life: c.Life, by: n.name}
	if _, ok := h.uids[c.Life]; !ok {
		h.uids[c.Life] = mustLookup(n, name).UID
	}
}

func (h *history) replaced(old content) {
	if v, ok := h.acked[old.Version]; ok {
		v.replaced = true
		h.acked[old.Version] = v
	}
}

// delete deletes the key at the host: every object of it that the host knows has ended, for good.
func (h *history) delete(n *node, name string) {
	old, ok := n.shown(name)
	if !ok {
		return
	}
	ended := append(others(n, name), old)
	if n.record(projection.Change{Kind: events.Declared, Key: key(name)}) {
		h.ended(ended)
	}
}

func (h *history) ended(all []content) {
	for _, c := range all {
		h.replaced(c)
		h.dead[c.Life] = true
	}
}

// others are the live objects of the key that the host knows beside the one shown. Any change of the key ends them.
func others(n *node, name string) (all []content) {
	greatest := map[events.ID]projection.Conflict{}
	for _, c := range n.ledger.View().Conflicts() {
		if c.Key == key(name) && !c.Ended && c.UID != mustLookup(n, name).UID && (greatest[c.UID].Version == nil || greatest[c.UID].Stamp.Less(c.Stamp)) {
			greatest[c.UID] = c
		}
	}
	for _, c := range greatest {
		all = append(all, contentOf(c.Version.Object))
	}
	return all
}

func mustLookup(n *node, name string) projection.Object {
	o, _ := n.ledger.View().Lookup(key(name))
	return o
}

// check is what must be true at any time.
func (h *history) check() {
	for _, n := range h.sorted() {
		if !n.up || h.forks {
			continue // where two commits have one number, a state may be wrong until the hosts have told each other
		}
		v := n.ledger.View()
		m := markOf(v.Vector())
		d := v.Digest()
		if was, ok := h.digests[m]; ok && was != d {
			h.t.Fatalf("after %v, %s has another state than a host with the same commits had: %s", h.now, n.name, heads(v.State))
		}
		h.digests[m] = d
	}
}

// end heals everything and looks at what has become of it.
func (h *history) end() {
	clear(h.cut)
	h.loss, h.twice, h.delay = 0, 0, 20*time.Millisecond
	for _, n := range h.sorted() {
		n.start()
	}
	for range 60 {
		h.run(5 * time.Second)
		if h.agree() == "" && !slices.ContainsFunc(h.sorted(), func(n *node) bool { return n.starting }) {
			break
		}
	}
	if wrong := h.agree(); wrong != "" {
		h.t.Fatalf("five minutes after everything was healed:\n%s", wrong)
	}
	n := h.sorted()[0]
	shown, listed := map[int]bool{}, map[int]bool{}
	for o := range n.ledger.View().All("deployment/") {
		c := contentOf(o.Version.Object)
		shown[c.Version] = true
		if h.dead[c.Life] && !h.forks {
			h.t.Errorf("%s shows version %d of life %d, which was deleted", o.Key, c.Version, c.Life)
		}
	}
	for _, c := range n.ledger.View().Conflicts() {
		v := contentOf(c.Version.Object).Version
		listed[v] = true
		if h.acked[v].replaced && !h.forks {
			h.t.Errorf("version %d is listed as lost unseen, and was replaced by somebody who had seen it", v)
		}
	}
	for _, v := range slices.Sorted(maps.Keys(h.acked)) {
		if a := h.acked[v]; !a.replaced && !shown[v] && !listed[v] && !h.lostOK[v] {
			h.t.Errorf("version %d of %s, acknowledged by %s, is neither shown nor listed as lost", v, a.key, a.by)
		}
	}
}
