package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/vip"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// That Services cannot have addresses now, as while the kernel's part for packet rules is not there yet, is no word on later.
func TestServices_addressesAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &agent{c: &config{}, log: slog.New(slog.DiscardHandler)}
		a.services.parts = map[string]standing{}
		a.services.rules = &vip.Rules{} // without a network: Run fails
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.address(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("it was given up: %v", err)
		default:
		}
		if p := a.services.problems(); len(p) != 1 || p[0].What != "--service-cidr" {
			t.Errorf("got problems %+v", p)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// What this host says of itself tells in which boot of it: the same for as long as it is not booted.
func TestHost_boot(t *testing.T) {
	boot := bootID()
	if len(boot) != 36 || bootID() != boot {
		t.Fatalf("got %q, then %q", boot, bootID())
	}
}

// What this host says of itself tells of what network its Services' addresses are, where it keeps those.
func TestHost_serviceCIDR(t *testing.T) {
	a := seeing(t)
	if got := string(projection.Encode(a.host(projection.Host{}))); strings.Contains(got, "service_cidr") {
		t.Errorf("without addresses: got %s", got)
	}
	a.c.cidr = netip.MustParsePrefix("10.97.0.0/16")
	if got := a.host(projection.Host{}).ServiceCIDR; got != "10.97.0.0/16" {
		t.Errorf("got %q", got)
	}
}

// Reverse names of containers' networks are told here alone; that of the host's own address, elsewhere.
func TestNeighbours_containers(t *testing.T) {
	n := &neighbours{at: time.Now(), nets: []netip.Prefix{netip.MustParsePrefix("10.88.0.0/16"), netip.MustParsePrefix("192.0.2.7/32")}}
	if got := n.containers(); len(got) != 1 || got[0].String() != "10.88.0.0/16" {
		t.Errorf("got %v", got)
	}
	if got := n.containers(); len(got) != 1 || !n.has(netip.MustParseAddr("192.0.2.7")) {
		t.Errorf("then got %v of %v", got, n.nets)
	}
}

// A look at the networks that failed is no look: what was known stands, and whoever asks a moment later has it looked at again. A stranger
// has it looked at no oftener than that.
func TestNeighbours_lookFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, fails, looks := netip.MustParsePrefix("10.88.0.0/16"), true, 0
		n := &neighbours{inside: func() ([]netip.Prefix, error) {
			if looks++; fails {
				return nil, errors.New("interrupted")
			}
			return []netip.Prefix{network}, nil
		}}
		near := network.Addr().Next()
		for range 3 {
			if n.has(near) {
				t.Error("known before there was a look")
			}
		}
		if looks != 1 {
			t.Errorf("%d looks at once", looks)
		}
		time.Sleep(lookPause)
		if fails = false; !n.has(near) {
			t.Error("refused after a look that went well")
		}
		time.Sleep(time.Minute)
		if fails = true; !n.has(near) {
			t.Error("refused when another look failed")
		}
	})
}

// Containers are made when it is known whether names are answered, and when that takes too long all the same.
func TestReady_waitsForNames(t *testing.T) {
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a := &agent{heard: make(chan struct{})}
			a.services.sure = make(chan struct{})
			close(a.heard)
			began, ready := time.Now(), make(chan error, 1)
			go func() { ready <- a.ready(t.Context()) }()
			synctest.Wait()
			if len(ready) > 0 {
				t.Error("ready before it is known whether names are answered")
			}
			want := resolverWait
			if known {
				close(a.services.sure)
				want = 0
			}
			if err := <-ready; err != nil || time.Since(began) != want {
				t.Errorf("known %v: ready after %v with %v, want after %v", known, time.Since(began), err, want)
			}
		})
	}
}

// Who is not root is told why a port cannot be had, and what can be done; of another mistake nothing is made up.
func TestWhoMay(t *testing.T) {
	denied, taken := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	if err := whoMay(denied); !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "ip_unprivileged_port_start") {
		t.Errorf("a port that is root's: got %v", err)
	}
	if err := whoMay(taken); err != error(taken) {
		t.Errorf("a port that is taken: got %v", err)
	}
}

// Without root there are no names, and that is said, not left to be found out.
func TestName_notWithoutRoot(t *testing.T) {
	var said bytes.Buffer
	a := &agent{c: &config{}, log: slog.New(slog.NewTextHandler(&said, nil))}
	a.services.rules = &vip.Rules{Source: noServices{}, CIDR: discovery.DefaultCIDR(), Mode: vip.UserSpace, Log: slog.New(slog.DiscardHandler)}
	a.services.sure = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- a.services.rules.Run(ctx) }()
	if err := a.name(ctx); err != nil || !strings.Contains(said.String(), "names of Services are not answered") {
		t.Errorf("got %v, and said: %s", err, said.String())
	}
	select {
	case <-a.services.sure:
	default:
		t.Error("containers wait for a resolver that will not be there")
	}
	if at := a.services.resolver(discovery.DefaultCIDR()); at.IsValid() {
		t.Errorf("containers are told to ask %s for names", at)
	}
	cancel()
	<-ran
}

// noServices is a source in which there are none, and never will be.
type noServices struct{}

func (noServices) Table() *discovery.Table { return discovery.NewTable(nil, nil) }

func (noServices) Next(ctx context.Context, after *discovery.Table) (discovery.News, error) {
	if after == nil {
		return discovery.News{Table: discovery.NewTable(nil, nil), Whole: true}, nil
	}
	<-ctx.Done()
	return discovery.News{}, ctx.Err()
}

// An Ingress leads to what an ExternalName Service stands for as a container would be told it: to what the cluster has under a name, and to no name that is not on the list.
func TestAgent_ingressToExternalName(t *testing.T) {
	l, err := net.Listen("tcp", net.JoinHostPort(defaultAddress(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "there") })}
	served := make(chan error, 1)
	go func() { served <- backend.Serve(l) }()
	defer func() { backend.Close(); <-served }()

	at := freePort(t)
	r := start(t, t.TempDir(), "--ingress-http="+at)
	r.ask(t, "POST", "/api/v1/dns/whitelist/hosts", `{"hosts": ["example.com"]}`, http.StatusOK)
	r.ask(t, "POST", "/api/v1/manifests", fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None, ports: [{port: %[2]d}]}}
---
{apiVersion: v1, kind: Endpoints, metadata: {name: web}, subsets: [{addresses: [{ip: %[1]s}], ports: [{port: %[2]d}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: inside}, spec: {type: ExternalName, externalName: web.default.svc.cluster.local}}
---
{apiVersion: v1, kind: Service, metadata: {name: outside}, spec: {type: ExternalName, externalName: www.example.com}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: both}
spec:
  rules:
    - http:
        paths:
          - {path: /in, pathType: Prefix, backend: {service: {name: inside, port: {number: %[2]d}}}}
          - {path: /out, pathType: Prefix, backend: {service: {name: outside, port: {number: %[2]d}}}}
`, defaultAddress(), l.Addr().(*net.TCPAddr).Port), http.StatusOK)
	front := &running{url: "http://" + at, code: r.code}
	if got := front.ask(t, "GET", "/in", "", http.StatusOK); got != "there" {
		t.Errorf("got %q", got)
	}
	front.ask(t, "GET", "/out", "", http.StatusServiceUnavailable) // as without Podman the host recovers for ever
	if !strings.Contains(r.said.String(), "look up www.example.com: not on the cluster's list of allowed names") {
		t.Errorf("of a name that is not on the list nothing is said:\n%s", &r.said)
	}
	r.end(t)
}

// What an Ingress leads to has as long for its answer as the flag says.
func TestAgent_ingressAnswerTimeout(t *testing.T) {
	backend, err := net.Listen("tcp", net.JoinHostPort(defaultAddress(), "0")) // connects, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	at := freePort(t)
	r := start(t, t.TempDir(), "--ingress-http="+at, "--ingress-answer-timeout=1s")
	r.ask(t, "POST", "/api/v1/manifests", fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: slow}, spec: {ports: [{port: %[2]d}]}}
---
{apiVersion: v1, kind: Endpoints, metadata: {name: slow}, subsets: [{addresses: [{ip: %[1]s}], ports: [{port: %[2]d}]}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: slow}
spec: {defaultBackend: {service: {name: slow, port: {number: %[2]d}}}}
`, defaultAddress(), backend.Addr().(*net.TCPAddr).Port), http.StatusOK)
	front, began := &running{url: "http://" + at, code: r.code}, time.Now()
	front.ask(t, "GET", "/", "", http.StatusGatewayTimeout)
	if took := time.Since(began); took < time.Second || took > 30*time.Second {
		t.Errorf("it took %v, want a second", took)
	}
	r.end(t)
}
