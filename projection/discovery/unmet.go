package discovery

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
)

// Unmet is what a Service of the table wants of addresses, and of ports on the hosts, and has not: for people. An agent that declares it refuses that, but two
// hosts that do not hear each other may both take one, and which addresses there are may change.
func (t *Table) Unmet(s *Service) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch ip, err := netip.ParseAddr(s.Spec.ClusterIP); {
	case t.addresses.size == 0 || s.External() != "" || s.Headless():
	case err == nil && ip != s.IP && !t.addresses.has(ip):
		say("asks for address %v, and %s: it got %s", ip, t.addresses.lacks(ip), orNone(s.IP, s.IP.IsValid()))
	case err == nil && ip != s.IP:
		say("asks for address %v, which %s has: it got %s", ip, older(t.ByIP(ip)), orNone(s.IP, s.IP.IsValid()))
	case !s.IP.IsValid():
		say("has no address: all of --service-cidr %v are other Services'", t.addresses.prefix)
	}
	for i := range s.Spec.Ports {
		asked, got := s.Spec.Ports[i].NodePort, s.Ports[i].NodePort
		switch {
		case asked == int32(got) || asked == 0 && (got != 0 || !hasNodePorts(s.Spec)):
		case asked == 0:
			say("port %d has no NodePort: all of %d to %d are other Services'", s.Ports[i].Port, manifest.FirstNodePort, manifest.LastNodePort)
		case !canHave(asked):
			say("asks for NodePort %d, which is none of %d to %d: it got %s", asked, manifest.FirstNodePort, manifest.LastNodePort, orNone(got, got != 0))
		default:
			say("asks for NodePort %d, which %s has: it got %s", asked, older(t.byNodePort(s.Ports[i].Protocol, uint16(asked))), orNone(got, got != 0))
		}
	}
	return all
}

func orNone(what any, ok bool) string {
	if !ok {
		return "none"
	}
	return fmt.Sprint(what)
}

func older(s *Service) string {
	if s == nil {
		return "another Service"
	}
	return "older Service " + s.Name.String()
}

// byNodePort is the Service that has a port of the hosts; nil when none has.
func (t *Table) byNodePort(protocol corev1.Protocol, number uint16) *Service {
	for s := range t.Services() {
		for i := range s.Ports {
			if s.Ports[i].Protocol == protocol && s.Ports[i].NodePort == number {
				return s
			}
		}
	}
	return nil
}

// lacks is why no Service gets the address.
func (a addresses) lacks(ip netip.Addr) string {
	if a.prefix.Contains(ip) {
		return fmt.Sprintf("the first %d addresses of --service-cidr %v, and the last, are no Service's", reserved, a.prefix)
	}
	return fmt.Sprintf("it is none of --service-cidr %v", a.prefix)
}

// canHave reports whether a port of the hosts is one that Services get.
func canHave(port int32) bool { return port >= manifest.FirstNodePort && port <= manifest.LastNodePort }
