package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/yaml"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

const changedMeanwhile = "the object has been modified; please apply your changes to the latest version and try again"

// decodeLoose reads an object and passes over fields that its kind does not have. It has been read strictly before, so
// that its size is known to be bounded.
func decodeLoose(data []byte) (object, error) {
	raw, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, badRequest("%v", err)
	}
	var t metav1.TypeMeta
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, badRequest("%v", err)
	}
	r, ok := manifest.ByKind(t.Kind)
	if !ok {
		return nil, badRequest("no kind %q", t.Kind)
	}
	o := r.New()
	if err := utiljson.Unmarshal(raw, o); err != nil { // encoding/json takes "Replicas" for "replicas"
		return nil, badRequest("%v", err)
	}
	return o, nil
}

// wanted reads the object of a body, which must be what the path says, and defaults it.
func (q *request) wanted(t target, data []byte) (object, error) {
	o, err := q.decode(data)
	if err != nil {
		return nil, err
	}
	kind := o.GetObjectKind().GroupVersionKind()
	switch {
	case kind != t.gvk():
		return nil, badRequest("the object in the body is a %s of %s: the path is of %s of %s",
			kind.Kind, kind.GroupVersion(), t.kind, t.gvk().GroupVersion())
	case t.namespaced && o.GetNamespace() == "":
		o.SetNamespace(cmp.Or(t.namespace, metav1.NamespaceDefault))
	case t.namespaced && t.namespace != "" && o.GetNamespace() != t.namespace:
		return nil, badRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	switch {
	case t.name.name == "":
	case o.GetName() == "":
		o.SetName(t.name.name)
	case o.GetName() != t.name.name:
		return nil, badRequest("the name of the object (%s) does not match the name on the URL (%s)", o.GetName(), t.name.name)
	}
	manifest.Default(o)
	return o, nil
}

// create answers POST.
func (s *Server) create(q *request, t target) error {
	data, err := q.object()
	if err != nil {
		return err
	}
	o, err := q.wanted(t, data)
	if err != nil {
		return err
	}
	if o.GetResourceVersion() != "" {
		return badRequest("resourceVersion should not be set on objects to be created")
	}
	if o.GetName() == "" && o.GetGenerateName() != "" {
		base := o.GetGenerateName()
		o.SetName(base[:min(len(base), 58)] + rand.String(5)) // a DNS label, as Kubernetes has it
	}
	return s.put(q, t, o, http.StatusCreated, "create", func(st *projection.State) error {
		if _, ok := st.Lookup(manifest.Key(o)); ok {
			return apierrors.NewAlreadyExists(t.gr(), o.GetName())
		}
		return nil
	})
}

// replace answers PUT.
func (s *Server) replace(q *request, t target) error {
	data, err := q.object()
	if err != nil {
		return err
	}
	o, err := q.wanted(t, data)
	if err != nil {
		return err
	}
	return s.put(q, t, o, http.StatusOK, "update", func(st *projection.State) error {
		there, err := s.shown(s.lookAt(st), t.resource, t.name)
		if err != nil {
			return err
		}
		if uid := o.GetUID(); uid != "" {
			if err := sameUID(t, uid, there); err != nil {
				return err
			}
		}
		return s.unchanged(st, t, o.GetResourceVersion())
	})
}

// unchanged checks that there is something to replace, and that nobody has declared it anew since the version that
// the writer has seen ("" is any).
func (s *Server) unchanged(st *projection.State, t target, version string) error {
	if _, ok, err := t.get(s.lookAt(st), t.name); err != nil || !ok {
		return cmp.Or[error](err, apierrors.NewNotFound(t.gr(), t.name.name))
	}
	if version == "" {
		return nil
	}
	index, ours, err := s.indexOf(version)
	if err != nil {
		return err
	}
	there, ok := st.Lookup(t.key(t.name))
	switch {
	case !ours || index > st.Index():
		return modified(t.gr(), t.name.name, "resourceVersion "+version+" is not of this host's log; "+changedMeanwhile)
	case ok && there.Version.Index > index:
		return modified(t.gr(), t.name.name, changedMeanwhile)
	}
	return nil
}

// put declares o, if check allows it upon the state, and answers with the object as it then is.
func (s *Server) put(q *request, t target, o object, code int, verb string, check func(*projection.State) error) error {
	return s.change(q, t, code, verb, manifest.Key(o), func(st *projection.State) (object, error) {
		return o, check(st)
	})
}

// change declares what make gives upon the state, and answers with the object as it then is.
func (s *Server) change(q *request, t target, code int, verb, key string, make func(*projection.State) (object, error)) error {
	o, err := s.changed(q, t, verb, key, make)
	if err != nil {
		return err
	}
	return q.json(code, o)
}

// changed declares what make gives upon the state, and returns the object as it then is.
func (s *Server) changed(q *request, t target, verb, key string, make func(*projection.State) (object, error)) (object, error) {
	dry, err := q.dry()
	if err != nil {
		return nil, err
	}
	var d *declaration
	decide := func(st *projection.State) ([]projection.Change, error) {
		wanted, err := make(st)
		if err != nil {
			return nil, err
		}
		if d, err = s.declaring(q, st, wanted); err != nil {
			return nil, err
		}
		return d.changes(), nil
	}
	if dry {
		st := s.Ledger.View().Durable().State
		if _, err := decide(st); err != nil {
			return nil, err
		}
		q.warn(st, d)
		return s.imagined(q.lookAt(st), t.resource, d)
	}
	r, err := s.record(q, verb+" "+t.singular, []string{key}, decide)
	if err != nil {
		return nil, err
	}
	q.warn(r.State, d)
	return s.shown(q.lookAt(r.State), t.resource, name{d.is.GetNamespace(), d.is.GetName()})
}

// deleteOptions reads the options of a DELETE, which may be in the body, as JSON, in the query, or both.
func (q *request) deleteOptions() (o metav1.DeleteOptions, dry bool, err error) {
	data, err := q.object()
	if err != nil {
		return o, false, err
	}
	var body struct {
		metav1.DeleteOptions
		OrphanDependents bool `json:"orphanDependents"` // what the policy was before there were three
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &body); err != nil {
			return o, false, badRequest("DeleteOptions: want JSON: %v", err)
		}
	}
	o = body.DeleteOptions
	query := q.URL.Query()
	if dry, err = q.dry(o.DryRun...); err != nil {
		return o, false, err
	}
	policy := metav1.DeletionPropagation(query.Get("propagationPolicy"))
	if o.PropagationPolicy != nil {
		policy = *o.PropagationPolicy
	}
	if body.OrphanDependents || truth(query.Get("orphanDependents")) {
		policy = metav1.DeletePropagationOrphan
	}
	switch policy {
	case "", metav1.DeletePropagationBackground, metav1.DeletePropagationForeground:
	case metav1.DeletePropagationOrphan:
		return o, false, badRequest("propagationPolicy Orphan: the pods of a deleted Deployment are removed with it")
	default:
		return o, false, badRequest("propagationPolicy %q: want Background or Foreground", policy)
	}
	return o, dry, nil
}

// allowed checks the preconditions of a deletion.
func (s *Server) allowed(st *projection.State, t target, o object, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	if p.UID != nil {
		if err := sameUID(t, *p.UID, o); err != nil {
			return err
		}
	}
	if p.ResourceVersion != nil {
		return s.unchanged(st, t, *p.ResourceVersion)
	}
	return nil
}

// sameUID checks that a writer who names a uid means the object that is there, and not one of its name that was
// deleted.
func sameUID(t target, uid types.UID, there object) error {
	if uid == there.GetUID() {
		return nil
	}
	return modified(t.gr(), t.name.name, fmt.Sprintf("Precondition failed: UID in precondition: %s, UID in object meta: %s", uid, there.GetUID()))
}

// remove answers DELETE of one object. When it says Success, the deletion is durable; containers end afterwards.
func (s *Server) remove(q *request, t target) error {
	o, dry, err := q.deleteOptions()
	if err != nil {
		return err
	}
	var gone object
	decide := func(st *projection.State) ([]projection.Change, error) {
		var err error
		if gone, err = s.shown(s.lookAt(st), t.resource, t.name); err != nil {
			return nil, err
		}
		if err := s.allowed(st, t, gone, o.Preconditions); err != nil {
			return nil, err
		}
		return deletion(st, t.resource, t.name)
	}
	if dry {
		_, err = decide(s.Ledger.View().State)
	} else {
		// What a namespace holds is more than one key: that is looked at again within the ledger.
		_, err = s.within(q, "delete "+t.singular, decide)
	}
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:  metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: t.name.name, Group: t.group, Kind: t.plural, UID: gone.GetUID()}})
}

// within commits what decide works out within the ledger, where nothing comes in between: for what cannot say beforehand, as record wants
// it, of which keys it goes by.
func (s *Server) within(q *request, cause string, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	by := q.by(cause)
	var changes []projection.Change
	r, err := s.Ledger.Record(q.Context(), by, func(st *projection.State) ([]projection.Change, error) {
		var err error
		changes, err = decide(st)
		return changes, err
	})
	if err == nil && r.Stamp.IsZero() {
		return s.unrecorded(r.State, decide)
	}
	if err == nil {
		q.recorded(r.Stamp.ID)
		for _, c := range changes {
			s.log().Info("recorded", "key", c.Key, "deleted", c.Object == nil, "actor", by.Actor, "cause", by.Cause, "index", r.First)
		}
	}
	return r, err
}

// deletion is what deleting the object takes: with a namespace goes all that is declared in it.
func deletion(st *projection.State, r *resource, n name) ([]projection.Change, error) {
	var changes []projection.Change
	end := func(key string) {
		if o, ok := st.Lookup(key); ok {
			changes = append(changes, projection.Change{Kind: o.Version.Kind, Key: key})
		}
	}
	end(r.key(n))
	if r.kind != "Namespace" {
		return changes, nil
	}
	if n.name == metav1.NamespaceDefault {
		return nil, apierrors.NewForbidden(r.gr(), n.name, errors.New("this namespace may not be deleted"))
	}
	for o := range inNamespace(st, n.name) {
		end(o.Key)
	}
	return changes, nil
}

// removeAll answers DELETE of all objects that are selected, in one commit.
func (s *Server) removeAll(q *request, t target) error {
	options, dry, err := q.deleteOptions()
	if err != nil {
		return err
	}
	sel, _, err := parseList(q.URL.Query(), t.resource, t.name)
	if err != nil {
		return err
	}
	if t.kind == "Namespace" {
		return apierrors.NewMethodNotSupported(t.gr(), "deletecollection")
	}
	var gone []object
	decide := func(st *projection.State) ([]projection.Change, error) {
		var changes []projection.Change
		gone = []object{}
		l := q.lookAt(st)
		for n := range t.names(st, sel.namespace) {
			o, ok, err := s.show(l, t.resource, n)
			if err != nil {
				return nil, err
			}
			if !ok || !sel.has(t.resource, o) {
				continue
			}
			if err := s.allowed(st, target{resource: t.resource, name: n}, o, options.Preconditions); err != nil {
				return nil, err
			}
			gone = append(gone, o)
			more, err := deletion(st, t.resource, n)
			if err != nil {
				return nil, err
			}
			changes = append(changes, more...)
		}
		return changes, nil
	}
	r := projection.Receipt{State: s.Ledger.View().Durable().State}
	if dry {
		_, err = decide(r.State)
	} else {
		r, err = s.within(q, "delete "+t.plural, decide)
	}
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, s.listOf(t.resource, r.State.Index(), gone))
}
