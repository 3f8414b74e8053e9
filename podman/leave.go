package podman

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// lingers is how long a container that a Service sends requests to runs on once the evidence that ends it is there: that is how
// long other hosts need at most to hear of it and to send theirs elsewhere.
const lingers = 2 * time.Second

// leaving is a container that is to go, and may not yet.
type leaving struct {
	container string
	due       time.Time
}

// linger gives the steps that may be done now: those before the first that would stop what requests are still sent to.
func (l *loop) linger(r *replica, steps []Step, now time.Time) []Step {
	for i, s := range steps {
		if s.Action != Remove || !s.Over || !s.Container.Status.Runs() || r.Recorded == nil || r.Recorded.Container != s.Container.ID {
			continue // nothing is sent to what is not recorded
		}
		if r.leave.container != s.Container.ID {
			r.leave = leaving{container: s.Container.ID}
			if l.chosen(s.Container.Labels) {
				r.leave.due = now.Add(lingers)
			}
		}
		if !r.leave.due.After(now) || l.inTheWay(l.replicas[r.Pod], r.last) != "" {
			continue
		}
		l.wakeAt(r.leave.due)
		return steps[:i]
	}
	return steps
}

// chosen reports whether a Service's selector matches a container of those labels, which are its pod's and ours.
func (l *loop) chosen(labels map[string]string) bool {
	prefix := "service/" + labels[LabelNamespace] + "/"
	for o := range l.view.All(prefix) {
		known, ok := l.selectors[o.Key]
		if !ok || known.event != o.Stamp.ID {
			known = selector{event: o.Stamp.ID, labels: selectorOf(o)}
			l.selectors[o.Key] = known
		}
		if known.matches(labels) {
			return true
		}
	}
	for key := range l.selectors { // of Services that are no more
		if _, ok := l.view.Lookup(key); !ok && strings.HasPrefix(key, prefix) {
			delete(l.selectors, key)
		}
	}
	return false
}

// selector is what a Service selects, as of one event.
type selector struct {
	event  events.ID
	labels map[string]string // none: nothing
}

func (s *selector) matches(labels map[string]string) bool {
	for k, v := range s.labels {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return len(s.labels) > 0
}

func selectorOf(o projection.Object) map[string]string {
	var s struct {
		Spec struct {
			Selector map[string]string `json:"selector"`
		} `json:"spec"`
	}
	if json.Unmarshal(o.Version.Object, &s) != nil {
		return nil
	}
	return s.Spec.Selector
}
