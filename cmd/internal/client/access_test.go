package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A token is shown over TLS, to who has the right certificate, and to nobody else.
func TestWith_token(t *testing.T) {
	var shown string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shown = r.Header.Get("Authorization"); r.URL.Path == "/away" {
			http.Redirect(w, r, "https://"+r.Host+"/x", http.StatusFound)
		}
	}))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := New(server.URL, "test")
	if err != nil {
		t.Fatal(err)
	}
	with := func(c *Client, a Access) *Client {
		t.Helper()
		with, err := c.With(a)
		if err != nil {
			t.Fatal(err)
		}
		return with
	}
	if _, err := with(c, Access{Token: "s3cret", CA: ca}).Do(t.Context(), Request{Path: "/x"}); err != nil || shown != "Bearer s3cret" {
		t.Errorf("got %v, shown %q", err, shown)
	}
	shown = ""
	if _, err := with(c, Access{Token: "s3cret", CA: ca}).Do(t.Context(), Request{Path: "/away"}); err == nil {
		t.Error("a redirect was followed")
	}
	shown = ""
	_, err = with(c, Access{Token: "s3cret"}).Do(context.Background(), Request{Method: "POST", Path: "/x"})
	var away *UnreachableError
	if !errors.As(err, &away) || away.Sent || !away.Untrusted() || shown != "" || strings.Contains(err.Error(), "went away") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a stranger's certificate: got %v, shown %q", err, shown)
	}

	plain, err := New("http://192.0.2.1:8080", "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.With(Access{Token: "s3cret"}); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("in clear: got %v", err)
	}
	local := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown = r.Header.Get("Authorization") }))
	defer local.Close()
	if c, err = New(local.URL, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := with(c, Access{Token: "s3cret"}).Do(t.Context(), Request{Path: "/x"}); err != nil || shown != "" {
		t.Errorf("on this host: got %v, shown %q", err, shown)
	}
	for _, a := range []Access{{CA: []byte("x")}, {Cert: []byte("x")}, {Cert: []byte("x"), Key: []byte("y")}} {
		if c, err = New(server.URL, "test"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.With(a); err == nil {
			t.Errorf("%+v was taken", a)
		}
	}
}

func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want := Kubeconfig{Name: "home", Server: "https://h1:6443", Namespace: "team", Access: Access{Token: "s3cret", CA: []byte("ca\n"), Cert: []byte("c"), Key: []byte("k")}}
	text, err := want.Render()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadKubeconfig(write("own", string(text)))
	if err != nil || got.Name != want.Name || got.Server != want.Server || got.Token != want.Token || string(got.CA) != "ca\n" ||
		string(got.Cert) != "c" || string(got.Key) != "k" || got.Namespace != "team" {
		t.Errorf("got %+v, %v, want what was written", got, err)
	}

	write("ca.pem", "its ca")
	write("token", "its token\n")
	const others = `
current-context: b
contexts: [{name: a, context: {cluster: x, user: x}}, {name: b, context: {cluster: y, user: y}}]
clusters: [{name: x, cluster: {server: "https://x"}}, {name: y, cluster: {server: "https://y", certificate-authority: ca.pem}}]
users: [{name: y, user: {tokenFile: token}}]
`
	if got, err = ReadKubeconfig(write("others", others)); err != nil || got.Server != "https://y" || string(got.CA) != "its ca" || got.Token != "its token" {
		t.Errorf("got %+v, %v", got, err)
	}
	for text, why := range map[string]string{
		strings.Replace(others, "current-context: b", "current-context: c", 1):                         `no context "c"`,
		strings.Replace(others, "current-context: b", "current-context: a", 1):                         `no user "x"`,
		strings.Replace(others, "certificate-authority: ca.pem", "certificate-authority: none.pem", 1): "certificate-authority: open",
		strings.Replace(others, "certificate-authority: ca.pem", "insecure-skip-tls-verify: true", 1):  "insecure-skip-tls-verify",
		strings.Replace(others, "tokenFile: token", "exec: {command: x}", 1):                           "does not run",
		strings.Replace(others, "certificate-authority: ca.pem", "certificate-authority-data: '!'", 1): "not base64",
		"token: s3cret\n: [": "is no kubeconfig",
	} {
		if _, err := ReadKubeconfig(write("wrong", text)); err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want %s", err, why)
		}
	}
}

// TLS 1.3 lets a server say at most "expired certificate" of a client's, and only once the client believes that it is through.
func TestWith_certificateThatHasEnded(t *testing.T) {
	asked := func(t *testing.T, ends time.Time) error {
		t.Helper()
		cert, key := selfSigned(t, ends)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(cert)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		defer server.Close()
		c, err := New(server.URL, "test")
		if err != nil {
			t.Fatal(err)
		}
		if c, err = c.With(Access{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), Cert: cert, Key: key}); err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(t.Context(), Request{Method: "POST", Path: "/x"})
		return err
	}
	ended := time.Now().Add(-time.Hour)
	var away *UnreachableError
	if err := asked(t, ended); !errors.As(err, &away) || away.Sent || away.Ended.Unix() != ended.Unix() || !strings.Contains(err.Error(), "certificate ended at "+ended.UTC().Format("2006-01-02 15:04:05")) {
		t.Errorf("one that has ended: got %v", err)
	}
	if err := asked(t, time.Now().Add(time.Hour)); !errors.As(err, &away) || !away.Sent || !away.Ended.IsZero() {
		t.Errorf("one that has not, and no answer: got %v", err)
	}
}

// selfSigned is a client certificate and its key in PEM.
func selfSigned(t *testing.T, ends time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: ends.Add(-time.Hour * 24), NotAfter: ends, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}
