package tail

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/events"
)

// Filter says which events a reader wants. Of each list one must fit, and an empty list fits all.
type Filter struct {
	Kinds      []string // of fact
	Keys       []Key
	Nodes      []string // by which host they were written
	Actors     []string // texts that stand in the actor, in whatever case
	Namespaces []string
}

// Key is a key as somebody asks for it: it covers what is below it too, and * stands for any name, or part of one.
type Key []string

// ParseKey reads a key like deployment/default/web, deployment or */shop.
func ParseKey(text string) (Key, error) {
	k := Key(strings.Split(strings.TrimSuffix(text, "/"), "/"))
	for _, part := range k {
		if _, err := path.Match(part, ""); part == "" || err != nil {
			return nil, fmt.Errorf("%q: %w", text, errors.New("want a key like deployment/default/web, the beginning of one like deployment, or a pattern like */shop"))
		}
	}
	return k, nil
}

// covers reports whether a key of the log is the one, or below it.
func (k Key) covers(key string) bool {
	for i, part := range k {
		name, rest, more := strings.Cut(key, "/")
		if ok, err := path.Match(part, name); err != nil || !ok {
			return false
		}
		if i < len(k)-1 && !more {
			return false
		}
		key = rest
	}
	return true
}

// All reports whether all events fit.
func (f *Filter) All() bool {
	return len(f.Kinds)+len(f.Keys)+len(f.Nodes)+len(f.Actors)+len(f.Namespaces) == 0
}

// Fits reports whether the i-th event of a commit is wanted.
func (f *Filter) Fits(c *events.Commit, i int) bool {
	e := &c.Events[i]
	return fits(f.Kinds, func(k string) bool { return string(e.Kind) == k }) &&
		fits(f.Keys, func(k Key) bool { return k.covers(e.Key) }) &&
		fits(f.Nodes, func(n string) bool { return c.Node == n }) &&
		fits(f.Actors, func(a string) bool { return strings.Contains(strings.ToLower(c.Actor), strings.ToLower(a)) }) &&
		fits(f.Namespaces, func(ns string) bool { return inNamespace(e.Key, ns) })
}

func fits[T any](list []T, one func(T) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, one)
}

// inNamespace reports whether a key, TYPE/NAMESPACE/…, is of a namespace; what is in none has TYPE/NAME.
func inNamespace(key, namespace string) bool {
	parts := strings.SplitN(key, "/", 3)
	return len(parts) > 2 && parts[1] == namespace || key == "namespace/"+namespace
}
