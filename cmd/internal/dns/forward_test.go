package dns

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// other is a resolver outside of the cluster.
type other struct {
	at    netip.AddrPort
	asked atomic.Int64
	names sync.Map // that it was asked for
}

// resolver runs one until the test ends.
func resolver(t *testing.T, answer func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg) *other {
	t.Helper()
	c, l := bind(t)
	o := &other{at: netip.MustParseAddrPort(l.Addr().String())}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype != dns.TypeHINFO { // which is the probe
			o.asked.Add(1)
			o.names.Store(strings.ToLower(q.Question[0].Name), true)
		}
		if m := answer(w, q); m != nil {
			_ = w.WriteMsg(m)
		}
	})
	for _, srv := range []*dns.Server{{PacketConn: c, Handler: h}, {Listener: l, Handler: h}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		ended := make(chan error, 1)
		go func() { ended <- srv.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := srv.Shutdown(); err != nil {
				t.Error(err)
			}
			<-ended
		})
	}
	return o
}

// records is a resolver's answer with these, "NAME TTL TYPE DATA"; one that begins with "ns:" is of the authority.
func records(q *dns.Msg, rcode int, all ...string) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Rcode = rcode
	for _, text := range all {
		text, ns := strings.CutPrefix(text, "ns:")
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		if ns {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

const rootSOA = "ns:com. 60 IN SOA a. b. 1 2 3 4 60"

// world knows www.example.com, and no other name.
func world(_ dns.ResponseWriter, q *dns.Msg) *dns.Msg {
	switch name := strings.ToLower(q.Question[0].Name); {
	case name == "www.example.com." && q.Question[0].Qtype == dns.TypeA:
		return records(q, 0, name+" 300 IN A 192.0.2.53")
	case name == "web.shop." && q.Question[0].Qtype == dns.TypeA:
		return records(q, 0, name+" 300 IN A 192.0.2.80")
	case name == "www.example.com.":
		return records(q, 0, rootSOA)
	}
	return records(q, dns.RcodeNameError, rootSOA)
}

func asking(all ...*other) func(*Server) {
	return func(s *Server) {
		s.Upstream = []netip.AddrPort{}
		for _, o := range all {
			s.Upstream = append(s.Upstream, o.at)
		}
	}
}

func TestServer_forwards(t *testing.T) {
	o := resolver(t, world)
	r := start(t, some(), asking(o))
	for _, c := range []struct {
		name, typ, want string
		asked           int64 // so often is upstream asked, for twice the same
	}{
		{"www.example.com", "A", "NOERROR | www.example.com. A 192.0.2.53", 1},
		{"WWW.Example.COM", "A", "NOERROR | WWW.Example.COM. A 192.0.2.53", 0},
		{"www.example.com", "AAAA", "NOERROR | ns: com. SOA …", 1},
		{"no.example.com", "A", "NXDOMAIN | ns: com. SOA …", 1},
		{"example.com", "ANY", `NOERROR | example.com. HINFO "RFC8482" ""`, 0},
		{"8.8.8.8.in-addr.arpa", "PTR", "NXDOMAIN | ns: com. SOA …", 1},
		{"2.0.168.192.in-addr.arpa", "PTR", "NXDOMAIN | ns: com. SOA …", 1}, // a host, of which replicas' addresses are
		{"10.in-addr.arpa", "PTR", "NXDOMAIN | ns: com. SOA …", 1},          // of which ours is a part
		{"web", "A", "NXDOMAIN | ns: com. SOA …", 1},                        // of which namespace?
		{"notcluster.local", "A", "NXDOMAIN | ns: com. SOA …", 1},
		// An ExternalName, and what it stands for: known already.
		{"out.default.svc.cluster.local", "A", "NOERROR | aa | WWW.example.com. A 192.0.2.53 | out.default.svc.cluster.local. CNAME WWW.example.com.", 0},
		{"out.default.svc.cluster.local", "TXT", "NOERROR | aa | out.default.svc.cluster.local. CNAME WWW.example.com. | ns: com. SOA …", 1},
		// The cluster's own, which upstream never hears of.
		{"nothing.default.svc.cluster.local", "A", "NXDOMAIN | aa | ns: cluster.local. SOA …", 0},
		{"a.b.c.cluster.local", "TXT", "NXDOMAIN | aa | ns: cluster.local. SOA …", 0},
		{"1.1.96.10.in-addr.arpa", "PTR", "NXDOMAIN | aa | ns: 96.10.in-addr.arpa. SOA …", 0},
		{"1.96.10.in-addr.arpa", "PTR", "NOERROR | aa | ns: 96.10.in-addr.arpa. SOA …", 0},
		// Short ones: a real name comes first where there may be one.
		{"web.default.svc", "A", "NOERROR | aa | web.default.svc. A 10.96.1.2", 0},
		{"none.such.svc", "A", "NXDOMAIN | ns: com. SOA …", 1},
		{"web.default", "A", "NOERROR | aa | web.default. A 10.96.1.2", 1},
		{"web.shop", "A", "NOERROR | web.shop. A 192.0.2.80", 1},
		{"nothing.shop", "A", "NXDOMAIN | ns: com. SOA …", 1},
		{"default", "A", "NXDOMAIN | ns: com. SOA …", 1}, // a namespace is no name
		{"web.svc", "A", "NXDOMAIN | ns: com. SOA …", 1}, // nor is one of a namespace that is called svc
	} {
		before := o.asked.Load()
		for range 2 {
			if got := text(r.ask("udp", question(c.name, dns.StringToType[c.typ]))); got != c.want {
				t.Errorf("%s %s:\n got %s\nwant %s", c.name, c.typ, got, c.want)
			}
		}
		if got := o.asked.Load() - before; got != c.asked {
			t.Errorf("%s %s: upstream was asked %d times, want %d", c.name, c.typ, got, c.asked)
		}
	}
	o.names.Range(func(name, _ any) bool {
		if n := name.(string); strings.HasSuffix(n, "cluster.local.") && n != "notcluster.local." || strings.Contains(n, ".96.10.in-addr") {
			t.Errorf("upstream was asked for %s", n)
		}
		return true
	})
}

// Only what is on the list is asked of upstream; a Service does not go round that.
func TestServer_allowed(t *testing.T) {
	o := resolver(t, world)
	var list atomic.Value
	list.Store("example.org")
	r := start(t, some(), asking(o), func(s *Server) { s.Allowed = func(name string) bool { return name == list.Load() } })
	q := question("Www.example.com", dns.TypeA).SetEdns0(1232, false)
	m := r.ask("udp", q)
	if text(m) != "NXDOMAIN" {
		t.Errorf("got %s, want NXDOMAIN, and nothing by which to remember it", text(m))
	}
	ede, ok := m.IsEdns0().Option[0].(*dns.EDNS0_EDE)
	if !ok || ede.InfoCode != dns.ExtendedErrorCodeBlocked || !strings.Contains(ede.ExtraText, "psctl dns list") {
		t.Errorf("the reason is %v", ede)
	}
	if got, want := text(r.ask("udp", question("out.default.svc.cluster.local", dns.TypeA))), "NXDOMAIN | aa | out.default.svc.cluster.local. CNAME WWW.example.com."; got != want {
		t.Errorf("an ExternalName: got %s, want %s", got, want)
	}
	if got, want := text(r.ask("udp", question("web.shop", dns.TypeA))), "NOERROR | aa | web.shop. A 10.96.2.2"; got != want {
		t.Errorf("a Service by a short name: got %s, want %s", got, want)
	}
	if m := r.ask("udp", question("web.shop", dns.TypeA).SetEdns0(1232, false)); len(m.IsEdns0().Option) > 0 {
		t.Errorf("a Service by a short name is answered, and said to be blocked: %v", m)
	}
	if n := o.asked.Load(); n != 0 {
		t.Errorf("upstream was asked %d times", n)
	}
	list.Store("www.example.com")
	if got, want := text(r.ask("udp", q)), "NOERROR | Www.example.com. A 192.0.2.53"; got != want {
		t.Errorf("once it is allowed: got %s, want %s", got, want)
	}
	list.Store("example.org")
	if got := text(r.ask("udp", q)); got != "NXDOMAIN" {
		t.Errorf("when it is not allowed any more: got %s: it was in the cache", got)
	}
}

// What does not fit into UDP is had over TCP; what a resolver is told has EDNS, and does without where it does not know that.
func TestServer_upstreamTruncatesAndKnowsNoEDNS(t *testing.T) {
	o := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		if q.IsEdns0() != nil {
			return new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
		}
		m := new(dns.Msg).SetReply(q)
		if w.RemoteAddr().Network() == "udp" {
			m.Truncated = true
			return m
		}
		var all []string
		for i := range 100 {
			all = append(all, fmt.Sprintf("%s 60 IN A 192.0.2.%d", q.Question[0].Name, i))
		}
		return records(q, 0, all...)
	})
	r := start(t, some(), asking(o))
	if m := r.ask("tcp", question("large.example.com", dns.TypeA)); len(m.Answer) != 100 {
		t.Errorf("got %s, want 100 answers", text(m))
	}
	if m := r.ask("udp", question("large.example.com", dns.TypeA)); !m.Truncated {
		t.Errorf("over UDP: got %d answers without TC", len(m.Answer))
	}
}

// Those who ask for the same at the same time share a question.
func TestServer_sharesQuestions(t *testing.T) {
	const n = 20
	var begun atomic.Int64
	release := make(chan struct{})
	o := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		if q.Question[0].Qtype == dns.TypeHINFO {
			return world(w, q)
		}
		begun.Add(1)
		<-release
		return world(w, q)
	})
	s := &Server{}
	s.upstreams.set([]string{o.at.String()}, "")
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() {
			if m, err := s.forward(context.Background(), key{name: "www.example.com.", typ: dns.TypeA}); err != nil || len(m.Answer) != 1 {
				t.Errorf("got %v, %v", m, err)
			}
		})
	}
	wait.Go(func() {
		if m, err := s.forward(context.Background(), key{name: "www.example.com.", typ: dns.TypeAAAA}); err != nil || len(m.Answer) != 0 {
			t.Errorf("of another type: got %v, %v", m, err)
		}
	})
	until(t, func() bool { return begun.Load() == 2 })
	close(release)
	wait.Wait()
	if got := o.asked.Load(); got != 2 { // who came late was answered from the cache
		t.Errorf("upstream was asked %d times by %d at once and for something else, want twice", got, n)
	}
}

// until waits until something is so.
func until(t *testing.T, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
		time.Sleep(time.Millisecond)
	}
}

// A resolver that is of no use is passed over: one that does not know, or answers what was not asked, or is not there. That is told
// when it begins and when it ends.
func TestServer_nextResolver(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	bad := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		if !broken.Load() {
			return world(w, q)
		}
		m := world(w, q)
		m.Question[0].Name = "elsewhere."
		return m
	})
	unable := resolver(t, func(_ dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
	})
	good := resolver(t, world)
	s := &running{Server: &Server{}, said: &said{}}
	s.Log = logTo(s.said)
	s.upstreams.set([]string{bad.at.String(), unable.at.String(), good.at.String()}, "")
	ask := func(i int) {
		t.Helper()
		if m, err := s.forward(context.Background(), key{name: fmt.Sprintf("n%d.example.com.", i), typ: dns.TypeA}); err != nil || m.Rcode != dns.RcodeNameError {
			t.Errorf("got %v, %v", m, err)
		}
	}
	ask(1)
	ask(2)
	if b, u, g := bad.asked.Load(), unable.asked.Load(), good.asked.Load(); b != 1 || u != 2 || g != 2 {
		t.Errorf("asked %d, %d and %d times, want 1 (it is left for last), 2, 2", b, u, g)
	}
	s.upstreams.all[0].until = time.Now().Add(-time.Second)
	broken.Store(false)
	ask(3)
	if n := s.said.count("a resolver does not answer"); n != 1 {
		t.Errorf("told %d times that one does not answer, want once", n)
	}
	if n := s.said.count("a resolver answers again"); n != 1 {
		t.Errorf("told %d times that it does again, want once", n)
	}
	s.upstreams.set([]string{unable.at.String()}, "")
	if _, err := s.forward(context.Background(), key{name: "x.example.com."}); err == nil || !strings.Contains(err.Error(), unable.at.String()+": SERVFAIL") {
		t.Errorf("got %v, want who failed, and how", err)
	}
}

func TestServer_noResolver(t *testing.T) {
	r := start(t, some())
	r.upstreams.set(nil, strings.Repeat("there is none in a folder ", 20))
	m := r.ask("udp", question("example.com", dns.TypeA).SetEdns0(1232, false))
	if why := m.IsEdns0().Option[0].(*dns.EDNS0_EDE).ExtraText; len(why) > 90 {
		t.Errorf("why is said in %d bytes, for which there is no room", len(why))
	}
	if m.Rcode != dns.RcodeServerFailure || !strings.Contains(m.String(), "no resolver to ask") {
		t.Errorf("got %v, want SERVFAIL and why", m)
	}
	if got := text(r.ask("udp", question("out.default.svc.cluster.local", dns.TypeA))); got != "SERVFAIL | aa | out.default.svc.cluster.local. CNAME WWW.example.com." {
		t.Errorf("an ExternalName: got %s", got)
	}
}

// A resolver that asks us is found out, whether it is this very server or one in between.
func TestServer_loops(t *testing.T) {
	var r atomic.Pointer[running]
	between := resolver(t, func(_ dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		if r.Load() == nil {
			return nil
		}
		m, _, err := new(dns.Client).Exchange(q.Copy(), r.Load().at)
		if err != nil {
			return nil
		}
		return m
	})
	good := resolver(t, world)
	c, l := bind(t)
	self := netip.MustParseAddrPort(l.Addr().String())
	is := &running{t: t, at: l.Addr().String()}
	r.Store(is)
	got := start(t, some(), func(s *Server) {
		s.Packets[0].Close()
		s.Listeners[0].Close()
		s.Packets[0], s.Listeners[0] = c, l
		s.Upstream = []netip.AddrPort{self, between.at, good.at}
	})
	got.at = is.at
	until(t, func() bool { return got.said.count("a resolver asks this server in turn") == 1 })
	if got.said.count("is this very server") != 1 {
		t.Error("that one is this very server was not told")
	}
	before := between.asked.Load()
	if m := got.ask("udp", question("www.example.com", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("got %s", text(m))
	}
	if between.asked.Load() != before {
		t.Error("one that asks us is still asked")
	}
}

func TestServer_resolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	r := &running{Server: &Server{ResolvConf: path, Address: netip.MustParseAddr("10.96.0.10")}, said: &said{}}
	r.Log = logTo(r.said)
	names := func() (all []string) {
		for _, u := range r.upstreams.order(time.Now()) {
			all = append(all, u.addr)
		}
		return all
	}
	is, added := r.resolvers(nil)
	if len(added) != 0 || !strings.Contains(r.upstreams.where(), path) {
		t.Errorf("without a file: got %v, %s", added, r.upstreams.where())
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("search x\nnameserver 192.0.2.1\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\nnameserver 192.0.2.1\n")
	is, added = r.resolvers(is)
	if got, want := fmt.Sprint(names()), "[192.0.2.1:53 [fe80::1%eth0]:53]"; got != want || len(added) != 2 {
		t.Errorf("got %s, %d of them new; want %s", got, len(added), want)
	}
	if is, added = r.resolvers(is); len(added) != 0 || r.said.count("are asked of these") != 1 {
		t.Errorf("unchanged: %d are new", len(added))
	}
	write("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
	if _, added = r.resolvers(is); len(added) != 1 || fmt.Sprint(names()) != "[192.0.2.1:53 192.0.2.2:53]" {
		t.Errorf("changed: got %v, %d of them new", names(), len(added))
	}
}
