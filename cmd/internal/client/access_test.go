package client

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
