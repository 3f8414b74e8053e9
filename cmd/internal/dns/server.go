package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

const (
	udpSize  = 1232                   // bytes of an answer over UDP at most: what no network fragments
	maxConns = 512                    // TCP connections of one listener at a time; one more is closed
	lastWord = 500 * time.Millisecond // for what is being answered when the server is told to end
	unread   = 2 * time.Second        // for a client over TCP to take an answer
)

// Server answers DNS questions. Its fields are its configuration and must not be changed once it runs; Source is needed.
type Server struct {
	// Source gives the table of Services. As long as it has none, every answer is SERVFAIL: "no such name" would be believed.
	Source discovery.Source
	// Host is the name of this host: its own replicas are told by their containers' addresses.
	Host   string
	Domain string // of the cluster; "": cluster.local
	// Own gives the networks whose reverse names are told from the table alone, and never asked of upstream: that of the virtual
	// addresses, and this host's of containers, which may become more at any time. It is called with every question. nil: there are none.
	Own func() []netip.Prefix
	// Address is where containers ask, such as 10.96.0.10: the address of ns.dns.DOMAIN, and never taken for an upstream.
	// Not valid: there is no such name.
	Address netip.Addr

	// Packets and Listeners are bound already. Run closes them. Where there are none, Lookup is all that answers.
	Packets   []net.PacketConn
	Listeners []net.Listener
	// From says who may ask; others are told REFUSED, and their TCP connections closed. nil: the loopback.
	From func(netip.Addr) bool

	// Allowed says whether a name outside of the cluster may be asked for: in lower case, without the last dot. nil: all.
	Allowed func(name string) bool
	// Upstream are the resolvers asked for other names, in their order. nil: those of ResolvConf, read anew when it changes.
	Upstream   []netip.AddrPort
	ResolvConf string // "": /etc/resolv.conf

	Log     *slog.Logger // nil: silent
	Metrics *Metrics     // nil: nothing is counted

	cache     cache
	flights   singleflight.Group
	upstreams upstreams
}

// Run answers until ctx ends, then what has been asked by then, for up to half a second, and returns nil. An error is of a
// socket that cannot be read any more. It must be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.Source == nil {
		return errors.New("dns: no source of Services")
	}
	g, ctx := errgroup.WithContext(ctx)
	found, added := s.resolvers(nil) // before the first question
	for _, c := range s.Packets {
		g.Go(func() error {
			return s.run(ctx, c.LocalAddr(), &dns.Server{PacketConn: c, UDPSize: 4096})
		})
	}
	for _, l := range s.Listeners {
		guarded := &guarded{Listener: l, from: s.from, free: make(chan struct{}, maxConns)}
		g.Go(func() error { return s.run(ctx, l.Addr(), &dns.Server{Listener: guarded}) })
	}
	g.Go(func() error { return s.watch(ctx, found, added) })
	return g.Wait()
}

// run serves one socket until ctx ends, and what is still being answered for a while after that. Sockets end each by itself: one that
// nobody is waiting at must not end what another has yet to say.
func (s *Server) run(ctx context.Context, at net.Addr, srv *dns.Server) error {
	life, cut := context.WithCancel(context.WithoutCancel(ctx)) // of what is being answered
	defer cut()
	srv.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { s.serve(life, w, r) })
	started, served := make(chan struct{}), make(chan error, 1)
	srv.NotifyStartedFunc = func() { close(started) }
	srv.MsgAcceptFunc = accept
	go func() { served <- srv.ActivateAndServe() }()
	select {
	case err := <-served:
		return fmt.Errorf("answer DNS on %s %s: %w", at.Network(), at, err)
	case <-started:
	}
	select {
	case err := <-served:
		return fmt.Errorf("answer DNS on %s %s: %w", at.Network(), at, cmp.Or(err, net.ErrClosed))
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	_ = srv.ShutdownContext(last) // it says only that somebody was not answered in time
	cut()
	<-served
	return nil
}

// accept leaves to answer all that is a question, whatever is wrong with it: answers that nobody asked for are passed over.
func accept(h dns.Header) dns.MsgAcceptAction {
	if h.Bits&(1<<15) != 0 {
		return dns.MsgIgnore
	}
	return dns.MsgAccept
}

// serve answers one message.
func (s *Server) serve(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) {
	began := time.Now()
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	m, zone := s.answer(ctx, r, addrOf(w.RemoteAddr()), udp)
	s.Metrics.answered(zone, m.Rcode, time.Since(began))
	if err := w.WriteMsg(m); err != nil {
		s.log().Debug("an answer was not sent", "to", w.RemoteAddr(), "err", err)
	}
}

// from reports whether who asks from there may.
func (s *Server) from(a netip.Addr) bool {
	if s.From == nil {
		return a.IsLoopback()
	}
	return a.IsValid() && s.From(a)
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// addrOf is the address of a peer; not valid where it has none.
func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// guarded is a listener that takes no connections of strangers, and not too many of others.
type guarded struct {
	net.Listener
	from func(netip.Addr) bool
	free chan struct{}
}

// Accept waits for the next connection of somebody who may ask.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !g.from(addrOf(c.RemoteAddr())) {
			_ = c.Close()
			continue
		}
		select {
		case g.free <- struct{}{}:
			return &counted{Conn: c, leave: sync.OnceFunc(func() { <-g.free })}, nil
		default: // whoever has so many open is no resolver
			_ = c.Close()
		}
	}
}

// counted is a connection that gives its place back.
type counted struct {
	net.Conn
	leave func()
}

// Write gives up a client that does not read. It would keep its place for ever, as what is read from it is all that has a deadline in dns.Server, and
// the server's end would wait for it.
func (c *counted) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(unread)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Conn.Close() // half an answer is none, and each further question of it would take as long
	}
	return n, err
}

// Close closes the connection.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
