package vip

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

// A container reaches itself through its Service, whether or not bridges ask the rules of IP as well.
func TestKernel_itself(t *testing.T) {
	s := newStreet(t)
	const asks = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	source := newTables()
	start(t, newRules(t, source, Kernel))
	for i, on := range []string{"0", "1"} {
		if err := os.WriteFile(asks, []byte(on), 0o644); err != nil {
			t.Fatalf("%v: load br_netfilter (modprobe br_netfilter)", err)
		}
		for j, network := range []string{"tcp", "udp"} {
			front := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, byte(i), byte(20 + j)}), 80)
			a := serve(t, s.c1, network, "10.88.0.11:0", "a")
			b := serve(t, s.c2, network, "10.88.0.12:0", "b")
			source.set(network, service(network, front.Addr().String(), network, here(a.at)))
			answers(t, s.c1, network, front, "a")
			answers(t, s.c2, network, front, "a")
			source.set(network, service(network, front.Addr().String(), network, here(a.at), here(b.at)))
			answers(t, s.c1, network, front, "a", "b")
			answers(t, s.host, network, front, "a", "b")
		}
	}
}

// Another machine that sends what is for a virtual address here is not served.
func TestKernel_otherMachinesAreKeptOut(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	start(t, newRules(t, source, Kernel))
	a := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a")
	front := netip.MustParseAddrPort("10.96.3.1:80")
	source.set("web", service("web", "10.96.3.1", "tcp", here(a.at)))
	answers(t, s.c2, "tcp", front, "a")
	must(t, s.other.do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(cidr), Gw: net.ParseIP(hostAddr)})
	}))
	if err := silent(s.other, "tcp", front); err != nil {
		t.Errorf("another machine: %v", err)
	}
}
