package client

import (
	"encoding/json"
	"time"
)

// Status is how a host is doing, each case in which something could go wrong unseen included.
type Status struct {
	Host          string       `json:"host"`
	Version       string       `json:"version"`
	Index         uint64       `json:"index"` // of the last event in its log
	At            time.Time    `json:"at"`    // when that was written
	Recovering    string       `json:"recovering"`
	ReadOnly      string       `json:"readonly"` // why nothing can be recorded
	Podman        string       `json:"podman"`   // why it cannot be reached
	SnapshotAge   *float64     `json:"snapshot_age_seconds"`
	SnapshotError string       `json:"snapshot_error"`
	Conflicts     int          `json:"conflicts"`
	Orphans       int          `json:"orphans"`
	OrphansError  string       `json:"orphans_error"`
	Replicas      int          `json:"replicas"` // placed
	Running       int          `json:"running"`
	NotRunning    []NotRunning `json:"not_running"`
}

// NotRunning is a replica that is wanted and does not run.
type NotRunning struct {
	Pod  string `json:"pod"` // "default/nginx-0"
	Host string `json:"host"`
	Why  string `json:"why"`
}

// Recovery is the report of one recovery: what an agent found when it started, and did about it.
type Recovery struct {
	Started  time.Time          `json:"started"`
	Done     time.Time          `json:"done"` // zero while it goes on
	Replayed uint64             `json:"replayed"`
	Adopted  int                `json:"adopted"`
	Restart  int                `json:"started_again"`
	Created  int                `json:"created"`
	Removed  int                `json:"removed"`
	Orphans  int                `json:"orphans"`
	Failed   int                `json:"failed"`
	Bounced  int                `json:"bounced"`
	Seconds  map[string]float64 `json:"seconds"` // by phase
}

// Conflict is a change that lost without having been seen by whoever won.
type Conflict struct {
	Key    string          `json:"key"`
	UID    string          `json:"uid"`
	Stamp  string          `json:"stamp"` // of the version that lost
	At     time.Time       `json:"at"`
	Ended  bool            `json:"ended"` // the object that it belongs to has been deleted
	Object json.RawMessage `json:"object"`
}

// Orphan is a container of the agent's that nothing explains. It is left running.
type Orphan struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Key     string    `json:"key"` // of the pod that its labels name
	Image   string    `json:"image"`
	State   string    `json:"state"`
	Created time.Time `json:"created"`
	Why     string    `json:"why"`
}
