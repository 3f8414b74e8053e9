package podman_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
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

// A request that Podman dies of, each time, while it answers all others: it is asked ever more seldom, and people see
// what the replica waits for.
func TestReconciler_podmanDiesOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		w.fake.Hook(func(op, _ string) error {
			if op == "Create" {
				return fmt.Errorf("%w: EOF", podman.ErrUnavailable)
			}
			return nil
		})
		w.place(host, template(), pod("web", 0))
		index := w.ledger.View().Index()
		w.fake.Calls()
		w.settled(time.Hour)
		if n := len(w.fake.Calls()); n < 10 || n > 25 {
			t.Errorf("it was tried %d times in an hour, want every 5 minutes in the end", n)
		}
		if f := w.fact(pod("web", 0)); f == nil || f.Reason != "CreateContainerError" || f.Message == "" {
			t.Errorf("got %+v, want what went wrong", f)
		}
		if n := w.ledger.View().Index() - index; n != 1 {
			t.Errorf("%d facts were recorded", n)
		}
		w.fake.Hook(nil)
		w.settled(6 * time.Minute)
		w.runs(pod("web", 0))
	})
}
