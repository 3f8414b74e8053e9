package podmantest

import (
	"testing"

	"github.com/podman-swarm/podman-swarm/podman"
)

// sharedNetwork: who has another's network is started with it, runs on without it, and is to be removed before it.
func (s *suite) sharedNetwork(t *testing.T) {
	first := s.make(t, s.spec(t))
	spec := s.spec(t, "-listen=:81")
	spec.Name += "-2"
	spec.NetNS = &podman.Namespace{Mode: "container", Value: first}
	spec.UTSNS = &podman.Namespace{Mode: "container", Value: first}
	second := s.start(t, spec)
	if c := s.look(t, first); c.Status != podman.StatusRunning {
		t.Errorf("the one with the network: got %+v, want it started", c)
	}
	if err := s.Remove(t.Context(), first); err == nil {
		t.Error("the one with the network was removed before the one that has it, too")
	}
	if err := s.Stop(t.Context(), first, 0); err != nil {
		t.Fatal(err)
	}
	if c := s.look(t, second); c.Status != podman.StatusRunning {
		t.Errorf("got %+v, want it to run on", c)
	}
	for _, id := range []string{second, first} {
		if err := s.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}
