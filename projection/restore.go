package projection

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// RestoreType is the type of the fact that something is or was restored: restore/ID, observed, by the host that does it.
const RestoreType = "restore"

// RefusedType is the type of what was found in a state.json of version 1 and could not be declared: refused/KEY, observed.
const RefusedType = "refused"

// RefusedKey is the key of what would have been declared under a key.
func RefusedKey(key string) string { return RefusedType + "/" + key }

// RestoreKey is the key of a restore.
func RestoreKey(id string) string { return RestoreType + "/" + id }

// Declarations are objects that people declared, by key. In what is to be restored, nil leaves alone what is there.
type Declarations map[string]json.RawMessage

// Declarations are what the state shows of what people declared. What they say of hosts is left out: it is about machines as
// they are now.
func (s *State) Declarations() Declarations {
	all := Declarations{}
	for o := range s.All("") {
		if restorable(o) {
			all[o.Key] = o.Version.Object
		}
	}
	return all
}

func restorable(o Object) bool {
	return o.Kind == events.Declared && !strings.HasPrefix(o.Key, NodeType+"/")
}

// Restore has what was declared at another time declared again: every object in scope, also one that is the same, so that it wins
// over what hosts that are away did before; and what was not there then is ended. Placements, observations, trust, and what people say
// of hosts stay as they are: a token that was revoked stays so, and a host that is drained.
//
// It is done in commits of bounded size, each of which begins with this fact. So whoever finds it unfinished after a crash goes on
// from there, and it is known which versions it made.
type Restore struct {
	Host   string    `json:"host"`             // that does it
	From   string    `json:"from"`             // name of the file, or, with Index, words for the moment
	Hash   string    `json:"hash,omitempty"`   // SHA-256 of the file's bytes, in hexadecimal
	Index  uint64    `json:"index,omitempty"`  // of Host's log: it restores what that says up to there, and no file
	Stood  time.Time `json:"stood,omitzero"`   // where it was found as state.json: its time of modification. Then it is restored once
	Only   []string  `json:"only,omitempty"`   // these keys, and what is below them; none: all
	Before string    `json:"before"`           // the backup, on Host, of what was there before
	Undoes string    `json:"undoes,omitempty"` // the id of the restore that this one takes back
	Asked  time.Time `json:"asked"`
	Done   time.Time `json:"done,omitzero"`
	// Seen is what Host had folded when it began. What comes later, was made before, and is not in it, survives unseen.
	Seen map[events.Incarnation]uint64 `json:"seen"`
	// Heard are those of the hosts of which Host knew then that it had folded all: what of theirs is not in Seen was made since, whatever clocks say.
	Heard []events.Incarnation `json:"heard,omitempty"`

	Events int      `json:"events"`          // that follow this one in its commit
	Spans  []Span   `json:"spans,omitempty"` // the commits before that
	After  string   `json:"after,omitempty"` // the last key that has been seen to
	Ended  []string `json:"ended,omitempty"` // keys whose object it has ended
	Count  int      `json:"count"`           // objects declared and ended so far
}

// Span is some events of an incarnation, one after the other.
type Span struct {
	First events.ID `json:"first"`
	Count int       `json:"count"`
}

// LookupRestore is the restore of that id, all of its commits in its Spans; false where there is none that can be read.
func (s *State) LookupRestore(id string) (Restore, bool) {
	r, ok := Read[Restore](s, RestoreKey(id))
	if !ok {
		return r, false
	}
	o, _ := s.Lookup(RestoreKey(id))
	r.Spans = append(r.Spans, Span{o.Stamp.ID, 1 + r.Events})
	return r, true
}

// Saw has the restore remember what s has folded.
func (r *Restore) Saw(s *State) {
	r.Seen = map[events.Incarnation]uint64{}
	for _, h := range s.Vector() {
		r.Seen[h.Inc] = h.Seq
	}
}

// Hears has the restore remember that s has all that those hosts had done.
func (r *Restore) Hears(s *State, hosts []string) {
	for _, host := range hosts {
		if o, ok := s.Lookup(HostKey(host)); ok {
			r.Heard = append(r.Heard, o.Stamp.Inc)
		}
	}
}

// Moved reports whether of what the restore is of anything was declared, or ended, between two states.
func (r *Restore) Moved(from, to *State) bool {
	n := 0
	for o := range to.All("") {
		if !restorable(o) || !r.InScope(o.Key) {
			continue
		}
		if was, ok := from.Lookup(o.Key); !ok || was.Stamp != o.Stamp {
			return true
		}
		n++
	}
	for o := range from.All("") {
		if restorable(o) && r.InScope(o.Key) {
			n--
		}
	}
	return n != 0
}

// missed reports whether a version was made before the restore was asked for, and not seen. Of a host that was not heard then only its clock tells. The one that restores
// misses nothing of its own, also within the millisecond that its clock does not tell apart.
func (r *Restore) missed(v events.Stamp) bool {
	return v.Seq > r.Seen[v.Inc] && v.Inc != r.Spans[0].First.Inc && !slices.Contains(r.Heard, v.Inc) && v.Time.Wall().Before(r.Asked)
}

// made reports whether a version is one that the restore made.
func (r *Restore) made(v events.ID) bool {
	return slices.ContainsFunc(r.Spans, func(s Span) bool {
		return v.Inc == s.First.Inc && v.Seq >= s.First.Seq && v.Seq < s.First.Seq+uint64(s.Count)
	})
}

// InScope reports whether the restore is about a key.
func (r *Restore) InScope(key string) bool {
	return len(r.Only) == 0 || slices.ContainsFunc(r.Only, func(only string) bool { return key == only || strings.HasPrefix(key, only+"/") })
}

// Next gives the changes of the restore's next commit upon s, and the restore as it will then be, the first of the changes: want is what is
// to be there, undone is what Undoes names, or nil, and was is what was there when the restore began, or nil where it begins now. The objects in
// it have most bytes, or one more than that. It is pure, and what it says when Done is set again is nothing.
func (r Restore) Next(id string, s *State, want Declarations, undone *Restore, was Declarations, most int, now time.Time) []Change {
	keys := maps.Clone(want)
	maps.Copy(keys, s.Declarations())
	var changes []Change
	size := 0
	r.Done = now
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if key <= r.After || !r.InScope(key) {
			continue
		}
		if size >= most {
			r.Done = time.Time{}
			break
		}
		r.After = key
		shown, there := s.Lookup(key)
		if undone != nil && !undone.touched(key, shown, there) || was != nil && r.passed(was[key] != nil, shown, there) {
			continue
		}
		o, wanted := want[key]
		switch {
		case wanted && o == nil:
			continue
		case wanted:
			changes = append(changes, Change{Kind: events.Declared, Key: key, Object: o})
		case there:
			changes = append(changes, Change{Kind: events.Declared, Key: key})
			r.Ended = append(r.Ended, key)
		default:
			continue
		}
		size += len(key) + len(o)
	}
	r.Events = len(changes)
	r.Count += len(changes)
	return append([]Change{{Kind: events.Observed, Key: RestoreKey(id), Object: Encode(r)}}, changes...)
}

// touched reports whether what a key shows is still as the restore left it.
func (r *Restore) touched(key string, shown Object, there bool) bool {
	if there {
		return r.made(shown.Stamp.ID)
	}
	return slices.Contains(r.Ended, key)
}

// Kept are the keys of the restore at which an undo of it leaves what differs from what was there before (was): somebody has changed it since, or ended it.
func (r *Restore) Kept(s *State, was Declarations) (keys []string) {
	all := s.Declarations()
	maps.Copy(all, was)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		shown, there := s.Lookup(key)
		o, before := was[key]
		if !r.InScope(key) || before && o == nil || r.touched(key, shown, there) { // nil: of that nobody knows what it was
			continue
		}
		if there != before || there && !bytes.Equal(shown.Version.Object, o) {
			keys = append(keys, key)
		}
	}
	return keys
}

// passed reports whether somebody has changed what a key shows, or ended it, since the restore began, which had not come to the key yet: it was there then (was), or was
// not. That stands, as what is done after a restore does, however late this one is gone on with. What was changed before, and missed, does not.
func (r *Restore) passed(was bool, shown Object, there bool) bool {
	if !there {
		return was
	}
	return shown.Stamp.Seq > r.Seen[shown.Stamp.Inc] && !r.missed(shown.Stamp)
}

// Overrides reports whether what another restore, of that id, has not done yet is to be done no more: this one takes it back, or was asked for later, of all that the other
// is of. A restore that takes back another is of what that one did alone.
func (r *Restore) Overrides(id string, o *Restore) bool {
	if r.Undoes != "" {
		return r.Undoes == id
	}
	if len(r.Only) > 0 && (len(o.Only) == 0 || slices.ContainsFunc(o.Only, func(key string) bool { return !r.InScope(key) })) {
		return false
	}
	return r.saw(o) || !o.saw(r) && r.Asked.After(o.Asked) // clocks tell only of those that did not know of each other
}

// saw reports whether the restore was begun by who knew that the other had been.
func (r *Restore) saw(o *Restore) bool {
	first := o.Spans[0].First
	return r.Seen[first.Inc] >= first.Seq
}

// Unseen are the objects that were declared somewhere else before the restore was asked for, by the clock there, and which it had not seen: they survived it. That a
// host was heard does not tell here: what it did in the last moment may have been on its way.
func (r *Restore) Unseen(s *State) (all []Object) {
	for o := range s.All("") {
		if restorable(o) && r.InScope(o.Key) && o.Stamp.Inc != r.Spans[0].First.Inc && o.Stamp.Time.Wall().Before(r.Asked) && o.Stamp.Seq > r.Seen[o.Stamp.Inc] && !r.made(o.Stamp.ID) {
			all = append(all, o)
		}
	}
	return all
}

// String is how the log tells of it.
func (r *Restore) String() string {
	what := "restore of " + r.From
	if r.Undoes != "" {
		what = "undo of restore " + r.Undoes
	}
	if len(r.Only) > 0 {
		what += fmt.Sprintf(" (only %s)", strings.Join(r.Only, ", "))
	}
	return what
}
