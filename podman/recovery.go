package podman

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// actLimit is how long a recovery waits for every replica to have been tried once. Whatever takes longer, as a pull
// may, counts as failed, and goes on.
const actLimit = time.Minute

// recovery is how far the recovery has come. It is the loop itself with some steps not allowed yet: what is recovered
// and what is applied later go the same way.
type recovery struct {
	stage     Stage
	report    projection.Recovery
	entered   time.Time // the stage
	settledAt time.Time
	first     map[part]bool   // placed here and not tried yet, once acting
	adopted   map[string]part // containers that ran as recorded
	counted   map[string]bool // containers whose removal is in the report
	inVain    map[part]bool   // tried, in vain
	announced map[string]bool // Deployments
}

func (l *loop) begin() {
	now := time.Now()
	l.due = now
	l.recovery = recovery{stage: Adopting, entered: now, report: l.Begun,
		first: map[part]bool{}, adopted: map[string]part{}, counted: map[string]bool{},
		inVain: map[part]bool{}, announced: map[string]bool{}}
	if l.report.Started.IsZero() {
		l.report.Started = now.UTC()
	}
	if l.Log != nil {
		l.Log.Info("starting recovery", "replayed", l.report.Replayed)
	}
}

// enter begins the next stage.
func (l *loop) enter(s Stage) {
	now := time.Now()
	seconds := maps.Clone(l.report.Seconds)
	if seconds == nil {
		seconds = map[string]float64{}
	}
	seconds[string(l.stage)] = now.Sub(l.entered).Seconds()
	l.report.Seconds, l.stage, l.entered = seconds, s, now
	for pod := range l.replicas {
		l.dirty[pod] = true
	}
}

// decided notes what was decided about a pod.
func (l *loop) decided(r *replica, d *Decision) {
	if l.stage == Ready {
		return
	}
	if l.stage == Adopting && d.Runs != "" {
		l.adopted[d.Runs] = r.part()
	}
	if l.stage != Acting {
		return
	}
	todo := d.Waits != "" && l.first[part{r.Pod, ""}] // for what is tried yet; a wait that is for more holds no recovery up
	for _, s := range d.Steps {
		todo = todo || s.Action == Start || s.Action == Create || s.Action == Adopt
		if s.Action == Remove && s.Over && !l.counted[s.Container.ID] {
			l.counted[s.Container.ID] = true
			l.report.Removed++
		}
		if s.Action == Remove && l.bounces(d, s) {
			l.report.Bounced++
		}
	}
	if !todo {
		delete(l.first, r.part())
	} else if l.first[r.part()] {
		l.announce(r.Pod)
	}
}

// bounces reports whether a step would stop what ran as recorded and is still wanted. Plan has no such step; the report
// counts them so that it would be seen.
func (l *loop) bounces(d *Decision, s Step) bool {
	_, ran := l.adopted[s.Container.ID]
	return ran && d.Placed != nil && s.Container.Labels[LabelPlacement] == d.Placed.Event().String()
}

// tried notes how the first turn of a replica has ended.
func (l *loop) tried(t *turn) {
	if l.stage != Acting {
		return
	}
	l.report.Restart += t.did[Start]
	l.report.Created += t.did[Create]
	p := part{t.Pod, t.Of}
	if l.first[p] && (t.err == nil || !errors.Is(t.err, ErrUnavailable) && !errors.Is(t.err, errChanged)) {
		delete(l.first, p)
		l.inVain[p] = t.err != nil && t.left == nil
	}
}

// advance goes on to the next stage when everything in this one is done, and reports whether it did.
func (l *loop) advance(ctx context.Context) bool {
	before := l.stage

	switch {
	case l.stage == Adopting && l.seen && l.idle():
		l.report.Adopted = len(l.adopted)
		l.tellAdopted()
		l.enter(Settling)
	case l.stage == Settling && !l.settledAt.IsZero() && l.last.Before(l.settledAt):
		if l.down == nil && !l.listing {
			l.due = time.Now() // what is there is looked at anew before anything is changed
		}
	case l.stage == Settling && !l.settledAt.IsZero() && !l.listing && l.down == nil && l.idle():
		for r := range l.parts {
			if !r.placement.IsZero() {
				l.first[r.part()] = true
			}
		}
		l.enter(Acting)
	case l.stage == Acting && l.down == nil && (len(l.first) == 0 || !time.Now().Before(l.deadline())):
		l.recovered(ctx)
	}
	return l.stage != before
}

// idle reports whether nothing is under way or waits to be decided.
func (l *loop) idle() bool {
	for r := range l.parts {
		if r.busy {
			return false
		}
	}
	return len(l.dirty) == 0
}

// deadline is when acting ends whatever still goes on. Without Podman nothing does, and it does not end.
func (l *loop) deadline() time.Time {
	if l.stage != Acting || l.down != nil {
		return time.Time{}
	}
	return later(l.entered, l.back).Add(actLimit)
}

// recovered ends the recovery: the report is complete and said, and recorded once it may be.
func (l *loop) recovered(ctx context.Context) {
	l.enter(Ready)
	l.report.Done = time.Now().UTC()
	failed := map[string]bool{}
	deployments := map[string]bool{}
	for pod, first := range l.replicas {
		inVain := false
		for _, r := range first.parts() {
			l.report.Orphans += len(r.orphans)
			inVain = inVain || l.first[r.part()] || l.inVain[r.part()]
		}
		if first.placement.IsZero() {
			continue
		}
		name := pod.Namespace + "/" + pod.Deployment
		deployments[name] = true
		if inVain {
			failed[name] = true
			l.report.Failed++
		}
	}
	l.report.Orphans += len(l.strays)
	l.sweepAt, l.besideAt = time.Now(), time.Now()
	for _, first := range l.replicas {
		l.refill(ctx, first) // what it holds may have changed while no agent looked
	}
	if l.Log != nil {
		r := l.report
		l.Log.Info(fmt.Sprintf("recovery completed: %d recovered, %d failed", len(deployments)-len(failed), len(failed)),
			"adopted", r.Adopted, "started", r.Restart, "created", r.Created, "removed", r.Removed,
			"orphans", r.Orphans, "failed", r.Failed, "bounced", r.Bounced, "seconds", r.Done.Sub(r.Started).Seconds(),
			slog.GroupAttrs("phases", phases(r.Seconds)...))
	}
	report := l.report
	l.goes(func() {
		if l.Tell != nil {
			var may bool
			if report.More, may = l.Tell(ctx); !may {
				return
			}
		}
		// Without ctx: what was found is worth recording even when the agent is told to stop just now.
		_, err := l.Ledger.Record(context.Background(), by("recovery"), func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Observed, Key: projection.RecoveryKey(l.Host), Object: projection.Encode(report)}}, nil
		})
		if err != nil && l.Log != nil {
			l.Log.Warn("the report of the recovery could not be recorded", "err", err)
		}
	})
}

// phases are how many seconds each phase took, for the log.
func phases(seconds map[string]float64) (all []slog.Attr) {
	for _, phase := range slices.Sorted(maps.Keys(seconds)) {
		all = append(all, slog.Float64(phase, seconds[phase]))
	}
	return all
}

// tellAdopted tells of every pod that ran as recorded, Deployment by Deployment.
func (l *loop) tellAdopted() {
	ids := slices.SortedFunc(maps.Keys(l.adopted), func(a, b string) int { return compareParts(l.adopted[a], l.adopted[b]) })
	for _, id := range ids {
		pod := l.adopted[id].Pod
		l.announce(pod)
		if l.Log != nil {
			l.Log.Info("adopted pod", "namespace", pod.Namespace, "pod", pod.Name(), "host", l.Host, "container", abbreviate(id))
		}
	}
}

// announce says, once, that a Deployment is being recovered.
func (l *loop) announce(pod projection.Pod) {
	name := pod.Namespace + "/" + pod.Deployment
	if l.Log != nil && !l.announced[name] {
		l.Log.Info("recovering deployment", "deployment", name)
	}
	l.announced[name] = true
}

// waiting says what holds the recovery up.
func (l *loop) waiting() []string {
	var what []string
	if l.stage != Ready && l.down != nil {
		what = append(what, "podman")
	}
	if l.stage == Settling && l.settledAt.IsZero() {
		what = append(what, "settle")
	}
	if l.stage == Acting {
		for _, p := range slices.SortedFunc(maps.Keys(l.first), compareParts) {
			what = append(what, p.String())
		}
	}
	return what
}
