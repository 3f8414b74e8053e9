package api

//lint:file-ignore SA1019 Endpoints are what clients before Kubernetes 1.33 read, kubectl describe service before 1.31 among them

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"iter"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

const computedEndpoints = "endpoints follow the replicas of the Deployments that a Service selects, and cannot be written"

// reached is one replica of a Service at one address, with all the ports that lead there.
type reached struct {
	pod   projection.Pod
	host  string
	ip    netip.Addr
	ready bool
	ports []discoveryv1.EndpointPort
}

// reachedOf are the replicas of a Service, in order. They are reached at ports of their hosts, so hardly any two have the same.
func reachedOf(s *discovery.Service) (all []reached) {
	for i := range s.Ports {
		p := &s.Ports[i]
		for _, e := range p.Endpoints {
			at := addressOf(&e)
			m := slices.IndexFunc(all, func(m reached) bool { return m.pod == e.Pod && m.ip == at.Addr() })
			if m < 0 {
				m = len(all)
				all = append(all, reached{pod: e.Pod, host: e.Host, ip: at.Addr(), ready: e.Ready})
			}
			if p.Port == 0 {
				continue
			}
			number := int32(at.Port())
			port := discoveryv1.EndpointPort{Name: &p.Name, Protocol: &p.Protocol, Port: &number}
			if p.AppProtocol != "" {
				port.AppProtocol = &p.AppProtocol
			}
			all[m].ports = append(all[m].ports, port)
		}
	}
	slices.SortStableFunc(all, func(a, b reached) int { return cmp.Or(a.pod.Compare(b.pod), a.ip.Compare(b.ip)) })
	return all
}

// target is the pod that an address is of.
func (m *reached) target(l *look) *corev1.ObjectReference {
	if m.pod == (projection.Pod{}) {
		return nil
	}
	ref := &corev1.ObjectReference{Kind: "Pod", Namespace: m.pod.Namespace, Name: m.pod.Name()}
	if o, ok := l.Lookup(m.pod.PlacementKey()); ok {
		ref.UID = podUID(o.UID, m.host)
	}
	return ref
}

// hasEndpoints reports whether there are Endpoints of a Service: not of one that stands for a name.
func hasEndpoints(s *discovery.Service) bool {
	return s != nil && s.External() == "" && (len(s.Spec.Selector) > 0 || len(reachedOf(s)) > 0)
}

func foundVersion(l *look, n name) uint64 {
	if s := l.find(n); s != nil {
		return s.Index()
	}
	return 0
}

// foundNames are the Services that the state shows.
func foundNames(st *projection.State, namespace string) iter.Seq[name] {
	r, _ := served("", "services")
	return r.names(st, namespace)
}

func untouched(string) (name, bool) { return name{}, false }

// endpoints shows, beside those that were written by hand, those of the Services that select replicas, which nobody writes.
func endpoints(r *resource) {
	declared, names, version := r.get, r.names, r.version
	r.get = func(l *look, n name) (object, bool, error) {
		s := l.find(n)
		if s != nil && s.External() == "" && len(s.Spec.Selector) > 0 {
			return endpointsOf(l, n, s), true, nil
		}
		return declared(l, n)
	}
	r.names = func(st *projection.State, namespace string) iter.Seq[name] {
		all := slices.Collect(names(st, namespace))
		all = slices.AppendSeq(all, foundNames(st, namespace))
		slices.SortFunc(all, func(a, b name) int { return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name)) })
		return slices.Values(slices.Compact(all))
	}
	r.version = func(l *look, n name) uint64 {
		if s := l.find(n); s != nil && len(s.Spec.Selector) > 0 {
			return max(version(l, n), s.Index())
		}
		return version(l, n)
	}
	r.found = func(_ *discovery.Table, n name) []name { return []name{n} }
}

func endpointsOf(l *look, n name, s *discovery.Service) *corev1.Endpoints {
	e := &corev1.Endpoints{TypeMeta: metav1.TypeMeta{Kind: "Endpoints", APIVersion: "v1"}, ObjectMeta: metaOf(n, n.name, s)}
	for _, m := range reachedOf(s) {
		address := corev1.EndpointAddress{IP: m.ip.String(), TargetRef: m.target(l)}
		if m.host != "" {
			address.NodeName = &m.host
		}
		sub := corev1.EndpointSubset{Addresses: []corev1.EndpointAddress{address}}
		if !m.ready {
			sub.Addresses, sub.NotReadyAddresses = nil, sub.Addresses
		}
		for _, p := range m.ports {
			sub.Ports = append(sub.Ports, corev1.EndpointPort{Name: *p.Name, Port: *p.Port, Protocol: *p.Protocol, AppProtocol: p.AppProtocol})
		}
		e.Subsets = append(e.Subsets, sub)
	}
	return e
}

// metaOf is the metadata of what is shown of a Service's endpoints under a name.
func metaOf(service name, as string, s *discovery.Service) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: as, Namespace: service.namespace, UID: uidFrom("endpoints " + s.UID.String() + " " + as),
		CreationTimestamp: metav1.NewTime(s.Created)}
}

// endpointSlices are Endpoints as newer clients read them. Ports belong to a whole slice, so there is one for all members that have
// the same ports: nearly always one for each.
func endpointSlices() *resource {
	return &resource{
		group: discoveryv1.GroupName, kind: "EndpointSlice", plural: "endpointslices", singular: "endpointslice", namespaced: true,
		readonly: computedEndpoints,
		get: func(l *look, n name) (object, bool, error) {
			service := serviceOfSlice(n)
			s := l.find(service)
			if s == nil || !slices.Contains(sliceNames(s), n.name) {
				return nil, false, nil
			}
			return sliceOf(l, service, s, n.name), true, nil
		},
		listed: func(l *look, namespace string) iter.Seq[name] {
			return func(yield func(name) bool) {
				for service := range foundNames(l.State, namespace) {
					s := l.find(service)
					if s == nil {
						continue
					}
					for _, n := range sliceNames(s) {
						if !yield(name{service.namespace, n}) {
							return
						}
					}
				}
			}
		},
		touched: untouched,
		version: func(l *look, n name) uint64 { return foundVersion(l, serviceOfSlice(n)) },
		found: func(t *discovery.Table, n name) (all []name) {
			if s := t.Service(discovery.Name{Namespace: n.namespace, Name: n.name}); s != nil {
				for _, slice := range sliceNames(s) {
					all = append(all, name{n.namespace, slice})
				}
			}
			return all
		},
	}
}

// serviceOfSlice is the Service that a slice of that name is of.
func serviceOfSlice(n name) name {
	i := strings.LastIndexByte(n.name, '-')
	return name{n.namespace, n.name[:max(i, 0)]}
}

// sliceName is the name of a slice: of the Service, and of what its members have in common.
func (m *reached) sliceName(s *discovery.Service) string {
	h := fnv.New32a()
	fmt.Fprint(h, m.ip.Is4())
	for _, p := range m.ports {
		fmt.Fprint(h, " ", *p.Name, *p.Port, *p.Protocol)
	}
	return fmt.Sprintf("%s-%08x", s.Name.Name, h.Sum32())
}

// sliceNames are those of a Service's slices, in order. One without members has an empty slice, as in Kubernetes.
func sliceNames(s *discovery.Service) (all []string) {
	if !hasEndpoints(s) {
		return nil
	}
	for _, m := range reachedOf(s) {
		all = append(all, m.sliceName(s))
	}
	if len(all) == 0 {
		all = append(all, (&reached{}).sliceName(s))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sliceOf is the slice of that name of a Service.
func sliceOf(l *look, n name, s *discovery.Service, as string) *discoveryv1.EndpointSlice {
	yes, no := true, false
	slice := &discoveryv1.EndpointSlice{TypeMeta: metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: discoveryv1.SchemeGroupVersion.String()},
		ObjectMeta: metaOf(n, as, s), AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{}, Ports: []discoveryv1.EndpointPort{}}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: n.name, discoveryv1.LabelManagedBy: "podman-swarm"}
	slice.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: n.name, UID: uidOf(s.UID), Controller: &yes, BlockOwnerDeletion: &yes}}
	for _, m := range reachedOf(s) {
		if m.sliceName(s) != as {
			continue
		}
		if !m.ip.Is4() {
			slice.AddressType = discoveryv1.AddressTypeIPv6
		}
		e := discoveryv1.Endpoint{Addresses: []string{m.ip.String()}, TargetRef: m.target(l),
			Conditions: discoveryv1.EndpointConditions{Ready: &m.ready, Serving: &m.ready, Terminating: &no}}
		if m.host != "" {
			e.NodeName = &m.host
		}
		slice.Ports = append([]discoveryv1.EndpointPort{}, m.ports...)
		slice.Endpoints = append(slice.Endpoints, e)
	}
	return slice
}
