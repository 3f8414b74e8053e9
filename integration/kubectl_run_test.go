package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// buildKubectl builds kubectl (see kubectl/main.go) into the folder of what the tests share: minutes on a machine that
// never has, a second on one that has.
var buildKubectl = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-C", "kubectl", "-o", filepath.Join(built.dir, "kubectl"),
		"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build kubectl: %w\n%s", err, out)
	}
	return nil
})

// kubectl is real kubectl, in the hands of somebody who has configured nothing, and asks one agent. What the variable
// KUBECTL names, if it is set, takes its place: another version.
type kubectl struct {
	t      *testing.T
	bin    string
	dir    string // its HOME, and where its manifests are
	server string
}

func newKubectl(t *testing.T, a *trial.Agent) *kubectl {
	t.Helper()
	bin := os.Getenv("KUBECTL")
	if bin == "" {
		bin = filepath.Join(built.folder(t), "kubectl")
		must(t, buildKubectl())
	}
	return &kubectl{t, bin, t.TempDir(), a.URL()}
}

// kubectlOf starts an agent on a Podman of its own.
func kubectlOf(t *testing.T) (*kubectl, *trial.Agent, *podmanhost.Host) {
	t.Helper()
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	up(t, a)
	return newKubectl(t, a), a, host
}

// command is kubectl with those arguments; it is killed when it takes longer than a minute.
func (k *kubectl) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	k.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, k.bin, append([]string{"--server", k.server}, args...)...)
	cmd.Dir = k.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + k.dir, "KUBECONFIG=/dev/null",
		"KUBE_EDITOR=sed -i s/hello/edited/"}
	cmd.WaitDelay = time.Second
	return cmd
}

// run wants kubectl to succeed, and returns what it wrote.
func (k *kubectl) run(args ...string) string {
	k.t.Helper()
	out, err := k.command(args...).CombinedOutput()
	if err != nil {
		k.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// says wants kubectl to succeed, and to write just that.
func (k *kubectl) says(want string, args ...string) {
	k.t.Helper()
	if got := k.run(args...); got != want {
		k.t.Errorf("kubectl %s: got %q, want %q", strings.Join(args, " "), got, want)
	}
}

// fails wants kubectl to fail, and to say why.
func (k *kubectl) fails(why string, args ...string) {
	k.t.Helper()
	out, err := k.command(args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), why) {
		k.t.Errorf("kubectl %s: got %v, %q; want exit code 1, and %q in it", strings.Join(args, " "), err, out, why)
	}
}

// file writes a manifest.
func (k *kubectl) file(manifest string) string {
	k.t.Helper()
	f, err := os.CreateTemp(k.dir, "*.yaml")
	must(k.t, err)
	_, err = f.WriteString(manifest)
	must(k.t, errors.Join(err, f.Close()))
	return f.Name()
}

// applies applies a manifest and wants of its objects, in order, to be said that.
func (k *kubectl) applies(manifest string, want ...string) {
	k.t.Helper()
	k.says(strings.Join(want, "\n"), "apply", "-f", k.file(manifest))
}

// follow starts kubectl for something that goes on.
func (k *kubectl) follow(args ...string) *followed {
	k.t.Helper()
	f := &followed{t: k.t, cmd: k.command(args...)}
	out, err := f.cmd.StdoutPipe()
	must(k.t, err)
	f.lines = bufio.NewScanner(out)
	must(k.t, f.cmd.Start())
	return f
}

// followed is a kubectl that goes on.
type followed struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	seen  []string
}

// until reads on until there is such a line.
func (f *followed) until(want string) {
	f.t.Helper()
	for f.lines.Scan() {
		f.seen = append(f.seen, f.lines.Text())
		if strings.Contains(f.lines.Text(), want) {
			return
		}
	}
	f.t.Fatalf("%v ended without saying %q: %v; it said %q", f.cmd, want, f.cmd.Wait(), f.seen)
}

// end reads the rest, and wants kubectl to end without an error.
func (f *followed) end() {
	f.t.Helper()
	for f.lines.Scan() {
		f.seen = append(f.seen, f.lines.Text())
	}
	if err := f.cmd.Wait(); err != nil {
		f.t.Errorf("%v: %v; it said %q", f.cmd, err, f.seen)
	}
}

// swapped is the text with each old one, which must be there, in place of the next.
func swapped(t *testing.T, text string, oldnew ...string) string {
	t.Helper()
	for pair := range slices.Chunk(oldnew, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("no %q in %s", pair[0], text)
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return text
}
