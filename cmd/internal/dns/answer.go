package dns

import (
	"cmp"
	"context"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// What a question was about, for the metrics.
const (
	aboutNothing = "none" // refused, or no question at all
	aboutCluster = "cluster"
	aboutReverse = "reverse"
	aboutOutside = "outside"
)

// answer is the answer to a message: never nil, and never larger than who asks can take.
func (s *Server) answer(ctx context.Context, r *dns.Msg, from netip.Addr, udp bool) (m *dns.Msg, about string) {
	m = new(dns.Msg)
	m.SetReply(r)
	m.RecursionAvailable = true
	opt := r.IsEdns0()
	a := &asked{s: s, m: m, about: aboutNothing, check: r.CheckingDisabled, dnssec: opt != nil && opt.Do()}
	if rcode := s.refuse(r, from, opt); rcode != dns.RcodeSuccess {
		m.Rcode = rcode
	} else {
		a.about = aboutCluster
		a.q = r.Question[0]
		a.resolve(ctx)
	}
	size := dns.MaxMsgSize
	m.Compress = true
	if udp {
		size = dns.MinMsgSize
		if opt != nil {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), udpSize)
		}
		if m.Len() > size-optSize { // whoever wants to know more can ask for it; it is no reason to ask all again over TCP
			m.Extra = nil
		}
	}
	if opt != nil {
		m.SetEdns0(udpSize, opt.Do())
		if o := m.IsEdns0(); a.why != nil {
			o.Option = append(o.Option, a.why)
		}
	}
	m.Truncate(size)
	return m, a.about
}

// optSize is about what an OPT record with a reason takes.
const optSize = 128

// refuse is what is wrong with a message before its question is looked at; RcodeSuccess: nothing.
func (s *Server) refuse(r *dns.Msg, from netip.Addr, opt *dns.OPT) int {
	opts := 0
	for _, rr := range r.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			opts++
		}
	}
	switch {
	case !s.from(from):
		return dns.RcodeRefused
	case r.Opcode != dns.OpcodeQuery:
		return dns.RcodeNotImplemented
	case len(r.Question) != 1 || opts > 1:
		return dns.RcodeFormatError
	case opt != nil && opt.Version() != 0:
		return dns.RcodeBadVers
	case r.Question[0].Qclass != dns.ClassINET: // CHAOS would tell strangers what runs here
		return dns.RcodeRefused
	}
	switch r.Question[0].Qtype {
	case dns.TypeOPT, dns.TypeNone, dns.TypeTSIG, dns.TypeTKEY:
		return dns.RcodeFormatError
	case dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB:
		return dns.RcodeRefused
	}
	return dns.RcodeSuccess
}

// asked is one question on its way to its answer.
type asked struct {
	s             *Server
	m             *dns.Msg
	q             dns.Question
	about         string
	check, dnssec bool
	why           dns.EDNS0 // what is said of an error to who can read it
}

// resolve fills in the answer.
func (a *asked) resolve(ctx context.Context) {
	name := dns.CanonicalName(a.q.Name)
	if a.s.upstreams.looped(name) {
		a.m.Rcode = dns.RcodeNameError
		return
	}
	z := a.s.zone()
	if z == nil { // nor is the list of names that are allowed known
		a.fail(dns.ExtendedErrorCodeNotReady, "the agent is reading its log")
		return
	}
	if labels, ok := z.below(name); ok {
		a.local(ctx, z, z.find(labels, a.q), z.domain)
		return
	}
	if p, ok := reverse(name); ok {
		if f, zone, ok := z.pointer(p, a.q); ok {
			a.about = aboutReverse
			a.local(ctx, z, f, zone)
			return
		}
	}
	short := strings.HasSuffix(name, ".svc.")
	if short && a.short(ctx, z, name) {
		return
	}
	a.about = aboutOutside
	if a.q.Qtype == dns.TypeANY {
		a.m.Answer = []dns.RR{minimal(a.q.Name)}
		return
	}
	a.outside(ctx, a.q.Name)
	if !short && a.m.Rcode == dns.RcodeNameError && dns.CountLabel(name) == 2 {
		a.short(ctx, z, name+"svc.")
	}
}

// short answers svc.ns.svc, asked by somebody who has no list of domains to search, if there is such a name in the cluster.
func (a *asked) short(ctx context.Context, z *zone, name string) bool {
	labels, ok := z.below(name + z.domain)
	if !ok {
		return false
	}
	f := z.find(labels, a.q)
	if !f.exists {
		return false
	}
	a.about, a.why = aboutCluster, nil
	a.m.AuthenticatedData = false // which was said of the answer from elsewhere
	a.m.Rcode, a.m.Answer, a.m.Ns, a.m.Extra = dns.RcodeSuccess, nil, nil, nil
	a.local(ctx, z, f, z.domain)
	return true
}

// local answers with what was found in a zone of ours.
func (a *asked) local(ctx context.Context, z *zone, f found, origin string) {
	a.m.Authoritative = true
	switch {
	case !f.exists:
		a.m.Rcode = dns.RcodeNameError
	case a.q.Qtype == dns.TypeANY:
		a.m.Answer = []dns.RR{minimal(a.q.Name)}
		return
	case f.external != "":
		a.follow(ctx, z, f.external)
		return
	}
	a.m.Answer, a.m.Extra = f.answer, f.extra
	if len(f.answer) == 0 {
		a.m.Ns = []dns.RR{z.soa(origin)}
	}
}

// maxAliases is how many ExternalName Services may stand for one another.
const maxAliases = 8

// follow answers with the alias that a Service is, and with what that stands for.
func (a *asked) follow(ctx context.Context, z *zone, target string) {
	owner := a.q.Name
	for range maxAliases {
		target = dns.Fqdn(target)
		if _, ok := dns.IsDomainName(target); !ok {
			a.fail(dns.ExtendedErrorCodeInvalidData, "the Service's externalName is no name")
			return
		}
		a.m.Answer = append(a.m.Answer, &dns.CNAME{Hdr: header(owner, dns.TypeCNAME), Target: target})
		if a.q.Qtype == dns.TypeCNAME {
			return
		}
		labels, ours := z.below(dns.CanonicalName(target))
		if !ours {
			a.outside(ctx, target)
			return
		}
		owner = target
		f := z.find(labels, dns.Question{Name: target, Qtype: a.q.Qtype, Qclass: a.q.Qclass})
		if f.external != "" {
			target = f.external
			continue
		}
		a.m.Answer = append(a.m.Answer, f.answer...)
		if !f.exists {
			a.m.Rcode = dns.RcodeNameError
		}
		if len(f.answer) == 0 {
			a.m.Ns = []dns.RR{z.soa(z.domain)}
		}
		return
	}
	a.fail(dns.ExtendedErrorCodeInvalidData, "ExternalName Services stand for one another")
}

// outside adds what upstream says of a name.
func (a *asked) outside(ctx context.Context, name string) {
	k := key{dns.CanonicalName(name), a.q.Qtype, a.dnssec, a.check}
	if allowed := a.s.Allowed; allowed != nil && !allowed(strings.TrimSuffix(k.name, ".")) {
		a.m.Rcode = dns.RcodeNameError
		a.why = &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeBlocked, ExtraText: "not on the cluster's list of allowed names: psctl dns list"}
		return
	}
	got, err := a.s.forward(ctx, k)
	if err != nil {
		a.fail(dns.ExtendedErrorCodeNoReachableAuthority, cmp.Or(err.Error(), "no resolver answers"))
		return
	}
	for _, rr := range got.Answer {
		if strings.EqualFold(rr.Header().Name, name) {
			rr.Header().Name = name // as it was asked for
		}
	}
	a.m.Rcode, a.m.AuthenticatedData = got.Rcode, got.AuthenticatedData && a.dnssec && !a.m.Authoritative
	a.m.Answer = append(a.m.Answer, got.Answer...)
	a.m.Ns = append(a.m.Ns, got.Ns...)
	a.m.Extra = append(a.m.Extra, got.Extra...)
}

func (a *asked) fail(code uint16, why string) {
	a.m.Rcode = dns.RcodeServerFailure
	a.why = &dns.EDNS0_EDE{InfoCode: code, ExtraText: why[:min(len(why), 90)]}
}

// minimal is the answer to a question for all that there is (RFC 8482).
func minimal(name string) dns.RR {
	return &dns.HINFO{Hdr: header(name, dns.TypeHINFO), Cpu: "RFC8482"}
}
