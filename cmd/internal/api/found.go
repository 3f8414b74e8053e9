package api

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// Discovery is where Services are found. A discovery.Catalog is one.
type Discovery interface {
	// Of is the table of a state.
	Of(*projection.State) *discovery.Table
	// Changes are the names of what is not the same in two tables.
	Changes(before, after *discovery.Table) (services, ingresses []discovery.Name)
}

func (s *Server) discovery() Discovery {
	if s.Discovery != nil {
		return s.Discovery
	}
	return &discovery.Catalog{Ledger: s.Ledger, Host: s.Node, Log: s.Log}
}

// find is a Service as it is found; nil when it is not.
func (l *look) find(n name) *discovery.Service {
	if l.tables == nil {
		return nil
	}
	return l.found().Service(discovery.Name{Namespace: n.namespace, Name: n.name})
}

// found is all that is found.
func (l *look) found() *discovery.Table {
	if l.table == nil {
		l.table = l.tables.Of(l.State)
	}
	return l.table
}

// refound are the objects of a kind that may look different since what is found has changed between two looks.
func (s *Server) refound(r *resource, then, now *look) (all []name) {
	changed, _ := s.discovery().Changes(then.found(), now.found())
	seen := map[name]bool{}
	for _, c := range changed {
		for _, l := range []*look{then, now} {
			for _, n := range r.found(l.table, name{c.Namespace, c.Name}) {
				if !seen[n] {
					seen[n] = true
					all = append(all, n)
				}
			}
		}
	}
	return all
}

// services shows, beside what was declared of a Service, which address and which ports on the hosts it has. Those that its name gives first are recorded
// nowhere.
func services(r *resource) {
	declared, version := r.get, r.version
	r.get = func(l *look, n name) (object, bool, error) {
		o, ok, err := declared(l, n)
		if s, is := o.(*corev1.Service); is && ok && err == nil {
			dress(s, l.find(n))
		}
		return o, ok, err
	}
	r.version = func(l *look, n name) uint64 {
		if s := l.find(n); s != nil {
			return max(version(l, n), s.Moved())
		}
		return version(l, n)
	}
	r.found = func(_ *discovery.Table, n name) []name { return []name{n} }
}

// dress fills in what is found of a Service.
func dress(s *corev1.Service, found *discovery.Service) {
	if found == nil {
		return
	}
	if found.IP.IsValid() {
		s.Spec.ClusterIP = found.IP.String()
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
	for i := range s.Spec.Ports {
		if p := portLike(found.Spec.Ports, &s.Spec.Ports[i]); p >= 0 && found.Ports[p].NodePort != 0 {
			s.Spec.Ports[i].NodePort = int32(found.Ports[p].NodePort)
		}
	}
}

// portLike is the place of the same port among others; -1 when it is not there.
func portLike(all []corev1.ServicePort, p *corev1.ServicePort) int {
	for i := range all {
		if all[i].Name == p.Name && all[i].Port == p.Port && all[i].Protocol == p.Protocol {
			return i
		}
	}
	return -1
}
