package projection

import (
	"bytes"
	"cmp"
	"encoding/json"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/podman-swarm/podman-swarm/events"
)

// State is what the events of a log add up to. A State that has been handed out never changes; it may be read from
// any goroutine, without locks. The next one shares all but the touched part with it.
type State struct {
	objects *btree.Map[string, *entry] // by key
	vector  []Head                     // sorted by incarnation
	index   uint64
	at      time.Time
	copying sync.Mutex // btree.Map.Copy writes to its receiver
}

// Head is how far one incarnation's events have been folded in: its last seq, and the hash of the commit that
// ended with it, which is the head of its hash chain.
type Head struct {
	Inc  events.Incarnation
	Seq  uint64
	Hash events.Hash
}

// Version is one version of an object, as an event gave it.
type Version struct {
	Kind   events.Kind
	Stamp  events.Stamp
	Base   events.Stamp    // the version that its writer replaced
	For    events.Stamp    // of a decision: the declaration it carries out
	Index  uint64          // of the event, in this host's log
	Object json.RawMessage // compact JSON, shared: never to be changed
}

// Object is what a key shows: the live object with the greatest version.
type Object struct {
	Key string
	UID events.ID
	*Version
}

// Conflict is a declared version that is not shown although nobody who had seen it replaced it: another version of
// the object won, or its end, or another object of the same key. What the key shows differs from it.
type Conflict struct {
	Object      // the version that lost
	Ended  bool // the object it belongs to has ended
	// Open says that a later version of the object is known of and has not come, which may have replaced this one
	// knowingly. That lasts a moment, or for ever where the other is on a lost disk: so it is listed all the same.
	Open bool
}

// entry is all that is known of a key: every object that ever had it and still matters. Immutable once published.
type entry struct {
	key   string
	lives []life  // sorted by uid
	first [1]life // room for the one that there nearly always is
}

// life is one object from its creation to its end.
type life struct {
	uid   events.ID
	ended bool
	top   *Version   // the greatest version; nil once ended, and before any was heard
	lost  []*Version // declared: other versions that no known event replaced, sorted by stamp
	// missing are versions that were replaced before they came (hosts are heard in any order), sorted. When one
	// comes, it is known to be no leaf.
	missing []events.Stamp
}

// NewState is the state before the first event.
func NewState() *State { return &State{objects: btree.NewMap[string, *entry](0)} }

// clone is a state that may be folded into without s being touched.
func (s *State) clone() *State {
	s.copying.Lock()
	defer s.copying.Unlock()
	return &State{objects: s.objects.Copy(), vector: slices.Clone(s.vector), index: s.index, at: s.at}
}

// Index is the index, in this host's log, of the last event folded in.
func (s *State) Index() uint64 { return s.index }

// At is when this host wrote the last event folded in.
func (s *State) At() time.Time { return s.at }

// Len is the number of keys that the state holds, those that show nothing included.
func (s *State) Len() int { return s.objects.Len() }

// Vector gives the heads, sorted by incarnation. It must not be changed.
func (s *State) Vector() []Head { return s.vector }

// Head is the incarnation's head; zero when none of its events has been folded in.
func (s *State) Head(inc events.Incarnation) Head {
	if i, ok := s.find(inc); ok {
		return s.vector[i]
	}
	return Head{Inc: inc}
}

// Covers reports whether the event has been folded in. A covered uid, or version, that the state does not show has
// ended, or been replaced: that is how a host may tell what is over from what it has not heard of yet.
func (s *State) Covers(id events.ID) bool {
	i, ok := s.find(id.Inc)
	return ok && id.Seq <= s.vector[i].Seq
}

func (s *State) find(inc events.Incarnation) (int, bool) {
	return slices.BinarySearchFunc(s.vector, inc, func(h Head, inc events.Incarnation) int { return cmp.Compare(h.Inc, inc) })
}

// Lookup is the object that the key shows; false when there is none.
func (s *State) Lookup(key string) (Object, bool) {
	e, ok := s.objects.Get(key)
	if !ok {
		return Object{}, false
	}
	return e.shown()
}

// Lives are the objects that the state holds of a key, by uid: those that live, each with its greatest version, and without one (Version is nil)
// those that have ended and are not forgotten yet. Of another that it covers nothing matters any more: it has ended.
func (s *State) Lives(key string) []Object {
	e, ok := s.objects.Get(key)
	if !ok {
		return nil
	}
	var all []Object
	for i := range e.lives {
		all = append(all, Object{key, e.lives[i].uid, e.lives[i].top})
	}
	return all
}

// All gives every shown object whose key begins with prefix, in key order.
func (s *State) All(prefix string) iter.Seq[Object] {
	return func(yield func(Object) bool) {
		s.objects.Ascend(prefix, func(key string, e *entry) bool {
			if !strings.HasPrefix(key, prefix) {
				return false
			}
			o, ok := e.shown()
			return !ok || yield(o)
		})
	}
}

// Conflicts gives every version that lost unseen and differs from what its key shows, in key order, and then by uid
// and stamp. It reads the whole state.
func (s *State) Conflicts() []Conflict {
	var all []Conflict
	s.objects.Scan(func(_ string, e *entry) bool {
		all = e.conflicts(all)
		return true
	})
	return all
}

func (e *entry) conflicts(all []Conflict) []Conflict {
	shown, ok := e.shown()
	for i := range e.lives {
		l := &e.lives[i]
		for _, v := range l.leaves() {
			if branches(v.Kind) && (!ok || !same(v.Object, shown.Version.Object)) {
				all = append(all, Conflict{Object{e.key, l.uid, v}, l.ended, len(l.missing) > 0 && v.Stamp.Less(l.missing[len(l.missing)-1])})
			}
		}
	}
	return all
}

// same reports whether two versions say the same, apart from what hosts count in them: how often the object was
// changed, and when it was made. Two hosts that are given one manifest count differently.
func same(a, b json.RawMessage) bool {
	return bytes.Equal(a, b) || bytes.Equal(content(a), content(b))
}

func content(o json.RawMessage) json.RawMessage {
	var all, meta map[string]json.RawMessage
	if json.Unmarshal(o, &all) != nil || json.Unmarshal(all["metadata"], &meta) != nil {
		return o
	}
	delete(meta, "generation")
	delete(meta, "creationTimestamp")
	all["metadata"] = Encode(meta)
	return Encode(all)
}

// shown is the live object with the greatest version.
func (e *entry) shown() (Object, bool) {
	var best *life
	for i := range e.lives {
		if l := &e.lives[i]; l.top != nil && (best == nil || best.top.less(l.top)) {
			best = l
		}
	}
	if best == nil {
		return Object{}, false
	}
	return Object{e.key, best.uid, best.top}, true
}

// compare orders versions. A decision for a newer declaration is newer, whenever it was made: two hosts that decide at
// the same time, one of them behind, do no lasting harm.
func (v *Version) compare(o *Version) int {
	return cmp.Or(v.carriesOut().Compare(o.carriesOut()), v.Stamp.Compare(o.Stamp))
}

func (v *Version) carriesOut() events.Stamp {
	if v.Kind == events.Decided {
		return v.For
	}
	return events.Stamp{}
}

func (v *Version) less(o *Version) bool { return v.compare(o) < 0 }
