package podman

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// loop is one run of a Reconciler. Its own goroutine decides and waits for nothing but news: of the state, of what is
// there, of a turn that has ended. All that takes time is done by others.
type loop struct {
	crew
	lister
	recovery
	view      *projection.View
	index     uint64 // of the state, up to which it has been followed
	replicas  map[projection.Pod]*replica
	dirty     map[projection.Pod]bool // to be decided about
	strays    []Orphan                // containers of ours whose labels name no pod
	turns     chan *turn              // that have ended
	probed    chan projection.Pod     // whose probes have found something else
	selectors map[string]selector     // of Services, by key
	clock     uint64                  // counts lists that began and turns that ended
	wake      time.Time               // when the next replica may be tried again; zero: none waits
	sweepAt   time.Time
	besideAt  time.Time       // when what runs beside the replicas is looked for again
	known     map[string]bool // orphans that have been told of
}

// replica is all that the loop knows of one container of a pod.
type replica struct {
	Case
	placement events.ID // that the retries are of
	busy      bool      // a turn is under way
	turned    uint64    // by the loop's clock: when its last turn ended
	stale     bool      // its last turn failed: what is there must be looked at anew
	idle      bool      // it was decided that it is not wanted, and nothing is to be done
	orphans   []Orphan
	retry     retry
	said      string             // the last error that was told of
	kept      string             // why its containers run on although it has moved to another host
	last      *projection.Placed // here
	leave     leaving
	watch     *watch // of the run that is recorded; nil when nothing is asked of it
	again     bool   // what it takes of other objects has changed while its turn was under way

	rest    map[string]*replica // of the pod's first container: the others, by name
	sources map[source]bool     // of the pod's first container: what they all take values of
}

// part names one container of a pod: the first by "".
type part struct {
	projection.Pod
	of string
}

func (p part) String() string {
	name := p.Namespace + "/" + p.Name()
	if p.of != "" {
		name += "/" + p.of
	}
	return name
}

func (r *replica) part() part { return part{r.Pod, r.Of} }

// parts gives the first container of each pod, and then its others.
func (l *loop) parts(yield func(*replica) bool) {
	for _, first := range l.replicas {
		for _, r := range first.parts() {
			if !yield(r) {
				return
			}
		}
	}
}

// parts gives the pod's containers: the first, and then the others by name.
func (r *replica) parts() []*replica {
	all := []*replica{r}
	for _, name := range slices.Sorted(maps.Keys(r.rest)) {
		all = append(all, r.rest[name])
	}
	return all
}

// parallel is how many turns may keep Podman busy at the same time. Waiting for a program to end, and pulling, does
// not count.
const parallel = 16

func newLoop(r *Reconciler) *loop {
	l := &loop{
		crew:      crew{r, r.owner(), newPortBook(), &singleflight.Group{}, make(chan struct{}, parallel), &sync.WaitGroup{}, &sync.Mutex{}, nil},
		lister:    newLister(),
		replicas:  map[projection.Pod]*replica{},
		dirty:     map[projection.Pod]bool{},
		turns:     make(chan *turn),
		probed:    make(chan projection.Pod),
		selectors: map[string]selector{},
		known:     map[string]bool{},
	}
	l.prober = newProber(r.Engine, l.goes)
	return l
}

func (l *loop) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	settled := make(chan error, 1)
	defer l.finish(cancel)
	l.begin()
	l.goes(func() { settled <- l.settle(ctx) })
	l.goes(func() { l.hear(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.follow(ctx)
		l.decide(ctx)
		for l.advance(ctx) {
			l.decide(ctx)
		}
		l.publish()
		timer.Reset(l.next())
		select {
		case <-ctx.Done():
			return nil
		case <-l.view.Changed:
		case t := <-l.turns:
			l.ended(t)
		case found := <-l.found:
			l.listed(found)
		case <-l.hints:
			l.hinted()
		case pod := <-l.probed:
			l.dirty[pod] = true
		case err := <-settled:
			if err != nil && ctx.Err() == nil {
				return err
			}
			l.settledAt = time.Now()
		case <-timer.C:
			l.tick(ctx)
		}
	}
}

// goes runs f beside the loop; finish waits for it.
func (l *loop) goes(f func()) { l.working.Go(f) }

// finish waits until nothing of this run is under way any more.
func (l *loop) finish(cancel context.CancelFunc) {
	cancel()
	done := make(chan struct{})
	go func() { l.working.Wait(); close(done) }()
	for {
		select {
		case <-l.turns:
		case <-l.found:
		case <-l.hints:
		case <-done:
			return
		}
	}
}

func (l *loop) settle(ctx context.Context) error {
	if l.Settle == nil {
		return nil
	}
	return l.Settle(ctx)
}

// follow takes over what has happened to the state since it last looked.
func (l *loop) follow(ctx context.Context) {
	first := l.view == nil
	l.view = l.Ledger.View()
	steps, ok := l.view.Since(l.index)
	l.index = l.view.Index()
	if first || !ok {
		l.followAll(ctx)
		return
	}
	moved, changed := false, map[namespaced]bool{}
	for i := range steps {
		for _, e := range steps[i].Commit.Events {
			pod, host, ok := projection.PodOf(e.Key)
			switch {
			case ok && (host == "" || host == l.Host):
				l.refresh(pod)
				moved = moved || host == ""
			case ok && l.replicas[pod] != nil: // what another host says of a pod that was here
				l.dirty[pod] = true
			}
			moved = moved || e.Key == projection.SightKey(l.Host)
			if s, ok := sourceOf(e.Key); ok {
				changed[s] = true
			}
		}
	}
	l.changed(ctx, changed)
	for r := range l.parts {
		if moved && (r.kept != "" || !r.leave.due.IsZero()) {
			l.dirty[r.Pod] = true
		}
	}
}

func (l *loop) followAll(ctx context.Context) {
	pods := map[projection.Pod]bool{}
	for _, typ := range []string{projection.PlacementType, projection.ReplicaType} {
		for o := range l.view.All(typ + "/") {
			pod, host, ok := projection.PodOf(o.Key)
			if ok && (host == "" || host == l.Host) {
				pods[pod] = true
			}
		}
	}
	for pod := range l.replicas {
		pods[pod] = true
	}
	for pod := range pods {
		l.refresh(pod)
		l.anew(ctx, l.replicas[pod]) // whatever has happened to what it takes
	}
}

// at is what is known of the pod, from now on if it was not.
func (l *loop) at(pod projection.Pod) *replica {
	r := l.replicas[pod]
	if r == nil {
		r = &replica{Case: Case{Pod: pod}}
		l.replicas[pod] = r
	}
	return r
}

// atPart is what is known of one container of a pod, from now on if it was not.
func (l *loop) atPart(p part) *replica {
	first := l.at(p.Pod)
	if p.of == "" {
		return first
	}
	if first.rest == nil {
		first.rest = map[string]*replica{}
	}
	r := first.rest[p.of]
	if r == nil {
		r = &replica{Case: Case{Pod: p.Pod, Of: p.of}, placement: first.placement, last: first.last}
		first.rest[p.of] = r
	}
	return r
}

// recorded is what the host has recorded of the pod; nil when it has recorded nothing that can be
// read: then it is recorded anew.
func recorded(s *projection.State, pod projection.Pod, host string) *projection.Replica {
	fact, ok := projection.Read[projection.Replica](s, pod.ReplicaKey(host))
	if !ok {
		return nil
	}
	return &fact
}

// refresh reads anew what the state says of a pod.
func (l *loop) refresh(pod projection.Pod) {
	first := l.at(pod)
	l.dirty[pod] = true
	first.Whole = recorded(l.view.State, pod, l.Host)
	var placement events.ID
	if placed, err := l.view.Placement(pod); err == nil && placed != nil && placed.Host == l.Host {
		if placement = placed.Event(); placement != first.placement {
			first.Layout, first.sources = layoutOf(placed), sourcesOf(placed)
		}
		first.last = placed
	}
	names := slices.Concat(first.Layout.Init, first.Layout.Others)
	if first.Whole != nil {
		names = slices.AppendSeq(names, maps.Keys(first.Whole.Others))
	}
	for _, name := range names {
		l.atPart(part{pod, name})
	}
	for _, r := range first.parts() {
		r.Recorded, r.last = first.Whole.Part(r.Of), first.last
		if placement != r.placement {
			r.placement, r.retry = placement, retry{}
		}
	}
	if !first.busy && first.Recorded != nil {
		l.ports.keep(pod, first.Recorded.Ports)
	}
}

// ended takes over what a turn has found and done.
func (l *loop) ended(t *turn) {
	r := l.atPart(part{t.Pod, t.Of})
	l.clock++
	again := r.again
	r.busy, r.again, r.turned, r.There = false, false, l.clock, t.there
	l.dirty[t.Pod] = true
	if t.refused { // decide has counted it
		r.retry.crashes = max(0, r.retry.crashes-1)
	}
	r.retry.refusals = t.refusals
	l.tried(t)
	switch {
	case t.err == nil:
		r.retry.failures, r.said = 0, ""
		if t.did[Remove] > 0 {
			l.sweepAt = time.Now()
		}
		return
	case errors.Is(t.err, errChanged):
	case errors.Is(t.err, ErrUnavailable):
		r.retry.unsaid = false
		r.retry.failed(time.Now(), t.left) // it may be this very request that Podman does not live through
		if l.down == nil {
			l.silent(t.err)
		}
	default:
		l.stats.Errors.Add(1)
		r.retry.failed(time.Now(), t.left)
		r.retry.unsaid = !errors.As(t.err, new(*failure))
		if text := t.err.Error(); l.Log != nil && text != r.said {
			l.Log.Warn("replica is not as it should be; trying again", append(t.who(), "err", text)...)
			r.said = text
		}
	}
	if again {
		r.retry.after = time.Time{}
	}
	r.stale = true
	l.hinted()
}

// tick does what is due.
func (l *loop) tick(ctx context.Context) {
	now := time.Now()
	if !l.listing && !l.due.After(now) {
		l.list(ctx)
	}
	if !l.wake.IsZero() && !l.wake.After(now) {
		l.wake = time.Time{}
		for pod := range l.replicas { // few wait, and whoever does not has no steps
			l.dirty[pod] = true
		}
	}
	if !l.sweepAt.IsZero() && !l.sweepAt.After(now) && l.stage == Ready {
		l.sweepAt = now.Add(sweepEvery)
		state := l.view.State
		l.goes(func() { l.sweep(ctx, state) })
	}
	if !l.besideAt.After(now) && l.stage == Ready {
		l.besideAt = now.Add(besideEvery)
		state := l.view.State
		l.goes(func() { l.lookBeside(ctx, state) })
	}
}

// next is how long to wait for news before something is due anyway.
func (l *loop) next() time.Duration {
	at := l.due
	if l.listing {
		at = time.Time{}
	}
	for _, t := range []time.Time{l.wake, l.deadline(), l.sweepDue(), l.besideDue()} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if at.IsZero() {
		return time.Hour
	}
	return max(0, time.Until(at))
}

func (l *loop) besideDue() time.Time {
	if l.stage != Ready {
		return time.Time{}
	}
	return l.besideAt
}

func (l *loop) sweepDue() time.Time {
	if l.stage != Ready {
		return time.Time{}
	}
	return l.sweepAt
}
