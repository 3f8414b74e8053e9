package api

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// Applied is the answer to a manifest.
type Applied struct {
	Commit  string   `json:"commit,omitempty"` // id of its first event; "" when nothing was recorded
	Index   uint64   `json:"index"`            // of its last event; when nothing was recorded, of the state looked at
	DryRun  bool     `json:"dry_run,omitempty"`
	Results []Result `json:"results"`           // one per object, in the manifest's order
	OnDisk  *OnDisk  `json:"on_disk,omitempty"` // who has it, if that was to be waited for
}

// Result is what became of one object of a manifest.
type Result struct {
	Kind      string        `json:"kind"`
	Namespace string        `json:"namespace,omitempty"`
	Name      string        `json:"name"`
	Action    string        `json:"action"`              // created, configured, unchanged, deleted; kept: changed since what is taken back, and left
	Changes   []FieldChange `json:"changes,omitempty"`   // of a configured one
	Conflicts []events.ID   `json:"conflicts,omitempty"` // changes of it that were lost unseen, and are still to be looked at
	Warnings  []string      `json:"warnings,omitempty"`  // what of it is likely not meant so
}

// FieldChange is one field that changed.
type FieldChange struct {
	Field string          `json:"field"`         // spec.template.spec.containers[web].image: list items by name where they have one
	Old   json.RawMessage `json:"old,omitempty"` // absent when the field is new
	New   json.RawMessage `json:"new,omitempty"` // absent when the field is gone
}

// Refusal is the answer to a manifest with mistakes in it: a Status with a cause for each, and where each stands.
type Refusal struct {
	metav1.Status
	Mistakes []Mistake `json:"mistakes"`
}

// Mistake is one thing that is wrong with a manifest, and where.
type Mistake struct {
	Document int    `json:"document,omitempty"` // from 1, among those that hold something; 0: the manifest as a whole
	Line     int    `json:"line,omitempty"`     // from 1, in the whole manifest; 0: nowhere in particular
	Object   string `json:"object,omitempty"`   // "Deployment default/web"
	Field    string `json:"field,omitempty"`
	Reason   string `json:"reason,omitempty"` // as in a Status: FieldValueInvalid, …
	Message  string `json:"message"`
}

// Orphan is a container of ours that nothing explains. It is left running.
type Orphan struct {
	ID      string    `json:"id"` // of the container
	Name    string    `json:"name"`
	Key     string    `json:"key"` // of the pod that its labels name: "default/nginx-0"
	Image   string    `json:"image,omitempty"`
	State   string    `json:"state,omitempty"` // as Podman says: running, exited, …
	Created time.Time `json:"created,omitzero"`
	Why     string    `json:"why"` // why nothing explains it
}

// Status is how this host is doing, each case in which something could go wrong unseen included.
type Status struct {
	Host       string    `json:"host"`
	Version    string    `json:"version"`
	Index      uint64    `json:"index"`
	At         time.Time `json:"at,omitzero"` // of the event with that index
	Recovering string    `json:"recovering,omitempty"`
	ReadOnly   string    `json:"readonly,omitempty"` // why nothing can be recorded
	Podman     string    `json:"podman,omitempty"`   // why it cannot be reached
	// SnapshotAge is how many seconds ago state.json was written; absent when it has not been.
	SnapshotAge   *float64           `json:"snapshot_age_seconds,omitempty"`
	SnapshotError string             `json:"snapshot_error,omitempty"`
	Refused       []snapshot.Refusal `json:"refused,omitempty"` // what could not be declared of a state.json of version 1
	BackupError   string             `json:"backup_error,omitempty"`
	Conflicts     int                `json:"conflicts"`
	Orphans       int                `json:"orphans"`
	OrphansError  string             `json:"orphans_error,omitempty"` // why they could not be counted
	Replicas      int                `json:"replicas"`                // placed
	Running       int                `json:"running"`
	NotRunning    []NotRunning       `json:"not_running,omitempty"`
	NotMoved      []NotRunning       `json:"not_moved,omitempty"` // those that run on a host that they are to leave
	// Cluster is its name; Hosts are all that are known, this one included. Agree is since when all that are alive have
	// the same state; absent while they have not, or are alone.
	Cluster  string     `json:"cluster,omitempty"`
	Digest   string     `json:"digest,omitempty"` // of this host's state
	Agree    *time.Time `json:"agree_since,omitempty"`
	Hosts    []Host     `json:"hosts,omitempty"`
	Problems []Problem  `json:"problems,omitempty"`
}

// NotRunning is a replica that is wanted and does not run.
type NotRunning struct {
	Pod  string `json:"pod"` // "default/nginx-0"
	Host string `json:"host,omitempty"`
	Why  string `json:"why"`
	// Stays says of one that would have to move that it cannot, as things are.
	Stays bool `json:"stays,omitempty"`
}

// OnDisk says which hosts have a change on disk, for who wanted to wait for that.
type OnDisk struct {
	Enough  bool     `json:"enough"` // as many as was asked for; when not, the change stands all the same
	Have    []string `json:"have"`
	Missing []string `json:"missing"`        // known hosts that are not known to have it
	Dead    []string `json:"dead,omitempty"` // those of which somebody has said that they are; all does not mean them
	Why     string   `json:"why,omitempty"`  // why not enough have it
}

// How a host is, as the asked one sees it.
const (
	StateAlive   = "alive"
	StateSilent  = "silent"  // not heard, nobody knows why
	StateStopped = "stopped" // its agent said that it was told to stop: it means to come back, and its containers run on unless all of the host ends
	StateDown    = "down"    // somebody gave their word that it is dead
	StateRemoved = "removed" // shut out for good
)

// Host is one host of the cluster, as the asked one sees it. What only a peer can have is absent of the asked host
// itself, and of one that is not heard.
type Host struct {
	Host     string     `json:"host"`
	Self     bool       `json:"self,omitempty"` // it is the one that was asked
	Address  string     `json:"address,omitempty"`
	Version  string     `json:"version,omitempty"`
	State    string     `json:"state"`           // alive, silent, stopped, down, removed
	Since    *time.Time `json:"since,omitempty"` // of a state other than alive
	Why      string     `json:"why,omitempty"`   // of a state other than alive
	Heard    *time.Time `json:"heard,omitempty"` // when it was last heard
	Podman   string     `json:"podman,omitempty"`
	Ready    bool       `json:"ready"`              // it is alive and its Podman answers
	ReadOnly string     `json:"readonly,omitempty"` // why it records nothing
	Cordoned bool       `json:"cordoned,omitempty"` // it is given no new replicas
	Draining bool       `json:"draining,omitempty"` // and what it has moves elsewhere
	CPUs     int        `json:"cpus"`
	Memory   int64      `json:"memory"`   // bytes
	Replicas int        `json:"replicas"` // placed there
	Running  int        `json:"running"`  // of these, as far as is known

	// Lag is how many events the asked host has and this one lacks, or of its own that the asked host lacks; of the asked host, how many of the
	// others' it lacks, of each its own, by what is heard of them.
	Lag uint64 `json:"lag_events"`
	// Behind is for how long that has been so. Above 0 without any events, it is for how long there has been something of third hosts: how
	// much is not known.
	Behind    float64    `json:"lag_seconds"`
	Digest    string     `json:"digest,omitempty"`               // agrees; differs at KEY; unknown
	Agrees    *time.Time `json:"agrees_since,omitempty"`         // since when it does
	Offset    *float64   `json:"clock_offset_seconds,omitempty"` // of its clock against the asked host's
	RoundTrip *float64   `json:"round_trip_seconds,omitempty"`
	Stuck     string     `json:"stuck,omitempty"` // what of it stands still, and since when
}

// Problem is something that could go wrong unseen, and what to do about it.
type Problem struct {
	What string `json:"what"` // "the stream of h2"
	Why  string `json:"why"`
	Do   string `json:"do,omitempty"` // what a person can do now
}

// NodeChanged is the answer to what is done with a host.
type NodeChanged struct {
	Host    string `json:"host"`
	Changed bool   `json:"changed"`          // false: it was so already
	Commit  string `json:"commit,omitempty"` // "" when nothing was recorded
	Index   uint64 `json:"index"`
}

// Token is one token for the API, without its secret, which nobody has but who was given it.
type Token struct {
	Name       string     `json:"name"`
	Scope      string     `json:"scope"`                // read, write, admin
	Namespaces []string   `json:"namespaces,omitempty"` // absent: all
	Created    time.Time  `json:"created"`
	Expires    *time.Time `json:"expires,omitempty"` // absent: never
	Expired    bool       `json:"expired,omitempty"`
}

// NewToken is a token as it is made: the only answer that holds the secret.
type NewToken struct {
	Token
	Secret string `json:"secret"`
}

// JoinToken is what a host needs to join the cluster.
type JoinToken struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires,omitzero"` // zero: when it is rotated
}
