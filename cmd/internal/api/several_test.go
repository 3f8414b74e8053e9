package api

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

const severalManifest = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"app":"web"}},"template":{
	"metadata":{"labels":{"app":"web"}},"spec":{"initContainers":[{"name":"prepare","image":"web:1"}],
	"containers":[{"name":"main","image":"web:1"},{"name":"side","image":"web:1"}]}}}}`

// A pod of several containers is shown as Kubernetes shows it, whichever of them does not run.
func TestPods_several(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, severalManifest)
	p := projection.Pod{Namespace: "default", Deployment: "web"}
	const path = "/api/v1/namespaces/default/pods/web-0"
	now := time.Now().UTC().Truncate(time.Second)
	done := projection.Replica{Phase: projection.Exited, Reason: "Completed", Container: "1", Started: now, Finished: now}
	runs := projection.Replica{Phase: projection.Running, Container: "2", Started: now}
	crash := projection.Replica{Phase: projection.Exited, Reason: "CrashLoopBackOff", Message: "in 20s", Container: "3", Restarts: 4, Started: now, Finished: now.Add(time.Second), ExitCode: 1}
	pending := &projection.Replica{Phase: projection.Pending, Reason: "PodInitializing"}
	with := func(first *projection.Replica, others map[string]projection.Replica) *projection.Replica {
		return first.Whole(others, []string{"side"}, time.Time{}, nil, now)
	}
	for _, c := range []struct {
		name    string
		replica *projection.Replica
		word    string // STATUS
		want    map[string]string
	}{
		{"nothing said yet", nil, "Init:0/1", map[string]string{"status.phase": "Pending",
			"status.initContainerStatuses.0.state.waiting.reason": "PodInitializing", "status.containerStatuses.1.state.waiting.reason": "PodInitializing",
			"status.conditions.1.status": "False"}},
		{"its init container fails", with(pending, map[string]projection.Replica{"prepare": crash}), "Init:CrashLoopBackOff", map[string]string{
			"status.phase": "Pending", "status.initContainerStatuses.0.ready": "false", "status.initContainerStatuses.0.restartCount": "4",
			"status.conditions.1.reason": "ContainersNotInitialized", "status.conditions.3.status": "False"}},
		{"runs", with(&runs, map[string]projection.Replica{"prepare": done, "side": runs}), "Running", map[string]string{
			"status.initContainerStatuses.0.state.terminated.reason": "Completed", "status.initContainerStatuses.0.ready": "true",
			"status.containerStatuses.0.name": "main", "status.containerStatuses.1.name": "side", "status.containerStatuses.1.ready": "true",
			"status.conditions.1.status": "True", "status.conditions.3.status": "True"}},
		{"the other does not run", with(&runs, map[string]projection.Replica{"prepare": done, "side": crash}), "CrashLoopBackOff", map[string]string{
			"status.phase": "Running", "status.containerStatuses.0.ready": "true", "status.containerStatuses.1.ready": "false",
			"status.containerStatuses.1.restartCount": "4", "status.conditions.3.status": "False",
			"status.conditions.3.message": "container side: CrashLoopBackOff"}},
	} {
		id := a.place(p, "h1", "because")
		if c.replica != nil {
			c.replica.Placement = id
			a.observe(p, "h1", c.replica)
		}
		got := a.want(200, "GET", path, "")
		for field, want := range c.want {
			if f := got.field(field); f != want {
				t.Errorf("%s: %s: got %q, want %q", c.name, field, f, want)
			}
		}
		table := a.want(200, "GET", path, "", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io")
		if word := table.field("rows.0.cells.2"); word != c.word {
			t.Errorf("%s: got %q, want %q", c.name, word, c.word)
		}
	}
	events := string(a.want(200, "GET", "/api/v1/namespaces/default/events", "").body)
	if !strings.Contains(events, "side: in 20s") || !strings.Contains(events, "spec.containers{side}") {
		t.Errorf("got events %s", events)
	}
}

// Without a name it is not known which log is meant.
func TestPods_severalLogs(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) {
		s.Logs = func(_ context.Context, _, container string, _ LogOptions) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(container + "\n")), nil
		}
	})
	a.want(200, "POST", apply, severalManifest)
	p := projection.Pod{Namespace: "default", Deployment: "web"}
	now := time.Now()
	runs := projection.Replica{Placement: a.place(p, "h1", "because"), Phase: projection.Running, Container: "2", Started: now}
	side, failed := runs, runs
	side.Container, failed.Container, failed.Phase, failed.ExitCode = "3", "4", projection.Exited, 1
	first := runs
	const log = "/api/v1/namespaces/default/pods/web-0/log"
	a.observe(p, "h1", (&projection.Replica{Placement: runs.Placement, Phase: projection.Pending}).Whole(map[string]projection.Replica{"prepare": failed}, nil, now, nil, now))
	if got := a.want(200, "GET", log+"?container=prepare", ""); string(got.body) != "4\n" {
		t.Errorf("got %q", got.body)
	}
	if got := a.want(400, "GET", log+"?container=main", ""); !strings.Contains(string(got.body), "is waiting to start") {
		t.Errorf("got %s", got.body)
	}
	a.observe(p, "h1", first.Whole(map[string]projection.Replica{"side": side}, []string{"side"}, now, nil, now))
	for container, want := range map[string]string{"main": "2\n", "side": "3\n"} {
		if got := a.want(200, "GET", log+"?container="+container, ""); string(got.body) != want {
			t.Errorf("%s: got %q, want %q", container, got.body, want)
		}
	}
	for query, want := range map[string]string{
		"":                   "a container name must be specified for pod web-0, choose one of: [main side] or one of the init containers: [prepare]",
		"?container=nothere": "container nothere is not valid for pod web-0", "?container=prepare": "has done its work, and is gone",
	} {
		if got := a.want(400, "GET", log+query, ""); !strings.Contains(string(got.body), want) {
			t.Errorf("%s: got %s, want %q", query, got.body, want)
		}
	}
}

// kubectl set image and apply find a container by its name.
func TestPatch_severalContainers(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, severalManifest)
	got := a.want(200, "PATCH", webPath, `{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"web:2"}]}}}}`,
		"Content-Type: application/strategic-merge-patch+json")
	for field, want := range map[string]string{"0.image": "web:1", "1.image": "web:2", "1.name": "side", "2": ""} {
		if f := got.field("spec.template.spec.containers." + field); f != want {
			t.Errorf("%s: got %q, want %q", field, f, want)
		}
	}
}
