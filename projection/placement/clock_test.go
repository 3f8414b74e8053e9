package placement

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// stepped is the moment at as a wall clock has it that was set by d before: as long after every other moment as it was.
func stepped(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	read := at
	*(*uint64)(unsafe.Pointer(&read)) += uint64(d/time.Second) << 30 // package time gives no way to do that
	if read.Sub(at) != 0 || read.Round(0).Sub(at.Round(0)) != d {
		t.Fatalf("%v, set by %v, is %v", at, d, read)
	}
	return read
}

// For how long a host is silent is measured, whatever the wall clock is set to meanwhile; what is said of it is by the clock as it is now.
func TestMove_clockIsSet(t *testing.T) {
	for _, c := range []struct{ before, after time.Duration }{
		{},
		{before: -490_003 * time.Hour}, // a host that starts in 1970
		{before: time.Hour},
		{after: time.Hour},
		{after: -time.Hour},
	} {
		h := newCluster(t, "a", "b", "c")
		h.deploy("web", 3)
		h.runs("web", "web-0:a web-1:b web-2:c")
		begun := time.Now()
		after := func(d time.Duration) { h.now = stepped(t, begun.Add(d), c.after) }
		h.as.Since = stepped(t, begun, c.before)
		after(20 * time.Second)
		h.hear("a", "c")
		h.peer("b", func(p *Peer) { p.Silent = h.as.Since })
		h.peer("c", func(p *Peer) { p.Since = h.now })
		h.runs("web", "web-0:a web-1:b web-2:c")
		after(59 * time.Second)
		h.runs("web", "web-0:a web-1:b web-2:c")
		end := stepped(t, begun.Add(time.Minute), c.after)
		if got, want := h.stuck("web", 1), "waiting until "+clock(end)+" (host b silent since "+clock(end.Add(-time.Minute))+")"; got != want {
			t.Errorf("%+v: stuck: %q, want %q", c, got, want)
		}
		after(time.Minute)
		h.runs("web", "web-0:a web-1:a web-2:c")
	}
}

// A host whose clock is ahead holds up no roll-out for as long as that: its replicas have been ready since the Decider saw that they are.
func TestRun_clockAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.ran = -time.Hour
		deciding(t, h)
		step := func(want string) {
			t.Helper()
			synctest.Wait()
			h.now = time.Now()
			h.work()
			synctest.Wait()
			if got := h.where("web"); got != want {
				t.Errorf("placed %s, want %s", got, want)
			}
		}
		slow := func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 30 }
		h.deploy("web", 1, slow)
		step("web-0:h")
		h.deploy("web", 1, slow, image("v2"))
		step("web-0:h web-1:h")
		time.Sleep(29 * time.Second)
		step("web-0:h web-1:h")
		time.Sleep(time.Second)
		step("web-1:h")
		h.deploy("web", 1, slow, image("v3"))
		step("web-0:h web-1:h")
		h.says(0, projection.Replica{Phase: projection.Running, Started: time.Now().Add(2 * time.Hour), Restarts: 1})
		time.Sleep(29 * time.Second)
		h.says(0, projection.Replica{Phase: projection.Running, Started: time.Now().Add(2 * time.Hour), Restarts: 2}) // another run
		time.Sleep(29 * time.Second)
		step("web-0:h web-1:h")
		time.Sleep(time.Second)
		step("web-0:h")
	})
}

// What was ready since a time to come is not taken for a run that has just begun once that time is there, and is forgotten with its placement.
func TestRuns(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 1)
	h.settle("web")
	inv := inventoryOf(h.View().State)
	pod, ahead := projection.Pod{Namespace: "default", Deployment: "web"}, h.now.Add(time.Hour)
	for i, c := range []struct {
		readied     time.Time
		after, want time.Duration
	}{
		{h.now, 0, 0},
		{h.now.Add(-time.Hour), 0, -time.Hour},
		{ahead, time.Second, time.Second},
		{ahead, time.Minute, time.Second},
		{ahead, time.Hour, time.Second},
		{ahead, 2 * time.Hour, time.Second},
		{ahead.Add(time.Minute), 2 * time.Hour, time.Hour + time.Minute},
		{ahead, 2 * time.Hour, time.Hour},
		{ahead.Add(2 * time.Hour), 2 * time.Hour, 2 * time.Hour},
	} {
		if got := inv.runs.since(pod, c.readied, h.now.Add(c.after)).Sub(h.now); got != c.want {
			t.Errorf("%d: ready since %v, want %v", i, got, c.want)
		}
	}
	inv.follow(h.View().State, pod)
	inv.readAll(h.View().State)
	if len(inv.runs) != 1 {
		t.Errorf("it remembers %v, want the one run", inv.runs)
	}
	again := inventoryOf(h.View().State)
	again.runs.since(pod, ahead, h.now)
	h.remove("web")
	h.settle("web")
	inv.follow(h.View().State, pod)
	again.readAll(h.View().State)
	if len(inv.runs) != 0 || len(again.runs) != 0 {
		t.Errorf("it remembers %v and %v of what is placed no more", inv.runs, again.runs)
	}
}

// Who looks at a replica of a host whose clock is ahead by more than minReadySeconds sees that it is available, and a roll-out that stands still
// beside it for what it is.
func TestStatus_clockAhead(t *testing.T) {
	for _, c := range []struct {
		ahead     time.Duration
		minReady  int32
		available int32
		wake      time.Duration
	}{
		{ahead: time.Hour, minReady: 0, available: 1, wake: 10 * time.Minute},
		{ahead: time.Hour, minReady: 30, available: 1, wake: 10 * time.Minute},
		{ahead: 20 * time.Second, minReady: 30, available: 0, wake: 50 * time.Second},
	} {
		h := newHouse(t)
		h.ran = -c.ahead
		slow := func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = c.minReady }
		h.deploy("web", 2, slow)
		h.once("web")
		h.says(1, projection.Replica{Phase: projection.Pending, Reason: "ImagePullBackOff"})
		h.work()
		r := h.rollout("web")
		if got := r.Status(); got.ReadyReplicas != 1 || got.AvailableReplicas != c.available {
			t.Errorf("%+v: %d ready, %d available, want 1 and %d", c, got.ReadyReplicas, got.AvailableReplicas, c.available)
		}
		if d := r.Wake.Sub(h.now) - c.wake; d < -2*steady || d > 2*steady {
			t.Errorf("%+v: to be looked at again after %v, want about %v", c, r.Wake.Sub(h.now), c.wake)
		}
		if c.available == 0 {
			continue
		}
		h.now = r.Wake.Add(time.Second) // the house has whole seconds, and the ledger has not
		if got := condition(h.rollout("web"), appsv1.DeploymentProgressing); got.Reason != "ProgressDeadlineExceeded" {
			t.Errorf("%+v: Progressing is %s, %s, want that it stands still", c, got.Status, got.Reason)
		}
	}
}

// A replica that was moved by a host whose clock was ahead does not stay on one that is dead until that time has come.
func TestMove_movedInTimeToCome(t *testing.T) {
	h := newCluster(t, "a", "b", "c")
	all := []string{"a", "b", "c"}
	h.deploy("web", 1, pods(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: hostname, Operator: "In", Values: all[1:]}}}}}}}
	}))
	h.runs("web", "web-0:b")
	right := h.now
	h.later(time.Hour)
	h.hear("a", "c")
	h.later(time.Minute)
	h.runs("web", "web-0:c")
	h.now = right.Add(2 * time.Minute)
	h.hear(all...)
	h.hear(slices.DeleteFunc(all, func(name string) bool { return name == "c" })...)
	h.later(59 * time.Second)
	h.runs("web", "web-0:c")
	if got, want := h.stuck("web", 0), "waiting until "+clock(h.now.Add(time.Second))+" (host c silent since "+clock(h.now.Add(-59*time.Second))+")"; got != want {
		t.Errorf("stuck: %q, want %q", got, want)
	}
	h.later(time.Second)
	h.runs("web", "web-0:b")
	if p := h.placement("web", 0); p.Moves != 2 || !p.Moved.Equal(h.now) {
		t.Errorf("moved %d times, last at %v, want twice, and now", p.Moves, p.Moved)
	}
}
