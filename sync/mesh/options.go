package mesh

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

const (
	// A route on which nothing has come back for two to three pings is closed, and dialled anew. userTimeout finds a dead
	// one much earlier; pings are for what it does not see, and measure the way there and back.
	pingEvery   = 30 * time.Second
	maxPingsOut = 2
	// A peer that does not read for so long loses its route, and what is queued for it. Nobody waits for it meanwhile.
	writeDeadline = 10 * time.Second
	maxPayload    = 1 << 20 // bytes: what NATS calls sound, and all of its clients accept

	startTimeout = 10 * time.Second
	tlsTimeout   = 5 * time.Second
	authTimeout  = 10 * time.Second
)

// start starts the server and the client in this process.
func (m *Mesh) start() error {
	user, err := nkeys.CreateUser()
	if err != nil {
		return fmt.Errorf("make a key for the local NATS client: %w", err)
	}
	public, err := user.PublicKey()
	if err != nil {
		return fmt.Errorf("make a key for the local NATS client: %w", err)
	}
	o := m.serverOptions(public)
	m.options = o
	if m.server, err = server.NewServer(o.Clone()); err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	m.server.SetLoggerV2(m.log, true, false, false)
	m.server.Start()
	if err := m.ready(); err != nil {
		return err
	}
	if m.front != nil {
		m.front.backend.Store(m.server.ClusterAddr())
		m.options.Cluster.Port = m.server.ClusterAddr().Port
	}
	if a, ok := m.server.Addr().(*net.TCPAddr); ok && !m.options.DontListen {
		m.options.Port = a.Port
	}
	m.client, err = nats.Connect("", nats.InProcessServer(m.server), nats.Nkey(public, user.Sign), nats.NoEcho(),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.Name("podman-swarm-agent"),
		nats.ErrorHandler(m.clientError), nats.DisconnectErrHandler(m.clientLost))
	if err != nil {
		return fmt.Errorf("connect to embedded NATS: %w", err)
	}
	return nil
}

// ready waits for the server. It does not say by itself that it has given up, but for its log.
func (m *Mesh) ready() error {
	for began := time.Now(); !m.server.ReadyForConnections(100 * time.Millisecond); {
		if err := m.log.fatal(); err != nil {
			return fmt.Errorf("embedded NATS: %w", err)
		}
		if time.Since(began) > startTimeout {
			return fmt.Errorf("embedded NATS is not ready after %v", startTimeout)
		}
	}
	return nil
}

func (m *Mesh) serverOptions(public string) *server.Options {
	o := &server.Options{
		ServerName:      m.Node,
		Host:            "127.0.0.1", // where it listens for clients, of whom it knows none but this process: NATS has no routes without
		Port:            server.RANDOM_PORT,
		NoSigs:          true,
		NoLog:           true, // but to natsLog
		NoSystemAccount: true, // whose statistics are of N² size, and all the idle traffic there is
		MaxPayload:      maxPayload,
		MaxConn:         64,
		Nkeys:           []*server.NkeyUser{{Nkey: public}},
		// One slow route must not stall the publisher for the others.
		NoFastProducerStall:   true,
		ReconnectErrorReports: math.MaxInt32, // natsLog says it once
		ConnectErrorReports:   math.MaxInt32,
	}
	if m.front == nil {
		o.DontListen = true
		return o
	}
	o.Cluster = server.ClusterOpts{
		Name: m.Cluster, Host: "127.0.0.1", Port: server.RANDOM_PORT, Advertise: m.advertise,
		NoAdvertise: true, // to clients; routes are gossiped all the same
		PoolSize:    -1,   // one connection per pair of hosts
		Compression: server.CompressionOpts{Mode: server.CompressionOff},
		// 0, the default, gives up a route that gossip found after one attempt. No back-off: it grows to 30 s, and then a
		// cut that is healed stays one for as long; a dial a second to a host that is away costs nothing that counts.
		ConnectRetries: math.MaxInt32,
		PingInterval:   pingEvery, MaxPingsOut: maxPingsOut,
		WriteDeadline: writeDeadline,
		AuthTimeout:   authTimeout.Seconds(), TLSTimeout: tlsTimeout.Seconds(),
	}
	if m.TLS != nil {
		o.Cluster.TLSConfig = m.TLS.Clone()
	}
	for _, addr := range m.known.dial(m.Peers, m.advertise) {
		o.Routes = append(o.Routes, routeURL(addr))
	}
	return o
}

// routeURL is an address in the form in which gossip has it: NATS compares them to the letter.
func routeURL(addr string) *url.URL { return &url.URL{Scheme: "nats-route", Host: addr, Path: "/"} }

// AddPeers connects to more addresses, for ever. Those that it connects to already, and our own, change nothing.
func (m *Mesh) AddPeers(addrs ...string) error {
	var errs []error
	for _, a := range addrs {
		if err := dialable(a); err != nil {
			errs = append(errs, err)
		}
	}
	if m.front == nil && len(addrs) > 0 {
		errs = append(errs, errors.New("a cluster of one, without an address that peers could connect to, connects to nobody"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return m.reroute(func(routes map[string]bool) {
		for _, a := range addrs {
			if a != m.advertise {
				routes[a] = true
			}
		}
	})
}

// reroute changes which addresses the server dials by configuration.
func (m *Mesh) reroute(change func(map[string]bool)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return nats.ErrConnectionClosed
	}
	routes := map[string]bool{}
	for _, u := range m.options.Routes {
		routes[u.Host] = true
	}
	before := len(routes)
	change(routes)
	next := m.options.Clone()
	next.Routes = nil
	for _, u := range m.options.Routes { // in their old order: a reload compares
		if routes[u.Host] {
			next.Routes = append(next.Routes, u)
			delete(routes, u.Host)
		}
	}
	if len(next.Routes) == before && len(routes) == 0 {
		return nil
	}
	for addr := range routes {
		next.Routes = append(next.Routes, routeURL(addr))
	}
	if err := m.server.ReloadOptions(next.Clone()); err != nil {
		return fmt.Errorf("tell embedded NATS of its peers: %w", err)
	}
	m.options = next
	return nil
}
