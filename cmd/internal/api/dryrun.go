package api

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dryRun reports whether the request only asks what would happen.
func dryRun(values []string) (bool, error) {
	for _, v := range values {
		switch v {
		case metav1.DryRunAll, "true", "server":
			return true, nil
		case "", "false", "none":
		default:
			return false, badRequest("dryRun %q: want All", v)
		}
	}
	return false, nil
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
