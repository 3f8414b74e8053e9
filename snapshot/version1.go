package snapshot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// ErrNotVersion1 says that something is no state.json of version 1, nor what is left of one.
var ErrNotVersion1 = errors.New("not a state.json of version 1")

// Refusal is an object of a state.json of version 1 that cannot be declared as it is: why, and all that was said of it.
type Refusal struct {
	Key      string          `json:"key"` // by which it would be declared
	Why      string          `json:"why"`
	Original json.RawMessage `json:"original"`
}

// ReadVersion1 reads the state.json, or a backup, of the agent that had no log, in both spellings that there are of its fields
// (DesiredReplicas, desired_replicas). What it says of pods is of then, and is not taken. What cannot be declared is
// refused with its reason, one by one; an error says that it cannot be read as a whole, and wraps ErrNotVersion1 or ErrNewer where it is of another.
func ReadVersion1(data []byte) (want projection.Declarations, refused []Refusal, err error) {
	var doc struct {
		Modified    json.RawMessage `json:"last_modified"`
		Version     *int            `json:"version"`
		Backup      json.RawMessage `json:"backup"`
		Deployments json.RawMessage `json:"deployments"`
		Services    json.RawMessage `json:"services"`
		Ingresses   json.RawMessage `json:"ingresses"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNotVersion1, err)
	}
	if doc.Version != nil && doc.Backup == nil {
		if err := readable(*doc.Version); err != nil {
			return nil, nil, err
		}
	}
	if doc.Version == nil || *doc.Version != 1 {
		return nil, nil, ErrNotVersion1
	}
	var modified time.Time
	if err := unmarshal1("last_modified", doc.Modified, &modified); err != nil {
		return nil, nil, err
	}
	want = projection.Declarations{}
	for _, section := range []struct {
		name, typ string
		raw       json.RawMessage
		convert   func(*fields) any
	}{{"deployments", "deployment", doc.Deployments, deploymentOf}, {"services", "service", doc.Services, serviceOf}, {"ingresses", "ingress", doc.Ingresses, ingressOf}} {
		var objects map[string]json.RawMessage // each is read by itself: one that is something else leaves the others as they are
		if err := unmarshal1(section.name, section.raw, &objects); err != nil {
			return nil, nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			key, object, why := declare1(section.typ, name, objects[name], section.convert, modified)
			if why == "" {
				want[key] = object
				continue
			}
			original, err := json.Marshal(objects[name])
			if err != nil {
				return nil, nil, err
			}
			refused = append(refused, Refusal{key, why, original})
			want[key] = nil // whatever is there stays
		}
	}
	return want, refused, nil
}

// unmarshal1 reads a field of a file of version 1 that there may be. That it is something else makes the file unreadable, but of version 1 it is.
func unmarshal1(field string, raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("state.json of version 1 that cannot be read: %s: %w", field, err)
	}
	return nil
}

// declare1 makes a declaration of one object, or says why there is none.
func declare1(typ, name string, original json.RawMessage, convert func(*fields) any, at time.Time) (key string, object json.RawMessage, why string) {
	ns, name, ok := strings.Cut(name, "/")
	if !ok {
		ns, name = "", ns
	}
	ns = cmp.Or(ns, "default")
	key = typ + "/" + ns + "/" + name
	var of map[string]json.RawMessage
	if err := json.Unmarshal(original, &of); err != nil {
		return key, nil, "it is no object of version 1: " + err.Error()
	}
	f := &fields{of: map[string]json.RawMessage{}}
	for k, v := range of {
		f.of[strings.ToLower(strings.ReplaceAll(k, "_", ""))] = v
	}
	if len(f.of) == 0 {
		return key, nil, "nothing is said of it"
	}
	o := convert(f)
	if f.err != nil {
		return key, nil, f.err.Error()
	}
	m := o.(map[string]any)
	meta := map[string]any{"name": name, "namespace": ns}
	for _, k := range []string{"labels", "annotations"} {
		if v := f.raw(k); v != nil {
			meta[k] = v
		}
	}
	m["metadata"] = meta
	raw, err := json.Marshal(m)
	if err != nil {
		return key, nil, err.Error()
	}
	items, err := manifest.Parse(raw, ns)
	if err != nil {
		var all manifest.Mistakes
		if errors.As(err, &all) {
			var says []string
			for _, m := range all {
				says = append(says, strings.TrimPrefix(m.Field+": "+m.Message, ": "))
			}
			return key, nil, strings.Join(says, "; ")
		}
		return key, nil, err.Error()
	}
	items[0].Object.SetGeneration(1)
	items[0].Object.SetCreationTimestamp(metav1.NewTime(at.UTC().Truncate(time.Second))) // older it is, but how old is not told
	if object, err = manifest.Encode(items[0].Object); err != nil {
		return key, nil, err.Error()
	}
	return items[0].Key, object, ""
}

// fields are those of one object, by their names in small letters without underlines.
type fields struct {
	of  map[string]json.RawMessage
	err error // the first
}

// raw is a field's value; nil where there is none.
func (f *fields) raw(name string) json.RawMessage {
	v := f.of[name]
	if len(v) == 0 || bytes.Equal(v, []byte("null")) {
		return nil
	}
	return v
}

// read reads a field that there may be.
func (f *fields) read(name string, into any) bool {
	v := f.raw(name)
	if v == nil {
		return false
	}
	if err := json.Unmarshal(v, into); err != nil {
		f.fail("%s: %v", name, err)
	}
	return true
}

func (f *fields) fail(format string, a ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, a...)
	}
}

func deploymentOf(f *fields) any {
	template := f.raw("template")
	if template == nil {
		f.fail("it has no pod template, and cannot run without one")
		return nil
	}
	spec := map[string]any{"template": template}
	var replicas int
	if f.read("desiredreplicas", &replicas) || f.read("replicas", &replicas) {
		spec["replicas"] = replicas
	}
	if v := f.raw("selector"); v != nil {
		spec["selector"] = v
	} else { // the original asked for none; Kubernetes does, and the template's labels are what it matches
		var t struct {
			Metadata struct{ Labels map[string]string }
		}
		if err := json.Unmarshal(template, &t); err != nil {
			f.fail("template: %v", err)
		}
		spec["selector"] = map[string]any{"matchLabels": t.Metadata.Labels}
	}
	return map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
}

func serviceOf(f *fields) any {
	spec := map[string]any{}
	for from, to := range map[string]string{"type": "type", "selector": "selector", "clusterip": "clusterIP"} {
		if v := f.raw(from); v != nil && string(v) != `""` {
			spec[to] = v
		}
	}
	var ports []map[string]any
	f.read("ports", &ports)
	for _, p := range ports {
		if n, ok := p["targetPort"].(float64); ok && n == 0 {
			delete(p, "targetPort") // the original writes what was not given as 0
		}
	}
	spec["ports"] = ports
	return map[string]any{"apiVersion": "v1", "kind": "Service", "spec": spec}
}

func ingressOf(f *fields) any {
	var rules []struct {
		Host  string
		Paths []struct {
			Path, ServiceName string
			PathType          *string
			ServicePort       int
		}
	}
	f.read("rules", &rules)
	var out []map[string]any
	for _, r := range rules {
		rule := map[string]any{}
		if r.Host != "" {
			rule["host"] = r.Host
		}
		var paths []map[string]any
		for _, p := range r.Paths {
			path := map[string]any{"path": p.Path, "pathType": p.PathType,
				"backend": map[string]any{"service": map[string]any{"name": p.ServiceName, "port": map[string]any{"number": p.ServicePort}}}}
			if p.PathType == nil {
				path["pathType"] = "ImplementationSpecific"
			}
			paths = append(paths, path)
		}
		if len(paths) > 0 {
			rule["http"] = map[string]any{"paths": paths}
		}
		out = append(out, rule)
	}
	return map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": map[string]any{"rules": out}}
}
