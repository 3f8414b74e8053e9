package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
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

// talking has a answer whom it takes for members, and gives the address.
func talking(t *testing.T, a *agent) string {
	t.Helper()
	a.cluster.talk = newTalk(&tls.Config{Certificates: []tls.Certificate{selfSigned(t, "a")}, ClientAuth: tls.RequireAnyClientCert})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := a.answer(ctx); err != nil {
			t.Error(err)
		}
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { a.cluster.talk.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		a.cluster.talk.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// A host that is removed learns nothing more by a connection that is older than its removal: neither by what it goes on to ask, nor by what it has
// asked for and still comes.
func TestAnswer_whoIsRemovedIsNoMoreAnswered(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "podman.sock"))
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Libpod-API-Version", "5.0.0")
		if strings.HasSuffix(r.URL.Path, "/logs") { // of a container that writes a line, and no more
			_, _ = io.WriteString(w, "\x01\x00\x00\x00\x00\x00\x00\x07a line\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	service.Listener = l
	service.Start()
	defer service.Close()
	a := seeing(t, "b")
	a.engine = &podman.Client{URL: "unix://" + l.Addr().String()}
	addr := talking(t, a)
	var dialled atomic.Int32
	own := selfSigned(t, "b")
	b := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialled.Add(1)
		return (&tls.Dialer{Config: &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true}}).DialContext(ctx, "tcp", addr)
	}}}
	defer b.CloseIdleConnections()
	heads := func() (code int, said string) {
		resp, err := b.Get("https://host/v1/audit/heads")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		all, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(all)
	}
	followed, err := b.Get("https://host/v1/containers/web/log?follow=true&tail=-1")
	if err != nil {
		t.Fatal(err)
	}
	defer followed.Body.Close()
	if _, err := io.ReadFull(followed.Body, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	if code, said := heads(); code != http.StatusOK || dialled.Load() != 2 {
		t.Fatalf("a member is told %d %s, by the %dth connection", code, said, dialled.Load())
	}
	a.tell(t, projection.MemberKey("b"), projection.Member{Removed: true, Why: "sold"})
	if code, said := heads(); code != http.StatusForbidden || !strings.Contains(said, "sold") || dialled.Load() != 2 {
		t.Errorf("once it is removed it is told %d %s, by the %dth connection", code, said, dialled.Load())
	}
	if more, err := io.ReadAll(followed.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(more) > 0 {
		t.Errorf("the log that it followed goes on: %q, %v", more, err)
	}
}
