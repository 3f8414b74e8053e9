package projection

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
)

// again is what is given up of an incarnation, as it is recorded again.
type again struct {
	renumbering
	created map[events.ID]string          // the keys of its objects, by the uids that are given up
	moved   map[events.Stamp]events.Stamp // what versions of its objects are stamped now
	before  map[events.Stamp]events.Stamp // what versions are stamped that were given up before, see links.renumbered
	commits [][]byte                      // of the incarnation that follows
	says    [][]byte                      // what others have said of its objects, each of an incarnation of its own
}

// recordAgain makes of commits of one incarnation after event seq those of another, which follows from the first of them.
// What they say of each other says so under the new numbers, and so does what others said of their objects. What they say of
// what stands, under numbers which they have themselves, stays as it is. before is what the log says of versions that were given up before.
func recordAgain(given [][]byte, seq uint64, others []said, before map[events.Stamp]events.Stamp) (*again, error) {
	a := &again{created: map[events.ID]string{}, moved: map[events.Stamp]events.Stamp{}, before: before}
	var prev events.Hash
	for i, b := range given {
		c, err := events.ParseCommit(b)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			a.renumbering = renumbering{c.Inc, seq, forkOf(c.Inc, events.HashOf(b))}
		}
		for n := range c.Events {
			if e := &c.Events[n]; e.UID == c.ID(n) && e.Base.IsZero() { // else it changes what stands, which has its number
				a.created[c.ID(n)] = c.Events[n].Key
			}
			to := c.Stamp(n)
			a.id(&to.ID)
			a.moved[c.Stamp(n)] = to
		}
		for n := range c.Events {
			a.event(&c.Events[n], c.ID(n))
		}
		c.Inc, c.Seq, c.Prev = a.to, c.Seq-seq, prev
		again, err := c.Append(nil)
		if err != nil {
			return nil, fmt.Errorf("record again event %d of incarnation %v: %w", c.Seq+seq, a.inc, err)
		}
		prev = events.HashOf(again)
		a.commits = append(a.commits, again)
	}
	return a, a.say(others)
}

// said is a commit of another incarnation, and the hash of its bytes.
type said struct {
	events.Commit
	hash events.Hash
}

// say adds what others have said of objects that are given up: what they deleted must not come back because its creation has
// another number now, and what they changed must not stay behind under the old one. Each is of an incarnation that follows
// from the commit that said so: what another host knows of others may be more or less than what this one does.
func (a *again) say(others []said) error {
	slices.SortStableFunc(others, func(a, b said) int { return a.Stamp(0).Compare(b.Stamp(0)) }) // what is replaced comes first
	for _, c := range others {
		again := events.Commit{Inc: forkOf(a.to, c.hash), Seq: 1, Time: min(c.Time+1, events.LastTime), Node: c.Node, Actor: c.Actor, Cause: c.Cause}
		for n := range c.Events {
			if e, ok := a.follow(&c.Events[n], c.Stamp(n)); ok {
				if e.Object != nil {
					a.moved[c.Stamp(n)] = again.Stamp(len(again.Events))
				}
				again.Events = append(again.Events, e)
			}
		}
		if len(again.Events) == 0 {
			continue
		}
		b, err := again.Append(nil)
		if err != nil {
			return fmt.Errorf("record again %v: %w", c.Stamp(0), err)
		}
		a.says = append(a.says, b)
	}
	return nil
}

// follow gives what an event of another incarnation says of objects that are given up, under their new numbers, if it says
// anything. The stamps of versions tell whether these objects are meant, and not others that were given their numbers.
func (a *again) follow(e *events.Event, stamp events.Stamp) (events.Event, bool) {
	again := events.Event{Kind: e.Kind, Key: e.Key}
	for _, end := range e.Ends {
		base, ok := a.now(end.Base)
		was := end.UID
		if !ok || !a.uid(&end.UID, e.Key) {
			continue
		}
		if e.Object != nil && (e.UID == was || e.UID == end.UID) {
			continue // it ends nothing, or nothing but the old number
		}
		end.Base = base
		again.UID, again.Base, again.Ends = end.UID, base, append(again.Ends, end)
	}
	uid := e.UID
	if base, ok := a.now(e.Base); ok && e.Object != nil && a.uid(&uid, e.Key) {
		if !branches(e.Kind) { // who decides, or observes, does it anew
			a.moved[stamp] = stamp
			return again, len(again.Ends) > 0
		}
		again.UID, again.Base, again.For, again.Object = uid, base, a.stamp(e.For), e.Object
		again.Ends = append(again.Ends, events.End{UID: e.UID, Base: stamp}) // under the old number it is over
	}
	return again, again.Object != nil || len(again.Ends) > 0
}

// partedError says that what others have recorded again after an event of an incarnation must be given up first.
type partedError struct {
	inc events.Incarnation
	seq uint64
}

func (e *partedError) Error() string {
	return fmt.Sprintf("what others have recorded again under incarnation %v after event %d is given up", e.inc, e.seq)
}

// fit is all commits that are recorded again, as they follow on what is known in a state. From the same commit on, others may have
// given up another chain, as when a disk was put back twice: then two commits have one number again, and which stands is decided as ever.
func (a *again) fit(s *State, known *links) (all [][]byte, err error) {
	for {
		chain, _ := known.chain(s.Head(a.to))
		n, hash := 0, events.Hash{}
		for ; n < len(a.commits); n++ {
			if hash = events.HashOf(a.commits[n]); s.Forgone(a.to, hash) || n < len(chain) && hash != known.all[chain[n]].hash {
				break
			}
		}
		all = append(all, a.commits[:n]...)
		for _, b := range a.says {
			if b, err = alone(b, s); err != nil {
				return nil, err
			}
			all = append(all, b)
		}
		if n == len(a.commits) {
			return all, nil
		}
		first, err := events.ParseCommit(a.commits[n])
		if err != nil {
			return nil, err
		}
		if !s.Forgone(a.to, hash) && bytes.Compare(hash[:], known.all[chain[n]].hash[:]) < 0 {
			return nil, &partedError{a.to, first.Seq - 1}
		}
		var others []said
		for _, b := range a.says {
			c, err := events.ParseCommit(b)
			if err != nil {
				return nil, err
			}
			others = append(others, said{c, events.HashOf(b)})
		}
		if a, err = recordAgain(a.commits[n:], first.Seq-1, others, nil); err != nil {
			return nil, err
		}
	}
}

// alone is a commit that is the only one of its incarnation, or the same under another where the state knows another by its number: who
// knew of more, or of less, may have recorded the same again in other words.
func alone(b []byte, s *State) ([]byte, error) {
	c, err := events.ParseCommit(b)
	for err == nil {
		hash := events.HashOf(b)
		if head := s.Head(c.Inc); head.Hash == hash || head.Seq == 0 && !s.Forgone(c.Inc, hash) {
			break
		}
		c.Inc = forkOf(c.Inc, hash)
		b, err = c.Append(nil)
	}
	return b, err
}

// forkOf is the incarnation under which is recorded again what was given up of another, from a certain commit on.
func forkOf(inc events.Incarnation, first events.Hash) events.Incarnation {
	b := binary.LittleEndian.AppendUint64([]byte("podman-swarm fork "), uint64(inc))
	sum := sha256.Sum256(append(b, first[:]...))
	return cmp.Or(events.Incarnation(binary.LittleEndian.Uint64(sum[:])), 1)
}

// renumbering is what ids become of an incarnation's events after one.
type renumbering struct {
	inc   events.Incarnation
	after uint64
	to    events.Incarnation
}

func (r *renumbering) of(id events.ID) bool { return id.Inc == r.inc && id.Seq > r.after }

// named reports whether the event is about an object of the incarnation's.
func (r *renumbering) named(e events.Event) bool {
	return r.of(e.UID) || slices.ContainsFunc(e.Ends, func(end events.End) bool { return r.of(end.UID) })
}

func (r *renumbering) id(id *events.ID) {
	if r.of(*id) {
		id.Inc, id.Seq = r.to, id.Seq-r.after
	}
}

// uid renumbers the uid of an object of that key, and reports whether it is one of those that are given up.
func (a *again) uid(id *events.ID, key string) bool {
	if of, ok := a.created[*id]; !ok || of != key {
		return false
	}
	a.id(id)
	return true
}

// now is what a version of an object that is given up is stamped now; false for others. Who changed it may know it by a number that was
// given up before. Only what others say may be told so: what is given up is recorded in the same words by all, whatever they know.
func (a *again) now(was events.Stamp) (events.Stamp, bool) {
	now, ok := a.moved[was]
	for !ok {
		if was, ok = a.before[was]; !ok {
			return events.Stamp{}, false
		}
		now, ok = a.moved[was]
	}
	return now, true
}

// stamp is what the version is stamped now.
func (a *again) stamp(was events.Stamp) events.Stamp {
	if now, ok := a.moved[was]; ok {
		return now
	}
	return was
}

// event renumbers what an event that is given up says, which had that number.
func (a *again) event(e *events.Event, was events.ID) {
	e.Object = redecided(e.Kind, e.Key, e.Object, was, a.uid)
	a.uid(&e.UID, e.Key)
	e.Base, e.For = a.stamp(e.Base), a.stamp(e.For)
	for i := range e.Ends {
		a.uid(&e.Ends[i].UID, e.Key)
		e.Ends[i].Base = a.stamp(e.Ends[i].Base)
	}
}

// redecided is what an event that had another number says, with that in it if it is a placement: containers are labelled by it. Whose the
// placement is, uid tells, of what was created under a key. All that is not known here stays.
func redecided(kind events.Kind, key string, object json.RawMessage, was events.ID, uid func(id *events.ID, key string) bool) json.RawMessage {
	pod, host, ok := PodOf(key)
	if kind != events.Decided || !ok || host != "" || object == nil {
		return object
	}
	var p struct {
		Owner events.ID   `json:"owner"`
		Was   []events.ID `json:"was"`
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(object, &all) != nil || all == nil {
		return object
	}
	if json.Unmarshal(object, &p) == nil && uid(&p.Owner, DeploymentKey(pod.Namespace, pod.Deployment)) {
		all["owner"] = Encode(p.Owner)
	}
	all["was"] = Encode(append(p.Was, was))
	return Encode(all)
}
