package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// jsonPatch is a patch of RFC 6902.
type jsonPatch []operation

type operation struct {
	Op    string          `json:"op"`
	Path  *string         `json:"path"`
	From  *string         `json:"from"`
	Value json.RawMessage `json:"value"`
}

const (
	maxOperations = 10_000
	maxPatched    = 2 * maxObject // bytes after any of them: copying what was copied doubles it every time
)

func parseJSONPatch(data []byte) (jsonPatch, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	var p jsonPatch
	if err := d.Decode(&p); err != nil {
		return nil, err
	}
	if len(p) > maxOperations {
		return nil, fmt.Errorf("%d operations: at most %d are taken", len(p), maxOperations)
	}
	for i, o := range p {
		wantsValue := o.Op == "add" || o.Op == "replace" || o.Op == "test"
		wantsFrom := o.Op == "move" || o.Op == "copy"
		switch {
		case !wantsValue && !wantsFrom && o.Op != "remove":
			return nil, fmt.Errorf("operation %d: no operation %q", i, o.Op)
		case o.Path == nil:
			return nil, fmt.Errorf("operation %d: no path", i)
		case wantsValue && o.Value == nil:
			return nil, fmt.Errorf("operation %d: no value", i)
		case wantsFrom && o.From == nil:
			return nil, fmt.Errorf("operation %d: no from", i)
		}
	}
	return p, nil
}

// apply is the document after all operations, or an error that names the one that cannot be done.
func (p jsonPatch) apply(original []byte) ([]byte, error) {
	doc, err := decodeAny(original)
	if err != nil {
		return nil, err
	}
	size := len(original)
	for i, o := range p {
		if doc, err = o.apply(doc, &size); err != nil {
			return nil, fmt.Errorf("operation %d, %s %q: %w", i, o.Op, *o.Path, err)
		}
		if size > maxPatched {
			return nil, fmt.Errorf("operation %d: the document grows beyond %d bytes", i, maxPatched)
		}
	}
	return json.Marshal(doc)
}

func (o *operation) apply(doc any, size *int) (any, error) {
	path, err := pointer(*o.Path)
	if err != nil {
		return nil, err
	}
	switch o.Op {
	case "remove":
		return edit(doc, path, removeAt)
	case "move", "copy":
		return o.carry(doc, path, size)
	}
	value, err := decodeAny(o.Value)
	if err != nil {
		return nil, err
	}
	*size += len(o.Value)
	switch o.Op {
	case "add":
		return edit(doc, path, addAt(value))
	case "replace":
		return edit(doc, path, replaceAt(value))
	}
	there, err := at(doc, path)
	if err == nil && !sameValue(there, value) {
		err = errors.New("the value there is another")
	}
	return doc, err
}

// carry moves or copies.
func (o *operation) carry(doc any, path []string, size *int) (any, error) {
	from, err := pointer(*o.From)
	if err != nil {
		return nil, err
	}
	value, err := at(doc, from)
	if err != nil {
		return nil, fmt.Errorf("from %q: %w", *o.From, err)
	}
	if o.Op == "move" {
		if len(path) > len(from) && slices.Equal(path[:len(from)], from) {
			return nil, errors.New("a value cannot be moved into itself")
		}
		if doc, err = edit(doc, from, removeAt); err != nil {
			return nil, err
		}
		return edit(doc, path, addAt(value))
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	if *size += len(raw); *size > maxPatched {
		return doc, nil // which the caller refuses
	}
	if value, err = decodeAny(raw); err != nil {
		return nil, err
	}
	return edit(doc, path, addAt(value))
}

// pointer takes a JSON pointer (RFC 6901) apart.
func pointer(p string) ([]string, error) {
	if p == "" {
		return nil, nil
	}
	if p[0] != '/' {
		return nil, errors.New("a path begins with /")
	}
	parts := strings.Split(p[1:], "/")
	for i := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[i])
	}
	return parts, nil
}

var errNoValue = errors.New("there is no such value")

// at is the value at the path.
func at(doc any, path []string) (any, error) {
	for _, key := range path {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[key]
			if !ok {
				return nil, errNoValue
			}
			doc = next
		case []any:
			i, err := listIndex(key, len(v)-1)
			if err != nil {
				return nil, err
			}
			doc = v[i]
		default:
			return nil, errNoValue
		}
	}
	return doc, nil
}

// edit is doc with its part at the path changed. fn gets what holds the value, and its key there; for the whole
// document both are nil and "".
func edit(doc any, path []string, fn func(holder any, key string) (any, error)) (any, error) {
	switch len(path) {
	case 0:
		return fn(nil, "")
	case 1:
		if doc == nil { // null has no parts
			return nil, errNoValue
		}
		return fn(doc, path[0])
	}
	part, err := at(doc, path[:1])
	if err != nil {
		return nil, err
	}
	if part, err = edit(part, path[1:], fn); err != nil {
		return nil, err
	}
	return replaceAt(part)(doc, path[0])
}

func listIndex(key string, most int) (int, error) {
	i, err := strconv.Atoi(key)
	if err != nil || i < 0 || i > most || strconv.Itoa(i) != key {
		return 0, fmt.Errorf("no item %q in a list of %d", key, most+1)
	}
	return i, nil
}

func removeAt(holder any, key string) (any, error) {
	switch v := holder.(type) {
	case map[string]any:
		if _, ok := v[key]; !ok {
			return nil, errNoValue
		}
		delete(v, key)
		return v, nil
	case []any:
		i, err := listIndex(key, len(v)-1)
		if err != nil {
			return nil, err
		}
		return slices.Delete(v, i, i+1), nil
	}
	return nil, errNoValue
}

func addAt(value any) func(any, string) (any, error) {
	return func(holder any, key string) (any, error) {
		switch v := holder.(type) {
		case nil:
			if key == "" {
				return value, nil
			}
		case map[string]any:
			v[key] = value
			return v, nil
		case []any:
			if key == "-" {
				return append(v, value), nil
			}
			i, err := listIndex(key, len(v))
			if err != nil {
				return nil, err
			}
			return slices.Insert(v, i, value), nil
		}
		return nil, errNoValue
	}
}

func replaceAt(value any) func(any, string) (any, error) {
	return func(holder any, key string) (any, error) {
		switch v := holder.(type) {
		case nil:
			if key == "" {
				return value, nil
			}
		case map[string]any:
			if _, ok := v[key]; ok {
				v[key] = value
				return v, nil
			}
		case []any:
			i, err := listIndex(key, len(v)-1)
			if err != nil {
				return nil, err
			}
			v[i] = value
			return v, nil
		}
		return nil, errNoValue
	}
}

// sameValue compares JSON values; numbers by what they are worth.
func sameValue(a, b any) bool {
	x, ok1 := a.(json.Number)
	y, ok2 := b.(json.Number)
	if ok1 && ok2 {
		f, err1 := x.Float64()
		g, err2 := y.Float64()
		return x == y || err1 == nil && err2 == nil && f == g
	}
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !sameValue(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameValue)
	}
	return reflect.DeepEqual(a, b)
}
