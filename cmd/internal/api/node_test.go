package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// join has hosts speak of themselves.
func (a *agent) join(hosts ...string) {
	a.t.Helper()
	for _, h := range hosts {
		a.say(h, projection.Host{Address: "10.0.0.1", CPUs: 2, Memory: 1 << 30, Version: "v1", Podman: "5.4.0", Arch: "amd64",
			Labels: map[string]string{"disk": "ssd"}, Started: time.Now().Add(-time.Hour)})
	}
}

func (a *agent) say(host string, h projection.Host) {
	a.record(projection.Change{Kind: events.Observed, Key: projection.HostKey(host), Object: projection.Encode(h)})
}

// silence has this host hear all others but these.
func (a *agent) silence(hosts ...string) {
	a.t.Helper()
	s := projection.Sight{Silent: map[string]time.Time{}}
	for _, h := range hosts {
		s.Silent[h] = time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	}
	a.record(projection.Change{Kind: events.Observed, Key: projection.SightKey("h1"), Object: projection.Encode(s)})
}

func (a *agent) node(host string) projection.Node { return said(a.ledger.View().State, host) }

func webPod(n int) projection.Pod {
	return projection.Pod{Namespace: "default", Deployment: "web", Ordinal: n}
}

// runs places a replica of web on a host, which says that it runs.
func (a *agent) runs(n int, host string) {
	a.t.Helper()
	id := a.place(webPod(n), host, "")
	a.observe(webPod(n), host, &projection.Replica{Placement: id, Phase: projection.Running, Container: "cafe", Started: time.Now()})
}

// What kubectl cordon, taint, label and annotate send is declared of the host, beside what it says of itself.
func TestNode_write(t *testing.T) {
	a := start(t, t.TempDir())
	a.join("h1")
	const path = "/api/v1/nodes/h1"
	for _, c := range []struct{ patch, field, want string }{
		{`{"spec":{"unschedulable":true}}`, "spec.unschedulable", "true"},
		{`{"spec":{"taints":[{"key":"gpu","value":"yes","effect":"NoSchedule"}]}}`, "spec.taints.0.key", "gpu"},
		{`{"metadata":{"labels":{"zone":"a","disk":"slow"}}}`, "metadata.labels.zone", "a"},
		{`{"metadata":{"labels":{"zone":null}}}`, "metadata.labels.zone", ""},
		{`{"metadata":{"annotations":{"note":"hi"}}}`, "metadata.annotations.note", "hi"},
	} {
		if got := a.want(200, "PATCH", path, c.patch, asStrategic); got.field(c.field) != c.want {
			t.Errorf("%s: got %s, want %s", c.patch, got.body, c.want)
		}
		if got := a.want(200, "GET", path, ""); got.field(c.field) != c.want {
			t.Errorf("%s, and then: got %s, want %s", c.patch, got.body, c.want)
		}
	}
	n := a.node("h1")
	if !n.Unschedulable || len(n.Taints) != 1 || fmt.Sprint(n.Labels) != "map[disk:slow]" || fmt.Sprint(n.Annotations) != "map[note:hi]" {
		t.Errorf("recorded: got %+v", n)
	}
	if got := a.want(200, "GET", path, ""); got.field("metadata.labels.disk") != "slow" || got.field("metadata.labels.kubernetes~io/hostname") != "h1" {
		t.Errorf("labels: got %s", got.body)
	}
	before := a.index()
	seen := a.want(200, "GET", path, "")
	a.want(200, "PUT", path, string(seen.body))
	a.want(200, "PATCH", path+"?dryRun=All", `{"spec":{"unschedulable":false}}`, asMerge)
	if a.index() != before {
		t.Error("what changes nothing was recorded")
	}
	a.want(200, "PATCH", path, `{"spec":{"unschedulable":false}}`, asMerge)
	a.want(409, "PUT", path, string(seen.body)) // somebody has changed it since
}

func TestNode_refused(t *testing.T) {
	a := start(t, t.TempDir())
	a.join("h1")
	before := a.index()
	for _, c := range []struct {
		patch string
		code  int
		why   string
	}{
		{`{"metadata":{"labels":{"disk":null}}}`, 422, "the host's own"},
		{`{"metadata":{"labels":{"kubernetes.io/hostname":"other"}}}`, 422, "says what the host is"},
		{`{"metadata":{"labels":{"a b":"x"}}}`, 422, "metadata.labels"},
		{`{"spec":{"podCIDR":"10.0.0.0/8"}}`, 422, "taints and unschedulable can be changed"},
		{`{"spec":{"taints":[{"key":"a","effect":"Never"}]}}`, 422, `Unsupported value: "Never"`},
		{`{"spec":{"taints":[{"key":"a","effect":"NoSchedule"},{"key":"a","effect":"NoSchedule"}]}}`, 422, "Duplicate value"},
		{`{"spec":{"unschedulabel":true}}`, 400, `unknown field "unschedulabel"`},
		{`{"metadata":{"name":"other"}}`, 400, "the path is of node h1"},
		{`{"metadata":{"resourceVersion":"1"}}`, 409, "is not of this host's log"},
		{`{"metadata":{"uid":"1"}}`, 409, "Precondition failed"},
	} {
		if got := a.want(c.code, "PATCH", "/api/v1/nodes/h1", c.patch, asMerge); !strings.Contains(got.field("message"), c.why) {
			t.Errorf("%s: got %s, want %s", c.patch, got.field("message"), c.why)
		}
	}
	a.want(404, "PATCH", "/api/v1/nodes/h2", `{}`, asMerge)
	a.want(405, "POST", "/api/v1/nodes/h1", "{}")
	if a.index() != before {
		t.Error("something was recorded")
	}
}

// A silent host is not ready, and nothing that it said last of its replicas counts. A watch tells of both.
func TestNode_silent(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("web", 2, "w"))
	a.join("h1", "h2")
	a.runs(0, "h1")
	a.runs(1, "h2")
	nodes, pods := a.follow("/api/v1/nodes?watch=true"), a.follow("/api/v1/pods?watch=true")
	nodes.wantEvents("ADDED h1", "ADDED h2")
	pods.wantEvents("ADDED web-0", "ADDED web-1")
	a.silence("h2")
	n := nodes.wantEvents("MODIFIED h2")
	p := pods.wantEvents("MODIFIED web-1")
	for o, want := range map[*answer]map[string]string{
		&n: {"status.conditions.0.status": "Unknown", "status.conditions.0.reason": "NodeStatusUnknown",
			"status.conditions.0.lastTransitionTime": "2026-01-21T12:00:00Z"},
		&p: {"status.phase": "Unknown", "status.reason": "NodeLost", "status.conditions.3.status": "Unknown", "status.conditions.3.reason": "NodeLost",
			"status.containerStatuses.0.ready": "false", "status.containerStatuses.0.state": "{}"},
	} {
		for field, want := range want {
			if got := o.field(field); got != want {
				t.Errorf("%s: got %s, want %s", field, got, want)
			}
		}
	}
	if got := a.want(200, "GET", "/api/v1/nodes/h1", "").field("status.conditions.0.status"); got != "True" {
		t.Errorf("the host itself: got %s", got)
	}
	st := a.want(200, "GET", "/swarm/v1/status", "")
	if st.field("running") != "1" || !strings.Contains(st.field("not_running.0.why"), "host h2 has been silent since 2026-01-21 12:00:00 UTC") ||
		st.field("hosts.1.state") != "silent" || st.field("hosts.1.running") != "0" || st.field("hosts.0.state") != "alive" {
		t.Errorf("status: got %s", st.body)
	}
	a.silence()
	nodes.wantEvents("MODIFIED h2")
	if p := pods.wantEvents("MODIFIED web-1"); p.field("status.phase") != "Running" {
		t.Errorf("heard again: got %s", p.body)
	}
	// What another host does not hear is no concern of this one.
	a.record(projection.Change{Kind: events.Observed, Key: projection.SightKey("h3"),
		Object: projection.Encode(projection.Sight{Silent: map[string]time.Time{"h2": time.Now()}})})
	if got := a.want(200, "GET", "/api/v1/nodes/h2", "").field("status.conditions.0.status"); got != "True" {
		t.Errorf("by another host's sight: got %s", got)
	}
	h := projection.Host{CPUs: 1, Podman: "5", Version: "v1", Started: time.Now().Add(-time.Hour), Left: time.Now(), ReadOnly: "disk is full"}
	a.say("h2", h)
	n = nodes.wantEvents("MODIFIED h2")
	if n.field("status.conditions.0.status") != "False" || n.field("status.conditions.0.reason") != "NodeStopped" ||
		n.field("status.conditions.1.type") != "ReadOnly" || n.field("status.conditions.1.status") != "True" {
		t.Errorf("stopped: got %s", n.body)
	}
	pods.wantEvents("MODIFIED web-1")
	h.Off = true
	a.say("h2", h)
	if n = nodes.wantEvents("MODIFIED h2"); !strings.Contains(n.field("status.conditions.0.message"), "and its containers with it") {
		t.Errorf("shut down: got %s", n.body)
	}
	pods.wantEvents("MODIFIED web-1")
	a.say("h1", h) // of its run before this one: who answers is here
	if n = nodes.wantEvents("MODIFIED h1"); n.field("status.conditions.0.status") != "True" {
		t.Errorf("the host itself, of which it said that it stops: got %s", n.body)
	}
}

// What is heard of a host goes before what was said of it last: one that is back on a full disk can take back neither that it
// left, nor that it is dead. When it falls silent again, a person can say anew that it is dead.
func TestNode_backAndMute(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	a.join("h1", "h2")
	a.runs(0, "h2")
	a.silence()
	state := func() string { return a.want(200, "GET", "/swarm/v1/nodes", "").field("1.state") }
	left := projection.Host{CPUs: 1, Podman: "5", Started: time.Now().Add(-time.Hour), Left: time.Now()}
	a.say("h2", left)
	if got := state(); got != StateStopped {
		t.Errorf("left: %s", got)
	}
	nodes, pods := a.follow("/api/v1/nodes?watch=true"), a.follow("/api/v1/pods?watch=true")
	nodes.wantEvents("ADDED h1", "ADDED h2")
	pods.wantEvents("ADDED web-0")
	a.silence() // said anew, and nothing else is another: h2 is heard
	if n := nodes.wantEvents("MODIFIED h2"); n.field("status.conditions.0.status") != "True" {
		t.Errorf("heard since: got %s", n.body)
	}
	if p := pods.wantEvents("MODIFIED web-0"); p.field("status.phase") != "Running" {
		t.Errorf("heard since: got %s", p.body)
	}
	if got := state(); got != StateAlive {
		t.Errorf("heard since: %s", got)
	}
	for _, verb := range []string{"down", "remove"} {
		if got := a.want(409, "POST", "/swarm/v1/nodes/h2/"+verb, ""); !strings.Contains(got.field("message"), "is alive") {
			t.Errorf("%s: got %s", verb, got.body)
		}
	}

	// A clock that is an hour ahead must not make the word void: who is silent since when is by the clock of who says so.
	ahead := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	sees := func(host string, s projection.Sight) {
		a.record(projection.Change{Kind: events.Observed, Key: projection.SightKey(host), Object: projection.Encode(s)})
	}
	sees("h1", projection.Sight{Silent: map[string]time.Time{"h2": time.Now().UTC()}})
	a.join("h3")
	sees("h3", projection.Sight{Silent: map[string]time.Time{"h2": ahead}})
	down := func(changed string) {
		t.Helper()
		if got := a.want(200, "POST", "/swarm/v1/nodes/h2/down", ""); got.field("changed") != changed {
			t.Errorf("got %s, want changed %s", got.body, changed)
		}
	}
	down("true")
	if got := a.node("h2").Down; got.Before(ahead) {
		t.Errorf("down at %v, want it after %v", got, ahead)
	}
	down("false")
	cordoned := func() { a.want(200, "POST", "/swarm/v1/nodes/h2/cordon", "") }
	a.silence()
	cordoned()
	if got := state(); got != StateAlive {
		t.Errorf("heard again, and cordoned: %s", got)
	}
	sees("h1", projection.Sight{Silent: map[string]time.Time{"h2": ahead.Add(time.Minute)}})
	down("true") // it was heard since they said so
}

// A replica that moves is another pod of its name, as who waits for the old one to be gone must see.
func TestPod_moved(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	a.join("h1", "h2")
	a.place(webPod(0), "", "no host is ready")
	pods := a.follow("/api/v1/pods?watch=true")
	pods.wantEvents("ADDED web-0")
	a.place(webPod(0), "h1", "")
	one := pods.wantEvents("MODIFIED web-0")
	a.place(webPod(0), "h2", "h1 is drained")
	two := pods.wantEvents("DELETED web-0", "ADDED web-0")
	if one.field("metadata.uid") == two.field("metadata.uid") || two.field("spec.nodeName") != "h2" {
		t.Errorf("got %s, and then %s", one.body, two.body)
	}
	es := a.want(200, "GET", "/api/v1/events?fieldSelector=involvedObject.uid%3D"+two.field("metadata.uid"), "")
	if es.field("items.0.reason") == "" {
		t.Errorf("events of the pod: got %s", es.body)
	}
}

// kubectl drain cordons and then evicts, which has the host drained.
func TestPod_eviction(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	a.join("h1")
	a.runs(0, "h1")
	const pod = "/api/v1/namespaces/default/pods/web-0/eviction"
	body := `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"web-0","namespace":"default"}}`
	if got := a.want(409, "POST", pod, body); !strings.Contains(got.field("message"), "cordon it first") {
		t.Errorf("got %s", got.body)
	}
	a.want(200, "PATCH", "/api/v1/nodes/h1", `{"spec":{"unschedulable":true}}`, asMerge)
	a.want(201, "POST", pod+"?dryRun=All", body)
	if a.node("h1").Draining {
		t.Error("a dry run drained the host")
	}
	a.want(201, "POST", pod, body)
	if !a.node("h1").Draining {
		t.Error("the host is not drained")
	}
	if got := a.want(200, "GET", "/api/v1/nodes/h1", ""); got.field("metadata.annotations.podman-swarm/draining") != "true" {
		t.Errorf("got %s", got.body)
	}
	if got := a.want(200, "GET", "/swarm/v1/status", ""); got.field("not_moved.0.pod") != "default/web-0" || got.field("running") != "1" {
		t.Errorf("got %s", got.body)
	}
	a.want(404, "POST", "/api/v1/namespaces/default/pods/web-9/eviction", body)
	a.want(405, "DELETE", pod, "")
	a.want(200, "PATCH", "/api/v1/nodes/h1", `{"spec":{"unschedulable":null}}`, asMerge)
	if a.node("h1").Draining {
		t.Error("an uncordoned host is still drained")
	}
}

// An uncordon, label or taint that is acknowledged while an eviction is on its way is not taken back by it.
func TestPod_evictionKeepsWhatCameMeanwhile(t *testing.T) {
	late := &lateLedger{}
	a := start(t, t.TempDir(), func(s *Server) { late.Ledger, s.Ledger = s.Ledger, late })
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	a.join("h1")
	a.runs(0, "h1")
	const pod = "/api/v1/namespaces/default/pods/web-0/eviction"
	a.want(200, "PATCH", "/api/v1/nodes/h1", `{"spec":{"unschedulable":true}}`, asMerge)
	say := func(n projection.Node) {
		late.before = func() {
			a.record(projection.Change{Kind: events.Declared, Key: projection.NodeKey("h1"), Object: projection.Encode(n)})
		}
	}
	say(projection.Node{Unschedulable: true, Labels: map[string]string{"disk": "new"}})
	a.want(201, "POST", pod, "{}")
	if n := a.node("h1"); n.Labels["disk"] != "new" || !n.Draining {
		t.Errorf("got %+v, want the label that came meanwhile, and draining", n)
	}
	say(projection.Node{})
	if got := a.want(409, "POST", pod, "{}"); !strings.Contains(got.field("message"), "cordon it first") {
		t.Errorf("got %s", got.body)
	}
	if n := a.node("h1"); n.Unschedulable || n.Draining {
		t.Errorf("got %+v, want it uncordoned, as it was answered", n)
	}
}

// lateLedger has something else recorded before the next change of the API is.
type lateLedger struct {
	Ledger
	before func()
}

func (l *lateLedger) Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	if f := l.before; f != nil {
		l.before = nil
		f()
	}
	return l.Ledger.Record(ctx, by, decide)
}

// What is done with hosts beyond Kubernetes' words, and what is refused.
func TestNode_verbs(t *testing.T) {
	a := start(t, t.TempDir())
	a.join("h1", "h2", "h3")
	do := func(code int, host, verb string) answer {
		t.Helper()
		return a.want(code, "POST", "/swarm/v1/nodes/"+host+"/"+verb, "")
	}
	do(200, "h2", "cordon")
	if n := a.node("h2"); !n.Unschedulable || n.Draining {
		t.Errorf("cordon: got %+v", n)
	}
	if got := do(200, "h2", "cordon"); got.field("changed") != "false" || got.field("commit") != "" {
		t.Errorf("cordoned again: got %s", got.body)
	}
	do(200, "h2", "drain")
	do(200, "h2", "cordon")
	if n := a.node("h2"); !n.Unschedulable || !n.Draining {
		t.Errorf("drain: got %+v", n)
	}
	do(200, "h2", "uncordon")
	if n := a.node("h2"); n.Unschedulable || n.Draining {
		t.Errorf("uncordon: got %+v", n)
	}
	do(404, "h9", "drain")
	do(404, "h2", "dance")
	for _, host := range []string{"h1", "h2"} {
		if got := do(409, host, "down"); !strings.Contains(got.field("message"), "is alive") {
			t.Errorf("got %s", got.body)
		}
		if got := do(409, host, "remove"); !strings.Contains(got.field("message"), "is alive") {
			t.Errorf("got %s", got.body)
		}
	}
	a.silence("h2")
	do(200, "h2", "down")
	if got := a.want(200, "GET", "/api/v1/nodes/h2", "").field("status.conditions.0.reason"); got != "NodeDown" || a.node("h2").Down.IsZero() {
		t.Errorf("down: got %s, %+v", got, a.node("h2"))
	}
	a.silence("h2", "h3")
	if got := do(409, "h2", "remove"); !strings.Contains(got.field("message"), "1 of 3 known hosts") {
		t.Errorf("without a majority: got %s", got.body)
	}
	a.silence("h2")
	watch := a.follow("/api/v1/nodes?watch=true")
	watch.wantEvents("ADDED h1", "ADDED h2", "ADDED h3")
	do(200, "h2", "remove")
	watch.wantEvents("DELETED h2")
	if m, ok := projection.Read[projection.Member](a.ledger.View().State, projection.MemberKey("h2")); !ok || !m.Removed {
		t.Errorf("got %+v, want it removed", m)
	}
	do(200, "h2", "remove")
	do(409, "h2", "uncordon")
	a.want(404, "GET", "/api/v1/nodes/h2", "")
	for _, force := range []string{"maybe", "no", "FALSE", "0"} { // it is alive, and this is for good
		if code := a.do("POST", "/swarm/v1/nodes/h3/remove?force="+force, "").code; code != 400 && code != 409 {
			t.Errorf("force=%s of a host that is alive: got %d", force, code)
		}
	}
	a.want(200, "POST", "/swarm/v1/nodes/h3/remove?force=true", "") // alive
	if got := a.want(200, "GET", "/swarm/v1/nodes", ""); got.field("0.host") != "h1" || got.field("1") != "" {
		t.Errorf("hosts: got %s", got.body)
	}
}

func TestNode_deleted(t *testing.T) {
	a := start(t, t.TempDir())
	a.join("h1", "h2", "h3")
	a.want(409, "DELETE", "/api/v1/nodes/h3", "")
	a.silence("h3")
	a.want(200, "DELETE", "/api/v1/nodes/h3?dryRun=All", "")
	a.want(200, "DELETE", "/api/v1/nodes/h3", "")
	a.want(404, "GET", "/api/v1/nodes/h3", "")
}

// What is heard of the others now stands beside what is recorded of them.
func TestStatus_cluster(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	c := Cluster{Name: "home", Digest: "d1", Agrees: now, Lag: 7, Behind: 1.5, Unmoved: map[string]string{"default/web-1": "1 of 2 hosts in sight"},
		Stuck: []Problem{{What: "the stream of h2", Why: "stands at 7", Do: "look"}},
		Peers: []Peer{
			{Host: "h2", Version: "v2", Alive: true, Heard: now, Ready: true, Writable: true, Lag: 3, Behind: 0.5, Digest: "agrees", Agrees: now,
				Offset: -time.Second, RTT: time.Millisecond},
			{Host: "h3", Alive: false, Heard: now},
		}}
	a := start(t, t.TempDir(), func(s *Server) { s.Cluster = func() Cluster { return c } })
	a.want(200, "POST", apply, deployment("web", 2, "w"))
	a.join("h1", "h2")
	a.runs(0, "h1")
	a.runs(1, "h2")
	a.silence("h2")
	got := a.want(200, "GET", "/swarm/v1/status", "")
	for field, want := range map[string]string{
		"cluster": "home", "digest": "d1", "agree_since": now.Format(time.RFC3339), "problems.0.what": "host h2 has been silent since 2026-01-21 12:00:00 UTC",
		"problems.1.what": "host h3 is not heard", "problems.2.what": "the stream of h2",
		"hosts.0.self": "true", "hosts.0.lag_events": "7", "hosts.0.lag_seconds": "1.5", "hosts.0.round_trip_seconds": "", "hosts.1.version": "v2", "hosts.1.lag_events": "3", "hosts.1.lag_seconds": "0.5",
		"hosts.1.clock_offset_seconds": "-1", "hosts.1.round_trip_seconds": "0.001", "hosts.1.digest": "agrees",
		"hosts.2.host": "h3", "hosts.2.state": "silent", "hosts.2.since": now.Format(time.RFC3339),
	} {
		if got.field(field) != want {
			t.Errorf("%s: got %s, want %s", field, got.field(field), want)
		}
	}
	if !strings.HasSuffix(got.field("not_running.0.why"), "not moved: 1 of 2 hosts in sight") {
		t.Errorf("not moved: got %s", got.field("not_running"))
	}
	c.Unmoved, c.Waiting = nil, map[string]string{"default/web-1": "waiting until 12:00:00Z (h2 silent)"}
	if got := a.want(200, "GET", "/swarm/v1/status", ""); !strings.HasSuffix(got.field("not_running.0.why"), "not moved yet: waiting until 12:00:00Z (h2 silent)") {
		t.Errorf("not moved yet: got %s", got.field("not_running"))
	}
}

// Of a replica that runs where it is not to be, as on a host that was tainted with NoExecute, it says why it does not move.
func TestStatus_notMoved(t *testing.T) {
	c := Cluster{Unmoved: map[string]string{"default/web-0": "stays on h1, which is tainted dead:NoExecute: there is no other host"},
		Waiting: map[string]string{"default/web-1": "leaves h1, which is tainted dead:NoExecute, once another runs in its place"}}
	a := start(t, t.TempDir(), func(s *Server) { s.Cluster = func() Cluster { return c } })
	a.want(200, "POST", apply, deployment("web", 3, "w"))
	a.join("h1", "h2")
	a.runs(0, "h1")
	a.runs(1, "h1")
	a.runs(2, "h2")
	got := a.want(200, "GET", "/swarm/v1/status", "")
	for field, want := range map[string]string{
		"running": "3", "not_running": "",
		"not_moved.0.pod": "default/web-0", "not_moved.0.stays": "true", "not_moved.0.why": c.Unmoved["default/web-0"],
		"not_moved.1.pod": "default/web-1", "not_moved.1.stays": "", "not_moved.1.why": c.Waiting["default/web-1"], "not_moved.2": "",
	} {
		if got.field(field) != want {
			t.Errorf("%s: got %s, want %s", field, got.field(field), want)
		}
	}
}

// A host that only others hear is alive, as for all else: what does not work is the link to it.
func TestStatus_heardByOthersOnly(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	c := Cluster{Peers: []Peer{{Host: "h2", Heard: now, Elsewhere: now.Add(-time.Minute)}}}
	a := start(t, t.TempDir(), func(s *Server) { s.Cluster = func() Cluster { return c } })
	a.join("h1", "h2")
	got := a.want(200, "GET", "/swarm/v1/nodes", "")
	if want := stamp(now.Add(-time.Minute)); got.field("1.state") != "alive" || got.field("1.since") != "" || !strings.Contains(got.field("1.stuck"), want) {
		t.Errorf("got %s", got.body)
	}
	a.silence("h2") // and now by nobody
	if got := a.want(200, "GET", "/swarm/v1/nodes", ""); got.field("1.state") != "silent" || got.field("1.stuck") != "" {
		t.Errorf("silent: got %s", got.body)
	}
}

// Of a replica that its host has said nothing of yet, it says what keeps the host from that.
func TestStatus_hostCannotSay(t *testing.T) {
	c := Cluster{Peers: []Peer{{Host: "h2", Alive: true, Writable: true, Ready: true}}}
	a := start(t, t.TempDir(), func(s *Server) { s.Cluster = func() Cluster { return c } })
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	a.join("h1", "h2")
	a.place(webPod(0), "h2", "")
	why := func() string { return a.want(200, "GET", "/swarm/v1/status", "").field("not_running.0.why") }
	if got := why(); got != "waiting for host h2" {
		t.Errorf("nothing known: got %q", got)
	}
	c.Peers[0].Writable = false
	if got := why(); got != "waiting for host h2, which is read-only: it may run there, and that cannot be recorded" {
		t.Errorf("read-only: got %q", got)
	}
	c.Peers[0].Writable = true
	a.say("h2", projection.Host{Address: "10.0.0.1"})
	if got := why(); got != "waiting for host h2, whose Podman does not answer" {
		t.Errorf("no Podman: got %q", got)
	}
}

// Hosts that were started with different --service-cidrs give a Service different addresses. Who gives it none, who does not say it and who
// is not to come back is not held to that.
func TestStatus_differentCIDRs(t *testing.T) {
	a := start(t, t.TempDir())
	a.join("h1", "h2", "h3", "h4", "h5")
	problems := func() string { return a.want(200, "GET", "/swarm/v1/status", "").field("problems") }
	say := func(host, cidr string) {
		a.say(host, projection.Host{CPUs: 1, Podman: "5", Started: time.Now(), ServiceCIDR: cidr})
	}
	say("h2", "10.97.0.0/16")
	if got := problems(); got != "" {
		t.Errorf("of the host itself it is not known: got %s", got)
	}
	for host, cidr := range map[string]string{"h1": "10.96.0.0/12", "h3": "10.96.0.0/12", "h4": "10.98.0.0/16"} {
		say(host, cidr)
	}
	want := "hosts have different --service-cidrs, this one 10.96.0.0/12, h2 10.97.0.0/16, h4 10.98.0.0/16"
	if got := a.want(200, "GET", "/swarm/v1/status", ""); got.field("problems.0.what") != want || got.field("problems.0.do") != "start all with the same --service-cidr" {
		t.Errorf("got %s", got.field("problems"))
	}
	a.silence("h4")
	a.want(200, "POST", "/swarm/v1/nodes/h4/down", "")
	if got := problems(); strings.Contains(got, "h4 10.98.0.0/16") || !strings.Contains(got, "h2 10.97.0.0/16") {
		t.Errorf("h4 is dead: got %s", got)
	}
	say("h2", "10.96.0.0/12")
	if got := problems(); strings.Contains(got, "--service-cidr") {
		t.Errorf("all have the same: got %s", got)
	}
}
