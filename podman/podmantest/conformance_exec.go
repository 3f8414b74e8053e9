package podmantest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/podman"
)

func (s *suite) shorterGrace(t *testing.T) {
	spec := s.spec(t, "-ignore-term", "-lines=1")
	spec.StopTimeout = 300
	id := s.start(t, spec)
	s.until(t, id, func(podman.Container) bool { return strings.Contains(s.read(t, id, podman.LogOptions{}), "out 1\n") })
	began := time.Now()
	if err := s.Stop(t.Context(), id, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < 900*time.Millisecond || d > 2*time.Minute {
		t.Errorf("stopped after %s, want the second that was said, and not the container's own grace", d)
	}
}

func (s *suite) exec(t *testing.T) {
	id := s.start(t, s.spec(t))
	begun := false
	code, output, err := s.Exec(t.Context(), id, []string{"/web", "-exit-after=0s", "-exit-code=3", "-lines=1"}, func() { begun = true })
	if err != nil || code != 3 || !begun || !strings.Contains(output, "out 1\n") || !strings.Contains(output, "err 1\n") {
		t.Errorf("got code %d, output %q, %v, begun %t; want 3, both lines, no error, true", code, output, err, begun)
	}
	if code, _, err := s.Exec(t.Context(), id, []string{"/web", "-exit-after=0s"}, func() {}); err != nil || code != 0 {
		t.Errorf("got code %d, %v; want 0", code, err)
	}
	var refusal *podman.Refusal
	if code, _, err := s.Exec(t.Context(), id, []string{"/nonesuch"}, func() {}); !errors.As(err, &refusal) && code != 126 && code != 127 {
		t.Errorf("a command that is not there: got code %d, %v", code, err)
	}
	if err := s.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Exec(t.Context(), id, []string{"/web", "-exit-after=0s"}, func() {}); !errors.As(err, &refusal) {
		t.Errorf("in a container that does not run: got %v, want a Refusal", err)
	}
	if _, _, err := s.Exec(t.Context(), "conformance-nonesuch", []string{"/web"}, func() {}); !errors.Is(err, podman.ErrNotFound) {
		t.Errorf("in no container: got %v, want ErrNotFound", err)
	}
}
