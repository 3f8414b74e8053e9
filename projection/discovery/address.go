package discovery

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
)

// DefaultCIDR is where virtual addresses are taken from when nobody says otherwise.
func DefaultCIDR() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 96}), 12) }

const (
	// reserved is how many of the first addresses of the CIDR no Service gets, its network's own among them. The tenth is the
	// DNS server's. Neither does one get the last.
	reserved = 16
	// drawn is how often an address or port is drawn, before they are gone through one after another.
	drawn = 32
)

// pool is a range of numbers to choose from.
type pool struct{ size uint64 }

// choice is the k-th that the claimant of that name would take: drawn by its name first, and then one after another, so that
// there is one for each as long as there are enough.
func (p pool) choice(name string, k int) (uint64, bool) {
	if p.size == 0 || uint64(k) >= p.size+drawn {
		return 0, false
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	h.Write([]byte("#" + strconv.Itoa(min(k, drawn))))
	n := h.Sum64()
	n ^= n >> 33 // FNV leaves the low bits of like names alike
	n *= 0xff51afd7ed558ccd
	n ^= n >> 33
	if k > drawn {
		n += uint64(k - drawn)
	}
	return n % p.size, true
}

// addresses are those that Services get.
type addresses struct {
	prefix netip.Prefix
	pool
}

func newAddresses(cidr netip.Prefix) addresses {
	if !cidr.IsValid() {
		cidr = DefaultCIDR()
	}
	a := addresses{prefix: cidr.Masked()}
	if bits := min(cidr.Addr().BitLen()-cidr.Bits(), 32); 1<<bits > reserved+1 {
		a.size = 1<<bits - reserved - 1
	}
	return a
}

// at is the n-th address.
func (a addresses) at(n uint64) netip.Addr {
	b := a.prefix.Addr().As16()
	low := binary.BigEndian.Uint64(b[8:]) + n + reserved
	binary.BigEndian.PutUint64(b[8:], low)
	ip := netip.AddrFrom16(b)
	if a.prefix.Addr().Is4() {
		return ip.Unmap()
	}
	return ip
}

// has reports whether the address is one that a Service can get.
func (a addresses) has(ip netip.Addr) bool {
	if !a.prefix.Contains(ip) {
		return false
	}
	x, base := ip.As16(), a.prefix.Addr().As16()
	n := binary.BigEndian.Uint64(x[8:]) - binary.BigEndian.Uint64(base[8:])
	return n >= reserved && n < reserved+a.size
}

// list are the addresses that a Service would take: the one it asks for, if it can get that, and then those of its name.
func (a addresses) list(n Name, asked string) func(k int) (netip.Addr, bool) {
	first, err := netip.ParseAddr(asked)
	wants := err == nil && a.has(first)
	return func(k int) (netip.Addr, bool) {
		if wants {
			if k == 0 {
				return first, true
			}
			k--
		}
		i, ok := a.choice(n.String(), k)
		return a.at(i), ok
	}
}

// portOf is one port of one Service.
type portOf struct {
	Name
	index int
}

// nodePort is a port of all hosts.
type nodePort struct {
	protocol corev1.Protocol
	number   uint16
}

// nodePorts are the ports that a port of a Service would take on the hosts.
func nodePorts(n Name, p *corev1.ServicePort) func(k int) (nodePort, bool) {
	of := pool{manifest.LastNodePort - manifest.FirstNodePort + 1}
	name := n.String() + ":" + p.Name + "/" + strconv.Itoa(int(p.Port)) + "/" + string(p.Protocol)
	return func(k int) (nodePort, bool) {
		if canHave(p.NodePort) {
			if k == 0 {
				return nodePort{p.Protocol, uint16(p.NodePort)}, true
			}
			k--
		}
		i, ok := of.choice(name, k)
		return nodePort{p.Protocol, uint16(manifest.FirstNodePort + i)}, ok
	}
}

// hasNodePorts reports whether each port of the Service has one on the hosts, without asking for one.
func hasNodePorts(s *corev1.ServiceSpec) bool {
	switch s.Type {
	case corev1.ServiceTypeNodePort:
		return true
	case corev1.ServiceTypeLoadBalancer:
		return s.AllocateLoadBalancerNodePorts == nil || *s.AllocateLoadBalancerNodePorts
	}
	return false
}
