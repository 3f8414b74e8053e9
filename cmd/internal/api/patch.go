package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// patcher turns the JSON of an object into that of the patched one.
type patcher func(original []byte) ([]byte, error)

// patcher reads the patch of a request, of one of the three kinds that there are; like is an object of the kind. Patches
// are JSON, as their types say: the aliases of YAML let a small one grow beyond all bounds, and it lacks some of JSON's
// escapes.
func (q *request) patcher(like any) (patcher, error) {
	typ := types.PatchType(q.mediaType())
	switch typ {
	case types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType:
	default:
		return nil, refused(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, fmt.Sprintf(
			"a patch of type %q: want %s, %s or %s", typ, types.StrategicMergePatchType, types.MergePatchType, types.JSONPatchType))
	}
	data, err := q.body(maxObject)
	if err != nil {
		return nil, err
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, badRequest("patch: want JSON: %v", err)
	}
	switch typ {
	case types.JSONPatchType:
		ops, err := parseJSONPatch(data)
		if err != nil {
			return nil, badRequest("JSON patch: %v", err)
		}
		return ops.apply, nil
	case types.MergePatchType:
		patch, err := decodeAny(data)
		if err != nil {
			return nil, badRequest("merge patch: %v", err)
		}
		if _, ok := patch.(map[string]any); !ok {
			return nil, badRequest("merge patch: want an object")
		}
		return func(original []byte) ([]byte, error) {
			o, err := decodeAny(original)
			if err != nil {
				return nil, err
			}
			return json.Marshal(mergePatch(o, patch))
		}, nil
	}
	return func(original []byte) ([]byte, error) {
		return strategicpatch.StrategicMergePatch(original, data, like)
	}, nil
}

// mergePatch is RFC 7386.
func mergePatch(to, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	m, ok := to.(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	for k, v := range changes {
		if v == nil {
			delete(m, k)
		} else {
			m[k] = mergePatch(m[k], v)
		}
	}
	return m
}

// decodeAny reads JSON with its numbers as they are written.
func decodeAny(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// patched is the JSON of o after the patch. A patch that does not fit the object is a 422, as in Kubernetes.
func patched(o object, patch patcher) ([]byte, error) {
	original, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	after, err := patch(original)
	if err == nil {
		return after, nil
	}
	var api *apierrors.StatusError
	if errors.As(err, &api) {
		return nil, err
	}
	gk := o.GetObjectKind().GroupVersionKind().GroupKind()
	why := err.Error()
	if gk.Kind == "Secret" { // whatever the error may quote
		why = "it does not fit the object"
	}
	return nil, apierrors.NewInvalid(gk, o.GetName(), field.ErrorList{field.Invalid(field.NewPath("patch"), "", why)})
}

// patch answers PATCH.
func (s *Server) patch(q *request, t target) error {
	patch, err := q.patcher(t.declared.New())
	if err != nil {
		return err
	}
	return s.change(q, t, http.StatusOK, "patch", t.key(t.name), func(st *projection.State) (object, error) {
		l := q.lookAt(st)
		there, err := s.shown(l, t.resource, t.name)
		if err == nil {
			err = l.patchable(there)
		}
		if err != nil {
			return nil, err
		}
		after, err := patched(there, patch)
		if err != nil {
			return nil, err
		}
		q.w.Header().Del("Warning") // of an earlier attempt
		o, err := q.decode(after)
		if err != nil {
			return nil, err
		}
		if o.GetObjectKind().GroupVersionKind() != t.gvk() {
			return nil, badRequest("the patch makes it a %s", o.GetObjectKind().GroupVersionKind())
		}
		if err := sameUID(t, o.GetUID(), there); err != nil {
			return nil, err
		}
		if o.GetName() != t.name.name || o.GetNamespace() != t.namespace {
			return nil, badRequest("a patch cannot rename an object")
		}
		if err := s.unchanged(st, t, o.GetResourceVersion()); err != nil {
			return nil, err
		}
		manifest.Default(o)
		return o, nil
	})
}
