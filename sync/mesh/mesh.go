package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Protocol is what a host asks for in its TLS hello (ALPN) that wants to speak to Join.
const Protocol = "podman-swarm-join/1"

// Talk is what a member asks for (ALPN) that wants to speak to the Talk of another.
const Talk = "podman-swarm-host/1"

// Mesh is this host's end of the mesh, a sync.Bus. Its exported fields are its configuration, which must not change
// after Open, and before which nothing else may be called.
type Mesh struct {
	Cluster string // who has another one gets no route; a token of a subject
	Node    string // the host's name; who has the same gets no route

	// Addr is where the other hosts and joiners connect, HOST:PORT; port 0 is any free one. Empty: no port at all, a
	// cluster of one.
	Addr string
	// Advertise is what the others are told to connect to: HOST:PORT. Empty: Addr, which then must not be a wildcard
	// that could mean several addresses.
	Advertise string
	// TLS is for routes, where a host is client and server by turns: both kinds of certificate, RootCAs and ClientCAs,
	// RequireAndVerifyClientCert, and a ServerName that all certificates of the cluster bear. Only loopback may go
	// without.
	TLS *tls.Config
	// Peers are addresses to connect to, for ever. One is enough: it tells of the others.
	Peers []string
	// Remember is the file in which the addresses of peers are kept, so that hosts that are all restarted at once find
	// each other. Empty: they are not.
	Remember string
	// Join is given each connection that asks for Protocol, its TLS handshake yet to come, and may keep it for as long
	// as it runs, which is for it to bound. It is closed when Join returns, or by Close. Nil: they are refused.
	Join func(net.Conn)
	// Talk is the same for connections that ask for the protocol Talk.
	Talk func(net.Conn)
	Log  *slog.Logger // nil: nothing is logged

	server    *server.Server
	client    *nats.Conn
	front     *front // nil: no cluster port
	log       *natsLog
	advertise string

	ctx     context.Context // of all that lives until Close
	end     context.CancelFunc
	running sync.WaitGroup // Run, and what it started

	mu         sync.Mutex
	options    *server.Options // as the server has them now
	known      *addresses
	seen       map[string]Route     // by node, when last looked
	diagnosed  map[string]time.Time // by address; of watch alone
	subscribed map[*subscription]bool
	counters   Stats
}

// Open binds the ports and starts the server: from then on Publish and Subscribe work, and peers are dialled. Who
// dials us is let in by Run. What cannot work at all is an error: an address that is taken or unsafe, names that are
// none. That no peer can be reached is none.
func (m *Mesh) Open() (err error) {
	if m.Log == nil {
		m.Log = slog.New(slog.DiscardHandler)
	}
	if err := m.check(); err != nil {
		return err
	}
	m.ctx, m.end = context.WithCancel(context.Background())
	m.seen, m.subscribed, m.diagnosed = map[string]Route{}, map[*subscription]bool{}, map[string]time.Time{}
	m.known = remembered(m.Remember, m.Log)
	m.log = newNATSLog(m.Log)
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.Addr != "" {
		if m.front, err = listen(m.Addr, m.TLS != nil, m.Join, m.Talk, m.log); err != nil {
			return fmt.Errorf("listen for other hosts on %s: %w", m.Addr, err)
		}
		if m.advertise, err = advertised(m.Advertise, m.front.listener.Addr()); err != nil {
			return err
		}
		m.log.front = m.front
	}
	if err := m.start(); err != nil || m.front == nil {
		return err
	}
	_, err = m.exchangeAddresses()
	return err
}

// Run lets other hosts in, and keeps an eye on the routes, until ctx is done or Close is called; then it returns nil.
func (m *Mesh) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.ctx.Err() != nil {
		m.mu.Unlock()
		return nil
	}
	m.running.Add(1)
	m.mu.Unlock()
	defer m.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	if m.front == nil {
		<-ctx.Done()
		return nil
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { m.watch(ctx) })
	err := m.front.serve(ctx)
	cancel()
	return err
}

// Close ends it all: when it returns, the ports are free, and no goroutine is left but those that are inside a deliver
// function. Once more does nothing.
func (m *Mesh) Close() error {
	if m.ctx == nil {
		return nil // never opened
	}
	m.mu.Lock()
	m.end()
	m.mu.Unlock()
	m.running.Wait()
	if m.front != nil {
		m.front.close()
	}
	if m.client != nil {
		m.client.Close()
	}
	if m.server != nil {
		m.server.Shutdown()
		m.server.WaitForShutdown()
	}
	return nil
}

// bound returns where we listen for other hosts; empty without a cluster port.
func (m *Mesh) bound() string {
	if m.front == nil {
		return ""
	}
	return m.front.listener.Addr().String()
}

// Advertised returns the address that the others are told to connect to; empty without a cluster port.
func (m *Mesh) Advertised() string { return m.advertise }

func (m *Mesh) check() error {
	var errs []error
	if !token(m.Cluster) {
		errs = append(errs, fmt.Errorf("cluster name %q: must be letters, digits, - and _", m.Cluster))
	}
	if m.Node == "" {
		errs = append(errs, errors.New("the host has no name"))
	}
	if m.Addr == "" {
		if len(m.Peers) > 0 {
			errs = append(errs, errors.New("peers to connect to, but no address of our own that they could connect to"))
		}
		return errors.Join(errs...)
	}
	for _, p := range m.Peers {
		if err := dialable(p); err != nil {
			errs = append(errs, err)
		}
	}
	addr, err := net.ResolveTCPAddr("tcp", m.Addr)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("address %q: %w", m.Addr, err))
	case m.TLS == nil && !addr.IP.IsLoopback():
		errs = append(errs, fmt.Errorf("no TLS, but %s is not a loopback address: anybody could join", m.Addr))
	}
	if m.TLS != nil && (slices.Contains(m.TLS.NextProtos, Protocol) || slices.Contains(m.TLS.NextProtos, Talk)) {
		errs = append(errs, fmt.Errorf("TLS for routes must not ask for %s or %s, by which others are known", Protocol, Talk))
	}
	return errors.Join(errs...)
}

// token reports whether a name can be one token of a subject, and the name of a NATS cluster.
func token(name string) bool {
	for _, r := range name {
		if r > 127 || !(r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return false
		}
	}
	return name != ""
}

func dialable(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("peer %q: want HOST:PORT: %w", addr, err)
	}
	if n, err := net.LookupPort("tcp", port); host == "" || err != nil || n == 0 {
		return fmt.Errorf("peer %q: want HOST:PORT", addr)
	}
	return nil
}

// advertised is the address that others can connect to, given where we listen.
func advertised(wanted string, bound net.Addr) (string, error) {
	if wanted != "" {
		if err := dialable(wanted); err != nil {
			return "", fmt.Errorf("advertise to %w", err)
		}
		return wanted, nil
	}
	addr := bound.(*net.TCPAddr)
	if !addr.IP.IsUnspecified() {
		return addr.String(), nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("which address to advertise: %w", err)
	}
	var global []string
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			global = append(global, net.JoinHostPort(n.IP.String(), fmt.Sprint(addr.Port)))
		}
	}
	if len(global) != 1 {
		return "", fmt.Errorf("listening on %s could mean any of %q: say which of them the other hosts shall connect to", addr, global)
	}
	return global[0], nil
}
