package api

import (
	"strings"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// unresolved says why the name that a Service stands for is not looked up; "" where it is, and of a Service that stands for none. Of a name of the
// cluster, which the list of allowed ones is not about, it says nothing: what that leads to, its own Service says. That an address is no name is said elsewhere.
func (l *look) unresolved(s *discovery.Service) string {
	external := s.External()
	inside := strings.HasSuffix("."+external, ".cluster.local") || strings.HasSuffix(external, ".svc")
	if external == "" || inside || l.DNSAllows(external) {
		return ""
	}
	return external + " is not on the cluster's list of allowed names: psctl dns list; psctl dns allow " + external + " adds it"
}
