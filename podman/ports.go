package podman

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// The host ports that container ports without one of their own get. They lie below those that the kernel gives to
// outgoing connections.
const (
	firstPort = 20000
	lastPort  = 29999
)

// portBook knows which host ports the replicas of this host have, so that no two get one. Safe for concurrent use.
type portBook struct {
	mu    sync.Mutex
	taken map[hostPort]projection.Pod
	free  func(protocol, ip string, port int) bool // whether nobody else on the host has it
}

type hostPort struct {
	protocol string
	port     int
}

func newPortBook() *portBook {
	return &portBook{taken: map[hostPort]projection.Pod{}, free: free}
}

// keep notes that these are the ports that the pod has: no others.
func (b *portBook) keep(pod projection.Pod, ports []projection.Port) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.taken, func(_ hostPort, owner projection.Pod) bool { return owner == pod })
	for _, p := range ports {
		b.taken[hostPort{p.Protocol, p.Host}] = pod
	}
}

// choose gives the pod's container ports and the host port of each: what the manifest says, else what the pod had, else
// a free one, which is the pod's until the next keep. avoid are host ports that turned out to be somebody else's.
func (b *portBook) choose(p *pod, had []projection.Port, avoid map[int]bool) ([]projection.Port, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.taken, func(_ hostPort, owner projection.Pod) bool { return owner == p.placed.Pod }) // of an earlier try
	var all []projection.Port
	for _, c := range p.ports() {
		port := projection.Port{Name: c.Name, Container: int(c.ContainerPort), Host: int(c.HostPort), HostIP: c.HostIP, Protocol: string(c.Protocol)}
		if port.Protocol == "" {
			port.Protocol = string(corev1.ProtocolTCP)
		}
		if p.spec.HostNetwork {
			port.Host = port.Container
		}
		if port.Host == 0 {
			port.Host = b.again(p.placed.Pod, port, had, avoid)
		}
		if port.Host == 0 {
			port.Host = b.next(p.placed.Pod, port, avoid)
		}
		if port.Host == 0 {
			return nil, fmt.Errorf("container port %d: all host ports from %d to %d are in use", port.Container, firstPort, lastPort)
		}
		b.taken[hostPort{port.Protocol, port.Host}] = p.placed.Pod
		all = append(all, port)
	}
	return all, nil
}

// again is the host port that the pod had for this container port; 0 when it had none, or must not have it again.
func (b *portBook) again(pod projection.Pod, port projection.Port, had []projection.Port, avoid map[int]bool) int {
	for _, h := range had {
		if h.Container == port.Container && h.Protocol == port.Protocol && h.Host != 0 && !avoid[h.Host] {
			if owner, taken := b.taken[hostPort{port.Protocol, h.Host}]; !taken || owner == pod {
				return h.Host
			}
		}
	}
	return 0
}

// next is a free host port; 0 when there is none. The search begins elsewhere for every pod, so that a port that was
// given up is not soon another's.
func (b *portBook) next(pod projection.Pod, port projection.Port, avoid map[int]bool) int {
	h := fnv.New32a()
	fmt.Fprint(h, pod.Namespace, "/", pod.Name(), "/", port.Container)
	const n = lastPort - firstPort + 1
	for i := range n {
		candidate := firstPort + (int(h.Sum32()%n)+i)%n
		if _, taken := b.taken[hostPort{port.Protocol, candidate}]; !taken && !avoid[candidate] && b.free(port.Protocol, port.HostIP, candidate) {
			return candidate
		}
	}
	return 0
}

// free reports whether the port can be bound. Of SCTP it cannot be known, nor of a host that is not this process's.
func free(protocol, ip string, port int) bool {
	address := net.JoinHostPort(ip, strconv.Itoa(port))
	switch protocol {
	case "TCP":
		l, err := net.Listen("tcp", address)
		if err != nil {
			return false
		}
		return l.Close() == nil
	case "UDP":
		l, err := net.ListenPacket("udp", address)
		if err != nil {
			return false
		}
		return l.Close() == nil
	}
	return true
}

// mapping publishes the ports.
func mapping(ports []projection.Port) []PortMapping {
	var all []PortMapping
	for _, p := range ports {
		all = append(all, PortMapping{p.HostIP, uint16(p.Container), uint16(p.Host), strings.ToLower(p.Protocol)})
	}
	return all
}

// others reports whether the pod, one of whose host ports turned out to be somebody else's, may be helped by others: not if the manifest
// itself says all of them, or the one that is taken. Podman does not say which that is.
func (b *portBook) others(p *pod) bool {
	some := false
	for _, c := range p.ports() {
		if c.HostPort == 0 {
			some = true
		} else if !b.free(protocol(c.Protocol), c.HostIP, int(c.HostPort)) {
			return false
		}
	}
	return some && !p.spec.HostNetwork
}

// named gives the ports that Podman knows the names that the manifest has for them. A container in the host's network
// has those that it says it has.
func (p *pod) named(ports []projection.Port) []projection.Port {
	if p.spec.HostNetwork {
		ports = nil
		for _, c := range p.ports() {
			ports = append(ports, projection.Port{Container: int(c.ContainerPort), Host: int(c.ContainerPort), Protocol: string(c.Protocol)})
		}
	}
	all := slices.Clone(ports)
	for i := range all {
		for _, c := range p.ports() {
			same := int(c.ContainerPort) == all[i].Container && (c.Protocol == "" || string(c.Protocol) == all[i].Protocol)
			if same && (c.HostPort == 0 || int(c.HostPort) == all[i].Host) {
				all[i].Name = c.Name
			}
		}
	}
	return all
}
