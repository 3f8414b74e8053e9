package manifest

//lint:file-ignore SA1019 Endpoints are written by hand; see endpoints.go

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Object is one object of a kind of Resources, in Kubernetes' own type.
type Object interface {
	metav1.Object
	runtime.Object
}

// Resource is one kind of object that can be declared: one row of the table that everything is driven by.
type Resource struct {
	Kind           string // "Deployment"
	Type           string // "deployment", the first part of its events' keys
	Plural         string // "deployments", as in paths of the API
	Short          string // "deploy", as people type it
	Group, Version string // "apps", "v1"; the group of Service and Namespace is ""
	Namespaced     bool

	New func() Object // an empty one, its apiVersion and kind set

	name     validation.ValidateNameFunc
	defaults func(Object)
	validate func(o, old Object) field.ErrorList // what is particular to the kind; old is nil on create
	spec     func(Object) any                    // pointer to its spec; nil: it has none
}

// APIVersion is the group and version as manifests write them: "apps/v1", "v1".
func (r Resource) APIVersion() string { return r.GroupVersionKind().GroupVersion().String() }

// GroupVersionKind is the kind as apimachinery names it.
func (r Resource) GroupVersionKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}

// typeMeta is what manifests begin with.
func (r Resource) typeMeta() metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: r.APIVersion(), Kind: r.Kind}
}

// Resources is the table of kinds, ordered by kind.
func Resources() []Resource { return slices.Clone(resources()) }

// resources is the table, which is made once.
var resources = sync.OnceValue(func() []Resource {
	return []Resource{
		row(Resource{
			Kind: "ConfigMap", Type: "configmap", Plural: "configmaps", Short: "cm",
			Version: "v1", Namespaced: true, name: validation.NameIsDNSSubdomain,
		}, func(*corev1.ConfigMap) any { return nil }, func(*corev1.ConfigMap) {}, validateConfigMap),
		row(Resource{
			Kind: "Deployment", Type: "deployment", Plural: "deployments", Short: "deploy",
			Group: "apps", Version: "v1", Namespaced: true, name: validation.NameIsDNSSubdomain,
		}, func(d *appsv1.Deployment) any { return &d.Spec }, defaultDeployment, validateDeployment),
		row(Resource{
			Kind: "Endpoints", Type: "endpoints", Plural: "endpoints", Short: "ep",
			Version: "v1", Namespaced: true, name: validation.NameIsDNS1035Label, // that of its Service
		}, func(*corev1.Endpoints) any { return nil }, defaultEndpoints, validateEndpoints),
		row(Resource{
			Kind: "Ingress", Type: "ingress", Plural: "ingresses", Short: "ing",
			Group: "networking.k8s.io", Version: "v1", Namespaced: true, name: validation.NameIsDNSSubdomain,
		}, func(i *networkingv1.Ingress) any { return &i.Spec }, defaultIngress, validateIngress),
		row(Resource{
			Kind: "Namespace", Type: "namespace", Plural: "namespaces", Short: "ns",
			Version: "v1", name: validation.NameIsDNSLabel,
		}, func(n *corev1.Namespace) any { return &n.Spec }, defaultNamespace, validateNamespace),
		row(Resource{
			Kind: "Secret", Type: "secret", Plural: "secrets", Short: "sec",
			Version: "v1", Namespaced: true, name: validation.NameIsDNSSubdomain,
		}, func(*corev1.Secret) any { return nil }, defaultSecret, validateSecret),
		row(Resource{
			Kind: "Service", Type: "service", Plural: "services", Short: "svc",
			Version: "v1", Namespaced: true, name: validation.NameIsDNS1035Label,
		}, func(s *corev1.Service) any { return &s.Spec }, defaultService, validateService),
	}
})

// row fills in the columns that depend on the Go type T of a kind.
func row[T any, P interface {
	*T
	Object
}](r Resource, spec func(P) any, defaults func(P), validate func(o, old P) field.ErrorList) Resource {
	r.New = func() Object {
		o := P(new(T))
		o.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
		return o
	}
	r.spec = func(o Object) any { return spec(o.(P)) }
	r.defaults = func(o Object) { defaults(o.(P)) }
	r.validate = func(o, old Object) field.ErrorList {
		was, _ := old.(P)
		return validate(o.(P), was)
	}
	return r
}

// ByKind finds a kind by its name as manifests write it, "Deployment".
func ByKind(kind string) (Resource, bool) {
	return find(func(r Resource) bool { return r.Kind == kind })
}

// ByType finds a kind by the first part of its events' keys, "deployment".
func ByType(typ string) (Resource, bool) {
	return find(func(r Resource) bool { return r.Type == typ })
}

// ByPlural finds a kind by what people type: plural, singular, short name or kind, in any case.
func ByPlural(word string) (Resource, bool) {
	word = strings.ToLower(word)
	return find(func(r Resource) bool { return word == r.Plural || word == r.Type || word == r.Short })
}

// Of finds the kind of an object by its Go type; apiVersion and kind need not be set in it.
func Of(o Object) (Resource, bool) {
	var kind string
	switch o.(type) {
	case *corev1.ConfigMap:
		kind = "ConfigMap"
	case *appsv1.Deployment:
		kind = "Deployment"
	case *corev1.Endpoints:
		kind = "Endpoints"
	case *networkingv1.Ingress:
		kind = "Ingress"
	case *corev1.Namespace:
		kind = "Namespace"
	case *corev1.Secret:
		kind = "Secret"
	case *corev1.Service:
		kind = "Service"
	}
	return ByKind(kind)
}

func find(match func(Resource) bool) (Resource, bool) {
	rs := resources()
	if i := slices.IndexFunc(rs, match); i >= 0 {
		return rs[i], true
	}
	return Resource{}, false
}

// kinds lists what manifests may hold, for messages.
func kinds() string {
	var names []string
	for _, r := range resources() {
		names = append(names, r.Kind)
	}
	return strings.Join(names, ", ")
}

// Key is the key of the object's events: "deployment/default/nginx", and without a namespace where there is none,
// "namespace/default". It is "" for an object of no kind of Resources.
func Key(o Object) string {
	r, ok := Of(o)
	switch {
	case !ok:
		return ""
	case r.Namespaced:
		return r.Type + "/" + cmp.Or(o.GetNamespace(), metav1.NamespaceDefault) + "/" + o.GetName()
	}
	return r.Type + "/" + o.GetName()
}

// SplitKey takes a key apart; namespace is "" where the key has none. It reads keys of every type, known or not.
func SplitKey(key string) (typ, namespace, name string) {
	typ, rest, _ := strings.Cut(key, "/")
	namespace, name, ok := strings.Cut(rest, "/")
	if !ok {
		return typ, "", rest
	}
	return typ, namespace, name
}

// label is the object as messages name it: "Deployment default/web", "Namespace web".
func label(kind, namespace, name string) string {
	if namespace != "" && name != "" {
		name = namespace + "/" + name
	}
	return strings.TrimSpace(kind + " " + name)
}
