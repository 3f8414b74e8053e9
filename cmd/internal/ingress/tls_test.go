package ingress

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// pair is a certificate for names, and its key.
func pair(t testing.TB, names ...string) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})
}

// secrets stands for those of the cluster.
type secrets struct {
	mu  sync.Mutex
	all map[string][3]string // certificate, key, version
}

func (s *secrets) set(name, cert, key, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[name] = [3]string{cert, key, version}
}

func (s *secrets) get(_, name string) ([]byte, []byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.all[name]
	if !ok {
		return nil, nil, "", errors.New("there is no such Secret")
	}
	return []byte(v[0]), []byte(v[1]), v[2], nil
}

// shown is the name on the certificate that a client is shown.
func shown(t *testing.T, r *running, name string) string {
	t.Helper()
	c, err := tls.Dial("tcp", r.tls, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestServer_certificates(t *testing.T) {
	all := &secrets{all: map[string][3]string{}}
	for _, name := range []string{"a.com", "wild", "unnamed"} {
		cert, key := pair(t, name)
		all.set(name, string(cert), string(key), "1")
	}
	all.set("broken", "no certificate", "no key", "1")
	var said lockedBuffer
	r := start(t, func(s *Server) { s.Secret, s.Log = all.get, slog.New(slog.NewTextHandler(&said, nil)) })
	i := declared("a", 1, rule{"unnamed.org/", "Prefix", "web"})
	i.Spec.TLS = []networkingv1.IngressTLS{
		{Hosts: []string{"broken.com", "a.com"}, SecretName: "broken"},
		{Hosts: []string{"a.com"}, SecretName: "a.com"},
		{Hosts: []string{"*.a.com"}, SecretName: "wild"},
		{Hosts: []string{"gone.com"}, SecretName: "gone"},
		{SecretName: "unnamed"},
	}
	const fallback = "Podman Swarm ingress default certificate"
	if got := shown(t, r, "a.com"); got != fallback {
		t.Errorf("before there is a table: got %q, want the default certificate", got)
	}
	r.put(t, nil, i)
	for name, want := range map[string]string{
		"a.com": "a.com", "A.com": "a.com", "b.a.com": "wild", "c.b.a.com": fallback, "broken.com": fallback, "gone.com": fallback, "unnamed.org": "unnamed",
		"other.org": fallback, "": fallback,
	} {
		if got := shown(t, r, name); got != want {
			t.Errorf("%q: got the certificate of %q, want %q", name, got, want)
		}
	}
	cert, key := pair(t, "renewed")
	all.set("a.com", string(cert), string(key), "2")
	eventually(t, func() bool { return shown(t, r, "a.com") == "renewed" }, "the Secret's change was never seen")
	all.set("a.com", string(cert), "no key", "3")
	<-time.After(2 * r.secretAge)
	if got := shown(t, r, "a.com"); got != "renewed" {
		t.Errorf("after the Secret went bad: got %q, want the one before", got)
	}
	edited := declared("a", 1, rule{"unnamed.org/", "Prefix", "other"})
	edited.Spec.TLS = i.Spec.TLS
	r.put(t, nil, edited)
	if got := shown(t, r, "a.com"); got != "renewed" {
		t.Errorf("after its Ingress was edited as well: got %q, want the one before", got)
	}
	if _, err := tls.Dial("tcp", r.tls, &tls.Config{MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := said.String(); strings.Count(got, "secret=default/broken") != 1 || bytes.Contains([]byte(got), key) || strings.Contains(got, "PRIVATE") {
		t.Errorf("got %s, want each bad Secret named once and no key", got)
	}
}

// When a Secret's certificate ends, and which Secrets there are to look at.
func TestExpires(t *testing.T) {
	long, key := pair(t, "a.test")
	got, err := Expires(long, key)
	if left := time.Until(got); err != nil || left < 59*time.Minute || left > time.Hour {
		t.Errorf("got %v, %v; want that it ends within the hour", got, err)
	}
	// What signs it ends earlier: then the chain does.
	short, err := x509.ParseCertificate(der(t, long))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tls.X509KeyPair(long, key)
	if err != nil {
		t.Fatal(err)
	}
	short.NotAfter = time.Now().Add(time.Minute)
	above, err := x509.CreateCertificate(rand.Reader, short, short, short.PublicKey, signer.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	got, err = Expires(append(long, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: above})...), key)
	if err != nil || time.Until(got) > time.Minute {
		t.Errorf("got %v, %v; want when the second of the chain ends", got, err)
	}
	_, other := pair(t, "b.test")
	if _, err := Expires(long, other); err == nil {
		t.Error("a key that is not the certificate's will do")
	}

	left, nginx := declared("left", 1, rule{"c/", "Prefix", "web"}), "nginx"
	left.Spec.IngressClassName, left.Spec.TLS = &nginx, []networkingv1.IngressTLS{{SecretName: "theirs"}}
	two, one := declared("two", 2, rule{"a/", "Prefix", "web"}), declared("one", 3, rule{"b/", "Prefix", "web"})
	two.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "z"}, {}}
	one.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "a"}, {SecretName: "z"}}
	if got := Secrets(discovery.NewTable(nil, []*discovery.Ingress{left, two, one})); !slices.Equal(got, []discovery.Name{in("a"), in("z")}) {
		t.Errorf("got the Secrets %v", got)
	}
}

func der(t *testing.T, certPEM []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(certPEM)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}
