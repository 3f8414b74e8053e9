package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	ca := &authority{t: t}
	c := ca.sign("ca", nil)
	ca.cert, ca.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	return ca
}

// sign gives a certificate of that name; by itself while it has none of its own.
func (ca *authority) sign(name string, ips []net.IP) tls.Certificate {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: ca.cert == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	parent, by := ca.cert, ca.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		ca.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (ca *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

// outside is an agent's API as it is seen from beyond its host.
type outside struct {
	*agent
	ca  *authority
	url string
}

// listen serves the agent's API over TLS until the test ends.
func (a *agent) listen() *outside {
	a.t.Helper()
	ca := newAuthority(a.t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	server := ca.sign("server", []net.IP{net.IPv4(127, 0, 0, 1)})
	go func() {
		served <- a.Server.ServeTLS(ctx, l, &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: ca.pool()})
	}()
	a.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			a.t.Error(err)
		}
	})
	return &outside{a, ca, "https://" + l.Addr().String()}
}

// client is one with that certificate, or with none.
func (o *outside) client(cert *tls.Certificate) *http.Client {
	c := &tls.Config{RootCAs: o.ca.pool()}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	o.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask does a request with a token ("" for none), or, when client is given, with what that has.
func (o *outside) ask(client *http.Client, token, method, path, body string) answer {
	o.t.Helper()
	if client == nil {
		client = o.client(nil)
	}
	req, err := http.NewRequest(method, o.url+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	if method == "PATCH" {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := client.Do(req)
	if err != nil {
		o.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// token makes a token on the loopback and returns its secret.
func (a *agent) token(body string) string {
	a.t.Helper()
	return a.want(201, "POST", "/swarm/v1/tokens", body).field("secret")
}

// What each scope may, by route. The paths are of the two namespaces team and other.
func TestAccess_scopes(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) {
		s.Orphans = &orphanList{all: []Orphan{{ID: "cafe"}}}
		s.Metrics = http.NotFoundHandler()
		s.Document = func(*projection.State) any { return 1 }
	})
	a.join("h1")
	in := func(ns string) string {
		return strings.Replace(deployment("web", 1, "w"), "metadata:", "metadata:\n  namespace: "+ns, 1)
	}
	a.want(200, "POST", apply, docs(in("team"), in("other")))
	o := a.listen()
	read, write, admin := a.token(`{"name":"r","scope":"read"}`), a.token(`{"name":"w","scope":"write"}`), a.token(`{"name":"a","scope":"admin"}`)
	teamRead, teamWrite := a.token(`{"name":"tr","scope":"read","namespaces":["team"]}`), a.token(`{"name":"tw","scope":"write","namespaces":["team"]}`)
	const team, other = "/apis/apps/v1/namespaces/team/deployments", "/apis/apps/v1/namespaces/other/deployments"
	const uncordon = `{"spec":{"unschedulable":false}}`
	for _, c := range []struct {
		method, path, body                            string
		none, teamRead, teamWrite, read, write, admin int
	}{
		{"GET", "/version", "", 401, 200, 200, 200, 200, 200},
		{"GET", "/healthz", "", 401, 200, 200, 200, 200, 200},
		{"GET", "/apis/apps/v1", "", 401, 200, 200, 200, 200, 200},
		{"GET", "/ui/", "", 200, 200, 200, 200, 200, 200}, // there is nothing of the cluster in it
		{"GET", "/openapi/v3", "", 401, 200, 200, 200, 200, 200},
		{"GET", "/openapi/v3/apis/apps/v1", "", 401, 200, 200, 200, 200, 200},
		{"GET", "/openapi/v2", "", 401, 200, 200, 200, 200, 200},
		{"GET", "/openapi/v4", "", 401, 404, 404, 404, 404, 404},
		{"GET", team, "", 401, 200, 200, 200, 200, 200},
		{"GET", team + "/web", "", 401, 200, 200, 200, 200, 200},
		{"GET", other, "", 401, 403, 403, 200, 200, 200},
		{"GET", other + "/web/scale", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/apis/apps/v1/deployments", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/apis/apps/v1/deployments?fieldSelector=metadata.namespace%3Dteam", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/api/v1/deployments", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/api/v1/deployments/team/web", "", 401, 200, 200, 200, 200, 200},
		{"GET", "/api/v1/deployments/other/web", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/api/v1/namespaces", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/api/v1/namespaces/team", "", 401, 200, 200, 200, 200, 200},
		{"GET", "/api/v1/namespaces/other", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/api/v1/nodes", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/api/v1/events", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/api/v1/namespaces/team/events", "", 401, 200, 200, 200, 200, 200},
		{"GET", "/swarm/v1/events", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/swarm/v1/state", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/swarm/v1/status", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/swarm/v1/nodes", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/swarm/v1/conflicts", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/swarm/v1/conflicts/5f3a9c0e11223344-42", "", 401, 403, 403, 404, 404, 404},
		{"POST", "/swarm/v1/conflicts/5f3a9c0e11223344-42/dismiss", "", 401, 403, 404, 403, 404, 404},
		{"GET", "/swarm/v1/audit/head", "", 401, 403, 403, 501, 501, 501},
		{"POST", "/swarm/v1/audit/verify", "", 401, 403, 403, 501, 501, 501},
		{"GET", "/swarm/v1/orphans", "", 401, 403, 403, 200, 200, 200},
		{"GET", "/metrics", "", 401, 403, 403, 404, 404, 404}, // as this one answers
		{"GET", "/none", "", 401, 403, 403, 404, 404, 404},
		{"POST", apply, in("team"), 401, 403, 200, 403, 200, 200},
		{"POST", apply, in("other"), 401, 403, 403, 403, 200, 200},
		{"POST", apply, docs(in("team"), in("other")), 401, 403, 403, 403, 200, 200},
		{"POST", apply + "?namespace=other", deployment("web", 1, "w"), 401, 403, 403, 403, 200, 200},
		{"POST", apply, "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n", 401, 403, 403, 403, 200, 200},
		{"PATCH", team + "/web", `{"spec":{"replicas":2}}`, 401, 403, 200, 403, 200, 200},
		{"PATCH", other + "/web", `{"spec":{"replicas":2}}`, 401, 403, 403, 403, 200, 200},
		{"PUT", other + "/web/scale", `{"spec":{"replicas":2}}`, 401, 403, 403, 403, 200, 200},
		{"DELETE", other + "/none", "", 401, 403, 403, 403, 404, 404},
		{"DELETE", other, "", 401, 403, 403, 403, 200, 200},
		{"DELETE", "/api/v1/manifests/team/none?kind=service", "", 401, 403, 404, 403, 404, 404},
		{"DELETE", "/api/v1/manifests/other/none?kind=service", "", 401, 403, 403, 403, 404, 404},
		{"DELETE", "/api/v1/namespaces/other", "", 401, 403, 403, 403, 200, 404},
		{"POST", "/swarm/v1/orphans/beef/adopt", "", 401, 403, 403, 403, 404, 404},
		{"PATCH", "/api/v1/nodes/h1", uncordon, 401, 403, 403, 403, 403, 200},
		{"POST", "/swarm/v1/nodes/h1/uncordon", "", 401, 403, 403, 403, 403, 200},
		{"POST", "/api/v1/namespaces/team/pods/web-9/eviction", "{}", 401, 403, 403, 403, 403, 404},
		{"GET", "/swarm/v1/tokens", "", 401, 403, 403, 403, 403, 200},
		{"POST", "/swarm/v1/tokens", `{"name":"x","scope":"admin"}`, 401, 403, 403, 403, 403, 201},
		{"DELETE", "/swarm/v1/tokens/none", "", 401, 403, 403, 403, 403, 404},
		{"POST", "/swarm/v1/join-token", "{}", 401, 403, 403, 403, 403, 501},
	} {
		for _, who := range []struct {
			name, token string
			want        int
		}{{"nobody", "", c.none}, {"team's reader", teamRead, c.teamRead}, {"team's writer", teamWrite, c.teamWrite},
			{"reader", read, c.read}, {"writer", write, c.write}, {"admin", admin, c.admin}} {
			got := o.ask(nil, who.token, c.method, c.path, c.body)
			if got.code != who.want {
				t.Errorf("%s: %s %s: got %d %s, want %d", who.name, c.method, c.path, got.code, got.body, who.want)
			}
			if got.code == 401 && (got.field("reason") != "Unauthorized" || got.header.Get("WWW-Authenticate") == "") ||
				got.code == 403 && (got.field("reason") != "Forbidden" || !strings.Contains(got.field("message"), "cannot")) {
				t.Errorf("%s: %s %s: got %s", who.name, c.method, c.path, got.body)
			}
		}
	}
	for _, secret := range []string{read, write, admin, teamRead, teamWrite} {
		if strings.Contains(a.said.String(), secret) || strings.Contains(string(a.want(200, "GET", "/swarm/v1/events", "").body), secret) {
			t.Error("a secret was logged or recorded")
		}
	}
}

func TestAccess_actor(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) {
		s.User = func(c *x509.Certificate) (string, string, error) {
			if c.Subject.CommonName == "h2" {
				return "", "", errors.New("it is a host's")
			}
			return c.Subject.CommonName, ScopeWrite, nil
		}
	})
	o := a.listen()
	secret := a.token(`{"name":"ci","scope":"write"}`)
	if got := o.ask(nil, secret, "POST", apply, deployment("a", 1, "w")); got.code != 200 {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	alice, host := o.ca.sign("alice", nil), o.ca.sign("h2", nil)
	stranger := newAuthority(t).sign("alice", nil)
	if got := o.ask(o.client(&alice), "", "POST", apply, deployment("b", 1, "w")); got.code != 200 {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	if got := o.ask(o.client(&host), "", "GET", "/version", ""); got.code != 401 || !strings.Contains(got.field("message"), "it is a host's") {
		t.Errorf("a host: got %d %s", got.code, got.body)
	}
	if got := o.ask(o.client(&alice), "pswarm_wrong", "GET", "/version", ""); got.code != 401 {
		t.Errorf("a wrong token with a right certificate: got %d %s", got.code, got.body)
	}
	if resp, err := o.client(&stranger).Get(o.url + "/version"); err == nil {
		resp.Body.Close()
		t.Errorf("another authority's certificate: got %s", resp.Status)
	}
	lines := strings.Split(string(a.want(200, "GET", "/swarm/v1/events", "").body), "\n")
	for i, want := range map[int]string{0: "local", 1: "token:ci", 2: "user:alice"} {
		if got := (answer{body: []byte(lines[i])}).field("actor"); !strings.HasPrefix(got, want+" ") {
			t.Errorf("event %d: got actor %q, want %s", i, got, want)
		}
	}
}

func TestToken_life(t *testing.T) {
	now := time.Now()
	a := start(t, t.TempDir(), func(s *Server) { s.Now = func() time.Time { return now } })
	o := a.listen()
	secret, forever := a.token(`{"name":"ci","scope":"read","ttl":"1h"}`), a.token(`{"name":"ops","scope":"admin"}`)
	a.want(409, "POST", "/swarm/v1/tokens", `{"name":"ci","scope":"read"}`)
	for body, why := range map[string]string{
		`{"name":"A B","scope":"read"}`: "name", `{"name":"x","scope":"root"}`: "want read, write or admin", `{"name":"x"}`: "scope",
		`{"name":"x","scope":"read","ttl":"1 week"}`: "ttl", `{"name":"x","scope":"read","ttl":"-1h"}`: "ttl",
		`{"name":"x","scope":"admin","namespaces":["a"]}`: "whole cluster", `{"name":"x","scope":"read","namespaces":["A"]}`: "namespace",
		`{"name":"x","scope":"read","nope":1}`: "unknown field",
	} {
		if got := a.want(400, "POST", "/swarm/v1/tokens", body); !strings.Contains(got.field("message"), why) {
			t.Errorf("%s: got %s, want %s", body, got.body, why)
		}
	}
	list := a.want(200, "GET", "/swarm/v1/tokens", "")
	if list.field("0.name") != "ci" || list.field("0.expires") == "" || list.field("1.name") != "ops" || list.field("1.expires") != "" ||
		strings.Contains(string(list.body), "hash") || strings.Contains(string(list.body), "secret") {
		t.Errorf("got %s", list.body)
	}
	if got := o.ask(nil, secret, "GET", "/version", ""); got.code != 200 {
		t.Errorf("got %d", got.code)
	}
	now = now.Add(time.Hour)
	if got := o.ask(nil, secret, "GET", "/version", ""); got.code != 401 || !strings.Contains(got.field("message"), "has expired") {
		t.Errorf("after its time: got %d %s", got.code, got.body)
	}
	if got := o.ask(nil, forever, "GET", "/version", ""); got.code != 200 {
		t.Errorf("got %d", got.code)
	}
	a.want(200, "DELETE", "/swarm/v1/tokens/ops", "")
	a.want(404, "DELETE", "/swarm/v1/tokens/ops", "")
	again := a.token(`{"name":"ops","scope":"admin"}`)
	for token, want := range map[string]int{forever: 401, again: 200, forever + "x": 401} {
		if got := o.ask(nil, token, "GET", "/version", ""); got.code != want {
			t.Errorf("got %d, want %d", got.code, want)
		}
	}
}

// watching asks for a watch; the channel is told how it ends.
func (o *outside) watching(client *http.Client, token string) <-chan error {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), "GET", o.url+"/api/v1/namespaces?watch=true", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		o.t.Fatalf("got %s", resp.Status)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, resp.Body)
		ended <- err
	}()
	return ended
}

// What goes on, as a watch does, ends with the token that it was asked by.
func TestToken_revokedWhileWatching(t *testing.T) {
	a := start(t, t.TempDir())
	o := a.listen()
	ended := o.watching(o.client(nil), a.token(`{"name":"ci","scope":"read"}`))
	a.want(200, "DELETE", "/swarm/v1/tokens/ci", "")
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the watch goes on")
	}
}

// A certificate was looked at as its connection began, which can be long ago.
func TestCertificate_endsWhileConnected(t *testing.T) {
	var later atomic.Int64
	a := start(t, t.TempDir(), func(s *Server) {
		s.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		s.User = func(c *x509.Certificate) (string, string, error) { return c.Subject.CommonName, ScopeAdmin, nil }
	})
	o := a.listen()
	alice := o.ca.sign("alice", nil)
	client := o.client(&alice)
	ended := o.watching(client, "")
	name, lapsed, err := a.Reader("", alice.Leaf)
	if err != nil || name != "user:alice" || lapsed() {
		t.Fatalf("got %q, lapsed %v, error %v", name, err == nil && lapsed(), err)
	}
	later.Store(int64(time.Hour + time.Minute)) // it has an hour
	if !lapsed() {
		t.Error("who follows the events may go on")
	}
	if _, _, err := a.Reader("", alice.Leaf); err == nil {
		t.Error("who comes to follow the events is let in")
	}
	if got := o.ask(client, "", "GET", "/version", ""); got.code != 401 || !strings.Contains(got.field("message"), "has expired") {
		t.Errorf("got %d %s", got.code, got.body)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the watch goes on")
	}
}

func TestJoinToken(t *testing.T) {
	var asked string
	a := start(t, t.TempDir(), func(s *Server) {
		s.JoinToken = func(_ context.Context, by projection.By, rotate bool, ttl time.Duration) (token string, expires time.Time, err error) {
			if ttl > 0 {
				expires = time.Unix(0, 0).UTC().Add(ttl)
			}
			if asked = strings.Fields(by.Actor)[0]; rotate {
				asked += " rotate " + ttl.String()
			}
			return "join-me", expires, nil
		}
	})
	if got := a.want(200, "POST", "/swarm/v1/join-token", ""); got.field("token") != "join-me" || got.field("expires") != "" || asked != "local" {
		t.Errorf("got %s, asked %q", got.body, asked)
	}
	got := a.want(200, "POST", "/swarm/v1/join-token", `{"rotate":true,"ttl":"24h"}`)
	if asked != "local rotate 24h0m0s" || got.field("expires") != "1970-01-02T00:00:00Z" {
		t.Errorf("got %s, asked %q", got.body, asked)
	}
	a.want(400, "POST", "/swarm/v1/join-token", `{"ttl":"soon"}`)
	if strings.Contains(a.said.String(), "join-me") {
		t.Error("the token was logged")
	}
}
