package snapshot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
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

// Left is what of an object of a state.json of version 1 is not taken over into what is declared of it.
type Left struct {
	Key    string   `json:"key"` // by which it is declared
	Fields []string `json:"fields"`
	Why    string   `json:"why"` // and where it is kept, if it is elsewhere than in the file
}

// ReadVersion1 reads the state.json, or a backup, of the agent that had no log, in both spellings that there are of its fields
// (DesiredReplicas, desired_replicas). What it says of pods is of then, and is not taken. What cannot be declared is
// refused with its reason, one by one; so is what says two things of one field by its two spellings. An error says that it cannot be read as a whole, and wraps ErrNotVersion1 or ErrNewer where it is of another.
func ReadVersion1(data []byte) (want projection.Declarations, refused []Refusal, left []Left, err error) {
	var doc struct {
		Modified    json.RawMessage `json:"last_modified"`
		Version     *int            `json:"version"`
		Backup      json.RawMessage `json:"backup"`
		Deployments json.RawMessage `json:"deployments"`
		Services    json.RawMessage `json:"services"`
		Ingresses   json.RawMessage `json:"ingresses"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", ErrNotVersion1, err)
	}
	if doc.Version != nil && doc.Backup == nil {
		if err := readable(*doc.Version); err != nil {
			return nil, nil, nil, err
		}
	}
	if doc.Version == nil || *doc.Version != 1 {
		return nil, nil, nil, ErrNotVersion1
	}
	var modified time.Time
	if err := unmarshal1("last_modified", doc.Modified, &modified); err != nil {
		return nil, nil, nil, err
	}
	want = projection.Declarations{}
	for _, section := range []struct {
		name, typ string
		raw       json.RawMessage
		convert   func(*fields) any
	}{{"deployments", "deployment", doc.Deployments, deploymentOf}, {"services", "service", doc.Services, serviceOf}, {"ingresses", "ingress", doc.Ingresses, ingressOf}} {
		var objects map[string]json.RawMessage // each is read by itself: one that is something else leaves the others as they are
		if err := unmarshal1(section.name, section.raw, &objects); err != nil {
			return nil, nil, nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			key, object, out, why := declare1(section.typ, name, objects[name], section.convert, modified)
			if why == "" {
				want[key] = object
				left = append(left, out...)
				continue
			}
			original, err := json.Marshal(objects[name])
			if err != nil {
				return nil, nil, nil, err
			}
			refused = append(refused, Refusal{key, why, original})
			want[key] = nil // whatever is there stays
		}
	}
	return want, refused, left, nil
}

// Scope is what a restore of only (keys, and what is below them; none: everything) is about. That a file of version 1 has no Secret, say, does not mean that none was
// wanted: of types that it cannot have, or of which it has no section, what is there stays. An error says that only names no others.
func (f *Source) Scope(only []string) ([]string, error) {
	if !f.original {
		return only, nil
	}
	types := slices.DeleteFunc([]string{"deployment", "service", "ingress"}, func(typ string) bool { return slices.Contains(f.Missing, typ) })
	if len(only) == 0 {
		return types, nil
	}
	within := slices.DeleteFunc(slices.Clone(only), func(key string) bool {
		typ, _, _ := strings.Cut(key, "/")
		return !slices.Contains(types, typ)
	})
	if len(within) == 0 {
		if len(f.Missing) > 0 {
			return nil, fmt.Errorf("this state.json of version 1 has no section of type %s, and says nothing of %s", strings.Join(f.Missing, ", "), strings.Join(only, ", "))
		}
		return nil, fmt.Errorf("a state.json of version 1 has Deployments, Services and Ingresses alone, and says nothing of %s", strings.Join(only, ", "))
	}
	return within, nil
}

// missing1 are the types of which a file of version 1 has no section, and says nothing. One that is null has none of them.
func missing1(data []byte) (types []string) {
	var doc struct{ Deployments, Services, Ingresses json.RawMessage }
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil // which ReadVersion1 says
	}
	for _, s := range []struct {
		typ string
		raw json.RawMessage
	}{{"deployment", doc.Deployments}, {"service", doc.Services}, {"ingress", doc.Ingresses}} {
		if s.raw == nil {
			types = append(types, s.typ)
		}
	}
	return types
}

// RefusedIn are those of the Refused that a restore of only (keys, and what is below them; none: everything) is about.
func (f *Source) RefusedIn(only []string) (refused []Refusal) {
	r := projection.Restore{Only: only}
	for _, x := range f.Refused {
		if r.InScope(x.Key) {
			refused = append(refused, x)
		}
	}
	return refused
}

// LeftIn are those of the Left that a restore of only is about.
func (f *Source) LeftIn(only []string) (left []Left) {
	r := projection.Restore{Only: only}
	for _, x := range f.Left {
		if r.InScope(x.Key) {
			left = append(left, x)
		}
	}
	return left
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

// declare1 makes a declaration of one object, with what is not in it, or says why there is none.
func declare1(typ, name string, original json.RawMessage, convert func(*fields) any, at time.Time) (key string, object json.RawMessage, left []Left, why string) {
	ns, name, ok := strings.Cut(name, "/")
	if !ok {
		ns, name = "", ns
	}
	ns = cmp.Or(ns, "default")
	key = typ + "/" + ns + "/" + name
	var of map[string]json.RawMessage
	if err := json.Unmarshal(original, &of); err != nil {
		return key, nil, nil, "it is no object of version 1: " + err.Error()
	}
	f := fieldsOf(of)
	if len(f.of) == 0 {
		return key, nil, nil, "nothing is said of it"
	}
	o := convert(f)
	if f.err != nil {
		return key, nil, nil, f.err.Error()
	}
	m := o.(map[string]any)
	meta := map[string]any{"name": name, "namespace": ns}
	for _, k := range []string{"labels", "annotations"} {
		if v := f.raw(k); v != nil {
			meta[k] = v
		}
	}
	if f.nowhere != nil {
		meta["annotations"] = f.annotated()
	}
	if f.err != nil {
		return key, nil, nil, f.err.Error()
	}
	m["metadata"] = meta
	raw, err := json.Marshal(m)
	if err != nil {
		return key, nil, nil, err.Error()
	}
	items, err := manifest.Parse(raw, ns)
	if err != nil {
		var all manifest.Mistakes
		if errors.As(err, &all) {
			var says []string
			for _, m := range all {
				says = append(says, strings.TrimPrefix(m.Field+": "+m.Message, ": "))
			}
			return key, nil, nil, strings.Join(says, "; ")
		}
		return key, nil, nil, err.Error()
	}
	items[0].Object.SetGeneration(1)
	items[0].Object.SetCreationTimestamp(metav1.NewTime(at.UTC().Truncate(time.Second))) // older it is, but how old is not told
	if object, err = manifest.Encode(items[0].Object); err != nil {
		return key, nil, nil, err.Error()
	}
	key = items[0].Key
	if unknown := f.unknown(); len(unknown) > 0 {
		left = append(left, Left{key, unknown, "not known, and not taken over"})
	}
	if f.nowhere != nil {
		left = append(left, Left{key, f.nowhereAt, "of no Service, so it is routed nowhere; annotation " + nowhereNote + " keeps it"})
	}
	return key, object, left, ""
}

// fields are those of one object, by their names in small letters without underlines.
type fields struct {
	of    map[string]json.RawMessage // null is none
	names map[string]string          // as the file has them
	twice map[string]string          // what says something else of the same: its name
	asked map[string]bool            // what was asked for
	below []string                   // what is unknown in objects within

	nowhere   []nowhere // of an Ingress: its paths that lead to no Service
	nowhereAt []string  // where they stand in the file
	err       error     // the first
}

func fieldsOf(of map[string]json.RawMessage) *fields {
	f := &fields{of: map[string]json.RawMessage{}, names: map[string]string{}, twice: map[string]string{}, asked: map[string]bool{}}
	for _, k := range slices.Sorted(maps.Keys(of)) {
		v, name := of[k], strings.ToLower(strings.ReplaceAll(k, "_", ""))
		switch was := f.of[name]; {
		case bytes.Equal(v, []byte("null")):
		case was == nil:
			f.of[name], f.names[name] = v, k
		case !same(was, v):
			f.twice[name] = k
		}
	}
	return f
}

// same reports whether two values say the same.
func same(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// unknown are the fields that nobody has asked for, as the file has them, but for those of which is known that they say nothing of what is declared.
func (f *fields) unknown() (names []string) {
	for name := range f.of {
		if !f.asked[name] && !slices.Contains([]string{"name", "namespace", "pods", "replicas"}, name) {
			names = append(names, f.names[name])
		}
	}
	slices.Sort(names)
	return append(names, f.below...)
}

// raw is a field's value; nil where there is none.
func (f *fields) raw(name string) json.RawMessage {
	f.asked[name] = true
	if other, ok := f.twice[name]; ok {
		f.fail("%s and %s do not say the same", f.names[name], other)
	}
	return f.of[name]
}

// each reads a field that there may be, a list of objects.
func (f *fields) each(name string, one func(*fields)) {
	var all []map[string]json.RawMessage
	f.read(name, &all)
	for i, of := range all {
		in := fieldsOf(of)
		if one(in); in.err != nil {
			f.fail("%s[%d]: %w", name, i, in.err)
		}
		for _, x := range in.unknown() {
			f.below = append(f.below, fmt.Sprintf("%s[%d].%s", f.names[name], i, x))
		}
	}
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
	for _, field := range []string{"type", "selector", "clusterIP"} {
		if v := f.raw(strings.ToLower(field)); v != nil && string(v) != `""` {
			spec[field] = v
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
