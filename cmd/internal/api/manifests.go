package api

import (
	"cmp"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// manifestRoutes are the routes of the agent's own for whole manifests, and two names for what Kubernetes keeps
// elsewhere.
func (s *Server) manifestRoutes(handle func(string, func(*request) error)) {
	handle("POST /api/v1/manifests", s.apply)
	handle("DELETE /api/v1/manifests/{namespace}/{name}", s.removeNamed)
	deployments := func(q *request) error {
		r, ok := served("apps", "deployments")
		if !ok {
			return unknownPath(q.URL.Path)
		}
		t := target{resource: r, name: name{q.PathValue("namespace"), q.PathValue("name")}}
		if t.name.name != "" {
			return s.get(q, t)
		}
		return s.list(q, t)
	}
	handle("GET /api/v1/deployments", deployments)
	handle("GET /api/v1/deployments/{namespace}/{name}", deployments)
}

// apply declares all objects of a manifest in one commit, or none and says everything that is wrong with it. Each
// object is afterwards what the manifest says, whatever it was before.
func (s *Server) apply(q *request) error {
	if err := q.writable(); err != nil {
		return err
	}
	query := q.URL.Query()
	dry, err := q.dry()
	if err != nil {
		return err
	}
	data, err := q.body(maxManifest)
	if err != nil {
		return err
	}
	items, err := manifest.Parse(data, query.Get("namespace"))
	if err != nil {
		return err
	}
	keys := make([]string, len(items))
	for i := range items {
		keys[i] = items[i].Key
		if err := q.mayItem(items[i].Key); err != nil {
			return err
		}
	}
	var all []*declaration
	decide := func(st *projection.State) ([]projection.Change, error) {
		var changes []projection.Change
		var err error
		if all, err = s.declareAll(q, st, items); err != nil {
			return nil, err
		}
		for _, d := range all {
			changes = append(changes, d.changes()...)
		}
		return changes, nil
	}
	r := projection.Receipt{State: s.Ledger.View().Durable().State}
	if dry {
		_, err = decide(r.State)
	} else {
		r, err = s.record(q, "apply", keys, decide)
	}
	if err != nil {
		return err
	}
	answer := Applied{Commit: r.Stamp.ID.String(), Index: r.State.Index(), DryRun: dry, Results: []Result{}}
	warned := warnings(r.State, all...)
	for _, d := range all {
		kind := d.is.GetObjectKind().GroupVersionKind().Kind
		res := Result{Kind: kind, Namespace: d.is.GetNamespace(), Name: d.is.GetName(), Action: d.action(), Warnings: warned[d.key]}
		if res.Action == "configured" {
			if res.Changes, err = differences(d.was, d.is); err != nil {
				return err
			}
		}
		for _, c := range r.State.ConflictsOf(d.key) {
			res.Conflicts = append(res.Conflicts, c.Stamp.ID)
		}
		answer.Results = append(answer.Results, res)
	}
	answer.OnDisk = q.spread()
	return q.json(http.StatusOK, answer)
}

// mayItem checks that the caller may change an object of a manifest.
func (q *request) mayItem(key string) error {
	if q.caller == nil {
		return nil
	}
	typ, namespace, name := manifest.SplitKey(key)
	m, _ := manifest.ByType(typ)
	r, ok := served(m.Group, m.Plural)
	if !ok {
		return badRequest("kind %s is not served", m.Kind)
	}
	if !m.Namespaced {
		namespace = name
	}
	return q.mayIn(r, namespace, name)
}

// declareAll works out what the items come to upon a state; the error is a manifest.Mistakes with all that is wrong
// with any of them.
func (s *Server) declareAll(q *request, st *projection.State, items []manifest.Item) ([]*declaration, error) {
	var all []*declaration
	var mistakes manifest.Mistakes
	now, room := s.now(), s.room(st)
	for i := range items {
		room.free(items[i].Object)
	}
	for i := range items {
		room.ask(items[i].Object)
	}
	for _, it := range items {
		o, wrong, err := s.sealed(it.Object)
		if err != nil {
			return nil, err
		}
		if len(wrong) > 0 {
			mistakes = append(mistakes, mistakesOf(it, wrong)...)
			continue
		}
		fitted, unfit := room.fit(o)
		d, wrong, err := declare(st, fitted, now)
		wrong = append(append(wrong, unfit...), q.unconfined(o)...)
		if err != nil {
			return nil, err
		}
		mistakes = append(mistakes, mistakesOf(it, wrong)...)
		all = append(all, d)
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return all, nil
}

func mistakesOf(it manifest.Item, wrong field.ErrorList) (all manifest.Mistakes) {
	typ, namespace, name := manifest.SplitKey(it.Key)
	m, _ := manifest.ByType(typ)
	label := m.Kind + " " + strings.TrimPrefix(namespace+"/"+name, "/")
	for _, e := range wrong {
		all = append(all, manifest.Mistake{Document: it.Document, Line: it.Line, Object: label,
			Field: e.Field, Type: metav1.CauseType(e.Type), Message: e.ErrorBody()})
	}
	return all
}

// removeNamed deletes one object by kind and name.
func (s *Server) removeNamed(q *request) error {
	if err := q.writable(); err != nil {
		return err
	}
	n := name{q.PathValue("namespace"), q.PathValue("name")}
	kind := q.URL.Query().Get("kind")
	m, ok := manifest.ByPlural(kind)
	switch {
	case kind == "":
		return badRequest("delete what? add ?kind=: %s", s.kindsNamed(n))
	case !ok || !m.Namespaced:
		return badRequest("kind %q: want one of deployment, service, ingress, configmap, endpoints, secret; "+
			"a namespace, and with it all that it holds, is deleted at /api/v1/namespaces/NAME", kind)
	}
	r, ok := served(m.Group, m.Plural)
	if !ok {
		return badRequest("kind %q is not served", kind)
	}
	dry, err := q.dry()
	if err != nil {
		return err
	}
	decide := func(st *projection.State) ([]projection.Change, error) {
		changes, err := deletion(st, r, n)
		if err == nil && len(changes) == 0 {
			err = apierrors.NewNotFound(r.gr(), n.name)
		}
		return changes, err
	}
	receipt := projection.Receipt{State: s.Ledger.View().Durable().State}
	if dry {
		_, err = decide(receipt.State)
	} else {
		receipt, err = s.within(q, "delete "+m.Type, decide)
	}
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, Applied{Commit: receipt.Stamp.ID.String(), Index: receipt.State.Index(), DryRun: dry,
		Results: []Result{{Kind: m.Kind, Namespace: n.namespace, Name: n.name, Action: "deleted"}}})
}

// kindsNamed says what there is of that name.
func (s *Server) kindsNamed(n name) string {
	var there []string
	st := s.Ledger.View()
	for _, m := range manifest.Resources() {
		if _, ok := st.Lookup(m.Type + "/" + n.namespace + "/" + n.name); ok && m.Namespaced {
			there = append(there, m.Type)
		}
	}
	return "of that name there is " + cmp.Or(strings.Join(there, ", "), "nothing")
}
