package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// A bridge that leads to other machines is none of containers: who comes in by it is kept from the virtual addresses and from the resolver, whether
// it is known by where everything else goes or by a port that is no veth.
func TestKernel_bridgesThatLeadElsewhere(t *testing.T) {
	for what, lead := range map[string]func(*netlink.Bridge) error{
		"the way to everywhere else": func(b *netlink.Bridge) error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: b.Index, Gw: net.ParseIP(otherAddr)})
		},
		"a port that is no veth": func(b *netlink.Bridge) error {
			card := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "card0"}, Mode: netlink.TUNTAP_MODE_TAP} // as of a virtual machine
			t.Cleanup(func() { _ = netlink.LinkDel(card) })
			if err := netlink.LinkAdd(card); err != nil {
				return err
			}
			return netlink.LinkSetMaster(card, b)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStreet(t)
			eth, err := netlink.LinkByName("eth0")
			must(t, err)
			had, err := netlink.AddrList(eth, netlink.FAMILY_V4)
			must(t, err)
			must(t, netlink.AddrDel(eth, &had[0]))
			out := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br1"}}
			must(t, netlink.LinkAdd(out))
			t.Cleanup(func() { _ = netlink.LinkDel(out) })
			must(t, netlink.LinkSetMaster(eth, out))
			must(t, configure("br1", hostAddr+"/24", ""))
			must(t, lead(out))
			must(t, s.other.do(func() error {
				l, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(cidr), Gw: net.ParseIP(hostAddr)})
			}))
			nets, err := Inside()
			must(t, err)
			if has := func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(otherAddr)) }; slices.ContainsFunc(nets, has) {
				t.Errorf("another machine may ask for names: %v", nets)
			}
			source := newTables()
			a := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a")
			source.set("web", service("web", "10.96.3.1", "tcp", here(a.at)))
			start(t, newRules(t, source, Kernel))
			answers(t, s.c2, "tcp", netip.MustParseAddrPort("10.96.3.1:80"), "a")
			if err := silent(s.other, "tcp", netip.MustParseAddrPort("10.96.3.1:80")); err != nil {
				t.Errorf("another machine: %v", err)
			}
		})
	}
}

// A route into the virtual addresses is somebody's; one that they are only a part of is how a host reaches everything.
func TestOccupied_routes(t *testing.T) {
	newStreet(t)
	l, err := netlink.LinkByName("eth0")
	must(t, err)
	for _, c := range []struct {
		to     string
		theirs bool
	}{{"0.0.0.0/0", false}, {"10.0.0.0/8", false}, {"10.96.0.0/12", false}, {"10.97.0.0/16", false}, {"10.96.0.0/16", true}, {"10.96.7.0/24", true}, {"10.96.7.7/32", true}} {
		r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(netip.MustParsePrefix(c.to)), Gw: net.ParseIP(otherAddr)}
		must(t, netlink.RouteAdd(r))
		if err := occupied(cidr, Resolver(cidr)); (err != nil) != c.theirs || errors.As(err, &conflict{}) != c.theirs || err != nil && !strings.Contains(err.Error(), c.to) {
			t.Errorf("a route to %s: got %v, want an error: %v", c.to, err, c.theirs)
		}
		must(t, netlink.RouteDel(r))
	}
}

// Only what is somebody's is a reason for other addresses; that something changed during a look is none for anything, and is looked at again.
func TestRules_found(t *testing.T) {
	r := newRules(t, newTables(), Kernel)
	for _, c := range []struct {
		err  error
		want string // what Problems has then
	}{
		{fmt.Errorf("list: %w", unix.EBUSY), "not served: list: device or resource busy"},
		{fmt.Errorf("list: %w", netlink.ErrDumpInterrupted), "not served: list: device or resource busy"},
		{fmt.Errorf("look: %w", conflict{fmt.Errorf("theirs")}), "not served: look: theirs; start all agents with another --service-cidr"},
	} {
		if r.found(aboutRoute, "not served", c.err); fmt.Sprint(r.Problems()) != "["+c.want+"]" {
			t.Errorf("%v: got %q, want %q", c.err, r.Problems(), c.want)
		}
	}
	for _, times := range []int{0, 1, 2, 3} {
		looks := 0
		err := steady(func() error {
			if looks++; looks <= times {
				return fmt.Errorf("list: %w", netlink.ErrDumpInterrupted)
			}
			return nil
		})
		if (err != nil) != (times > 1) || looks != min(times+1, 2) {
			t.Errorf("interrupted %d times: %d looks, %v", times, looks, err)
		}
	}
}

// Where no new connection to the kernel is to be had, the old one stays.
func TestKernel_reopenFails(t *testing.T) {
	newStreet(t)
	k := opened(t, newTables())
	var files unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Max: files.Max}))
	err := k.reopen()
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &files))
	if err == nil {
		t.Fatal("there was a file to be had")
	}
	k.written = nil
	if k.whole(); k.written == nil {
		t.Errorf("the table cannot be written: %q", k.rules.Problems())
	}
}

// Cleanup leaves routes of others to this host, and those with our mark that are none of virtual addresses; what somebody has removed already is no mistake.
func TestCleanup_ofOthers(t *testing.T) {
	newStreet(t)
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	theirs, odd := localRoute(lo, netip.MustParsePrefix("10.50.0.0/16")), localRoute(lo, netip.MustParsePrefix("10.51.0.7/32"))
	theirs.Protocol = 4 // static
	for _, r := range []*netlink.Route{theirs, odd} {
		must(t, netlink.RouteAdd(r))
		t.Cleanup(func() { _ = netlink.RouteDel(r) })
	}
	start(t, newRules(t, newTables(), Kernel))()
	must(t, netlink.AddrDel(lo, hostAddress(Resolver(cidr))))
	must(t, Cleanup("test"))
	for _, r := range []*netlink.Route{theirs, odd} {
		if err := netlink.RouteDel(r); err != nil {
			t.Errorf("the route to %s is gone: %v", r.Dst, err)
		}
	}
	must(t, disconnect(lo, cidr)) // nor that all of it has been
}

// While an agent runs, of whatever cluster, there is nothing to clean up: it would only set it up again.
func TestCleanup_whileAnAgentRuns(t *testing.T) {
	newStreet(t)
	stop := start(t, newRules(t, newTables(), Kernel))
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	for _, cluster := range []string{"test", "other"} {
		if err := Cleanup(cluster); err == nil || !strings.Contains(err.Error(), "an agent runs on this host, process ") {
			t.Errorf("cluster %s: got %v", cluster, err)
		}
		tables, err := Tables()
		must(t, err)
		routes, err := ours(lo)
		must(t, err)
		if len(tables) != 1 || tables[0] != TableName("test") || len(routes) != 1 {
			t.Errorf("there are tables %v and routes %v, want one of each", tables, routes)
		}
	}
	stop()
	must(t, Cleanup("test"))
	if tables, err := Tables(); err != nil || len(tables) != 0 {
		t.Errorf("then there are %v, %v", tables, err)
	}
}

// A NodePort, open or closed, is a port of this host's addresses: what goes to another host, or to what listens on the loopback, goes there.
func TestKernel_nodePortIsThisHosts(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	start(t, newRules(t, source, Kernel))
	a := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a")
	serve(t, s.host, "tcp", "127.0.0.1:30080", "own")
	serve(t, s.other, "tcp", otherAddr+":30080", "other")
	must(t, s.other.do(func() error { // which answers to containers as well
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("10.88.0.0/24")), Gw: net.ParseIP(hostAddr)})
	}))
	for _, endpoints := range [][]discovery.Endpoint{{here(a.at)}, nil} {
		node := service("web", "10.96.3.1", "tcp", endpoints...)
		node.Ports[0].NodePort = 30080
		source.set("web", node)
		if at := netip.MustParseAddrPort(hostAddr + ":30080"); len(endpoints) > 0 {
			answers(t, s.other, "tcp", at, "a")
		} else {
			refused(t, s.other, "tcp", at)
		}
		answers(t, s.host, "tcp", netip.MustParseAddrPort("127.0.0.1:30080"), "own")
		answers(t, s.host, "tcp", netip.MustParseAddrPort(otherAddr+":30080"), "other")
		answers(t, s.c2, "tcp", netip.MustParseAddrPort(otherAddr+":30080"), "other")
	}
}

// Somebody who may not keep virtual addresses, and sits in the place where agents see each other, keeps none from it.
func TestKernel_claimOfAStranger(t *testing.T) {
	newStreet(t)
	sits, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the thread is the stranger, and ends with the goroutine
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 4711, 4711, 4711); e != 0 {
			sits <- e
			return
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: "@podman-swarm/vip"})
		sits <- err
		if err == nil {
			<-done
			l.Close()
		}
	}()
	must(t, <-sits)
	defer close(done)
	rules := newRules(t, newTables(), Kernel)
	start(t, rules)
	if p := rules.Problems(); len(p) > 0 {
		t.Errorf("problems: %q", p)
	}
}

// Of UDP flows those are led anew whose endpoint takes no more: no others, and none of the resolver.
func TestFlows_match(t *testing.T) {
	was, is := netip.MustParseAddrPort("10.88.0.11:53"), netip.MustParseAddrPort("10.88.0.12:53")
	ports := []port{{front: netip.MustParseAddrPort("10.96.0.30:53"), udp: true, node: 30053, inside: []netip.AddrPort{is}, outside: []netip.AddrPort{is}}}
	for _, c := range []struct {
		to, at       string
		tcp          bool
		some, always bool // whether it is led anew, of these ports, and when all are looked through
	}{
		{"10.96.0.30:53", was.String(), false, true, true},
		{"10.96.0.30:53", is.String(), false, false, false},
		{"10.96.0.30:53", was.String(), true, false, false},
		{"10.96.0.99:53", was.String(), false, false, true}, // of a Service that is gone
		{"10.96.0.10:53", "10.96.0.10:53", false, false, false},
		{hostAddr + ":30053", was.String(), false, true, true},
		{hostAddr + ":30053", is.String(), false, false, false},
		{hostAddr + ":30053", hostAddr + ":30053", false, false, false}, // to nobody's endpoint, but to the host itself
		{hostAddr + ":5353", was.String(), false, false, false},
	} {
		to, at := netip.MustParseAddrPort(c.to), netip.MustParseAddrPort(c.at)
		flow := &netlink.ConntrackFlow{Forward: netlink.IPTuple{Protocol: unix.IPPROTO_UDP, DstIP: to.Addr().AsSlice(), DstPort: to.Port()},
			Reverse: netlink.IPTuple{SrcIP: at.Addr().AsSlice(), SrcPort: at.Port()}}
		if c.tcp {
			flow.Forward.Protocol = unix.IPPROTO_TCP
		}
		for all, want := range map[bool]bool{false: c.some, true: c.always} {
			if got := newFlows(newTable("test", cidr), ports, all).MatchConntrackFlow(flow); got != want {
				t.Errorf("to %s, at %s, TCP %v, of all %v: got %v, want %v", c.to, c.at, c.tcp, all, got, want)
			}
		}
	}
	if newFlows(newTable("test", cidr), []port{{front: ports[0].front}}, false) != nil {
		t.Error("flows are looked through for a port of TCP")
	}
}

// What cannot be led to is left out: other protocols, other families, endpoints without an address or port.
func TestPortsOf_leavesOut(t *testing.T) {
	s := service("web", "10.96.3.1", "tcp", there(netip.MustParseAddrPort("192.0.2.1:80")), there(netip.MustParseAddrPort("192.0.2.1:80")),
		there(netip.MustParseAddrPort("192.0.2.2:0")), there(netip.MustParseAddrPort("[2001:db8::1]:80")), discovery.Endpoint{Host: "h2", Ready: true})
	s.Ports = append(s.Ports, discovery.Port{Protocol: corev1.ProtocolSCTP, Port: 81})
	got := portsOf(s, "h1", fromAfar)
	if len(got) != 1 || fmt.Sprint(got[0].inside) != "[192.0.2.1:80]" {
		t.Errorf("got %+v, want one port with one endpoint", got)
	}
	if s.IP = netip.MustParseAddr("fd00::1"); portsOf(s, "h1", fromAfar) != nil {
		t.Error("an address of IPv6 is served")
	}
}

// What a client can have the proxy remember has an end.
func TestProxy_limits(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:80")
	client := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}) }
	c := &choice{endpoints: []netip.AddrPort{at}, affinity: time.Hour}
	for i := range mostStayers + 10 {
		c.took(client(i), at)
	}
	if len(c.stays) != mostStayers {
		t.Errorf("%d clients are remembered, want %d", len(c.stays), mostStayers)
	}
	c.stays[client(0)] = stayer{at, time.Now().Add(-time.Second)}
	c.swept = time.Now().Add(time.Hour) // however slow this machine is
	c.took(client(mostStayers+15), at)
	if _, in := c.stays[client(mostStayers+15)]; in || len(c.stays) != mostStayers {
		t.Error("all were looked at again within the second")
	}
	c.swept = time.Now().Add(-2 * time.Second)
	if c.took(client(mostStayers+20), at); len(c.stays) != mostStayers || c.stays[client(mostStayers+20)].with != at {
		t.Errorf("whose time is over keeps its place: %d clients", len(c.stays))
	}
	u := &udp{e: &entrance{}, flows: map[netip.AddrPort]*flow{}}
	u.e.to.Store(c)
	for i := range mostFlows {
		u.flows[netip.AddrPortFrom(client(i), 1)] = &flow{}
	}
	if u.flow(netip.AddrPortFrom(client(mostFlows), 1)) != nil || u.flow(netip.AddrPortFrom(client(0), 1)) == nil {
		t.Error("one client more has a flow, or one that had one has none")
	}
}

// What an agent can never serve ends Run, with what is wrong.
func TestRules_runFails(t *testing.T) {
	for want, r := range map[string]*Rules{
		"virtual addresses in 10.96.0.1/16": {CIDR: netip.MustParsePrefix("10.96.0.1/16")},
		"127.0.0.0/8, where":                {CIDR: cidr, Mode: UserSpace, Loopback: netip.MustParsePrefix("10.0.0.0/16")},
		"want a network in 127.0.0.0/8":     {CIDR: cidr, Mode: UserSpace, Loopback: netip.MustParsePrefix("127.0.0.0/7")},
		`there is no mode "magic"`:          {CIDR: cidr, Mode: "magic"},
	} {
		r.Log, r.Source = slog.New(slog.NewTextHandler(os.Stderr, nil)), newTables()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Run(ctx); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Root that may not have the kernel's rules is told what it lacks: nobody else would see that Services answer on loopback addresses alone.
func TestRules_rootWithoutTheCapability(t *testing.T) {
	newStreet(t)
	rules := newRules(t, newTables(), Auto)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread lacks it, and ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var has [2]unix.CapUserData
		if err := unix.Capget(&header, &has[0]); err != nil {
			done <- err
			return
		}
		has[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &has[0]); err != nil {
			done <- err
			return
		}
		done <- rules.Run(ctx)
	}()
	select {
	case <-rules.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	if p := rules.Problems(); rules.Chosen() != UserSpace || len(p) != 1 || !strings.Contains(p[0], "CAP_NET_ADMIN") || rules.Answering() {
		t.Errorf("in mode %q, answering %v, problems: %q; want one that names CAP_NET_ADMIN", rules.Chosen(), rules.Answering(), p)
	}
	cancel()
	<-done
}
