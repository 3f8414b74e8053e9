package api

import (
	"iter"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
	"github.com/podman-swarm/podman-swarm/projection/secret"
)

// object is one object in Kubernetes' own type.
type object = manifest.Object

// name is which object of a kind: namespace is "" for kinds without.
type name struct{ namespace, name string }

// resource is one kind of object that is served: one row of the table that everything is driven by.
type resource struct {
	group, kind, plural, singular string // the version of all of them is v1
	short                         []string
	namespaced                    bool
	// declared kinds can be written; the others are computed, and readonly says what to do instead of writing them.
	declared *manifest.Resource
	readonly string

	// get is the object that the state shows, without a version; false when there is none.
	get func(*look, name) (object, bool, error)
	// names are the objects that the state shows in a namespace ("": in all), in order.
	names func(st *projection.State, namespace string) iter.Seq[name]
	// listed, unless nil, are the same where they cannot be told from the state alone.
	listed func(l *look, namespace string) iter.Seq[name]
	// touched is the one object of this kind that an event of the key can change.
	touched func(key string) (name, bool)
	// stirred, unless nil, are further ones, that an event changes by what it says of hosts.
	stirred func(step *projection.Step, self, key string) []name
	// version is the index of the newest event that the object is made of.
	version func(*look, name) uint64
	// told makes the objects out of what happened, instead of the four functions above.
	told bool
	// timed says that an object can change by the passing of time alone.
	timed bool
	// found, unless nil, are the objects that change with what is found of a Service, as it is in one table.
	found func(*discovery.Table, name) []name
}

func (r *resource) gr() schema.GroupResource {
	return schema.GroupResource{Group: r.group, Resource: r.plural}
}

func (r *resource) gvk() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.group, Version: "v1", Kind: r.kind}
}

// look is one state, looked at at one time.
type look struct {
	*projection.State
	self string // this host
	now  time.Time
	// later, unless nil, is told when an object will look different although nothing is recorded.
	later func(name, time.Time)
	// reveal, unless nil, says whether who looks may see the values of a namespace's Secrets, and secrets opens them.
	reveal  func(namespace string) bool
	secrets *secret.Keys

	tables Discovery        // nil: nothing is found
	table  *discovery.Table // of the state, once somebody has asked

	heard *projection.Hearing // whom this host hears, once somebody has asked
}

// resources is the table of what is served, in the order of discovery.
func resources() []*resource {
	var all []*resource
	for _, m := range manifest.Resources() {
		r := &resource{
			group: m.Group, kind: m.Kind, plural: m.Plural, singular: m.Type, short: []string{m.Short},
			namespaced: m.Namespaced, declared: &m,
			get: declaredGet(m), names: declaredNames(m), touched: declaredTouched(m), version: declaredVersion(m),
		}
		switch m.Type {
		case "deployment":
			deployments(r)
		case "namespace":
			namespaces(r)
		case secret.Type:
			secrets(r)
		case "service":
			services(r)
		case "endpoints":
			endpoints(r)
		}
		all = append(all, r)
	}
	all = append(all, pods(), nodes(), endpointSlices(), &resource{
		kind: "Event", plural: "events", singular: "event", short: []string{"ev"}, namespaced: true, told: true,
		readonly: "events are told of what was recorded, and cannot be written",
	})
	slices.SortStableFunc(all, func(a, b *resource) int { return strings.Compare(a.plural, b.plural) })
	return all
}

// served finds a kind by its group and plural.
func served(group, plural string) (*resource, bool) {
	all := resources()
	i := slices.IndexFunc(all, func(r *resource) bool { return r.group == group && r.plural == plural })
	if i < 0 {
		return nil, false
	}
	return all[i], true
}

// key is the key of the declared object of that name.
func (r *resource) key(n name) string {
	if r.namespaced {
		return r.declared.Type + "/" + n.namespace + "/" + n.name
	}
	return r.declared.Type + "/" + n.name
}

func declaredGet(m manifest.Resource) func(*look, name) (object, bool, error) {
	r := resource{declared: &m, namespaced: m.Namespaced}
	return func(l *look, n name) (object, bool, error) {
		shown, ok := l.Lookup(r.key(n))
		if !ok {
			return nil, false, nil
		}
		o, err := manifest.Decode(m.Type, shown.Version.Object)
		if err != nil {
			return nil, false, err
		}
		o.SetUID(uidOf(shown.UID))
		return o, true, nil
	}
}

func declaredNames(m manifest.Resource) func(*projection.State, string) iter.Seq[name] {
	return func(st *projection.State, namespace string) iter.Seq[name] {
		prefix := m.Type + "/"
		if namespace != "" {
			prefix += namespace + "/"
		}
		return func(yield func(name) bool) {
			for o := range st.All(prefix) {
				if _, ns, nm := manifest.SplitKey(o.Key); !yield(name{ns, nm}) {
					return
				}
			}
		}
	}
}

func declaredTouched(m manifest.Resource) func(string) (name, bool) {
	return func(key string) (name, bool) {
		typ, ns, nm := manifest.SplitKey(key)
		return name{ns, nm}, typ == m.Type
	}
}

func declaredVersion(m manifest.Resource) func(*look, name) uint64 {
	r := resource{declared: &m, namespaced: m.Namespaced}
	return func(l *look, n name) uint64 {
		if o, ok := l.Lookup(r.key(n)); ok {
			return o.Version.Index
		}
		return 0
	}
}
