package dns

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

const (
	ttl           = 5       // seconds: how long who asks may go on believing what is not so any more
	schemaVersion = "1.1.0" // of the Kubernetes DNS specification
)

// zone is what one table says of names. It never changes.
type zone struct {
	table   *discovery.Table
	domain  string // in lower case, with the last dot
	host    string
	own     []netip.Prefix
	address netip.Addr
}

// found is what there is of one name. A name that exists and has nothing of what was asked for is another thing than one
// that does not.
type found struct {
	exists        bool
	answer, extra []dns.RR
	external      string // the name that it stands for
}

// zone is the newest; nil while nothing is known.
func (s *Server) zone() *zone {
	t := s.Source.Table()
	if t == nil {
		return nil
	}
	z := &zone{table: t, domain: s.domain(), host: s.Host, address: s.Address}
	if s.Own != nil {
		z.own = s.Own()
	}
	return z
}

func (s *Server) domain() string { return dns.CanonicalName(cmp.Or(s.Domain, "cluster.local")) }

// below are the labels of a name, in lower case, that stand before the domain; false for one that is not of it.
func (z *zone) below(name string) ([]string, bool) {
	if !dns.IsSubDomain(z.domain, name) {
		return nil, false
	}
	labels := dns.SplitDomainName(name)
	return labels[:len(labels)-dns.CountLabel(z.domain)], true
}

// find is what there is of the name with these labels.
func (z *zone) find(labels []string, q dns.Question) found {
	n := len(labels)
	if n == 0 {
		return z.apex(q)
	}
	switch last := labels[n-1]; {
	case n == 1 && last == "dns-version":
		return one(q, &dns.TXT{Hdr: header(q.Name, dns.TypeTXT), Txt: []string{schemaVersion}})
	case n == 2 && last == "dns" && labels[0] == "ns" && z.address.IsValid():
		return addresses(q, []netip.Addr{z.address})
	case last == "svc":
		return z.service(labels[:n-1], q)
	case last == "pod":
		return z.pod(labels[:n-1], q)
	}
	return z.service(labels, q) // svc.ns.DOMAIN, as the seed has it
}

func (z *zone) apex(q dns.Question) found {
	switch q.Qtype {
	case dns.TypeSOA:
		return found{exists: true, answer: []dns.RR{z.soa(q.Name)}}
	case dns.TypeNS:
		return found{exists: true, answer: []dns.RR{&dns.NS{Hdr: header(q.Name, dns.TypeNS), Ns: "ns.dns." + z.domain}}}
	}
	return found{exists: true}
}

// soa is the record that says for how long it may be believed that there is nothing.
func (z *zone) soa(origin string) dns.RR {
	return &dns.SOA{Hdr: header(origin, dns.TypeSOA), Ns: "ns.dns." + z.domain, Mbox: "hostmaster." + z.domain,
		Serial: uint32(z.table.Index()), Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl}
}

// service is what there is of [[_port.]_proto. | [hostname.]]svc.ns, or of a part of it.
func (z *zone) service(labels []string, q dns.Question) found {
	n := len(labels)
	switch {
	case n == 0:
		return found{exists: true}
	case n == 1:
		return found{exists: z.inhabited(labels[0])}
	}
	s := z.table.Service(discovery.Name{Namespace: labels[n-1], Name: labels[n-2]})
	if s == nil {
		return found{}
	}
	first := labels[:n-2]
	switch external := s.External(); {
	case external != "" && len(first) == 0:
		return found{exists: true, external: external}
	case external != "":
		return found{}
	}
	if s.Headless() && len(z.ready(s, "")) == 0 {
		return found{} // as the specification has it
	}
	switch len(first) {
	case 0:
		if s.Headless() {
			all := z.ready(s, "")
			rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			return addresses(q, all)
		}
		if !s.IP.IsValid() { // there was none left
			return addresses(q, nil)
		}
		return addresses(q, []netip.Addr{s.IP})
	case 1:
		if s.Headless() {
			if all := z.ready(s, first[0]); len(all) > 0 {
				return addresses(q, all)
			}
		}
		return found{exists: len(z.srv(s, "", first[0], q.Name).answer) > 0}
	case 2:
		if name, ok := strings.CutPrefix(first[0], "_"); ok && name != "" {
			f := z.srv(s, name, first[1], q.Name)
			f.exists = len(f.answer) > 0
			if q.Qtype != dns.TypeSRV {
				f.answer, f.extra = nil, nil
			}
			return f
		}
	}
	return found{}
}

// name is the full name of a Service.
func (z *zone) name(s *discovery.Service) string {
	return s.Name.Name + "." + s.Namespace + ".svc." + z.domain
}

// inhabited reports whether there is a Service in the namespace.
func (z *zone) inhabited(namespace string) bool {
	for s := range z.table.Services() {
		if s.Namespace >= namespace {
			return s.Namespace == namespace
		}
	}
	return false
}

// ready are the addresses of a headless Service's ready endpoints, each once; of those with that hostname, or, with "", of all.
func (z *zone) ready(s *discovery.Service, hostname string) (all []netip.Addr) {
	for i := range s.Ports {
		for e := range s.Ports[i].Ready() {
			a := e.On(z.host).Addr()
			if a.IsValid() && (hostname == "" || hostname == z.hostname(&e) || hostname == dashed(a)) && !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// hostname is the label by which one endpoint of a Service is known: its pod's name, or, where it has none that is a label,
// its address.
func (z *zone) hostname(e *discovery.Endpoint) string {
	if e.Pod != (projection.Pod{}) {
		if name := e.Pod.Name(); len(name) < 64 && !strings.Contains(name, ".") {
			return name
		}
	}
	return dashed(e.On(z.host).Addr())
}

// srv are the records of a Service's named ports of that protocol: of the one of that name, or, with "", of all.
func (z *zone) srv(s *discovery.Service, name, protocol, owner string) (f found) {
	target := z.name(s)
	add := func(to string, port uint16, a netip.Addr) {
		f.answer = append(f.answer, &dns.SRV{Hdr: header(owner, dns.TypeSRV), Weight: 100, Port: port, Target: to})
		if rr := address(to, a); a.IsValid() && !slices.ContainsFunc(f.extra, func(o dns.RR) bool { return dns.IsDuplicate(o, rr) }) {
			f.extra = append(f.extra, rr)
		}
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.Name == "" || name != "" && !strings.EqualFold(p.Name, name) || !strings.EqualFold("_"+string(p.Protocol), protocol) {
			continue
		}
		if !s.Headless() {
			add(target, p.Port, s.IP)
			continue
		}
		for e := range p.Ready() {
			if at := e.On(z.host); at.IsValid() {
				add(z.hostname(&e)+"."+target, at.Port(), at.Addr())
			}
		}
	}
	return f
}

// pod is what there is of a-b-c-d.ns, or of a part of it: of addresses of replicas behind a Service of the namespace, and of no
// others, so that nobody can have any address be called by a name of the cluster.
func (z *zone) pod(labels []string, q dns.Question) found {
	switch n := len(labels); {
	case n == 0:
		return found{exists: true}
	case n == 1:
		return found{exists: z.inhabited(labels[0])}
	case n > 2:
		return found{}
	}
	a, err := netip.ParseAddr(strings.ReplaceAll(labels[0], "-", "."))
	if err != nil {
		a, err = netip.ParseAddr(strings.ReplaceAll(labels[0], "-", ":"))
	}
	if err != nil {
		return found{}
	}
	for s := range z.table.Services() {
		if s.Namespace != labels[1] {
			continue
		}
		for i := range s.Ports {
			for _, e := range s.Ports[i].Endpoints {
				if e.Pod != (projection.Pod{}) && e.On(z.host).Addr() == a {
					return addresses(q, []netip.Addr{a})
				}
			}
		}
	}
	return found{}
}

// dashed is an address as a label: 10-0-0-1.
func dashed(a netip.Addr) string {
	return strings.NewReplacer(".", "-", ":", "-").Replace(a.String())
}

func header(name string, typ uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: typ, Class: dns.ClassINET, Ttl: ttl}
}

// one is a name that has one record.
func one(q dns.Question, rr dns.RR) found {
	if q.Qtype != rr.Header().Rrtype {
		return found{exists: true}
	}
	return found{exists: true, answer: []dns.RR{rr}}
}

// addresses is a name that has addresses: those of the family that was asked for.
func addresses(q dns.Question, all []netip.Addr) found {
	f := found{exists: true}
	for _, a := range all {
		if rr := address(q.Name, a); rr.Header().Rrtype == q.Qtype {
			f.answer = append(f.answer, rr)
		}
	}
	return f
}

func address(name string, a netip.Addr) dns.RR {
	if a = a.Unmap(); a.Is4() {
		return &dns.A{Hdr: header(name, dns.TypeA), A: a.AsSlice()}
	}
	return &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: a.AsSlice()}
}
