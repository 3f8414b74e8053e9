// Command drill restores a cluster to random moments of its past, and takes each restore back. What a moment was like is known from
// the events that each host told while it happened, which are put together here in the plainest way, and not by the product.
//
// The hosts are real but for their hardware: see package street. The program prints its figures, and ends with 0 only if nothing
// differed and no container was bounced.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

type options struct {
	changes, moments, hosts int
	seed                    uint64
	every                   time.Duration
	bin, dir                string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.changes, "changes", 10_000, "how many random changes are made")
	flag.IntVar(&o.moments, "moments", 50, "how many random moments are restored")
	flag.IntVar(&o.hosts, "hosts", 3, "how many hosts")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64()>>32, "of all that is random here; the moments at which the machine does things are not")
	flag.DurationVar(&o.every, "backup-interval", 5*time.Second, "time between the backups that each host makes meanwhile")
	flag.StringVar(&o.bin, "bin", "bin", "folder of podman-swarm-agent")
	flag.StringVar(&o.dir, "dir", "", "folder for the hosts' files, on a real disk (default: the one for temporary files)")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "drill:", err)
		os.Exit(1)
	}
}

// drill is one whole drill.
type drill struct {
	options
	rnd     *rand.Rand
	street  *street.Street
	pasts   []past              // of each host
	stand   [][]trial.Container // of each host: what must run on
	stood   []uint64            // of each host: the index of its log by which that was declared
	figures figures
}

// figures are what is printed.
type figures struct {
	changes, events, restores, backups, undone int
	differences, bounced                       []string
	restoring                                  []time.Duration // until all hosts had it
}

func run(ctx context.Context, o options) (err error) {
	if o.changes < 1 || o.moments < 1 || o.hosts < 1 || o.every <= 0 {
		return errors.New("-changes, -moments, -hosts and -backup-interval must be positive")
	}
	fmt.Printf("drill: %d changes, %d moments, %d hosts, seed %d\n", o.changes, o.moments, o.hosts, o.seed)
	began := time.Now()
	d := &drill{options: o, rnd: rand.New(rand.NewPCG(o.seed, 0))}
	err = d.do(ctx)
	f := &d.figures
	slices.Sort(f.restoring)
	line := fmt.Sprintf("changes %d  events %d  moments restored %d  backups restored %d  taken back %d  differences %d  bounced %d", f.changes,
		f.events, f.restores, f.backups, f.undone, len(f.differences), len(f.bounced))
	if n := len(f.restoring); n > 0 {
		line += fmt.Sprintf("  on all hosts after p50 %.2f s, at most %.2f s", f.restoring[n/2].Seconds(), f.restoring[n-1].Seconds())
	}
	fmt.Printf("%s  seed %d  seconds %.0f\n", line, o.seed, time.Since(began).Seconds())
	for _, text := range slices.Concat(f.differences, f.bounced) {
		fmt.Println(" ", text)
	}
	if err == nil && len(f.differences)+len(f.bounced) > 0 {
		err = errors.New("something was wrong")
	}
	if err != nil {
		return fmt.Errorf("%w; the same again: task drill -- -changes %d -moments %d -hosts %d -seed %d", err, o.changes, o.moments, o.hosts, o.seed)
	}
	return nil
}

func (d *drill) do(ctx context.Context) (err error) {
	args := []string{"--recovery-delay", "100ms", "--backup-interval", d.every.String(), "--backup-keep-last", "1000"}
	if d.street, err = street.Open(ctx, street.Options{Dir: d.dir, Hosts: d.hosts, Bin: d.bin, Seed: d.seed, Args: args}); err != nil {
		return err
	}
	defer func() {
		if err != nil || len(d.figures.differences)+len(d.figures.bounced) > 0 {
			if kept, kerr := os.MkdirTemp(d.dir, "podman-swarm-drill-"); kerr == nil {
				fmt.Println("  the data dirs and the agents' output are in", kept)
				err = errors.Join(err, d.street.Keep(kept))
			}
		}
		err = errors.Join(err, d.street.Close())
	}()
	if err := street.Form(ctx, "drill", d.street.Hosts); err != nil {
		return err
	}
	if err := d.standing(ctx); err != nil {
		return err
	}
	if err := d.change(ctx); err != nil {
		return err
	}
	for n := range d.moments {
		if err := d.restore(ctx, n); err != nil {
			return err
		}
	}
	return d.untouched(ctx)
}

// standing declares what runs through all of it, and notes its containers, and the moment: one from before would take them away.
func (d *drill) standing(ctx context.Context) error {
	h := d.street.Hosts[0]
	// It places replicas, and should find all the hosts.
	if err := until(ctx, time.Minute, func() error { return d.ready(ctx, h) }); err != nil {
		return err
	}
	manifest := trial.Deployment("stand", 2*d.hosts, "")
	if _, err := trial.Apply(ctx, h.Client(), h.URL(), manifest); err != nil {
		return err
	}
	var ready struct {
		Status struct{ AvailableReplicas int }
	}
	err := until(ctx, time.Minute, func() error {
		if err := trial.JSON(ctx, h.Client(), h.URL()+"/apis/apps/v1/namespaces/default/deployments/stand", &ready); err != nil {
			return err
		}
		if n := ready.Status.AvailableReplicas; n < 2*d.hosts {
			return fmt.Errorf("%d of %d replicas are available", n, 2*d.hosts)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := d.agree(ctx); err != nil {
		return err
	}
	for _, h := range d.street.Hosts {
		all, err := trial.Containers(ctx, h.Podman)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("nothing runs on %s", h.Name)
		}
		d.stand = append(d.stand, all)
		p, err := readPast(ctx, h)
		if err != nil {
			return err
		}
		d.stood = append(d.stood, p.last())
	}
	return nil
}

// ready wants a host to see that all take replicas.
func (d *drill) ready(ctx context.Context, h *street.Host) error {
	var seen struct {
		Hosts []struct {
			Host  string
			Ready bool
		}
	}
	if err := trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/status", &seen); err != nil {
		return err
	}
	ready := 0
	for _, o := range seen.Hosts {
		if o.Ready {
			ready++
		}
	}
	if ready != d.hosts {
		return fmt.Errorf("%s sees %d hosts ready, want %d", h.Name, ready, d.hosts)
	}
	return nil
}

// untouched checks that those containers run on as they did.
func (d *drill) untouched(ctx context.Context) error {
	for n, h := range d.street.Hosts {
		now, err := trial.Containers(ctx, h.Podman)
		if err != nil {
			return err
		}
		for _, line := range trial.Bounced(d.stand[n], now) {
			d.figures.bounced = append(d.figures.bounced, h.Name+": "+line)
		}
	}
	return nil
}

// change makes the changes, on all hosts at once, and puts together what was when.
func (d *drill) change(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	for n, h := range d.street.Hosts {
		w := newWriter(h, d.seed, n)
		share := d.changes/d.hosts + map[bool]int{true: 1}[n < d.changes%d.hosts]
		group.Go(func() error { return w.run(gctx, share) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	d.figures.changes = d.changes
	if _, err := d.agree(ctx); err != nil {
		return err
	}
	for _, h := range d.street.Hosts {
		p, err := readPast(ctx, h)
		if err != nil {
			return err
		}
		d.pasts = append(d.pasts, p)
		d.figures.events = max(d.figures.events, len(p.events))
	}
	fmt.Printf("  %d events\n", d.figures.events)
	return nil
}

// until asks again and again until there is no error, or the time is up.
func until(ctx context.Context, most time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", most, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
