package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// Failure A.1: exits when started with its documented flags.
func TestFailure_A1_flags(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	a.Args = []string{"--node-address", "127.0.0.1", "--node-label", "zone=a", "--recovery-delay", "20ms", "--log-level", "debug",
		"--log-format", "json"}
	up(t, a)
	help, err := exec.Command(a.Bin, "--help").Output()
	must(t, err)
	contains(t, string(help), append(flagsOf(a.Args), "--data-dir", "--node-name", "--api-addr", "--podman-url")...)

	wrong := exec.Command(a.Bin, "--data-dir", t.TempDir(), "--node-name", "A_B", "--api-addr", "0.0.0.0:8080",
		"--recovery-delay", "-1s", "--log-level", "loud", "--log-format", "xml", "--node-address", "a b")
	wrong.Env = append(os.Environ(), "PODMAN_SWARM_NODE_LABEL=no label=x")
	out, _ := wrong.CombinedOutput()
	if got := wrong.ProcessState.ExitCode(); got != 2 {
		t.Errorf("exit code with a wrong command line: got %d, want 2", got)
	}
	contains(t, string(out), "--node-name", "--api-addr", "--recovery-delay", "--log-level", "--log-format", "--node-address")
}

func flagsOf(args []string) (flags []string) {
	for _, a := range args {
		if strings.HasPrefix(a, "--") {
			flags = append(flags, a)
		}
	}
	return flags
}

// Failure A.2: a nil panics 30 s after every start: no input may end the agent. Failure A.26: a --- within a value splits
// the manifest, missing replicas panic, unknown fields and kinds are dropped in silence.
func TestFailure_A2_A26_input(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	up(t, a)
	good := trial.Deployment("web", 0, "")
	for _, c := range []struct {
		what, manifest string
		want           []string // in the answer
	}{
		{"nothing", " ", nil},
		{"null", "null", nil},
		{"a list", "[1, 2]", nil},
		{"metadata null", "apiVersion: apps/v1\nkind: Deployment\nmetadata: null\nspec: null\n", []string{"name"}},
		{"no spec", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", []string{"spec"}},
		{"a kind unknown", "apiVersion: v1\nkind: Banana\nmetadata: {name: x}\n", []string{"Banana"}},
		{"a field unknown", strings.Replace(good, "  replicas:", "  replicaz:", 1), []string{"replicaz", `"line":6`}},
		{"a field not honoured", strings.Replace(good, "        image:", "        stdin: true\n        image:", 1), []string{"stdin"}},
		{"deep", "a: " + strings.Repeat("[", 20000), nil},
		{"bombs", "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n", nil},
		{"bytes", "\x00\xff\xfe: {", nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := trial.ApplyOnce(t.Context(), a.URL(), c.manifest)
			s, ok := err.(*trial.StatusError)
			if !ok || s.Code < 400 || s.Code > 499 {
				t.Fatalf("got %v, want it refused", err)
			}
			contains(t, s.Body, c.want...)
		})
	}
	for _, path := range []string{"/api/v1/pods/", "/apis/apps/v1/namespaces/%2e%2e/deployments/%00", "/swarm/v1/events?after=-1",
		"/api/v1/pods?watch=1&resourceVersion=x", "/api/v1/pods?limit=-1&continue=zzz", "/api/v1/pods?labelSelector=((("} {
		if _, err := trial.Get(t.Context(), a.URL()+path); err != nil {
			if s, ok := err.(*trial.StatusError); !ok || s.Code >= 500 {
				t.Errorf("GET %s: %v", path, err)
			}
		}
	}
	one := strings.Replace(good, "  replicas: 0\n", "", 1) // one is the default
	one = strings.Replace(one, "metadata:\n", "metadata:\n  annotations:\n    text: |\n      a\n      ---\n      b\n", 1)
	if got := apply(t, a, one); len(got.Results) != 1 {
		t.Errorf("a --- within a value: got %d objects, want 1", len(got.Results))
	}
	pods(t, host, "web", 1)
	if a.Ended() {
		t.Error("the agent has ended")
	}
	if strings.Contains(a.OutputTail(), "panic") {
		t.Error("something panicked")
	}
}

// Failure A.6: kill -9 and restart: "name already in use", one of two recovered, and DELETE leaves the container running.
// Failure A.7: what exited, as after a reboot, stays so. Failure A.12: pods are pending for ever, and stay listed when
// deleted. Failure A.31: SIGTERM saves nothing.
func TestFailure_A6_A7_A12_A31_restarts(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	up(t, a)
	apply(t, a, trial.Deployment("web", 3, ""))
	running := pods(t, host, "web", 3)
	must(t, a.Kill())
	_, err := host.Podman(t.Context(), "kill", "--signal", "KILL", running[0].ID)
	must(t, err)
	_, err = host.Podman(t.Context(), "rm", "--force", "--time", "0", running[1].ID)
	must(t, err)
	up(t, a)
	now := pods(t, host, "web", 3)
	if b := trial.Bounced(running[2:], now); len(b) > 0 {
		t.Errorf("the container that ran on was touched: %v", b)
	}
	wantPods(t, a, "web", 3)

	must(t, a.Kill())
	must(t, host.Reboot(t.Context()))
	up(t, a)
	now = pods(t, host, "web", 3)
	wantPods(t, a, "web", 3)

	began := time.Now()
	code, err := a.Terminate(t.Context())
	must(t, err)
	if took := time.Since(began); code != 0 || took > 8*time.Second {
		t.Errorf("SIGTERM: exit code %d after %v, want 0 within seconds", code, took)
	}
	untouched(t, host, now)
	var saved struct{ Deployments, Pods map[string]json.RawMessage }
	b, err := os.ReadFile(filepath.Join(a.DataDir, "state.json"))
	must(t, err)
	must(t, json.Unmarshal(b, &saved))
	if len(saved.Deployments) != 1 || len(saved.Pods) != 3 || saved.Deployments["default/web"] == nil {
		t.Errorf("state.json after SIGTERM: got %s, want Deployment default/web and its 3 pods", b)
	}
	if got := strings.Count(string(b), `"state":"Running"`) + strings.Count(string(b), `"state": "Running"`); got < 3 {
		t.Errorf("state.json after SIGTERM says %d times Running, want 3 or more: %s", got, b)
	}

	up(t, a)
	must(t, trial.DeleteOnce(t.Context(), a.URL(), "deployment", "web"))
	pods(t, host, "web", 0)
	wantPods(t, a, "web", 0)
}

// wantPods waits until the API and state.json list just so many pods, all of them running.
func wantPods(t *testing.T, a *trial.Agent, deployment string, want int) {
	t.Helper()
	eventually(t, func() error {
		var list struct {
			Items []struct {
				Metadata struct{ Name string }
				Status   struct{ Phase string }
			}
		}
		if err := trial.GetJSON(t.Context(), a.URL()+"/api/v1/pods", &list); err != nil {
			return err
		}
		n := 0
		for _, p := range list.Items {
			if strings.HasPrefix(p.Metadata.Name, deployment+"-") {
				n++
				if p.Status.Phase != "Running" {
					return fmt.Errorf("pod %s is %s", p.Metadata.Name, p.Status.Phase)
				}
			}
		}
		if n != want {
			return fmt.Errorf("%d pods, want %d: %v", n, want, list.Items)
		}
		return nil
	})
	eventually(t, func() error {
		b, err := os.ReadFile(filepath.Join(a.DataDir, "state.json"))
		if err != nil {
			return err
		}
		var saved struct {
			Pods map[string]struct{ State string }
		}
		if err := json.Unmarshal(b, &saved); err != nil {
			return err
		}
		n := 0
		for name, p := range saved.Pods {
			if strings.HasPrefix(name, "default/"+deployment+"-") && p.State == "Running" {
				n++
			}
		}
		if n != want {
			return fmt.Errorf("state.json has %d running pods, want %d: %s", n, want, b)
		}
		return nil
	})
}

// Failure A.8: the recovery also "recovers" whatever is applied in its first seconds. Failure A.11: a manifest applied
// again is a 500.
func TestFailure_A8_A11_apply(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	a.Args = []string{"--recovery-delay", "700ms"}
	must(t, a.Start())
	manifest := trial.Deployment("web", 2, "one")
	waited := false
	eventually(t, func() error { // as a client does that heeds Retry-After
		_, err := trial.ApplyOnce(t.Context(), a.URL(), manifest)
		if s, ok := err.(*trial.StatusError); ok {
			waited = true
			if s.Code != http.StatusServiceUnavailable || s.RetryAfter == "" || !strings.Contains(s.Body, "recovering") {
				t.Errorf("during recovery: got %v, Retry-After %q, want 503, a Retry-After, and that it recovers", err, s.RetryAfter)
			}
		}
		return err
	})
	if !waited {
		t.Error("a change was taken before the recovery was over")
	}
	first := pods(t, host, "web", 2)

	again := apply(t, a, manifest)
	if again.Commit != "" || again.Results[0].Action != "unchanged" {
		t.Errorf("applied again: got %+v, want unchanged, and no commit", again)
	}
	untouched(t, host, first)
	changed := apply(t, a, trial.Deployment("web", 2, "two"))
	if changed.Commit == "" || changed.Results[0].Action != "configured" {
		t.Errorf("a changed one applied: got %+v, want configured", changed)
	}
	eventually(t, func() error {
		now, err := trial.Pods(t.Context(), host, "web", 2)
		if err == nil && len(trial.Bounced(first, now)) != 2 {
			err = fmt.Errorf("not rolled out: %v", now)
		}
		return err
	})
	all, err := trial.Containers(t.Context(), host)
	must(t, err)
	if len(all) != 2 {
		t.Errorf("%d containers, want 2: %v", len(all), all)
	}
}

// Failure A.4: over an unreadable state.json the agent starts empty, and overwrites it. Failure A.23: version is written
// and never read, and a null in the file panics at the start.
func TestFailure_A4_A23_stateFile(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	up(t, a)
	apply(t, a, trial.Deployment("web", 0, ""))
	state := filepath.Join(a.DataDir, "state.json")
	foreign := []string{"\x00\x00\x00", `{"deployments": {"default/x": null}}`, `{"version": 99}`}
	names, err := filepath.Glob("../snapshot/testdata/version1/*.json") // written by the earlier agent, some cut short
	must(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		must(t, err)
		foreign = append(foreign, string(b))
	}
	if len(names) == 0 {
		t.Fatal("no files of the earlier agent")
	}
	for _, found := range foreign {
		if code, err := a.Terminate(t.Context()); err != nil || code != 0 {
			t.Fatalf("SIGTERM: %d, %v", code, err)
		}
		must(t, os.WriteFile(state, []byte(found), 0o640))
		up(t, a)
		var list struct {
			Items []struct{ Metadata struct{ Name string } }
		}
		must(t, trial.GetJSON(t.Context(), a.URL()+"/apis/apps/v1/deployments", &list))
		if len(list.Items) != 1 || list.Items[0].Metadata.Name != "web" {
			t.Errorf("with a state.json of %.60q there are the Deployments %v, want web alone", found, list.Items)
		}
		kept := false
		entries, err := os.ReadDir(a.DataDir)
		must(t, err)
		for _, e := range entries {
			if b, err := os.ReadFile(filepath.Join(a.DataDir, e.Name())); err == nil && string(b) == found && e.Name() != "state.json" {
				kept = true
				contains(t, a.OutputTail(), e.Name())
			}
		}
		if !kept {
			t.Errorf("a state.json of %.60q is not kept: there is %v", found, entries)
		}
	}
}

// Failure A.24: DELETE has no kind, removes whatever has the name, and always answers 200. Failure A.25: a mistake in one
// document leaves those before it applied.
func TestFailure_A24_A25_wholeAndByKind(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	up(t, a)
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: %s}]}\n"
	s := refused(t, a, 422, trial.Deployment("web", 0, "")+"---\n"+fmt.Sprintf(service, "80000")+"---\n"+"kind: Nothing\n")
	contains(t, s.Body, "80000", `"document":2`, `"document":3`)
	if there(t, a, "web") {
		t.Error("part of a manifest with a mistake in it was applied")
	}
	apply(t, a, trial.Deployment("web", 0, "")+"---\n"+fmt.Sprintf(service, "80"))

	status(t, 400, func() error { return trial.DeleteOnce(t.Context(), a.URL(), "", "web") })
	status(t, 404, func() error { return trial.DeleteOnce(t.Context(), a.URL(), "ingress", "web") })
	status(t, 404, func() error { return trial.DeleteOnce(t.Context(), a.URL(), "deployment", "other") })
	must(t, trial.DeleteOnce(t.Context(), a.URL(), "service", "web"))
	status(t, 404, func() error { return trial.DeleteOnce(t.Context(), a.URL(), "service", "web") })
	if !there(t, a, "web") {
		t.Error("with the Service the Deployment of its name was deleted")
	}
}

// Failure A.30: one apply costs more the more there is: 32 kB written at 10 Deployments, 32 MB at 10,000.
func TestFailure_A30_bytesPerApply(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	up(t, a)
	apply(t, a, trial.Deployment("web", 0, "zero"))
	few := bytesOfApply(t, a, "one")
	for range 10 {
		var docs []string
		for i := range 100 {
			docs = append(docs, trial.Deployment("d"+strconv.Itoa(i)+"-"+strconv.FormatInt(time.Now().UnixNano(), 36), 0, ""))
		}
		apply(t, a, strings.Join(docs, "---\n"))
	}
	many := bytesOfApply(t, a, "two")
	if few < 200 || many > few+few/5 {
		t.Errorf("an apply writes %d bytes to the log beside one Deployment, and %d beside 1,000", few, many)
	}
}

// bytesOfApply is by how much the log grows with one changed Deployment: the least of some, as the agent may note something by itself meanwhile.
func bytesOfApply(t *testing.T, a *trial.Agent, say string) int {
	t.Helper()
	size := func() (n int) {
		for _, s := range segments(t, a.DataDir) {
			info, err := os.Stat(s)
			must(t, err)
			n += int(info.Size())
		}
		return n
	}
	quiet := func() { // what the agent notes down by itself is done
		eventually(t, func() error {
			before := size()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			<-ctx.Done()
			if size() != before {
				return fmt.Errorf("the log still grows")
			}
			return nil
		})
	}
	least := math.MaxInt
	for i := range 3 {
		quiet()
		before := size()
		apply(t, a, trial.Deployment("web", 0, say+strconv.Itoa(i)))
		quiet()
		least = min(least, size()-before)
	}
	return least
}
