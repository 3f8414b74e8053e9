package podman_test

import (
	"errors"
	"testing"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/podman/podmantest"
)

func TestFake_conformance(t *testing.T) {
	podmantest.Conformance(t, podmantest.New("localhost/web:1"), "localhost/web:1", 30080)
}

func TestClient_conformance(t *testing.T) {
	h := podmanhost.Start(t)
	podmantest.Conformance(t, &podman.Client{URL: h.Socket()}, podmanhost.Image1, 30080)
}

func TestClient_comesBack(t *testing.T) {
	h := podmanhost.Start(t)
	c := &podman.Client{URL: h.Socket()}
	ask := func() error {
		_, err := c.Info(t.Context())
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if err := h.StopService(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ask(); !errors.Is(err, podman.ErrUnavailable) {
			t.Errorf("without the service: got %v, want ErrUnavailable", err)
		}
	}
	if err := h.StartService(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Errorf("with the service again: %v", err)
	}
}
