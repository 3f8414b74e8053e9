package api

import (
	"strings"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// clusterDomain is what names of the cluster end with. Those have no list of allowed names.
const clusterDomain = ".svc.cluster.local"

// unresolved says why the name that a Service stands for is not looked up, for containers and Ingresses alike; "" where it is, and of a Service that
// stands for none. That an address is no name is said elsewhere.
func (l *look) unresolved(s *discovery.Service) string {
	for range 8 { // so many may stand for one another
		external := s.External()
		if external == "" || external == "cluster.local" {
			return ""
		}
		short, ours := strings.CutSuffix(external, clusterDomain)
		next := l.named(strings.TrimSuffix(short, ".svc"))
		switch {
		case ours && next != nil:
			s = next
		case ours, strings.HasSuffix(external, ".cluster.local"), next != nil && (strings.HasSuffix(short, ".svc") || strings.Count(short, ".") == 1):
			return ""
		case l.DNSAllows(external):
			return ""
		default:
			return external + " is not on the cluster's list of allowed names: psctl dns list; psctl dns allow " + external + " adds it"
		}
	}
	return "Services of type ExternalName stand for one another"
}

// named is the Service of a name NAME.NAMESPACE, or of what is below that, as a replica's is; nil when there is none.
func (l *look) named(short string) *discovery.Service {
	labels := strings.Split(short, ".")
	if n := len(labels); n >= 2 {
		return l.find(name{labels[n-1], labels[n-2]})
	}
	return nil
}
