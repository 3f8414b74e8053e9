package api

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
)

// Applied is the answer to a manifest.
type Applied struct {
	Commit  string   `json:"commit,omitempty"` // id of its first event; "" when nothing was recorded
	Index   uint64   `json:"index"`            // of its last event; when nothing was recorded, of the state looked at
	DryRun  bool     `json:"dry_run,omitempty"`
	Results []Result `json:"results"` // one per object, in the manifest's order
}

// Result is what became of one object of a manifest.
type Result struct {
	Kind      string        `json:"kind"`
	Namespace string        `json:"namespace,omitempty"`
	Name      string        `json:"name"`
	Action    string        `json:"action"`            // created, configured, unchanged, deleted
	Changes   []FieldChange `json:"changes,omitempty"` // of a configured one
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
	SnapshotAge   *float64     `json:"snapshot_age_seconds,omitempty"`
	SnapshotError string       `json:"snapshot_error,omitempty"`
	Conflicts     int          `json:"conflicts"`
	Orphans       int          `json:"orphans"`
	OrphansError  string       `json:"orphans_error,omitempty"` // why they could not be counted
	Replicas      int          `json:"replicas"`                // placed
	Running       int          `json:"running"`
	NotRunning    []NotRunning `json:"not_running,omitempty"`
}

// NotRunning is a replica that is wanted and does not run.
type NotRunning struct {
	Pod  string `json:"pod"` // "default/nginx-0"
	Host string `json:"host,omitempty"`
	Why  string `json:"why"`
}

// Conflict is a change that lost without having been seen by whoever won.
type Conflict struct {
	Key    string          `json:"key"`
	UID    events.ID       `json:"uid"`
	Stamp  events.Stamp    `json:"stamp"` // of the version that lost
	At     time.Time       `json:"at"`    // by its writer's clock
	Ended  bool            `json:"ended"` // the object that it belongs to has been deleted
	Object json.RawMessage `json:"object"`
}
