package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
)

// differences are the fields in which two versions of an object differ, in the order of their paths. What differs
// only because one of them was recorded under other defaults is not told.
func differences(was, is object) ([]FieldChange, error) {
	old, err := tree(was)
	if err != nil {
		return nil, err
	}
	now, err := tree(is)
	if err != nil {
		return nil, err
	}
	var d difference
	d.values("", old, now)
	return d.changes, d.err
}

// tree is the object as JSON's values, without what the server counts.
func tree(o object) (any, error) {
	c, ok := o.DeepCopyObject().(object)
	if !ok {
		return nil, fmt.Errorf("compare %s: a copy is of another type", o.GetName())
	}
	manifest.Default(c)
	c.SetGeneration(0)
	c.SetCreationTimestamp(metav1.Time{})
	raw, err := manifest.Encode(c)
	if err != nil {
		return nil, err
	}
	v, err := decodeAny(raw)
	return told(c, v), err
}

// treeOf is a recorded object as JSON's values. Not all that is declared has a kind: what is said of a host, or that a name may be
// resolved, is compared as it stands.
func treeOf(typ string, raw json.RawMessage) (any, error) {
	if _, ok := manifest.ByType(typ); !ok {
		return decodeAny(raw)
	}
	o, err := manifest.Decode(typ, raw)
	if err != nil {
		return nil, err
	}
	return tree(o)
}

type difference struct {
	changes []FieldChange
	err     error
}

func (d *difference) values(path string, a, b any) {
	if sameValue(a, b) {
		return
	}
	m, ok1 := a.(map[string]any)
	n, ok2 := b.(map[string]any)
	if ok1 && ok2 {
		d.members(path, m, n)
		return
	}
	l, ok1 := a.([]any)
	k, ok2 := b.([]any)
	if ok1 && ok2 {
		if x, y, ok := named(l, k); ok {
			d.members(path, x, y)
			return
		}
		for i := range max(len(l), len(k)) {
			d.values(fmt.Sprintf("%s[%d]", path, i), item(l, i), item(k, i))
		}
		return
	}
	d.changes = append(d.changes, FieldChange{path, d.raw(a), d.raw(b)})
}

func (d *difference) members(path string, a, b map[string]any) {
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		d.values(below(path, key), value(a, key), value(b, key))
	}
}

// gone stands for a value that is not there.
type gone struct{}

func value(m map[string]any, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return gone{}
}

func item(l []any, i int) any {
	if i < len(l) {
		return l[i]
	}
	return gone{}
}

// raw is a value as JSON; nil for one that is not there.
func (d *difference) raw(v any) json.RawMessage {
	if v == (gone{}) {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		d.err = err
	}
	return bytes.TrimSpace(b.Bytes())
}

// named are two lists by the names of their items, if all have one of their own: containers, ports, env, volumes.
// Then an item put in front of the others is one change. The keys are in brackets, as paths show them.
func named(a, b []any) (x, y map[string]any, ok bool) {
	x, ok = byName(a)
	if !ok {
		return nil, nil, false
	}
	y, ok = byName(b)
	return x, y, ok && len(x)+len(y) > 0
}

func byName(l []any) (map[string]any, bool) {
	all := map[string]any{}
	for _, v := range l {
		m, _ := v.(map[string]any)
		name, _ := m["name"].(string)
		if name == "" || all["["+name+"]"] != nil {
			return nil, false
		}
		all["["+name+"]"] = v
	}
	return all, true
}

// below is the path of what a path leads to has under a key: labels and annotations have dots in their names.
func below(path, key string) string {
	switch {
	case strings.HasPrefix(key, "["):
		return path + key
	case strings.ContainsAny(key, "./"):
		return fmt.Sprintf("%s[%s]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}
