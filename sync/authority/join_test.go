package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// cluster is a first host that answers, with its log and its ledger.
type cluster struct {
	*Member
	said   *lines
	ledger *projection.Ledger
	server *Server
	addr   string
}

func newCluster(t *testing.T, name string) *cluster {
	t.Helper()
	m, said := first(t, name, "a")
	c := &cluster{Member: m, said: said, ledger: runningLedger(t)}
	c.server = &Server{
		Member:    m,
		State:     func() *projection.State { return c.ledger.View().State },
		Admit:     func(node, _ string) error { return Removed(c.ledger.View().State, node) },
		Addresses: func() []string { return []string{"10.0.0.1:6222", "10.0.0.2:6222"} },
	}
	c.addr = serving(t, c.server)
	return c
}

func (c *cluster) token(t *testing.T) Token {
	t.Helper()
	return newToken(t, c.ledger, c.Authority, time.Time{})
}

// mustRefuseJoin joins and fails the test unless both sides say why not.
func (c *cluster) mustRefuseJoin(t *testing.T, token Token, r Request, why ...string) {
	t.Helper()
	j, err := Join(t.Context(), c.addr, token, r)
	if j != nil {
		t.Error("let in")
	}
	mustFail(t, err, append(why, c.addr)...)
	if refused := (*RefusedError)(nil); !errors.As(err, &refused) {
		t.Errorf("%v is no *RefusedError", err)
	}
	c.said.mustSay(t, append(why, "level=WARN", "remote=127.0.0.1:")...)
	if text := encode(token.secret[:]); strings.Contains(c.said.String()+fmt.Sprint(err), text) {
		t.Error("the secret was said")
	}
}

// The whole way: a second host joins by the first, and a third by the second, with a token that the second prints.
func TestJoin_makesAMember(t *testing.T) {
	a := newCluster(t, "blue")
	token := a.token(t)
	dir := filepath.Join(t.TempDir(), "authority")
	j, err := Join(t.Context(), a.addr, token, Request{Node: "b", Instance: "7", Version: "1.2"})
	if err != nil {
		t.Fatal(err)
	}
	if j.Cluster() != "blue" || !slices.Equal(j.Addresses, a.server.Addresses()) {
		t.Errorf("joined %q of %v", j.Cluster(), j.Addresses)
	}
	a.said.mustSay(t, "level=INFO", "node=b", token.ID(), "version=1.2")
	b, err := j.Install(dir, Options{Node: "b"})
	if err != nil {
		t.Fatal(err)
	}
	before := b.current.Load().Leaf.SerialNumber
	if b, err = Open(dir, Options{Node: "b"}); err != nil {
		t.Fatal(err)
	}
	if b.current.Load().Leaf.SerialNumber.Cmp(before) != 0 {
		t.Error("the certificate that was given was not kept")
	}
	if dialled, accepted := meet(t, b.TLS(anybody), a.TLS(anybody)); dialled != nil || accepted != nil {
		t.Errorf("b to a: %v, %v", dialled, accepted)
	}

	printed, _, ok := b.CurrentToken(a.ledger.View().State, time.Now())
	if !ok || printed != token {
		t.Fatalf("b prints %v, a %v", printed, token)
	}
	second := *a.server
	second.Member = b
	j, err = Join(t.Context(), serving(t, &second), printed, Request{Node: "c"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := j.Install(filepath.Join(t.TempDir(), "authority"), Options{Node: "c"})
	if err != nil {
		t.Fatal(err)
	}
	if dialled, accepted := meet(t, a.TLS(anybody), c.TLS(anybody)); dialled != nil || accepted != nil {
		t.Errorf("a to c: %v, %v", dialled, accepted)
	}
	if a.Refused() != 0 {
		t.Errorf("refusals:\n%s", a.said)
	}
}

func TestJoin_neverOverAnotherAuthority(t *testing.T) {
	a := newCluster(t, "blue")
	j, err := Join(t.Context(), a.addr, a.token(t), Request{Node: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Install(created(t), Options{Node: "b"}); err == nil {
		t.Error("installed over another authority")
	}
}

func TestJoin_tokensThatAreNoGood(t *testing.T) {
	a := newCluster(t, "blue")
	joiner := Request{Node: "b"}

	old := a.token(t)
	id := NewTokenID()
	record(t, a.ledger, func(s *projection.State) ([]projection.Change, error) { return a.RotateTokens(s, id, time.Time{}) })
	a.mustRefuseJoin(t, old, joiner, old.ID(), "rotated")

	expired := newToken(t, a.ledger, a.Authority, time.Now().Add(-time.Minute))
	a.mustRefuseJoin(t, expired, joiner, expired.ID(), "expired at")

	wrong, _ := a.Token(id)
	wrong.secret[3] ^= 1
	a.mustRefuseJoin(t, wrong, joiner, "wrong")
}

// With a token of another cluster, or none, the secret is not even said; and still both sides say why.
func TestJoin_tokenOfAnotherCluster(t *testing.T) {
	a := newCluster(t, "blue")
	red := newCluster(t, "red")
	_, err := Join(t.Context(), a.addr, red.token(t), Request{Node: "b"})
	mustFail(t, err, a.addr, "not of the cluster that the join token is of")
	a.said.mustSay(t, "node=b", "the join token is of another cluster", red.Digest().String()[:12])
	_, err = Join(t.Context(), a.addr, Token{}, Request{Node: "c"})
	mustFail(t, err, a.addr, "there is no join token")
	a.said.mustSay(t, "node=c", "there is no join token")
}

// An end that cannot show the authority gets no secret, whatever else it shows.
func TestJoin_saysTheTokenToItsOwnClusterOnly(t *testing.T) {
	a := newCluster(t, "blue")
	token := a.token(t)
	user := userCertificate(t, a.Authority, "b")
	user.Certificate = append(user.Certificate, a.cert.Raw)
	stranger, _ := first(t, "blue", "z")
	disguised := issued(t, stranger.Authority, "a")
	disguised.Certificate[1] = a.cert.Raw
	for name, cert := range map[string]*tls.Certificate{
		"another authority": stranger.current.Load(), "one that shows ours": disguised, "a user": user,
	} {
		heard := make(chan request, 1)
		addr := accepting(t, func(_ context.Context, conn net.Conn) {
			defer conn.Close()
			c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{Protocol}})
			q, _ := decodeRequest(c)
			heard <- q
			json.NewEncoder(c).Encode(answer{})
		})
		if _, err := Join(t.Context(), addr, token, Request{Node: "b"}); err == nil {
			t.Errorf("%s: taken", name)
		}
		if q := <-heard; q.Token != "" || q.Node != "b" {
			t.Errorf("%s: it heard %+v", name, q)
		}
	}
}

func TestJoin_hostsThatAreNotAdmitted(t *testing.T) {
	a := newCluster(t, "blue")
	token := a.token(t)
	record(t, a.ledger, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: "trust", Key: projection.MemberKey("b"), Object: projection.Encode(projection.Member{Removed: true, Why: "sold"})}}, nil
	})
	a.mustRefuseJoin(t, token, Request{Node: "b"}, "host b was removed from the cluster: sold")

	a.server.Admit = func(node, instance string) error {
		return fmt.Errorf("another agent of name %s lives, and this is %s", node, instance)
	}
	a.mustRefuseJoin(t, token, Request{Node: "a", Instance: "7"}, "another agent of name a lives, and this is 7")
	a.server.Admit = func(string, string) error { return fmt.Errorf("it is alive: %w", ErrInUse) }
	_, err := Join(t.Context(), a.addr, token, Request{Node: "c"})
	var refused *RefusedError
	if !errors.As(err, &refused) || !refused.InUse || refused.Again {
		t.Errorf("a name that is in use: got %+v, %v", refused, err)
	}
	a.mustRefuseJoin(t, token, Request{Node: "A b"}, "want small letters")
	a.mustRefuseJoin(t, token, Request{}, "the host's name", "there is none")
}

// A host that is told to be of a cluster of another name gets nothing, and both sides say why.
func TestJoin_clusterOfAnotherName(t *testing.T) {
	a := newCluster(t, "blue")
	token := a.token(t)
	a.mustRefuseJoin(t, token, Request{Node: "b", Cluster: "red"}, "its --cluster-name is", "start it with --cluster-name blue")
	for _, said := range []string{"blue", ""} { // earlier versions do not say it
		if _, err := Join(t.Context(), a.addr, token, Request{Node: "b", Cluster: said}); err != nil {
			t.Errorf("%q: %v", said, err)
		}
	}
}

// ask sends any request as a joiner would, and gives the answer.
func (c *cluster) ask(t *testing.T, own *tls.Certificate, q request) error {
	t.Helper()
	_, err := talk(t.Context(), c.addr, own, func([]*x509.Certificate) request { return q })
	return err
}

func csr(t *testing.T, node string, curve elliptic.Curve) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: node}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestServe_requestsThatAreNoGood(t *testing.T) {
	a := newCluster(t, "blue")
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "b"}}, edwards)
	if err != nil {
		t.Fatal(err)
	}
	forged := csr(t, "b", elliptic.P256())
	forged[len(forged)-1] ^= 1
	for why, q := range map[string]request{
		"which this version does not know": {Op: "leave"},
		"there is no join token":           {Op: opJoin, Authority: a.Digest(), Node: "b", CSR: csr(t, "b", elliptic.P256())},
		"cannot be read":                   {CSR: []byte("hello")},
		"not signed by the key":            {CSR: forged},
		`request is for "c"`:               {CSR: csr(t, "c", elliptic.P256())},
		"not ECDSA P-256":                  {CSR: csr(t, "b", elliptic.P384())},
		"key that is not ECDSA":            {CSR: other},
	} {
		if q.Op == "" {
			q.Op, q.Authority, q.Node, q.Token = opJoin, a.Digest(), "b", a.token(t).Text()
		}
		err := a.ask(t, nil, q)
		if refused := (*RefusedError)(nil); !errors.As(err, &refused) {
			t.Errorf("%s: got %v", why, err)
			continue
		}
		mustFail(t, err, why)
		a.said.mustSay(t, "level=WARN", strings.ReplaceAll(why, `"`, `\"`))
	}
}

// A request that never ends is cut off, and answered all the same.
func TestServe_oversizedRequest(t *testing.T) {
	a := newCluster(t, "blue")
	err := a.ask(t, nil, request{Op: opHello, Version: strings.Repeat("x", 2*maxMessage)})
	mustFail(t, err, "longer than")
	a.said.mustSay(t, "longer than")
}

// What a server gives is checked before it is installed: a start would refuse it.
func TestJoin_answersThatAreNoGood(t *testing.T) {
	a, _ := first(t, "blue", "a")
	other, _ := first(t, "blue", "z")
	key, _ := newKey()
	good := func() answer {
		cert, err := a.issueNode("b", key.Public(), time.Now(), day)
		if err != nil {
			t.Fatal(err)
		}
		root, err := x509.MarshalPKCS8PrivateKey(a.Authority.key)
		if err != nil {
			t.Fatal(err)
		}
		return answer{Certificate: cert.Raw, Authority: a.cert.Raw, Key: root}
	}
	if _, err := accept(good(), a.Digest(), key, "b"); err != nil {
		t.Fatal(err)
	}
	foreign, _ := x509.MarshalPKCS8PrivateKey(other.Authority.key)
	for name, change := range map[string]func(*answer){
		"no certificate":    func(r *answer) { r.Certificate = nil },
		"no authority":      func(r *answer) { r.Authority = nil },
		"another authority": func(r *answer) { r.Authority = other.cert.Raw },
		"all of another authority": func(r *answer) {
			cert, err := other.issueNode("b", key.Public(), time.Now(), day)
			if err != nil {
				t.Fatal(err)
			}
			r.Certificate, r.Authority, r.Key = cert.Raw, other.cert.Raw, foreign
		},
		"no key":                       func(r *answer) { r.Key = nil },
		"another authority's key":      func(r *answer) { r.Key = foreign },
		"another authority's own":      func(r *answer) { r.Certificate = issued(t, other.Authority, "b").Leaf.Raw },
		"a certificate of another key": func(r *answer) { r.Certificate = issued(t, a.Authority, "b").Leaf.Raw },
		"a user's certificate":         func(r *answer) { r.Certificate = userCertificate(t, a.Authority, "b").Leaf.Raw },
	} {
		r := good()
		change(&r)
		if _, err := accept(r, a.Digest(), key, "b"); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := accept(good(), a.Digest(), key, "c"); err == nil {
		t.Error("a certificate for another name: taken")
	}
}

func TestJoin_whoIsNoAgent(t *testing.T) {
	a := newCluster(t, "blue")
	token := a.token(t)
	for _, c := range []struct{ says, why string }{
		{"", "handshake"},
		{"HTTP/1.1 400 Bad Request\r\n", "handshake"},
		{"INFO {}\r\n", "handshake"},
	} {
		addr := accepting(t, func(_ context.Context, conn net.Conn) {
			io.WriteString(conn, c.says)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
			conn.Close()
		})
		_, err := Join(t.Context(), addr, token, Request{Node: "b"})
		mustFail(t, err, addr, c.why)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	_, err = Join(t.Context(), gone.Addr().String(), token, Request{Node: "b"})
	mustFail(t, err, "connection refused")
}

func TestJoin_endsWithItsContext(t *testing.T) {
	a := newCluster(t, "blue")
	ctx, cancel := context.WithCancel(t.Context())
	addr := accepting(t, func(_ context.Context, conn net.Conn) {
		cancel() // and it says nothing
		io.Copy(io.Discard, conn)
		conn.Close()
	})
	if _, err := Join(ctx, addr, a.token(t), Request{Node: "b"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestHello_stillWelcome(t *testing.T) {
	a := newCluster(t, "blue")
	b, _ := another(t, a.Member, "b")
	got, err := b.Hello(t.Context(), a.addr, Request{Node: "not used", Instance: "7"})
	if err != nil || !slices.Equal(got, a.server.Addresses()) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestHello_whoIsNotWelcome(t *testing.T) {
	a := newCluster(t, "blue")
	a.server.Admit = func(node, instance string) error {
		return fmt.Errorf("host %s, %s, is not welcome", node, instance)
	}
	b, _ := another(t, a.Member, "b")
	_, err := b.Hello(t.Context(), a.addr, Request{Instance: "7"})
	mustFail(t, err, a.addr, "host b, 7, is not welcome")
	a.said.mustSay(t, "remote=127.0.0.1:", "node=b", "host b, 7, is not welcome")

	stranger, _ := first(t, "blue", "z")
	_, err = stranger.Hello(t.Context(), a.addr, Request{})
	mustFail(t, err, a.addr, "its certificate is of another authority", "refuses this host")
	a.said.mustSay(t, "node=z", "its certificate is of another authority")

	hello := func(node string) request { return request{Op: opHello, Node: node, Authority: a.Digest()} }
	mustFail(t, a.ask(t, nil, hello("b")), "no certificate")
	mustFail(t, a.ask(t, userCertificate(t, a.Authority, "b"), hello("b")), "podman-swarm user")
	mustFail(t, a.ask(t, marked(t, a.Authority, nodeMark, "red", "b"), hello("b")), `for cluster "red"`)
	mustFail(t, a.ask(t, issued(t, a.Authority, "b"), hello("c")), `its certificate is for "b"`)
}

// A member believes no addresses of an end that is not of its cluster.
func TestHello_onlyToItsOwnCluster(t *testing.T) {
	a, _ := first(t, "blue", "a")
	z, _ := first(t, "blue", "z")
	addr := accepting(t, func(_ context.Context, conn net.Conn) {
		defer conn.Close()
		c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*z.current.Load()}, NextProtos: []string{Protocol}})
		decodeRequest(c)
		json.NewEncoder(c).Encode(answer{Addresses: []string{"10.6.6.6:6222"}})
	})
	got, err := a.Hello(t.Context(), addr, Request{})
	mustFail(t, err, "of another authority")
	if got != nil || !errors.Is(err, ErrStranger) {
		t.Errorf("believed %v, %v", got, err)
	}
}

// Who has but got hold of a member's address cannot have a host believe that it is no member any more, in whatever words.
func TestHello_aStrangerCannotRefuse(t *testing.T) {
	a, _ := first(t, "blue", "a")
	z, _ := first(t, "blue", "z")
	for who, cert := range map[string]*tls.Certificate{"another cluster's member": z.current.Load(), "a user of this cluster": userCertificate(t, a.Authority, "u")} {
		addr := accepting(t, func(_ context.Context, conn net.Conn) {
			defer conn.Close()
			c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{Protocol}})
			decodeRequest(c)
			json.NewEncoder(c).Encode(answer{Error: "the host was removed"})
		})
		_, err := a.Hello(t.Context(), addr, Request{})
		mustFail(t, err, "the host was removed")
		if refused := (*RefusedError)(nil); errors.As(err, &refused) || !errors.Is(err, ErrStranger) {
			t.Errorf("%s: its refusal counts: %v", who, err)
		}
	}
}

// Who does not speak the protocol is sent away before anything is read of it.
func TestServe_otherProtocols(t *testing.T) {
	for why, protocols := range map[string][]string{"does not ask for " + Protocol: nil, "handshake": {"h2"}} {
		m, said := first(t, "blue", "a")
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			(&Server{Member: m}).Serve(t.Context(), ours)
			close(done)
		}()
		c := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
		if err := c.Handshake(); err == nil {
			if b, err := io.ReadAll(c); len(b) > 0 || protocols != nil {
				t.Errorf("%q: it says %q, %v", protocols, b, err)
			}
		}
		theirs.Close()
		<-done
		said.mustSay(t, why)
	}
}

// slowly serves a host that goes on writing b at that pace for as long as it may, and gives how long that was. shake
// has it do the handshake first.
func slowly(t *testing.T, dir string, b string, pace time.Duration, shake bool) (took time.Duration, said *lines) {
	t.Helper()
	said = new(lines)
	m, err := Create(dir, "blue", Options{Node: "a", Log: said.log()})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	began := time.Now()
	var all sync.WaitGroup
	all.Go(func() {
		(&Server{Member: m}).Serve(t.Context(), ours)
		took = time.Since(began)
		theirs.Close()
	})
	var host io.ReadWriter = theirs
	if shake {
		c := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{Protocol}})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		host = c
	}
	all.Go(func() { io.Copy(io.Discard, host) })
	all.Go(func() {
		for {
			time.Sleep(pace)
			if _, err := io.WriteString(host, b); err != nil {
				return
			}
		}
	})
	all.Wait()
	return took, said
}

// A host that says its part a byte at a time, or nothing at all, is given ten seconds in all.
func TestServe_slowHosts(t *testing.T) {
	for _, c := range []struct {
		name, says string
		pace       time.Duration
		shake      bool
		why        string
	}{
		{"slow handshake", "\x16", time.Second, false, "handshake"},
		{"silent", "\x16", time.Hour, false, "handshake"},
		{"slow request", " ", time.Second, true, "its request"},
		{"no request", " ", time.Hour, true, "its request"},
		{"garbage", "GET / HTTP/1.1\r\n\r\n", time.Second, false, "handshake"},
		{"garbage for a request", "hello", time.Second, true, "its request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "authority")
			synctest.Test(t, func(t *testing.T) {
				took, said := slowly(t, dir, c.says, c.pace, c.shake)
				if took > patience {
					t.Errorf("held for %v", took)
				}
				said.mustSay(t, "level=WARN", c.why)
			})
		})
	}
}

// Serve ends with its context, whatever the other end does, and that is no refusal.
func TestServe_endsWithItsContext(t *testing.T) {
	m, said := first(t, "blue", "a")
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		(&Server{Member: m}).Serve(ctx, ours)
		close(done)
	}()
	cancel()
	<-done
	if m.Refused() != 0 {
		t.Errorf("refusals:\n%s", said)
	}
}

// So it does while it waits for a request.
func TestServe_endsWithItsContextAfterTheHandshake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	synctest.Test(t, func(t *testing.T) {
		c, done := piped(t, dir, time.Second)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if took := <-done; took > time.Second {
			t.Errorf("held for %v", took)
		}
	})
}

// A host that says too much is heard out within reason: cut off while it still speaks, it would not hear the answer.
func TestServe_hearsOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	synctest.Test(t, func(t *testing.T) {
		c, done := piped(t, dir, time.Minute)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		heard := make(chan string)
		go func() {
			b, _ := io.ReadAll(c)
			heard <- string(b)
		}()
		if _, err := io.WriteString(c, "\""+strings.Repeat("x", 4*maxMessage)); err != nil {
			t.Error(err)
		}
		if got := <-heard; !strings.Contains(got, "longer than") {
			t.Errorf("heard %q", got)
		}
		c.NetConn().Close()
		<-done
	})
}

// piped is a host's end of a connection that is served until its context ends after a while, and how long that was.
func piped(t *testing.T, dir string, within time.Duration) (*tls.Conn, <-chan time.Duration) {
	t.Helper()
	m, err := Create(dir, "blue", Options{Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	done := make(chan time.Duration, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		began := time.Now()
		(&Server{Member: m}).Serve(ctx, ours)
		done <- time.Since(began)
	}()
	return tls.Client(theirs, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{Protocol}}), done
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"op":"join","node":"b","token":"PSWTKN-1-a-b-c","authority":"","csr":"AAAA"}`))
	f.Add([]byte(`{"op":"hello","unknown":[1,{"a":null}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := decodeRequest(strings.NewReader(string(b)))
		if err != nil {
			return
		}
		encoded, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeRequest(strings.NewReader(string(encoded)))
		if len(encoded) < maxMessage && (err != nil || again.Op != q.Op || again.Token != q.Token || string(again.CSR) != string(q.CSR)) {
			t.Errorf("%+v was read back as %+v, %v", q, again, err)
		}
		if _, err := checkCSR(q.CSR, q.Node); err == nil && checkName(q.Node) == nil && len(q.CSR) == 0 {
			t.Error("an empty request for a certificate was taken")
		}
	})
}
