package dns

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// reverse is what a name below in-addr.arpa or ip6.arpa stands for: an address, or all that begin alike.
func reverse(name string) (netip.Prefix, bool) {
	if before, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		labels := strings.Split(before, ".")
		var b [4]byte
		if len(labels) > len(b) {
			return netip.Prefix{}, false
		}
		for i, l := range labels {
			n, err := strconv.ParseUint(l, 10, 8)
			if err != nil || strconv.FormatUint(n, 10) != l {
				return netip.Prefix{}, false
			}
			b[len(labels)-1-i] = byte(n)
		}
		return netip.PrefixFrom(netip.AddrFrom4(b), 8*len(labels)), true
	}
	before, ok := strings.CutSuffix(name, ".ip6.arpa.")
	if !ok {
		return netip.Prefix{}, false
	}
	labels := strings.Split(before, ".")
	var b [16]byte
	if len(labels) > 2*len(b) {
		return netip.Prefix{}, false
	}
	for i, l := range labels {
		n, err := strconv.ParseUint(l, 16, 4)
		if err != nil || len(l) != 1 {
			return netip.Prefix{}, false
		}
		at := len(labels) - 1 - i
		b[at/2] |= byte(n) << (4 * (1 - at%2))
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 4*len(labels)), true
}

// pointer is what there is of a reverse name, and the zone that it is of; false for one that is not ours to tell.
func (z *zone) pointer(p netip.Prefix, q dns.Question) (f found, origin string, ok bool) {
	i := slices.IndexFunc(z.own, func(own netip.Prefix) bool { return own.Bits() <= p.Bits() && own.Contains(p.Addr()) })
	if i >= 0 {
		origin = originOf(z.own[i], p)
	}
	if !p.IsSingleIP() {
		return found{exists: true}, origin, i >= 0
	}
	names := z.names(p.Addr())
	if origin == "" {
		origin = dns.CanonicalName(q.Name)
	}
	f.exists = len(names) > 0
	if q.Qtype == dns.TypePTR {
		for _, name := range names {
			f.answer = append(f.answer, &dns.PTR{Hdr: header(q.Name, dns.TypePTR), Ptr: name})
		}
	}
	return f, origin, i >= 0 || f.exists
}

// names are those of an address: of the Service whose virtual address it is, or of endpoints of headless ones. An address of
// another host is not told by what runs there: it is that host's, and has a name from elsewhere.
func (z *zone) names(a netip.Addr) (all []string) {
	if s := z.table.ByIP(a); s != nil {
		return []string{z.name(s)}
	}
	for s := range z.table.Services() {
		if !s.Headless() {
			continue
		}
		for i := range s.Ports {
			for e := range s.Ports[i].Ready() {
				local := e.Host == z.host && e.Local.IsValid() && e.Local.Addr() == a
				if local || e.Host == "" && e.Address.Addr() == a {
					if name := z.hostname(&e) + "." + z.name(s); !slices.Contains(all, name) {
						all = append(all, name)
					}
				}
			}
		}
	}
	return all
}

// originOf is the name of the zone of our network that an address, or many, is in: where the network ends within a label, that
// label is the address's own.
func originOf(own, p netip.Prefix) string {
	full, err := dns.ReverseAddr(p.Addr().String())
	if err != nil {
		return "."
	}
	size, all := 8, 4
	if p.Addr().Is6() {
		size, all = 4, 32
	}
	labels := dns.SplitDomainName(full)
	keep := min((own.Bits()+size-1)/size, p.Bits()/size)
	return dns.Fqdn(strings.Join(labels[all-keep:], "."))
}
