package podman

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Known is what Plan asks of the state.
type Known interface {
	// Placement is the placement of the pod; nil when there is none.
	Placement(projection.Pod) (*projection.Placed, error)
	// Covers reports whether the event has been heard of. A covered placement that is not held is over.
	Covers(events.ID) bool
	// Serves reports whether the placement's host says that the pod runs there, and is heard.
	Serves(*projection.Placed) bool
}

// Case is all that a host knows of one container of a pod, beside the state.
type Case struct {
	Pod      projection.Pod
	Of       string              // name of the container in the pod's template; "" for the first
	Recorded *projection.Replica // what it has recorded of that container; nil for nothing
	There    []Container         // its containers with this pod's labels that are that one
	Whole    *projection.Replica // what it has recorded of the pod
	Rest     []Container         // its containers that are others of the pod
	Layout   Layout              // of the pod's template
	InTheWay string              // what another pod that is placed here needs of what these hold; "" for nothing
	Boot     string              // of this host, as projection.Replica.Boot; "" when it is not known
	Probed   *Probed             // what its probes have found of a run of its container; nil: nothing is asked of it
}

// Action is what a Step does.
type Action string

// The actions.
const (
	Adopt  Action = "adopt"  // the container runs as wanted: record it, and leave it alone
	Start  Action = "start"  // the container is there and does not run
	Create Action = "create" // there is no container
	Stop   Action = "stop"   // the container's program is not well: end it, so that it is started again
	Note   Action = "note"   // record what its probes have found
	Remove Action = "remove" // the container is over, or cannot be started any more
	Forget Action = "forget" // nothing is there nor wanted: take back what was recorded
)

// Step is one thing to do. All steps of a Decision are of one pod, and must be done in order, each only once the one
// before it has been.
type Step struct {
	Action    Action
	Container Container // none in Create and Forget
	Over      bool      // of Remove: the container carries out a decision that is no longer held
	Why       string
}

// Orphan is a container of ours that nothing explains: the state has not heard of the decision that it carries out.
// It is left running until a person says what to do with it.
type Orphan struct {
	Container
	Pod projection.Pod // none when the labels name none
	Why string
}

// Decision is what ought to be done about one container of a pod.
type Decision struct {
	Placed  *projection.Placed // the placement, when it is this host's to carry out
	Runs    string             // the id of its container, when that runs
	Steps   []Step
	Orphans []Orphan
	Kept    string // why containers whose pod has moved to another host are left running for now; "" when none are
	Waits   string // which other container of the pod has to come first; "" when none has
	Joins   bool   // the first container has been started since this one was: it is started again for the network's sake
}

// Plan decides what a host ought to do about one container of a pod: pure, so that it can be looked at, and idempotent. Whatever is
// there, once its steps are done there is exactly one container where the pod is placed and none where it is not, and
// Plan has no more steps.
//
// A container is removed on evidence only: the state has heard of the decision that it carries out and holds another
// one, or none. One whose pod has moved to another host is left running until that host says that the pod runs there, or
// another pod that is placed here needs what it holds. The error is that of a placement that cannot be read; then nothing must be done.
func Plan(known Known, host string, c Case) (Decision, error) {
	var d Decision
	held, err := known.Placement(c.Pod)
	if err != nil {
		return d, err
	}
	if held != nil && held.Host == host && c.Layout.has(c.Of) {
		d.Placed = held
	}
	moved := held != nil && held.Host != host && held.Host != "" && c.InTheWay == "" && !known.Serves(held)
	var mine []Container
	for _, there := range c.There {
		id, why := carriesOut(&there, c.Recorded)
		switch {
		case why != "":
			d.Orphans = append(d.Orphans, Orphan{there, c.Pod, why})
		case d.Placed != nil && held.Event() == id && held.SpecHash != there.Labels[LabelSpecHash]:
			d.Orphans = append(d.Orphans, Orphan{there, c.Pod, "it was made from another spec than its placement holds"})
		case d.Placed != nil && held.Is(id) && held.SpecHash == there.Labels[LabelSpecHash]:
			mine = append(mine, there)
		case !known.Covers(id):
			d.Orphans = append(d.Orphans, Orphan{there, c.Pod, "nothing is known here of its placement " + id.String()})
		case moved && there.Status.Runs():
			d.Kept = "it is placed on " + held.Host + ", and does not run there yet"
		default:
			why := over(held, host)
			if c.InTheWay != "" {
				why += ", and " + c.InTheWay
			}
			d.Steps = append(d.Steps, Step{Remove, there, true, why})
		}
	}
	switch {
	case d.Placed != nil && slices.Contains(c.Layout.Init, c.Of):
		d.initialise(&c, mine)
	case d.Placed != nil:
		d.carryOut(&c, d.joined(&c, mine))
	case d.Kept != "": // what is recorded says whose it is
	case c.Recorded != nil:
		d.Steps = append(d.Steps, Step{Action: Forget, Why: over(held, host)})
	}
	d.await(known, &c)
	return d, nil
}

// carriesOut is the placement that the container carries out: what its host has recorded of it, else its label. They
// differ only for an orphan that a person had adopted. why says what is in the way of knowing it.
func carriesOut(c *Container, recorded *projection.Replica) (id events.ID, why string) {
	pod, id, ok := labelled(c.Labels)
	switch {
	case !ok:
		return id, "its labels cannot be read"
	case recorded != nil && recorded.Container == c.ID:
		return recorded.Placement, ""
	case !named(c, pod, id):
		return id, "its name is none that this agent gives: it is a copy of one of its containers, or was renamed"
	}
	return id, ""
}

func over(held *projection.Placed, host string) string {
	switch {
	case held == nil:
		return "its placement has ended"
	case held.Host == host:
		return "a newer placement takes its place"
	case held.Host == "":
		return "it is placed nowhere: " + held.Why
	}
	return "it is placed on " + held.Host
}

// carryOut adds the steps after which exactly one of mine is there, and runs.
func (d *Decision) carryOut(of *Case, mine []Container) {
	recorded, probed := of.Recorded, of.Probed
	if len(mine) == 0 {
		d.Steps = append(d.Steps, Step{Action: Create, Why: "it is placed here"})
		return
	}
	// One that runs is never stopped for one that does not; of several that run, the recorded one stays.
	best := slices.MaxFunc(mine, func(a, b Container) int {
		return cmp.Or(
			truth(a.Status.Runs(), b.Status.Runs()),
			truth(recorded != nil && recorded.Container == a.ID, recorded != nil && recorded.Container == b.ID),
			a.Created.Compare(b.Created),
			cmp.Compare(a.ID, b.ID),
		)
	})
	for _, c := range mine {
		if c.ID != best.ID {
			d.Steps = append(d.Steps, Step{Remove, c, true, "another container carries out its placement"})
		}
	}
	switch {
	case best.Status.Runs():
		d.Runs = best.ID
		if !agrees(of, d.Placed.Event(), &best) {
			d.Steps = append(d.Steps, Step{Action: Adopt, Container: best, Why: "it runs as placed"})
		} else if probed.of(&best) && probed.Dead != "" { // before that it could not be ended yet is taken back
			d.Steps = append(d.Steps, Step{Action: Stop, Container: best, Why: probed.Dead})
		} else if d.outlived(of) {
			d.Steps = append(d.Steps, Step{Action: Stop, Container: best, Why: "the container whose network it has was started again"})
		} else if len(d.Steps) == 0 && recorded.Message != "" {
			d.Steps = append(d.Steps, Step{Action: Adopt, Container: best, Why: "what had failed beside it does no more"})
		} else if probed.of(&best) && probed.Unready != recorded.Unready {
			d.Steps = append(d.Steps, Step{Action: Note, Container: best, Why: "its probes say otherwise"})
		}
	case best.Status.Ended():
		d.Joins = d.outlived(of)
		d.Steps = append(d.Steps, Step{Action: Start, Container: best, Why: fmt.Sprintf("it exited with code %d", best.ExitCode)})
	case best.Status.fresh():
		d.Steps = append(d.Steps, Step{Action: Start, Container: best, Why: "it has not been started"})
	default:
		why := fmt.Sprintf("its container is %q, and cannot be started", best.Status)
		d.Steps = append(d.Steps, Step{Action: Remove, Container: best, Why: why}, Step{Action: Create, Why: why})
	}
}

func truth(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// paused is the reason that a replica's fact has while its container is paused.
const paused = "Paused"

// agrees reports whether what is recorded says of the container, which runs, what Podman says.
func agrees(of *Case, placement events.ID, c *Container) bool {
	recorded := of.Recorded
	return recorded != nil && recorded.Placement == placement && recorded.Container == c.ID &&
		recorded.Phase == projection.Running && recorded.Started.Unix() == c.Started.Unix() &&
		(recorded.Reason == paused) == (c.Status == StatusPaused) && (of.Boot == "" || recorded.Boot == of.Boot)
}
