package vip

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// port is one port of one Service as this host serves it.
type port struct {
	name     string         // namespace/name/protocol/number: unlike that of every other
	front    netip.AddrPort // the virtual address and port
	udp      bool
	node     uint16           // NodePort; 0: none
	affinity time.Duration    // for how long a client stays with an endpoint; 0: it does not
	inside   []netip.AddrPort // endpoints that take what comes to front, where this host reaches them
	outside  []netip.AddrPort // and what comes to node
	own      []netip.AddrPort // those that are this host's
	local    bool             // whether outside is this host's endpoints only, which are to see who their client is
}

// portsOf is what this host serves of a Service; nothing when it has no virtual address. What is neither TCP nor UDP is
// left out, and so is what is no IPv4 address. at is where the host reaches an endpoint.
func portsOf(s *discovery.Service, host string, at func(e *discovery.Endpoint, host string) netip.AddrPort) (all []port) {
	if s == nil || !s.IP.Unmap().Is4() {
		return nil
	}
	var affinity time.Duration
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		affinity = time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second
		if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			affinity = time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
		}
	}
	here := s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	local := s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.Protocol != corev1.ProtocolTCP && p.Protocol != corev1.ProtocolUDP {
			continue
		}
		w := port{front: netip.AddrPortFrom(s.IP.Unmap(), p.Port), udp: p.Protocol == corev1.ProtocolUDP, node: p.NodePort,
			affinity: affinity, inside: reached(p, host, here, at), own: reached(p, host, true, at), local: local}
		w.name = s.Namespace + "/" + s.Name.Name + "/" + w.network() + "/" + portText(p.Port)
		if w.node != 0 {
			w.outside = reached(p, host, local, at)
		}
		all = append(all, w)
	}
	return all
}

// reached is where this host reaches the port's ready endpoints, in order and each once; with here, only its own.
func reached(p *discovery.Port, host string, here bool, at func(*discovery.Endpoint, string) netip.AddrPort) (all []netip.AddrPort) {
	for e := range p.Ready() {
		a := at(&e, host)
		if a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port()); a.Addr().Is4() && a.Port() != 0 && (!here || e.Host == host) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all)
}

// fromAfar is where every host reaches an endpoint: as other hosts do, as a rootless one can reach no address of a container.
func fromAfar(e *discovery.Endpoint, _ string) netip.AddrPort { return e.Address }

func (p *port) network() string {
	if p.udp {
		return "udp"
	}
	return "tcp"
}

// all is every endpoint of the port, each once.
func (p *port) all() []netip.AddrPort {
	all := slices.Concat(p.inside, p.outside)
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all)
}

// left says whether some endpoint that was in the port is in it no more.
func (p *port) left(was *port) bool {
	gone := func(was, is []netip.AddrPort) bool {
		return slices.ContainsFunc(was, func(a netip.AddrPort) bool { return !slices.Contains(is, a) })
	}
	return p.front != was.front || p.node != was.node || gone(was.inside, p.inside) || gone(was.outside, p.outside)
}
