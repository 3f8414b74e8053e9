package dns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

const soa = " | ns: cluster.local. SOA …"

// The Kubernetes DNS specification, 1.1.0, line by line, and what is beyond it.
func TestServer_names(t *testing.T) {
	r := start(t, some(), func(s *Server) { s.Address = netip.MustParseAddr("10.96.0.10") })
	for _, c := range []struct {
		name, typ, want string
	}{
		// 2.2
		{"dns-version.cluster.local", "TXT", `NOERROR | aa | dns-version.cluster.local. TXT "1.1.0"`},
		{"dns-version.cluster.local", "A", "NOERROR | aa" + soa},
		// 2.3: of a Service with an address
		{"web.default.svc.cluster.local", "A", "NOERROR | aa | web.default.svc.cluster.local. A 10.96.1.2"},
		{"web.default.svc.cluster.local", "AAAA", "NOERROR | aa" + soa},
		{"web.default.svc.cluster.local", "MX", "NOERROR | aa" + soa},
		{"six.default.svc.cluster.local", "AAAA", "NOERROR | aa | six.default.svc.cluster.local. AAAA fd00::10"},
		{"six.default.svc.cluster.local", "A", "NOERROR | aa" + soa},
		{"nothing.default.svc.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"web.nothing.svc.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"x.web.default.svc.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"a.b.c.web.default.svc.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"_http._tcp.web.default.svc.cluster.local", "SRV", "NOERROR | aa | _http._tcp.web.default.svc.cluster.local. SRV 0 100 80 web.default.svc.cluster.local." +
			" | extra: web.default.svc.cluster.local. A 10.96.1.2"},
		{"_http._tcp.six.default.svc.cluster.local", "SRV", "NOERROR | aa | _http._tcp.six.default.svc.cluster.local. SRV 0 100 80 six.default.svc.cluster.local." +
			" | extra: six.default.svc.cluster.local. AAAA fd00::10"},
		{"_dns._udp.names.default.svc.cluster.local", "SRV", "NOERROR | aa | _dns._udp.names.default.svc.cluster.local. SRV 0 100 53 names.default.svc.cluster.local." +
			" | extra: names.default.svc.cluster.local. A 10.96.1.3"},
		{"_http._udp.web.default.svc.cluster.local", "SRV", "NXDOMAIN | aa" + soa},
		{"_https._tcp.web.default.svc.cluster.local", "SRV", "NXDOMAIN | aa" + soa},
		{"_._tcp.web.default.svc.cluster.local", "SRV", "NXDOMAIN | aa" + soa}, // one without a name
		{"http._tcp.web.default.svc.cluster.local", "SRV", "NXDOMAIN | aa" + soa},
		{"_http._tcp.web.default.svc.cluster.local", "A", "NOERROR | aa" + soa},
		{"_tcp.web.default.svc.cluster.local", "SRV", "NOERROR | aa" + soa}, // there is something below it
		{"_udp.web.default.svc.cluster.local", "SRV", "NXDOMAIN | aa" + soa},
		{"2.1.96.10.in-addr.arpa", "PTR", "NOERROR | aa | 2.1.96.10.in-addr.arpa. PTR web.default.svc.cluster.local."},
		{"2.1.96.10.in-addr.arpa", "A", "NOERROR | aa | ns: 96.10.in-addr.arpa. SOA …"},
		{"0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", "PTR",
			"NOERROR | aa | 0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR six.default.svc.cluster.local."},
		// 2.4: of a headless one; those of other hosts by what reaches them from here
		{"db.default.svc.cluster.local", "A", "NOERROR | aa | db.default.svc.cluster.local. A 10.88.0.2 | db.default.svc.cluster.local. A 192.168.0.2"},
		{"db.default.svc.cluster.local", "AAAA", "NOERROR | aa" + soa},
		{"none.default.svc.cluster.local", "A", "NXDOMAIN | aa" + soa}, // none is ready
		{"none-0.none.default.svc.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"db-0.db.default.svc.cluster.local", "A", "NOERROR | aa | db-0.db.default.svc.cluster.local. A 10.88.0.2"},
		{"db-1.db.default.svc.cluster.local", "A", "NOERROR | aa | db-1.db.default.svc.cluster.local. A 192.168.0.2"},
		{"db-3.db.default.svc.cluster.local", "A", "NXDOMAIN | aa" + soa}, // not ready
		{"db-0.db.default.svc.cluster.local", "AAAA", "NOERROR | aa" + soa},
		{"10-88-0-2.db.default.svc.cluster.local", "A", "NOERROR | aa | 10-88-0-2.db.default.svc.cluster.local. A 10.88.0.2"},
		{"10-88-0-9.db.default.svc.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"203-0-113-7.given.default.svc.cluster.local", "A", "NOERROR | aa | 203-0-113-7.given.default.svc.cluster.local. A 203.0.113.7"},
		{"given.default.svc.cluster.local", "AAAA", "NOERROR | aa | given.default.svc.cluster.local. AAAA 2001:db8::7"},
		{"2001-db8--7.given.default.svc.cluster.local", "AAAA", "NOERROR | aa | 2001-db8--7.given.default.svc.cluster.local. AAAA 2001:db8::7"},
		{"peers.default.svc.cluster.local", "A", "NOERROR | aa | peers.default.svc.cluster.local. A 10.88.0.20 | peers.default.svc.cluster.local. A 192.168.0.2"}, // without ports
		{"peers-1.peers.default.svc.cluster.local", "A", "NOERROR | aa | peers-1.peers.default.svc.cluster.local. A 192.168.0.2"},
		{"_tcp.peers.default.svc.cluster.local", "SRV", "NXDOMAIN | aa" + soa},
		{"20.0.88.10.in-addr.arpa", "PTR", "NOERROR | aa | 20.0.88.10.in-addr.arpa. PTR peers-0.peers.default.svc.cluster.local."},
		{"_sql._tcp.db.default.svc.cluster.local", "SRV", "NOERROR | aa" +
			" | _sql._tcp.db.default.svc.cluster.local. SRV 0 100 20001 db-1.db.default.svc.cluster.local." +
			" | _sql._tcp.db.default.svc.cluster.local. SRV 0 100 20002 db-2.db.default.svc.cluster.local." +
			" | _sql._tcp.db.default.svc.cluster.local. SRV 0 100 5432 db-0.db.default.svc.cluster.local." +
			" | extra: db-0.db.default.svc.cluster.local. A 10.88.0.2 | extra: db-1.db.default.svc.cluster.local. A 192.168.0.2" +
			" | extra: db-2.db.default.svc.cluster.local. A 192.168.0.2"},
		{"_sql._tcp.none.default.svc.cluster.local", "SRV", "NXDOMAIN | aa" + soa},
		{"2.0.88.10.in-addr.arpa", "PTR", "NOERROR | aa | 2.0.88.10.in-addr.arpa. PTR db-0.db.default.svc.cluster.local."},
		{"7.113.0.203.in-addr.arpa", "PTR", "NOERROR | aa | 7.113.0.203.in-addr.arpa. PTR 203-0-113-7.given.default.svc.cluster.local."},
		{"9.0.88.10.in-addr.arpa", "PTR", "NXDOMAIN | aa | ns: 88.10.in-addr.arpa. SOA …"},
		{"3.0.88.10.in-addr.arpa", "PTR", "NXDOMAIN | aa | ns: 88.10.in-addr.arpa. SOA …"}, // of another host's network, which is not this one
		{"4.0.88.10.in-addr.arpa", "PTR", "NXDOMAIN | aa | ns: 88.10.in-addr.arpa. SOA …"}, // of one that has an address of its own
		{"02.1.96.10.in-addr.arpa", "PTR", "SERVFAIL"},                                     // no reverse names, these: upstream's, of which there is none
		{"1.2.1.96.10.in-addr.arpa", "PTR", "SERVFAIL"},
		{"0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", "PTR", "SERVFAIL"},
		{"00.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", "PTR", "SERVFAIL"},
		{"88.10.in-addr.arpa", "PTR", "NOERROR | aa | ns: 88.10.in-addr.arpa. SOA …"},
		{"1.1.96.10.in-addr.arpa", "PTR", "NXDOMAIN | aa | ns: 96.10.in-addr.arpa. SOA …"},
		// 2.5
		{"out.default.svc.cluster.local", "CNAME", "NOERROR | aa | out.default.svc.cluster.local. CNAME WWW.example.com."},
		{"x.out.default.svc.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"alias.default.svc.cluster.local", "A", "NOERROR | aa | alias.default.svc.cluster.local. CNAME web.default.svc.cluster.local. | web.default.svc.cluster.local. A 10.96.1.2"},
		{"alias.default.svc.cluster.local", "AAAA", "NOERROR | aa | alias.default.svc.cluster.local. CNAME web.default.svc.cluster.local." + soa},
		{"lost.default.svc.cluster.local", "A", "NXDOMAIN | aa | lost.default.svc.cluster.local. CNAME nothing.default.svc.cluster.local." + soa},
		// Names that others are below of.
		{"cluster.local", "A", "NOERROR | aa" + soa},
		{"cluster.local", "SOA", "NOERROR | aa | cluster.local. SOA …"},
		{"cluster.local", "NS", "NOERROR | aa | cluster.local. NS ns.dns.cluster.local."},
		{"ns.dns.cluster.local", "A", "NOERROR | aa | ns.dns.cluster.local. A 10.96.0.10"},
		{"x.dns.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"x.dns-version.cluster.local", "TXT", "NXDOMAIN | aa" + soa},
		{"svc.cluster.local", "A", "NOERROR | aa" + soa},
		{"default.svc.cluster.local", "A", "NOERROR | aa" + soa},
		{"default.cluster.local", "A", "NOERROR | aa" + soa},
		{"nothing.svc.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"nothing.cluster.local", "A", "NXDOMAIN | aa" + soa},
		// As the seed has them, and shorter.
		{"web.default.cluster.local", "A", "NOERROR | aa | web.default.cluster.local. A 10.96.1.2"},
		{"_http._tcp.web.default.cluster.local", "SRV", "NOERROR | aa | _http._tcp.web.default.cluster.local. SRV 0 100 80 web.default.svc.cluster.local." +
			" | extra: web.default.svc.cluster.local. A 10.96.1.2"},
		{"web.default.svc", "A", "NOERROR | aa | web.default.svc. A 10.96.1.2"},
		{"web.default.svc", "AAAA", "NOERROR | aa" + " | ns: cluster.local. SOA …"},
		// Pods by their address
		{"10-88-0-4.shop.pod.cluster.local", "A", "NOERROR | aa | 10-88-0-4.shop.pod.cluster.local. A 10.88.0.4"},
		{"10-88-0-4.default.pod.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"8-8-8-8.shop.pod.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"10-88-0-4.shop.x.pod.cluster.local", "A", "NXDOMAIN | aa" + soa},
		{"203-0-113-7.default.pod.cluster.local", "A", "NXDOMAIN | aa" + soa}, // given by hand: no pod
		{"shop.pod.cluster.local", "A", "NOERROR | aa" + soa},
		// All that there is
		{"web.default.svc.cluster.local", "ANY", `NOERROR | aa | web.default.svc.cluster.local. HINFO "RFC8482" ""`},
		{"nothing.default.svc.cluster.local", "ANY", "NXDOMAIN | aa" + soa},
		// In any case, which is kept
		{"WeB.DEFault.sVc.Cluster.LOCAL", "A", "NOERROR | aa | WeB.DEFault.sVc.Cluster.LOCAL. A 10.96.1.2"},
		{"_HTTP._TCP.web.default.svc.cluster.local", "SRV", "NOERROR | aa | _HTTP._TCP.web.default.svc.cluster.local. SRV 0 100 80 web.default.svc.cluster.local." +
			" | extra: web.default.svc.cluster.local. A 10.96.1.2"},
		{`web\.default.svc.cluster.local`, "A", "NXDOMAIN | aa" + soa},
		{`x\\.cluster.local`, "A", "NXDOMAIN | aa" + soa},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := r.ask(network, question(c.name, dns.StringToType[c.typ]))
			if got := text(m); got != c.want {
				t.Errorf("%s %s over %s:\n got %s\nwant %s", c.name, c.typ, network, got, c.want)
			}
			for _, rr := range append(m.Answer, m.Ns...) {
				if rr.Header().Ttl != 5 {
					t.Errorf("%s %s: TTL of %s, want 5", c.name, c.typ, rr)
				}
			}
			if !m.RecursionAvailable || m.Question[0].Name != dns.Fqdn(c.name) {
				t.Errorf("%s %s: RA %v, question %v", c.name, c.typ, m.RecursionAvailable, m.Question)
			}
		}
	}
	if m := r.ask("udp", question("bad.default.svc.cluster.local", dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("an alias of what is no name: got %s, want SERVFAIL", text(m))
	}
	if m := r.ask("udp", question("round.default.svc.cluster.local", dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("aliases that go round: got %s, want SERVFAIL", text(m))
	}
}

// Endpoints that this host cannot reach have no address to tell; pods whose names are no labels go by their address; and the same is
// not said twice.
func TestServer_oddEndpoints(t *testing.T) {
	nowhere := discovery.Endpoint{Host: "h1", Ready: true}
	nowhere.Pod, _ = projection.PodNamed("default", "nowhere-0")
	odd := service("default", "odd", "headless", port("x", corev1.ProtocolTCP, 7, "h1 a.b-0 192.168.0.1:20000 10.88.0.5:7",
		"h1 "+strings.Repeat("l", 62)+"-0 192.168.0.1:20001 10.88.0.6:7", "- - 203.0.113.7:7", "- - 203.0.113.7:8"))
	odd.Ports[0].Endpoints = append(odd.Ports[0].Endpoints, nowhere)
	out := external("default", "out", "example.com")
	out.Ports = []discovery.Port{port("http", corev1.ProtocolTCP, 80)}
	late := service("default", "late", "headless", port("http", corev1.ProtocolTCP, 80)) // which got no address, since there was none left
	late.Spec.ClusterIP = ""
	r := start(t, []*discovery.Service{odd, out, late, service("default", "plain", "10.96.0.7", port("", corev1.ProtocolTCP, 80))})
	const name = "odd.default.svc.cluster.local"
	for _, c := range []struct{ name, typ, want string }{
		{name, "A", "NOERROR | aa | " + name + ". A 10.88.0.5 | " + name + ". A 10.88.0.6 | " + name + ". A 203.0.113.7"},
		{"_x._tcp." + name, "SRV", "NOERROR | aa | _x._tcp." + name + ". SRV 0 100 7 10-88-0-5." + name + ". | _x._tcp." + name + ". SRV 0 100 7 10-88-0-6." + name +
			". | _x._tcp." + name + ". SRV 0 100 7 203-0-113-7." + name + ". | _x._tcp." + name + ". SRV 0 100 8 203-0-113-7." + name +
			". | extra: 10-88-0-5." + name + ". A 10.88.0.5 | extra: 10-88-0-6." + name + ". A 10.88.0.6 | extra: 203-0-113-7." + name + ". A 203.0.113.7"},
		{"10-88-0-5." + name, "A", "NOERROR | aa | 10-88-0-5." + name + ". A 10.88.0.5"},
		{"_http._tcp.out.default.svc.cluster.local", "SRV", "NXDOMAIN | aa" + soa},
		{"late.default.svc.cluster.local", "A", "NOERROR | aa" + soa},
		{"late.default.svc.cluster.local", "AAAA", "NOERROR | aa" + soa},
		{"_http._tcp.late.default.svc.cluster.local", "SRV", "NOERROR | aa | _http._tcp.late.default.svc.cluster.local. SRV 0 100 80 late.default.svc.cluster.local."},
		{"_tcp.plain.default.svc.cluster.local", "SRV", "NXDOMAIN | aa" + soa}, // its port has no name
		{"ns.dns.cluster.local", "A", "NXDOMAIN | aa" + soa},                   // it has no address
	} {
		if got := text(r.ask("tcp", question(c.name, dns.StringToType[c.typ]))); got != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.name, c.typ, got, c.want)
		}
	}
}

// A network of ours is no reason to answer for the larger one that begins alike.
func TestZone_reverseOfALargerNetwork(t *testing.T) {
	r := start(t, some(), func(s *Server) {
		s.Own = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")} }
	})
	for name, want := range map[string]string{"10.in-addr.arpa": "SERVFAIL", "0.0.10.in-addr.arpa": "NOERROR | aa | ns: 0.0.10.in-addr.arpa. SOA …"} {
		if got := text(r.ask("udp", question(name, dns.TypePTR))); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// What is ready, and where, is told as of the newest table.
func TestServer_followsTheTable(t *testing.T) {
	r := start(t, nil)
	name := "web.default.svc.cluster.local"
	for _, n := range []string{name, "example.com", "2.1.96.10.in-addr.arpa"} {
		if m := r.ask("udp", question(n, dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s before there is a table: got %s, want SERVFAIL", n, text(m))
		}
	}
	for _, ip := range []string{"10.96.0.1", "10.96.0.2"} {
		r.source.Store(discovery.NewTable([]*discovery.Service{service("default", "web", ip)}, nil))
		if got := text(r.ask("udp", question(name, dns.TypeA))); !strings.HasSuffix(got, " A "+ip) {
			t.Errorf("got %s, want %s", got, ip)
		}
	}
	r.source.Store(discovery.NewTable(nil, nil))
	if m := r.ask("udp", question(name, dns.TypeA)); m.Rcode != dns.RcodeNameError {
		t.Errorf("a deleted one: got %s, want NXDOMAIN", text(m))
	}
}

func TestServer_otherDomain(t *testing.T) {
	r := start(t, some(), func(s *Server) { s.Domain = "Swarm.Example" })
	if got, want := text(r.ask("udp", question("web.default.svc.swarm.example", dns.TypeA))), "NOERROR | aa | web.default.svc.swarm.example. A 10.96.1.2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
