package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/podman"
)

// The log of a container here that breaks off is not given to the host that asks as one that ends there.
func TestOwnLog_breaksOff(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "podman.sock"))
	if err != nil {
		t.Fatal(err)
	}
	const frame = "\x01\x00\x00\x00\x00\x00\x00\x07a line\n" // as Podman sends what a container writes
	service := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Libpod-API-Version", "5.0.0")
		switch {
		case strings.HasSuffix(r.URL.Path, "/whole/logs"):
			_, _ = io.WriteString(w, frame)
		case strings.HasSuffix(r.URL.Path, "/logs"):
			_, _ = io.WriteString(w, frame+frame[:11])
		}
	})}
	served := make(chan error, 1)
	go func() { served <- service.Serve(l) }()
	defer func() { service.Close(); <-served }()
	a := &agent{engine: &podman.Client{URL: "unix://" + l.Addr().String()}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/containers/{id}/log", a.ownLog)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for container, want := range map[string]string{"whole": "a line\n", "broken": "a line\na l"} {
		resp, err := srv.Client().Get(srv.URL + "/v1/containers/" + container + "/log?tail=-1")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if resp.Body.Close(); string(b) != want || (err == nil) != (container == "whole") {
			t.Errorf("%s: got %q, %v", container, b, err)
		}
	}
}
