package dns

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// patience is how long tests wait for what must come.
const patience = time.Minute

// source hands out one table after another.
type source struct {
	discovery.Source
	atomic.Pointer[discovery.Table]
}

func (s *source) Table() *discovery.Table { return s.Load() }

// running is a server on sockets of the loopback.
type running struct {
	*Server
	t      *testing.T
	source *source
	at     string // host and port, UDP and TCP
	said   *said
}

type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *said) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), text)
}

// bind gives both kinds of socket of one port of the loopback.
func bind(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return c, l
		}
		l.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// start runs a server of these Services until the test ends.
func start(t *testing.T, services []*discovery.Service, change ...func(*Server)) *running {
	t.Helper()
	c, l := bind(t)
	r := &running{t: t, source: &source{}, at: l.Addr().String(), said: &said{}}
	if services != nil {
		r.source.Store(discovery.NewTable(services, nil))
	}
	r.Server = &Server{Source: r.source, Host: "h1", Own: func() []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("10.88.0.0/16")}
	},
		Packets: []net.PacketConn{c}, Listeners: []net.Listener{l}, Upstream: []netip.AddrPort{}, Log: slog.New(slog.NewTextHandler(r.said, nil))}
	for _, f := range change {
		f(r.Server)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ran:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the server does not end")
		}
	})
	return r
}

// question is a message that asks for one thing.
func question(name string, typ uint16) *dns.Msg { return new(dns.Msg).SetQuestion(dns.Fqdn(name), typ) }

// ask sends a message, and again where an answer over UDP was lost.
func (r *running) ask(network string, q *dns.Msg) *dns.Msg {
	r.t.Helper()
	c := dns.Client{Net: network, Timeout: patience / 4, UDPSize: dns.MaxMsgSize}
	var err error
	for range 4 {
		var m *dns.Msg
		if m, _, err = c.Exchange(q, r.at); err == nil {
			return m
		}
	}
	r.t.Fatalf("%v: %v", q.Question, err)
	return nil
}

// text is an answer on one line: its rcode, and what it holds, sorted, each as "name type data" or, of other sections, with
// that before it.
func text(m *dns.Msg) string {
	words := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		words = append(words, "aa")
	}
	section := func(name string, rrs []dns.RR) {
		var all []string
		for _, rr := range rrs {
			h := rr.Header()
			if h.Rrtype == dns.TypeOPT {
				continue
			}
			data := strings.TrimPrefix(rr.String(), h.String())
			if h.Rrtype == dns.TypeSOA {
				data = "…"
			}
			all = append(all, strings.TrimSpace(name+" "+h.Name+" "+dns.TypeToString[h.Rrtype]+" "+data))
		}
		slices.Sort(all)
		words = append(words, all...)
	}
	section("", m.Answer)
	section("ns:", m.Ns)
	section("extra:", m.Extra)
	return strings.Join(words, " | ")
}

func service(namespace, name, ip string, ports ...discovery.Port) *discovery.Service {
	s := &discovery.Service{Name: discovery.Name{Namespace: namespace, Name: name}, Spec: &corev1.ServiceSpec{}, Ports: ports}
	switch ip {
	case "headless":
		s.Spec.ClusterIP = corev1.ClusterIPNone
	default:
		s.IP = netip.MustParseAddr(ip)
	}
	return s
}

func external(namespace, name, target string) *discovery.Service {
	return &discovery.Service{Name: discovery.Name{Namespace: namespace, Name: name},
		Spec: &corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: target}}
}

// endpoint is a replica: "h1 db-0 192.168.0.1:20000 10.88.0.2:5432", or without the last; with an "!" before it, one that is
// not ready.
func endpoint(text string) discovery.Endpoint {
	text, waits := strings.CutPrefix(text, "!")
	words := strings.Fields(text)
	e := discovery.Endpoint{Host: words[0], Address: netip.MustParseAddrPort(words[2]), Ready: !waits}
	if words[0] == "-" {
		e.Host = ""
	}
	if words[1] != "-" {
		e.Pod, _ = projection.PodNamed("default", words[1])
	}
	if len(words) > 3 {
		e.Local = netip.MustParseAddrPort(words[3])
	}
	return e
}

func port(name string, protocol corev1.Protocol, number uint16, endpoints ...string) discovery.Port {
	p := discovery.Port{Name: name, Protocol: protocol, Port: number}
	for _, e := range endpoints {
		p.Endpoints = append(p.Endpoints, endpoint(e))
	}
	return p
}

// some are Services of each sort.
func some() []*discovery.Service {
	return []*discovery.Service{
		service("default", "web", "10.96.1.2", port("http", corev1.ProtocolTCP, 80), port("", corev1.ProtocolTCP, 81)),
		service("default", "names", "10.96.1.3", port("dns", corev1.ProtocolUDP, 53)),
		service("default", "six", "fd00::10", port("http", corev1.ProtocolTCP, 80)),
		service("default", "db", "headless",
			port("sql", corev1.ProtocolTCP, 5432, "h1 db-0 192.168.0.1:20000 10.88.0.2:5432", "h2 db-1 192.168.0.2:20001 10.88.0.2:5432",
				"h2 db-2 192.168.0.2:20002 10.88.0.3:5432", "!h1 db-3 192.168.0.1:20003 10.88.0.9:5432"),
			port("metrics", corev1.ProtocolTCP, 9100, "h1 db-0 192.168.0.1:20010 10.88.0.2:9100")),
		service("default", "none", "headless", port("sql", corev1.ProtocolTCP, 5432, "!h1 none-0 192.168.0.1:20020 10.88.0.10:1")),
		service("default", "given", "headless", port("x", corev1.ProtocolTCP, 7, "- - 203.0.113.7:7", "- - [2001:db8::7]:7")),
		service("default", "peers", "headless", port("", "", 0, "h1 peers-0 192.168.0.1:0 10.88.0.20:0", "h2 peers-1 192.168.0.2:0 10.88.0.20:0", "!h2 peers-2 192.168.0.3:0")),
		external("default", "out", "WWW.example.com"),
		external("default", "alias", "web.default.svc.cluster.local."),
		external("default", "lost", "nothing.default.svc.cluster.local"),
		external("default", "bad", "a..b"),
		external("default", "round", "round.default.svc.cluster.local"),
		service("shop", "web", "10.96.2.2", port("http", corev1.ProtocolTCP, 80, "h1 web-0 192.168.0.1:20030 10.88.0.4:80")),
		service("com", "example", "10.96.2.3"),
		service("svc", "web", "10.96.2.4"),
	}
}

func logTo(s *said) *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }
