package api

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// diff answers with the objects that are declared otherwise at ?to= than at ?from=, each of which is now (or ""), a moment as ?at=
// has it, or the name of a backup of this host.
func (s *Server) diff(q *request) error {
	query := q.URL.Query()
	from, err := s.declared(q.Context(), query.Get("from"))
	if err != nil {
		return err
	}
	to, err := s.declared(q.Context(), query.Get("to"))
	if err != nil {
		return err
	}
	keys := map[string]bool{}
	for key := range from {
		keys[key] = true
	}
	for key := range to {
		keys[key] = true
	}
	all := []Result{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		only := query["only"]
		if len(only) > 0 && !slices.ContainsFunc(only, func(o string) bool { return key == o || strings.HasPrefix(key, o+"/") }) {
			continue
		}
		was, is := from[key], to[key]
		if bytes.Equal(was, is) {
			continue
		}
		typ, namespace, name := manifest.SplitKey(key)
		res := Result{Kind: kindOf(typ), Namespace: namespace, Name: name}
		if res.Action, res.Changes, err = step(typ, was, is); err != nil {
			return err
		}
		if res.Action != "unchanged" {
			all = append(all, res)
		}
	}
	return q.json(http.StatusOK, all)
}

// declared are the objects that are declared now, were at a moment, or are in a backup.
func (s *Server) declared(ctx context.Context, when string) (projection.Declarations, error) {
	if when == "" || when == "now" {
		return s.Ledger.View().Declarations(), nil
	}
	m, err := s.momentOf(when)
	if err == nil {
		if s.At == nil {
			return nil, notServed("the state at another time")
		}
		st, err := s.At(ctx, m)
		if err != nil {
			return nil, noMoment(when, err)
		}
		return st.Declarations(), nil
	}
	if !strings.Contains(when, ".json") {
		return nil, badRequest("%q: want now, %s, or the name of a backup of this host", when, snapshot.MomentForms)
	}
	if s.Restorer == nil {
		return nil, notServed("backups")
	}
	from, err := s.Restorer.Source(when)
	if errors.Is(err, seal.ErrNoKey) {
		return nil, refused(http.StatusConflict, metav1.StatusReasonConflict,
			err.Error()+": psctl restore "+when+" --dry-run --identity FILE, where the key is, shows what differs from now")
	}
	if err != nil {
		return nil, noBackup(when, err)
	}
	return from.Want, nil
}

// kindOf is the kind of a type that a key begins with; the type itself, where this version does not know it.
func kindOf(typ string) string {
	if m, ok := manifest.ByType(typ); ok {
		return m.Kind
	}
	return typ
}
