package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/street"
)

// ofIngress wants an alert about the Ingress that these causes have.
func ofIngress(alert string) want {
	return want{"PodmanSwarm" + alert, map[string]string{"namespace": "default", "ingress": "shop"}}
}

// badIngress is an Ingress that h1 cannot listen for, whose Service is not there, and whose certificate ends soon; and clients that ask for it all the same.
func (t *trying) badIngress() cause {
	var stop func()
	return cause{name: "an Ingress has no Service, and a certificate that ends in ten days; clients ask h2 for it, and somebody else has port 80 of h1",
		wants: []want{on("ServicesDown", 1), ofIngress("IngressUnserved"), ofIngress("IngressErrors"),
			{"PodmanSwarmIngressCertificateExpires", map[string]string{"namespace": "default", "secret": "shop"}}},
		begin: func(ctx context.Context) error {
			if _, err := t.host(1).Podman.Podman(ctx, "run", "--detach", "--name", "squatter", "--publish", "80:80", podmanhost.Image1); err != nil {
				return err
			}
			h := t.host(2)
			dir := filepath.Join(h.Agent.DataDir, "authority")
			cert, err := os.ReadFile(filepath.Join(dir, "authority.crt"))
			if err != nil {
				return err
			}
			key, err := os.ReadFile(filepath.Join(dir, "authority.key"))
			if err != nil {
				return err
			}
			ends, err := endsIn(cert, key, 10*24*time.Hour)
			if err != nil {
				return err
			}
			text := base64.StdEncoding.EncodeToString
			manifest := fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata: {name: shop}
type: kubernetes.io/tls
data: {tls.crt: %s, tls.key: %s}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  tls: [{hosts: [shop.test], secretName: shop}]
  rules: [{host: shop.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}}]
`, text(ends), text(key))
			if err := apply(ctx, h, manifest); err != nil {
				return err
			}
			client := &http.Client{Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
			stop = again(ctx, func(ctx context.Context) {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:80/", nil)
				if err != nil {
					return // never
				}
				req.Host = "shop.test"
				if resp, err := client.Do(req); err == nil {
					_ = resp.Body.Close() // what it says is counted over there
				}
			})
			return nil
		},
		end: func(ctx context.Context) error {
			stop()
			_, err := t.host(1).Podman.Podman(ctx, "rm", "--force", "--time", "0", "squatter")
			return errors.Join(err, remove(ctx, t.host(2), "Ingress", "shop"), remove(ctx, t.host(2), "Secret", "shop"))
		}}
}

// noResolver has a program look up names on h3, from where no resolver is in reach.
func (t *trying) noResolver() cause {
	var stop func()
	return cause{name: "names of elsewhere are looked up on h3, and no resolver answers it", wants: []want{on("NamesFail", 3)},
		begin: func(ctx context.Context) error {
			resolver := asking(t.host(3))
			n := 0
			stop = again(ctx, func(ctx context.Context) {
				n++
				_, _ = resolver.LookupHost(ctx, fmt.Sprintf("name-%d.elsewhere.test.", n)) // in vain
			})
			return nil
		},
		end: func(context.Context) error { stop(); return nil }}
}

// asking asks a host's agent for names, at its address among the Services.
func asking(h *street.Host) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return h.Dial(ctx, network, "10.96.0.10:53")
	}}
}

// again does something again and again, until it is told to stop or ctx ends. It has ended then.
func again(ctx context.Context, do func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ; ctx.Err() == nil; pause(ctx, 200*time.Millisecond) {
			do(ctx)
		}
	}()
	return func() { cancel(); <-ended }
}
