package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podman-swarm/podman-swarm/projection"
)

// scale answers for deployments/NAME/scale, which is the number of replicas and nothing else.
func (s *Server) scale(q *request, t target) error {
	var change func(*autoscalingv1.Scale) error
	switch q.Method {
	case http.MethodGet, http.MethodHead:
		o, err := s.shown(s.look(), t.resource, t.name)
		if err != nil {
			return err
		}
		scale, err := scaleOf(o)
		if err != nil {
			return err
		}
		return q.json(http.StatusOK, scale)
	case http.MethodPut:
		data, err := q.object()
		if err != nil {
			return err
		}
		change = func(scale *autoscalingv1.Scale) error {
			return parseScale(data, scale)
		}
	case http.MethodPatch:
		patch, err := q.patcher(autoscalingv1.Scale{})
		if err != nil {
			return err
		}
		change = func(scale *autoscalingv1.Scale) error {
			after, err := patched(scale, patch)
			if err != nil {
				return err
			}
			return parseScale(after, scale)
		}
	default:
		return apierrors.NewMethodNotSupported(t.gr(), strings.ToLower(q.Method))
	}
	if err := q.writable(); err != nil {
		return err
	}
	o, err := s.changed(q, t, "scale", t.key(t.name), func(st *projection.State) (object, error) {
		return s.scaled(st, t, change)
	})
	if err != nil {
		return err
	}
	scale, err := scaleOf(o)
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, scale)
}

// scaled is the Deployment with its replicas changed.
func (s *Server) scaled(st *projection.State, t target, change func(*autoscalingv1.Scale) error) (object, error) {
	o, err := s.shown(s.lookAt(st), t.resource, t.name)
	if err != nil {
		return nil, err
	}
	scale, err := scaleOf(o)
	if err != nil {
		return nil, err
	}
	if err := change(scale); err != nil {
		return nil, err
	}
	if n := (name{scale.Namespace, scale.Name}); cmp.Or(n.name, t.name.name) != t.name.name || cmp.Or(n.namespace, t.namespace) != t.namespace {
		return nil, badRequest("the Scale in the body is of %s/%s: the path is of %s/%s", n.namespace, n.name, t.namespace, t.name.name)
	}
	if scale.UID != "" {
		if err := sameUID(t, scale.UID, o); err != nil {
			return nil, err
		}
	}
	if err := s.unchanged(st, t, scale.ResourceVersion); err != nil {
		return nil, err
	}
	if scale.Spec.Replicas < 0 {
		return nil, apierrors.NewInvalid(scaleKind(), t.name.name, field.ErrorList{
			field.Invalid(field.NewPath("spec", "replicas"), scale.Spec.Replicas, "must be greater than or equal to 0")})
	}
	d, ok := o.(*appsv1.Deployment)
	if !ok {
		return nil, fmt.Errorf("scale %s: not a Deployment", t.name.name)
	}
	d.Spec.Replicas = &scale.Spec.Replicas
	return d, nil
}

// parseScale reads a Scale, strictly.
func parseScale(data []byte, scale *autoscalingv1.Scale) error {
	*scale = autoscalingv1.Scale{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(scale); err != nil {
		return badRequest("Scale: want JSON: %v", err)
	}
	return nil
}

func scaleKind() schema.GroupKind {
	return schema.GroupKind{Group: autoscalingv1.GroupName, Kind: "Scale"}
}

func scaleOf(o object) (*autoscalingv1.Scale, error) {
	d, ok := o.(*appsv1.Deployment)
	if !ok {
		return nil, fmt.Errorf("scale of a %T", o)
	}
	scale := &autoscalingv1.Scale{
		TypeMeta: metav1.TypeMeta{Kind: "Scale", APIVersion: "autoscaling/v1"},
		ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace, UID: d.UID,
			ResourceVersion: d.ResourceVersion, CreationTimestamp: d.CreationTimestamp},
		Status: autoscalingv1.ScaleStatus{Replicas: d.Status.Replicas, Selector: metav1.FormatLabelSelector(d.Spec.Selector)},
	}
	if d.Spec.Replicas != nil {
		scale.Spec.Replicas = *d.Spec.Replicas
	}
	return scale, nil
}
