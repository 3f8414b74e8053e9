package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// writeNode answers what changes a Node. Of what is written, only what people say of a host is taken: labels beside its
// own, annotations, taints, and whether it is given new replicas. That is declared, under a key of its own.
func (s *Server) writeNode(q *request, t target) error {
	if err := q.writable(); err != nil {
		return err
	}
	switch q.Method {
	case http.MethodPatch:
		patch, err := q.patcher(corev1.Node{})
		if err != nil {
			return err
		}
		return s.putNode(q, t, func(there *corev1.Node) ([]byte, error) { return patched(there, patch) })
	case http.MethodPut:
		data, err := q.object()
		if err != nil {
			return err
		}
		return s.putNode(q, t, func(*corev1.Node) ([]byte, error) { return yaml.YAMLToJSON(data) })
	case http.MethodDelete:
		return s.deleteNode(q, t)
	}
	return notWritable(t, q.Method)
}

// putNode declares what make makes of the Node that is there.
func (s *Server) putNode(q *request, t target, make func(*corev1.Node) ([]byte, error)) error {
	dry, err := q.dry()
	if err != nil {
		return err
	}
	var shown *corev1.Node
	decide := func(st *projection.State) ([]projection.Change, error) {
		o, err := s.shown(s.lookAt(st), t.resource, t.name)
		if err != nil {
			return nil, err
		}
		there, ok := o.(*corev1.Node)
		if !ok {
			return nil, fmt.Errorf("node %s: is a %T", t.name.name, o)
		}
		data, err := make(there)
		if err != nil {
			return nil, err
		}
		wanted, err := parseNode(data)
		if err != nil {
			return nil, err
		}
		if err := s.sameNode(st, t, wanted, there); err != nil {
			return nil, err
		}
		n, wrong := sayOf(st, wanted, there)
		if len(wrong) > 0 {
			return nil, apierrors.NewInvalid(t.gvk().GroupKind(), t.name.name, wrong)
		}
		shown = there
		shown.Labels, shown.Annotations, shown.Spec = wanted.Labels, wanted.Annotations, wanted.Spec
		return sayNode(st, t.name.name, n), nil
	}
	if dry {
		if _, err := decide(s.Ledger.View().State); err != nil {
			return err
		}
		return q.json(http.StatusOK, shown)
	}
	keys := []string{projection.NodeKey(t.name.name), projection.HostKey(t.name.name)}
	r, err := s.record(q, strings.ToLower(q.Method)+" node", keys, decide)
	if err != nil {
		return err
	}
	o, err := s.shown(s.lookAt(r.State), t.resource, t.name)
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, o)
}

// parseNode reads a Node, strictly.
func parseNode(data []byte) (*corev1.Node, error) {
	n := &corev1.Node{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(n); err != nil {
		return nil, badRequest("Node: %v", strings.TrimPrefix(err.Error(), "json: "))
	}
	return n, nil
}

// sameNode checks that a written Node is the one that is there, as its writer has seen it.
func (s *Server) sameNode(st *projection.State, t target, wanted, there *corev1.Node) error {
	if wanted.Kind != "" && wanted.Kind != "Node" || wanted.Name != "" && wanted.Name != there.Name || wanted.Namespace != "" {
		return badRequest("the object in the body is %s %s: the path is of node %s", wanted.Kind, wanted.Name, there.Name)
	}
	if wanted.UID != "" {
		if err := sameUID(t, wanted.UID, there); err != nil {
			return err
		}
	}
	if wanted.ResourceVersion == "" {
		return nil
	}
	index, ours, err := s.indexOf(wanted.ResourceVersion)
	said, ok := st.Lookup(projection.NodeKey(there.Name))
	switch {
	case err != nil:
		return err
	case !ours || index > st.Index():
		return modified(t.gr(), there.Name, "resourceVersion "+wanted.ResourceVersion+" is not of this host's log; "+changedMeanwhile)
	case ok && said.Version.Index > index:
		return modified(t.gr(), there.Name, changedMeanwhile)
	}
	return nil
}

// sayOf is what a written Node says of its host beside what the host says of itself, or what is wrong with it.
func sayOf(st *projection.State, wanted, there *corev1.Node) (projection.Node, field.ErrorList) {
	n := said(st, there.Name)
	h, _ := projection.Read[projection.Host](st, projection.HostKey(there.Name))
	meta := field.NewPath("metadata")
	wrong := append(metav1validation.ValidateLabels(wanted.Labels, meta.Child("labels")),
		validation.ValidateAnnotations(wanted.Annotations, meta.Child("annotations"))...)
	wrong = append(wrong, wrongTaints(wanted.Spec.Taints, field.NewPath("spec", "taints"))...)

	own := ownLabels(there.Name, h)
	n.Labels = map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(own)) {
		switch v, ok := wanted.Labels[k]; {
		case !ok:
			wrong = append(wrong, field.Forbidden(meta.Child("labels").Key(k), "is the host's own: it can be given another value, or be taken "+
				"from the flags of its agent (--node-label)"))
		case v != own[k] && fixedLabel(k):
			wrong = append(wrong, field.Forbidden(meta.Child("labels").Key(k), "says what the host is, and cannot be changed"))
		}
	}
	for k, v := range wanted.Labels {
		if was, ok := own[k]; !ok || was != v {
			n.Labels[k] = v
		}
	}
	n.Annotations = maps.Clone(wanted.Annotations)
	delete(n.Annotations, drainingNote)
	n.Taints, n.Unschedulable = wanted.Spec.Taints, wanted.Spec.Unschedulable
	if !n.Unschedulable {
		n.Draining = false
	}
	spec := *wanted.Spec.DeepCopy()
	spec.Taints, spec.Unschedulable = nil, false
	if !reflect.DeepEqual(spec, corev1.NodeSpec{}) {
		wrong = append(wrong, field.Forbidden(field.NewPath("spec"), "of a node, taints and unschedulable can be changed"))
	}
	return n, wrong
}

// wrongTaints checks taints as Kubernetes does.
func wrongTaints(taints []corev1.Taint, path *field.Path) (wrong field.ErrorList) {
	seen := map[string]bool{}
	for i, t := range taints {
		at := path.Index(i)
		wrong = append(wrong, metav1validation.ValidateLabelName(t.Key, at.Child("key"))...)
		for _, text := range utilvalidation.IsValidLabelValue(t.Value) {
			wrong = append(wrong, field.Invalid(at.Child("value"), t.Value, text))
		}
		effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
		if !slices.Contains(effects, t.Effect) {
			wrong = append(wrong, field.NotSupported(at.Child("effect"), t.Effect, effects))
		}
		key := t.Key + ":" + string(t.Effect)
		if seen[key] {
			wrong = append(wrong, field.Duplicate(at, key))
		}
		seen[key] = true
	}
	return wrong
}

// sayNode is the change by which that is said of a host; none when it is said already.
func sayNode(st *projection.State, host string, n projection.Node) []projection.Change {
	if len(n.Labels) == 0 {
		n.Labels = nil
	}
	if len(n.Annotations) == 0 {
		n.Annotations = nil
	}
	now := projection.Encode(n)
	was, ok := st.Lookup(projection.NodeKey(host))
	if ok && bytes.Equal(was.Version.Object, now) || !ok && bytes.Equal(now, projection.Encode(projection.Node{})) {
		return nil
	}
	return []projection.Change{{Kind: events.Declared, Key: projection.NodeKey(host), Object: now}}
}

// deleteNode shuts a host out for good, as kubectl delete node asks for.
func (s *Server) deleteNode(q *request, t target) error {
	o, dry, err := q.deleteOptions()
	if err != nil {
		return err
	}
	gone, err := s.shown(s.look(), t.resource, t.name)
	if err != nil {
		return err
	}
	if o.Preconditions != nil && o.Preconditions.UID != nil {
		if err := sameUID(t, *o.Preconditions.UID, gone); err != nil {
			return err
		}
	}
	host := t.name.name
	decide := func(st *projection.State) ([]projection.Change, error) {
		return s.shutOut(st, host, false, "delete node")
	}
	if dry {
		_, err = decide(s.Ledger.View().State)
	} else {
		_, err = s.within(q, "delete node", decide)
	}
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status: metav1.StatusSuccess, Details: &metav1.StatusDetails{Name: host, Kind: t.plural, UID: gone.GetUID()}})
}
