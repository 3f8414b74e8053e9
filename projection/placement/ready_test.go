package placement

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// asked has replicas be ready only once a probe says so.
func asked(d *appsv1.Deployment) {
	d.Spec.MinReadySeconds = 30
	d.Spec.Template.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}
}

func (h *house) says(ordinal int, r projection.Replica) {
	h.t.Helper()
	p, err := h.View().Placement(projection.Pod{Namespace: "default", Deployment: "web", Ordinal: ordinal})
	if err != nil || p == nil {
		h.t.Fatalf("replica %d: %v, %v", ordinal, p, err)
	}
	h.seen(p, r)
}

// A new replica that runs and is not ready takes no old one away, however long it runs; one that becomes ready does, when it has
// been for minReadySeconds; and one that was ready, and is not any more, holds up the next.
func TestDecide_unready(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 2, asked)
	h.settle("web")
	h.deploy("web", 2, asked, image("v2"))
	h.settle("web")
	started := h.now.Add(-time.Hour)
	h.says(2, projection.Replica{Phase: projection.Running, Started: started, Unready: "readiness probe: HTTP 503 from /ready"})
	h.now = h.now.Add(time.Hour)
	h.want("web", "")
	if r := h.rollout("web"); r.Replicas[2].Ready || r.Replicas[2].Held() != "readiness probe: HTTP 503 from /ready" {
		t.Errorf("ready %t, held by %q", r.Replicas[2].Ready, r.Replicas[2].Held())
	}
	c := condition(h.rollout("web"), appsv1.DeploymentProgressing)
	if c.Reason != "ProgressDeadlineExceeded" || !strings.Contains(c.Message, "web-2: readiness probe: HTTP 503 from /ready") {
		t.Errorf("Progressing is %s, %s: %s; want that it stands still, and why", c.Status, c.Reason, c.Message)
	}
	h.says(2, projection.Replica{Phase: projection.Running, Started: started, Readied: h.now})
	h.want("web", "")
	h.now = h.now.Add(29 * time.Second)
	h.want("web", "")
	h.now = h.now.Add(time.Second)
	h.want("web", "-web-1")
	h.work()
	h.want("web", "+web-1 v2")
	h.says(1, projection.Replica{Phase: projection.Running, Started: h.now, Unready: "readiness probe: has not passed yet"})
	h.says(2, projection.Replica{Phase: projection.Running, Started: started, Readied: h.now, Unready: "readiness probe: HTTP 503 from /ready"})
	h.now = h.now.Add(time.Hour)
	h.want("web", "")
}

// One that restarts over and over and has never been ready is a roll-out that stands still; one that was ready before is not.
func TestStatus_neverReady(t *testing.T) {
	for _, c := range []struct {
		seen projection.Replica
		want string
	}{
		{projection.Replica{Phase: projection.Exited, Reason: "CrashLoopBackOff", Restarts: 5}, "ProgressDeadlineExceeded"},
		{projection.Replica{Phase: projection.Running, Restarts: 5, Unready: "startup probe: has not passed yet"}, "ProgressDeadlineExceeded"},
		{projection.Replica{Phase: projection.Exited, Reason: "Unhealthy", Restarts: 5, Readied: time.Unix(1, 0)}, "ReplicaSetUpdated"},
		{projection.Replica{Phase: projection.Running, Readied: time.Unix(1, 0), Unready: "readiness probe: HTTP 503 from /"}, "ReplicaSetUpdated"},
	} {
		h := newHouse(t)
		h.deploy("web", 1, asked, func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 0 })
		h.settle("web")
		c.seen.Started, c.seen.Finished = h.now.Add(-time.Minute), h.now
		h.says(0, c.seen)
		h.now = h.now.Add(time.Hour)
		if got := condition(h.rollout("web"), appsv1.DeploymentProgressing); got.Reason != c.want {
			t.Errorf("%+v: Progressing is %s, %s: %s; want %s", c.seen, got.Status, got.Reason, got.Message, c.want)
		}
	}
}
