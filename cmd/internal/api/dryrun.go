package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dry reports whether the request only asks what would happen: by dryRun, as Kubernetes has it, or dry_run, as the agent's own paths do, or
// by further values of a body. Each is taken everywhere: the other spelling must not have the thing done.
func (q *request) dry(more ...string) (dry bool, err error) {
	query := q.URL.Query()
	for _, v := range slices.Concat(more, query["dryRun"], query["dry_run"]) {
		switch v {
		case metav1.DryRunAll, "true", "server", "1":
			dry = true
		case "", "false", "none", "0":
		default:
			return false, badRequest("dryRun %q: want All", v)
		}
	}
	return dry, nil
}

// notDry refuses to do dry what can only be done: whatever is not listed.
func (q *request) notDry() error {
	path := q.URL.Path
	switch {
	case q.Method == http.MethodGet, q.Method == http.MethodHead, strings.HasPrefix(path, "/api/"), strings.HasPrefix(path, "/apis/"),
		path == "/swarm/v1/undo", path == "/swarm/v1/restores", strings.HasPrefix(path, "/swarm/v1/restores/"),
		path == "/swarm/v1/backups/prune", strings.HasPrefix(path, "/swarm/v1/backups/") && strings.HasSuffix(path, "/restore"):
		return nil
	}
	if dry, err := q.dry(); err != nil || dry {
		return cmp.Or(err, badRequest("%s %s cannot be tried dry: nothing was done", q.Method, path))
	}
	return nil
}

// imagined is the object as a dry run shows it.
func (s *Server) imagined(l *look, r *resource, d *declaration) (object, error) {
	n := name{d.is.GetNamespace(), d.is.GetName()}
	there, ok, err := s.show(l, r, n)
	if err != nil || d.raw == nil {
		return there, err
	}
	o, ok2 := d.is.DeepCopyObject().(object)
	if !ok2 {
		return nil, fmt.Errorf("%s: a copy is of another type", d.key)
	}
	o = l.secretShown(o)
	o.SetUID(uidFrom("dry run of " + d.key))
	o.SetResourceVersion("")
	if ok {
		o.SetUID(there.GetUID())
		o.SetResourceVersion(there.GetResourceVersion())
		keepStatus(o, there)
		if svc, ok := o.(*corev1.Service); ok {
			dress(svc, l.find(n))
		}
	}
	return o, nil
}
