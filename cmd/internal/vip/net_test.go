package vip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The network that tests run in: this process's is a host, in a network namespace of its own that ends with the process.
//
//	c1 ── br0 ── c2        containers of this host: 10.88.0.11, 10.88.0.12; the host is 10.88.0.1
//	       │
//	     host              eth0, 192.168.77.1
//	       │
//	     other             another host, 192.168.77.2, which knows no route to containers or to virtual addresses
const (
	inOwnNetwork = "VIP_TEST_IN_OWN_NETWORK"
	hostAddr     = "192.168.77.1"
	otherAddr    = "192.168.77.2"
)

var cidr = netip.MustParsePrefix("10.96.0.0/16")

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inOwnNetwork) != "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // this thread becomes the process
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), inOwnNetwork+"=1"))
	}
	fmt.Fprintln(os.Stderr, "go into a network of its own:", err)
	os.Exit(1)
}

// space is a network namespace. It ends with its last user.
type space struct{ file *os.File }

// newSpace makes one, with its loopback up.
func newSpace(t testing.TB) *space {
	t.Helper()
	made := make(chan *space)
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			failed <- err
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			failed <- err
			return
		}
		made <- &space{f}
	}()
	select {
	case s := <-made:
		t.Cleanup(func() { s.file.Close() })
		must(t, s.do(func() error { return up("lo") }))
		return s
	case err := <-failed:
		t.Fatal(err)
	}
	return nil
}

// do runs f in the namespace, on a thread of its own. Sockets that f opens stay in it.
func (s *space) do(f func() error) error {
	if s == nil {
		return f()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// address gives the device an address, brings it up, and leads everything else to via, if there is one.
func configure(name, addr, via string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil || via == "" {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(via)})
}

// street is the network above.
type street struct{ host, c1, c2, other *space }

func newStreet(t testing.TB) *street {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root, for network namespaces")
	}
	s := &street{c1: newSpace(t), c2: newSpace(t), other: newSpace(t)}
	must(t, up("lo"))
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	must(t, netlink.LinkAdd(bridge))
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
	must(t, configure("br0", "10.88.0.1/24", ""))
	for i, c := range []*space{s.c1, s.c2} {
		name := fmt.Sprintf("vc%d", i+1)
		wire(t, name, c)
		l, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetMaster(l, bridge))
		must(t, netlink.LinkSetUp(l))
		must(t, c.do(func() error { return configure("eth0", fmt.Sprintf("10.88.0.%d/24", 11+i), "10.88.0.1") }))
	}
	wire(t, "eth0", s.other)
	must(t, configure("eth0", hostAddr+"/24", ""))
	must(t, s.other.do(func() error { return configure("eth0", otherAddr+"/24", "") }))
	must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644))
	// Without it, what goes from one port of a bridge to another is seen by no rule: the harder case.
	_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0o644)
	return s
}

// wire connects this host's device of that name with eth0 of the other space.
func wire(t testing.TB, name string, to *space) {
	t.Helper()
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(to.file.Fd())}
	must(t, netlink.LinkAdd(v))
	t.Cleanup(func() { _ = netlink.LinkDel(v) })
}

// server answers with its name: each line of a TCP connection, and each datagram, with "name: line".
type server struct {
	at   netip.AddrPort
	stop func()
}

// serve starts a server in a space. It stops with the test.
func serve(t testing.TB, in *space, network, addr, name string) server {
	t.Helper()
	var s server
	if network == "udp" {
		var c net.PacketConn
		must(t, in.do(func() (err error) { c, err = net.ListenPacket("udp4", addr); return err }))
		s = server{c.LocalAddr().(*net.UDPAddr).AddrPort(), func() { c.Close() }}
		go func() {
			b := make([]byte, 2048)
			for {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = c.WriteTo([]byte(answer(name, from, string(b[:n]))), from)
			}
		}()
	} else {
		var l net.Listener
		must(t, in.do(func() (err error) { l, err = net.Listen("tcp4", addr); return err }))
		s = server{l.Addr().(*net.TCPAddr).AddrPort(), func() { l.Close() }}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go echo(name, c)
			}
		}()
	}
	t.Cleanup(s.stop)
	return s
}

func echo(name string, c net.Conn) {
	defer c.Close()
	b := make([]byte, 2048)
	for {
		n, err := c.Read(b)
		if err != nil {
			_, _ = c.Write([]byte("bye")) // after the client's half is closed
			return
		}
		if _, err := c.Write([]byte(answer(name, c.RemoteAddr(), string(b[:n])))); err != nil {
			return
		}
	}
}

func answer(name string, from net.Addr, said string) string {
	host, _, _ := net.SplitHostPort(from.String())
	return name + " " + host + " " + said
}

// dial connects from a space.
func dial(in *space, network, addr string) (c net.Conn, err error) {
	err = in.do(func() error {
		c, err = (&net.Dialer{Timeout: 20 * time.Second}).Dial(network, addr)
		return err
	})
	return c, err
}

// ask says something over a connection, and gives who answered and whom it saw.
func ask(c net.Conn, within time.Duration) (name, seen string, err error) {
	if _, err := c.Write([]byte("hello")); err != nil {
		return "", "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", "", err
	}
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		return "", "", err
	}
	parts := strings.Fields(string(b[:n]))
	if len(parts) != 3 {
		return "", "", fmt.Errorf("answered %q", b[:n])
	}
	return parts[0], parts[1], nil
}

// once asks on a connection of its own.
func once(in *space, network string, to netip.AddrPort) (name, seen string, err error) {
	c, err := dial(in, network, to.String())
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	if network == "udp" {
		return ask(c, 200*time.Millisecond) // an answer may get lost, and who wants one asks again
	}
	return ask(c, 20*time.Second)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until f gives no error.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-every.C:
		}
	}
}
