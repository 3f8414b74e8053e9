package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/apimachinery/pkg/api/resource"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func TestDiscovery(t *testing.T) {
	a := start(t, t.TempDir())
	for _, c := range []struct{ path, field, want string }{
		{"/version", "major", "1"},
		{"/version", "gitCommit", "v1.2.3"},
		{"/api", "kind", "APIVersions"},
		{"/api", "versions.0", "v1"},
		{"/apis", "kind", "APIGroupList"},
		{"/apis", "groups.0.name", "apps"},
		{"/apis", "groups.1.preferredVersion.groupVersion", "discovery.k8s.io/v1"},
		{"/apis", "groups.2.preferredVersion.groupVersion", "networking.k8s.io/v1"},
		{"/apis", "groups.3.name", "policy"}, {"/apis", "groups.4", ""},
		{"/apis/apps", "kind", "APIGroup"},
		{"/apis/apps/v1", "kind", "APIResourceList"},
		{"/apis/apps/v1", "groupVersion", "apps/v1"},
		{"/apis/apps/v1", "resources.0.name", "deployments"},
		{"/apis/apps/v1", "resources.0.shortNames.0", "deploy"},
		{"/apis/apps/v1", "resources.1.name", "deployments/scale"},
		{"/apis/apps/v1", "resources.1.group", "autoscaling"},
		{"/apis/networking.k8s.io/v1", "resources.0.name", "ingresses"},
	} {
		if got := a.want(200, "GET", c.path, "").field(c.field); got != c.want {
			t.Errorf("%s, %s: got %s, want %s", c.path, c.field, got, c.want)
		}
	}
	core := a.want(200, "GET", "/api/v1", "")
	names := ""
	for i := 0; core.field(fmt.Sprintf("resources.%d.name", i)) != ""; i++ {
		names += core.field(fmt.Sprintf("resources.%d.name", i)) + " "
		if core.field(fmt.Sprintf("resources.%d.verbs", i)) == "" || core.field(fmt.Sprintf("resources.%d.kind", i)) == "" {
			t.Errorf("resource %d: %s", i, core.body)
		}
	}
	if names != "configmaps endpoints events namespaces nodes pods pods/eviction pods/log secrets services " {
		t.Errorf("got %s", names)
	}
	for i := 0; core.field(fmt.Sprintf("resources.%d.name", i)) != ""; i++ {
		verbs := core.field(fmt.Sprintf("resources.%d.verbs", i))
		name := core.field(fmt.Sprintf("resources.%d.name", i))
		if all := strings.Contains(verbs, "deletecollection"); all != (name == "configmaps" || name == "services" || name == "secrets" || name == "endpoints") {
			t.Errorf("verbs of resource %d: %s", i, verbs)
		}
	}
	for _, path := range []string{"/", "/apis/batch/v1", "/apis/batch/v1/jobs", "/api/v2/pods", "/api/v1/replicationcontrollers", "/api/v1/pods/web-0",
		"/openapi/v4", "/openapi/v3/apis/batch/v1", "/apis/apps/v1/namespaces/default/deployments/web/status", "/api/v1/namespaces/default/nodes",
		"/apis/apps/v1beta1/deployments", "/api/v1/namespaces/x/y/z/a/b", "/swarm/v2", "/apis/apps/v1/namespaces/default/pods"} {
		if got := a.do("GET", path, ""); got.code != 404 || got.field("kind") != "Status" || got.field("reason") != "NotFound" {
			t.Errorf("%s: got %d %s", path, got.code, got.body)
		}
	}
}

// kubectl leaves it to the server what a manifest's fields are to be where this says that a PATCH takes fieldValidation.
func TestOpenAPI(t *testing.T) {
	a := start(t, t.TempDir())
	list := a.want(200, "GET", "/openapi/v3", "")
	for group, path := range map[string]string{"api/v1": "/api/v1/namespaces/{namespace}/configmaps/{name}",
		"apis/apps/v1": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"} {
		var at struct {
			Paths map[string]struct{ ServerRelativeURL string }
		}
		if err := json.Unmarshal([]byte(list.body), &at); err != nil || at.Paths[group].ServerRelativeURL == "" {
			t.Fatalf("%s: got %s, %v", group, list.body, err)
		}
		got := a.want(200, "GET", at.Paths[group].ServerRelativeURL, "")
		var d openAPI
		if err := json.Unmarshal([]byte(got.body), &d); err != nil {
			t.Fatal(err)
		}
		if p := d.Paths[path].Patch; p.Kind.Version != "v1" || !slices.Contains(p.Parameters, openAPIParameter{"fieldValidation", "query"}) {
			t.Errorf("%s: got %s", group, got.body)
		}
	}
}

// A path that is there, but not by this method.
func TestMethods(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) { s.Metrics = http.NotFoundHandler() })
	for _, c := range []struct{ method, path, allow string }{
		{"POST", "/readyz", "GET"}, {"DELETE", "/version", "GET"}, {"PUT", "/metrics", "GET"}, {"POST", "/swarm/v1/state", "GET"},
		{"OPTIONS", "/swarm/v1/events", "GET"}, {"GET", "/swarm/v1/orphans/x/adopt", "POST"},
		{"GET", apply, "POST"}, {"PUT", apply, "POST"}, {"POST", apply + "/default/web", "DELETE"},
		{"POST", "/api/v1", "GET"}, {"PATCH", "/apis/apps/v1", "GET"}, {"POST", "/api/v1/deployments", "GET"},
	} {
		got := a.do(c.method, c.path, "")
		if got.code != 405 || got.header.Get("Allow") != c.allow || got.field("reason") != "MethodNotAllowed" {
			t.Errorf("%s %s: got %d, Allow %q, %s; want 405 and %s", c.method, c.path, got.code, got.header.Get("Allow"), got.body, c.allow)
		}
	}
	for _, path := range []string{"/readyz", "/swarm/v1/events?follow=true", allDeployments, webPath + "/scale"} {
		if path[0:2] == "/a" {
			a.want(200, "POST", apply, deployment("web", 1, "w"))
		}
		for range 2 { // on one connection
			if got := a.do("HEAD", path, ""); got.code != 200 || len(got.body) > 0 {
				t.Errorf("HEAD %s: got %d %s", path, got.code, got.body)
			}
		}
	}
}

func TestList(t *testing.T) {
	a := start(t, t.TempDir())
	empty := a.want(200, "GET", "/apis/apps/v1/deployments", "")
	if empty.field("items") != "[]" || empty.field("metadata.resourceVersion") != a.resourceVersion(0) {
		t.Errorf("empty: got %s", empty.body)
	}
	a.want(200, "POST", apply, docs(deployment("b", 1, "w", "tier: front"), deployment("a", 1, "w"), service("a")))
	a.want(200, "POST", apply+"?namespace=other", docs(deployment("a", 1, "w", "tier: back"), service("a")))
	for _, c := range []struct{ path, want string }{
		{"/apis/apps/v1/deployments", "default/a default/b other/a"},
		{"/api/v1/deployments", "default/a default/b other/a"},
		{"/apis/apps/v1/namespaces/default/deployments", "default/a default/b"},
		{"/apis/apps/v1/namespaces/none/deployments", ""},
		{"/apis/apps/v1/deployments?labelSelector=tier", "default/b other/a"},
		{"/apis/apps/v1/deployments?labelSelector=tier+in+(front,x)", "default/b"},
		{"/apis/apps/v1/deployments?fieldSelector=metadata.name%3Da", "default/a other/a"},
		{"/apis/apps/v1/deployments?fieldSelector=metadata.name%3Da,metadata.namespace%3Dother", "other/a"},
		{"/apis/apps/v1/deployments?fieldSelector=metadata.namespace!%3Ddefault&limit=1", "other/a"},
		{"/api/v1/services", "default/a other/a"},
		{"/api/v1/namespaces", "/default /other"},
		{"/apis/networking.k8s.io/v1/ingresses", ""},
	} {
		got := a.want(200, "GET", c.path, "")
		var names []string
		for i := 0; got.field(fmt.Sprintf("items.%d.metadata.name", i)) != ""; i++ {
			item := fmt.Sprintf("items.%d.metadata.", i)
			names = append(names, got.field(item+"namespace")+"/"+got.field(item+"name"))
			if got.field(item+"uid") == "" || got.field(item+"resourceVersion") == "" {
				t.Errorf("%s: %s", c.path, got.body)
			}
		}
		if strings.Join(names, " ") != c.want || got.field("metadata.resourceVersion") != a.resourceVersion(5) || !strings.HasSuffix(got.field("kind"), "List") {
			t.Errorf("%s: got %s, want %s\n%s", c.path, names, c.want, got.body)
		}
	}
	if got := a.want(200, "GET", "/api/v1/deployments/other/a", ""); got.field("metadata.labels.tier") != "back" {
		t.Errorf("got %s", got.body)
	}
	a.want(404, "GET", "/api/v1/deployments/other/b", "")
	a.want(400, "GET", "/apis/apps/v1/deployments?continue=x", "")
	a.want(400, "GET", "/apis/apps/v1/deployments?timeoutSeconds=x", "")
}

func TestResourceVersion(t *testing.T) {
	for _, inc := range []events.Incarnation{1, 1<<22 - 1, 1 << 22, 1<<64 - 1, 0xfedcba9876543210} {
		s := Server{Epoch: func() uint64 { return EpochOf(inc) }}
		if s.Epoch() == 0 || s.Epoch() >= 1<<epochBits {
			t.Errorf("epoch of %v: %d", inc, s.Epoch())
		}
		for _, index := range []uint64{0, 1, 1<<indexBits - 1} {
			text := s.resourceVersion(index)
			got, ours, err := s.indexOf(text)
			if got != index || !ours || err != nil || text[0] == '0' || text[0] == '-' {
				t.Errorf("%s: got %d, %v, %v, want %d", text, got, ours, err, index)
			}
		}
	}
	s := Server{Epoch: func() uint64 { return 5 }}
	for _, text := range []string{"", "-1", "x", "18446744073709551615", "9223372036854775808"} {
		if _, _, err := s.indexOf(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestUID(t *testing.T) {
	a, b := uidOf(events.ID{Inc: 1, Seq: 1}), uidOf(events.ID{Inc: 1, Seq: 2})
	if len(a) != 36 || a == b || a != uidOf(events.ID{Inc: 1, Seq: 1}) || a[14] != '5' || !strings.Contains("89ab", string(a[19])) {
		t.Errorf("got %s and %s", a, b)
	}
}

// Line 12 of what went wrong before: pods stay Pending for ever, and deleted ones stay listed. What the API says is
// what the host says.
func TestPods(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("web", 1, "web:1"))
	p := projection.Pod{Namespace: "default", Deployment: "web", Ordinal: 3}
	now := time.Now().UTC().Truncate(time.Second)
	at := now.Format(time.RFC3339)
	for _, c := range []struct {
		name, host string
		replica    *projection.Replica
		want       map[string]string
	}{
		{"not placed", "", nil, map[string]string{"status.phase": "Pending", "status.conditions.0.reason": "Unschedulable",
			"status.conditions.0.message": "because", "status.containerStatuses": "", "spec.nodeName": ""}},
		{"nothing said yet", "h1", nil, map[string]string{"status.phase": "Pending", "spec.nodeName": "h1",
			"status.containerStatuses.0.state.waiting.reason": "ContainerCreating"}},
		{"cannot start", "h1", &projection.Replica{Phase: projection.Pending, Reason: "ErrImagePull", Message: "no such image"},
			map[string]string{"status.phase": "Pending", "status.containerStatuses.0.state.waiting.message": "no such image",
				"status.containerStatuses.0.ready": "false"}},
		{"runs", "h1", &projection.Replica{Phase: projection.Running, Container: "cafe", Started: now, IP: "10.88.0.5", Restarts: 2, Finished: now.Add(-time.Minute), ExitCode: 137, OOMKilled: true,
			Ports: []projection.Port{{Container: 80, Host: 34567, HostIP: "127.0.0.1", Protocol: "TCP"}}},
			map[string]string{"status.phase": "Running", "status.podIP": "10.88.0.5", "status.containerStatuses.0.ready": "true",
				"status.containerStatuses.0.restartCount": "2", "status.containerStatuses.0.containerID": "podman://cafe",
				"status.containerStatuses.0.state.running.startedAt":          at,
				"status.containerStatuses.0.lastState.terminated.reason":      "OOMKilled",
				"spec.containers.0.ports.0.hostPort":                          "34567",
				"spec.containers.0.ports.0.hostIP":                            "127.0.0.1",
				"status.conditions.3.type":                                    "Ready",
				"status.conditions.3.status":                                  "True",
				"status.conditions.3.lastTransitionTime":                      at,
				"metadata.ownerReferences.0.kind":                             "Deployment",
				"metadata.labels.app":                                         "web",
				"metadata.labels.pod-template-hash":                           "abc",
				"status.containerStatuses.0.lastState.terminated.exitCode":    "137",
				"status.containerStatuses.0.lastState.terminated.containerID": "podman://cafe"}},
		{"has ended", "h1", &projection.Replica{Phase: projection.Exited, Container: "cafe", Started: now.Add(-time.Minute), Finished: now, ExitCode: 3},
			map[string]string{"status.phase": "Running", "status.containerStatuses.0.state.terminated.exitCode": "3",
				"status.containerStatuses.0.state.terminated.reason": "Error", "status.conditions.3.status": "False", "status.conditions.3.lastTransitionTime": at}},
		{"waits to be started again", "h1", &projection.Replica{Phase: projection.Exited, Container: "cafe", Reason: "CrashLoopBackOff", Message: "in 20s", Started: now, Finished: now.Add(time.Second), ExitCode: 1},
			map[string]string{"status.phase": "Running", "status.containerStatuses.0.state.waiting.reason": "CrashLoopBackOff", "status.containerStatuses.0.lastState.terminated.exitCode": "1",
				"status.containerStatuses.0.lastState.terminated.startedAt": at, "status.qosClass": "BestEffort"}},
	} {
		id := a.place(p, c.host, "because")
		if c.replica != nil {
			c.replica.Placement = id
			a.observe(p, c.host, c.replica)
		}
		got := a.want(200, "GET", "/api/v1/namespaces/default/pods/web-3", "")
		for field, want := range c.want {
			if f := got.field(field); f != want {
				t.Errorf("%s: %s: got %q, want %q", c.name, field, f, want)
			}
		}
		if got.field("metadata.resourceVersion") != a.resourceVersion(a.index()) {
			t.Errorf("%s: resourceVersion %s, want %s", c.name, got.field("metadata.resourceVersion"), a.resourceVersion(a.index()))
		}
	}
	d := a.want(200, "GET", webPath, "")
	if owner := a.want(200, "GET", "/api/v1/pods", "").field("items.0.metadata.ownerReferences.0.uid"); owner != d.field("metadata.uid") {
		t.Errorf("owner: got %s, want %s", owner, d.field("metadata.uid"))
	}
	a.record(projection.Change{Kind: events.Decided, Key: p.PlacementKey()})
	a.want(404, "GET", "/api/v1/namespaces/default/pods/web-3", "")
	if got := a.want(200, "GET", "/api/v1/pods", ""); got.field("items") != "[]" {
		t.Errorf("got %s", got.body)
	}
	for _, name := range []string{"web", "web-", "web-03", "-1", "web-x", "web-99999999999999999999"} {
		a.want(404, "GET", "/api/v1/namespaces/default/pods/"+name, "")
	}
}

func TestQOSClass(t *testing.T) {
	list := func(pairs ...string) corev1.ResourceList {
		l := corev1.ResourceList{}
		for i := 0; i < len(pairs); i += 2 {
			l[corev1.ResourceName(pairs[i])] = resourceapi.MustParse(pairs[i+1])
		}
		return l
	}
	for _, c := range []struct {
		limits, requests corev1.ResourceList
		want             corev1.PodQOSClass
	}{
		{nil, nil, corev1.PodQOSBestEffort},
		{list("memory", "64Mi"), nil, corev1.PodQOSBurstable},
		{nil, list("cpu", "1"), corev1.PodQOSBurstable},
		{list("memory", "64Mi", "cpu", "1"), list("cpu", "500m"), corev1.PodQOSBurstable},
		{list("memory", "64Mi", "cpu", "1"), list("cpu", "1000m"), corev1.PodQOSGuaranteed},
	} {
		spec := &corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: c.limits, Requests: c.requests}}}}
		if got := qosClass(spec); got != c.want {
			t.Errorf("limits %v, requests %v: got %s, want %s", c.limits, c.requests, got, c.want)
		}
	}
}

// What is there in Kubernetes and not here says so, and does not look like a pod that is not there.
func TestSubresources_notServed(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("web", 1, "web:1"))
	for _, path := range []string{"/api/v1/namespaces/default/pods/web-0/exec", "/api/v1/namespaces/default/pods/web-0/portforward"} {
		if got := a.want(501, "GET", path, ""); !strings.Contains(got.field("message"), "not served") {
			t.Errorf("%s: got %s", path, got.body)
		}
	}
	a.want(404, "GET", webPath+"/nonesuch", "")
	got := a.want(405, "POST", "/api/v1/namespaces/default/pods", "{}")
	if !strings.Contains(got.field("message"), "kubectl create deployment") {
		t.Errorf("got %s", got.body)
	}
}

func TestNodes(t *testing.T) {
	a := start(t, t.TempDir())
	say := func(h projection.Host) {
		a.record(projection.Change{Kind: events.Observed, Key: projection.HostKey("h1"), Object: projection.Encode(h)})
	}
	h := projection.Host{Address: "10.0.0.1", CPUs: 2, Memory: 1 << 30, Version: "v1", Podman: "5.4.0", Arch: "amd64",
		Labels: map[string]string{"disk": "ssd"}, Started: time.Now()}
	say(h)
	for field, want := range map[string]string{
		"metadata.labels.disk": "ssd", "metadata.labels.kubernetes~io/hostname": "h1", "status.capacity.cpu": "2", "status.capacity.memory": "1Gi",
		"status.nodeInfo.containerRuntimeVersion": "podman://5.4.0", "status.conditions.0.status": "True", "status.addresses.1.address": "10.0.0.1",
	} {
		if got := a.want(200, "GET", "/api/v1/nodes/h1", "").field(field); got != want {
			t.Errorf("%s: got %s, want %s", field, got, want)
		}
	}
	h.Podman = ""
	say(h)
	if got := a.want(200, "GET", "/api/v1/nodes", ""); got.field("items.0.status.conditions.0.reason") != "PodmanUnreachable" {
		t.Errorf("got %s", got.body)
	}
	a.want(404, "GET", "/api/v1/nodes/h2", "")
}

// Why a pod was started again is told with it, where the restarts have risen, and is a warning unless its program ended well.
func TestEvents_howTheRunBeforeEnded(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("web", 1, "web:1"))
	p := projection.Pod{Namespace: "default", Deployment: "web"}
	id := a.place(p, "h1", "least loaded")
	for _, c := range []struct {
		is            projection.Replica
		typ, contains string
	}{
		{projection.Replica{Phase: projection.Running, Container: "cafe"}, "Normal Started", "container cafe runs on h1"},
		{projection.Replica{Phase: projection.Running, Container: "cafe", Restarts: 1}, "Normal Started", "runs on h1, restarted 1 times, the last time after exit code 0"},
		{projection.Replica{Phase: projection.Running, Container: "cafe", Restarts: 2, ExitCode: 3}, "Warning Started", "restarted 2 times, the last time after exit code 3"},
		{projection.Replica{Phase: projection.Running, Container: "cafe", Restarts: 2, ExitCode: 3, Reason: "Paused"}, "Normal Started", "container cafe runs on h1, restarted 2 times"},
		{projection.Replica{Phase: projection.Running, Container: "cafe", Restarts: 3, ExitCode: 137, OOMKilled: true}, "Warning Started", "restarted 3 times, the last time after exit code 137, killed for memory"},
		{projection.Replica{Phase: projection.Exited, Container: "cafe", Restarts: 3, ExitCode: 137, OOMKilled: true, Reason: "OOMKilled"}, "Warning OOMKilled", "container cafe ended with exit code 137, killed for memory"},
		{projection.Replica{Phase: projection.Exited, Container: "cafe", Restarts: 3, ExitCode: 137, OOMKilled: true, Reason: "CrashLoopBackOff", Message: "back-off 10s, killed for memory"},
			"Warning CrashLoopBackOff", "back-off 10s, killed for memory"},
	} {
		c.is.Placement = id
		a.observe(p, "h1", &c.is)
		var all corev1.EventList
		if err := json.Unmarshal(a.want(200, "GET", "/api/v1/namespaces/default/events", "").body, &all); err != nil {
			t.Fatal(err)
		}
		e := all.Items[len(all.Items)-1]
		if e.Type+" "+e.Reason != c.typ || !strings.HasSuffix(e.Message, c.contains) {
			t.Errorf("of %+v: got %s %s: %s; want %s: …%s", c.is, e.Type, e.Reason, e.Message, c.typ, c.contains)
		}
	}
}

// What happened to an object, why, and how often, is told from what the ledger remembers.
func TestEvents(t *testing.T) {
	a := start(t, t.TempDir())
	w := a.follow("/api/v1/events?watch=true&fieldSelector=involvedObject.kind%3DPod")
	a.want(200, "POST", apply+"?cause=because", deployment("web", 1, "web:1"))
	p := projection.Pod{Namespace: "default", Deployment: "web"}
	id := a.place(p, "h1", "least loaded")
	for i := range 3 {
		a.observe(p, "h1", &projection.Replica{Placement: id, Phase: projection.Running, Container: "cafe0123456789", Restarts: i})
		a.observe(p, "h1", &projection.Replica{Placement: id, Phase: projection.Exited, Container: "cafe0123456789", Restarts: i, ExitCode: 1})
	}
	a.observe(p, "h1", &projection.Replica{Placement: id, Phase: projection.Exited, Container: "cafe0123456789", Restarts: 2, ExitCode: 1, IP: "1.2.3.4"}) // nothing to tell
	a.want(200, "DELETE", webPath, "")
	list := a.want(200, "GET", "/api/v1/namespaces/default/events", "")
	var got []string
	for i := 0; list.field(fmt.Sprintf("items.%d.reason", i)) != ""; i++ {
		f := func(name string) string { return list.field(fmt.Sprintf("items.%d.%s", i, name)) }
		got = append(got, fmt.Sprintf("%s %s %s %s x%s", f("involvedObject.kind"), f("involvedObject.name"), f("type"), f("reason"), f("count")))
	}
	want := "Deployment web Normal Created x1; Pod web-0 Normal Scheduled x1; Pod web-0 Normal Started x3; Pod web-0 Warning Exited x3; Deployment web Normal Deleted x1"
	if strings.Join(got, "; ") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "; "), want)
	}
	if m := list.field("items.0.message"); !strings.HasSuffix(m, ": because") || !strings.HasPrefix(m, "Created by local ") {
		t.Errorf("message: got %s", m)
	}
	if m := list.field("items.1.message"); m != "placed on h1: least loaded" {
		t.Errorf("message: got %s", m)
	}
	for _, want := range []string{"ADDED Scheduled 1", "ADDED Started 1", "ADDED Exited 1", "MODIFIED Started 2", "MODIFIED Exited 2", "MODIFIED Started 3", "MODIFIED Exited 3"} {
		e, o := w.event()
		typ, _, _ := strings.Cut(e, " ")
		if got := typ + " " + o.field("reason") + " " + o.field("count"); got != want {
			t.Errorf("watch: got %s, want %s", got, want)
		}
	}
	one := a.want(200, "GET", "/api/v1/namespaces/default/events/"+list.field("items.2.metadata.name"), "")
	if one.field("reason") != "Started" || one.field("count") != "3" {
		t.Errorf("got %s", one.body)
	}
	a.want(404, "GET", "/api/v1/namespaces/default/events/none", "")
	pod := a.want(200, "GET", "/api/v1/namespaces/default/pods/web-0", "")
	about := a.want(200, "GET", "/api/v1/events?fieldSelector=involvedObject.uid%3D"+pod.field("metadata.uid"), "")
	if about.field("items.2.reason") != "Exited" || about.field("items.3") != "" {
		t.Errorf("of the pod: got %s", about.body)
	}
}
