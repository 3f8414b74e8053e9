package api

import (
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podman-swarm/podman-swarm/projection"
)

// target is what a path of Kubernetes names.
type target struct {
	*resource
	name
	sub string // "scale", "log"
}

// parsePath reads /api/v1/… or /apis/GROUP/v1/…; false for what is no path of anything served.
func parsePath(u *url.URL) (t target, ok bool) {
	parts := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	for i := range parts {
		var err error
		if parts[i], err = url.PathUnescape(parts[i]); err != nil || parts[i] == "" {
			return t, false
		}
	}
	var group string
	switch {
	case len(parts) > 2 && parts[0] == "api" && parts[1] == "v1":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis" && parts[2] == "v1":
		group, parts = parts[1], parts[3:]
	default:
		return t, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 && !(group == "" && len(parts) == 3 && (parts[2] == "status" || parts[2] == "finalize")) {
		t.namespace, parts = parts[1], parts[2:]
	}
	if t.resource, ok = served(group, parts[0]); !ok {
		return t, false
	}
	if len(parts) > 1 {
		t.name.name = parts[1]
	}
	if len(parts) > 2 {
		t.sub = parts[2]
	}
	inNamespace := t.namespace != ""
	return t, len(parts) <= 3 && (t.namespaced || !inNamespace) && (t.name.name == "" || t.namespaced == inNamespace)
}

// kubernetes answers everything under /api and /apis that names a kind.
func (s *Server) kubernetes(q *request, t target) error {
	switch {
	case t.sub == "log" && t.kind == "Pod":
		return s.podLog(q, t)
	case t.sub == "scale" && t.kind == "Deployment":
		return s.scale(q, t)
	case t.sub == "eviction" && t.kind == "Pod":
		return s.evict(q, t)
	case t.kind == "Pod" && slices.Contains([]string{"exec", "attach", "portforward", "proxy"}, t.sub):
		return notServed(t.sub + " of a pod")
	case t.sub != "":
		return unknownPath(q.URL.Path)
	}
	one := t.name.name != ""
	switch q.Method {
	case http.MethodGet, http.MethodHead:
		if one && !truth(q.URL.Query().Get("watch")) {
			return s.get(q, t)
		}
		return s.list(q, t)
	}
	if t.kind == "Node" && one {
		return s.writeNode(q, t)
	}
	if t.declared == nil {
		return notWritable(t, q.Method)
	}
	if err := q.writable(); err != nil {
		return err
	}
	switch {
	case q.Method == http.MethodPost && !one:
		return s.create(q, t)
	case q.Method == http.MethodPut && one:
		return s.replace(q, t)
	case q.Method == http.MethodPatch && one:
		return s.patch(q, t)
	case q.Method == http.MethodDelete && one:
		return s.remove(q, t)
	case q.Method == http.MethodDelete:
		return s.removeAll(q, t)
	}
	return apierrors.NewMethodNotSupported(t.gr(), strings.ToLower(q.Method))
}

// notWritable says what to do instead.
func notWritable(t target, method string) error {
	err := apierrors.NewMethodNotSupported(t.gr(), strings.ToLower(method))
	err.ErrStatus.Message += ": " + t.readonly
	return err
}

func invalidOptions(kind string, wrong field.ErrorList) error {
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", wrong)
}

// look is the newest state, now.
func (s *Server) look() *look { return s.lookAt(s.Ledger.View().State) }

func (s *Server) lookAt(st *projection.State) *look {
	return &look{State: st, self: s.Node, now: s.now(), tables: s.discovery()}
}

// show is one object as it is answered.
func (s *Server) show(l *look, r *resource, n name) (object, bool, error) {
	o, ok, err := r.get(l, n)
	if err != nil || !ok {
		return nil, false, err
	}
	o.SetResourceVersion(s.resourceVersion(r.version(l, n)))
	return o, true, nil
}

// shown is show for an object that ought to be there.
func (s *Server) shown(l *look, r *resource, n name) (object, error) {
	o, ok, err := s.show(l, r, n)
	if err == nil && !ok {
		err = apierrors.NewNotFound(r.gr(), n.name)
	}
	return o, err
}

func (s *Server) get(q *request, t target) error {
	v, err := q.view()
	if err != nil {
		return err
	}
	if t.told {
		for _, o := range s.happened(v) {
			if o.GetNamespace() == t.namespace && o.GetName() == t.name.name {
				return q.tell(t.resource, o)
			}
		}
		return apierrors.NewNotFound(t.gr(), t.name.name)
	}
	o, err := s.shown(q.lookAt(v.State), t.resource, t.name)
	if err != nil {
		return err
	}
	return q.tell(t.resource, o)
}

// list answers a list, or a watch.
func (s *Server) list(q *request, t target) error {
	sel, o, err := parseList(q.URL.Query(), t.resource, t.name)
	if err != nil {
		return err
	}
	if o.watch {
		return s.watch(q, t.resource, sel, o)
	}
	v, err := q.view()
	if err != nil {
		return err
	}
	if err := s.fresh(v, o); err != nil {
		return err
	}
	items, err := s.all(v, q.lookAt(v.State), t.resource, sel)
	if err != nil {
		return err
	}
	if rows := q.tabled(t.resource); rows != nil {
		return q.json(http.StatusOK, rows.of(s.resourceVersion(v.Index()), s.now(), items...))
	}
	return q.json(http.StatusOK, s.listOf(t.resource, v.Index(), items))
}

// objectList is a list of any kind.
type objectList struct {
	metav1.TypeMeta
	metav1.ListMeta `json:"metadata"`
	Items           []object `json:"items"`
}

func (s *Server) listOf(r *resource, index uint64, items []object) objectList {
	return objectList{
		metav1.TypeMeta{Kind: r.kind + "List", APIVersion: r.gvk().GroupVersion().String()},
		metav1.ListMeta{ResourceVersion: s.resourceVersion(index)}, items,
	}
}

// all are the objects of a kind that a view shows and sel selects, in order. It is never nil.
func (s *Server) all(v *projection.View, l *look, r *resource, sel selection) ([]object, error) {
	items := []object{}
	if r.told {
		for _, o := range s.happened(v) {
			if sel.has(r, o) {
				items = append(items, o)
			}
		}
		return items, nil
	}
	var names iter.Seq[name]
	if r.listed != nil {
		names = r.listed(l, sel.namespace)
	} else {
		names = r.names(v.State, sel.namespace)
	}
	for n := range names {
		if !sel.named(n) {
			continue
		}
		o, ok, err := s.show(l, r, n)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", r.plural, err)
		}
		if ok && sel.has(r, o) {
			items = append(items, o)
		}
	}
	return items, nil
}

// fresh checks that the view answers for the resourceVersion that a list, or the beginning of a watch, asks for.
func (s *Server) fresh(v *projection.View, o listOptions) error {
	if o.version == "" || o.version == "0" {
		return nil
	}
	index, ours, err := s.indexOf(o.version)
	switch {
	case err != nil:
		return err
	case !ours:
		return expired("resourceVersion " + o.version + " is not of this host's log")
	case index > v.Index():
		err := apierrors.NewTimeoutError("Too large resource version: "+o.version+", current: "+s.resourceVersion(v.Index()), 1)
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{
			Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
		return err
	case o.match == metav1.ResourceVersionMatchExact && index != v.Index():
		return expired("only the newest state is listed, at " + s.resourceVersion(v.Index()))
	}
	return nil
}

func expired(message string) *apierrors.StatusError {
	return apierrors.NewResourceExpired(message)
}
