package events

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Kind says who may state a fact and how it is merged. Kinds that this version does not know are kept whole and
// merged like Declared ones.
type Kind string

// The kinds of fact.
const (
	Declared Kind = "declared" // by people: Deployments, Services, Ingresses, Namespaces
	Decided  Kind = "decided"  // placements; each is For one version of a declared object
	Observed Kind = "observed" // by a host, of its own containers and of itself; one writer per key
	Trust    Kind = "trust"    // members and tokens
)

// Event is one fact about one object.
type Event struct {
	Kind Kind   // who states it
	Key  string // what it is about: "deployment/default/nginx"
	UID  ID     // the object: id of the event that created it. Zero in a draft: this event creates
	Base Stamp  // the version it replaces, as its writer saw it; zero when there was none
	For  Stamp  // Decided: the declaration that is being carried out
	// Ends are objects of this key that end with this event, for good. In an event that carries an object, an end of its
	// own UID ends nothing: it names a version that was lost unseen, and that this event makes good.
	Ends []End
	// Object is the whole object afterwards, compact JSON; nil in a delete. It is never changed in place: it is
	// shared by everything that holds the event.
	Object json.RawMessage
}

// End says that an object is over, and the last version of it that the writer of the end had seen.
type End struct {
	UID  ID    `json:"uid"`
	Base Stamp `json:"base,omitzero"`
}

// Hash is the SHA-256 of a commit's bytes.
type Hash [sha256.Size]byte

// HashOf is the hash of a commit's bytes.
func HashOf(commit []byte) Hash { return sha256.Sum256(commit) }

// String is the hash as hexadecimal digits; the zero Hash, which begins a chain, is "".
func (h Hash) String() string {
	if h == (Hash{}) {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// MarshalText gives the hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (h *Hash) UnmarshalText(b []byte) error {
	*h = Hash{}
	if len(b) == 0 {
		return nil
	}
	if n, err := hex.Decode(h[:], b[:min(len(b), 2*len(h))]); err != nil || n != len(h) || len(b) != 2*len(h) {
		return fmt.Errorf("hash %q: want %d hexadecimal digits", b, 2*len(h))
	}
	return nil
}

// Commit is what was written together: one manifest, one record, one link of the hash chain, later one message.
// Its events share one time and are numbered Seq, Seq+1, ….
type Commit struct {
	Inc    Incarnation // who wrote it
	Seq    uint64      // number of its first event among Inc's, from 1
	Time   Time        // when, by the writer's hybrid clock
	Prev   Hash        // hash of Inc's commit before this one; zero in the first
	Node   string      // name of the host that wrote it
	Actor  string      // who asked for it
	Cause  string      // why
	Events []Event     // at least one
}

// ID is the id of the i-th event.
func (c *Commit) ID(i int) ID { return ID{c.Inc, c.Seq + uint64(i)} }

// Stamp is the stamp of the i-th event.
func (c *Commit) Stamp(i int) Stamp { return Stamp{c.Time, c.ID(i)} }

// Last is the number of the commit's last event.
func (c *Commit) Last() uint64 { return c.Seq + uint64(len(c.Events)) - 1 }

// check holds what must be true of every commit, whoever wrote it.
func (c *Commit) check() error {
	switch {
	case c.Inc == 0 || c.Seq == 0:
		return errors.New("commit without incarnation or seq")
	case len(c.Events) == 0:
		return errors.New("commit without events")
	case c.Last() < c.Seq:
		return errors.New("commit whose numbering overflows")
	case (c.Seq == 1) != (c.Prev == Hash{}):
		return errors.New("commit whose hash chain does not begin with its first event")
	}
	for i := range c.Events {
		e := &c.Events[i]
		if e.Kind == "" || !strings.Contains(e.Key, "/") {
			return fmt.Errorf("event %d: kind %q, key %q: want a kind and a key like type/name", i, e.Kind, e.Key)
		}
		if !e.UID.whole() || (len(e.Object) == 0 && (e.Object != nil || len(e.Ends) == 0)) {
			return fmt.Errorf("event %d of %s: no uid, or neither an object nor an end", i, e.Key)
		}
		if !e.Base.whole() || !e.For.whole() {
			return fmt.Errorf("event %d of %s: base %v, for %v: want stamps of events, or none", i, e.Key, e.Base, e.For)
		}
		for _, end := range e.Ends {
			if !end.UID.whole() || !end.Base.whole() {
				return fmt.Errorf("event %d of %s: end of %q at %v: want the id and the stamp of events", i, e.Key, end.UID, end.Base)
			}
		}
	}
	return nil
}
