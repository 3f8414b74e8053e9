package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Blame is one field of an object as it is, and which event made it so.
type Blame struct {
	Field string          `json:"field"`
	Value json.RawMessage `json:"value"`
	Index uint64          `json:"index"`
	At    time.Time       `json:"at"`
	Node  string          `json:"node"`
	Actor string          `json:"actor"`
	Cause string          `json:"cause,omitempty"`
}

// blame answers with each field of the newest version of an object in this host's log, in the order of their paths, and who made it what it is.
func (s *Server) blame(q *request) error {
	all, typ, err := s.versions(q, false)
	if err != nil {
		return err
	}
	fields := map[string]Blame{}
	for _, w := range all {
		if w.Action == "lost" {
			continue // it made nothing what it is
		}
		if w.Object == nil {
			clear(fields)
			continue
		}
		v, err := treeOf(typ, w.Object)
		if err != nil {
			return fmt.Errorf("event %d: %w", w.Index, err)
		}
		now, err := leaves(v)
		if err != nil {
			return err
		}
		for path, value := range now {
			if was, ok := fields[path]; ok && string(was.Value) == string(value) {
				now[path] = nil // as it was
				continue
			}
			fields[path] = Blame{path, value, w.Index, w.At, w.Node, w.Actor, w.Cause}
		}
		for path := range fields {
			if _, ok := now[path]; !ok {
				delete(fields, path)
			}
		}
	}
	lines := []Blame{}
	for _, path := range slices.Sorted(maps.Keys(fields)) {
		lines = append(lines, fields[path])
	}
	return q.json(http.StatusOK, lines)
}

// leaves are the values of an object that have nothing below them, by their paths as differences gives them.
func leaves(v any) (map[string]json.RawMessage, error) {
	var d difference
	all := map[string]json.RawMessage{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		m, _ := v.(map[string]any)
		l, _ := v.([]any)
		if named, ok := byName(l); ok && len(l) > 0 {
			m = named
		} else {
			for i, x := range l {
				walk(fmt.Sprintf("%s[%d]", path, i), x)
			}
		}
		if len(m) == 0 && len(l) == 0 {
			all[path] = d.raw(v)
			return
		}
		for key, x := range m {
			walk(below(path, key), x)
		}
	}
	walk("", v)
	return all, d.err
}
