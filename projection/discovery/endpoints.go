package discovery

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podman-swarm/podman-swarm/projection"
)

// paused is the reason that Podman's part gives of a replica whose container somebody has paused: it runs, and answers nothing.
const paused = "Paused"

// serviceOf is the Service, its address and what is behind its ports; nil when there is none.
func (b *book) serviceOf(n Name) *Service {
	d := b.services[n]
	if d == nil {
		return nil
	}
	s := &Service{Name: n, UID: d.uid, Created: d.claims.age.made, Spec: d.spec}
	s.IP, _ = b.ips.get(n)
	for i := range d.spec.Ports {
		p := &d.spec.Ports[i]
		port := Port{Name: p.Name, Protocol: p.Protocol, Port: uint16(p.Port)}
		if p.AppProtocol != nil {
			port.AppProtocol = *p.AppProtocol
		}
		has, _ := b.ports.get(portOf{n, i})
		port.NodePort = has.number
		s.Ports = append(s.Ports, port)
	}
	if len(s.Ports) == 0 && s.Headless() {
		s.Ports = []Port{{}}
	}
	if len(d.spec.Selector) == 0 && s.External() == "" {
		b.give(s)
	}
	for _, key := range sortedPods(d.pods) {
		b.reach(s, b.pods[key])
	}
	b.tellUnled(s)
	return s
}

// tellUnled says of what is ready, and not led to all the same, why: a virtual address, and with it the ports on the hosts, leads on over TCP and UDP alone, and
// to IPv4. Names of headless Services lead to the replicas themselves.
func (b *book) tellUnled(s *Service) {
	if !s.IP.IsValid() {
		return
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		for e := range p.Ready() {
			a := Absent{Pod: e.Pod, Host: e.Host, Port: cmp.Or(p.Name, strconv.Itoa(int(p.Port)))}
			if e.Pod == (projection.Pod{}) {
				a.Given = e.Address.Addr()
			}
			if a.Why = b.unled(p, &e); a.Why != "" {
				s.Absent = append(s.Absent, a)
			}
		}
	}
}

// unled is why a Service's address does not lead to an endpoint behind one of its ports, from this host or another; "" when it does.
func (b *book) unled(p *Port, e *Endpoint) string {
	if p.Protocol != corev1.ProtocolTCP && p.Protocol != corev1.ProtocolUDP {
		return fmt.Sprintf("a Service's address, and its ports on the hosts, lead on over TCP and UDP, and not over %s: make it headless (clusterIP: None), and ask for its SRV record", p.Protocol)
	}
	for _, at := range []netip.AddrPort{e.Address, e.On(b.self)} {
		if at.IsValid() && !at.Addr().Is4() {
			return fmt.Sprintf("it is reached at %s, and a Service's address, and its ports on the hosts, lead to IPv4 alone: an Ingress leads there, and so do the names of a headless Service (clusterIP: None)", at)
		}
	}
	return ""
}

func sortedPods(all map[projection.Pod]bool) []projection.Pod {
	sorted := make([]projection.Pod, 0, len(all))
	for p := range all {
		sorted = append(sorted, p)
	}
	slices.SortFunc(sorted, projection.Pod.Compare)
	return sorted
}

// reach puts a replica behind the ports of a Service, as far as it can be, and says why not.
func (b *book) reach(s *Service, p *pod) {
	absent := func(port, why string) {
		s.Absent = append(s.Absent, Absent{Pod: p.Pod, Host: p.host(), Port: port, Why: why})
	}
	h := b.hosts[p.host()]
	why := p.unready(h)
	ready := why == ""
	if p.replica != nil && p.replica.Phase == projection.Running && h.away == "" && !p.ended(h) && s.Spec.PublishNotReadyAddresses {
		ready = true
	}
	if why != "" {
		absent("", why)
	}
	for i := range s.Ports {
		port := &s.Ports[i]
		e := Endpoint{Host: p.host(), Pod: p.Pod, Ready: ready}
		var name, lacks string
		if port.Port == 0 {
			e.Address, e.Local, lacks = b.somewhere(p, h)
		} else {
			spec := &s.Spec.Ports[i]
			name = cmp.Or(spec.Name, strconv.Itoa(int(spec.Port)))
			target, wrong := p.target(spec)
			if wrong != "" {
				absent(name, wrong)
				continue
			}
			e.Address, e.Local, lacks = b.at(p, h, target, port.Protocol)
		}
		if lacks != "" && ready { // else it is as it is because it does not run
			absent(name, lacks)
		}
		if e.Address.IsValid() || e.Local.IsValid() {
			port.Endpoints = append(port.Endpoints, e)
		}
	}
}

// unready is why nothing is sent to the replica, whatever the port; "" when something is.
func (p *pod) unready(h host) string {
	r := p.replica
	switch {
	case p.broken != "":
		return p.broken
	case p.host() == "":
		return "it is placed nowhere" + led(": ", p.placed.Why)
	case h.away != "":
		return h.away
	case r == nil:
		return "host " + p.host() + " has not started its container yet"
	case p.ended(h):
		return "its container ran before host " + p.host() + " was last booted"
	case r.Phase == projection.Running && r.Reason == paused:
		return "its container is paused: podman unpause " + cmp.Or(r.Name, r.Container) + " on host " + p.host() + " lets it go on"
	case r.Phase == projection.Running && r.Unready != "":
		return "not ready: " + r.Unready
	case r.Phase == projection.Running:
		return ""
	}
	return "not running: " + string(r.Phase) + led(", ", r.Reason) + led(": ", r.Message)
}

// ended reports whether the replica's container has ended with an earlier boot of its host, which has not spoken of it since: the address
// that stands in what it said may be another container's by now.
func (p *pod) ended(h host) bool {
	r := p.replica
	return r.Phase == projection.Running && r.Boot != "" && h.boot != "" && r.Boot != h.boot
}

// led is text behind what leads to it; "" when there is no text.
func led(by, text string) string {
	if text == "" {
		return ""
	}
	return by + text
}

// target is the container's port that a port of a Service leads to, and what is wrong when it leads to none.
func (p *pod) target(s *corev1.ServicePort) (port int, wrong string) {
	if s.TargetPort.Type == intstr.Int {
		return int(cmp.Or(s.TargetPort.IntVal, s.Port)), ""
	}
	if p.template == nil {
		return 0, "its ports are not known"
	}
	var others []string
	for _, c := range p.template.ports {
		if c.Name == s.TargetPort.StrVal && c.Protocol == s.Protocol {
			return int(c.ContainerPort), ""
		}
		if c.Name != "" {
			others = append(others, fmt.Sprintf("%s (%d/%s)", c.Name, c.ContainerPort, c.Protocol))
		}
	}
	has := "none of its ports has a name"
	if len(others) > 0 {
		has = "it has " + strings.Join(others, ", ")
	}
	return 0, fmt.Sprintf("container %s has no %s port that is called %q: %s; give targetPort one of its names or numbers, or a containerPort that name",
		p.template.container, s.Protocol, s.TargetPort.StrVal, has)
}

// at is where a port of a replica's container is reached: by every host, and by its own host without a detour. lacks says
// what to do where not every host reaches it.
func (b *book) at(p *pod, h host, target int, protocol corev1.Protocol) (address, local netip.AddrPort, lacks string) {
	r := p.replica
	if r == nil || p.template == nil {
		return address, local, ""
	}
	here := p.host() == b.self
	if ip, err := netip.ParseAddr(r.IP); err == nil && here && !b.rootless && !p.template.hostNetwork {
		local = netip.AddrPortFrom(ip.Unmap(), uint16(target))
	}
	there := p.published(target, protocol)
	address = there.at
	if there.everywhere != 0 && h.address.IsValid() {
		address = netip.AddrPortFrom(h.address, there.everywhere)
	}
	switch {
	case address.IsValid():
	case there.loopback.IsValid():
		lacks = fmt.Sprintf("host %s publishes port %d/%s at %s only, where no other host reaches it: take hostIP away from that containerPort",
			p.host(), target, protocol, there.loopback.Addr())
	case there.everywhere != 0:
		lacks = "no address of host " + p.host() + " is known at which other hosts reach its containers"
	default:
		lacks = fmt.Sprintf("container %s does not declare port %d/%s, so that other hosts cannot reach it: add `containerPort: %d`%s to the container",
			p.template.container, target, protocol, target, WithProtocol(protocol))
	}
	switch {
	case !here || local.IsValid():
	case there.loopback.IsValid():
		local = there.loopback
	case there.everywhere != 0 && !(p.template.hostNetwork && address.IsValid()):
		local = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), there.everywhere)
	}
	return address, local, lacks
}

// somewhere is at for a Service without ports: addresses alone, those at which the replica is reached at one port at least.
func (b *book) somewhere(p *pod, h host) (address, local netip.AddrPort, lacks string) {
	if p.replica == nil || p.template == nil {
		return address, local, ""
	}
	ports := p.replica.Ports
	if len(ports) == 0 { // in the host's network it is reached at any, and else at none that others reach
		ports = []projection.Port{{Container: 1, Protocol: string(corev1.ProtocolTCP)}}
	}
	for _, port := range ports {
		if address, local, lacks = b.at(p, h, port.Container, corev1.Protocol(port.Protocol)); address.IsValid() {
			break
		}
	}
	if len(p.replica.Ports) == 0 && !p.template.hostNetwork {
		lacks = fmt.Sprintf("container %s declares no port, so that other hosts cannot reach it: add a `containerPort` to the container", p.template.container)
	}
	return netip.AddrPortFrom(address.Addr(), 0), netip.AddrPortFrom(local.Addr(), 0), lacks
}

// published is where a host publishes a port of a container.
type published struct {
	everywhere uint16         // this port of all its addresses
	at         netip.AddrPort // this one, which others reach
	loopback   netip.AddrPort // this one, which nobody else reaches
}

func (p *pod) published(target int, protocol corev1.Protocol) (all published) {
	if p.template.hostNetwork {
		return published{everywhere: uint16(target)}
	}
	for _, port := range p.replica.Ports {
		if port.Container != target || port.Protocol != string(protocol) {
			continue
		}
		ip, err := netip.ParseAddr(port.HostIP)
		switch at := netip.AddrPortFrom(ip.Unmap(), uint16(port.Host)); {
		case err != nil || ip.IsUnspecified():
			all.everywhere = uint16(port.Host)
		case ip.IsLoopback():
			all.loopback = at
		default:
			all.at = at
		}
	}
	return all
}

// WithProtocol is what a containerPort of another protocol than TCP has to say as well, to be put behind what says its number; "" for TCP.
func WithProtocol(p corev1.Protocol) string {
	if p == corev1.ProtocolTCP {
		return ""
	}
	return fmt.Sprintf(" with `protocol: %s`", p)
}
