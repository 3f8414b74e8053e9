package placement

import (
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Replica is one replica of a Deployment: what was decided, and what its host says of it.
type Replica struct {
	*projection.Placed
	Seen      *projection.Replica // nil: its host has not said anything yet
	Silent    time.Time           // since when its host is not heard, so that nothing is known of it; zero: it is heard
	Updated   bool                // runs, or will run, what the Deployment now says
	Ready     bool                // its container runs, and no probe says that it takes no requests
	Available bool                // it has been ready for minReadySeconds

	own   bool      // the Deployment's, see own
	since time.Time // since when it has been ready, if it is, by the clock of who looks
}

// Rollout is a Deployment and all replicas placed under its name, in the order of their ordinals' names. A replica
// whose Owner was another is left from one of that name that was deleted.
type Rollout struct {
	Object     projection.Object
	Deployment *appsv1.Deployment
	SpecHash   string // of its template, as recorded
	Replicas   []Replica
	// Gone are pods without a placement whose containers are still there: one for each of them.
	Gone []projection.Pod
	// Wake is when the status becomes another by the passing of time alone: a replica available, or the time that
	// progress may take over. Zero: it does not.
	Wake time.Time

	now   time.Time
	known time.Time // when the newest event of the state was written here
	runs  runs      // nil: nothing is remembered
}

// Of is AsSeen by a host that hears all others.
func Of(s *projection.State, o projection.Object, now time.Time) (*Rollout, error) {
	return AsSeen(s, o, nil, now)
}

// AsSeen reads the Deployment that the object is and its replicas, as they are at the given time. silent are the hosts
// that are not heard, and since when (see projection.Hearing): what they said of their replicas holds no longer.
func AsSeen(s *projection.State, o projection.Object, silent map[string]time.Time, now time.Time) (*Rollout, error) {
	return look(s, o, silent, s.Removed, nil, now)
}

// look reads a Deployment and its replicas. The containers of hosts that are gone count as gone. known are the runs that are remembered; nil: none.
func look(s *projection.State, o projection.Object, silent map[string]time.Time, gone func(host string) bool, known runs, now time.Time) (*Rollout, error) {
	r, err := readRollout(o, now)
	if err != nil {
		return nil, err
	}
	r.known, r.runs = s.At(), known
	d := r.Deployment
	placed := map[projection.Pod]bool{}
	for p, err := range s.Placements(d.Namespace + "/" + d.Name + "/") {
		if err != nil {
			return nil, err
		}
		placed[p.Pod] = true
		seen, err := s.Replica(p)
		if err != nil {
			return nil, err
		}
		r.add(p, seen, silent[p.Host], own(s, o, p))
	}
	for o := range s.All(projection.ReplicaType + "/" + d.Namespace + "/" + d.Name + "/") {
		if pod, host, ok := projection.PodOf(o.Key); ok && !placed[pod] && !gone(host) {
			r.Gone = append(r.Gone, pod)
		}
	}
	if deadline, ok := r.deadline(); ok {
		r.wakeAt(deadline)
	}
	return r, nil
}

func readRollout(o projection.Object, now time.Time) (*Rollout, error) {
	obj, err := manifest.Decode("deployment", o.Version.Object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Key, err)
	}
	d, ok := obj.(*appsv1.Deployment)
	if !ok {
		return nil, fmt.Errorf("%s holds a %T", o.Key, obj)
	}
	template, err := templateOf(o.Version.Object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Key, err)
	}
	return &Rollout{Object: o, Deployment: d, SpecHash: manifest.SpecHash(template), now: now}, nil
}

// add adds a replica, of which its host has said what is seen and has been silent since then, if it is.
func (r *Rollout) add(p *projection.Placed, seen *projection.Replica, silent time.Time, own bool) {
	rep := Replica{Placed: p, Seen: seen, Silent: silent, own: own, Updated: own && p.SpecHash == r.SpecHash}
	if rep.Ready = seen != nil && seen.Phase == projection.Running && seen.Unready == "" && silent.IsZero(); rep.Ready {
		rep.since = r.since(&rep)
		available := rep.since.Add(r.minReady())
		if rep.Available = !available.After(r.now); !rep.Available {
			r.wakeAt(available)
		}
	}
	r.Replicas = append(r.Replicas, rep)
}

// minReady is for how long a replica must have been ready to be available.
func (r *Rollout) minReady() time.Duration {
	return time.Duration(r.Deployment.Spec.MinReadySeconds) * time.Second
}

// readied is since when a replica has been ready that is, or from when on it was: since it was started, where nothing asks it. It is by its
// host's clock.
func readied(seen *projection.Replica) time.Time { return later(seen.Started, seen.Readied) }

// wakeAt has Wake be t if that is the next thing to happen.
func (r *Rollout) wakeAt(t time.Time) {
	if t.After(r.now) && (r.Wake.IsZero() || t.Before(r.Wake)) {
		r.Wake = t
	}
}

// owns reports whether the replica is the Deployment's own.
func (r *Rollout) owns(rep *Replica) bool { return rep.own }

// own reports whether the placement is the Deployment's own. If it names another owner, that may be the same under the number that it had
// before it was given up and recorded again: so it is where no such event is known any more, and where the placement is for this very
// version, which has kept its time. Only if neither is so the owner is known to have been deleted.
func own(s *projection.State, d projection.Object, p *projection.Placed) bool {
	return p.Owner == d.UID || !s.Covers(p.Owner) || p.For.Time == d.Stamp.Time
}

// templateOf cuts the pod template out of a recorded Deployment, byte for byte: decoding and encoding it again with
// a newer version's types could change it, and with it what runs.
func templateOf(deployment []byte) (json.RawMessage, error) {
	var d struct {
		Spec struct {
			Template json.RawMessage `json:"template"`
		} `json:"spec"`
	}
	err := json.Unmarshal(deployment, &d)
	return d.Spec.Template, err
}

// Wanted is how many replicas the Deployment asks for.
func (r *Rollout) Wanted() int {
	if r.Deployment.Spec.Replicas == nil {
		return 1
	}
	return int(*r.Deployment.Spec.Replicas)
}

// Complete reports whether all of the Deployment's replicas run what it says, and no others do.
func (r *Rollout) Complete() bool {
	st := r.counts()
	n := int32(r.Wanted())
	return st.UpdatedReplicas == n && int(n) == len(r.Replicas) && st.AvailableReplicas == n && len(r.Gone) == 0
}

// Held says what keeps the replica from being ready; "" when it is.
func (r *Replica) Held() string {
	switch {
	case r.Ready:
		return ""
	case r.Host == "":
		return r.Why
	case !r.Silent.IsZero():
		return fmt.Sprintf("unknown: host %s silent since %s", r.Host, clock(r.Silent))
	case r.Seen == nil:
		return "waiting for host " + r.Host
	case r.Seen.Phase == projection.Running && r.Seen.Unready != "":
		return r.Seen.Unready
	case r.Seen.Message != "":
		return r.Seen.Reason + ": " + r.Seen.Message
	case r.Seen.Reason != "":
		return r.Seen.Reason
	default:
		return string(r.Seen.Phase)
	}
}
