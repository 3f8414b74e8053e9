package ingress

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// Notes says, for people, which requests that an Ingress is for do not come to it, and why; nil when all do, or when there is no such
// Ingress. Whether its Services have anybody who answers is another question.
func Notes(t *discovery.Table, n discovery.Name) (notes []string) {
	i := t.Ingress(n)
	if i == nil {
		return nil
	}
	if !Ours(i.Spec) {
		return []string{fmt.Sprintf("its ingressClassName is %q; served are those of class %q, and those without a class", *i.Spec.IngressClassName, Class)}
	}
	all := NewRoutes(t)
	say := func(r *Route, first []*Route) {
		if len(first) > 0 && first[0].of != i {
			notes = append(notes, fmt.Sprintf("%s: Ingress %s, which is older, has the same and gets the requests", r, first[0].Ingress))
		}
	}
	for r, p := range routesOf(i) {
		switch h := all.host(r.Host); {
		case p == nil:
			for _, name := range hostsOf(i.Spec) {
				if first := all.host(name).fallback; first[0].of != i {
					notes = append(notes, fmt.Sprintf("%s/, defaultBackend: Ingress %s, which is older, has one, too, and gets the requests", name, first[0].Ingress))
				}
			}
		case p.PathType != nil && *p.PathType == networkingv1.PathTypeExact:
			say(r, h.exact[meant(p.Path)])
		default:
			say(r, h.prefix[prefixOf(meant(p.Path))])
		}
	}
	return notes
}

// Unserved says of each Ingress that is served how many of its routes nothing is sent to at this moment, for lack of a replica that is ready, or
// of a Service.
func Unserved(t *discovery.Table) iter.Seq2[discovery.Name, int] {
	return func(yield func(discovery.Name, int) bool) {
		for i := range t.Ingresses() {
			if !Ours(i.Spec) {
				continue
			}
			n := 0
			for r := range routesOf(i) {
				if r.why(t) != "" {
					n++
				}
			}
			if !yield(i.Name, n) {
				return
			}
		}
	}
}

// Secrets are those that the Ingresses that are served name for TLS, in order.
func Secrets(t *discovery.Table) (all []discovery.Name) {
	for i := range t.Ingresses() {
		for _, c := range i.Spec.TLS {
			if n := (discovery.Name{Namespace: i.Namespace, Name: c.SecretName}); c.SecretName != "" && Ours(i.Spec) {
				all = append(all, n)
			}
		}
	}
	slices.SortFunc(all, func(a, b discovery.Name) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// routesOf is where an Ingress sends requests: by the paths of its rules, and then by default, with no path.
func routesOf(i *discovery.Ingress) iter.Seq2[*Route, *networkingv1.HTTPIngressPath] {
	return func(yield func(*Route, *networkingv1.HTTPIngressPath) bool) {
		for _, rule := range i.Spec.Rules {
			if rule.HTTP == nil {
				continue // the default backend has the host
			}
			for n := range rule.HTTP.Paths {
				if p := &rule.HTTP.Paths[n]; !yield(route(i, nil, rule.Host, p.Path, &p.Backend), p) {
					return
				}
			}
		}
		if b := i.Spec.DefaultBackend; b != nil {
			yield(route(i, nil, "", "", b), nil)
		}
	}
}

// String is the route as people write it: example.com/path, or that it is the default backend's.
func (r *Route) String() string {
	if r.Path == "" {
		return r.Host + "/, defaultBackend"
	}
	return r.Host + r.Path
}

// why says why nothing is sent where the route goes; "" when something is.
func (r *Route) why(t *discovery.Table) string {
	if r.Service.Name == "" {
		return "its backend is a resource; only Services are served"
	}
	s := t.Service(r.Service)
	if s == nil {
		return "there is no Service " + r.Service.String()
	}
	p := s.Port(r.PortName, r.PortNumber)
	switch {
	case isAddress(s.External()):
		return fmt.Sprintf("Service %s has an address for its externalName; write Endpoints for that", r.Service)
	case s.External() != "" && (p != nil || r.PortNumber != 0):
		return ""
	case p == nil:
		return fmt.Sprintf("Service %s has no port %s", r.Service, r.port())
	}
	for range p.Ready() {
		return ""
	}
	return fmt.Sprintf("Service %s has no replica that is ready; see psctl describe service %s -n %s", r.Service, r.Service.Name, r.Service.Namespace)
}

func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

func (r *Route) port() string {
	if r.PortName != "" {
		return r.PortName
	}
	return strconv.Itoa(int(r.PortNumber))
}
