package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// trying is one whole trial.
type trying struct {
	options
	rnd     *rand.Rand
	say     io.Writer
	rules   rules
	figures figures

	dir    string // of its own: what Prometheus keeps, and agents that are built
	street *street.Street
	prom   *prometheus
	watch  *watch
	load   load
	slow   *exec.Cmd // see slowDisk
}

// phase is causes that befall at the same time.
type phase struct {
	name   string
	causes []cause
}

// cause is something that goes wrong, and then no longer does.
type cause struct {
	name       string
	wants      []want
	begin, end func(ctx context.Context) error
}

func (t *trying) try(ctx context.Context, phases []phase) (err error) {
	if t.dir, err = os.MkdirTemp(t.options.dir, "podman-swarm-alarms-"); err != nil {
		return err
	}
	began := time.Now()
	args := []string{"--recovery-delay", "100ms", "--backup-interval", "5s", "--backup-increment-interval", "1s"}
	t.street, err = street.Open(ctx, street.Options{Dir: t.options.dir, Hosts: 3, Bin: t.bin, Seed: t.seed, Args: args})
	if err != nil {
		return errors.Join(err, os.RemoveAll(t.dir))
	}
	defer func() {
		interrupted := ctx.Err() != nil
		err = errors.Join(err, t.close(!interrupted && (t.keep || err != nil || len(t.figures.wrong()) > 0)))
	}()
	if err := t.prepare(ctx, phases); err != nil {
		return err
	}
	if err := street.FormBy(ctx, "alarms", t.street.Hosts, up); err != nil {
		return err
	}
	if t.prom, err = startPrometheus(ctx, t.dir, t.rules.text, t.street.Hosts); err != nil {
		return err
	}
	t.watch = &watch{p: t.prom, all: map[string]*seen{}}
	fmt.Fprintf(t.say, "  3 hosts and Prometheus after %.1f s\n", time.Since(began).Seconds())
	began = time.Now()

	life, stop := context.WithCancel(ctx)
	var living sync.WaitGroup
	living.Go(func() { t.load.run(life, t.street.Hosts, t.seed) })
	living.Go(func() { t.watch.run(life) })
	defer func() {
		stop()
		living.Wait()
		t.figures.Requests, t.figures.Failed = int(t.load.requests.Load()), int(t.load.failed.Load())
	}()
	if err := t.quiet(ctx); err != nil {
		return err
	}
	for _, p := range phases {
		if err := t.phase(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return t.look(ctx, began)
}

// host is one of the hosts, from 1 on as they are called.
func (t *trying) host(n int) *street.Host { return t.street.Hosts[n-1] }

// folder is a folder of a host's own, which its agent sees under the same name.
func folder(h *street.Host, name string) string {
	return filepath.Join(filepath.Dir(h.Agent.Output), name)
}

// The folders in which a host's backups, the copies of them, and its audit file are.
const (
	backups = "backups"
	copies  = "copies"
	audits  = "audits"
)

// smallDisk is the size of the disk that h3's log is on.
const smallDisk = 1 << 30

// prepare gives the hosts what is to be broken later: places for backups, their copies and an audit file, to h3 a small disk, and to h2 a log that is trimmed. And it
// builds the agent that makes mistakes, if one is wanted.
func (t *trying) prepare(ctx context.Context, phases []phase) error {
	for _, p := range phases {
		if slices.ContainsFunc(p.causes, func(c cause) bool { return c.name == wrongAgent || c.name == olderAgent }) {
			if err := build(ctx, ".", t.dir, filepath.Join(t.dir, "mistaken")); err != nil {
				return err
			}
		}
	}
	for _, h := range t.street.Hosts {
		for _, name := range []string{backups, copies, audits} {
			if err := os.Mkdir(folder(h, name), 0o750); err != nil {
				return err
			}
		}
		h.Agent.Args = append(h.Agent.Args, "--node-label", "host="+h.Name, "--backup-dir", folder(h, backups), "--backup-to", folder(h, copies),
			"--audit-file", filepath.Join(folder(h, audits), "audit.jsonl"))
	}
	t.host(2).Agent.Args = append(t.host(2).Agent.Args, "--log-keep", "5s")

	h := t.host(3)
	disk, file := folder(h, "disk"), folder(h, "disk.ext4")
	if err := errors.Join(os.Mkdir(disk, 0o750), os.WriteFile(file, nil, 0o600), os.Truncate(file, smallDisk)); err != nil {
		return err
	}
	h.Agent.DataDir = filepath.Join(disk, "data")
	if out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", file).CombinedOutput(); err != nil {
		return fmt.Errorf("make a small disk: %w: %s", err, out)
	}
	return inside(ctx, h, "mount", "-o", "loop", file, disk) // and it ends with the host
}

// inside runs a command on a host, among its processes: umount looks into /proc/self.
func inside(ctx context.Context, h *street.Host, name string, args ...string) error {
	line := append(append(among(h), name), args...)
	if out, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s on %s: %w: %s", strings.Join(append([]string{name}, args...), " "), h.Name, err, out)
	}
	return nil
}

// quiet wants no alert to fire while nothing is wrong. A machine that has just begun with all this, or others on it, may be so slow that some do: then
// it is waited until none does.
func (t *trying) quiet(ctx context.Context) error {
	var recovered struct{ Result []any }
	err := until(ctx, time.Minute, func() error {
		err := t.prom.get(ctx, "query", map[string][]string{"query": {"podman_swarm_recovered == 1"}}, &recovered)
		if err == nil && len(recovered.Result) < len(t.street.Hosts) {
			err = fmt.Errorf("so far Prometheus knows of %d hosts that have recovered", len(recovered.Result))
		}
		return err
	})
	if err != nil {
		return err
	}
	began := time.Now()
	err = until(ctx, t.deadline, func() error {
		t.figures.FalseAlarm = t.watch.others(time.Now().Add(-2*t.shortening.most), nil)
		if len(t.figures.FalseAlarm) > 0 || time.Since(began) < 2*t.shortening.most {
			return fmt.Errorf("fires: %s", strings.Join(t.figures.FalseAlarm, ", "))
		}
		return nil
	})
	fmt.Fprintf(t.say, "  nothing is wrong, for %.0f s: %d alerts fire\n", time.Since(began).Seconds(), len(t.figures.FalseAlarm))
	if err != nil {
		fmt.Fprintf(t.say, "    %v\n", err)
	}
	return ctx.Err()
}

// phase lets something go wrong until every alert that tells of it fires, puts an end to it, and waits until none fires any more.
func (t *trying) phase(ctx context.Context, p phase) error {
	fmt.Fprintf(t.say, "  %s\n", p.name)
	began := time.Now()
	var wanted []want
	var proofs []*proof
	for _, c := range p.causes {
		fmt.Fprintf(t.say, "    %s\n", c.name)
		x := &proof{Cause: c.name, began: time.Now()}
		if err := c.begin(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for _, w := range c.wants {
			own := *x
			own.Alert, own.Labels, own.want = w.alert, w.labels, w
			proofs, wanted = append(proofs, &own), append(wanted, w)
		}
	}
	t.await(ctx, proofs, began)
	for _, c := range p.causes {
		at := time.Now()
		if err := c.end(ctx); err != nil {
			return fmt.Errorf("the end of %s: %w", c.name, err)
		}
		for _, x := range proofs {
			if x.Cause == c.name {
				x.ended = at
			}
		}
	}
	t.figures.Besides = append(t.figures.Besides, t.watch.others(began, wanted)...)
	t.clear(ctx, proofs)
	return ctx.Err()
}

// await waits until all alerts that are wanted have fired since the phase began.
func (t *trying) await(ctx context.Context, proofs []*proof, began time.Time) {
	t.figures.Proofs = append(t.figures.Proofs, proofs...)
	_ = until(ctx, t.deadline, func() error { // what has not fired says so itself
		missing := false
		for _, x := range proofs {
			if x.seen {
				continue
			}
			s := t.watch.since(x.want, began)
			if s == nil {
				missing = true
				continue
			}
			x.seen, x.Fired = true, max(0, s.since.Sub(x.began).Seconds())
			x.Says, x.Wrong = s.alert.Annotations["summary"], s.alert.lacks()
			fmt.Fprintf(t.say, "      %-32s after %5.1f s: %s\n", x.Alert, x.Fired, x.Says)
		}
		if missing {
			return errors.New("not all have fired")
		}
		return nil
	})
	for _, x := range proofs {
		if !x.seen {
			x.Wrong = fmt.Sprintf("has not fired with %v; what did: %s", x.Labels, strings.Join(t.watch.others(began, nil), ", "))
			fmt.Fprintf(t.say, "      %-32s %s\n", x.Alert, x.Wrong)
		}
	}
}

// clear waits until none of these alerts fires any more, nor any other.
func (t *trying) clear(ctx context.Context, proofs []*proof) {
	ended := time.Now()
	cleared := map[*proof]bool{}
	err := until(ctx, t.deadline, func() error {
		for _, x := range proofs {
			if at, fires := t.watch.fires(x.want); !cleared[x] && at.After(ended) && !fires {
				cleared[x] = true
				x.Cleared = at.Sub(x.ended).Seconds()
			}
		}
		if firing := t.watch.others(time.Now(), nil); len(firing) > 0 || len(cleared) < len(proofs) {
			return fmt.Errorf("there fire %s", strings.Join(firing, ", "))
		}
		return nil
	})
	last := 0.0
	for _, x := range proofs {
		last = max(last, x.Cleared)
		if !cleared[x] && x.Wrong == "" {
			x.Wrong = fmt.Sprintf("does not clear within %v of the end of its cause", t.deadline)
		}
	}
	fmt.Fprintf(t.say, "    over: %d of %d cleared, the last after %.1f s", len(cleared), len(proofs), last)
	if err != nil {
		fmt.Fprintf(t.say, "; %v", err)
	}
	fmt.Fprintln(t.say)
}

// look has the dashboard's queries run, and the metrics checked.
func (t *trying) look(ctx context.Context, from time.Time) error {
	for _, h := range t.street.Hosts {
		said, err := t.prom.checkMetrics(ctx, h.Number)
		if err != nil {
			return fmt.Errorf("check the metrics of %s: %w", h.Name, err)
		}
		t.figures.Metrics[h.Name] = said
	}
	if t.only != "" {
		return nil
	}
	for _, alert := range t.rules.alerts {
		if !slices.ContainsFunc(t.figures.Proofs, func(p *proof) bool { return p.Alert == alert }) {
			t.figures.NoCause = append(t.figures.NoCause, alert)
		}
	}
	if err := t.calm(ctx); err != nil {
		return err
	}
	f, err := t.prom.lookAt(ctx, filepath.Join("integration", "monitoring", "dashboard.json"), from)
	if err != nil {
		return fmt.Errorf("the dashboard: %w", err)
	}
	t.figures.Panels = &f
	return nil
}

// calm has nobody write any more, and waits until Prometheus knows that the hosts agree: since when they do is only to be seen while they do.
func (t *trying) calm(ctx context.Context) error {
	t.load.rests.Store(true)
	var agree struct{ Result []any }
	return until(ctx, t.deadline, func() error {
		err := t.prom.get(ctx, "query", map[string][]string{"query": {"podman_swarm_sync_agree_since_timestamp_seconds > 0"}}, &agree)
		if err == nil && len(agree.Result) < len(t.street.Hosts) {
			err = fmt.Errorf("so far %d hosts agree with the others", len(agree.Result))
		}
		return err
	})
}

// close ends everything, and keeps what it wrote or not.
func (t *trying) close(keep bool) error {
	var errs []error
	errs = append(errs, t.fast())
	if t.prom != nil {
		errs = append(errs, t.prom.close())
	}
	if keep {
		fmt.Fprintln(t.say, "  what Prometheus and the agents wrote, and the data dirs, are in", t.dir)
		errs = append(errs, t.street.Keep(t.dir), t.street.Close())
	} else {
		errs = append(errs, t.street.Close(), os.RemoveAll(t.dir))
	}
	return errors.Join(errs...)
}

// apply hands a manifest to a host.
func apply(ctx context.Context, h *street.Host, manifest string) error {
	if _, err := trial.Apply(ctx, h.Client(), h.URL(), manifest); err != nil {
		return fmt.Errorf("apply to %s: %w", h.Name, err)
	}
	return nil
}

// remove deletes an object.
func remove(ctx context.Context, h *street.Host, kind, name string) error {
	if err := trial.Delete(ctx, h.Client(), h.URL(), kind, name); err != nil {
		return fmt.Errorf("delete %s %s from %s: %w", kind, name, h.Name, err)
	}
	return nil
}
