package podman

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// What stands before a probe's words.
const (
	startupProbe   = "startup probe: "
	readinessProbe = "readiness probe: "
	livenessProbe  = "liveness probe: "
)

// unasked is what a probe says before it has passed or failed.
const unasked = "has not passed yet"

// retell is how long the words of a probe that goes on failing stand at least: who fails in ever other words does not write
// an event each time.
const retell = time.Minute

// Probed is what the probes have found of one run of a container.
type Probed struct {
	Container string
	Started   time.Time     // of the run
	Unready   string        // as in projection.Replica
	Dead      string        // why its program is to be ended, and started again; "": it is not
	Grace     time.Duration // how long it may take to end then; 0: as long as ever
}

// of reports whether that is about the run.
func (p *Probed) of(c *Container) bool {
	return p != nil && p.Container == c.ID && p.Started.Unix() == c.Started.Unix()
}

// probed reports whether a pod template has probes, without reading it.
func probed(template []byte) bool { return bytes.Contains(template, []byte(`Probe":`)) }

// unready is what a run that has not been asked yet is recorded with.
func (p *pod) unready() string {
	switch {
	case p.one.StartupProbe != nil:
		return startupProbe + unasked
	case p.one.ReadinessProbe != nil:
		return readinessProbe + unasked
	}
	return ""
}

// watch asks the probes of one run of a container, each by itself, until it is cancelled.
type watch struct {
	*target
	one    *corev1.Container
	run    time.Time // when it was started
	tell   func(context.Context)
	cancel context.CancelFunc

	mu                           sync.Mutex
	startup, readiness, liveness series
}

// series is how one probe has gone so far.
type series struct {
	*corev1.Probe
	ok       bool
	text     string // why not
	since    time.Time
	passes   int // in a row
	failures int // in a row
	same     int // of these, the last that said the same
	last     string
}

// watch begins to watch the run that is recorded. What was recorded of it holds until a probe says otherwise.
func (l *loop) watch(ctx context.Context, p *pod, first, r *replica) *watch {
	ctx, cancel := context.WithCancel(ctx)
	name, f := r.Pod, r.Recorded
	w := &watch{target: l.prober.targetOf(p, f, first.Whole), one: p.one, run: f.Started, cancel: cancel,
		tell: func(ctx context.Context) {
			select {
			case l.probed <- name:
			case <-ctx.Done():
			}
		}}
	starting := strings.HasPrefix(f.Unready, startupProbe)
	w.startup = series{Probe: p.one.StartupProbe, ok: !starting, text: strings.TrimPrefix(f.Unready, startupProbe), since: time.Now()}
	w.readiness = series{Probe: p.one.ReadinessProbe, ok: f.Unready == "", text: unasked, since: time.Now()}
	if strings.HasPrefix(f.Unready, readinessProbe) {
		w.readiness.text = strings.TrimPrefix(f.Unready, readinessProbe)
	}
	w.liveness = series{Probe: p.one.LivenessProbe, ok: true}
	l.goes(func() { w.ask(ctx) })
	return w
}

// ask asks all probes until ctx ends: the others once startup has passed.
func (w *watch) ask(ctx context.Context) {
	if w.startup.Probe != nil && !w.startup.ok {
		w.series(ctx, &w.startup)
	}
	var both sync.WaitGroup
	for _, s := range []*series{&w.readiness, &w.liveness} {
		if s.Probe != nil {
			both.Go(func() { w.series(ctx, s) })
		}
	}
	both.Wait()
}

// series asks one probe until ctx ends, or, the startup probe, until it has passed.
func (w *watch) series(ctx context.Context, s *series) {
	question := w.question(&s.ProbeHandler)
	period, limit := seconds32(s.PeriodSeconds, 10), seconds32(s.TimeoutSeconds, 1)
	pause := time.Until(w.run.Add(time.Duration(s.InitialDelaySeconds) * time.Second))
	if pause < -period && s.ok { // the agent was restarted: not all that runs here is asked at once, and in step ever after
		pause = w.share(period)
	}
	for Wait(max(0, pause))(ctx) == nil {
		began := time.Now()
		err := question(ctx, limit)
		if ctx.Err() != nil {
			return
		}
		ok, news := w.heard(s, err)
		if news {
			w.tell(ctx)
		}
		if ok && s == &w.startup {
			return
		}
		pause = time.Until(began.Add(period))
		if !ok && s == &w.readiness { // as in Kubernetes, which does not have who becomes ready wait for the period either
			pause = time.Until(began.Add(min(period, time.Second)))
		}
	}
}

// share is a part of the period, for each container another.
func (w *watch) share(period time.Duration) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(w.container))
	return time.Duration(h.Sum64() % uint64(period))
}

func seconds32(n, otherwise int32) time.Duration {
	return time.Duration(cmp.Or(n, otherwise)) * time.Second
}

// heard takes over an answer, and reports whether the probe is satisfied now, and whether what there is to say is another.
func (w *watch) heard(s *series, err error) (ok, news bool) {
	if errors.Is(err, errLearntNothing) {
		return s.ok, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.found()
	s.count(err, time.Now())
	return s.ok, w.found() != before
}

func (s *series) count(err error, now time.Time) {
	if err == nil {
		s.passes, s.failures, s.same, s.last = s.passes+1, 0, 0, ""
		if int32(s.passes) >= max(1, s.SuccessThreshold) {
			s.ok, s.text = true, ""
		}
		return
	}
	text := tellable(err.Error(), 500) // a program's words, of which what is recorded must not differ
	if text != s.last {
		s.same = 0
	}
	s.passes, s.failures, s.same, s.last = 0, s.failures+1, s.same+1, text
	enough := int(cmp.Or(s.FailureThreshold, 3))
	switch {
	case s.failures < enough:
	case s.ok, s.text == unasked, s.same >= enough && s.text != text && now.Sub(s.since) >= retell:
		s.ok, s.text, s.since = false, text, now
	}
}

// look is what the probes have found so far.
func (w *watch) look() *Probed {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.found()
	return &p
}

// found is look under the lock.
func (w *watch) found() Probed {
	p := Probed{Container: w.container, Started: w.run}
	dead := func(s *series, who string) {
		p.Dead = who + s.text
		if s.TerminationGracePeriodSeconds != nil {
			p.Grace = time.Duration(*s.TerminationGracePeriodSeconds) * time.Second
		}
	}
	switch {
	case w.startup.Probe != nil && !w.startup.ok:
		p.Unready = startupProbe + w.startup.text
		if int32(w.startup.failures) >= cmp.Or(w.startup.FailureThreshold, 3) {
			dead(&w.startup, startupProbe)
		}
	case w.liveness.Probe != nil && !w.liveness.ok:
		dead(&w.liveness, livenessProbe)
	}
	if p.Unready == "" && w.readiness.Probe != nil && !w.readiness.ok {
		p.Unready = readinessProbe + w.readiness.text
	}
	return p
}

// attend watches one container of the pod while it runs as recorded, and no other.
func (l *loop) attend(ctx context.Context, first, r *replica) {
	f := r.Recorded
	runs := f != nil && !r.placement.IsZero() && f.Placement == r.placement && f.Phase == projection.Running && f.Reason != paused
	if r.watch != nil && runs && r.watch.container == f.Container && r.watch.run.Equal(f.Started) {
		return
	}
	if r.watch != nil {
		r.watch.cancel()
		r.watch = nil
	}
	if !runs {
		return
	}
	placed, err := l.view.Placement(r.Pod)
	if err != nil || placed == nil || !probed(placed.Template) {
		return
	}
	if p, err := readPod(placed, r.Of); err == nil && (p.one.ReadinessProbe != nil || p.one.LivenessProbe != nil || p.one.StartupProbe != nil) {
		r.watch = l.watch(ctx, p, first, r)
	}
}

// noteAlone records what the probes have found while Podman does not answer, or what is there has to be looked at first: it
// needs neither.
func (l *loop) noteAlone(ctx context.Context, r *replica) {
	f, p := r.Recorded, r.watch.look()
	if f == nil || p == nil || p.Container != f.Container || p.Unready == f.Unready || l.stage != Acting && l.stage != Ready {
		return
	}
	if time.Now().Before(r.retry.after) {
		l.wakeAt(r.retry.after)
		return
	}
	r.Probed = p
	l.launch(ctx, r, Decision{Steps: []Step{{Action: Note, Why: "its probes say otherwise"}}}, 0)
}
