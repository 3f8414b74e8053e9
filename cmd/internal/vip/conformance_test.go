package vip

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// conformance is what a program sees of a Service, by whatever its address answers. at is where one virtual address and
// port is asked from this host.
func conformance(t *testing.T, s *street, mode Mode, at func(netip.AddrPort) netip.AddrPort) {
	source := newTables()
	rules := newRules(t, source, mode)
	stop := start(t, rules)
	for i, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			ip := fmt.Sprintf("10.96.2.%d", i+1)
			front := at(netip.AddrPortFrom(netip.MustParseAddr(ip), 80))
			refused(t, s.host, network, front) // nobody has it yet
			a, b := serve(t, s.c1, network, "10.88.0.11:8080", "a"), serve(t, s.c2, network, "10.88.0.12:8080", "b")
			far := serve(t, s.other, network, otherAddr+":20001", "far")
			source.set(network, service(network, ip, network, both(a.at), both(b.at), there(far.at)))
			answers(t, s.host, network, front, "a", "b", "far")

			unready := there(far.at)
			unready.Ready = false
			source.set(network, service(network, ip, network, both(a.at), both(b.at), unready))
			answers(t, s.host, network, front, "a", "b")

			source.set(network, service(network, ip, network, both(a.at)))
			answers(t, s.host, network, front, "a")
			c, err := dial(s.host, network, front.String())
			must(t, err)
			defer c.Close()
			said(t, c, "a")
			source.set(network, service(network, ip, network, both(b.at)))
			answers(t, s.host, network, front, "b")
			if network == "udp" {
				eventually(t, func() error { // a flow has no end: it is led to who is there
					if name, _, err := ask(c, 200*time.Millisecond); err != nil || name != "b" {
						return fmt.Errorf("%q answers, with %v", name, err)
					}
					return nil
				})
			} else {
				said(t, c, "a") // and a connection goes on
				must(t, c.(*net.TCPConn).CloseWrite())
				must(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
				if rest, err := io.ReadAll(c); err != nil || string(rest) != "bye" {
					t.Errorf("after this half was closed the other said %q, with %v; want bye", rest, err)
				}
			}
			source.set(network, service(network, ip, network))
			refused(t, s.host, network, front)
			source.set(network, service(network, ip, network, both(a.at)))
			answers(t, s.host, network, front, "a")
			source.set(network, nil)
			refused(t, s.host, network, front)
		})
	}
	t.Run("NodePort", func(t *testing.T) {
		a, far := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a"), serve(t, s.other, "tcp", otherAddr+":20001", "far")
		node := service("node", "10.96.2.9", "tcp", both(a.at), there(far.at))
		node.Ports[0].NodePort = 30080
		source.set("node", node)
		for _, in := range []*space{s.host, s.other} {
			answers(t, in, "tcp", netip.MustParseAddrPort(hostAddr+":30080"), "a", "far")
		}
		answers(t, s.c1, "tcp", netip.MustParseAddrPort("10.88.0.1:30080"), "a", "far")
		node = service("node", "10.96.2.9", "tcp", both(a.at), there(far.at))
		node.Ports[0].NodePort = 30080
		node.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		source.set("node", node)
		eventually(t, func() error { // a client stays with who has answered it first
			var first string
			for range 20 {
				name, _, err := once(s.other, "tcp", netip.MustParseAddrPort(hostAddr+":30080"))
				if first = cmp.Or(first, name); err != nil || name != first {
					return fmt.Errorf("%s answers, after %s, with %v", name, first, err)
				}
			}
			return nil
		})
		none := service("node", "10.96.2.9", "tcp")
		none.Ports[0].NodePort = 30080
		source.set("node", none)
		refused(t, s.other, "tcp", netip.MustParseAddrPort(hostAddr+":30080"))
	})
	stop()
	if p := rules.Problems(); len(p) > 0 {
		t.Errorf("problems: %q", p)
	}
}

// both is a replica of this host that is reached at its container's address from afar as well, as a route would have it.
func both(at netip.AddrPort) discovery.Endpoint {
	return discovery.Endpoint{Address: at, Local: at, Host: "h1", Ready: true}
}

// said asks over a connection who is there.
func said(t *testing.T, c net.Conn, want string) {
	t.Helper()
	name, _, err := ask(c, time.Minute)
	if err != nil || name != want {
		t.Fatalf("%q answers, with %v; want %s", name, err, want)
	}
}

func TestKernel_conformance(t *testing.T) {
	conformance(t, newStreet(t), Kernel, func(a netip.AddrPort) netip.AddrPort { return a })
}

func TestUserSpace_conformance(t *testing.T) {
	conformance(t, newStreet(t), UserSpace, func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(Stand(cidr, netip.Prefix{}, a.Addr()), a.Port())
	})
}
