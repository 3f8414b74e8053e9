package placement

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Ledger is what a Decider needs of a projection.Ledger.
type Ledger interface {
	View() *projection.View
	Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error)
}

// Decider records placements whenever something changed that they depend on, for as long as this host is the one that
// decides: among the hosts that are alive, ready and writable, the first by name. Every host runs one.
//
// Two may decide at once, when they do not hear each other. That does no lasting harm: of two decisions about one replica
// that for the newer declaration is held by all, or else the later one, and whoever decides then makes the rest of it.
type Decider struct {
	Ledger Ledger
	Host   string        // this host
	Retry  time.Duration // between tries when the log takes nothing; zero: 5 s
	Log    *slog.Logger
	// Peers is what is heard of the hosts now, and a channel that is closed when that is no longer so. It is called from
	// one goroutine, and the slice must not be changed afterwards. nil: this host is alone.
	Peers           func() (peers []Peer, changed <-chan struct{})
	RescheduleAfter time.Duration // how long a host must be silent before its replicas move; zero: 60 s
	ReturnAfter     time.Duration // how long one that said it would be back must be silent; zero: 15 min
}

type deployment struct{ namespace, name string }

func (d deployment) compare(o deployment) int {
	return cmp.Or(cmp.Compare(d.namespace, o.namespace), cmp.Compare(d.name, o.name))
}

// chunk is how many Deployments are decided in one commit at most: enough to share an fsync, few enough that other
// writers need not wait.
const chunk = 64

// Run decides until ctx ends. It returns an error only if the ledger has closed before.
func (d *Decider) Run(ctx context.Context) error {
	l := newLoop(d)
	for {
		heard := l.follow()
		err := l.decide(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, projection.ErrClosed):
			return err
		case err != nil:
			d.Log.Warn("placements cannot be recorded; trying again", "in", l.Retry, "err", err)
			l.again = time.Now().Add(l.Retry) // todo still holds what is left
		default:
			l.again = time.Time{}
		}
		timer := time.NewTimer(l.sleep())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-l.view.Changed:
		case <-heard:
		case <-timer.C:
		}
		timer.Stop()
		l.awake()
	}
}

// decide decides what is in todo and takes out of it what has been decided.
func (l *loop) decide(ctx context.Context) error {
	if l.hosts.decider != l.Host {
		clear(l.todo) // another does it; whoever takes over looks at everything
		clear(l.wake)
		clear(l.unplaced)
		return nil
	}
	all := slices.SortedFunc(maps.Keys(l.todo), deployment.compare)
	for part := range slices.Chunk(all, chunk) {
		if err := l.decidePart(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) decidePart(ctx context.Context, part []deployment) error {
	err := l.record(ctx, part)
	switch {
	case err == nil:
	case l.stuck(ctx, err):
		return err
	case len(part) > 1: // it is about one of them, which must not hold up the others
		for i := range part {
			if err := l.decidePart(ctx, part[i:i+1]); err != nil {
				return err
			}
		}
	default:
		l.cannot(part[0], err)
		l.wake[part[0]] = time.Now().Add(l.Retry)
	}
	for _, dep := range part {
		delete(l.todo, dep)
	}
	return nil
}

// stuck reports whether an error says that nothing at all can be recorded now.
func (l *loop) stuck(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, projection.ErrClosed) || errors.Is(err, events.ErrFull) || errors.Is(err, events.ErrFailed)
}

// cannot says that nothing can be decided for a Deployment, until something about it changes.
func (l *loop) cannot(dep deployment, err error) {
	l.Log.Error("a Deployment cannot be placed", "deployment", dep.namespace+"/"+dep.name, "err", err)
}

func (l *loop) record(ctx context.Context, part []deployment) error {
	// Most wake-ups need no decision (a replica said that it runs): that is found out without the ledger.
	made, told := l.changes(l.Ledger.View().State, part)
	if len(made) > 0 {
		receipt, err := l.Ledger.Record(ctx, projection.By{Actor: "placement", Cause: "what is placed differs from what is wanted"},
			func(s *projection.State) ([]projection.Change, error) {
				made, told = l.changes(s, part)
				return made, nil
			})
		if err != nil {
			return err
		}
		for _, c := range made { // what is decided next counts on it
			if pod, _, ok := projection.PodOf(c.Key); ok {
				l.given.follow(receipt.State, pod)
			}
		}
	}
	for dep, err := range told {
		l.cannot(dep, err)
	}
	for _, c := range made {
		l.say(c)
	}
	return nil
}

// say logs a decision that has been recorded.
func (l *loop) say(c projection.Change) {
	pod, _, _ := projection.PodOf(c.Key)
	log := l.Log.With("pod", pod.Namespace+"/"+pod.Name())
	var p projection.Placement
	switch {
	case c.Object == nil:
		log.Info("replica is not wanted any more")
	case json.Unmarshal(c.Object, &p) == nil && p.Host == "":
		log.Warn("replica cannot be placed", "why", p.Why)
	default:
		log.Info("replica placed", "host", p.Host, "why", p.Why)
	}
}

// changes is what has to be recorded for the given Deployments, and what is wrong with those that cannot be decided.
func (l *loop) changes(s *projection.State, part []deployment) (all []projection.Change, wrong map[deployment]error) {
	p := newPass(s, l.cluster().hosts(s, l.given.register), l.given)
	defer l.given.back(l.given.mark())
	for _, dep := range part {
		delete(l.wake, dep)
		delete(l.unplaced, dep)
		changes, at, err := p.decide(dep.namespace, dep.name)
		if err != nil {
			if wrong == nil {
				wrong = map[deployment]error{}
			}
			wrong[dep] = err
			continue
		}
		if !at.IsZero() {
			l.wake[dep] = at
		}
		all = append(all, changes...)
	}
	for pod := range p.unplaced {
		l.unplaced[deployment{pod.Namespace, pod.Deployment}] = true
	}
	return all, wrong
}
