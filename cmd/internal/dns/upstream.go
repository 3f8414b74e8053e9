package dns

import (
	"cmp"
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	look      = 5 * time.Second  // how often it is looked whether the host has other resolvers
	lastAsked = 10 * time.Second // for how long one that did not answer is asked last
)

// upstreams are the resolvers that are asked. The zero value has none.
type upstreams struct {
	mu     sync.Mutex
	all    []*upstream
	why    string               // why there are none
	probes map[string]*upstream // names that only this server has made up, and whom they were asked of
	asking int
}

// upstream is one resolver.
type upstream struct {
	addr string // host and port

	mu    sync.Mutex
	until time.Time // until when it is asked last; zero: it answers
	loop  bool      // it asks us
}

// fails notes whether it answers, and returns whether it did not before.
func (u *upstream) fails(now bool, at time.Time) (before bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before = !u.until.IsZero()
	if u.until = (time.Time{}); now {
		u.until = at.Add(lastAsked)
	}
	return before
}

// order is in which they are asked.
func (u *upstreams) order(now time.Time) (all []*upstream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var last []*upstream
	for _, is := range u.all {
		is.mu.Lock()
		switch {
		case is.loop:
		case now.Before(is.until):
			last = append(last, is)
		default:
			all = append(all, is)
		}
		is.mu.Unlock()
	}
	return append(all, last...)
}

// where tells why there is none to ask.
func (u *upstreams) where() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return cmp.Or(u.why, "those that there are ask this host")
}

// enter takes one of the places for questions that wait; false when all are taken.
func (u *upstreams) enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asking >= maxWaits {
		return false
	}
	u.asking++
	return true
}

func (u *upstreams) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asking--
}

// set has these asked from now on. One that was there before keeps what is known of it.
func (u *upstreams) set(addrs []string, why string) (added []*upstream, changed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	changed = len(addrs) != len(u.all) || len(addrs) == 0 && u.why != why
	var all []*upstream
	for _, addr := range addrs {
		i := slices.IndexFunc(u.all, func(o *upstream) bool { return o.addr == addr })
		if i < 0 {
			added = append(added, &upstream{addr: addr})
			all = append(all, added[len(added)-1])
			continue
		}
		all = append(all, u.all[i])
	}
	u.all, u.why = all, why
	return added, changed || len(added) > 0
}

// probe makes up a name that nobody else knows, to be asked of one resolver.
func (u *upstreams) probe(of *upstream) string {
	name := strings.ToLower(rand.Text() + "." + rand.Text() + ".")
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.probes == nil {
		u.probes = map[string]*upstream{}
	}
	u.probes[name] = of
	return name
}

// looped reports whether a question is one that this server has made up: whoever was asked it asks us.
func (u *upstreams) looped(name string) bool {
	u.mu.Lock()
	of := u.probes[name]
	u.mu.Unlock()
	if of == nil {
		return false
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	of.loop = true
	return true
}

func (u *upstreams) probed(name string, of *upstream) (loop bool) {
	u.mu.Lock()
	delete(u.probes, name)
	u.mu.Unlock()
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.loop
}

// resolvers has those asked that there are now, and returns which of them are new. The file that names them is looked into
// only when it is not as it was.
func (s *Server) resolvers(was os.FileInfo) (is os.FileInfo, added []*upstream) {
	if s.Upstream != nil {
		return nil, s.use(s.Upstream, "none is given")
	}
	is, err := os.Stat(s.resolvConf())
	if err != nil {
		is = nil
	}
	if was != nil && same(was, is) {
		return is, nil
	}
	return is, s.use(readResolvers(s.resolvConf()), "there is none in "+s.resolvConf())
}

// watch keeps the list of resolvers until ctx ends, and finds out which of those that are new ask us.
func (s *Server) watch(ctx context.Context, is os.FileInfo, added []*upstream) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		s.probe(ctx, added)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if added = nil; s.Upstream == nil {
			is, added = s.resolvers(is)
		}
	}
}

func same(was, is os.FileInfo) bool {
	return os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()) && was.Size() == is.Size()
}

func (s *Server) resolvConf() string { return cmp.Or(s.ResolvConf, "/etc/resolv.conf") }

// readResolvers are those that a resolv.conf names; none where it cannot be read.
func readResolvers(path string) (all []netip.AddrPort) {
	c, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil
	}
	for _, server := range c.Servers {
		if a, err := netip.ParseAddr(server); err == nil {
			all = append(all, netip.AddrPortFrom(a, 53))
		}
	}
	return all
}

// use has these resolvers asked, but for this server itself, and returns those that are new. none is why there are none.
func (s *Server) use(all []netip.AddrPort, none string) []*upstream {
	var addrs []string
	for _, a := range all {
		if s.self(a) {
			s.log().Warn("a resolver of this host is this very server: it is not asked", "resolver", a)
			continue
		}
		if !slices.Contains(addrs, a.String()) {
			addrs = append(addrs, a.String())
		}
	}
	added, changed := s.upstreams.set(addrs, none)
	switch {
	case !changed:
	case len(addrs) == 0:
		s.log().Warn("names outside of the cluster are not resolved: there is no resolver to ask", "why", none)
	default:
		s.log().Info("names outside of the cluster are asked of these resolvers", "resolvers", addrs)
	}
	return added
}

// probe finds out which of these resolvers ask us in turn, so that they are not asked any more.
func (s *Server) probe(ctx context.Context, all []*upstream) {
	var wait sync.WaitGroup
	for _, u := range all {
		wait.Go(func() {
			name := s.upstreams.probe(u)
			_, _ = exchangeOver(ctx, "udp", u.addr, new(dns.Msg).SetQuestion(name, dns.TypeHINFO)) // what it says does not matter
			if s.upstreams.probed(name, u) {
				s.log().Warn("a resolver asks this server in turn: it is not asked any more, since that would go round in circles; "+
					"give this host another one (resolv.conf), or the agent its own", "resolver", u.addr)
			}
		})
	}
	wait.Wait()
}

// self reports whether an address is one that this server listens on. Where it listens on all, the probe finds out: another
// server may have one of them.
func (s *Server) self(a netip.AddrPort) bool {
	if a.Addr() == s.Address && a.Port() == 53 {
		return true
	}
	return slices.ContainsFunc(s.Packets, func(c net.PacketConn) bool {
		local, ok := c.LocalAddr().(*net.UDPAddr)
		return ok && local.AddrPort().Port() == a.Port() && local.AddrPort().Addr().Unmap() == a.Addr().Unmap()
	})
}
