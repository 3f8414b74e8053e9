package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// TestAgent_badRollOut rolls out what cannot start, and what ends soon after its start: the old replicas serve on, and
// are still the same ones once the change is taken back.
func TestAgent_badRollOut(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	up(t, a)
	good := trial.Deployment("web", 2, "")
	apply(t, a, good)
	serving := pods(t, host, "web", 2)
	const image = "image: localhost/podman-swarm-web:1\n"
	for what, c := range map[string]struct{ becomes, reason string }{
		"no such image": {"image: localhost/nonesuch:1\n        imagePullPolicy: Never\n", "ErrImageNeverPull"},
		"ends at once":  {image + "        args: [-exit-after=300ms, -exit-code=3]\n", "CrashLoopBackOff"},
	} {
		bad := strings.Replace(good, image, c.becomes, 1)
		if bad == good {
			t.Fatalf("no %q in %s", image, good)
		}
		apply(t, a, bad)
		eventually(t, func() error {
			b, err := trial.Get(t.Context(), a.URL()+"/api/v1/pods")
			if err == nil && !strings.Contains(string(b), c.reason) {
				err = fmt.Errorf("%s: no pod says %s", what, c.reason)
			}
			return err
		})
		untouched(t, host, serving)
		apply(t, a, good)
		pods(t, host, "web", 2)
		untouched(t, host, serving)
	}
}
