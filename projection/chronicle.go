package projection

import "time"

// The types of object by which a host tells what becomes of it: observed, by that host alone, the newest of each. Those of before are in the log.
const (
	ClockType    = "clock"    // clock/HOST: whose clocks differ from its own
	BackupType   = "backup"   // backup/HOST: that it has made a backup, or what somebody has had done about those that it has
	ReadOnlyType = "readonly" // readonly/HOST: that it could not write, told when it could again
)

// Clocks are the hosts whose clocks differ much from the clock of the host that says so: by how much when that was first seen, as 7.2s or -7.2s.
type Clocks struct {
	Off map[string]string `json:"off,omitempty"`
}

// Backups is what has become of a host's backups: it has made one, somebody has brought it one, or has had those removed that no rule keeps.
type Backups struct {
	Name    string    `json:"name,omitempty"`
	Made    time.Time `json:"made,omitzero"`
	Bytes   int64     `json:"bytes,omitempty"`
	Sealed  bool      `json:"sealed,omitempty"`
	Pinned  bool      `json:"pinned,omitempty"`
	Brought bool      `json:"brought,omitempty"`
	Removed []string  `json:"removed,omitempty"` // names, a hundred at most, in place of all that is above
	More    uint64    `json:"more,omitempty"`    // others made since the event before, or removed, which no event names
}

// ReadOnly is a time in which a host could not write to its log.
type ReadOnly struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	Why   string    `json:"why"`
}

// ClockKey is the key under which a host says whose clocks are off.
func ClockKey(host string) string { return ClockType + "/" + host }

// BackupKey is the key under which a host tells what becomes of its backups.
func BackupKey(host string) string { return BackupType + "/" + host }

// ReadOnlyKey is the key under which a host tells when it was last read-only.
func ReadOnlyKey(host string) string { return ReadOnlyType + "/" + host }
