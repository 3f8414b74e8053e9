package integration

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// Failure A.20: a nested read lock, and live maps that are marshalled outside of it: the agent hangs, or crashes. This
// one is built with the race detector, and read in every way while eight write.
func TestFailure_A20_race(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	a.Bin = filepath.Join(t.TempDir(), "podman-swarm-agent")
	build := exec.Command("go", "build", "-race", "-o", a.Bin, "../cmd/podman-swarm-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	up(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, path := range []string{
		"/swarm/v1/state", "/swarm/v1/status", "/swarm/v1/recovery", "/swarm/v1/orphans", "/swarm/v1/conflicts", "/metrics",
		"/api/v1/pods", "/apis/apps/v1/deployments", "/api/v1/events", "/api/v1/nodes", "/swarm/v1/events?after=0",
		"/swarm/v1/events?after=0&follow=true", "/apis/apps/v1/deployments?watch=1", "/api/v1/pods?watch=1",
	} {
		wg.Go(func() { read(ctx, a.URL()+path) })
	}
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			_, err := trial.ApplyOnce(ctx, a.URL(), trial.Deployment("web", n%4, ""))
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	load := trial.NewLoad(8, 10, 0, 20)
	load.Run(ctx, a.URL())
	wg.Wait()
	seen, err := trial.Listed(t.Context(), a.URL())
	must(t, err)
	if r := load.Check(seen); !r.Clean() {
		t.Error(r.String())
	}
	code, err := a.Terminate(t.Context())
	must(t, err)
	b, err := os.ReadFile(a.Output)
	must(t, err)
	if code != 0 || strings.Contains(string(b), "DATA RACE") || strings.Contains(string(b), "panic") {
		t.Errorf("exit code %d, want 0, no race and no panic", code)
	}
	t.Logf("%d changes acknowledged", load.Acknowledged())
}

// read asks for a page again and again until ctx ends. What it says is for other tests.
func read(ctx context.Context, url string) {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
}
