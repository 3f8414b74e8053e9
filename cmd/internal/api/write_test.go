package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func TestCreate(t *testing.T) {
	a := start(t, t.TempDir())
	o := a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1"))
	for path, want := range map[string]string{
		"kind": "Deployment", "apiVersion": "apps/v1", "metadata.name": "web", "metadata.namespace": "default",
		"metadata.generation": "1", "spec.replicas": "2", "spec.strategy.type": "RollingUpdate",
		"metadata.resourceVersion": a.resourceVersion(1), "status.observedGeneration": "1",
		"metadata.uid": string(uidOf(events.ID{Inc: a.log.Incarnation(), Seq: 1})),
	} {
		if got := o.field(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if o.field("metadata.creationTimestamp") == "" {
		t.Error("no creationTimestamp")
	}
	if got := a.want(200, "GET", webPath, ""); string(got.body) != string(o.body) {
		t.Errorf("get after create: got %s, want %s", got.body, o.body)
	}
	for _, c := range []struct {
		name, path, body string
		code             int
		reason           string
	}{
		{"again", deploymentsPath, deployment("web", 2, "web:1"), 409, "AlreadyExists"},
		{"other namespace", "/apis/apps/v1/namespaces/other/deployments", strings.Replace(deployment("web", 1, "web:1"), "name: web\n", "name: web\n  namespace: default\n", 1), 400, "BadRequest"},
		{"other kind", "/api/v1/namespaces/default/services", deployment("web", 1, "web:1"), 400, "BadRequest"},
		{"unknown field", deploymentsPath, strings.Replace(deployment("x", 1, "web:1"), "replicas", "replica", 1), 400, "BadRequest"},
		{"invalid", deploymentsPath, deployment("x", -1, "web:1"), 422, "Invalid"},
		{"not honoured", deploymentsPath, deployment("x", 1, "web:1") + "        tty: true\n", 422, "Invalid"},
		{"no object", deploymentsPath, "null", 400, "BadRequest"},
		{"empty", deploymentsPath, "", 400, "BadRequest"},
		{"two", deploymentsPath, docs(deployment("x", 1, "w"), deployment("y", 1, "w")), 400, "BadRequest"},
		{"with a version", deploymentsPath, strings.Replace(deployment("x", 1, "w"), "name: x\n", "name: x\n  resourceVersion: \"1\"\n", 1), 400, "BadRequest"},
		{"to a name", webPath, deployment("web", 1, "w"), 405, "MethodNotAllowed"},
	} {
		got := a.want(c.code, "POST", c.path, c.body)
		if got.field("reason") != c.reason || got.field("message") == "" || got.field("apiVersion") != "v1" || got.field("status") != "Failure" {
			t.Errorf("%s: got %s, want reason %s", c.name, got.body, c.reason)
		}
	}
	if a.index() != 1 {
		t.Errorf("%d events, want 1: refused objects are not recorded", a.index())
	}
	named := a.want(201, "POST", deploymentsPath, strings.Replace(deployment("x", 1, "web:1"), "name: x\n", "generateName: job-\n", 1))
	if name := named.field("metadata.name"); !strings.HasPrefix(name, "job-") || len(name) != 9 {
		t.Errorf("generated name: got %q", name)
	}
	named = a.want(201, "POST", deploymentsPath, strings.Replace(deployment("x", 1, "web:1"), "name: x\n", "generateName: "+strings.Repeat("long", 20)+"\n", 1))
	if name := named.field("metadata.name"); len(name) != 63 {
		t.Errorf("generated name: got %q, want one that is a DNS label", name)
	}
}

// Line 11 of what went wrong before: the same again is no change.
func TestWrite_sameAgainRecordsNothing(t *testing.T) {
	a := start(t, t.TempDir())
	o := a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1"))
	for range 3 {
		if got := a.want(200, "PUT", webPath, deployment("web", 2, "web:1")); string(got.body) != string(o.body) {
			t.Errorf("got %s, want %s", got.body, o.body)
		}
		a.want(200, "PUT", webPath, string(o.body))
		a.want(200, "PATCH", webPath, `{"spec":{"replicas":2}}`, "Content-Type: application/merge-patch+json")
		res := a.want(200, "POST", "/api/v1/manifests", deployment("web", 2, "web:1"))
		if res.field("results.0.action") != "unchanged" || res.field("commit") != "" {
			t.Errorf("apply of the same: got %s", res.body)
		}
	}
	if a.index() != 1 {
		t.Errorf("%d events, want 1", a.index())
	}
	changed := a.want(200, "PUT", webPath, deployment("web", 2, "web:2"))
	if changed.field("metadata.generation") != "2" || a.index() != 2 {
		t.Errorf("a changed one: got %s, index %d", changed.body, a.index())
	}
	labelled := a.want(200, "PUT", webPath, deployment("web", 2, "web:2", "tier: front"))
	if labelled.field("metadata.generation") != "2" || labelled.field("metadata.labels.tier") != "front" {
		t.Errorf("a label changed: got %s, want it, and generation 2", labelled.body)
	}
	if labelled.field("metadata.uid") != o.field("metadata.uid") || labelled.field("metadata.creationTimestamp") != o.field("metadata.creationTimestamp") {
		t.Errorf("uid or creationTimestamp changed: %s", labelled.body)
	}
}

func TestReplace_optimisticLock(t *testing.T) {
	a := start(t, t.TempDir())
	seen := a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1"))
	with := func(version, image string) string {
		return strings.Replace(deployment("web", 2, image), "name: web\n", fmt.Sprintf("name: web\n  resourceVersion: %q\n", version), 1)
	}
	// What becomes of it is no reason for a conflict: nobody has declared it anew.
	a.place(projection.Pod{Namespace: "default", Deployment: "web"}, "h1", "")
	a.want(200, "PUT", webPath, with(seen.field("metadata.resourceVersion"), "web:2"))
	for name, version := range map[string]string{
		"older":   seen.field("metadata.resourceVersion"),
		"future":  a.resourceVersion(1000),
		"foreign": fmt.Sprint((a.Epoch()+1)<<indexBits | a.index()),
	} {
		got := a.want(409, "PUT", webPath, with(version, "web:3"))
		if got.field("reason") != "Conflict" {
			t.Errorf("%s: got %s", name, got.body)
		}
		a.want(409, "PATCH", webPath, fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"spec":{"replicas":7}}`, version),
			"Content-Type: application/merge-patch+json")
		a.want(409, "DELETE", webPath, fmt.Sprintf(`{"preconditions":{"resourceVersion":%q}}`, version))
	}
	if got := a.want(409, "PUT", webPath, strings.Replace(deployment("web", 2, "web:3"), "name: web\n", "name: web\n  uid: other\n", 1)); got.field("reason") != "Conflict" {
		t.Errorf("another uid: got %s", got.body)
	}
	a.want(400, "PUT", webPath, with("abc", "web:3"))
	a.want(404, "PUT", deploymentsPath+"/none", deployment("none", 1, "web:1"))
	a.want(400, "PUT", deploymentsPath+"/none", deployment("web", 1, "web:1"))
	immutable := strings.Replace(deployment("web", 2, "web:1"), "{app: web}", "{app: other}", 2)
	if got := a.want(422, "PUT", webPath, immutable); !strings.Contains(got.field("message"), "immutable") {
		t.Errorf("another selector: got %s", got.body)
	}
}

// Two writers that both have seen the same: one wins, the other hears of it, and nobody's change is lost unseen.
func TestReplace_concurrent(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(201, "POST", deploymentsPath, deployment("web", 0, "web:1"))
	const writers, each = 8, 10
	conflicts := make(chan int, writers)
	for range writers {
		go func() {
			n := 0
			for done := 0; done < each; {
				var d map[string]any
				if err := json.Unmarshal(a.do("GET", webPath, "").body, &d); err != nil {
					t.Error(err)
					break
				}
				spec, _ := d["spec"].(map[string]any)
				replicas, _ := spec["replicas"].(float64)
				spec["replicas"] = replicas + 1
				body, err := json.Marshal(d)
				if err != nil {
					t.Error(err)
					break
				}
				switch got := a.do("PUT", webPath, string(body)); got.code {
				case 200:
					done++
				case 409:
					n++
				default:
					t.Errorf("got %d %s", got.code, got.body)
					done = each
				}
			}
			conflicts <- n
		}()
	}
	total := 0
	for range writers {
		total += <-conflicts
	}
	if got := a.want(200, "GET", webPath, "").field("spec.replicas"); got != fmt.Sprint(writers*each) {
		t.Errorf("got %s, want %d: increments were lost (%d conflicts)", got, writers*each, total)
	}
}

func TestWrite_dryRun(t *testing.T) {
	a := start(t, t.TempDir())
	got := a.want(201, "POST", deploymentsPath+"?dryRun=All", deployment("web", 2, "web:1"))
	if got.field("metadata.uid") == "" || got.field("spec.replicas") != "2" {
		t.Errorf("got %s", got.body)
	}
	a.want(404, "GET", webPath, "")
	o := a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1"))
	got = a.want(200, "PUT", webPath+"?dryRun=All", deployment("web", 3, "web:1"))
	if got.field("spec.replicas") != "3" || got.field("metadata.generation") != "2" || got.field("metadata.uid") != o.field("metadata.uid") {
		t.Errorf("got %s", got.body)
	}
	a.want(200, "DELETE", webPath, `{"dryRun":["All"]}`)
	a.want(200, "DELETE", webPath+"?dryRun=All", "")
	a.want(200, "DELETE", deploymentsPath+"?dryRun=All", "")
	a.want(400, "DELETE", webPath+"?dryRun=Some", "")
	a.want(422, "PUT", webPath+"?dryRun=All", deployment("web", -3, "web:1"))
	if got := a.want(200, "GET", webPath, ""); string(got.body) != string(o.body) {
		t.Errorf("after dry runs: got %s, want %s", got.body, o.body)
	}
}

func TestWrite_fieldValidation(t *testing.T) {
	a := start(t, t.TempDir())
	bad := strings.Replace(deployment("web", 2, "web:1"), "  replicas: 2", "  replicas: 2\n  replica: 3", 1)
	if got := a.want(400, "POST", deploymentsPath+"?fieldValidation=Strict", bad); !strings.Contains(got.field("message"), "spec.replica") {
		t.Errorf("got %s", got.body)
	}
	got := a.want(201, "POST", deploymentsPath+"?fieldValidation=Warn", bad)
	if w := got.header.Get("Warning"); !strings.HasPrefix(w, "299 - ") || !strings.Contains(w, "spec.replica") {
		t.Errorf("Warning: got %q", w)
	}
	got = a.want(200, "PUT", webPath+"?fieldValidation=Ignore", bad) // what kubectl sends that is not to validate
	if w := got.header.Get("Warning"); !strings.Contains(w, "spec.replica") {
		t.Errorf("Warning: got %q, want the field all the same", w)
	}
	got = a.want(200, "PUT", webPath+"?fieldValidation=Ignore", strings.Replace(bad, "replica: 3", "Replicas: 3", 1))
	if got.field("spec.replicas") != "2" {
		t.Errorf("replicas: got %s, want 2: Replicas is another field", got.field("spec.replicas"))
	}
	oneLine := `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replica":3}}`
	if got := a.want(400, "PUT", webPath, oneLine); strings.Contains(got.field("message"), "line") || strings.Contains(got.field("message"), "document") {
		t.Errorf("got %s, want no place in what a client wrote", got.body)
	}
	if got := a.want(400, "PUT", webPath, bad); !strings.Contains(got.field("message"), "line ") || strings.Contains(got.field("message"), "document") {
		t.Errorf("got %s, want the line", got.body)
	}
	a.want(400, "PUT", webPath+"?fieldValidation=Some", deployment("web", 2, "web:1"))
	a.want(400, "PUT", webPath+"?fieldValidation=Ignore", strings.Replace(bad, "replicas: 2", "replicas: many", 1))
}

func TestDelete(t *testing.T) {
	a := start(t, t.TempDir())
	o := a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1"))
	a.want(201, "POST", "/api/v1/namespaces/default/services", service("web"))
	a.want(409, "DELETE", webPath, `{"preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}`)
	for _, query := range []string{"propagationPolicy=Orphan", "propagationPolicy=All", "orphanDependents=true"} {
		a.want(400, "DELETE", webPath+"?"+query, "")
	}
	for _, body := range []string{`{"propagationPolicy":"Orphan"}`, `{"propagationPolicy":"All"}`, `{"orphanDependents":true}`, `[]`} {
		a.want(400, "DELETE", webPath, body)
	}
	a.want(200, "DELETE", webPath+"?dryRun=All", `{"orphanDependents":false,"gracePeriodSeconds":0,"propagationPolicy":"Foreground"}`)
	got := a.want(200, "DELETE", webPath, fmt.Sprintf(`{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background","preconditions":{"uid":%q}}`, o.field("metadata.uid")))
	if got.field("status") != "Success" || got.field("details.uid") != o.field("metadata.uid") || got.field("details.kind") != "deployments" {
		t.Errorf("got %s", got.body)
	}
	a.want(404, "GET", webPath, "")
	a.want(404, "DELETE", webPath, "")
	a.want(200, "GET", "/api/v1/namespaces/default/services/web", "")
	again := a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1"))
	if again.field("metadata.uid") == o.field("metadata.uid") {
		t.Error("an object that was made again has the uid of the one that was deleted")
	}
}

func TestDelete_collection(t *testing.T) {
	a := start(t, t.TempDir())
	for _, n := range []string{"a", "b", "c"} {
		a.want(201, "POST", deploymentsPath, deployment(n, 1, "web:1", "keep: "+map[string]string{"b": "please"}[n]))
	}
	before := len(remembered(a.ledger.View()))
	uid := a.want(200, "GET", deploymentsPath+"/a", "").field("metadata.uid")
	a.want(409, "DELETE", deploymentsPath, fmt.Sprintf(`{"preconditions":{"uid":%q}}`, uid)) // as it would be of each by itself
	a.want(409, "DELETE", deploymentsPath, fmt.Sprintf(`{"preconditions":{"resourceVersion":%q}}`, a.resourceVersion(1)))
	got := a.want(200, "DELETE", deploymentsPath+"?labelSelector=keep!%3Dplease", "")
	if got.field("items.0.metadata.name") != "a" || got.field("items.1.metadata.name") != "c" || got.field("items.2") != "" {
		t.Errorf("got %s", got.body)
	}
	if n := len(remembered(a.ledger.View())); n != before+1 {
		t.Errorf("%d commits, want 1", n-before)
	}
	left := a.want(200, "GET", deploymentsPath, "")
	if left.field("items.0.metadata.name") != "b" || left.field("items.1") != "" {
		t.Errorf("left: %s", left.body)
	}
	a.want(405, "DELETE", "/api/v1/namespaces", "")
}

// Deleting a namespace deletes all that is declared in it, in one commit.
func TestDelete_namespace(t *testing.T) {
	a := start(t, t.TempDir())
	in := func(ns string) string { return "/api/v1/manifests?namespace=" + ns }
	a.want(200, "POST", in("one"), docs(deployment("web", 1, "web:1"), service("web"), anIngress("web"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: one}\n"))
	a.want(200, "POST", in("two"), docs(deployment("web", 1, "web:1")))
	a.want(200, "POST", in("onetwo"), docs(deployment("web", 1, "web:1")))
	names := func() (all string) {
		got := a.want(200, "GET", "/api/v1/namespaces", "")
		for i := 0; got.field(fmt.Sprintf("items.%d.kind", i)) != ""; i++ {
			all += " " + got.field(fmt.Sprintf("items.%d.metadata.name", i))
		}
		return strings.TrimSpace(all)
	}
	if got, want := names(), "default one onetwo two"; got != want {
		t.Errorf("namespaces: got %s, want %s", got, want)
	}
	if got := a.want(403, "DELETE", "/api/v1/namespaces/default", ""); got.field("reason") != "Forbidden" {
		t.Errorf("got %s", got.body)
	}
	a.want(404, "DELETE", "/api/v1/namespaces/none", "")
	before := len(remembered(a.ledger.View()))
	a.want(200, "DELETE", "/api/v1/namespaces/one", "")
	a.want(200, "DELETE", "/api/v1/namespaces/two", "")
	if n := len(remembered(a.ledger.View())); n != before+2 {
		t.Errorf("%d commits, want 2", n-before)
	}
	if got, want := names(), "default onetwo"; got != want {
		t.Errorf("namespaces: got %s, want %s", got, want)
	}
	if got := a.want(200, "GET", "/apis/apps/v1/deployments", ""); got.field("items.0.metadata.namespace") != "onetwo" || got.field("items.1") != "" {
		t.Errorf("left: %s", got.body)
	}
	// A namespace that nobody has declared can be, also by changing it.
	a.want(200, "PATCH", "/api/v1/namespaces/onetwo", `{"metadata":{"labels":{"team":"x"}}}`, "Content-Type: application/merge-patch+json")
	a.want(200, "PATCH", "/api/v1/namespaces/default", `{"metadata":{"labels":{"team":"x"}}}`, "Content-Type: application/strategic-merge-patch+json")
	a.want(201, "POST", "/api/v1/namespaces", `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"three"}}`)
	if got := a.want(200, "GET", "/api/v1/namespaces?labelSelector=team%3Dx", ""); got.field("items.1.metadata.name") != "onetwo" {
		t.Errorf("got %s", got.body)
	}
}

func TestWrite_readOnlyKinds(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", "/api/v1/manifests", deployment("web", 1, "web:1"))
	a.place(projection.Pod{Namespace: "default", Deployment: "web"}, "h1", "")
	got := a.want(405, "DELETE", "/api/v1/namespaces/default/pods/web-0", "")
	if !strings.Contains(got.field("message"), "to have fewer, scale it") {
		t.Errorf("got %s, want what to do instead", got.body)
	}
	for _, path := range []string{"/api/v1/namespaces/default/events/x", "/api/v1/namespaces/default/pods/web-0"} {
		for _, method := range []string{"PUT", "PATCH", "DELETE"} {
			a.want(405, method, path, "{}")
		}
	}
	a.want(405, "POST", "/api/v1/namespaces/default/pods", "{}")
	a.want(405, "POST", "/api/v1/nodes", "{}")
}
