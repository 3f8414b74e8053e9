// Command demo shows what Podman Swarm is for, on real Podman and with the built binaries: a Deployment comes up, the
// agent and a container are killed, and the agent, started again, brings back what was lost and leaves the rest alone.
//
// With -hosts 3 it shows what a cluster is for, on three hosts of its own: one is cut off while something is deleted,
// comes back, and the delete stays; one loses its power, and its replicas move.
//
// It uses Podman hosts, data dirs and ports of its own, and leaves nothing behind. It ends with 0 only if what it shows
// is true.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bin := flag.String("bin", "bin", "folder of podman-swarm-agent and psctl")
	manifest := flag.String("f", "integration/examples/web.yaml", "manifest to apply: three replicas of a web server")
	hosts := flag.Int("hosts", 1, "how many hosts: 1, or 3 and more for what a cluster does")
	flag.Parse()
	var err error
	switch {
	case *hosts == 1:
		err = run(ctx, *bin, *manifest)
	case *hosts < 3:
		err = fmt.Errorf("-hosts %d: want 1, or 3 and more: of two neither is a majority, so nothing would move", *hosts)
	default:
		err = runCluster(ctx, *bin, *manifest, *hosts)
	}
	switch {
	case err == errInterrupted: // and no error of cleaning up is joined to it
		fmt.Fprintln(os.Stderr, "\ndemo: interrupted; all of it has been removed")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

// also adds what went wrong while cleaning up.
func also(err *error, more error) {
	if more != nil {
		*err = errors.Join(*err, more)
	}
}

// errInterrupted stands for whatever an interrupt broke off.
var errInterrupted = errors.New("interrupted")

func run(ctx context.Context, bin, manifest string) (err error) {
	dir, err := os.MkdirTemp("", "podman-swarm-demo-")
	if err != nil {
		return err
	}
	defer func() { also(&err, os.RemoveAll(dir)) }()

	say("A Podman of its own, so that yours is not touched, with a test image made on the spot")
	hostDir := filepath.Join(dir, "host")
	if err := os.Mkdir(hostDir, 0o750); err != nil {
		return err
	}
	host, err := podmanhost.Open(ctx, hostDir)
	switch {
	case err != nil && ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return err
	}
	defer func() { also(&err, host.Close()) }()
	fmt.Println("  ", host.Socket())

	agent := newAgent(bin, filepath.Join(dir, "data"), host.Socket())
	defer func() { also(&err, agent.Kill()) }()
	err = story(ctx, host, agent, manifest)
	switch {
	case err != nil && ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return fmt.Errorf("%w\n\nthe agent's log:\n%s", err, agent.OutputTail())
	}
	return nil
}

// story is what the demo tells; each step fails where it is not true.
func story(ctx context.Context, host *podmanhost.Host, agent *agent, manifest string) error {
	say("Start the agent and apply a Deployment of three replicas, a Service and an Ingress")
	if err := agent.start(ctx); err != nil {
		return err
	}
	if _, err := agent.psctl(ctx, "apply", "-f", manifest, "--wait"); err != nil {
		return err
	}
	if _, err := agent.psctl(ctx, "get", "pods", "-o", "wide"); err != nil {
		return err
	}
	before, err := list(ctx, host)
	if err != nil {
		return err
	}
	if err := serving(ctx, before, 3); err != nil {
		return err
	}

	victim := before[0]
	say("SIGKILL the agent in the middle, and while it is dead one of the three containers")
	if err := agent.Kill(); err != nil {
		return err
	}
	if _, err := host.Podman(ctx, "kill", "--signal", "KILL", victim.ID); err != nil {
		return err
	}
	fmt.Printf("   killed: the agent, and %s\n", victim)
	if err := serving(ctx, before[1:], 2); err != nil {
		return fmt.Errorf("with the agent dead: %w", err)
	}

	say("Start the agent again: it replays its log and makes true what the log says")
	began := time.Now()
	if err := agent.start(ctx); err != nil {
		return err
	}
	fmt.Printf("   ready after %.1f s\n", time.Since(began).Seconds())
	if _, err := agent.psctl(ctx, "recovery"); err != nil {
		return err
	}
	after, err := list(ctx, host)
	if err != nil {
		return err
	}
	if err := serving(ctx, after, 3); err != nil {
		return err
	}
	if err := untouched(before[1:], after); err != nil {
		return err
	}

	say("Apply the same again: all that was declared is there as it was")
	again, err := agent.psctl(ctx, "apply", "-f", manifest)
	if err != nil {
		return err
	}
	for line := range strings.Lines(again) {
		if !strings.HasSuffix(line, " unchanged\n") {
			return fmt.Errorf("lost: %s", line)
		}
	}

	say("The log is the audit trail: who did what, and what came of it")
	if _, err := agent.psctl(ctx, "events"); err != nil {
		return err
	}

	say("SIGTERM: the agent leaves, its containers stay")
	if err := agent.terminate(ctx); err != nil {
		return err
	}
	left, err := list(ctx, host)
	if err != nil {
		return err
	}
	if err := untouched(after, left); err != nil {
		return err
	}
	if err := serving(ctx, left, 3); err != nil {
		return err
	}
	say("Nothing was lost and nothing bounced. Cleaning up")
	return nil
}

// untouched compares each container with itself: same ID, same process, same start time.
func untouched(before, after []container) error {
	now := map[string]container{}
	for _, c := range after {
		now[c.ID] = c
	}
	var errs []error
	for _, c := range before {
		if n, ok := now[c.ID]; !ok {
			errs = append(errs, fmt.Errorf("lost: %s", c))
		} else if n.State != c.State {
			errs = append(errs, fmt.Errorf("bounced: %s, now %s", c, n))
		} else {
			fmt.Printf("   untouched: %s\n", n)
		}
	}
	return errors.Join(errs...)
}

// serving asks each container for its page.
func serving(ctx context.Context, containers []container, want int) error {
	if len(containers) != want {
		return fmt.Errorf("%d containers, want %d: %v", len(containers), want, containers)
	}
	for _, c := range containers {
		url, err := c.url()
		if err != nil {
			return err
		}
		page, err := fetch(ctx, url)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		fmt.Printf("   GET %s: %s\n", url, strings.ReplaceAll(strings.TrimSpace(page), "\n", ", "))
	}
	return nil
}

func say(what string) { fmt.Printf("\n== %s\n", what) }
