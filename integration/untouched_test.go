package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// TestAgent_otherDataDirRemovesNothing starts agents on an empty and on a wrong data dir beside twenty containers of
// the right one. They are orphans there, and are left running whatever is applied.
func TestAgent_otherDataDirRemovesNothing(t *testing.T) {
	const n = 20
	host := podmanhost.Start(t)
	dirs := t.TempDir()
	right := newAgent(t, host, filepath.Join(dirs, "right"))
	up(t, right)
	apply(t, right, trial.Deployment("web", n, ""))
	running := pods(t, host, "web", n)
	must(t, right.Kill())

	for _, dir := range []string{"other", "empty"} {
		other := newAgent(t, host, filepath.Join(dirs, dir))
		up(t, other)
		wantOrphans(t, other, n)
		untouched(t, host, running)
		if dir == "other" { // a Deployment of the same name, another with none, and one that goes
			apply(t, other, trial.Deployment("web", 2, "")+"---\n"+trial.Deployment("none", 0, ""))
			eventually(t, func() error {
				all, err := trial.Containers(t.Context(), host)
				if err == nil && len(all) != n+2 {
					err = fmt.Errorf("%d containers, want %d", len(all), n+2)
				}
				return err
			})
			must(t, other.Kill())
			up(t, other)
			wantOrphans(t, other, n)
			must(t, trial.DeleteOnce(t.Context(), other.URL(), "deployment", "web"))
			eventually(t, func() error {
				all, err := trial.Containers(t.Context(), host)
				if err == nil && len(all) != n {
					err = fmt.Errorf("%d containers, want %d", len(all), n)
				}
				return err
			})
		}
		untouched(t, host, running)
		must(t, other.Kill())
	}

	up(t, right)
	wantOrphans(t, right, 0)
	untouched(t, host, running)
}

// wantOrphans waits until the agent reports so many.
func wantOrphans(t *testing.T, a *trial.Agent, want int) {
	t.Helper()
	eventually(t, func() error {
		var orphans []struct{ ID, Why string }
		err := trial.GetJSON(t.Context(), a.URL()+"/swarm/v1/orphans", &orphans)
		if err == nil && len(orphans) != want {
			err = fmt.Errorf("%d orphans, want %d: %v", len(orphans), want, orphans)
		}
		return err
	})
}

// TestAgent_upgradeBouncesNone starts another version of the agent, with other defaults, on the data dir and the
// containers of this one.
func TestAgent_upgradeBouncesNone(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	up(t, a)
	// What has a default is left out.
	apply(t, a, strings.ReplaceAll(trial.Deployment("web", 3, "hello"), "      terminationGracePeriodSeconds: 1\n", ""))
	running := pods(t, host, "web", 3)
	code, err := a.Terminate(t.Context())
	must(t, err)
	if code != 0 {
		t.Errorf("exit code after SIGTERM: got %d, want 0", code)
	}

	old := a.Bin
	a.Bin = upgraded(t)
	up(t, a)
	version, err := exec.Command(a.Bin, "--version").Output()
	must(t, err)
	contains(t, string(version), "upgraded")
	wantOrphans(t, a, 0)
	untouched(t, host, running)
	apply(t, a, trial.Deployment("new", 1, ""))
	pods(t, host, "new", 1)
	untouched(t, host, running)

	must(t, a.Kill())
	a.Bin = old // and back again
	up(t, a)
	wantOrphans(t, a, 0)
	untouched(t, host, running)
}

// upgraded builds an agent of another version whose defaults are others.
func upgraded(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs("../events/manifest/default.go")
	must(t, err)
	b, err := os.ReadFile(source)
	must(t, err)
	text := string(b)
	for is, becomes := range map[string]string{
		"corev1.DefaultTerminationGracePeriodSeconds": "31",
		"&s.RevisionHistoryLimit, 10":                 "&s.RevisionHistoryLimit, 11",
		"corev1.DNSClusterFirst":                      "corev1.DNSDefault",
	} {
		if !strings.Contains(text, is) {
			t.Fatalf("%s has no %s any more: give this test another default to change", source, is)
		}
		text = strings.ReplaceAll(text, is, becomes)
	}
	must(t, os.WriteFile(filepath.Join(dir, "default.go"), []byte(text), 0o600))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {source: filepath.Join(dir, "default.go")}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	bin := filepath.Join(dir, "podman-swarm-agent")
	must(t, trial.Build(t.Context(), bin, "-overlay", filepath.Join(dir, "overlay.json"), "-ldflags=-s -w -X main.version=upgraded"))
	return bin
}
