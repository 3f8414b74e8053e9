package client

import (
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
	BackupError   string       `json:"backup_error"`
	Refused       []Refusal    `json:"refused"` // what could not be declared of a state.json of version 1
	Conflicts     int          `json:"conflicts"`
	Orphans       int          `json:"orphans"`
	OrphansError  string       `json:"orphans_error"`
	Replicas      int          `json:"replicas"` // placed
	Running       int          `json:"running"`
	NotRunning    []NotRunning `json:"not_running"`
	NotMoved      []NotRunning `json:"not_moved"` // those that run on a host that they are to leave
	Cluster       string       `json:"cluster"`   // its name
	Digest        string       `json:"digest"`    // of the asked host's state
	Agree         time.Time    `json:"agree_since"`
	Hosts         []Host       `json:"hosts"` // all, the asked one included
	Problems      []Problem    `json:"problems"`
}

// Refusal is an object of a state.json of version 1 that cannot be declared as it is, and why.
type Refusal struct {
	Key string `json:"key"` // by which it would be declared
	Why string `json:"why"`
}

// Host is one host of the cluster, as the asked one sees it.
type Host struct {
	Host      string    `json:"host"`
	Self      bool      `json:"self"` // it is the one that was asked
	Address   string    `json:"address"`
	Version   string    `json:"version"`
	State     string    `json:"state"` // alive, silent, stopped, down, removed
	Since     time.Time `json:"since"` // of a state other than alive
	Why       string    `json:"why"`
	Heard     time.Time `json:"heard"`
	Podman    string    `json:"podman"`
	Ready     bool      `json:"ready"`
	ReadOnly  string    `json:"readonly"`
	Cordoned  bool      `json:"cordoned"`
	Draining  bool      `json:"draining"`
	CPUs      int       `json:"cpus"`
	Memory    int64     `json:"memory"` // bytes
	Replicas  int       `json:"replicas"`
	Running   int       `json:"running"`
	Lag       uint64    `json:"lag_events"`
	Behind    float64   `json:"lag_seconds"`
	Digest    string    `json:"digest"` // agrees; differs at KEY; unknown
	Agrees    time.Time `json:"agrees_since"`
	Offset    *float64  `json:"clock_offset_seconds"`
	RoundTrip *float64  `json:"round_trip_seconds"`
	Stuck     string    `json:"stuck"`
}

// Problem is something that could go wrong unseen, and what to do about it.
type Problem struct {
	What string `json:"what"`
	Why  string `json:"why"`
	Do   string `json:"do"`
}

// NodeChanged is the answer to what is done with a host.
type NodeChanged struct {
	Host    string `json:"host"`
	Changed bool   `json:"changed"` // false: it was so already
	Commit  string `json:"commit"`
	Index   uint64 `json:"index"`
}

// Token is one token for the API. Its secret is told once, when it is made.
type Token struct {
	Name       string    `json:"name"`
	Scope      string    `json:"scope"`
	Namespaces []string  `json:"namespaces"` // none: all
	Created    time.Time `json:"created"`
	Expires    time.Time `json:"expires"` // zero: never
	Expired    bool      `json:"expired"`
	Secret     string    `json:"secret"`
}

// NotRunning is a replica that is wanted and does not run.
type NotRunning struct {
	Pod  string `json:"pod"` // "default/nginx-0"
	Host string `json:"host"`
	Why  string `json:"why"`
	// Stays says of one that does not move, although it would have to, that nothing but a person can change that now.
	Stays bool `json:"stays"`
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
