package integration

import (
	"context"
	"errors"
	"fmt"
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

// TestMain removes what was built, and lets this program stand in for one that appends to a log (see eio_test.go).
func TestMain(m *testing.M) {
	if dir := os.Getenv(appendTo); dir != "" {
		if err := appendToLog(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if err := built.remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// built are the binaries that the tests share.
var built binaries

type binaries struct {
	once sync.Once
	dir  string
	err  error
}

// folder builds podman-swarm-agent, psctl, crash, powercut, split, drill, audit, follow and alarms when first asked.
func (b *binaries) folder(t *testing.T) string {
	t.Helper()
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "podman-swarm-bin-"); b.err != nil {
			return
		}
		if b.err = trial.Build(context.Background(), filepath.Join(b.dir, "podman-swarm-agent")); b.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", b.dir, "../cmd/psctl", "./crash", "./powercut", "./split", "./drill", "./audit", "./follow", "./alarms")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("build the tests' programs: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.dir
}

func (b *binaries) remove() error {
	if b.dir == "" {
		return nil
	}
	return os.RemoveAll(b.dir)
}

// newAgent is an agent on a data dir that does not run yet. It is killed at the test's end.
func newAgent(t *testing.T, host *podmanhost.Host, dataDir string) *trial.Agent {
	t.Helper()
	a := &trial.Agent{
		Bin: filepath.Join(built.folder(t), "podman-swarm-agent"), DataDir: dataDir, Podman: host.Socket(), Node: "h1",
		Args: []string{"--recovery-delay", "20ms"}, Output: filepath.Join(t.TempDir(), "agent.log"),
	}
	t.Cleanup(func() {
		if err := a.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the agent on %s wrote:\n%s", dataDir, a.OutputTail())
		}
	})
	return a
}

// up starts the agent and returns when it is ready.
func up(t *testing.T, a *trial.Agent) {
	t.Helper()
	must(t, a.Up(t.Context()))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// apply applies a manifest, which must be taken.
func apply(t *testing.T, a *trial.Agent, manifest string) trial.Applied {
	t.Helper()
	answer, err := trial.ApplyOnce(t.Context(), a.URL(), manifest)
	must(t, err)
	return answer
}

// refused applies a manifest, which must be refused with that code, and returns the answer.
func refused(t *testing.T, a *trial.Agent, code int, manifest string) *trial.StatusError {
	t.Helper()
	return status(t, code, func() error {
		_, err := trial.ApplyOnce(t.Context(), a.URL(), manifest)
		return err
	})
}

// status wants an answer with that code.
func status(t *testing.T, code int, ask func() error) *trial.StatusError {
	t.Helper()
	err := ask()
	if s, ok := err.(*trial.StatusError); ok && s.Code == code {
		return s
	}
	t.Fatalf("got %v, want %d", err, code)
	return nil
}

// pods waits until so many containers of a Deployment run.
func pods(t *testing.T, host *podmanhost.Host, deployment string, want int) []trial.Container {
	t.Helper()
	of, err := trial.Pods(t.Context(), host, deployment, want)
	must(t, err)
	return of
}

// untouched wants each container as it was.
func untouched(t *testing.T, host *podmanhost.Host, before []trial.Container) {
	t.Helper()
	after, err := trial.Containers(t.Context(), host)
	must(t, err)
	for _, b := range trial.Bounced(before, after) {
		t.Error("bounced:", b)
	}
}

// eventually tries until there is no error, for up to half a minute.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-every.C {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// figuresTo is the environment variable that names a file for what tests have counted.
const figuresTo = "PODMAN_SWARM_TEST_FIGURES"

// figure logs what a test has counted, and appends it to the file that is there for it, if any: go test shows nothing of what a test that
// passes has logged, and task test prints the file in the end.
func figure(t *testing.T, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	t.Log(line)
	name := os.Getenv(figuresTo)
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = fmt.Fprintf(f, "%s: %s\n", t.Name(), line)
	must(t, errors.Join(err, f.Close()))
}

// contains wants every one of the phrases in the text.
func contains(t *testing.T, text string, phrases ...string) {
	t.Helper()
	for _, p := range phrases {
		if !strings.Contains(text, p) {
			t.Errorf("got %q, want %q in it", text, p)
		}
	}
}

// code waits for the agent to end by itself, and wants that exit code.
func code(t *testing.T, a *trial.Agent, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	got, err := a.Wait(ctx)
	must(t, err)
	if got != want {
		t.Errorf("exit code: got %d, want %d; the agent wrote:\n%s", got, want, a.OutputTail())
	}
}
