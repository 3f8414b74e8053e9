package placement

import (
	"bytes"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Status is the Deployment's status as Kubernetes would show it. It follows from the state and the time given to Of
// alone, so that every look at one state sees the same; `kubectl rollout status` can go by it.
func (r *Rollout) Status() appsv1.DeploymentStatus {
	st := r.counts()
	st.Conditions = []appsv1.DeploymentCondition{r.available(&st), r.progressing(&st)}
	return st
}

// counts is the status without its conditions.
func (r *Rollout) counts() appsv1.DeploymentStatus {
	st := appsv1.DeploymentStatus{ObservedGeneration: r.Deployment.Generation}
	for i := range r.Replicas {
		rep := &r.Replicas[i]
		if !r.owns(rep) {
			continue
		}
		st.Replicas++
		if rep.Updated {
			st.UpdatedReplicas++
		}
		if rep.Ready {
			st.ReadyReplicas++
		}
		if rep.Available {
			st.AvailableReplicas++
		}
	}
	st.UnavailableReplicas = max(0, max(int32(r.Wanted()), st.Replicas)-st.AvailableReplicas)
	return st
}

func (r *Rollout) available(st *appsv1.DeploymentStatus) appsv1.DeploymentCondition {
	_, unavailable := bounds(r.Deployment)
	if int(st.AvailableReplicas) >= r.Wanted()-unavailable {
		return r.condition(appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable", r.held(), r.newest())
	}
	return r.condition(appsv1.DeploymentAvailable, corev1.ConditionFalse, "MinimumReplicasUnavailable", r.held(), r.newest())
}

func (r *Rollout) progressing(st *appsv1.DeploymentStatus) appsv1.DeploymentCondition {
	const typ = appsv1.DeploymentProgressing
	deadline, running := r.deadline()
	switch {
	case r.rolledOut(st):
		return r.condition(typ, corev1.ConditionTrue, "NewReplicaSetAvailable", "", r.newest())
	case r.Deployment.Spec.Paused:
		return r.condition(typ, corev1.ConditionUnknown, "DeploymentPaused", "not rolled out while it is paused", r.newest())
	case running && !deadline.After(r.now):
		why := fmt.Sprintf("no progress for %d seconds: %s", *r.Deployment.Spec.ProgressDeadlineSeconds, r.held())
		return r.condition(typ, corev1.ConditionFalse, "ProgressDeadlineExceeded", why, deadline)
	}
	return r.condition(typ, corev1.ConditionTrue, "ReplicaSetUpdated", r.held(), r.newest())
}

func (r *Rollout) rolledOut(st *appsv1.DeploymentStatus) bool {
	wanted := int32(r.Wanted())
	return st.UpdatedReplicas == wanted && st.Replicas == wanted && st.AvailableReplicas == wanted
}

// deadline is when the roll-out under way must have made progress; false when there is none under way. The log does
// not say that one has ended, so it counts as over when nothing is left to do but to wait for replicas that have been
// available before: that one of those fails later is no roll-out that stands still.
func (r *Rollout) deadline() (time.Time, bool) {
	spec := &r.Deployment.Spec
	st := r.counts()
	if spec.ProgressDeadlineSeconds == nil || spec.Paused || r.rolledOut(&st) {
		return time.Time{}, false
	}
	underWay := st.UpdatedReplicas != int32(r.Wanted()) || st.Replicas != st.UpdatedReplicas
	progress := r.Object.Stamp.Time.Wall()
	minReady := r.minReady()
	for i := range r.Replicas {
		rep := &r.Replicas[i]
		switch {
		case !r.owns(rep):
			continue
		case rep.Host != "": // that none could take it yet, for whatever new reason, is no progress
			progress = later(progress, rep.Object.Stamp.Time.Wall())
		}
		if rep.Available {
			progress = later(progress, rep.since.Add(max(minReady, steady))) // only then does an old one go for it
		} else if rep.Ready {
			progress = later(progress, rep.since)
		}
		underWay = underWay || !rep.Available && !rep.wasAvailable(minReady)
	}
	return progress.Add(time.Duration(*spec.ProgressDeadlineSeconds) * time.Second), underWay
}

// wasAvailable reports whether the replica has been available before it failed.
func (r *Replica) wasAvailable(minReady time.Duration) bool {
	s := r.Seen
	switch {
	case s == nil:
		return false
	case s.Readied.IsZero() && (s.Unready != "" || len(s.Others) > 0 || gated(r.Template)): // it runs, or has run, and never was
		return s.Phase == projection.Running && s.Unready == "" && !r.Silent.IsZero()
	case s.Phase == projection.Running && s.Unready != "":
		return true // for how long it had been is not recorded
	case s.Phase == projection.Running && !r.Silent.IsZero():
		return !readied(s).Add(minReady).After(r.Silent)
	}
	return s.Restarts > 0 && minReady == 0 || !s.Started.IsZero() && !s.Finished.Before(readied(s).Add(minReady))
}

// gated reports whether a replica from the template is ready only once a probe says so, without reading it.
func gated(template []byte) bool {
	return bytes.Contains(template, []byte(`"readinessProbe":`)) || bytes.Contains(template, []byte(`"startupProbe":`))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// newest is when the newest fact that the conditions rest on was recorded.
func (r *Rollout) newest() time.Time {
	newest := r.Object.Stamp.Time.Wall()
	for i := range r.Replicas {
		newest = later(later(newest, r.Replicas[i].Object.Stamp.Time.Wall()), r.Replicas[i].Silent)
	}
	return newest
}

// held says what keeps the first replica that is not ready; "" when all are.
func (r *Rollout) held() string {
	for i := range r.Replicas {
		if rep := &r.Replicas[i]; !rep.Ready && r.owns(rep) {
			return rep.Name() + ": " + rep.Held()
		}
	}
	return ""
}

func (r *Rollout) condition(typ appsv1.DeploymentConditionType, ok corev1.ConditionStatus, reason, message string, at time.Time) appsv1.DeploymentCondition {
	t := metav1.NewTime(at)
	return appsv1.DeploymentCondition{Type: typ, Status: ok, Reason: reason, Message: message, LastUpdateTime: t, LastTransitionTime: t}
}
