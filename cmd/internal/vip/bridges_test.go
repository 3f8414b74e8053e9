package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
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

// A bridge is told to send back only where this host's endpoints are, and never where it leads to other machines.
func TestReflectAt_onlyOurs(t *testing.T) {
	newStreet(t)
	at := netip.MustParseAddrPort("10.88.0.11:80")
	hairpin := func() bool {
		l, err := netlink.LinkByName("vc1")
		must(t, err)
		is, err := netlink.LinkGetProtinfo(l)
		must(t, err)
		return is.Hairpin
	}
	ours, theirs := portsOf(service("a", "10.96.3.1", "tcp", here(at)), "h1", (*discovery.Endpoint).On), portsOf(service("b", "10.96.3.2", "tcp", there(at)), "h1", (*discovery.Endpoint).On)
	must(t, reflectAt(theirs, nil))
	must(t, reflectAt(ours, []string{"br0"}))
	if hairpin() {
		t.Error("it is, at a bridge that has another host's endpoint, or that leads to other machines")
	}
	must(t, reflectAt(ours, nil))
	if !hairpin() {
		t.Error("it is not, where this host's endpoint is")
	}
}

// A replica sees the port that its client has. One drawn at random would be one of a connection that the replica itself closed a moment ago, sooner
// or later, and that waits out its time there: the new one would be refused, and tried again a second later.
func TestKernel_keepsThePort(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	start(t, newRules(t, source, Kernel))
	front := netip.MustParseAddrPort("10.96.0.30:80")
	var l net.Listener
	must(t, s.c2.do(func() (err error) {
		l, err = net.Listen("tcp", "10.88.0.12:0")
		return err
	}))
	t.Cleanup(func() { l.Close() })
	source.set("web", service("web", front.Addr().String(), "tcp", here(l.Addr().(*net.TCPAddr).AddrPort())))
	for name, in := range map[string]*space{"the host": s.host, "a container": s.c1} {
		var c net.Conn
		eventually(t, func() (err error) {
			c, err = dial(in, "tcp", front.String())
			return err
		})
		replica, err := l.Accept()
		must(t, err)
		got, want := replica.RemoteAddr().(*net.TCPAddr).Port, c.LocalAddr().(*net.TCPAddr).Port
		if got != want {
			t.Errorf("%s has port %d, and is seen with %d", name, want, got)
		}
		c.Close()
		replica.Close()
	}
}

// Whoever was refused while nobody answered is answered once there is somebody, from the same port as well.
func TestKernel_refusedIsForgotten(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	start(t, newRules(t, source, Kernel))
	for i, network := range []string{"tcp", "udp"} {
		for j, in := range []*space{s.host, s.c1} {
			front := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, 3, byte(2*i + j)}), 80)
			at := serve(t, s.c2, network, "10.88.0.12:0", "b").at
			source.set(network, service(network, front.Addr().String(), network))
			refused(t, in, network, front)
			from := "0.0.0.0:" + strconv.Itoa(40000+2*i+j)
			again := func() error {
				return in.do(func() error {
					d := net.Dialer{Timeout: 20 * time.Second}
					var err error
					if network == "udp" {
						d.LocalAddr, err = net.ResolveUDPAddr("udp4", from)
					} else {
						d.LocalAddr, err = net.ResolveTCPAddr("tcp4", from)
					}
					if err != nil {
						return err
					}
					c, err := d.Dial(network, front.String())
					if err != nil {
						return err
					}
					defer c.Close()
					_, _, err = ask(c, 200*time.Millisecond)
					return err
				})
			}
			eventually(t, func() error { // the kernel says it of datagrams no more than once a second
				if err := again(); !errors.Is(err, syscall.ECONNREFUSED) {
					return fmt.Errorf("%s: got %v, want it refused", network, err)
				}
				return nil
			})
			source.set(network, service(network, front.Addr().String(), network, here(at)))
			answers(t, in, network, front, "b")
			eventually(t, func() error { // what conntrack knew goes a moment after the rules have come
				if err := again(); err != nil {
					return fmt.Errorf("%s: it was refused once, and then %w", network, err)
				}
				return nil
			})
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
