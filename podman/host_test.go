package podman_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/podman/podmantest"
)

// Podman is asked what it is when that may be another, not each time that somebody wants to know: it is work for it.
func TestFacts_askSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := podmantest.New(image)
		facts := podman.Facts{Engine: fake}
		down, asked := false, 0
		fake.Hook(func(op, _ string) error {
			if op == "Info" {
				asked++
				if down {
					return podman.ErrUnavailable
				}
			}
			return nil
		})
		want := func(when string, away bool, times int) {
			t.Helper()
			asked = 0
			if facts.Host(t.Context(), away); asked != times {
				t.Errorf("%s: asked %d times, want %d", when, asked, times)
			}
		}
		want("at first", false, 1)
		time.Sleep(50 * time.Minute)
		want("fifty minutes later", false, 0)
		want("after it was away", true, 1)
		down = true
		want("while it is away", true, 1)
		if h := facts.Host(t.Context(), true); h.Podman != "" || h.CPUs == 0 || h.Memory == 0 {
			t.Errorf("without Podman: %+v", h)
		}
		down = false
		want("when it did not answer", false, 1)
		want("then", false, 0)
		time.Sleep(time.Hour)
		want("an hour later", false, 1)
	})
}
