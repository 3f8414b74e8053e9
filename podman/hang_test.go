package podman_test

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/podman"
)

// A Podman that takes a connection and never answers holds up only who waits for that answer.
func TestClient_neverAnswers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "podman.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mute := make(chan net.Conn, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Libpod-API-Version", "4.3.1")
		if _, err := w.Write([]byte("[]")); err != nil {
			t.Error(err)
		}
	})}
	served := make(chan error, 1)
	go func() {
		first, err := l.Accept()
		if err == nil {
			mute <- first
			err = server.Serve(l)
		}
		served <- err
	}()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})

	c := &podman.Client{URL: "unix://" + socket}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Events(ctx, "a", "b", func() {}) }() // may wait for ever
	conn := <-mute
	defer conn.Close()

	within, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	listed := make(chan error, 1)
	go func() {
		_, err := c.List(within, "a", "b")
		listed <- err
	}()
	select {
	case err := <-listed:
		if err != nil {
			t.Error(err)
		}
	case <-within.Done():
		t.Error("a list waits for somebody else's connection")
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the events ended without an error")
	}
}
