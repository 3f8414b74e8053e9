package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// lines collects what an agent says.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is an agent within this process, with no Podman to be reached.
type running struct {
	url  string
	said lines
	stop context.CancelFunc
	code chan int
}

// begin runs an agent, which is stopped with the test if it has not been before, and waited for: its data dir goes with the test as well.
func begin(t *testing.T, url string, agent func(context.Context, *lines) int) *running {
	ctx, stop := context.WithCancel(context.Background())
	r := &running{url: url, stop: stop, code: make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.code <- agent(ctx, &r.said)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return r
}

func start(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	addr := freePort(t)
	args = append([]string{"--service-cidr=none", "--ingress-http=none", "--ingress-https=none", "--data-dir=" + dir, "--node-name=a", "--api-addr=" + addr, "--recovery-delay=1ms",
		"--podman-url=unix://" + filepath.Join(dir, "no-podman.sock")}, args...)
	return begin(t, "http://"+addr, func(ctx context.Context, said *lines) int {
		return run(ctx, args, nil, io.Discard, said)
	})
}

// get asks until the answer has the wanted code.
func (r *running) ask(t *testing.T, method, path, body string, want int) string {
	t.Helper()
	var last string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err.Error()
		} else {
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == want {
				return string(b)
			}
			last = fmt.Sprintf("%d %s", resp.StatusCode, b)
		}
		select {
		case code := <-r.code:
			t.Fatalf("the agent ended with %d:\n%s", code, &r.said)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("%s %s: %s, want %d\n%s", method, path, last, want, &r.said)
	return ""
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	select {
	case code := <-r.code:
		if code != 0 {
			t.Errorf("ended with %d, want 0:\n%s", code, &r.said)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("does not end:\n%s", &r.said)
	}
}

const service = `apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
`

// Failure A.31: a clean end writes everything, says so and leaves nothing behind. Without Podman applies go on.
func TestServe_startApplyStopStart(t *testing.T) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // as the agent does: what is begun for that lives as long as the process
	signal.Stop(hup)
	before := runtime.NumGoroutine()
	dir := t.TempDir()
	r := start(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", service, 200)
	if got := r.ask(t, "GET", "/readyz", "", 503); !strings.Contains(got, "recovering") {
		t.Errorf("readyz without Podman says %q, want that it recovers", got)
	}
	if got := r.ask(t, "GET", "/swarm/v1/orphans", "", 503); !strings.Contains(got, "not known") {
		t.Errorf("orphans without Podman: %s, want that they are not known", got)
	}
	if got := r.ask(t, "GET", "/metrics", "", 200); !strings.Contains(got, `podman_swarm_events_appended_total{kind="declared"} 1`) ||
		!strings.Contains(got, "podman_swarm_commit_bytes_count ") {
		t.Errorf("metrics do not count the event:\n%s", got)
	}
	r.end(t)

	var doc struct {
		Services map[string]any `json:"services"`
		Version  int            `json:"version"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil || json.Unmarshal(b, &doc) != nil || doc.Version != 2 || doc.Services["default/web"] == nil {
		t.Errorf("state.json after the end: %v\n%s", err, b)
	}

	r = start(t, dir)
	if got := r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", 200); !strings.Contains(got, `"port":80`) {
		t.Errorf("after the restart the service is %s", got)
	}
	if said := r.said.String(); !strings.Contains(said, "loaded state: 0 deployments, 1 services, 0 ingresses, 0 pods") {
		t.Errorf("it does not say what it loaded:\n%s", said)
	}
	if strings.Contains(r.said.String(), "set aside") {
		t.Errorf("its own state.json was set aside:\n%s", &r.said)
	}
	r.end(t)
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, there were %d:\n%s", runtime.NumGoroutine(), before, b[:runtime.Stack(b, true)])
		}
		runtime.Gosched()
	}
}

func TestServe_refusesChangesUntilItHasHeard(t *testing.T) {
	r := start(t, t.TempDir(), "--recovery-delay=1h")
	if got := r.ask(t, "POST", "/api/v1/manifests", service, 503); !strings.Contains(got, "recovering") {
		t.Errorf("a change is refused with %s", got)
	}
	r.ask(t, "GET", "/api/v1/namespaces", "", 200)
	r.end(t)
}

// Failures A.4 and A.18, the part that concerns one host: what somebody put there is neither believed nor lost.
func TestServe_foreignStateIsSetAside(t *testing.T) {
	for _, content := range []string{`{"version":1,"deployments":{}}`, "", "null", `{"deployments": {"default/x": nu`} {
		dir := t.TempDir()
		r := start(t, dir)
		r.ask(t, "POST", "/api/v1/manifests", service, 200)
		r.end(t)
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		r = start(t, dir)
		r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", 200)
		r.end(t)
		aside := setAside(t, dir)
		if b, _ := os.ReadFile(aside); string(b) != content {
			t.Errorf("what was set aside is %q, want %q", b, content)
		}
		if !strings.Contains(r.said.String(), aside) {
			t.Errorf("%q: it is not said:\n%s", content, &r.said)
		}
	}
}

// setAside is what was set aside of state.json.
func setAside(t *testing.T, dir string) string {
	t.Helper()
	aside, err := fs.Glob(os.DirFS(dir), "state.json.set-aside-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside are %v (%v), want one", aside, err)
	}
	return filepath.Join(dir, aside[0])
}

// Failure A.21: the second agent on a data dir is refused.
func TestServe_secondIsRefused(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.ask(t, "GET", "/healthz", "", 200)
	second := start(t, dir)
	select {
	case code := <-second.code:
		if code != 1 || !strings.Contains(second.said.String(), fmt.Sprint("in use by process ", os.Getpid())) {
			t.Errorf("ended with %d:\n%s", code, &second.said)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the second agent runs")
	}
	r.end(t)
}

// systemd hears of the recovery and of the end.
func TestServe_notifiesSystemd(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	r := start(t, dir)
	next := func() string {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1<<10)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := next(); !strings.HasPrefix(got, "STATUS=recovering") {
		t.Errorf("got %q, want that it recovers", got)
	}
	r.end(t)
	got := next()
	for strings.HasPrefix(got, "STATUS=recovering") {
		got = next()
	}
	if !strings.HasPrefix(got, "STOPPING=1\n") {
		t.Errorf("got %q, want that it stops", got)
	}
}

// A systemd that does not listen is told of once, not ten times a second.
func TestServe_systemdAway(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	r := start(t, t.TempDir())
	r.ask(t, "GET", "/healthz", "", 200)
	<-time.After(500 * time.Millisecond)
	r.end(t)
	if n := strings.Count(r.said.String(), "systemd cannot be told"); n != 1 {
		t.Errorf("told of %d times, want once:\n%s", n, &r.said)
	}
}

// The agent looks for the paths of hostPath volumes and makes some of them, which must be the host's own.
func TestUnit_seesTheHostsFiles(t *testing.T) {
	b, err := os.ReadFile("podman-swarm-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, "=")
		switch name {
		case "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectProc", "UMask", "TemporaryFileSystem", "InaccessiblePaths", "ReadOnlyPaths", "RootDirectory":
			t.Errorf("%s: hostPath volumes would not be what they are to Podman", strings.TrimSpace(line))
		}
	}
	if !strings.Contains(string(b), "\nType=notify\n") {
		t.Error("not Type=notify")
	}
}

// Without what the unit leaves it, the agent would serve Services on loopback addresses, answer no names, and open no port of an Ingress.
func TestUnit_mayServe(t *testing.T) {
	b, err := os.ReadFile("podman-swarm-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"CapabilityBoundingSet":   {"CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"},
		"RestrictAddressFamilies": {"AF_NETLINK", "AF_INET", "AF_UNIX"},
	} {
		var has []string
		for line := range strings.Lines(string(b)) {
			if is, values, _ := strings.Cut(strings.TrimSpace(line), "="); is == name {
				has = append(has, strings.Fields(values)...)
			}
		}
		for _, w := range want {
			if !slices.Contains(has, w) {
				t.Errorf("%s=%s: lacks %s", name, strings.Join(has, " "), w)
			}
		}
	}
}

func TestMetrics_behind(t *testing.T) {
	start := time.Unix(1000, 0)
	now := start.Add(time.Minute)
	for _, c := range []struct {
		name string
		w    *snapshot.Written
		want float64
	}{
		{"not written yet", nil, 60},
		{"cannot be written", &snapshot.Written{Err: io.ErrShortWrite}, 60},
		{"as the log", &snapshot.Written{Index: 7, At: start}, 0},
		{"older", &snapshot.Written{Index: 6, At: now.Add(-5 * time.Second)}, 5},
	} {
		if got := behind(c.w, 7, start, now); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// That Podman took too long over an orphan is no word on what was recorded.
func TestKnown_podmanTooSlow(t *testing.T) {
	err := known(fmt.Errorf("remove orphan web-0: %w", context.DeadlineExceeded))
	if !apierrors.IsServiceUnavailable(err) || err.Error() != "remove orphan web-0: context deadline exceeded" {
		t.Errorf("got %v", err)
	}
}

// An agent that is told to stop while it reads what it has at its start ends, and takes nothing for damaged.
func TestAgent_stoppedAtItsStart(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", service, http.StatusOK)
	r.end(t)
	log, err := events.Open(filepath.Join(dir, "events"), events.Options{Machine: machineID()})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	folds := snapshot.Folds{Dir: filepath.Join(dir, "events"), Source: log, Log: slog.New(slog.DiscardHandler)}
	if err := errors.Join(folds.Save(t.Context(), ledger.View().OnDisk()), log.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var said lines
	code := run(ctx, []string{"--data-dir=" + dir, "--node-name=a", "--api-addr=127.0.0.1:0"}, nil, io.Discard, &said)
	if code != 0 || !strings.Contains(said.String(), "stopped before it had read") || strings.Contains(said.String(), "passed over") {
		t.Errorf("ended with %d:\n%s", code, &said)
	}
}
