package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/miekg/dns"
)

// Lookup gives the addresses of a name as whoever asks the Server is told them, those of IPv4 first: so the list of allowed names holds here too. Without an
// error there is at least one; the error says why there is none. It is for this process, which need not ask over a socket, and takes 5 s at most,
// whatever becomes of ctx: others may wait for the same answer. While Run has not begun, no resolver outside is known.
func (s *Server) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx = context.WithoutCancel(ctx)
	var both [2]*asked
	var wait sync.WaitGroup
	for i, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m := new(dns.Msg).SetQuestion(dns.Fqdn(name), typ)
		both[i] = &asked{s: s, m: m, q: m.Question[0]}
		wait.Go(func() { both[i].resolve(ctx) })
	}
	wait.Wait()
	var all []netip.Addr
	for _, a := range both {
		for _, rr := range a.m.Answer {
			switch rr := rr.(type) {
			case *dns.A:
				ip, _ := netip.AddrFromSlice(rr.A)
				all = append(all, ip.Unmap())
			case *dns.AAAA:
				ip, _ := netip.AddrFromSlice(rr.AAAA)
				all = append(all, ip)
			}
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, fmt.Errorf("look up %s: %w", name, cmp.Or(both[0].wrong(), both[1].wrong(), errors.New("it has no address")))
}

// wrong is why there is no answer; nil when there is one, be it that there is nothing.
func (a *asked) wrong() error {
	if e, ok := a.why.(*dns.EDNS0_EDE); ok {
		return errors.New(e.ExtraText)
	}
	if a.m.Rcode != dns.RcodeSuccess {
		return errors.New(dns.RcodeToString[a.m.Rcode])
	}
	return nil
}
