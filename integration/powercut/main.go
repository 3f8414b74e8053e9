// Command powercut cuts the power of the disk under load and looks at what is left, in two ways.
//
// In the first, an agent runs on an ext4 or XFS file system that is shut down under load, so that nothing more reaches
// the disk, then mounted again; the agent is started on it and must hold all that it had acknowledged before.
//
// In the second, the file system is on a disk that this program serves itself, and that records every write and flush.
// Afterwards it builds what the disk may hold if the power goes at a random moment: all that was flushed, and of what
// was not, some writes and not others, and of those some sectors and not others. Each such image is mounted, and the
// log on it opened and compared; or, with -restores, an agent is started on it that had backed up, pruned, trimmed, restored and been resealed, its
// backups plain, sealed for a key, or with a passphrase. Of these a third are of moments in the middle of what is done seldom, and how many were in the middle of what is counted. That the same images of a disk which ignores flushes do lose something is checked as
// well.
//
// It prints its figures and ends with 0 only if nothing was lost or wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.rounds, "rounds", 50, "how many times the power is cut under an agent, on each kind of file system")
	flag.IntVar(&o.images, "images", 0, "how many images are looked at, of each kind of file system (default: four times -rounds)")
	flag.BoolVar(&o.restores, "restores", false, fmt.Sprintf("look instead at images of the disk of an agent that backs up, seals, prunes, trims, restores, is resealed, and has taken over what another left; of %d images or more some must be of the middle of each", documented))
	flag.StringVar(&o.kind, "kind", "", "the only kind of file system to try: ext4, ext4-noauto_da_alloc or xfs (default: all)")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64()>>32, "of all that is random here; the moments at which the machine does things are not")
	flag.StringVar(&o.bin, "bin", "bin", "folder of podman-swarm-agent")
	flag.StringVar(&o.dir, "dir", "", "folder for the disks (default: a temporary one), which are removed unless something was wrong")
	flag.Parse()
	if err := alone(ctx, func() error { return run(ctx, o) }); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}

// insideEnv tells this program that it runs in a mount namespace of its own.
const insideEnv = "PODMAN_SWARM_TEST_POWERCUT_INSIDE"

// alone calls f in a mount namespace of this program's own. Whoever makes a namespace while one of our file systems is
// mounted takes a copy of the mount along and keeps the file system alive; mounted again, it would still be the one
// whose power was cut.
func alone(ctx context.Context, f func() error) error {
	if os.Getenv(insideEnv) != "" {
		return f()
	}
	runtime.LockOSThread() // it is this thread's death that the kernel tells the child of
	defer runtime.UnlockOSThread()
	inside := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	inside.Env = append(os.Environ(), insideEnv+"=1")
	inside.Stdout, inside.Stderr = os.Stdout, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	inside.Cancel = func() error { return inside.Process.Signal(syscall.SIGTERM) }
	return inside.Run()
}

type options struct {
	rounds, images int
	restores       bool
	seed           uint64
	bin, dir, kind string
}

func run(ctx context.Context, o options) error {
	if err := missing(); err != nil {
		return err
	}
	if o.images == 0 {
		o.images = 4 * o.rounds
	}
	dir, err := os.MkdirTemp(o.dir, "podman-swarm-powercut-")
	if err != nil {
		return err
	}
	if o.restores {
		o.rounds = 0
	}
	fmt.Printf("powercut: %d rounds and %d images of each kind, seed %d\n", o.rounds, o.images, o.seed)
	if err := errors.Join(cuts(ctx, o, dir), disks(ctx, o, dir)); err != nil {
		return fmt.Errorf("%w\ndisks and output are in %s", err, dir)
	}
	return os.RemoveAll(dir)
}

// cuts is the first way.
func cuts(ctx context.Context, o options, dir string) (err error) {
	if o.rounds == 0 {
		return nil
	}
	hostDir := filepath.Join(dir, "host")
	if err := os.Mkdir(hostDir, 0o750); err != nil {
		return err
	}
	host, err := podmanhost.Open(ctx, hostDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	var errs []error
	for _, k := range kinds(o.kind) {
		c := &cut{kind: k, bin: o.bin, dir: filepath.Join(dir, k.name), rounds: o.rounds, seed: o.seed}
		if err := c.try(ctx, host); err != nil {
			errs = append(errs, err)
		}
		if !c.report.Clean() || len(c.witnesses.Bounced) > 0 {
			errs = append(errs, fmt.Errorf("%s:\n%s%s", k.name, c.report.String(), c.witnesses.Bounced))
		}
	}
	return errors.Join(errs...)
}

// disks is the second way.
func disks(ctx context.Context, o options, dir string) error {
	var errs []error
	for _, k := range kinds(o.kind) {
		i := &images{kind: k, dir: filepath.Join(dir, "disk-"+k.name), count: o.images, liars: max(20, o.images/10), seed: o.seed, work: writing(o.seed)}
		if o.restores { // some of which take minutes to say that they cannot be
			i.liars, i.work = 4, (&working{bin: o.bin, dir: i.dir, seed: o.seed}).work
		}
		if err := i.try(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
