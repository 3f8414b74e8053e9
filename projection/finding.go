package projection

import (
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// FindingType is the type of the fact that a host has found the log of another not to be what it was: finding/HOST/OTHER,
// observed, by HOST, the newest of OTHER alone. Those of before are in the log.
const FindingType = "finding"

// Finding is what one host has found of the log of another.
type Finding struct {
	Incarnation events.Incarnation `json:"incarnation"`
	First       uint64             `json:"first"` // event of it that is missing, or another
	// Had is the last event that had been on the other's disk, Has the last that still was; absent where it has other events instead.
	Had uint64    `json:"had,omitempty"`
	Has uint64    `json:"has,omitempty"`
	At  time.Time `json:"at"`
}

// FindingKey is the key of what a host has found of another.
func FindingKey(host, other string) string { return FindingType + "/" + host + "/" + other }

// ClashType is the type of the fact that changes were lost unseen which a host had recorded: clash/HOST, observed, the newest alone.
const ClashType = "clash"

// Clash is changes of one host that others won against, whose authors had not seen them.
type Clash struct {
	Lost []LostChange `json:"lost"`
	More int          `json:"more,omitempty"` // beyond those
}

// LostChange is one of them.
type LostChange struct {
	Key   string       `json:"key"`
	Event events.ID    `json:"event"`
	Shown events.Stamp `json:"shown,omitzero"` // the version that is shown instead; none: the object has ended
}

// ClashKey is the key under which a host tells of its changes that were lost unseen.
func ClashKey(host string) string { return ClashType + "/" + host }

// ConflictsOf gives the versions of one key that lost unseen and differ from what it shows, by uid and stamp.
func (s *State) ConflictsOf(key string) []Conflict {
	e, ok := s.objects.Get(key)
	if !ok {
		return nil
	}
	return e.conflicts(nil)
}
