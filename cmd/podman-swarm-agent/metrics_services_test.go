package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/vip"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// tlsSecret is the manifest of a Secret whose certificate ends then.
func tlsSecret(t *testing.T, name string, ends time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"shop.test"}, NotBefore: ends.AddDate(0, -1, 0), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(typ string, b []byte) string {
		var out bytes.Buffer
		if err := pem.Encode(&out, &pem.Block{Type: typ, Bytes: b}); err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(out.Bytes())
	}
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ntype: kubernetes.io/tls\ndata: {tls.crt: %s, tls.key: %s}\n",
		name, text("CERTIFICATE", der), text("PRIVATE KEY", k))
}

// ingressOf is the manifest of an Ingress to a Service that is not there, with a Secret NAME-tls.
func ingressOf(name string) string {
	return fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %s}
spec:
  tls: [{hosts: [%[1]s.test], secretName: %[1]s-tls}]
  rules: [{host: %[1]s.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: away, port: {number: 80}}}}]}}]
`, name)
}

// Each figure of what makes Services found is what can be seen from outside, and what needs a look is said by psctl status as well.
func TestMetrics_ofServices(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := start(t, t.TempDir(), "--ingress-http="+taken.Addr().String())
	r.scrape(t, samples{`services_up{part="ingress-http"}`: absent, `services_up{part="addresses"}`: absent}, nil) // nobody has asked for either
	r.ask(t, "POST", "/api/v1/manifests", ingressOf("shop"), http.StatusOK)
	const expires = `ingress_certificate_expires_timestamp_seconds{namespace="default",secret="shop-tls"}`
	r.scrape(t, samples{`services_up{part="ingress-http"}`: 0, `ingress_routes_unserved{ingress="shop",namespace="default"}`: 1, expires: 0}, nil)
	said := r.ask(t, "GET", "/swarm/v1/status", "", http.StatusOK)
	for _, want := range []string{"--ingress-http", "the certificate of Secret default/shop-tls"} {
		if !strings.Contains(said, want) {
			t.Errorf("the status does not tell of %s: %s", want, said)
		}
	}

	ends := time.Now().Add(10 * 24 * time.Hour).Truncate(time.Second)
	r.ask(t, "POST", "/api/v1/manifests", tlsSecret(t, "shop-tls", ends), http.StatusOK)
	r.scrape(t, samples{expires: float64(ends.Unix())}, nil)
	if said := r.ask(t, "GET", "/swarm/v1/status", "", http.StatusOK); !strings.Contains(said, "it ends, or has ended, at "+ends.UTC().Format(time.DateTime)) {
		t.Errorf("the status does not tell of the certificate: %s", said)
	}
	ends = ends.AddDate(0, 1, 0)
	r.ask(t, "POST", "/api/v1/manifests", tlsSecret(t, "shop-tls", ends), http.StatusOK)
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	r.scrape(t, samples{`services_up{part="ingress-http"}`: 1, expires: float64(ends.Unix())}, nil)
	if said := r.ask(t, "GET", "/swarm/v1/status", "", http.StatusOK); strings.Contains(said, "shop-tls") || strings.Contains(said, "--ingress-http") {
		t.Errorf("the status tells of what is well: %s", said)
	}
	r.end(t)
}

// A part that fails is not up, nor are addresses that are in the way of somebody, and one of which nobody has asked anything is not there.
func TestServices_standings(t *testing.T) {
	s := &services{parts: map[string]standing{}}
	if got := s.standings(); len(got) != 0 {
		t.Errorf("at first: got %v", got)
	}
	s.note(names, "service-cidr", errors.New("in use"))
	s.note(ingressHTTP, "ingress-http", nil)
	if got := s.standings(); len(got) != 2 || got[names] || !got[ingressHTTP] {
		t.Errorf("got %v", got)
	}
	// The addresses are set up, and one of them is another machine's: they are there, and a person has to look.
	a := &agent{c: &config{}, log: slog.New(slog.DiscardHandler)}
	a.services.parts = map[string]standing{}
	a.services.rules = &vip.Rules{CIDR: netip.MustParsePrefix("10.96.0.0/12"), Mode: "no such mode", Log: a.log}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = a.address(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if got := a.services.standings(); len(got) == 1 && !got[addresses] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %v", a.services.standings())
		}
	}
}

// Where two hosts that did not hear each other gave one port to two Services, a person is told of the one that has not got it.
func TestServices_unmet(t *testing.T) {
	a := seeing(t)
	a.services.catalog = &discovery.Catalog{Ledger: a.ledger, Host: "a"}
	for _, name := range []string{"one", "two"} {
		_, err := a.ledger.Record(t.Context(), projection.By{Actor: "test"}, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Declared, Key: "service/default/" + name, Object: []byte(
				`{"kind":"Service","apiVersion":"v1","metadata":{"name":"` + name + `","namespace":"default"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":30080}]}}`)}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if p := a.services.problems(); len(p) != 1 || p[0].What != "Service default/two" || !strings.HasPrefix(p[0].Why, "asks for NodePort 30080, which older Service default/one has: it got 3") {
		t.Errorf("got problems %+v", p)
	}
}
