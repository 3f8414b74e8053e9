package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/linear"
	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// standing begins the names of Deployments that nobody changes.
const standing = "stand-"

// trying is one whole trial.
type trying struct {
	options
	rnd *rand.Rand

	street   *street.Street
	clusters []*cluster
	watch    *watch
	report   report

	kept            string
	done, conflicts int // rounds; changes that were listed as lost unseen
}

// cluster is hosts that are to agree, and those who write to them.
type cluster struct {
	hosts     []*street.Host
	writers   []*writer
	index     map[int]uint64 // how far each host's log was when all agreed last
	conflicts int
	waited    string // what was the last to come right
}

func (t *trying) acknowledged() (n int) {
	for _, c := range t.clusters {
		for _, w := range c.writers {
			n += w.count
		}
	}
	return n
}

func (t *trying) moves() int {
	if t.watch == nil {
		return 0
	}
	return t.watch.movesSoFar()
}

func (t *trying) try(ctx context.Context) (err error) {
	began := time.Now()
	args := []string{"--recovery-delay", "100ms", "--reschedule-after", t.reschedule.String()}
	t.street, err = street.Open(ctx, street.Options{Dir: t.dir, Hosts: t.hosts, Bin: t.bin, Seed: t.seed, Args: args})
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	} else if err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil {
			err = errInterrupted
		}
		if cerr := t.close(err); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()
	fmt.Printf("  %d hosts after %.1f s\n", t.hosts, time.Since(began).Seconds())
	if err := t.begin(ctx); err != nil {
		return err
	}
	t.watch = t.newWatch()
	watching, stop := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() { t.watch.run(watching) })
	defer func() {
		stop()
		looking.Wait()
	}()
	for t.done = 0; t.done < t.rounds; t.done++ {
		if err := t.round(ctx); err != nil {
			return fmt.Errorf("round %d: %w", t.done+1, err)
		}
	}
	return nil
}

// close ends the street, and keeps what it wrote where something was wrong.
func (t *trying) close(err error) error {
	if t.keep || err != nil && err != errInterrupted || !t.report.clean() {
		kept, kerr := t.keptIn()
		if kerr != nil {
			return errors.Join(kerr, t.street.Close())
		}
		fmt.Println("  the data dirs and the agents' output are in", kept)
		err = t.street.Keep(kept)
		return errors.Join(err, t.street.Close())
	}
	err = t.street.Close()
	if t.kept != "" {
		err = errors.Join(err, os.RemoveAll(t.kept))
	}
	return err
}

// keptIn is the folder for what is to be looked at when something was wrong.
func (t *trying) keptIn() (string, error) {
	if t.kept != "" {
		return t.kept, nil
	}
	var err error
	t.kept, err = os.MkdirTemp(t.dir, "podman-swarm-split-")
	return t.kept, err
}

// begin starts the agents and declares what stands.
func (t *trying) begin(ctx context.Context) error {
	if err := street.Form(ctx, "split", t.street.Hosts); err != nil {
		return err
	}
	t.clusters = []*cluster{{hosts: t.street.Hosts}}
	n := 0
	for number, c := range t.clusters {
		c.index = map[int]uint64{}
		for _, h := range c.hosts {
			for i := range 2 {
				w := newWriter(n, h, fmt.Sprint(number), t.seed)
				if i == 0 {
					w.deploy = fmt.Sprintf("own-%d", n)
				}
				c.writers = append(c.writers, w)
				n++
			}
		}
		h := c.hosts[0]
		manifest := trial.Deployment(standing+"a", 3, "") + "---\n" + trial.Deployment(standing+"b", 2, "")
		if _, err := trial.Apply(ctx, h.Client(), h.URL(), manifest); err != nil {
			return fmt.Errorf("apply the Deployments that stand: %w", err)
		}
		for _, h := range c.hosts {
			if err := stands(ctx, h, 5); err != nil {
				return err
			}
		}
	}
	return nil
}

// stands waits until a host knows of so many replicas that run, and of none that does not. A host that is cut off before it has told the others
// where it placed them has them placed once more.
func stands(ctx context.Context, h *street.Host, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var st struct {
			Running    int
			NotRunning []struct{ Pod, Why string } `json:"not_running"`
		}
		err := trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/status", &st)
		if err == nil && st.Running == replicas && len(st.NotRunning) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("on %s %d of %d replicas run, not %v: %w", h.Name, st.Running, replicas, st.NotRunning, errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// round lets something go wrong under load, heals it and looks.
func (t *trying) round(ctx context.Context) error {
	disasters := t.draw()
	long := time.Second + time.Duration(t.rnd.Int64N(int64(t.longest-time.Second)+1))
	var names []string
	blind := map[int]bool{}
	for _, d := range disasters {
		names = append(names, d.name)
		if d.blind {
			blind[d.host] = true
		}
	}
	fmt.Printf("  round %d: %s, for %.1f s", t.done+1, strings.Join(names, "; "), long.Seconds())
	before, twice := t.moves(), t.twice()
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var load sync.WaitGroup
	asked := make([]*linear.Clients, len(t.street.Hosts))
	for n, h := range t.street.Hosts {
		asked[n] = linear.New(fmt.Sprintf("linear-%d-%s", t.done+1, h.Name), 3, 2, 20*time.Millisecond, t.seed+uint64(t.done))
		load.Go(func() { asked[n].Run(loading, h.Client(), h.URL()) })
	}
	for _, c := range t.clusters {
		for _, w := range c.writers {
			load.Go(func() { w.run(loading) })
		}
	}
	healed, err := t.befall(ctx, disasters, long)
	stop()
	load.Wait()
	if err != nil {
		fmt.Println()
		return err
	}
	for _, c := range t.clusters {
		if err := c.check(ctx, t, healed, blind); err != nil {
			fmt.Println()
			return err
		}
	}
	took := time.Since(healed)
	if err := t.linearizable(ctx, asked, blind); err != nil {
		return err
	}
	fmt.Printf(": agreed after %.1f s, all well after %.1f s, acknowledged %d, moved %d, twice %d\n",
		t.report.last().Seconds(), took.Seconds(), t.acknowledged(), t.moves()-before, t.twice()-twice)
	if took > 20*time.Second {
		for _, c := range t.clusters {
			fmt.Printf("    %s waited last for: %s\n", c.hosts[0].Name, c.waited)
		}
	}
	return nil
}

func (t *trying) twice() int {
	n, _ := t.watch.duplicates()
	return n
}

// linearizable checks what each host promised to those that asked it alone, and removes what they made.
func (t *trying) linearizable(ctx context.Context, asked []*linear.Clients, blind map[int]bool) error {
	for n, h := range t.street.Hosts {
		if !blind[n] { // a lost disk forgets what it promised
			kept, err := t.keptIn()
			if err != nil {
				return err
			}
			if err := asked[n].Check(20*time.Second, kept); err != nil {
				t.report.add(wrong, "round %d: %s: %v", t.done+1, h.Name, err)
			}
		}
		for _, name := range asked[n].Names() {
			err := trial.Delete(ctx, h.Client(), h.URL(), "Service", name)
			var status *trial.StatusError
			if err != nil && !(errors.As(err, &status) && status.Code == 404) {
				return err
			}
		}
	}
	return nil
}
