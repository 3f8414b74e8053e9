package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
)

// The others are told at once that a host leaves, and not only when its ingress has done with what it has begun: until then they would lead to what a
// host that goes down no longer runs. And what it has begun goes on.
func TestStop_leavesWhileTheIngressDrains(t *testing.T) {
	l, err := net.Listen("tcp", net.JoinHostPort(defaultAddress(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "begun")
		http.NewResponseController(w).Flush()
		select {
		case <-end:
			fmt.Fprint(w, ", done")
		case <-r.Context().Done():
		}
	})}
	go backend.Serve(l)
	defer backend.Close()

	at := freePort(t)
	a := newHost(t, "a", "--sync-interval=1s", "--ingress-http="+at).start(t)
	b := newHost(t, "b", "--sync-interval=1s", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	a.ask(t, "POST", "/api/v1/manifests", fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: slow}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Endpoints, metadata: {name: slow}, subsets: [{addresses: [{ip: %s}], ports: [{port: %d}]}]}
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: slow}, spec: {defaultBackend: {service: {name: slow, port: {number: 80}}}}}
`, defaultAddress(), l.Addr().(*net.TCPAddr).Port), http.StatusOK)
	var resp *http.Response
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if resp, err = http.Get("http://" + at + "/"); err == nil && resp.StatusCode == http.StatusOK {
			break
		}
		if err == nil {
			resp.Body.Close()
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing is begun: %v, %+v", err, resp)
		}
	}
	defer resp.Body.Close()
	a.stop()
	b.status(t, "a has said that it leaves", func(st *api.Status) bool {
		for _, h := range st.Hosts {
			if h.Host == "a" {
				return h.State == api.StateStopped
			}
		}
		return false
	})
	close(end)
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "begun, done" {
		t.Errorf("what was begun ended with %q, %v: the others were told too late, or it did not go on", body, err)
	}
	a.end(t)
}
