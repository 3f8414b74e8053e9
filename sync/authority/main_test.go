package authority

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// lines is a log that a test reads.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) log() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// mustSay fails the test unless one line has all of the words.
func (l *lines) mustSay(t *testing.T, words ...string) {
	t.Helper()
	all := l.String()
	for line := range strings.Lines(all) {
		if hasAll(line, words) {
			return
		}
	}
	t.Errorf("no line of the log has all of %q:\n%s", words, all)
}

func hasAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

// mustFail fails the test unless err has all of the words.
func mustFail(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
	} else if !hasAll(err.Error(), words) {
		t.Errorf("error %q, want all of %q in it", err, words)
	}
}

// first is the first member of a new cluster, and its log.
func first(t *testing.T, cluster, node string) (*Member, *lines) {
	t.Helper()
	said := new(lines)
	m, err := Create(filepath.Join(t.TempDir(), "authority"), cluster, Options{Node: node, Log: said.log()})
	if err != nil {
		t.Fatal(err)
	}
	return m, said
}

// another is a further member of the cluster, as if it had joined, with its log.
func another(t *testing.T, of *Member, node string) (*Member, *lines) {
	t.Helper()
	said := new(lines)
	return holding(t, of, said, issued(t, of.Authority, node), of.Authority), said
}

// holding is a member that shows a certificate of our choice, and believes authority a.
func holding(t *testing.T, m *Member, said *lines, cert *tls.Certificate, a *Authority) *Member {
	t.Helper()
	o := Options{Node: cert.Leaf.Subject.CommonName, Log: said.log(), Now: m.options.Now}.withDefaults()
	other := newMember(t.TempDir(), a, m.key, nil, o)
	other.current.Store(cert)
	return other
}

// issued is a node's certificate with a key of its own.
func issued(t *testing.T, a *Authority, node string) *tls.Certificate {
	t.Helper()
	return issuedAt(t, a, node, time.Now())
}

func issuedAt(t *testing.T, a *Authority, node string, now time.Time) *tls.Certificate {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.issueNode(node, key.Public(), now, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, a.cert.Raw}, PrivateKey: key, Leaf: cert}
}

// marked is a certificate of the authority for something else than a node of it.
func marked(t *testing.T, a *Authority, mark, cluster, name string) *tls.Certificate {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.issue(x509.Certificate{Subject: subject(mark, cluster, name), DNSNames: []string{nodeName}}, key.Public(), time.Now(), day)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, a.cert.Raw}, PrivateKey: key, Leaf: cert}
}

// userCertificate is the certificate of a user, ready to be shown.
func userCertificate(t *testing.T, a *Authority, name string) *tls.Certificate {
	t.Helper()
	u, err := a.IssueUser(name, time.Now(), day)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(u.Certificate, u.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &cert
}

func anybody(string) error { return nil }

// runningLedger is a real ledger on a real log.
func runningLedger(t *testing.T) *projection.Ledger {
	t.Helper()
	log, err := events.Open(t.TempDir(), events.Options{Reserve: -1, MinFree: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	l, err := projection.OpenLedger(log, nil, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		log.Close()
	})
	return l
}

func record(t *testing.T, l *projection.Ledger, decide func(*projection.State) ([]projection.Change, error)) {
	t.Helper()
	if _, err := l.Record(context.Background(), projection.By{Actor: "test", Cause: "test"}, decide); err != nil {
		t.Fatal(err)
	}
}

// newToken is a token that holds from now on.
func newToken(t *testing.T, l *projection.Ledger, a *Authority, expires time.Time) Token {
	t.Helper()
	id := NewTokenID()
	record(t, l, func(s *projection.State) ([]projection.Change, error) { return a.AddToken(s, id, expires, time.Now()) })
	token, err := a.Token(id)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// serving answers at a port of the loopback as a cluster port does, and gives its address.
func serving(t *testing.T, s *Server) string {
	t.Helper()
	return accepting(t, s.Serve)
}

// accepting calls serve with every connection to a port of the loopback, and gives its address.
func accepting(t *testing.T, serve func(context.Context, net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serve(ctx, conn) })
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}
