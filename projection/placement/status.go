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
	Updated   bool                // runs, or will run, what the Deployment now says
	Ready     bool                // its container runs
	Available bool                // it has been running for minReadySeconds
}

// Rollout is a Deployment and all replicas placed under its name, in the order of their ordinals' names. A replica
// whose Owner is not the Deployment's UID is left from one of that name that was deleted.
type Rollout struct {
	Object     projection.Object
	Deployment *appsv1.Deployment
	SpecHash   string // of its template, as recorded
	Replicas   []Replica
	Gone       []projection.Pod // pods without a placement whose containers are still there
	// Wake is when the status becomes another by the passing of time alone: a replica available, or the time that
	// progress may take over. Zero: it does not.
	Wake time.Time

	now time.Time
}

// Of reads the Deployment that the object is and its replicas, as they are at the given time.
func Of(s *projection.State, o projection.Object, now time.Time) (*Rollout, error) {
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
	r := &Rollout{Object: o, Deployment: d, SpecHash: manifest.SpecHash(template), now: now}
	minReady := time.Duration(d.Spec.MinReadySeconds) * time.Second
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
		rep := Replica{Placed: p, Seen: seen, Updated: p.Owner == o.UID && p.SpecHash == r.SpecHash}
		if rep.Ready = seen != nil && seen.Phase == projection.Running; rep.Ready {
			since := seen.Started.Add(minReady)
			if rep.Available = !since.After(now); !rep.Available {
				r.wakeAt(since)
			}
		}
		r.Replicas = append(r.Replicas, rep)
	}
	for o := range s.All(projection.ReplicaType + "/" + d.Namespace + "/" + d.Name + "/") {
		if pod, _, ok := projection.PodOf(o.Key); ok && !placed[pod] {
			r.Gone = append(r.Gone, pod)
		}
	}
	if deadline, ok := r.deadline(); ok {
		r.wakeAt(deadline)
	}
	return r, nil
}

// wakeAt has Wake be t if that is the next thing to happen.
func (r *Rollout) wakeAt(t time.Time) {
	if t.After(r.now) && (r.Wake.IsZero() || t.Before(r.Wake)) {
		r.Wake = t
	}
}

// owns reports whether the replica is the Deployment's own.
func (r *Rollout) owns(rep *Replica) bool { return rep.Owner == r.Object.UID }

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
	case r.Seen == nil:
		return "waiting for host " + r.Host
	case r.Seen.Message != "":
		return r.Seen.Reason + ": " + r.Seen.Message
	case r.Seen.Reason != "":
		return r.Seen.Reason
	default:
		return string(r.Seen.Phase)
	}
}
