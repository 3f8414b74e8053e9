package projection

import (
	"encoding/json"
	"time"
)

// Read reads what s shows under a key; false, and the zero value, when it shows nothing, or nothing that can be read.
func Read[T any](s *State, key string) (v T, ok bool) {
	o, ok := s.Lookup(key)
	if !ok {
		return v, false
	}
	var read T
	if json.Unmarshal(o.Version.Object, &read) != nil {
		return v, false
	}
	return read, true
}

// Removed reports whether the host has been shut out of the cluster for good.
func (s *State) Removed(host string) bool {
	m, _ := Read[Member](s, MemberKey(host))
	return m.Removed
}

// Hearing is whom one host hears, by what it has recorded of it: whoever looks at the same state sees the same.
type Hearing struct {
	Sight
	host  string
	index uint64 // of the event that says so; 0: it has said nothing yet, and hears all
}

// HeardBy is whom the host hears.
func (s *State) HeardBy(host string) Hearing {
	h := Hearing{host: host}
	sight, ok := Read[Sight](s, SightKey(host))
	if o, _ := s.Lookup(SightKey(host)); ok {
		h.Sight, h.index = sight, o.Version.Index
	}
	return h
}

// Left reports whether the other host has said that it stops, and the one that hears has not said since that it hears it all the same.
func (h Hearing) Left(s *State, other string) bool {
	fact, ok := Read[Host](s, HostKey(other))
	if !ok || fact.Left.IsZero() {
		return false
	}
	_, silent := h.Silent[other]
	o, _ := s.Lookup(HostKey(other))
	return silent || h.index <= o.Version.Index
}

// Absence is why nothing that a host said last need be so any more.
type Absence int

// The absences of a host.
const (
	HostHere    Absence = iota
	HostSilent          // it is not heard, and nobody knows why
	HostStopped         // it has said that its agent stops: its containers run on, and nobody looks after them
	HostOff             // it has said that all of it goes down, its containers too
	HostDown            // somebody gave their word that it is dead
	HostRemoved         // it was shut out for good
)

// Absence is why the other host is away, and since when. The one that hears is always here: it answers. What is heard of another goes before what that,
// or a person, said of it last: one that is back on a full disk can take nothing back.
func (h Hearing) Absence(s *State, other string) (Absence, time.Time) {
	if other == "" || other == h.host {
		return HostHere, time.Time{}
	}
	fact, spoke := Read[Host](s, HostKey(other))
	node, _ := Read[Node](s, NodeKey(other))
	since, silent := h.Silent[other]
	left := h.Left(s, other)
	switch {
	case s.Removed(other):
		o, _ := s.Lookup(MemberKey(other))
		return HostRemoved, o.Stamp.Time.Wall()
	case !node.Down.IsZero() && (!spoke || node.Down.After(fact.Started)) && (silent || left || h.index == 0):
		return HostDown, node.Down
	case left && fact.Off:
		return HostOff, fact.Left
	case left:
		return HostStopped, fact.Left
	case silent:
		return HostSilent, since
	}
	return HostHere, time.Time{}
}
