package authority

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"
)

// asUser is who the API takes a client with that certificate for.
func asUser(t *testing.T, m *Member, cert *tls.Certificate) (name string, dialled, accepted error) {
	t.Helper()
	accepting := m.APITLS([]string{"api.example"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	var failed error
	accepting.VerifyConnection = func(cs tls.ConnectionState) error {
		name, failed = m.User(&cs)
		return nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(m.CertificatePEM())
	dialling := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	if cert != nil {
		dialling.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	dialled, accepted = meet(t, dialling, accepting)
	if accepted == nil {
		accepted = failed
	}
	return name, dialled, accepted
}

func TestAPITLS_whoIsTheUser(t *testing.T) {
	a, _ := first(t, "blue", "a")
	other, _ := first(t, "blue", "z")
	if name, dialled, accepted := asUser(t, a, userCertificate(t, a.Authority, "eve")); name != "eve" || dialled != nil || accepted != nil {
		t.Errorf("a user: %q, %v, %v", name, dialled, accepted)
	}
	if name, dialled, accepted := asUser(t, a, nil); name != "" || dialled != nil || accepted != nil {
		t.Errorf("nobody: %q, %v, %v", name, dialled, accepted)
	}
	_, _, accepted := asUser(t, a, issued(t, a.Authority, "b"))
	mustFail(t, accepted, "podman-swarm node")
	if name, _, accepted := asUser(t, a, userCertificate(t, other.Authority, "eve")); accepted == nil || name != "" {
		t.Errorf("a user of another cluster: %q", name)
	}
}

func TestAPITLS_renewsItself(t *testing.T) {
	a, _ := first(t, "blue", "a")
	now := time.Now()
	a.options.Now = func() time.Time { return now }
	c := a.APITLS(nil, nil)
	get := func() *tls.Certificate {
		cert, err := c.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	one := get()
	if two := get(); two != one {
		t.Error("made anew for each connection")
	}
	now = now.Add(60 * day)
	if two := get(); two == one || two.Leaf.NotAfter.Sub(now) < 89*day {
		t.Errorf("holds until %v, and it is %v", two.Leaf.NotAfter, now)
	}
}

// Neither a user's certificate nor the API's stands for a node, whatever name it is for.
func TestIssue_noNodes(t *testing.T) {
	a, _ := first(t, "blue", "a")
	_, err := a.node([]*x509.Certificate{userCertificate(t, a.Authority, "b").Leaf}, time.Now())
	mustFail(t, err, "podman-swarm user")
	server, err := a.IssueServer([]string{nodeName}, nil, time.Now(), day)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.node([]*x509.Certificate{server.Leaf}, time.Now())
	mustFail(t, err, "podman-swarm api")
	if _, err := a.IssueUser("", time.Now(), day); err == nil {
		t.Error("a user without a name")
	}
}

// Nothing that the authority issues holds longer than the authority.
func TestIssue_withinTheAuthoritysLife(t *testing.T) {
	a, _ := first(t, "blue", "a")
	near := a.cert.NotAfter.Add(-day)
	cert := issuedAt(t, a.Authority, "b", near)
	if !cert.Leaf.NotAfter.Equal(a.cert.NotAfter) {
		t.Errorf("holds until %v, the authority until %v", cert.Leaf.NotAfter, a.cert.NotAfter)
	}
	if got := a.Expires(); !got.Equal(a.current.Load().Leaf.NotAfter) {
		t.Errorf("expires %v", got)
	}
	a.use(&x509.Certificate{NotAfter: a.cert.NotAfter.Add(day)})
	if got := a.Expires(); !got.Equal(a.cert.NotAfter) {
		t.Errorf("expires %v, after the authority", got)
	}
}
