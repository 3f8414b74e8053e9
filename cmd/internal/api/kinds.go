package api

import (
	"iter"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/placement"
)

// uidOf is an object's uid as Kubernetes writes them: the same on every host, since it is made of the id of the
// event that created the object.
func uidOf(id events.ID) types.UID { return uidFrom("event " + id.String()) }

// uidFrom is a UUID of version 5, of a text.
func uidFrom(text string) types.UID { return types.UID(projection.UID(text)) }

// deployments adds what becomes of a Deployment to what was declared of it.
func deployments(r *resource) {
	declared, touched, version := r.get, r.touched, r.version
	r.timed = true // a replica is available once it has run for minReadySeconds
	r.get = func(l *look, n name) (object, bool, error) {
		o, ok, err := declared(l, n)
		d, isDeployment := o.(*appsv1.Deployment)
		if err != nil || !ok || !isDeployment {
			return o, ok, err
		}
		shown, _ := l.Lookup(r.key(n))
		rollout, err := placement.AsSeen(l.State, shown, l.silent(), l.now)
		if err != nil {
			return nil, false, err
		}
		d.Status = rollout.Status()
		if l.later != nil && !rollout.Wake.IsZero() {
			l.later(n, rollout.Wake)
		}
		return d, true, nil
	}
	r.touched = func(key string) (name, bool) {
		if p, _, ok := projection.PodOf(key); ok {
			return name{p.Namespace, p.Deployment}, true
		}
		return touched(key)
	}
	r.stirred = func(step *projection.Step, self, key string) []name {
		var all []name
		for _, p := range stirredPods(step, self, key) {
			all = append(all, name{p.Namespace, p.Deployment})
		}
		return all
	}
	r.version = func(l *look, n name) uint64 {
		newest := version(l, n)
		for _, typ := range []string{projection.PlacementType, projection.ReplicaType} {
			for o := range l.All(typ + "/" + n.namespace + "/" + n.name + "/") {
				newest = max(newest, o.Version.Index)
			}
		}
		return newest
	}
}

// namespaces shows, beside the declared ones, "default" and those that something is declared in: nobody has to make
// a namespace before using it.
func namespaces(r *resource) {
	declared, touched := r.get, r.touched
	r.get = func(l *look, n name) (object, bool, error) {
		o, ok, err := declared(l, n)
		if err != nil {
			return nil, false, err
		}
		if !ok {
			if n.name != metav1.NamespaceDefault && !used(l.State, n.name) {
				return nil, false, nil
			}
			o = &corev1.Namespace{TypeMeta: metav1.TypeMeta{Kind: "Namespace", APIVersion: "v1"},
				ObjectMeta: metav1.ObjectMeta{Name: n.name, UID: uidFrom("namespace " + n.name)}}
		}
		if ns, ok := o.(*corev1.Namespace); ok {
			ns.Status.Phase = corev1.NamespaceActive
		}
		return o, true, nil
	}
	r.names = func(st *projection.State, _ string) iter.Seq[name] {
		all := map[string]bool{metav1.NamespaceDefault: true}
		for _, m := range manifest.Resources() {
			for o := range st.All(m.Type + "/") {
				_, ns, nm := manifest.SplitKey(o.Key)
				if !m.Namespaced {
					ns = nm
				}
				all[ns] = true
			}
		}
		return func(yield func(name) bool) {
			for _, n := range slices.Sorted(maps.Keys(all)) {
				if !yield(name{name: n}) {
					return
				}
			}
		}
	}
	r.touched = func(key string) (name, bool) {
		typ, ns, _ := manifest.SplitKey(key)
		if m, ok := manifest.ByType(typ); ok && m.Namespaced {
			return name{name: ns}, true
		}
		return touched(key)
	}
}

// used reports whether anything is declared in the namespace.
func used(st *projection.State, namespace string) bool {
	for range inNamespace(st, namespace) {
		return true
	}
	return false
}

// inNamespace gives everything that is declared in a namespace.
func inNamespace(st *projection.State, namespace string) iter.Seq[projection.Object] {
	return func(yield func(projection.Object) bool) {
		for _, m := range manifest.Resources() {
			if !m.Namespaced {
				continue
			}
			for o := range st.All(m.Type + "/" + namespace + "/") {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// keepStatus gives o the status of the object that it is another version of.
func keepStatus(o, from object) {
	is, _ := o.(*appsv1.Deployment)
	was, _ := from.(*appsv1.Deployment)
	if is != nil && was != nil {
		is.Status = was.Status
	}
	if ns, ok := o.(*corev1.Namespace); ok {
		ns.Status.Phase = corev1.NamespaceActive
	}
}
