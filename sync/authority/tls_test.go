package authority

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// meet connects two ends, and gives what each of them makes of the other.
func meet(t *testing.T, dialling, accepting *tls.Config) (dialled, accepted error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		done <- greet(tls.Server(conn, accepting))
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dialled = greet(tls.Client(conn, dialling))
	conn.Close()
	return dialled, <-done
}

// greet is nil when both ends have taken each other: the handshake alone returns before the other end has looked.
func greet(c *tls.Conn) error {
	if err := c.Handshake(); err != nil {
		return err
	}
	if _, err := c.Write([]byte("!")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

func TestTLS_membersMeet(t *testing.T) {
	a, _ := first(t, "blue", "a")
	b, _ := another(t, a, "b")
	var met [2]string
	dialled, accepted := meet(t,
		b.TLS(func(node string) error { met[0] = node; return nil }),
		a.TLS(func(node string) error { met[1] = node; return nil }))
	if dialled != nil || accepted != nil {
		t.Fatalf("dialler %v, acceptor %v", dialled, accepted)
	}
	if met != [2]string{"a", "b"} {
		t.Errorf("met %q", met)
	}
}

// The route's dialler is given the configuration as it is, and may clone it.
func TestTLS_strangersAreRefused(t *testing.T) {
	a, _ := first(t, "blue", "a")
	other, _ := first(t, "blue", "z")
	disguised := issued(t, other.Authority, "b")
	disguised.Certificate[1] = a.cert.Raw
	for _, c := range []struct {
		name string
		cert *tls.Certificate
		why  string
	}{
		{"another authority", issued(t, other.Authority, "b"), "of another authority"},
		{"another authority that shows ours", disguised, "of another authority"},
		{"another cluster", marked(t, a.Authority, nodeMark, "red", "b"), "for cluster \\\"red\\\""},
		{"a user", userCertificate(t, a.Authority, "b"), "podman-swarm user"},
		{"something else of a name", marked(t, a.Authority, "podman-swarm nodes", "blue", "b"), "podman-swarm nodes"},
		{"no name", marked(t, a.Authority, nodeMark, "blue", ""), "names no host"},
		{"its end is past", issuedAt(t, a.Authority, "b", time.Now().Add(-lifetime-time.Minute)), "clocks"},
		{"not yet", issuedAt(t, a.Authority, "b", time.Now().Add(slack+time.Minute)), "clocks"},
		{"the authority itself", &tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.Authority.key}, "podman-swarm authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := new(lines)
			ours := holding(t, a, said, a.current.Load(), a.Authority)
			show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
			_, accepted := meet(t, &tls.Config{InsecureSkipVerify: true, GetClientCertificate: show}, ours.TLS(anybody))
			if accepted == nil {
				t.Error("the acceptor took it")
			}
			said.mustSay(t, "level=WARN", "remote=127.0.0.1:", c.why)
			if got := ours.Refused(); got != 1 {
				t.Errorf("%d refusals counted", got)
			}

			shows := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.cert, nil }
			dialled, _ := meet(t, ours.TLS(anybody), &tls.Config{GetCertificate: shows, ClientAuth: tls.RequireAnyClientCert})
			if dialled == nil {
				t.Error("the dialler took it")
			}
		})
	}
}

func TestTLS_noCertificate(t *testing.T) {
	a, _ := first(t, "blue", "a")
	if _, accepted := meet(t, &tls.Config{InsecureSkipVerify: true}, a.TLS(anybody)); accepted == nil {
		t.Error("taken")
	}
}

func TestTLS_below13(t *testing.T) {
	a, _ := first(t, "blue", "a")
	b, _ := another(t, a, "b")
	old := b.TLS(anybody)
	old.MinVersion, old.MaxVersion = 0, tls.VersionTLS12
	if _, accepted := meet(t, old, a.TLS(anybody)); accepted == nil {
		t.Error("taken with TLS 1.2 by the acceptor")
	}
	old.GetConfigForClient = nil
	if dialled, _ := meet(t, a.TLS(anybody), old); dialled == nil {
		t.Error("taken with TLS 1.2 by the dialler")
	}
}

// Whom admit refuses is refused by whichever end asks, with its reason in the log.
func TestTLS_admit(t *testing.T) {
	a, said := first(t, "blue", "a")
	b, _ := another(t, a, "b")
	removed := errors.New("host b was removed")
	refuse := func(node string) error {
		if node == "b" {
			return removed
		}
		return nil
	}
	if _, accepted := meet(t, b.TLS(anybody), a.TLS(refuse)); !errors.Is(accepted, removed) {
		t.Errorf("the acceptor: %v", accepted)
	}
	said.mustSay(t, "remote=127.0.0.1:", "node=b", "host b was removed")
	if dialled, _ := meet(t, a.TLS(refuse), b.TLS(anybody)); !errors.Is(dialled, removed) {
		t.Errorf("the dialler: %v", dialled)
	}
	said.mustSay(t, "remote=unknown", "node=b", "host b was removed")
}

// Who is shut out tries again and again; its reason is said once a minute, and each try counted.
func TestTLS_refusalsDoNotFillTheLog(t *testing.T) {
	a, said := first(t, "blue", "a")
	b, _ := another(t, a, "b")
	now := time.Now()
	a.refusals.now = func() time.Time { return now }
	refuse := func(string) error { return errors.New("not you") }
	for range 3 {
		meet(t, b.TLS(anybody), a.TLS(refuse))
	}
	if got := strings.Count(said.String(), "not you"); got != 1 {
		t.Errorf("said %d times within a minute", got)
	}
	now = now.Add(repeat)
	meet(t, b.TLS(anybody), a.TLS(refuse))
	if got := strings.Count(said.String(), "not you"); got != 2 {
		t.Errorf("said %d times in two minutes", got)
	}
	if got := a.Refused(); got != 4 {
		t.Errorf("%d refusals counted, want 4", got)
	}
	a.refusals.say(nil, strings.Repeat("n", maxMessage), errors.New(strings.Repeat("r", maxMessage)))
	if got := len(said.String()); got > 3000 {
		t.Errorf("%d bytes are logged of what a stranger says", got)
	}
	for i := range 3 * remembered {
		a.refusals.say(nil, fmt.Sprint(i), errors.New("not you"))
	}
	if got := strings.Count(said.String(), "not you"); got > remembered || got < remembered/2 {
		t.Errorf("said %d times within a minute", got)
	}
	now = now.Add(repeat)
	before := len(said.String())
	a.refusals.say(nil, "x", errors.New("not you"))
	if len(said.String()) == before {
		t.Error("not said a minute later")
	}
}

// A renewed certificate is shown to new connections, by configurations that were made before.
func TestTLS_renewalNeedsNoReload(t *testing.T) {
	a, _ := first(t, "blue", "a")
	b, _ := another(t, a, "b")
	old := a.TLS(anybody)
	before := a.current.Load().Leaf.SerialNumber
	if err := a.renew(); err != nil {
		t.Fatal(err)
	}
	seen := b.TLS(anybody)
	check := seen.VerifyConnection
	shown := ""
	seen.VerifyConnection = func(cs tls.ConnectionState) error {
		shown = cs.PeerCertificates[0].SerialNumber.String()
		return check(cs)
	}
	if dialled, accepted := meet(t, seen, old); dialled != nil || accepted != nil {
		t.Fatalf("dialler %v, acceptor %v", dialled, accepted)
	}
	if want := a.current.Load().Leaf.SerialNumber; shown != want.String() || want.Cmp(before) == 0 {
		t.Errorf("shown %s, want %s, before %s", shown, want, before)
	}
}

// A host whose clock is of 1970 until it is told the time, or years ahead until it is set right, talks to the others from that
// moment on, and not before; nobody needs to wait until a certificate is looked at again. That goes for the host that made
// the authority, too.
func TestTLS_clockThatLeaps(t *testing.T) {
	for name, wrong := range map[string]time.Time{"behind": time.Unix(60, 0), "ahead": time.Now().AddDate(12, 0, 0)} {
		t.Run(name, func(t *testing.T) {
			now := wrong
			clock := func() time.Time { return now }
			made, err := Create(filepath.Join(t.TempDir(), "authority"), "blue", Options{Node: "a", Now: clock})
			if err != nil {
				t.Fatal(err)
			}
			now = time.Now()
			right := member(t, made, "b", time.Now, now)
			for _, m := range []*Member{made, member(t, made, "c", clock, wrong)} {
				now = wrong
				if dialled, _ := meet(t, right.TLS(anybody), m.TLS(anybody)); dialled == nil {
					t.Errorf("%s: taken with a clock at %v", m.Node(), wrong)
				}
				now = time.Now()
				if dialled, accepted := meet(t, right.TLS(anybody), m.TLS(anybody)); dialled != nil || accepted != nil {
					t.Errorf("%s, whose clock is right now: dialler %v, acceptor %v", m.Node(), dialled, accepted)
				}
				if dialled, accepted := meet(t, m.TLS(anybody), right.TLS(anybody)); dialled != nil || accepted != nil {
					t.Errorf("%s dials, and its clock is right now: dialler %v, acceptor %v", m.Node(), dialled, accepted)
				}
			}
		})
	}
}

// member is another host of a's cluster, which got its certificate at that time.
func member(t *testing.T, a *Member, name string, now func() time.Time, at time.Time) *Member {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.issueNode(name, key.Public(), at, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "authority")
	if err := install(dir, a.Authority, key, cert); err != nil {
		t.Fatal(err)
	}
	return newMember(dir, a.Authority, key, cert, Options{Node: name, Now: now}.withDefaults())
}
