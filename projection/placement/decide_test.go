package placement

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func TestDecide_scale(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 2)
	h.want("web", "+web-0 v1, +web-1 v1")
	h.want("web", "")
	h.work()
	h.deploy("web", 4)
	h.want("web", "+web-2 v1, +web-3 v1")
	h.work()
	h.fail(1, "web")
	h.deploy("web", 2)
	h.want("web", "-web-1, -web-3") // the broken one first, then the last
	h.deploy("web", 3)
	h.want("web", "+web-4 v1") // the containers of web-1 and web-3 are still there
	h.work()
	h.deploy("web", 4)
	h.want("web", "+web-1 v1")
	h.deploy("web", 0)
	h.want("web", "-web-0, -web-1, -web-2, -web-4")
	h.work()
	if r := h.rollout("web"); !r.Complete() {
		t.Error("scaled to none, it is not complete")
	}
	h.remove("web")
	h.want("web", "")
}

func TestDecide_delete(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 2)
	h.deploy("web-2", 1) // its keys begin as those of web do
	h.settle("web")
	h.settle("web-2")
	h.remove("web")
	h.want("web", "-web-0, -web-1")
	h.want("web-2", "")
}

// One that was deleted and made again is another: what ran for the old one goes.
func TestDecide_deletedAndMadeAgain(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 2)
	h.settle("web")
	h.remove("web")
	h.deploy("web", 2)
	if st := h.rollout("web").Status(); st.Replicas != 0 || st.ReadyReplicas != 0 {
		t.Errorf("the old one's replicas are counted: %+v", st)
	}
	h.want("web", "+web-2 v1, +web-3 v1, -web-0, -web-1")

	h.deploy("one", 1, recreate)
	h.settle("one")
	h.remove("one")
	h.deploy("one", 1, recreate)
	h.want("one", "-one-0")
	h.want("one", "") // its container is still there
	h.work()
	h.want("one", "+one-0 v1")
}

func TestDecide_rolling(t *testing.T) {
	for _, c := range []struct {
		replicas           int32
		surge, unavailable string
		steps              string
	}{
		{2, "1", "0", "+web-2 v2; -web-1; +web-1 v2; -web-0"},
		{2, "0", "1", "-web-1; +web-1 v2; -web-0; +web-0 v2"},
		{2, "0", "0", "-web-1; +web-1 v2; -web-0; +web-0 v2"}, // never both none
		{4, "50%", "0", "+web-4 v2, +web-5 v2; -web-2, -web-3; +web-2 v2, +web-3 v2; -web-0, -web-1"},
		{4, "25%", "25%", "+web-4 v2, -web-3; +web-3 v2, -web-2; +web-2 v2, -web-1; +web-1 v2, -web-0"},
		{3, "25%", "25%", "+web-3 v2; -web-2; +web-2 v2; -web-1; +web-1 v2; -web-0"}, // up for surge, down for away
		{2, "100%", "100%", "+web-2 v2, +web-3 v2, -web-0, -web-1"},
		{1, "25%", "25%", "+web-1 v2; -web-0"},
	} {
		t.Run(fmt.Sprintf("%d,%s,%s", c.replicas, c.surge, c.unavailable), func(t *testing.T) {
			h := newHouse(t)
			h.deploy("web", c.replicas, rolling(c.surge, c.unavailable))
			h.settle("web")
			h.deploy("web", c.replicas, rolling(c.surge, c.unavailable), image("v2"))
			if got := h.settle("web"); got != c.steps {
				t.Logf("shape %s", h.shape("web"))
				t.Errorf("rolled out by\n%s\nwant\n%s", got, c.steps)
			}
			if !h.rollout("web").Complete() {
				t.Error("not complete")
			}
		})
	}
}

func TestDecide_badImageStopsTheRollOut(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 3)
	h.settle("web")
	h.deploy("web", 3, image("bad"))
	if got, want := h.settle("web"), "+web-3 bad"; got != want {
		t.Errorf("decided %s, want %s", got, want)
	}
	if got, want := h.shape("web"), "map[bad:1 v1:3] 3"; got != want {
		t.Errorf("replicas are %s, want %s", got, want)
	}
	r := h.rollout("web")
	if got, want := r.Replicas[3].Held(), "ImagePullBackOff: no such image"; got != want {
		t.Errorf("held by %q, want %q", got, want)
	}
	h.deploy("web", 3, image("v3")) // put right
	h.settle("web")
	if got, want := h.shape("web"), "map[v3:3] 3"; got != want {
		t.Errorf("put right: %s, want %s", got, want)
	}
	h.deploy("web", 3, image("bad"))
	h.settle("web")
	h.deploy("web", 3, image("v3")) // rolled back: nothing that serves is touched
	if got, want := h.settle("web"), "-"; !strings.HasPrefix(got, want) || strings.Contains(got, "+") {
		t.Errorf("rolled back by %s, want no new replica", got)
	}
}

// Old replicas that are broken may come back, so they go only as new ones serve, as in Kubernetes.
func TestDecide_brokenOldReplicas(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 3, rolling("1", "0"))
	h.settle("web")
	for i := range 3 {
		h.fail(i, "web")
	}
	h.deploy("web", 3, rolling("1", "0"), image("v2"))
	h.want("web", "+web-3 v2")
	h.want("web", "")
	h.work()
	h.want("web", "-web-2")
	h.want("web", "+web-4 v2")
}

func TestDecide_recreate(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 2, recreate)
	h.settle("web")
	h.deploy("web", 2, recreate, image("v2"))
	h.want("web", "-web-0, -web-1")
	h.want("web", "") // waits for the containers to go
	h.work()
	h.want("web", "+web-0 v2, +web-1 v2")
	h.settle("web")
	h.deploy("web", 1, recreate, image("v2"))
	h.want("web", "-web-1")
	h.deploy("web", 3, recreate, image("v2"))
	h.want("web", "+web-2 v2, +web-3 v2") // scaling waits for nothing
}

func TestDecide_paused(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 2, paused)
	h.want("web", "") // nothing of it ran yet, and nothing is rolled out
	h.deploy("web", 2)
	h.settle("web")
	h.deploy("web", 2, paused, image("v2"))
	h.want("web", "")
	h.deploy("web", 3, paused, image("v2"))
	h.want("web", "+web-2 v1") // scaled with what runs
	h.work()
	h.deploy("web", 1, paused, image("v2"))
	h.want("web", "-web-1, -web-2")
	if c := condition(h.rollout("web"), appsv1.DeploymentProgressing); c.Reason != "DeploymentPaused" || c.Status != "Unknown" {
		t.Errorf("Progressing is %s, %s", c.Status, c.Reason)
	}
	h.work()
	h.deploy("web", 1, image("v2"))
	h.settle("web")
	if got, want := h.shape("web"), "map[v2:1] 1"; got != want {
		t.Errorf("resumed: %s, want %s", got, want)
	}
}

// A program that ends soon after its start never takes the place of those that serve, one that stays up does, and where
// nothing is replaced nobody waits.
func TestDecide_steady(t *testing.T) {
	h := newHouse(t)
	h.ran = 0
	h.deploy("web", 3)
	if got := h.settle("web"); got != "+web-0 v1, +web-1 v1, +web-2 v1" {
		t.Errorf("scaled by %q, want all at once", got)
	}
	h.deploy("web", 3, image("v2"))
	h.want("web", "+web-3 v2")
	h.work()
	for range 20 {
		h.now = h.now.Add(4 * time.Second)
		h.want("web", "")
		h.fail(3, "web")
		h.want("web", "")
		p, err := h.View().Placement(projection.Pod{Namespace: "default", Deployment: "web", Ordinal: 3})
		if err != nil {
			t.Fatal(err)
		}
		h.seen(p, projection.Replica{Phase: projection.Running, Started: h.now, Restarts: 1})
	}
	if got, want := h.shape("web"), "map[v1:3 v2:1] 4"; got != want {
		t.Errorf("while the new one crashes: %s, want %s", got, want)
	}
	_, wake, err := Decide(h.View().State, h.cluster(), "default", "web")
	if err != nil || !wake.Equal(h.now.Add(steady)) {
		t.Errorf("to be asked again at %v, %v, want %v", wake, err, h.now.Add(steady))
	}
	h.now = wake
	h.want("web", "-web-2")
}

func TestDecide_minReadySeconds(t *testing.T) {
	h := newHouse(t)
	h.ran = 0
	slow := func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 30 }
	h.deploy("web", 1, slow)
	h.settle("web")
	started := h.now
	h.now = started.Add(time.Minute)
	h.deploy("web", 1, slow, image("v2"))
	h.want("web", "+web-1 v2")
	h.work()
	changes, wake, err := Decide(h.View().State, at(h.cluster(), h.now.Add(29*time.Second)), "default", "web")
	if want := h.now.Add(30 * time.Second); err != nil || len(changes) > 0 || !wake.Equal(want) {
		t.Errorf("%d changes, %v, to be asked again at %v, want %v", len(changes), err, wake, want)
	}
	h.now = wake
	h.want("web", "-web-0")
}

func TestDecide_nodeSelector(t *testing.T) {
	h := newHouse(t)
	ssd := func(d *appsv1.Deployment) { d.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"} }
	h.deploy("db", 1, ssd)
	h.want("db", "+db-0 0/1 hosts can take it: 1 without the label disk=ssd that nodeSelector wants (h)")
	h.want("db", "") // said once
	if got := h.rollout("db").Status().Conditions[0].Message; !strings.Contains(got, "disk=ssd") {
		t.Errorf("status says %q, want why", got)
	}
	h.label("disk", "ssd")
	h.want("db", "+db-0 v1")
}

// A replica that could be placed at last, and is not wanted any more, is one change and not two.
func TestDecide_placeableButNotWanted(t *testing.T) {
	h := newHouse(t)
	ssd := func(d *appsv1.Deployment) { d.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"} }
	h.deploy("db", 2, ssd)
	h.once("db")
	h.deploy("one", 1, ssd, recreate)
	h.once("one")
	h.label("disk", "ssd")
	h.deploy("db", 1, ssd)
	h.want("db", "+db-0 v1, -db-1")
	h.deploy("one", 1, ssd, recreate, image("v2"))
	h.want("one", "-one-0")
	h.want("one", "+one-0 v2")
}

func TestDecide_hostPort(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 2, port(80, ""))
	h.want("web", "+web-0 v1, +web-1 0/1 hosts can take it: 1 host port taken (h: 80/TCP by default/web-0)")
	h.deploy("local", 1, port(80, "127.0.0.1"))
	h.want("local", "+local-0 0/1 hosts can take it: 1 host port taken (h: 80/TCP by default/web-0)")
	h.deploy("any", 1, port(81, "0.0.0.0"), port(82, "10.0.0.1"))
	h.want("any", "+any-0 v1")
	h.deploy("b", 1, port(82, "10.0.0.2"))
	h.want("b", "+b-0 v1") // of another address
	h.deploy("c", 1, port(81, "10.0.0.2"))
	h.want("c", "+c-0 0/1 hosts can take it: 1 host port taken (h: 81/TCP by default/any-0)")
	h.want("local", "")
	h.deploy("net", 1, port(0, ""), func(d *appsv1.Deployment) { d.Spec.Template.Spec.HostNetwork = true })
	h.want("net", "+net-0 0/1 hosts can take it: 1 host port taken (h: 80/TCP by default/web-0)")
	h.deploy("web", 0, port(80, ""))
	h.want("web", "-web-0, -web-1")
	h.want("net", "+net-0 v1")
	h.want("local", "+local-0 0/1 hosts can take it: 1 host port taken (h: 80/TCP by default/net-0)")
	h.remove("net")
	h.want("net", "-net-0")
	h.want("local", "+local-0 v1")
}

// The decisions of one commit count on each other.
func TestDecide_hostPortWithinOneCommit(t *testing.T) {
	h := newHouse(t)
	h.deploy("a", 1, port(80, ""))
	h.deploy("b", 1, port(80, ""))
	inv := inventoryOf(h.View().State)
	p := newPass(h.View().State, h.cluster().hosts(h.View().State, inv.register), inv)
	for _, name := range []string{"a", "b"} {
		changes, _, err := p.decide("default", name)
		if err != nil {
			t.Fatal(err)
		}
		h.record(changes...)
	}
	a, _ := h.View().Placement(projection.Pod{Namespace: "default", Deployment: "a"})
	b, _ := h.View().Placement(projection.Pod{Namespace: "default", Deployment: "b"})
	if a.Host != "h" || b.Host != "" {
		t.Errorf("a is on %q and b on %q, want only a", a.Host, b.Host)
	}
}

func TestDecide_namespaces(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 1)
	h.record(declare(t, "other", "web", 2))
	h.settle("web")
	changes, _, err := Decide(h.View().State, h.cluster(), "other", "web")
	if err != nil || len(changes) != 2 || !strings.HasPrefix(changes[0].Key, "placement/other/web/") {
		t.Errorf("%d changes, %v: %v", len(changes), err, changes)
	}
}

// However many are wanted, one commit stays small, and all come in the end.
func TestDecide_burst(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", burst+20)
	if got := strings.Count(h.once("web"), "+"); got != burst {
		t.Errorf("%d replicas at once, want %d", got, burst)
	}
	if got := strings.Count(h.once("web"), "+"); got != 20 {
		t.Errorf("%d replicas after that, want 20", got)
	}
	h.want("web", "")
}

func TestDecide_whatCannotBeRead(t *testing.T) {
	h := newHouse(t)
	h.record(projection.Change{Kind: events.Declared, Key: "deployment/default/web", Object: []byte(`{"spec":5}`)})
	changes, _, err := Decide(h.View().State, h.cluster(), "default", "web")
	if err == nil || changes != nil || !strings.Contains(err.Error(), "deployment/default/web") {
		t.Errorf("%v, %v, want an error that names it", changes, err)
	}
	h.deploy("db", 1)
	h.record(projection.Change{Kind: events.Decided, Key: "placement/default/db/0", Object: []byte(`{"host":5}`)})
	if _, _, err = Decide(h.View().State, h.cluster(), "default", "db"); err == nil || !strings.Contains(err.Error(), "placement/default/db/0") {
		t.Errorf("%v, want an error that names the placement", err)
	}
}

func condition(r *Rollout, typ appsv1.DeploymentConditionType) appsv1.DeploymentCondition {
	for _, c := range r.Status().Conditions {
		if c.Type == typ {
			return c
		}
	}
	return appsv1.DeploymentCondition{}
}

func TestStatus_progress(t *testing.T) {
	h := newHouse(t)
	check := func(want string) {
		t.Helper()
		r := h.rollout("web")
		st := r.Status()
		a, p := condition(r, appsv1.DeploymentAvailable), condition(r, appsv1.DeploymentProgressing)
		got := fmt.Sprintf("%d updated %d ready %d available %d away %d; %s %s; %s %s", st.Replicas, st.UpdatedReplicas, st.ReadyReplicas,
			st.AvailableReplicas, st.UnavailableReplicas, a.Status, a.Reason, p.Status, p.Reason)
		if got != want {
			t.Errorf("status is\n%s\nwant\n%s", got, want)
		}
	}
	h.deploy("web", 2)
	check("0 updated 0 ready 0 available 0 away 2; False MinimumReplicasUnavailable; True ReplicaSetUpdated")
	h.once("web")
	check("2 updated 2 ready 0 available 0 away 2; False MinimumReplicasUnavailable; True ReplicaSetUpdated")
	h.settle("web")
	check("2 updated 2 ready 2 available 2 away 0; True MinimumReplicasAvailable; True NewReplicaSetAvailable")

	h.deploy("web", 2, image("bad"))
	h.settle("web")
	check("3 updated 1 ready 2 available 2 away 1; True MinimumReplicasAvailable; True ReplicaSetUpdated")
	wake := h.rollout("web").Wake
	if d := wake.Sub(h.now); d < 590*time.Second || d > 610*time.Second {
		t.Errorf("to be looked at again after %v, want about 600s, as Kubernetes has it", d)
	}
	h.now = wake
	check("3 updated 1 ready 2 available 2 away 1; True MinimumReplicasAvailable; False ProgressDeadlineExceeded")
	if got := condition(h.rollout("web"), appsv1.DeploymentProgressing).Message; !strings.Contains(got, "web-2: ImagePullBackOff") {
		t.Errorf("message is %q, want what holds it", got)
	}
	if got := h.rollout("web").Wake; !got.IsZero() {
		t.Errorf("to be looked at again at %v, want never: nothing more happens by time alone", got)
	}
}

// A replica that fails long after the roll-out is no roll-out that stands still.
func TestStatus_laterFailureIsNoDeadline(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 2)
	h.settle("web")
	h.now = h.now.Add(time.Hour)
	h.fail(1, "web")
	r := h.rollout("web")
	if c := condition(r, appsv1.DeploymentProgressing); c.Status != "True" || !r.Wake.IsZero() {
		t.Errorf("Progressing is %s, %s, to be looked at again at %v", c.Status, c.Reason, r.Wake)
	}
	if c := condition(r, appsv1.DeploymentAvailable); c.Status != "False" || !strings.Contains(c.Message, "web-1: Error") {
		t.Errorf("Available is %s: %s, want False, and why", c.Status, c.Message)
	}
}

func TestDecide_isPure(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 3)
	h.settle("web")
	h.deploy("web", 5, image("v2"))
	s := h.View().State
	first, _, _ := Decide(s, h.cluster(), "default", "web")
	again, _, _ := Decide(s, h.cluster(), "default", "web")
	if fmt.Sprint(first) != fmt.Sprint(again) || len(first) == 0 {
		t.Errorf("asked twice, it decides\n%v\n%v", first, again)
	}
	if _, err := h.Record(context.Background(), projection.By{}, func(*projection.State) ([]projection.Change, error) { return first, nil }); err != nil {
		t.Error(err)
	}
}

func at(c Cluster, now time.Time) Cluster {
	c.Now = now
	return c
}
