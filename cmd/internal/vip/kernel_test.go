package vip

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
)

// nft runs the program of that name.
func nft(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v: %s; integration/setup.sh tests installs it", args, err, out)
	}
	return string(out)
}

// It is said once that somebody flushed the rules, and they are back; a connection goes on meanwhile.
func TestKernel_flushIsMended(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	a := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a")
	front := netip.MustParseAddrPort("10.96.3.1:80")
	source.set("web", service("web", "10.96.3.1", "tcp", here(a.at)))
	start(t, newRules(t, source, Kernel))
	answers(t, s.c2, "tcp", front, "a")
	c, err := dial(s.c2, "tcp", front.String())
	must(t, err)
	defer c.Close()
	whole := nft(t, "list", "ruleset")
	for _, damage := range [][]string{{"flush", "ruleset"}, {"flush", "chain", "ip", "podman_swarm_test", "svc/default/web/tcp/80"},
		{"delete", "table", "ip", "podman_swarm_test"}} {
		nft(t, damage...)
		eventually(t, func() error {
			if got := nft(t, "list", "ruleset"); got != whole {
				return fmt.Errorf("after nft %s there is\n%s\nwant\n%s", damage, got, whole)
			}
			return nil
		})
		said(t, c, "a")
		answers(t, s.c2, "tcp", front, "a")
	}
}

// That there is no table is seen without being told.
func TestKernel_looks(t *testing.T) {
	newStreet(t)
	k := opened(t, newTables())
	if !k.there() {
		t.Error("the table is there, and not seen")
	}
	nft(t, "delete", "table", "ip", "podman_swarm_test")
	if k.there() {
		t.Error("the table is seen, and not there")
	}
}

// An agent that goes and comes back drops no connection, and new ones are served meanwhile.
func TestKernel_restartDropsNothing(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	a, b := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a"), serve(t, s.c2, "tcp", "10.88.0.12:8080", "b")
	sticky := service("sticky", "10.96.3.2", "tcp", here(a.at), here(b.at))
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	source.set("web", service("web", "10.96.3.1", "tcp", here(a.at), here(b.at)))
	source.set("sticky", sticky)
	stop := start(t, newRules(t, source, Kernel))
	front, stickyFront := netip.MustParseAddrPort("10.96.3.1:80"), netip.MustParseAddrPort("10.96.3.2:80")
	var open []net.Conn
	var names []string
	for range 8 {
		c, err := dial(s.c1, "tcp", front.String())
		must(t, err)
		defer c.Close()
		name, _, err := ask(c, time.Minute)
		must(t, err)
		open, names = append(open, c), append(names, name)
	}
	with := map[*space]string{}
	for _, in := range []*space{s.host, s.c1, s.c2} {
		name, _, err := once(in, "tcp", stickyFront)
		must(t, err)
		with[in] = name
	}
	for range 3 {
		stop()
		answers(t, s.c1, "tcp", front, "a", "b")
		stop = start(t, newRules(t, source, Kernel))
		for i, c := range open {
			said(t, c, names[i])
		}
		for in, want := range with {
			if name, _, err := once(in, "tcp", stickyFront); err != nil || name != want {
				t.Fatalf("who was with %s is answered by %q, with %v", want, name, err)
			}
		}
	}
}

// A client stays with its endpoint, goes elsewhere when that leaves, and for no longer than it was said to.
func TestKernel_affinity(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	start(t, newRules(t, source, Kernel))
	a, b := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a"), serve(t, s.c2, "tcp", "10.88.0.12:8080", "b")
	front := netip.MustParseAddrPort("10.96.3.1:80")
	set := func(seconds int32, e ...string) {
		v := service("web", "10.96.3.1", "tcp")
		for _, e := range e {
			v.Ports[0].Endpoints = append(v.Ports[0].Endpoints, here(map[string]netip.AddrPort{"a": a.at, "b": b.at}[e]))
		}
		v.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		v.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
		source.set("web", v)
	}
	set(600, "a")
	answers(t, s.c1, "tcp", front, "a")
	set(600, "a", "b")
	eventually(t, func() error { // b takes whoever has nobody yet; that a Service has changed is not to be seen otherwise
		if !strings.Contains(nft(t, "list", "table", "ip", "podman_swarm_test"), "to/default/web/tcp/80/10.88.0.12/8080") {
			return fmt.Errorf("b is not there")
		}
		return nil
	})
	for range 20 {
		if name, _, err := once(s.c1, "tcp", front); err != nil || name != "a" {
			t.Fatalf("who was with a is answered by %q, with %v", name, err)
		}
	}
	set(600, "b")
	answers(t, s.c1, "tcp", front, "b")
	stays := "stay/default/web/tcp/80/10.88.0.12/8080/"
	if got := nft(t, "list", "set", "ip", "podman_swarm_test", stays+"600"); !strings.Contains(got, "timeout 10m") ||
		!strings.Contains(got, "10.88.0.11 expires 9m") && !strings.Contains(got, "10.88.0.11 expires 10m") { // within the first tick of the kernel's
		t.Errorf("who stays with b:\n%s\nwant 10.88.0.11, for ten minutes from now", got)
	}
	set(1, "b")
	eventually(t, func() error { // until it was there, and is no more
		if _, _, err := once(s.c1, "tcp", front); err != nil {
			return err
		}
		if _, err := exec.Command("nft", "list", "set", "ip", "podman_swarm_test", stays+"1").CombinedOutput(); err != nil {
			return err
		}
		return nil
	})
	eventually(t, func() error {
		if got := nft(t, "list", "set", "ip", "podman_swarm_test", stays+"1"); strings.Contains(got, "10.88.0.11") {
			return fmt.Errorf("after its second the client is still with b:\n%s", got)
		}
		return nil
	})
}

// Who comes when as many clients stay with an endpoint as can is answered as well.
func TestKernel_affinityOfMany(t *testing.T) {
	s := newStreet(t)
	a := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a")
	source := newTables()
	v := service("web", "10.96.3.1", "tcp", here(a.at))
	v.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	source.set("web", v)
	opened(t, source)
	const set = "stay/default/web/tcp/80/10.88.0.11/8080/10800"
	var many strings.Builder
	for i := range mostStay {
		fmt.Fprintf(&many, "11.%d.%d.%d,", i>>16, i>>8&0xff, i&0xff)
	}
	fill := exec.Command("nft", "-f", "-")
	fill.Stdin = strings.NewReader("add element ip podman_swarm_test " + set + " {" + many.String() + "}")
	if out, err := fill.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	answers(t, s.c2, "tcp", netip.MustParseAddrPort("10.96.3.1:80"), "a")
	if exec.Command("nft", "get", "element", "ip", "podman_swarm_test", set, "{10.88.0.12}").Run() == nil {
		t.Error("there was room for one more, so nothing was seen")
	}
}

// Nothing of other people's is changed, and nothing of ours is left by Cleanup.
func TestKernel_othersAreUntouched(t *testing.T) {
	s := newStreet(t)
	a := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a")
	const others = `
table ip nat {
	chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local tcp dport 20001 dnat to 10.88.0.11:8080; }
	chain OUTPUT { type nat hook output priority -100; fib daddr type local tcp dport 20001 dnat to 10.88.0.11:8080; }
}
table ip podman_swarm { chain x { counter; }; }
table inet filter {
	set s { type ipv4_addr; elements = { 10.96.1.1, 10.0.0.1 }; }
	chain forward { type filter hook forward priority filter; ip saddr @s drop; }
}`
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(others)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	t.Cleanup(func() { nft(t, "flush", "ruleset") })
	look := func() string {
		routes, err := exec.Command("ip", "-4", "route", "show", "table", "all").CombinedOutput()
		must(t, err)
		addrs, err := exec.Command("ip", "-4", "-brief", "addr").CombinedOutput()
		must(t, err)
		return nft(t, "-a", "list", "ruleset") + string(routes) + string(addrs)
	}
	before := look()
	without := func() string { // ours, which is the last
		all := nft(t, "-a", "list", "ruleset")
		theirs, _, _ := strings.Cut(all, "table ip podman_swarm_test ")
		return theirs
	}
	theirs := without()
	source := newTables()
	rules := newRules(t, source, Kernel)
	stop := start(t, rules)
	source.set("web", service("web", "10.96.3.1", "tcp", here(a.at)))
	answers(t, s.c2, "tcp", netip.MustParseAddrPort("10.96.3.1:80"), "a")
	// As netavark would, they lead whoever asks for a published port at any of this host's addresses.
	refused(t, s.c2, "tcp", netip.MustParseAddrPort("10.96.3.1:20001"))
	refused(t, s.host, "tcp", netip.MustParseAddrPort("10.96.3.1:20001"))
	answers(t, s.other, "tcp", netip.MustParseAddrPort(hostAddr+":20001"), "a")
	if got := without(); got != theirs {
		t.Errorf("others' rules are\n%s\nwant, as before,\n%s", got, theirs)
	}
	stop()
	must(t, Cleanup("test"))
	if got := look(); got != before {
		t.Errorf("after the cleanup there is\n%s\nwant, as before,\n%s", got, before)
	}
	must(t, Cleanup("test")) // again is no error
}

// The endpoints of a NodePort that is for this host's alone see who asks them.
func TestKernel_nodePortLocal(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	start(t, newRules(t, source, Kernel))
	a, far := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a"), serve(t, s.other, "tcp", otherAddr+":20001", "far")
	v := service("web", "10.96.3.1", "tcp", here(a.at), there(far.at))
	v.Ports[0].NodePort = 30080
	v.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	inside := corev1.ServiceInternalTrafficPolicyLocal
	v.Spec.InternalTrafficPolicy = &inside
	source.set("web", v)
	answers(t, s.other, "tcp", netip.MustParseAddrPort(hostAddr+":30080"), "a")
	answers(t, s.c1, "tcp", netip.MustParseAddrPort(hostAddr+":30080"), "a") // itself
	answers(t, s.c2, "tcp", netip.MustParseAddrPort(hostAddr+":30080"), "a")
	answers(t, s.c2, "tcp", netip.MustParseAddrPort("10.96.3.1:80"), "a")
	if _, seen, err := once(s.other, "tcp", netip.MustParseAddrPort(hostAddr+":30080")); err != nil || seen != otherAddr {
		t.Errorf("the endpoint sees %s as its client, with %v; want %s", seen, err, otherAddr)
	}
}

// The resolver can listen at its address, is asked by this host and its containers and by nobody else, and while it is away who asks
// hears nothing.
func TestKernel_resolver(t *testing.T) {
	s := newStreet(t)
	at := netip.AddrPortFrom(Resolver(cidr), 53)
	start(t, newRules(t, newTables(), Kernel))
	must(t, s.other.do(func() error { // as another machine of the network might
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(cidr), Gw: net.ParseIP(hostAddr)})
	}))
	for _, network := range []string{"udp", "tcp"} {
		for name, in := range map[string]*space{"the host": s.host, "a container": s.c1} {
			if err := silent(in, network, at); err != nil {
				t.Errorf("while nobody listens, %s is told so over %s: %v", name, network, err)
			}
		}
		listening := serve(t, s.host, network, at.String(), "dns")
		answers(t, s.host, network, at, "dns")
		answers(t, s.c1, network, at, "dns")
		if err := silent(s.other, network, at); err != nil {
			t.Errorf("another machine is answered over %s: %v", network, err)
		}
		listening.stop()
	}
}

// silent asks, and gives what is heard, if anything.
func silent(in *space, network string, at netip.AddrPort) error {
	var c net.Conn
	err := in.do(func() (err error) {
		c, err = (&net.Dialer{Timeout: 200 * time.Millisecond}).Dial(network, at.String())
		return err
	})
	if err == nil {
		defer c.Close()
		_, _, err = ask(c, 200*time.Millisecond)
		if err == nil {
			return fmt.Errorf("answered")
		}
	}
	if e, ok := err.(net.Error); ok && e.Timeout() {
		return nil
	}
	return err
}

// Where it is not known what has changed, what has is written and nothing else.
func TestKernel_wholeNews(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	source.forgetful = true
	a, b := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a"), serve(t, s.c2, "tcp", "10.88.0.12:8080", "b")
	source.set("web", service("web", "10.96.3.1", "tcp", here(a.at)))
	source.set("yet", service("yet", "10.96.3.2", "tcp", here(a.at)))
	rules := newRules(t, source, Kernel)
	counts := prometheus.NewRegistry()
	rules.Metrics = NewMetrics(counts)
	stop := start(t, rules)
	handles := func(name string) string {
		return nft(t, "-a", "list", "chain", "ip", "podman_swarm_test", "svc/default/"+name+"/tcp/80")
	}
	before := handles("yet")
	source.set("web", service("web", "10.96.3.1", "tcp", here(b.at)))
	answers(t, s.host, "tcp", netip.MustParseAddrPort("10.96.3.1:80"), "b")
	source.set("web", nil)
	refused(t, s.host, "tcp", netip.MustParseAddrPort("10.96.3.1:80"))
	source.set("new", service("new", "10.96.3.3", "tcp", here(b.at)))
	answers(t, s.host, "tcp", netip.MustParseAddrPort("10.96.3.3:80"), "b")
	if got := handles("yet"); got != before {
		t.Errorf("what has not changed was written anew:\n%s\nwas\n%s", got, before)
	}
	stop()
	all, err := counts.Gather()
	must(t, err)
	for _, m := range all {
		if m.GetName() == "podman_swarm_vip_mended_total" && m.GetMetric()[0].GetCounter().GetValue() != 0 {
			t.Error("its own changes are taken for somebody else's")
		}
	}
}

// A replica in its host's own network is reached at the host's address.
func TestKernel_hostNetwork(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	start(t, newRules(t, source, Kernel))
	own := serve(t, s.host, "tcp", hostAddr+":8080", "own")
	source.set("web", service("web", "10.96.3.1", "tcp", here(own.at)))
	answers(t, s.host, "tcp", netip.MustParseAddrPort("10.96.3.1:80"), "own")
	answers(t, s.c1, "tcp", netip.MustParseAddrPort("10.96.3.1:80"), "own")
}

// Where something of the host's own has an address among the virtual ones, none is served, and it is said.
func TestKernel_occupied(t *testing.T) {
	newStreet(t)
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	taken, err := netlink.ParseAddr("10.96.7.7/32")
	must(t, err)
	must(t, netlink.AddrAdd(lo, taken))
	k := &kernel{rules: newRules(t, newTables(), Kernel), table: newTable("test", cidr)}
	if k.surroundings() {
		t.Error("the table may be written, though this host has 10.96.7.7")
	}
	if p := k.rules.Problems(); len(p) != 1 || !strings.Contains(p[0], "10.96.7.7") || k.rules.Answering() {
		t.Errorf("problems: %q, want one of 10.96.7.7; answering: %v", p, k.rules.Answering())
	}
	must(t, netlink.AddrDel(lo, taken))
	if !k.surroundings() || len(k.rules.Problems()) > 0 {
		t.Errorf("it is gone, and there is still %q", k.rules.Problems())
	}
}

// What an earlier --service-cidr has left goes.
func TestKernel_otherCIDR(t *testing.T) {
	newStreet(t)
	before := newRules(t, newTables(), Kernel)
	before.CIDR = netip.MustParsePrefix("172.30.0.0/16")
	start(t, before)()
	start(t, newRules(t, newTables(), Kernel))()
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	addrs, err := netlink.AddrList(lo, netlink.FAMILY_V4)
	must(t, err)
	routes, err := ours(lo)
	must(t, err)
	if len(routes) != 1 || routes[0] != cidr || len(addrs) != 2 || strings.Contains(fmt.Sprint(addrs), "172.30") {
		t.Errorf("there are routes to %v, and lo has %v; want those of %s alone", routes, addrs, cidr)
	}
}

// Of two agents on a host one keeps the virtual addresses, and the other once that is gone.
func TestKernel_onlyOne(t *testing.T) {
	newStreet(t)
	stop := start(t, newRules(t, newTables(), Kernel))
	second := newRules(t, newTables(), Kernel)
	ready := make(chan struct{})
	go func() { start(t, second); close(ready) }()
	eventually(t, func() error {
		if p := second.Problems(); len(p) != 1 || !strings.Contains(p[0], "another agent") || second.Answering() {
			return fmt.Errorf("problems: %q; answering: %v", p, second.Answering())
		}
		return nil
	})
	stop()
	<-ready
	if p := second.Problems(); len(p) > 0 || !second.Answering() {
		t.Errorf("problems: %q; answering: %v", p, second.Answering())
	}
}
