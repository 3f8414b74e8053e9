package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// ErrNoView says that something is no state.json of DocumentVersion.
var ErrNoView = errors.New("not a state.json of version 2")

// ErrNewer says that something is a state.json of a later version than DocumentVersion.
var ErrNewer = errors.New("a newer agent is needed")

// readable is nil unless a state.json is of a later version than this agent reads: what such a one says may mean anything.
func readable(version int) error {
	if version <= DocumentVersion {
		return nil
	}
	return fmt.Errorf("state.json of version %d; this agent reads up to %d: %w", version, DocumentVersion, ErrNewer)
}

// ToApply is the command that would apply what was set aside of state.json, if it is something that people edited, or a backup; "" for anything else.
func ToApply(aside string) string {
	data, err := os.ReadFile(aside)
	if err != nil {
		return ""
	}
	if seal.Sealed(data) {
		return "psctl restore " + aside + " --identity FILE"
	}
	_, err = ReadView(data)
	if errors.Is(err, ErrNewer) {
		return ""
	}
	if !errors.Is(err, ErrNoView) {
		return "psctl restore " + aside
	}
	if _, err := ReadBackup(data); err != nil {
		return ""
	}
	return "psctl restore " + aside
}

// viewEntry is what counts of an entry of state.json, for who reads it again.
type viewEntry struct {
	Replicas *int            `json:"desired_replicas"`
	Kind     events.Kind     `json:"kind"` // of facts only
	Object   json.RawMessage `json:"object"`
}

// ReadView reads what a state.json declares, as somebody may have edited it: each object must be one that could be applied. It is for who
// asks for just that, since the log is the truth. The error wraps ErrNoView or ErrNewer, or tells of all mistakes, each with its object and field.
func ReadView(data []byte) (projection.Declarations, error) {
	var is struct { // before all else: in a later version that may have another form
		Version int             `json:"version"`
		Backup  json.RawMessage `json:"backup"`
	}
	if err := json.Unmarshal(data, &is); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoView, err)
	}
	if is.Backup != nil { // a backup has a checksum: it is read as that, or damaged
		return nil, ErrNoView
	}
	if err := readable(is.Version); err != nil {
		return nil, err
	}
	if is.Version != DocumentVersion {
		return nil, ErrNoView
	}
	var doc struct {
		Deployments map[string]viewEntry `json:"deployments"`
		Services    map[string]viewEntry `json:"services"`
		Ingresses   map[string]viewEntry `json:"ingresses"`
		Namespaces  map[string]viewEntry `json:"namespaces"`
		Facts       map[string]viewEntry `json:"facts"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoView, err)
	}
	want, errs := projection.Declarations{}, []error(nil)
	take := func(key string, e viewEntry) {
		o, err := e.declared(key)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
		want[key] = o
	}
	for _, s := range []struct {
		name, typ string
		entries   map[string]viewEntry
	}{{"deployments", "deployment", doc.Deployments}, {"services", "service", doc.Services}, {"ingresses", "ingress", doc.Ingresses}, {"namespaces", "namespace", doc.Namespaces}, {"facts", "", doc.Facts}} {
		if s.entries == nil { // or all that it had would be deleted
			errs = append(errs, fmt.Errorf("%s: there is no such section", s.name))
		}
		for _, name := range slices.Sorted(maps.Keys(s.entries)) {
			switch e := s.entries[name]; {
			case s.typ != "":
				take(s.typ+"/"+name, e)
			case e.Kind == events.Declared && !strings.HasPrefix(name, projection.NodeType+"/"):
				take(name, e)
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return want, nil
}

// declared is the object of an entry as it would be recorded.
func (e viewEntry) declared(key string) (json.RawMessage, error) {
	var raw bytes.Buffer
	if err := json.Compact(&raw, e.Object); err != nil {
		return nil, errors.New("it has no object")
	}
	typ, ns, name := manifest.SplitKey(key)
	if _, known := manifest.ByType(typ); !known || typ == "secret" { // sealed as it is: nobody edits that
		return raw.Bytes(), nil
	}
	items, err := manifest.Parse(raw.Bytes(), ns)
	var all manifest.Mistakes
	switch {
	case errors.As(err, &all):
		var says []string
		for _, m := range all {
			says = append(says, strings.TrimPrefix(m.Field+": "+m.Message, ": "))
		}
		return nil, errors.New(strings.Join(says, "; "))
	case err != nil:
		return nil, err
	case len(items) != 1 || items[0].Key != key:
		return nil, fmt.Errorf("object: it is no %s %s", typ, strings.TrimPrefix(ns+"/"+name, "/"))
	}
	was, err := manifest.Decode(typ, raw.Bytes()) // whose generation and time it keeps
	if err != nil {
		return nil, err
	}
	o := items[0].Object
	o.SetGeneration(was.GetGeneration())
	o.SetCreationTimestamp(was.GetCreationTimestamp())
	object, err := manifest.Encode(o)
	if err != nil {
		return nil, err
	}
	if n, ok := replicasOf(object); ok && e.Replicas != nil && *e.Replicas != n {
		return nil, fmt.Errorf("desired_replicas says %d, and object.spec.replicas %d: want the same", *e.Replicas, n)
	}
	return object, nil
}

// replicasOf is what a Deployment says of how many replicas it wants.
func replicasOf(object json.RawMessage) (n int, ok bool) {
	r := gjson.GetBytes(object, "spec.replicas") // which reads that far, and no further: state.json is written once a second
	return int(r.Int()), r.Type == gjson.Number
}
