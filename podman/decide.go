package podman

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// How long a replica waits before it is tried again.
const (
	failPause  = time.Second      // after the first failure; doubled with each
	crashPause = 10 * time.Second // after the second short run; doubled with each
	longest    = 5 * time.Minute
	longRun    = 10 * time.Minute // a container that ran as long is not in a crash loop
)

// retry is when a replica may be tried again.
type retry struct {
	failures int       // in a row
	refusals int       // of Podman, in a row, to start the container
	after    time.Time // not before
	left     []string  // ids of what could not be removed, if nothing else failed: then only they wait
	crashes  int       // restarts in a row after short runs
	unsaid   bool      // the last failure was only that the log took nothing
}

// failed notes another failure, and what is left if that was all.
func (r *retry) failed(now time.Time, left []string) {
	r.after = now.Add(backoff(failPause, r.failures))
	r.failures++
	r.left = left
}

// backoff is first, doubled n times, and never longer than longest.
func backoff(first time.Duration, n int) time.Duration {
	return min(longest, first<<min(n, 20))
}

// crashed is how long a container that has ended waits before it is started again. The first time it does not.
func (r *retry) crashed(c *Container) time.Duration {
	if c.Finished.Sub(c.Started) >= longRun {
		r.crashes = 0
	}
	if r.crashes == 0 {
		return 0
	}
	return backoff(crashPause, r.crashes-1)
}

// decide decides about every pod that something has happened to, and begins the turns.
func (l *loop) decide(ctx context.Context) {
	if !l.seen {
		return // nothing is known of what is there
	}
	for _, pod := range slices.SortedFunc(maps.Keys(l.dirty), comparePods) {
		delete(l.dirty, pod)
		first := l.replicas[pod]
		if first == nil {
			continue
		}
		for _, r := range first.parts() {
			if !r.busy { // its turn's end makes the pod dirty again
				l.consider(ctx, first, r)
			}
		}
		if len(first.rest) == 0 && first.spare() {
			delete(l.replicas, pod)
		}
	}
}

// spare reports whether nothing is known of the container, and nothing wanted.
func (r *replica) spare() bool {
	return !r.busy && !r.stale && r.idle && r.Recorded == nil && len(r.There) == 0
}

// consider decides about one container of a pod, and begins its turn.
func (l *loop) consider(ctx context.Context, first, r *replica) {
	l.attend(ctx, first, r)
	r.idle = false
	if l.down != nil || r.stale {
		l.dirty[r.Pod] = true
		l.noteAlone(ctx, r)
		return
	}
	r.Probed = r.watch.look()
	d, err := Plan(known{l.view.State, l.Host}, l.Host, l.caseOf(first, r))
	if err != nil {
		if text := err.Error(); l.Log != nil && text != r.said {
			l.Log.Error("a placement cannot be read; its containers are left as they are", "err", text)
			r.said = text
		}
		return
	}
	r.orphans = d.Orphans
	if d.Runs != "" { // whoever started it
		r.retry.refusals = 0
	}
	l.keep(r, d.Kept)
	l.decided(r, &d)
	var wait time.Duration
	d.Steps, wait = l.allowed(r, &d, time.Now())
	if r.Of == "" && first.joining() && slices.ContainsFunc(d.Steps, func(s Step) bool { return s.Action == Remove || s.Action == Forget }) {
		return // whose end makes the pod dirty: it may make a container that has this one's network
	}
	if len(d.Steps) > 0 {
		l.launch(ctx, r, d, wait)
		return
	}
	r.idle = d.Placed == nil
	if r.Of != "" && r.spare() {
		delete(first.rest, r.Of)
	}
}

// joining reports whether something is under way about another container of the pod.
func (r *replica) joining() bool {
	for _, other := range r.rest {
		if other.busy {
			return true
		}
	}
	return false
}

// allowed are the steps that may be done now, and how long a held one waits.
func (l *loop) allowed(r *replica, d *Decision, now time.Time) ([]Step, time.Duration) {
	steps := d.Steps
	if l.stage != Acting && l.stage != Ready {
		return nil, 0 // nothing is recorded either: a log that was set back has to hear first what it wrote before
	}
	unsaid := r.retry.unsaid && now.Before(r.retry.after) && len(steps) == 1 && restarts(steps[0]) // it does not wait for room in the log
	if len(steps) > 0 && now.Before(r.retry.after) && !unsaid {
		l.wakeAt(r.retry.after)
		steps = slices.DeleteFunc(slices.Clone(steps), func(s Step) bool {
			return r.retry.left == nil || s.Action == Remove && slices.Contains(r.retry.left, s.Container.ID)
		})
	}
	if steps = l.linger(r, steps, now); len(steps) == 0 {
		return nil, 0
	}
	last := &steps[len(steps)-1]
	if !restarts(*last) {
		return steps, 0
	}
	if d.Joins { // it has not ended by itself, or has lost its network then
		return steps, 0
	}
	wait := r.retry.crashed(&last.Container)
	due := last.Container.Finished.Add(wait)
	if wait == 0 || !due.After(now) || last.Container.Finished.After(now) { // by a clock that was ahead, and has been set back
		r.retry.crashes++
		return steps, 0
	}
	l.wakeAt(due)
	before := slices.Clone(steps[:len(steps)-1])
	if f := r.Recorded; unsaid || f != nil && f.Container == last.Container.ID && f.Reason == crashLoop &&
		f.Finished.Unix() == last.Container.Finished.Unix() {
		return before, 0
	}
	return append(before, Step{Action: hold, Container: last.Container, Why: last.Why}), wait
}

// restarts reports whether the step starts a container again that has ended.
func restarts(s Step) bool { return s.Action == Start && s.Container.Status.Ended() }

func (l *loop) wakeAt(t time.Time) {
	if l.wake.IsZero() || t.Before(l.wake) {
		l.wake = t
	}
}

// launch begins a turn.
func (l *loop) launch(ctx context.Context, r *replica, d Decision, wait time.Duration) {
	r.busy = true
	t := &turn{crew: &l.crew, Case: l.caseOf(l.replicas[r.Pod], r), Decision: d, wait: wait, failures: r.retry.failures, refusals: r.retry.refusals}
	l.goes(func() {
		t.run(ctx)
		l.turns <- t // run or finish takes it
	})
}

// publish lets others see how things are.
func (l *loop) publish() {
	p := Progress{Stage: l.stage, Waiting: l.waiting(), Phases: map[projection.Phase]int{}}
	if l.down != nil {
		p.Podman, p.Since = words(l.down), l.since
	}
	orphans := slices.Clone(l.strays)
	for _, first := range l.replicas {
		looping := false
		for _, r := range first.parts() {
			orphans = append(orphans, r.orphans...)
			looping = looping || r.Recorded != nil && r.Recorded.Placement == r.placement && r.Recorded.Reason == crashLoop
		}
		switch {
		case first.placement.IsZero():
			continue
		case looping:
			p.Looping++
		}
		if first.Recorded != nil && first.Recorded.Placement == first.placement {
			p.Phases[first.Recorded.Phase]++
		} else {
			p.Phases[projection.Pending]++
		}
	}
	slices.SortFunc(orphans, func(a, b Orphan) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	for _, o := range orphans {
		if l.Log != nil && !l.known[o.ID] {
			l.Log.Warn("orphan: a container of ours that nothing explains; it is left running", "container", abbreviate(o.ID), "name", o.Name, "why", o.Why)
		}
		l.known[o.ID] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.public = public{l.report, p, orphans}
}

func comparePods(a, b projection.Pod) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Deployment, b.Deployment), cmp.Compare(a.Ordinal, b.Ordinal))
}

func compareParts(a, b part) int { return cmp.Or(comparePods(a.Pod, b.Pod), cmp.Compare(a.of, b.of)) }
