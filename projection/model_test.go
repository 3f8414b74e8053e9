package projection

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// model is the rule of the fold without any of its economy: it keeps every event for ever, and works out what is
// shown, and what was lost, from the whole set each time it is asked. Whatever order they came in cannot matter to it.
type model map[events.ID]told

// told is one event as the model keeps it.
type told struct {
	events.Event
	stamp events.Stamp
}

func (m model) fold(c *events.Commit) {
	for i := range c.Events {
		m[c.ID(i)] = told{c.Events[i], c.Stamp(i)}
	}
}

func (m model) join(o model) {
	for id, e := range o {
		m[id] = e
	}
}

// tree is what the model makes of one uid of one key.
type tree struct {
	ended    bool
	versions []told
	replaced map[events.Stamp]bool
}

func (m model) trees(key string) map[events.ID]*tree {
	trees := map[events.ID]*tree{}
	of := func(uid events.ID) *tree {
		if trees[uid] == nil {
			trees[uid] = &tree{replaced: map[events.Stamp]bool{}}
		}
		return trees[uid]
	}
	replace := func(t *tree, e told, base events.Stamp) {
		if plain := e.Kind == events.Decided || e.Kind == events.Observed || e.Kind == events.Trust; plain || base.IsZero() || !base.Less(e.stamp) {
			return
		}
		t.replaced[base] = true
	}
	for _, e := range m {
		if e.Key != key {
			continue
		}
		for _, end := range e.Ends {
			t := of(end.UID)
			t.ended = t.ended || e.Object == nil || end.UID != e.UID
			replace(t, e, end.Base)
		}
		if e.Object != nil {
			t := of(e.UID)
			t.versions = append(t.versions, e)
			replace(t, e, e.Base)
		}
	}
	return trees
}

// shown is the greatest version of a uid that has not ended.
func (m model) shown(key string) (uid events.ID, best told, ok bool) {
	for id, t := range m.trees(key) {
		for _, v := range t.versions {
			if !t.ended && (!ok || newer(v, best)) {
				uid, best, ok = id, v, true
			}
		}
	}
	return uid, best, ok
}

func newer(a, b told) bool {
	var forA, forB events.Stamp
	if a.Kind == events.Decided {
		forA = a.For
	}
	if b.Kind == events.Decided {
		forB = b.For
	}
	return cmp.Or(forA.Compare(forB), a.stamp.Compare(b.stamp)) > 0
}

func (m model) keys() []string {
	set := map[string]bool{}
	for _, e := range m {
		set[e.Key] = true
	}
	var keys []string
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// picture is everything that one may see of a state, as text.
func (m model) picture() string {
	var b strings.Builder
	for _, key := range m.keys() {
		_, best, ok := m.shown(key)
		if ok {
			fmt.Fprintf(&b, "%s uid %s stamp %s base %s for %s kind %s %s\n", key, best.UID, best.stamp, best.Base, best.For, best.Kind, best.Object)
		}
		var lost []string
		for uid, t := range m.trees(key) {
			for _, v := range t.versions {
				if v.Kind != events.Decided && v.Kind != events.Observed && v.Kind != events.Trust &&
					!t.replaced[v.stamp] && (!ok || string(v.Object) != string(best.Object)) {
					lost = append(lost, fmt.Sprintf("lost %s uid %s stamp %s ended %v\n", key, uid, v.stamp, t.ended))
				}
			}
		}
		slices.Sort(lost)
		b.WriteString(strings.Join(lost, ""))
	}
	return b.String()
}

// picture is the same of a State.
func picture(s *State) string {
	var b strings.Builder
	lost := map[string][]string{}
	for _, c := range s.Conflicts() {
		lost[c.Key] = append(lost[c.Key], fmt.Sprintf("lost %s uid %s stamp %s ended %v\n", c.Key, c.UID, c.Stamp, c.Ended))
	}
	s.objects.Scan(func(key string, e *entry) bool {
		if o, ok := s.Lookup(key); ok {
			fmt.Fprintf(&b, "%s uid %s stamp %s base %s for %s kind %s %s\n", key, o.UID, o.Stamp, o.Base, o.For, o.Kind, o.Version.Object)
		}
		slices.Sort(lost[key])
		b.WriteString(strings.Join(lost[key], ""))
		return true
	})
	return b.String()
}

// host is one host of a simulated cluster: a state, the model of it, and the commits that it can still hand on.
type host struct {
	ledger *Ledger // stamps; nothing is written
	skew   int64
	state  *State
	model  model
	log    map[events.ID]*events.Commit // by the id of their first event
	floor  map[events.Incarnation]uint64
}

// admit folds a commit if it is the next of its incarnation.
func (h *host) admit(c *events.Commit) bool {
	if c.Seq != h.state.Head(c.Inc).Seq+1 {
		return false
	}
	h.state = h.state.Fold(c, hashOf(c), h.state.Index()+1, h.state.At())
	h.model.fold(c)
	h.log[c.ID(0)] = c
	return true
}

// hashOf stands in for the hash of a commit's bytes: different for different commits.
func hashOf(c *events.Commit) events.Hash {
	return events.HashOf(fmt.Append(nil, c.Inc, c.Last()))
}

// trim forgets commits up to seq of each incarnation, so that whoever is behind them has to take the state instead.
func (h *host) trim(upTo uint64) {
	for id, c := range h.log {
		if c.Last() <= upTo {
			delete(h.log, id)
			h.floor[c.Inc] = max(h.floor[c.Inc], c.Last())
		}
	}
}

// check holds the state to the model.
func (h *host) check(t testing.TB, what string) {
	t.Helper()
	if got, want := picture(h.state), h.model.picture(); got != want {
		t.Fatalf("after %s: state is\n%s\nwant\n%s", what, got, want)
	}
}

func vectorOf(s *State) string {
	var b strings.Builder
	for _, h := range s.Vector() {
		fmt.Fprintf(&b, "%s:%d ", h.Inc, h.Seq)
	}
	return b.String()
}
