package placement

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Ledger is what a Decider needs of a projection.Ledger.
type Ledger interface {
	View() *projection.View
	Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error)
}

// Decider records placements whenever something changed that they depend on.
type Decider struct {
	Ledger Ledger
	Host   string        // this host, the one that may be given replicas
	Retry  time.Duration // between tries when the log takes nothing; zero: 5 s
	Log    *slog.Logger
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
	l := &loop{Decider: d, todo: map[deployment]bool{}, unplaced: map[deployment]bool{}, wake: map[deployment]time.Time{}}
	if l.Retry == 0 {
		l.Retry = 5 * time.Second
	}
	v := d.Ledger.View()
	l.addAll(v.State)
	for {
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
		case <-v.Changed:
		case <-timer.C:
		}
		timer.Stop()
		l.awake()
		next := d.Ledger.View()
		l.collect(next, v.Index())
		v = next
	}
}

// loop is what a Decider knows while it runs. All of it can be found out anew from the state.
type loop struct {
	*Decider
	todo     map[deployment]bool      // to be decided now
	unplaced map[deployment]bool      // with replicas that no host could take
	wake     map[deployment]time.Time // to be decided then
	again    time.Time                // when to go on with todo after an error; zero: there was none
}

// sleep is how long to sleep when nothing happens.
func (l *loop) sleep() time.Duration {
	first := time.Now().Add(time.Hour)
	if !l.again.IsZero() {
		first = l.again
	}
	for _, at := range l.wake {
		if at.Before(first) {
			first = at
		}
	}
	return max(0, time.Until(first))
}

// awake adds the Deployments whose time has come.
func (l *loop) awake() {
	now := time.Now()
	for dep, at := range l.wake {
		if !at.After(now) {
			delete(l.wake, dep)
			l.todo[dep] = true
		}
	}
}

func (l *loop) addAll(s *projection.State) {
	for _, typ := range []string{"deployment", projection.PlacementType} {
		for o := range s.All(typ + "/") {
			l.add(o.Key)
		}
	}
}

// collect adds the Deployments that were touched since index, and those that wait for room if there may be some.
func (l *loop) collect(v *projection.View, index uint64) {
	steps, ok := v.Since(index)
	for i := range steps {
		for _, e := range steps[i].Commit.Events {
			if e.Key == projection.HostKey(l.Host) { // its labels decide what fits
				ok = false
			}
			l.add(e.Key)
			if strings.HasPrefix(e.Key, projection.PlacementType+"/") && (e.Object == nil || !e.Base.IsZero()) {
				maps.Copy(l.todo, l.unplaced)
			}
		}
	}
	if !ok {
		l.addAll(v.State)
	}
}

func (l *loop) add(key string) {
	parts := strings.SplitN(key, "/", 4)
	switch parts[0] {
	case "deployment", projection.PlacementType, projection.ReplicaType:
		if len(parts) >= 3 {
			l.todo[deployment{parts[1], parts[2]}] = true
		}
	}
}

// decide decides what is in todo and takes out of it what has been decided.
func (l *loop) decide(ctx context.Context) error {
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
		_, err := l.Ledger.Record(ctx, projection.By{Actor: "placement", Cause: "what is placed differs from what is wanted"},
			func(s *projection.State) ([]projection.Change, error) {
				made, told = l.changes(s, part)
				return made, nil
			})
		if err != nil {
			return err
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
	p := newPass(s, []string{l.Host}, time.Now())
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
