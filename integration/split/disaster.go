package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/integration/street"
)

// clockOffset is read by an agent that is built with the tag clockshift: by how much its clock is wrong.
const clockOffset = "PODMAN_SWARM_TEST_CLOCK_OFFSET"

// disaster is one thing that goes wrong for a while.
type disaster struct {
	name   string
	host   int  // whom it befalls; -1: the wires
	silent bool // nobody hears the host meanwhile
	apart  bool // some hosts do not hear each other meanwhile, though each is heard by one
	blind  bool // its disk is lost
	begin  func(ctx context.Context) error
	end    func(ctx context.Context) error
}

// draw picks one or two disasters that can befall at the same time.
func (t *trying) draw() []disaster {
	var all []disaster
	for len(all) == 0 { // as long as -only leaves none
		for range 1 + t.rnd.IntN(2) {
			d := t.any(t.rnd.IntN(len(t.street.Hosts)))
			fits := strings.Contains(d.name, t.only)
			for _, other := range all {
				fits = fits && (other.host != d.host)
			}
			if fits {
				all = append(all, d)
			}
		}
	}
	return all
}

// any is some disaster; if it befalls a host, then that one.
func (t *trying) any(n int) disaster {
	h := t.street.Hosts[n]
	nothing := func(context.Context) error { return nil }
	wires := func(name string, host int, set func()) disaster {
		return disaster{name: name, host: host, end: nothing, begin: func(context.Context) error {
			set()
			return nil
		}}
	}
	other := (n + 1 + t.rnd.IntN(max(1, len(t.street.Hosts)-1))) % len(t.street.Hosts)
	pair := func(how string) string { return fmt.Sprintf(how, h.Name, t.street.Hosts[other].Name) }
	switch t.rnd.IntN(11) {
	case 0, 1:
		d := wires("cut off "+h.Name, n, func() { t.street.CutOff(n) })
		d.silent = true
		return d
	case 2:
		d := wires(pair("cut %s-%s"), -1, func() { t.street.CutPair(n, other) })
		d.apart = true
		return d
	case 3:
		d := wires(pair("cut one way %s>%s"), -1, func() { t.street.CutOneWay(n, other) })
		d.apart = true
		return d
	case 4:
		l := street.Link{Delay: time.Duration(t.rnd.IntN(50)) * time.Millisecond, Jitter: time.Duration(t.rnd.IntN(40)) * time.Millisecond,
			Loss: 0.15 * t.rnd.Float64(), Duplicate: 0.2 * t.rnd.Float64()}
		return wires(fmt.Sprint("bad wires (", l, ")"), -1, func() { t.street.Links(l) })
	case 5:
		return disaster{name: "agent kill -9 " + h.Name, host: n, silent: true, end: h.Up,
			begin: func(context.Context) error { return h.Agent.Kill() }}
	case 6:
		return disaster{name: "agent frozen " + h.Name, host: n, silent: true,
			begin: func(context.Context) error { return h.Agent.Signal(syscall.SIGSTOP) },
			end:   func(context.Context) error { return h.Agent.Signal(syscall.SIGCONT) }}
	case 7:
		return disaster{name: "agent stopped " + h.Name, host: n, end: h.Up, begin: func(ctx context.Context) error {
			code, err := h.Agent.Terminate(ctx)
			if err == nil && code != 0 {
				t.report.add(wrong, "round %d: after SIGTERM the agent of %s ended with %d", t.done+1, h.Name, code)
			}
			return err
		}}
	case 8:
		return disaster{name: "host killed " + h.Name, host: n, silent: true,
			begin: func(context.Context) error { return h.PowerOff() }, end: func(ctx context.Context) error { return powerOn(ctx, h) }}
	case 9:
		return disaster{name: "disk lost " + h.Name, host: n, silent: true, blind: true,
			begin: func(context.Context) error { return errors.Join(h.PowerOff(), h.LoseDisk()) },
			end:   func(ctx context.Context) error { return powerOn(ctx, h) }}
	}
	return t.clock(n)
}

func powerOn(ctx context.Context, h *street.Host) error {
	if err := h.PowerOn(ctx); err != nil {
		return err
	}
	return h.Up(ctx)
}

// clock makes a host's clock wrong, and right again at the end.
func (t *trying) clock(n int) disaster {
	h := t.street.Hosts[n]
	offset := []string{"+1h", "-1h", "+30s", "-30s"}[t.rnd.IntN(4)]
	restart := func(env ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			if err := h.Agent.Kill(); err != nil {
				return err
			}
			h.Agent.Env = env
			return h.Up(ctx)
		}
	}
	return disaster{name: fmt.Sprintf("clock %s %s", offset, h.Name), host: n, begin: restart(clockOffset + "=" + offset), end: restart()}
}

// befall lets the disasters happen for the time and puts an end to them. It gives when that was begun; on return it is done.
func (t *trying) befall(ctx context.Context, all []disaster, long time.Duration) (healed time.Time, err error) {
	if slices.ContainsFunc(all, func(d disaster) bool { return d.silent || d.apart }) {
		t.watch.whole(false)
	}
	for _, d := range all {
		pause(ctx, time.Duration(t.rnd.IntN(1500))*time.Millisecond)
		if d.silent {
			t.watch.silent(d.host, true)
		}
		if err := d.begin(ctx); err != nil {
			return healed, fmt.Errorf("%s: %w", d.name, err)
		}
	}
	pause(ctx, long)
	healed = time.Now()
	t.watch.whole(true) // those that were off have yet to start
	t.street.Heal()
	together, ctx := errgroup.WithContext(ctx)
	for _, d := range all {
		together.Go(func() error {
			if err := d.end(ctx); err != nil {
				return fmt.Errorf("the end of %s: %w", d.name, err)
			}
			return nil
		})
	}
	err = together.Wait()
	for _, d := range all {
		if d.silent {
			t.watch.silent(d.host, false)
		}
	}
	return healed, err
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
