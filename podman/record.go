package podman

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// record looks at the container and records it.
func (t *turn) record(ctx context.Context, id string) error {
	c, err := t.inspect(ctx, id)
	if err != nil {
		return fail("ContainerStatusUnknown", err)
	}
	if t.Of == "" {
		t.ports.keep(t.Pod, c.Ports)
	}
	return t.put(ctx, t.fact(&c))
}

// before is what is recorded of this very placement; nothing, if nothing is.
func (t *turn) before() projection.Replica {
	if t.Recorded != nil && t.Recorded.Placement == t.Placed.Event() {
		return *t.Recorded
	}
	return projection.Replica{Placement: t.Placed.Event()}
}

// fact is what there is to say of the container.
func (t *turn) fact(c *Container) *projection.Replica {
	before := t.before()
	f := &projection.Replica{
		Placement: t.Placed.Event(), Container: c.ID, Name: c.Name, Image: c.Image, Ports: c.Ports, Started: c.Started,
		Restarts: before.Restarts, Readied: before.Readied, ExitCode: before.ExitCode, OOMKilled: before.OOMKilled, Finished: before.Finished,
	}
	if p, err := readPod(t.Placed, t.Of); err == nil { // else the ports have no names; the container runs all the same
		f.Ports = p.named(c.Ports)
	}
	ended := t.ended
	if ended != nil {
		f.Restarts++
	}
	if c.Status.Ended() {
		ended = c
	}
	if ended != nil {
		f.ExitCode, f.OOMKilled, f.Finished = ended.ExitCode, ended.OOMKilled, ended.Finished
	}
	switch {
	case c.Status.Runs():
		f.Phase, f.Boot = projection.Running, t.Reconciler.Boot
		if t.Of == "" {
			f.IP = c.IP
		}
		f.Unready = before.Unready
		became(f, t.unready(c, &before))
		if c.Status == StatusPaused {
			f.Reason = paused
		}
	case c.Status.Ended():
		f.Phase, f.Reason = projection.Exited, "Error"
		switch {
		case c.OOMKilled:
			f.Reason = "OOMKilled"
		case c.ExitCode == 0:
			f.Reason = "Completed"
		}
	default:
		f.Phase, f.Reason = projection.Pending, "ContainerCreating"
	}
	return f
}

// unready is what keeps a container that runs from taking requests: what its probes have found of this run, else what is
// recorded of it, else that they have not been asked yet.
func (t *turn) unready(c *Container, before *projection.Replica) string {
	if t.Probed.of(c) {
		return t.Probed.Unready
	}
	if before.Phase == projection.Running && before.Container == c.ID && before.Started.Unix() == c.Started.Unix() {
		return before.Unready
	}
	if !probed(t.Placed.Template) {
		return ""
	}
	p, err := readPod(t.Placed, t.Of)
	if err != nil || slices.Contains(t.Layout.Init, t.Of) {
		return ""
	}
	return p.unready()
}

// became notes why the container is not ready, and when it became so.
func became(f *projection.Replica, unready string) {
	if f.Unready != "" && unready == "" {
		f.Readied = time.Now().UTC()
	}
	f.Unready = unready
}

// note records what the probes have found, and nothing else: Podman is not asked.
func (t *turn) note(ctx context.Context) error {
	fact := *t.Recorded
	became(&fact, t.Probed.Unready)
	return t.put(ctx, &fact)
}

// pending is what there is to say while there is no container to speak of.
func (t *turn) pending(reason, message string) *projection.Replica {
	f := t.before()
	f.Phase, f.Reason, f.Message = projection.Pending, reason, message
	f.Container, f.Name, f.IP, f.Boot, f.Unready = "", "", "", "", ""
	return &f
}

// recordFailure tells people what keeps the replica from running. What was recorded of a container that is still there
// is kept: it may be the only evidence of whose it is.
func (t *turn) recordFailure(ctx context.Context, f *failure) error {
	for _, c := range t.there {
		if t.Recorded != nil && t.Recorded.Container == c.ID {
			fact := *t.Recorded
			if !c.Status.Runs() {
				fact.Phase, fact.Unready = projection.Pending, ""
			}
			fact.Reason, fact.Message = f.reason, words(f.error)
			return t.put(ctx, &fact)
		}
	}
	if t.Placed == nil {
		return nil
	}
	return t.put(ctx, t.pending(f.reason, words(f.error)))
}

// whole is what there is to say of the pod, of which was is said, when fact is to be said of the turn's container.
func (t *turn) whole(was, fact *projection.Replica) *projection.Replica {
	others, first := map[string]projection.Replica{}, fact
	if t.Of != "" {
		first = &projection.Replica{Placement: fact.Placement, Phase: projection.Pending, Reason: "PodInitializing"}
		others[t.Of] = *fact
	}
	if was != nil && (was.Placement == fact.Placement || t.Placed != nil && t.Placed.Is(was.Placement)) {
		for name, other := range was.Others {
			if name != t.Of {
				others[name] = other
			}
		}
		if t.Of != "" {
			first = was.Part("")
		}
	} else {
		was = nil
	}
	if len(others) == 0 {
		others = nil
	}
	var since time.Time
	if t.Layout.Joined { // who began before has a network that is gone
		since = first.Started
	}
	return first.Whole(others, t.Layout.Others, since, was, time.Now().UTC())
}

// put records the fact, unless it is what is recorded already. What is recorded of other containers of the pod stays.
func (t *turn) put(ctx context.Context, fact *projection.Replica) error {
	key := t.Pod.ReplicaKey(t.Host)
	_, err := t.Ledger.Record(ctx, by("what Podman says of "+t.Pod.Name()), func(s *projection.State) ([]projection.Change, error) {
		was := recorded(s, t.Pod, t.Host)
		if t.Of != "" && was != nil && t.Placed == nil && was.Placement != fact.Placement {
			return nil, nil // it is over, and of what the pod is now nothing is said here
		}
		object := projection.Encode(t.whole(was, fact))
		if o, ok := s.Lookup(key); ok {
			if bytes.Equal(o.Version.Object, object) {
				return nil, nil
			}
			if !t.begun(o) {
				return nil, errChanged
			}
		}
		return []projection.Change{{Kind: events.Observed, Key: key, Object: object}}, nil
	})
	if err == nil {
		t.Recorded = fact
	}
	return err
}

// begun reports whether the fact tells of the container that the turn began with, or that it put there itself: a
// person may have handed the pod another container since.
func (t *turn) begun(o projection.Object) bool {
	var now projection.Replica
	if json.Unmarshal(o.Version.Object, &now) != nil {
		return true // nothing that can be read is lost
	}
	part := now.Part(t.Of)
	return part == nil || t.Recorded != nil && t.Recorded.Container == part.Container || part.Container == ""
}

// forget takes back what was recorded.
func (t *turn) forget(ctx context.Context) error {
	key := t.Pod.ReplicaKey(t.Host)
	_, err := t.Ledger.Record(ctx, by("the container of "+t.Pod.Name()+" is gone"), func(s *projection.State) ([]projection.Change, error) {
		was := recorded(s, t.Pod, t.Host)
		if _, ok := s.Lookup(key); !ok || t.Of != "" && was.Part(t.Of) == nil {
			return nil, nil
		}
		if t.Of != "" {
			rest := maps.Clone(was.Others)
			delete(rest, t.Of)
			if len(rest) == 0 {
				rest = nil
			}
			was.Others = rest
			return []projection.Change{{Kind: events.Observed, Key: key, Object: projection.Encode(was)}}, nil
		}
		return []projection.Change{{Kind: events.Observed, Key: key}}, nil
	})
	if err == nil {
		t.Recorded = nil
		if t.Of == "" {
			t.ports.keep(t.Pod, nil)
		}
	}
	return err
}
