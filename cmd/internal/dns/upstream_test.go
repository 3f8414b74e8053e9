package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// silent is a resolver that says nothing; heard is told of each question.
func silent(t *testing.T, heard func()) *other {
	t.Helper()
	return resolver(t, func(dns.ResponseWriter, *dns.Msg) *dns.Msg { heard(); return nil })
}

// A resolver that says nothing costs two seconds, and all of them no more than five: then who asks has given up.
func TestServer_silentResolvers(t *testing.T) {
	good := resolver(t, world)
	for name, c := range map[string]struct {
		silent int
		wrong  string
	}{"one": {1, ""}, "many": {4, "no resolver answers in time"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all []string
			for range c.silent {
				all = append(all, silent(t, func() {}).at.String())
			}
			s := &Server{}
			s.upstreams.set(append(all, good.at.String()), "")
			m, err := s.forward(context.Background(), key{name: "www.example.com.", typ: dns.TypeA})
			if c.wrong == "" && (err != nil || len(m.Answer) != 1) || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("got %v, %v, want the error %q", m, err, c.wrong)
			}
		})
	}
}

// Who waits for a resolver when the server ends waits no longer.
func TestExchange_endsWithTheServer(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		for end := time.Now().Add(patience); ; {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := exchangeOver(ctx, network, silent(t, cancel).at.String(), question("x", dns.TypeA))
			cancel()
			if errors.Is(err, net.ErrClosed) {
				break
			}
			if time.Now().After(end) { // or the machine has been away for two seconds just then
				t.Fatalf("%s: got %v, want it given up at once", network, err)
			}
		}
	}
}

// What a server has been asked when it ends it still answers, if it can within half a second: over TCP too, though nobody waits at
// its other socket.
func TestServer_lastAnswers(t *testing.T) {
	once := func() *dns.Msg {
		begun, told := make(chan struct{}), make(chan struct{})
		slow := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
			if q.Question[0].Qtype != dns.TypeHINFO {
				close(begun)
				<-told
			}
			return world(w, q)
		})
		c, l := bind(t)
		s := &Server{Source: &source{}, Packets: []net.PacketConn{c}, Listeners: []net.Listener{l}, Upstream: []netip.AddrPort{slow.at}}
		s.Source.(*source).Store(discovery.NewTable(nil, nil))
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- s.Run(ctx) }()
		got := make(chan *dns.Msg, 1)
		go func() {
			m, _, err := (&dns.Client{Net: "tcp", Timeout: patience}).Exchange(question("www.example.com", dns.TypeA), l.Addr().String())
			if err != nil {
				m = new(dns.Msg)
			}
			got <- m
		}()
		<-begun
		cancel()
		until(t, func() bool { return errors.Is(c.SetReadDeadline(time.Time{}), net.ErrClosed) }) // the other socket has ended
		<-time.After(lastWord / 10)                                                               // which is what the resolver takes
		close(told)
		if err := <-ran; err != nil {
			t.Error(err)
		}
		return <-got
	}
	for end := time.Now().Add(patience); len(once().Answer) == 0; { // the machine may be away for half a second just then
		if time.Now().After(end) {
			t.Fatal("what was asked is never answered")
		}
	}
}

// An answer that is not to the question is none: of another id, type or class, without one or with two, or a question itself.
func TestExchange_takesNoOtherAnswer(t *testing.T) {
	var wrong atomic.Value
	o := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		m := world(w, q)
		wrong.Load().(func(*dns.Msg))(m)
		return m
	})
	for what, f := range map[string]func(*dns.Msg){
		"another type":  func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
		"another class": func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"another name":  func(m *dns.Msg) { m.Question[0].Name = "elsewhere." },
		"no question":   func(m *dns.Msg) { m.Question = nil },
		"two questions": func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"a question":    func(m *dns.Msg) { m.Response = false },
	} {
		wrong.Store(f)
		if m, err := exchange(t.Context(), o.at.String(), key{name: "www.example.com.", typ: dns.TypeA}); err == nil {
			t.Errorf("%s: taken for the answer: %v", what, m)
		}
	}
	wrong.Store(func(*dns.Msg) {})
	if _, err := exchange(t.Context(), o.at.String(), key{name: "www.example.com.", typ: dns.TypeA}); err != nil {
		t.Error(err)
	}
}

// What is asked of upstream says whether signatures are wanted and whether they are to be checked, its OPT record is its own, and a
// resolver that has not heard of EDNS says so in one way or another.
func TestServer_asksUpstreamAsItWasAsked(t *testing.T) {
	o := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		opt := q.IsEdns0()
		if strings.HasPrefix(q.Question[0].Name, "old.") && opt != nil {
			return new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented)
		}
		m := records(q, 0, q.Question[0].Name+" 300 IN A 192.0.2.53")
		m.AuthenticatedData = true
		if m.CheckingDisabled = q.CheckingDisabled; m.CheckingDisabled {
			m.Answer = records(q, 0, q.Question[0].Name+" 300 IN A 192.0.2.54").Answer
		}
		if opt != nil {
			if opt.Do() {
				m.Answer = append(m.Answer, records(q, 0, q.Question[0].Name+" 300 IN TXT signature").Answer...)
			}
			m.SetEdns0(4096, opt.Do())
		}
		return m
	})
	r := start(t, some(), asking(o))
	for _, c := range []struct {
		name      string
		do, check bool
		want      string
		ad        bool
	}{
		{"www.example.com", false, false, "NOERROR | www.example.com. A 192.0.2.53", false},
		{"www.example.com", true, false, `NOERROR | www.example.com. A 192.0.2.53 | www.example.com. TXT "signature"`, true},
		{"www.example.com", false, true, "NOERROR | www.example.com. A 192.0.2.54", false},
		{"old.example.com", false, false, "NOERROR | old.example.com. A 192.0.2.53", false},
		// It is the alias that nobody has signed.
		{"out.default.svc.cluster.local", true, false, `NOERROR | aa | WWW.example.com. A 192.0.2.53 | WWW.example.com. TXT "signature"` +
			" | out.default.svc.cluster.local. CNAME WWW.example.com.", false},
	} {
		q := question(c.name, dns.TypeA).SetEdns0(1232, c.do)
		q.CheckingDisabled = c.check
		m := r.ask("udp", q)
		if text(m) != c.want || m.AuthenticatedData != c.ad || len(m.Extra) != 1 {
			t.Errorf("%s, DO %v, CD %v: got %s, AD %v, %d beside; want %s, AD %v, and one OPT record", c.name, c.do, c.check, text(m), m.AuthenticatedData, len(m.Extra), c.want, c.ad)
		}
	}
}

// No more questions are at upstream than there are places, and each gives its place back.
func TestServer_boundsQuestionsAtUpstream(t *testing.T) {
	o := resolver(t, world)
	s := &Server{}
	s.upstreams.set([]string{o.at.String()}, "")
	k := key{name: "www.example.com.", typ: dns.TypeA}
	s.upstreams.asking = maxWaits
	if _, err := s.forward(t.Context(), k); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("one more than there are places: got %v", err)
	}
	s.upstreams.asking = maxWaits - 1
	m, err := s.forward(t.Context(), k)
	if err != nil || s.upstreams.asking != maxWaits-1 {
		t.Errorf("got %v, and %d places are taken after it, want %d", err, s.upstreams.asking, maxWaits-1)
	}
	m.Answer[0].Header().Name = "whoever." // what one makes of an answer is nobody else's
	if m, err = s.forward(t.Context(), k); err != nil || m.Answer[0].Header().Name != "www.example.com." {
		t.Errorf("asked again: got %v, %v", m, err)
	}
}

// A resolver that is named anew is known as it was; nothing is kept of a question that was made up.
func TestUpstreams_areKnownAgain(t *testing.T) {
	var u upstreams
	u.set([]string{"192.0.2.1:53", "192.0.2.2:53"}, "")
	u.all[0].fails(true, time.Now())
	u.set([]string{"192.0.2.1:53", "192.0.2.3:53"}, "")
	if all := u.order(time.Now()); all[0].addr != "192.0.2.3:53" || all[1].addr != "192.0.2.1:53" {
		t.Errorf("asked first is %s, then %s; want the one that does not answer last", all[0].addr, all[1].addr)
	}
	u.probed(u.probe(u.all[0]), u.all[0])
	if len(u.probes) != 0 {
		t.Errorf("it still knows %v", u.probes)
	}
}

func TestServer_selfIsAPortOfAnAddress(t *testing.T) {
	c, l := bind(t)
	defer c.Close()
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	s := &Server{Address: netip.MustParseAddr("10.96.0.10"), Packets: []net.PacketConn{c}}
	for a, want := range map[netip.AddrPort]bool{
		at: true, netip.AddrPortFrom(at.Addr(), at.Port()+1): false, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), at.Port()): false,
		netip.MustParseAddrPort("10.96.0.10:53"): true, netip.MustParseAddrPort("10.96.0.10:54"): false,
	} {
		if got := s.self(a); got != want {
			t.Errorf("%s is this very server: got %v", a, got)
		}
	}
}

// A file that names resolvers is another one if anything about it is.
func TestSame_noticesEachChange(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(1000, 0)
	file := func(name, text string, at time.Time) os.FileInfo {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		is, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	was := file("a", "one", at)
	for what, is := range map[string]os.FileInfo{"none": nil, "another of the same size and time": file("b", "two", at),
		"longer": file("a", "three", at), "later": file("a", "one", at.Add(time.Second))} {
		if same(was, is) {
			t.Errorf("%s: not noticed", what)
		}
	}
	if !same(was, file("a", "one", at)) {
		t.Error("the same is taken for another")
	}
}
