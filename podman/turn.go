package podman

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/podman-swarm/podman-swarm/projection"
)

// How long one request to Podman may take. Whatever takes longer is tried again.
const (
	quick    = 30 * time.Second // looking at something
	slow     = 2 * time.Minute  // making, starting or removing something
	pullTime = 30 * time.Minute
)

// startTries is how often in a row Podman has to refuse to start a container before it is replaced.
const startTries = 4

// hold is the step that only records that an exited container waits before it is started again.
const hold Action = "hold"

// crashLoop is the reason that a replica's fact has while its container waits, in Kubernetes' word.
const crashLoop = "CrashLoopBackOff"

// errChanged: what this host has recorded of the replica is not what the turn began with; it begins again.
var errChanged = errors.New("what is recorded has changed meanwhile")

// crew is what turns share. All of it is safe for concurrent use.
type crew struct {
	*Reconciler
	own     owner
	ports   *portBook
	pulls   *singleflight.Group
	slots   chan struct{}   // one for each turn that may keep Podman busy at the same time
	working *sync.WaitGroup // all that the loop waits for in the end
	writing *sync.Mutex     // of volumes' files
	prober  *prober
}

// turn does the steps of one decision. Turns of different pods run at the same time, and those of one pod never.
type turn struct {
	*crew
	Case
	Decision
	wait     time.Duration // of a hold: how long the container waits
	failures int           // of the turns before, in a row
	refusals int           // of Podman, in a row, to start the container; in the end: with those of this turn

	there   []Container    // in the end: what is there now, as far as no error came between
	did     map[Action]int // how many of each were done
	left    []string       // ids of those that Podman could not remove, but which do not run; in the end: if nothing else failed
	ended   *Container     // how the container ended that this turn has started again
	refused bool           // it was not: Podman refused, and it is tried again
	err     error
}

// failure is an error that the replica's fact tells people of.
type failure struct {
	reason string // one word, as Kubernetes has it
	error
}

func (f *failure) Unwrap() error { return f.error }

func fail(reason string, err error) error { return &failure{reason, err} }

// run does the steps until one fails that the others depend on.
func (t *turn) run(ctx context.Context) {
	began := time.Now()
	t.there, t.did = slices.Clone(t.There), map[Action]int{}
	var f *failure // the last: what is left comes first, and matters least
	for _, s := range t.Steps {
		err := t.step(ctx, s)
		if err == nil {
			t.did[s.Action]++
			continue
		}
		t.err = errors.Join(t.err, err)
		errors.As(err, &f)
		if !t.lies(s.Container) || t.Placed == nil && t.onlyRecorded() {
			t.left = nil
			break
		}
	}
	away := errors.Is(t.err, ErrUnavailable) && t.failures == 0 // once is no word on the replica
	if f != nil && !away && ctx.Err() == nil {
		t.err = errors.Join(t.err, t.recordFailure(ctx, f))
	}
	if t.Observe != nil {
		t.Observe(time.Since(began), t.err)
	}
}

func (t *turn) step(ctx context.Context, s Step) error {
	switch s.Action {
	case Adopt:
		return t.record(ctx, s.Container.ID)
	case Start:
		return t.start(ctx, s.Container)
	case hold:
		return t.hold(ctx, s.Container)
	case Create:
		return t.create(ctx)
	case Stop:
		return t.stop(ctx, s.Container, s.Why)
	case Note:
		return t.note(ctx)
	case Remove:
		return t.remove(ctx, s.Container)
	case Forget:
		return t.forget(ctx)
	}
	return fmt.Errorf("no such action: %q", s.Action)
}

// do calls f with a time limit, once there is a slot for it.
func (c *crew) do(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.slots }()
	return within(ctx, limit, f)
}

// within calls f with a time limit.
func within(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}

// inspect looks at a container and notes how it is.
func (t *turn) inspect(ctx context.Context, id string) (c Container, err error) {
	err = t.do(ctx, quick, func(ctx context.Context) error {
		c, err = t.Engine.Inspect(ctx, id)
		return err
	})
	if err == nil {
		t.gone(c.ID)
		t.there = append(t.there, c)
	}
	return c, err
}

// gone notes that a container is not there any more.
func (t *turn) gone(id string) {
	t.there = slices.DeleteFunc(t.there, func(c Container) bool { return c.ID == id })
}

// start starts a container that is there. One that can, again and again, not be started is replaced.
func (t *turn) start(ctx context.Context, c Container) error {
	if c.Status.Ended() {
		ended, err := t.inspect(ctx, c.ID)
		if err != nil {
			return fail("RunContainerError", err)
		}
		t.ended = &ended
	}
	if p, err := readPod(t.Placed, t.Of); err == nil { // else what is there is started all the same
		p.folder = t.folderOf(t.Pod, placementOf(&c))
		if err := t.fill(p, true); err != nil {
			t.refused = t.ended != nil
			return fail(configError, err)
		}
	}
	err := t.tryStart(ctx, c.ID)
	switch {
	case err == nil:
		t.stats.Started.Add(1)
		if t.ended != nil {
			t.stats.Restarts.Add(1)
		}
		t.say("started pod", c.ID)
		return t.record(ctx, c.ID)
	case ctx.Err() != nil || !t.spent(err):
		t.refused = t.ended != nil
		return fail("RunContainerError", err)
	}
	p, spec, prepErr := t.prepare(ctx) // before it is removed: there may be no image for another one
	if prepErr != nil {
		t.refused = t.ended != nil
		return prepErr
	}
	if t.Log != nil {
		t.Log.Warn("the container cannot be started and is replaced", append(t.who(), "err", words(err))...)
	}
	removeErr := t.remove(ctx, c)
	if removeErr != nil && !t.lies(c) {
		return removeErr
	}
	if err := t.begin(ctx, p, spec); err != nil {
		t.left = nil // the one that lies there is all that there is
		return errors.Join(err, removeErr)
	}
	t.did[Create]++
	if removeErr == nil {
		t.did[Start]-- // run will count it
	}
	return removeErr
}

// tryStart has Podman start the container, and counts how often in a row it is refused.
func (t *turn) tryStart(ctx context.Context, id string) error {
	err := t.do(ctx, slow, func(ctx context.Context) error { return t.Engine.Start(ctx, id) })
	switch {
	case err == nil:
		t.refusals = 0
	case faulty(err):
		t.refusals++
	}
	return err
}

// spent reports whether the container, which was not started, is to be replaced: with it goes what its program has written in it.
func (t *turn) spent(err error) bool {
	if errors.Is(err, ErrPortInUse) {
		p, err := readPod(t.Placed, t.Of)
		return err == nil && t.ports.others(p)
	}
	return faulty(err) && t.refusals >= startTries
}

// faulty reports whether Podman refused for what may be the container's own fault, and not for what any other would lack as well.
func faulty(err error) bool {
	return errors.As(err, new(*Refusal)) && !errors.Is(err, ErrPortInUse) && !strings.Contains(words(err), syscall.ENOSPC.Error())
}

// lies reports whether the container is one that could not be removed, and is in nobody's way: it does not run, and the
// next one has another name.
func (t *turn) lies(c Container) bool { return slices.Contains(t.left, c.ID) }

// onlyRecorded reports whether what is recorded is all that explains a container that is there, as of an adopted orphan:
// it must not be taken back before that is gone.
func (t *turn) onlyRecorded() bool {
	return slices.ContainsFunc(t.there, func(c Container) bool {
		id, why := carriesOut(&c, nil)
		return t.Recorded != nil && t.Recorded.Container == c.ID && (why != "" || id != t.Recorded.Placement)
	})
}

// hold records that an exited container waits before it is started again.
func (t *turn) hold(ctx context.Context, c Container) error {
	c, err := t.inspect(ctx, c.ID)
	if err != nil || !c.Status.Ended() {
		return err
	}
	fact := t.fact(&c)
	fact.Reason = crashLoop
	fact.Message = fmt.Sprintf("back-off %s restarting the container, which exited with code %d", t.wait, c.ExitCode)
	if r := t.Recorded; r != nil && r.Reason == unhealthy && r.Container == c.ID {
		fact.Message = fmt.Sprintf("back-off %s restarting the container, which was ended: %s", t.wait, r.Message)
	}
	if c.OOMKilled { // the reason, which would say it, is another now
		fact.Message += ", killed for memory"
	}
	return t.put(ctx, fact)
}

// unhealthy is the reason that a replica's fact has when a probe had its container ended, in Kubernetes' word.
const unhealthy = "Unhealthy"

// networkGone is the reason that a container's fact has when it was ended since the one whose network it has was started again, in
// Kubernetes' word.
const networkGone = "SandboxChanged"

// stop ends the container's program, because a probe, or the plan, says why. It is started again as one that has exited.
func (t *turn) stop(ctx context.Context, c Container, why string) error {
	if t.Log != nil {
		t.Log.Warn("container is restarted", append(t.who(), "container", abbreviate(c.ID), "why", why)...)
	}
	reason, grace := networkGone, time.Duration(0)
	if t.Probed != nil && t.Probed.Dead == why {
		reason, grace = unhealthy, t.Probed.Grace
	}
	seen, err := t.inspect(ctx, c.ID)
	if err == nil && seen.Status.Runs() {
		err = t.quit(ctx, &seen, grace)
	}
	if err != nil {
		return fail("KillContainerError", err)
	}
	if seen, err = t.inspect(ctx, c.ID); err != nil {
		return fail("ContainerStatusUnknown", err)
	}
	fact := t.fact(&seen)
	if seen.Status.Ended() {
		fact.Reason, fact.Message = reason, why
	}
	return t.put(ctx, fact)
}

// remove stops and removes a container, however long it may take to end by itself. Its volumes are left to sweep.
func (t *turn) remove(ctx context.Context, c Container) error {
	if c.Status.Runs() && c.Status != StatusPaused { // a paused one cannot end by itself, only be killed
		seen, err := t.inspect(ctx, c.ID)
		if errors.Is(err, ErrNotFound) {
			t.gone(c.ID)
			return nil
		}
		if err == nil {
			err = t.quit(ctx, &seen, 0)
		}
		if err != nil {
			return fail("KillContainerError", err)
		}
	}
	if err := t.do(ctx, slow, func(ctx context.Context) error { return t.Engine.Remove(ctx, c.ID) }); err != nil {
		if seen, err := t.inspect(ctx, c.ID); err == nil && !seen.Status.Runs() {
			t.left = append(t.left, c.ID)
		}
		return fail("RemoveContainerError", err)
	}
	t.gone(c.ID)
	t.stats.Removed.Add(1)
	t.say("removed pod", c.ID)
	return nil
}

// say tells of a change that was made.
func (t *turn) say(what, container string) {
	if t.Log != nil {
		t.Log.Info(what, append(t.who(), "host", t.Host, "container", abbreviate(container))...)
	}
}

// who is what the turn is about, for the log.
func (t *turn) who() []any {
	all := []any{"namespace", t.Pod.Namespace, "pod", t.Pod.Name()}
	if t.Of != "" {
		all = append(all, "name", t.Of)
	}
	return all
}

// abbreviate is an id as Podman shows it to people.
func abbreviate(id string) string { return id[:min(12, len(id))] }

// by is in whose name a Reconciler records.
func by(cause string) projection.By { return projection.By{Actor: "podman", Cause: cause} }
