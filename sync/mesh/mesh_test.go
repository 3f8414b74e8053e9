package mesh

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	peersync "github.com/podman-swarm/podman-swarm/sync"
	"github.com/podman-swarm/podman-swarm/sync/peertest"
)

// patience is how long a test waits for what must happen.
const patience = 40 * time.Second

// authority issues certificates for a cluster of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

const tlsName = "node.swarm.internal"

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

// node is the TLS configuration of one host.
func (a *authority) node(t testing.TB, name string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{tlsName}, KeyUsage: x509.KeyUsageDigitalSignature, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	own := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{RootCAs: a.pool, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		ServerName:           tlsName,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &own, nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }}
}

// lines is a log that a test reads, while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) has(what string) bool { return strings.Contains(l.String(), what) }

// host is a mesh that runs.
type host struct {
	*Mesh
	lines *lines
	stop  func()
}

// run opens a mesh, on loopback if it does not say where, and runs it until the test ends or stop is called.
func run(t testing.TB, m *Mesh) *host {
	t.Helper()
	h := &host{Mesh: m, lines: &lines{}}
	m.Log = slog.New(slog.NewTextHandler(h.lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if m.Addr == "" {
		m.Addr = "127.0.0.1:0"
	}
	if m.Cluster == "" {
		m.Cluster = "test"
	}
	if err := m.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		h.stop()
		if t.Failed() {
			t.Logf("%s:\n%s", m.Node, h.lines)
		}
	})
	return h
}

// until waits for something to become true.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-timeout.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (h *host) peers() string {
	var names []string
	for _, r := range h.Routes() {
		names = append(names, r.Node)
	}
	return strings.Join(names, " ")
}

// meshed waits until each host has a route to each other.
func meshed(t testing.TB, hosts ...*host) {
	t.Helper()
	for _, h := range hosts {
		until(t, h.Node+" is connected to all others", func() bool { return len(h.Routes()) == len(hosts)-1 })
	}
}

// start starts hosts of which the others know only the first.
func start(t testing.TB, n int, secure func(node string) *tls.Config) []*host {
	t.Helper()
	hosts := make([]*host, n)
	for i := range hosts {
		m := &Mesh{Node: fmt.Sprintf("host%d", i)}
		if secure != nil {
			m.TLS = secure(m.Node)
		}
		if i > 0 {
			m.Peers = []string{hosts[0].Advertised()}
		}
		hosts[i] = run(t, m)
	}
	return hosts
}

func TestMesh_conforms(t *testing.T) {
	a := newAuthority(t)
	peertest.Conformance(t, func(t *testing.T) (x, y, z peersync.Bus) {
		hosts := start(t, 3, func(node string) *tls.Config { return a.node(t, node) })
		meshed(t, hosts...)
		return hosts[0], hosts[1], hosts[2]
	})
}

func TestMesh_formsFromOneSeed(t *testing.T) {
	a := newAuthority(t)
	for _, c := range []struct {
		name   string
		secure func(node string) *tls.Config
	}{
		{"plain", nil},
		{"mutualTLS", func(node string) *tls.Config { return a.node(t, node) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			hosts := start(t, 5, c.secure)
			meshed(t, hosts...)
			if got, want := hosts[2].peers(), "host0 host1 host3 host4"; got != want {
				t.Errorf("got routes to %q, want %q", got, want)
			}
			until(t, "a round-trip time", func() bool { return hosts[2].Routes()[0].RTT > 0 })
		})
	}
}
