package projection

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

var (
	firstSeed = flag.Uint64("seed", 1, "seed of the first random history; the n-th has seed+n-1")
	histories = flag.Int("histories", 300, "how many random histories each test runs")
)

// eachHistory runs fn with a source of its own for each seed, and says which seed went wrong.
func eachHistory(t *testing.T, fn func(t *testing.T, r *rand.Rand)) {
	n := *histories
	if testing.Short() {
		n = min(n, 200)
	}
	for i := range n {
		seed := *firstSeed + uint64(i)
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { fn(t, rand.New(rand.NewPCG(seed, 0))) })
		if !ok {
			t.Fatalf("failed; again with: go test ./projection -run %s -seed %d -histories 1", t.Name(), seed)
		}
	}
}

// noLog is a Log of which only the incarnation is asked.
type noLog struct {
	Log
	inc events.Incarnation
}

func (l noLog) Incarnation() events.Incarnation { return l.inc }

// world is some hosts whose clocks disagree, and that hear each other when it pleases them.
type world struct {
	t       testing.TB
	r       *rand.Rand
	tick    int64
	hosts   []*host
	commits []*events.Commit
	dead    map[events.ID]string // uids that a person deleted
	digests map[string]string    // by vector
	old     []frozen
}

// frozen is a state and what it was when it was seen.
type frozen struct {
	*State
	was []byte
}

func newWorld(t testing.TB, r *rand.Rand) *world {
	w := &world{t: t, r: r, dead: map[events.ID]string{}, digests: map[string]string{}}
	for i := range 2 + r.IntN(3) {
		h := &host{state: NewState(), model: model{}, log: map[events.ID]*events.Commit{}, floor: map[events.Incarnation]uint64{}}
		h.skew = []int64{0, 0, 500, -500}[r.IntN(4)]
		now := func() time.Time { return time.UnixMilli(1_700_000_000_000 + w.tick + h.skew) }
		h.ledger = &Ledger{log: noLog{inc: events.Incarnation(100 - i)}, clock: events.NewClock(now)}
		w.hosts = append(w.hosts, h)
	}
	return w
}

// keysOf are the keys that a host writes, with the kind of fact each holds.
var kindOf = map[string]events.Kind{
	"deployment/x": events.Declared, "deployment/y": events.Declared, "deployment/z": events.Declared,
	"placement/p": events.Decided, "token/t": events.Trust, "later/l": "invented-later", "replica/r": events.Observed,
}

var keys = slices.Sorted(maps.Keys(kindOf))

// record has a host commit changes of one to three keys, as its ledger would stamp them.
func (w *world) record(h *host) {
	var changes []Change
	for _, i := range w.r.Perm(len(keys))[:1+w.r.IntN(10)/8+w.r.IntN(10)/8] {
		ch := Change{Kind: kindOf[keys[i]], Key: keys[i]}
		shown, there := h.state.Lookup(ch.Key)
		if !there || w.r.IntN(10) < 7 {
			ch.Object = fmt.Appendf(nil, `{"n":%d}`, w.r.IntN(4))
		} else {
			for uid, tree := range h.model.trees(ch.Key) {
				if !tree.ended {
					w.dead[uid] = ch.Key
				}
			}
		}
		if d, ok := h.state.Lookup("deployment/x"); ch.Kind == events.Decided && ok {
			ch.For = d.Stamp
			if there && w.r.IntN(3) == 0 {
				ch.For = shown.For
			}
		}
		if ch.Kind == events.Decided && ch.Object != nil && there && ch.For.Less(shown.For) {
			ch.For = shown.For // a ledger refuses what would not be shown; misrecord has such
		}
		changes = append(changes, ch)
	}
	c, err := h.ledger.stamp(h.state, By{Actor: "someone"}, changes)
	if err != nil {
		w.t.Fatal(err)
	}
	w.commit(h, c)
}

func (w *world) commit(h *host, c *events.Commit) {
	w.commits = append(w.commits, c)
	if !h.admit(c) {
		w.t.Fatalf("commit %d of %s does not follow on its own host", c.Seq, c.Inc)
	}
}

// misrecord has a host commit what no ledger of ours would: changes of objects that ended long ago, upon versions
// and with ends that the host may never have seen, of one key twice, in a kind that is not the key's.
func (w *world) misrecord(h *host) {
	c, err := h.ledger.stamp(h.state, By{}, []Change{{Kind: events.Declared, Key: "deployment/x", Object: []byte(`{}`)}})
	if err != nil {
		w.t.Fatal(err)
	}
	c.Events = nil
	for i := range 1 + w.r.IntN(3) {
		key := keys[w.r.IntN(len(keys))]
		e := events.Event{Kind: kindOf[key], Key: key, UID: c.ID(i)}
		if w.r.IntN(4) == 0 {
			e.Kind = kindOf[keys[w.r.IntN(len(keys))]]
		}
		var versions []told // of that key, known to anybody
		for _, o := range w.hosts {
			for _, v := range o.model {
				if v.Key == key && v.Object != nil {
					versions = append(versions, v)
				}
			}
		}
		slices.SortFunc(versions, func(a, b told) int { return a.stamp.Compare(b.stamp) })
		if len(versions) > 0 {
			v := versions[w.r.IntN(len(versions))]
			e.UID, e.Base = v.UID, v.stamp
			if w.r.IntN(4) == 0 {
				e.For = versions[w.r.IntN(len(versions))].stamp
			}
			for range w.r.IntN(3) {
				v := versions[w.r.IntN(len(versions))]
				end := events.End{UID: v.UID}
				if w.r.IntN(3) > 0 {
					end.Base = v.stamp
				}
				e.Ends = append(e.Ends, end)
			}
		}
		if len(e.Ends) == 0 || w.r.IntN(2) == 0 {
			e.Object = json.RawMessage(fmt.Sprintf(`{"n":%d}`, w.r.IntN(4)))
		}
		c.Events = append(c.Events, e)
	}
	w.commit(h, c)
}

// pull has host a hear what host b has, perhaps not all of it; where b has it no longer, its whole state.
func (w *world) pull(a, b *host) {
	for _, h := range b.state.Vector() {
		if at := a.state.Head(h.Inc).Seq; at < h.Seq && at < b.floor[h.Inc] {
			a.state = Join(a.state, b.state)
			a.model.join(b.model)
			for _, h := range b.state.Vector() {
				if at := a.state.Head(h.Inc).Seq; at == h.Seq {
					a.floor[h.Inc] = h.Seq
				}
			}
			return
		}
	}
	for _, i := range w.r.Perm(len(b.state.Vector())) {
		inc := b.state.Vector()[i].Inc
		stop := w.r.IntN(10) < 3
		for {
			c := b.log[events.ID{Inc: inc, Seq: a.state.Head(inc).Seq + 1}]
			if c == nil {
				break
			}
			a.admit(c)
			if stop {
				break
			}
		}
	}
}

// look holds a host's state to the model, and to every other state that ever covered the same events.
func (w *world) look(h *host, what string) {
	h.check(w.t, what)
	vector, digest := vectorOf(h.state), h.state.Digest()
	if was, ok := w.digests[vector]; ok && was != digest {
		w.t.Fatalf("after %s: two states cover %sand have digests %s and %s", what, vector, digest, was)
	}
	w.digests[vector] = digest
	if w.r.IntN(8) == 0 {
		w.old = append(w.old, frozen{h.state, encoded(w.t, h.state)})
	}
}

func encoded(t testing.TB, s *State) []byte {
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// run lets things happen, and then everybody hear everybody.
func (w *world) run(steps int, misrecord bool) {
	for range steps {
		w.tick++
		h := w.hosts[w.r.IntN(len(w.hosts))]
		switch p := w.r.IntN(100); {
		case p < 45:
			w.record(h)
			w.look(h, "a record")
		case p < 55 && misrecord:
			w.misrecord(h)
			w.look(h, "a record of nonsense")
		case p < 60:
			h.trim(uint64(w.r.IntN(12)))
		default:
			w.pull(h, w.hosts[w.r.IntN(len(w.hosts))])
			w.look(h, "a pull")
		}
	}
	for range 2 * len(w.hosts) * len(w.commits) {
		settled := true
		for _, a := range w.hosts {
			for _, b := range w.hosts {
				w.pull(a, b)
				settled = settled && vectorOf(a.state) == vectorOf(b.state)
			}
		}
		if settled {
			break
		}
	}
	for _, h := range w.hosts {
		w.look(h, "hearing everybody")
		if got, want := vectorOf(h.state), vectorOf(w.hosts[0].state); got != want {
			w.t.Fatalf("hosts never came to hold the same: %s, %s", got, want)
		}
		if got, want := picture(h.state), picture(w.hosts[0].state); got != want {
			w.t.Fatalf("hosts diverged:\n%s\n%s", got, want)
		}
	}
	for _, f := range w.old {
		if !bytes.Equal(encoded(w.t, f.State), f.was) {
			w.t.Fatal("a state changed after it had been handed out")
		}
	}
}

func TestFold_randomHistories(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		w := newWorld(t, r)
		w.run(60, false)
		for uid, key := range w.dead {
			if o, ok := w.hosts[0].state.Lookup(key); ok && o.UID == uid {
				t.Errorf("%s was deleted, and is shown again", key)
			}
		}
	})
}

func TestFold_randomHistoriesOfNonsense(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) { newWorld(t, r).run(50, true) })
}

func TestFold_orderDoesNotMatter(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		w := newWorld(t, r)
		w.run(40, true)
		want := w.hosts[0].state
		for range 3 {
			s := foldShuffled(w.commits, r)
			if got, want := picture(s), picture(want); got != want {
				t.Fatalf("in another order:\n%s\nwant\n%s", got, want)
			}
			if got, want := s.Digest(), want.Digest(); got != want {
				t.Fatalf("in another order: digest %s, want %s", got, want)
			}
		}
	})
}

// What is missing is the same set, whoever was heard of first.
func TestFold_severalMissing(t *testing.T) {
	version := func(inc events.Incarnation, at events.Time, base events.Stamp) *events.Commit {
		return &events.Commit{Inc: inc, Seq: 1, Time: at, Events: []events.Event{{Kind: events.Declared, Key: "a/x",
			UID: events.ID{Inc: 1, Seq: 1}, Base: base, Object: fmt.Appendf(nil, `{"by":%d}`, inc)}}}
	}
	made := version(1, 1, events.Stamp{})
	two, three := version(2, 2, made.Stamp(0)), version(3, 3, made.Stamp(0))
	four, five := version(4, 4, two.Stamp(0)), version(5, 5, three.Stamp(0))
	fold := func(cs ...*events.Commit) *State {
		s := NewState()
		for _, c := range cs {
			s = s.Fold(c, hashOf(c), s.Index()+1, s.At())
		}
		return s
	}
	a, b := fold(four, five), fold(five, four)
	if got := a.Conflicts(); a.Digest() != b.Digest() || len(got) != 1 || got[0].Stamp != four.Stamp(0) || got[0].Open {
		t.Errorf("digests %s and %s, conflicts %v, want one digest, and four lost for sure: what is missing is older", a.Digest(), b.Digest(), got)
	}
	a, b = fold(four, five, three, two, made), fold(made, two, three, four, five)
	if a.Digest() != b.Digest() || picture(a) != picture(b) || len(b.Conflicts()) != 1 || b.Conflicts()[0].Stamp != four.Stamp(0) {
		t.Errorf("it is\n%s\nand\n%s\nwant five shown and four lost", picture(a), picture(b))
	}
}

// foldShuffled folds commits in a random order that keeps to that of each incarnation.
func foldShuffled(commits []*events.Commit, r *rand.Rand) *State {
	queues := map[events.Incarnation][]*events.Commit{}
	var incs []events.Incarnation
	for _, c := range commits {
		if queues[c.Inc] == nil {
			incs = append(incs, c.Inc)
		}
		queues[c.Inc] = append(queues[c.Inc], c)
	}
	s := NewState()
	for len(incs) > 0 {
		i := r.IntN(len(incs))
		q := queues[incs[i]]
		n := 1 + r.IntN(len(q))
		for _, c := range q[:n] {
			s = s.Fold(c, hashOf(c), s.Index()+1, s.At())
		}
		if queues[incs[i]] = q[n:]; len(q) == n {
			incs = slices.Delete(incs, i, i+1)
		}
	}
	return s
}

func TestJoin_isHavingFoldedEverything(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		w := newWorld(t, r)
		w.run(30, true)
		a, b := foldSome(w.commits, r), foldSome(w.commits, r)
		wasA, wasB := encoded(t, a.state), encoded(t, b.state)
		m := model{}
		m.join(a.model)
		m.join(b.model)
		ab, ba := Join(a.state, b.state), Join(b.state, a.state)
		if got, want := picture(ab), m.picture(); got != want {
			t.Fatalf("Join:\n%s\nwant\n%s", got, want)
		}
		if ab.Digest() != ba.Digest() || vectorOf(ab) != vectorOf(ba) {
			t.Fatal("Join(a, b) is not Join(b, a)")
		}
		if got := Join(ab, a.state); got.Digest() != ab.Digest() {
			t.Fatal("joining again changed something")
		}
		for _, c := range w.commits { // going on from there is as if all had been folded one by one
			if ab.Head(c.Inc).Seq+1 == c.Seq {
				ab = ab.Fold(c, hashOf(c), ab.Index()+1, ab.At())
			}
		}
		if got, want := ab.Digest(), w.hosts[0].state.Digest(); got != want {
			t.Fatalf("folding on after Join: digest %s, want %s", got, want)
		}
		if !bytes.Equal(encoded(t, a.state), wasA) || !bytes.Equal(encoded(t, b.state), wasB) {
			t.Fatal("Join changed what it joined")
		}
	})
}

// foldSome is a host that has heard some of each incarnation.
func foldSome(commits []*events.Commit, r *rand.Rand) *host {
	h := &host{state: NewState(), model: model{}, log: map[events.ID]*events.Commit{}}
	upTo := map[events.Incarnation]uint64{}
	for _, c := range commits {
		if _, ok := upTo[c.Inc]; !ok {
			upTo[c.Inc] = uint64(r.IntN(30))
		}
		if c.Last() <= upTo[c.Inc] {
			h.admit(c)
		}
	}
	return h
}
