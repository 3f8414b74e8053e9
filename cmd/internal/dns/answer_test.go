package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

func TestServer_refuses(t *testing.T) {
	r := start(t, some())
	name := "web.default.svc.cluster.local."
	with := func(f func(*dns.Msg)) *dns.Msg {
		m := question(name, dns.TypeA)
		f(m)
		return m
	}
	for _, c := range []struct {
		what string
		q    *dns.Msg
		want int
	}{
		{"class CH", with(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		{"class ANY", with(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }), dns.RcodeRefused},
		{"a transfer", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), dns.RcodeRefused},
		{"a transfer of what is new", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeIXFR }), dns.RcodeRefused},
		{"mail agents", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMAILA }), dns.RcodeRefused},
		{"mailboxes", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMAILB }), dns.RcodeRefused},
		{"type OPT", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeOPT }), dns.RcodeFormatError},
		{"no type", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeNone }), dns.RcodeFormatError},
		{"type TSIG", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTSIG }), dns.RcodeFormatError},
		{"type TKEY", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTKEY }), dns.RcodeFormatError},
		{"NOTIFY", with(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), dns.RcodeNotImplemented},
		{"UPDATE", with(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		{"STATUS", with(func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }), dns.RcodeNotImplemented},
		{"no question", with(func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		{"two questions", with(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		{"two OPTs", with(func(m *dns.Msg) { m.SetEdns0(1232, false).SetEdns0(1232, false) }), dns.RcodeFormatError},
		{"EDNS 1", with(func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := r.ask(network, c.q)
			if m.Rcode != c.want || len(m.Answer)+len(m.Ns) > 0 || m.Opcode != c.q.Opcode {
				t.Errorf("%s over %s: got %s, want %s alone", c.what, network, text(m), dns.RcodeToString[c.want])
			}
		}
	}
}

// Strangers get no answer, be it of the cluster or of elsewhere, and no connection.
func TestServer_strangersAreRefused(t *testing.T) {
	r := start(t, some(), func(s *Server) { s.From = func(a netip.Addr) bool { return a == netip.MustParseAddr("10.88.0.2") } })
	for _, name := range []string{"web.default.svc.cluster.local", "example.com"} {
		if m := r.ask("udp", question(name, dns.TypeA)); m.Rcode != dns.RcodeRefused || len(m.Answer) > 0 {
			t.Errorf("%s: got %s, want REFUSED", name, text(m))
		}
	}
	if m, _, err := new(dns.Client).Exchange(question("example.com", dns.TypeA), r.at); err != nil || m.Rcode != dns.RcodeRefused {
		t.Errorf("got %v, %v", m, err)
	}
	c, err := net.Dial("tcp", r.at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("a stranger's connection was read %d bytes from, want it closed", n)
	}
	if m, _ := r.answer(context.Background(), question("web.default.svc.cluster.local", dns.TypeA), netip.MustParseAddr("10.88.0.2"), true); len(m.Answer) != 1 {
		t.Errorf("who may ask: got %s", text(m))
	}
}

// large is a headless Service with so many replicas on hosts of their own.
func large(n int) *discovery.Service {
	p := discovery.Port{Name: "p", Protocol: corev1.ProtocolTCP, Port: 1}
	for i := range n {
		p.Endpoints = append(p.Endpoints, endpoint(fmt.Sprintf("h2 large-%d 10.1.%d.%d:%d", i, i/250, 1+i%250, 20000+i)))
	}
	return service("default", "large", "headless", p)
}

// What does not fit says so, and is had over TCP; what is only of use goes first.
func TestServer_truncates(t *testing.T) {
	r := start(t, []*discovery.Service{large(300)})
	for _, c := range []struct {
		edns uint16 // size that is asked for; 0: without EDNS
		most int
	}{{0, 512}, {100, 512}, {512, 512}, {900, 900}, {1232, 1232}, {65535, 1232}} {
		for _, q := range []*dns.Msg{question("large.default.svc.cluster.local", dns.TypeA), question("_p._tcp.large.default.svc.cluster.local", dns.TypeSRV)} {
			if c.edns > 0 {
				q.SetEdns0(c.edns, true)
			}
			m := r.ask("udp", q)
			m.Compress = true
			b, err := m.Pack()
			if err != nil || len(b) > c.most || !m.Truncated || len(m.Answer) == 0 {
				t.Errorf("%v with EDNS of %d: %d bytes, TC %v, %d answers, error %v; want at most %d bytes, TC, and some answers",
					q.Question, c.edns, len(b), m.Truncated, len(m.Answer), err, c.most)
			}
			opt := m.IsEdns0()
			if (opt != nil) != (c.edns > 0) || opt != nil && (opt.UDPSize() != 1232 || !opt.Do() || opt.Version() != 0) {
				t.Errorf("EDNS of %d: answered with OPT %v", c.edns, opt)
			}
			if m := r.ask("tcp", q); m.Truncated || len(m.Answer) != 300 {
				t.Errorf("%v over TCP: TC %v, %d answers, want 300", q.Question, m.Truncated, len(m.Answer))
			}
		}
	}
	r.source.Store(discovery.NewTable([]*discovery.Service{large(6)}, nil))
	m := r.ask("udp", question("_p._tcp.large.default.svc.cluster.local", dns.TypeSRV))
	if m.Truncated || len(m.Answer) != 6 || len(m.Extra) != 0 {
		t.Errorf("SRV records that fit without their addresses: TC %v, %d answers, %d beside; want all 6, and nothing beside", m.Truncated, len(m.Answer), len(m.Extra))
	}
	// Less than 512 bytes cannot be asked for: it is no reason to leave out what would fit.
	r.source.Store(discovery.NewTable([]*discovery.Service{large(1)}, nil))
	if m := r.ask("udp", question("_p._tcp.large.default.svc.cluster.local", dns.TypeSRV).SetEdns0(100, false)); len(m.Extra) != 2 {
		t.Errorf("an SRV record that fits: got %s, want its address beside", text(m))
	}
}

// Answers that nobody asked for are passed over: two servers that answered each other's would never end.
func TestServer_answersNoAnswer(t *testing.T) {
	r := start(t, some())
	for _, network := range []string{"udp", "tcp"} {
		c, err := dns.Dial(network, r.at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		answer, q := question("web.default.svc.cluster.local", dns.TypeA), question("web.default.svc.cluster.local", dns.TypeA)
		answer.Response = true
		for _, m := range []*dns.Msg{answer, q} {
			if err := c.WriteMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if m, err := c.ReadMsg(); err != nil || m.Id != q.Id {
			t.Errorf("%s: got %v, %v, want what was asked answered, and nothing before it", network, m, err)
		}
	}
}

// Who has no address is a stranger to whatever From says, and without a From so is everybody but this host.
func TestServer_from(t *testing.T) {
	all := func(netip.Addr) bool { return true }
	mapped := netip.MustParseAddrPort("[::ffff:10.88.0.2]:53")
	for _, c := range []struct {
		what string
		s    *Server
		a    netip.Addr
		want bool
	}{
		{"the loopback", &Server{}, netip.MustParseAddr("127.0.0.1"), true},
		{"another host", &Server{}, netip.MustParseAddr("192.0.2.1"), false},
		{"whom From lets in", &Server{From: all}, netip.MustParseAddr("192.0.2.1"), true},
		{"who has no address", &Server{From: all}, addrOf(&net.UnixAddr{}), false},
		{"IPv4 on a socket for both, UDP", &Server{From: netip.Addr.Is4}, addrOf(net.UDPAddrFromAddrPort(mapped)), true},
		{"IPv4 on a socket for both, TCP", &Server{From: netip.Addr.Is4}, addrOf(net.TCPAddrFromAddrPort(mapped)), true},
	} {
		if got := c.s.from(c.a); got != c.want {
			t.Errorf("%s may ask: got %v, want %v", c.what, got, c.want)
		}
	}
}

// What cannot serve says so, rather than to seem to.
func TestServer_runFails(t *testing.T) {
	c, l := bind(t)
	defer c.Close()
	if err := (&Server{Packets: []net.PacketConn{c}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "source") {
		t.Errorf("no source: got %v", err)
	}
	s := &Server{Source: &source{}, Listeners: []net.Listener{l}, Upstream: []netip.AddrPort{}}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(t.Context()) }()
	if _, _, err := (&dns.Client{Net: "tcp", Timeout: patience}).Exchange(question("x", dns.TypeA), l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	l.Close()
	select {
	case err := <-ran:
		if err == nil {
			t.Error("a socket that cannot be read any more is no error")
		}
	case <-time.After(patience):
		t.Error("a socket that cannot be read any more ends nothing")
	}
}

// The order of a headless Service's addresses changes, so that who takes the first of them does not always take the same.
func TestServer_spreadsHeadless(t *testing.T) {
	r := start(t, []*discovery.Service{large(5)})
	first := map[string]bool{}
	for range 100 {
		first[r.ask("udp", question("large.default.svc.cluster.local", dns.TypeA)).Answer[0].String()] = true
	}
	if len(first) < 2 {
		t.Errorf("the first of five addresses was always %v", first)
	}
}

func TestServer_manyQuestionsOverOneConnection(t *testing.T) {
	r := start(t, some())
	c, err := dns.Dial("tcp", r.at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 50 {
		q := question("web.default.svc.cluster.local", dns.TypeA)
		if err := c.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
		if m, err := c.ReadMsg(); err != nil || m.Id != q.Id || !strings.HasSuffix(text(m), "10.96.1.2") {
			t.Fatalf("question %d: got %v, %v", i, m, err)
		}
	}
}

// More connections than a resolver needs are closed, and those that were there go on.
func TestGuarded_boundsConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := &guarded{Listener: l, from: netip.Addr.IsLoopback, free: make(chan struct{}, 2)}
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := g.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	one := <-accepted
	dial()
	<-accepted
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("a third connection was not closed")
	}
	one.Close()
	one.Close()
	dial()
	<-accepted
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("closing one twice made room for two")
	}
}

// Whatever comes is answered, if at all, with what can be read, for the question that was asked, and of a size that was asked for.
func FuzzServer_message(f *testing.F) {
	s := &Server{Source: &source{}, Host: "h1", Own: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")} }, Upstream: []netip.AddrPort{}}
	s.Source.(*source).Store(discovery.NewTable(append(some(), large(100)), nil))
	for _, name := range []string{"web.default.svc.cluster.local.", "large.default.svc.cluster.local.", "_p._tcp.large.default.svc.cluster.local.",
		"2.1.96.10.in-addr.arpa.", "10-88-0-2.default.pod.cluster.local.", "example.com.", `\000\..svc.`, "web.default."} {
		for _, typ := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypePTR, dns.TypeANY, dns.TypeOPT, 65535} {
			b, err := question(name, typ).SetEdns0(600, true).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, true)
			f.Add(b, false)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, udp bool) {
		q := new(dns.Msg)
		if err := q.Unpack(b); err != nil || q.Response {
			return // answered by the library, with a header alone
		}
		m, _ := s.answer(context.Background(), q, netip.MustParseAddr("127.0.0.1"), udp)
		wire, err := m.Pack()
		if err != nil {
			t.Fatalf("the answer to %v cannot be sent: %v", q, err)
		}
		got := new(dns.Msg)
		if err := got.Unpack(wire); err != nil {
			t.Fatalf("the answer to %v cannot be read: %v", q, err)
		}
		switch {
		case got.Id != q.Id || !got.Response || got.Opcode != q.Opcode || got.RecursionDesired != q.RecursionDesired && q.Opcode == dns.OpcodeQuery:
			t.Errorf("header %v to %v", got.MsgHdr, q.MsgHdr)
		case len(q.Question) > 0 && (len(got.Question) != 1 || got.Question[0] != q.Question[0]):
			t.Errorf("question %v to %v", got.Question, q.Question)
		case udp && len(wire) > udpSize:
			t.Errorf("%d bytes over UDP", len(wire))
		case len(got.Answer) > 0 && got.Rcode != dns.RcodeSuccess && got.Answer[0].Header().Rrtype != dns.TypeCNAME:
			t.Errorf("%s with answers: %v", dns.RcodeToString[got.Rcode], got)
		}
	})
}

// piped is a listener at which one client comes, who asks and does not read.
type piped struct {
	net.Listener
	conns chan net.Conn
	ended sync.Once
}

func (p *piped) Accept() (net.Conn, error) {
	if c, ok := <-p.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p *piped) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53} }

func (p *piped) Close() error { p.ended.Do(func() { close(p.conns) }); return nil }

// fromHere is a connection of the loopback.
type fromHere struct{ net.Conn }

func (fromHere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000} }

// A client that asks over TCP and does not read loses its place, and holds up no end of the server.
func TestServer_clientThatDoesNotRead(t *testing.T) {
	for _, ends := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			there, here := net.Pipe()
			l := &piped{conns: make(chan net.Conn, 1)}
			l.conns <- fromHere{there}
			s := &Server{Source: &source{}, Listeners: []net.Listener{l}, Upstream: []netip.AddrPort{}}
			ran := make(chan error, 1)
			go func() { ran <- s.Run(ctx) }()
			packed, err := question("web.default.svc.cluster.local", dns.TypeA).Pack()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := here.Write(append([]byte{0, byte(len(packed))}, packed...)); err != nil {
				t.Fatal(err)
			}
			if !ends {
				time.Sleep(unread + time.Second)
				_ = here.SetWriteDeadline(time.Now().Add(time.Second))
				if _, err := here.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("asked on: %v, want the connection closed", err)
				}
			}
			cancel()
			if err := <-ran; err != nil {
				t.Error(err)
			}
		})
	}
}
