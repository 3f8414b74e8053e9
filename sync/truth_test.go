package sync

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// truth is what hosts were asked to change and said that they had: by it is judged what they show later.
type truth struct {
	changes  []*change
	versions map[int]*version
	lives    int
	uids     map[int]events.ID             // of lives
	doubled  map[events.Incarnation]uint64 // from which number on one has meant two commits
	touched  map[string]bool               // keys of which commits with such numbers say something
}

// change is a commit that was acknowledged.
type change struct {
	number int
	by     string
	stamp  events.Stamp // of its first event
	events int
	gives  []int // versions
	takes  []int // versions that its writer had seen, and replaced or ended
	ends   []int // lives
	lost   bool  // nothing holds it any more
}

type version struct {
	key   string
	life  int
	stamp events.Stamp
	of    *change
	// takenBy are the changes that replaced or ended it knowingly.
	takenBy []*change
}

func newTruth() *truth { return &truth{versions: map[int]*version{}, uids: map[int]events.ID{}} }

// cause names the change in its commit, under whatever number that is known.
func (c *change) cause() string { return fmt.Sprint("change ", c.number) }

// there reports whether the state has folded the change. When nothing holds it any more, another may be given its number.
func (c *change) there(s *projection.State) bool { return !c.lost && s.Covers(c.stamp.ID) }

// whole reports whether the state has folded all of the change, or nothing.
func (c *change) whole(s *projection.State) bool {
	last := c.stamp.ID
	last.Seq += uint64(c.events) - 1
	return c.lost || s.Covers(c.stamp.ID) == s.Covers(last)
}

// happened notes an acknowledged change, and that of the keys it leaves the given contents.
func (t *truth) happened(c *change, keys []string, now []content) {
	t.changes = append(t.changes, c)
	for i, k := range keys {
		stamp := c.stamp
		stamp.Seq += uint64(i)
		t.versions[now[i].Version] = &version{key: k, life: now[i].Life, stamp: stamp, of: c}
		c.gives = append(c.gives, now[i].Version)
		if _, ok := t.uids[now[i].Life]; !ok {
			t.uids[now[i].Life] = stamp.ID
		}
	}
	for _, v := range c.takes {
		if o := t.versions[v]; o != nil {
			o.takenBy = append(o.takenBy, c)
		}
	}
}

// ended reports whether the change ended the life: where a fork has made two objects of it, not if it went on with one of them.
func (t *truth) ended(c *change, life int) bool {
	return slices.Contains(c.ends, life) && !slices.ContainsFunc(c.gives, func(v int) bool { return t.versions[v].life == life })
}

// double finds out which numbers do not say which commit is meant.
func (t *truth) double() {
	t.doubled, t.touched = map[events.Incarnation]uint64{}, map[string]bool{}
	by := map[events.ID]bool{}
	for _, c := range t.changes {
		if from, ok := t.doubled[c.stamp.Inc]; by[c.stamp.ID] && (!ok || c.stamp.Seq < from) {
			t.doubled[c.stamp.Inc] = c.stamp.Seq
		}
		by[c.stamp.ID] = true
	}
	for _, c := range t.changes {
		if !t.ambiguous(c) {
			continue
		}
		for _, v := range slices.Concat(c.gives, c.takes) {
			t.touched[t.versions[v].key] = true
		}
	}
}

// ambiguous reports whether the number of a change, or one before it of its incarnation, has meant two commits.
func (t *truth) ambiguous(c *change) bool {
	from, ok := t.doubled[c.stamp.Inc]
	return ok && c.stamp.Seq >= from
}

// picture is what a state must show that has folded the changes that it has folded, and list as lost, of keys that are not touched.
func (t *truth) picture(s *projection.State) string {
	ended := map[int]bool{}
	for _, c := range t.changes {
		if c.there(s) {
			for _, life := range c.ends {
				ended[life] = true
			}
		}
	}
	leaves := map[string][]int{}
	shown := map[string]int{}
	for v, o := range t.versions {
		if !o.of.there(s) || slices.ContainsFunc(o.takenBy, func(c *change) bool { return c.there(s) }) {
			continue
		}
		leaves[o.key] = append(leaves[o.key], v)
		if best := t.versions[shown[o.key]]; !ended[o.life] && (best == nil || best.stamp.Less(o.stamp)) {
			shown[o.key] = v
		}
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(leaves)) {
		if t.touched[k] {
			continue
		}
		lost := slices.DeleteFunc(leaves[k], func(v int) bool { return v == shown[k] })
		slices.Sort(lost)
		fmt.Fprintf(&b, "%s shows %d, lost %v\n", k, shown[k], lost)
	}
	return b.String()
}

// pictureOf is the same, as the state says it.
func pictureOf(s *projection.State, touched map[string]bool) string {
	shown := map[string]int{}
	lost := map[string][]int{}
	for o := range s.All("deployment/") {
		shown[o.Key] = contentOf(o.Version.Object).Version
		lost[o.Key] = nil
	}
	for _, c := range s.Conflicts() {
		lost[c.Key] = append(lost[c.Key], contentOf(c.Version.Object).Version)
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(lost)) {
		if touched[k] {
			continue
		}
		slices.Sort(lost[k])
		fmt.Fprintf(&b, "%s shows %d, lost %v\n", k, shown[k], append([]int{}, lost[k]...))
	}
	return b.String()
}

// others are the live objects of the key that the host knows beside the one shown. Any change of the key ends them.
func others(n *node, name string) (all []content) {
	shown, _ := n.ledger.View().Lookup(key(name))
	greatest := map[events.ID]projection.Conflict{}
	for _, c := range n.ledger.View().Conflicts() {
		if c.Key == key(name) && !c.Ended && c.UID != shown.UID && (greatest[c.UID].Version == nil || greatest[c.UID].Stamp.Less(c.Stamp)) {
			greatest[c.UID] = c
		}
	}
	for _, uid := range slices.SortedFunc(maps.Keys(greatest), events.ID.Compare) {
		all = append(all, contentOf(greatest[uid].Version.Object))
	}
	return all
}

// visible are the versions that a host shows or lists as lost.
func visible(s *projection.State) map[int]bool {
	all := map[int]bool{}
	for o := range s.All("deployment/") {
		all[contentOf(o.Version.Object).Version] = true
	}
	for _, c := range s.Conflicts() {
		all[contentOf(c.Version.Object).Version] = true
	}
	return all
}
