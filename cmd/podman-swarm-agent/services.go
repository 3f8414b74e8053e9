package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/dns"
	"github.com/podman-swarm/podman-swarm/cmd/internal/ingress"
	"github.com/podman-swarm/podman-swarm/cmd/internal/sockets"
	"github.com/podman-swarm/podman-swarm/cmd/internal/vip"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// none turns a part off that is on unless told.
const none = "none"

// services is how what runs is found: views of the state, so they are there before the first container has started.
type services struct {
	catalog *discovery.Catalog
	rules   *vip.Rules // nil: Services have no address, and no names
	ingress *ingress.Metrics
	dns     *dns.Metrics
	lookup  *dns.Server    // what Ingresses look up names by, on no socket: there are hosts on which containers cannot ask
	sockets *sockets.Store // those of the ingress, which systemd holds over a restart

	secret ingress.SecretFunc // of the cluster, once they can be read

	named atomic.Bool   // whether the resolver answers
	sure  chan struct{} // closed once that is known for the first time
	mu    sync.Mutex
	parts map[string]standing
}

// standing is how one part of the services is doing.
type standing struct {
	flag string // that asks for it
	why  string // it cannot be had; "": it is
}

func (a *agent) openServices() {
	s := &a.services
	s.parts, s.sure = map[string]standing{}, make(chan struct{})
	s.catalog = &discovery.Catalog{Ledger: a.ledger, Host: a.c.NodeName, CIDR: a.c.cidr, Rootless: os.Geteuid() != 0, Boot: a.boot, Log: a.part("discovery")}
	counts := vip.NewMetrics(a.metrics.registry)
	if !a.c.cidr.IsValid() {
		s.catalog.CIDR = netip.PrefixFrom(netip.IPv4Unspecified(), 32) // in which there is none for anybody
		close(s.sure)
	} else {
		s.rules = &vip.Rules{Source: s.catalog, Host: a.c.NodeName, Cluster: a.c.ClusterName, CIDR: a.c.cidr, Log: a.part("services"), Metrics: counts}
	}
	s.ingress, s.dns = ingress.NewMetrics(), dns.NewMetrics(a.metrics.registry)
	a.metrics.registry.MustRegister(s.ingress)
	s.lookup = &dns.Server{Source: s.catalog, Host: a.c.NodeName, Allowed: a.allowedName, Log: a.part("ingress"), Metrics: s.dns}
	if s.rules != nil {
		s.lookup.Address = vip.Resolver(a.c.cidr)
	}
}

// serviceActors are what answers, each by itself: routes, which go on for some seconds with what they have begun, names, which are asked for until then,
// and all else.
func (a *agent) serviceActors() (all, routes, names []func(context.Context) error) {
	s := &a.services
	all = []func(context.Context) error{s.catalog.Run, a.giveUpSockets}
	if s.rules != nil {
		all, names = append(all, a.address), append(names, a.name)
	}
	for part, addr := range map[string]string{ingressHTTP: a.c.IngressHTTP, ingressHTTPS: a.c.IngressHTTPS} {
		if addr != none {
			routes = append(routes, func(ctx context.Context) error { return a.route(ctx, part, addr) })
		}
	}
	if len(routes) > 0 {
		names = append(names, a.lookUp)
	}
	return all, routes, names
}

// note notes how a part is doing that a flag asks for: err says why it cannot be had.
func (s *services) note(part, flag string, err error) {
	is := standing{flag: flag}
	if err != nil {
		is.why = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[part] = is
}

// serveAgain opens what serves a part, and has it serve until ctx ends. What goes wrong is said, and tried again: that names or routes cannot
// be had here is no reason for containers not to be looked after.
func (a *agent) serveAgain(ctx context.Context, part, flag string, open func() (serve func(context.Context) error, err error)) error {
	said := ""
	for {
		serve, err := open()
		a.services.note(part, flag, err)
		if err == nil {
			err = serve(ctx)
			a.services.note(part, flag, err)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			a.part("services").Warn("trying again every 10 s", "flag", "--"+flag, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Second):
		}
	}
}

// address keeps the addresses of the Services answering.
func (a *agent) address(ctx context.Context) error {
	return a.serveAgain(ctx, addresses, "service-cidr", func() (func(context.Context) error, error) { return a.services.rules.Run, nil })
}

// name answers DNS questions at the resolver's address.
func (a *agent) name(ctx context.Context) error {
	s := &a.services
	sure := sync.OnceFunc(func() { close(s.sure) })
	select {
	case <-s.rules.Ready():
	case <-ctx.Done():
		return nil
	}
	if s.rules.Chosen() != vip.Kernel {
		sure()
		a.part("dns").Warn("names of Services are not answered: without CAP_NET_ADMIN, which root has unless somebody took it, there is no address that " +
			"containers could ask at; they reach a Service by its NodePort, at this host's address")
		return nil
	}
	at := netip.AddrPortFrom(vip.Resolver(a.c.cidr), 53)
	return a.serveAgain(ctx, names, "service-cidr", func() (func(context.Context) error, error) {
		packets, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		if err != nil {
			sure()
			return nil, err
		}
		stream, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
		if err != nil {
			sure()
			return nil, errors.Join(err, packets.Close())
		}
		near := &neighbours{inside: vip.Inside}
		server := &dns.Server{Source: s.catalog, Host: a.c.NodeName, Address: at.Addr(), From: near.has,
			Own:     func() []netip.Prefix { return append(near.containers(), a.c.cidr) },
			Packets: []net.PacketConn{packets}, Listeners: []net.Listener{stream}, Log: a.part("dns"), Metrics: s.dns,
			Allowed: a.allowedName}
		a.part("dns").Info("names are answered", "address", at)
		return func(ctx context.Context) error {
			s.named.Store(true)
			sure()
			defer s.named.Store(false)
			return server.Run(ctx)
		}, nil
	})
}

func (a *agent) allowedName(name string) bool { return a.ledger.View().DNSAllows(name) }

// lookUp keeps the resolvers that names outside are looked up at for Ingresses, from the first one on.
func (a *agent) lookUp(ctx context.Context) error {
	if a.firstIngress(ctx) != nil {
		return nil
	}
	return a.services.lookup.Run(ctx)
}

// resolverWait is for how long containers are not made while it is not known whether names are answered: one that is made without the resolver
// does without names of Services for as long as it is there.
const resolverWait = 10 * time.Second

// known waits until it is known whether names are answered, or for resolverWait.
func (s *services) known(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resolverWait)
	defer cancel()
	select {
	case <-s.sure:
	case <-ctx.Done():
	}
}

// resolver is where new containers look up names; the zero Addr where the host's own resolvers are all there is.
func (s *services) resolver(cidr netip.Prefix) netip.Addr {
	if !s.named.Load() {
		return netip.Addr{}
	}
	return vip.Resolver(cidr)
}

// route serves the Ingresses at an address, from the first one on: a port that nobody asked to have used stays free.
func (a *agent) route(ctx context.Context, part, addr string) error {
	if err := a.firstIngress(ctx); err != nil {
		return nil
	}
	return a.serveAgain(ctx, part, part, func() (func(context.Context) error, error) {
		l, err := a.services.sockets.Listen(part, addr)
		if err != nil {
			return nil, whoMay(err)
		}
		server := &ingress.Server{Source: a.services.catalog, Host: a.c.NodeName, Log: a.part("ingress"), Metrics: a.services.ingress,
			Trusted: a.c.trusted, AccessLog: a.c.IngressLog, Answer: a.c.IngressAnswer,
			Secret: a.services.secret, Lookup: a.services.lookup.Lookup,
			Recovering: func() bool { r, _ := a.recovering(); return r }}
		if part == ingressHTTPS {
			server.HTTPS = l
		} else {
			server.HTTP = l
		}
		a.part("ingress").Info("Ingresses are served", "address", l.Addr(), "tls", server.HTTPS != nil)
		return server.Run, nil
	})
}

// whoMay adds to an error of listening who may, where it is that.
func whoMay(err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: only root may use ports below 1024, unless sysctl net.ipv4.ip_unprivileged_port_start allows them to all", err)
}

// giveUpSockets closes those that an earlier agent listened on and this one does not, once it knows that.
func (a *agent) giveUpSockets(ctx context.Context) error {
	if a.settle(ctx) == nil {
		a.services.sockets.Done()
	}
	return nil
}

// firstIngress waits until there is one.
func (a *agent) firstIngress(ctx context.Context) error {
	var after *discovery.Table
	for {
		news, err := a.services.catalog.Next(ctx, after)
		if err != nil {
			return err
		}
		for range news.Table.Ingresses() {
			return nil
		}
		after = news.Table
	}
}

// lookPause is between two looks at the networks: strangers who ask must not keep the host busy with them.
const lookPause = 100 * time.Millisecond

// neighbours are who may ask this host for names: itself and its containers, which are behind its bridges.
type neighbours struct {
	inside func() ([]netip.Prefix, error)

	mu    sync.Mutex
	tried time.Time // to look
	at    time.Time // of the last look that went well
	nets  []netip.Prefix
}

func (n *neighbours) has(ip netip.Addr) bool {
	if ip = ip.Unmap(); ip.IsLoopback() {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if since := time.Since(n.at); since > 10*time.Second || since > time.Second && !n.within(ip) { // a network may just have been made
		n.look()
	}
	return n.within(ip)
}

// containers are the networks of this host's containers.
func (n *neighbours) containers() []netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.at) > 10*time.Second {
		n.look()
	}
	return slices.DeleteFunc(slices.Clone(n.nets), netip.Prefix.IsSingleIP) // a host's own address may well have a name elsewhere
}

func (n *neighbours) within(ip netip.Addr) bool {
	return slices.ContainsFunc(n.nets, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func (n *neighbours) look() {
	if time.Since(n.tried) < lookPause {
		return
	}
	n.tried = time.Now()
	nets, err := n.inside()
	if err != nil {
		return // it stays as it was, and whoever asks after the pause has it looked at again
	}
	n.at, n.nets = time.Now(), nets
}

// asRoot is what a flag is unless told: the ports below 1024 are root's.
func asRoot(addr string) string {
	if os.Geteuid() == 0 {
		return addr
	}
	return none
}

// checkServices gives the mistakes in what is said of Services and Ingresses.
func (c *config) checkServices() (errs []error) {
	wrong := func(flag, value, want string) {
		errs = append(errs, fmt.Errorf("--%s %q: %s", flag, value, want))
	}
	if c.ServiceCIDR != none {
		var err error
		if c.cidr, err = netip.ParsePrefix(c.ServiceCIDR); err != nil {
			wrong("service-cidr", c.ServiceCIDR, "want a network of IPv4 addresses such as 10.96.0.0/12, or none")
		} else if err := vip.Check(c.cidr); err != nil {
			wrong("service-cidr", c.ServiceCIDR, err.Error())
		}
	}
	for _, a := range []struct{ flag, value string }{{"ingress-http", c.IngressHTTP}, {"ingress-https", c.IngressHTTPS}} {
		if a.value != none && !hostPort(a.value) {
			wrong(a.flag, a.value, "want host:port, as in :80, or none")
		}
	}
	for _, text := range c.IngressProxy {
		p, err := netip.ParsePrefix(text)
		if ip, ierr := netip.ParseAddr(text); ierr == nil {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			wrong("ingress-trusted-proxy", text, "want an address, or a network like 10.0.0.0/8")
		}
		c.trusted = append(c.trusted, p)
	}
	return errs
}
