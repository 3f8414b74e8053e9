package api

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// results is "created Deployment default/web: field field, …".
func results(t *testing.T, got answer) string {
	t.Helper()
	var a Applied
	if err := json.Unmarshal(got.body, &a); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range a.Results {
		line := r.Action + " " + r.Kind + " " + r.Namespace + "/" + r.Name
		for _, c := range r.Changes {
			line += fmt.Sprintf(" %s:%s>%s", c.Field, c.Old, c.New)
		}
		all = append(all, line)
	}
	return strings.Join(all, "; ")
}

func TestManifests(t *testing.T) {
	a := start(t, t.TempDir())
	const path = "/api/v1/manifests"
	all := docs(deployment("web", 2, "web:1"), service("web"), anIngress("web"))
	for _, c := range []struct {
		name, query, body, want string
		index                   int
	}{
		{"dry run", "?dryRun=All", all, "created Deployment default/web; created Service default/web; created Ingress default/web", 0},
		{"new", "", all, "created Deployment default/web; created Service default/web; created Ingress default/web", 3},
		{"the same", "", all, "unchanged Deployment default/web; unchanged Service default/web; unchanged Ingress default/web", 3},
		{"one changed", "", docs(deployment("web", 3, "web:1"), service("web")),
			"configured Deployment default/web spec.replicas:2>3; unchanged Service default/web", 4},
		{"lists by name", "", strings.Replace(deployment("web", 3, "web:2", "a.b/c: d"), "        ports:", "        env: [{name: A, value: x}]\n        ports:", 1),
			`configured Deployment default/web metadata.labels:>{"a.b/c":"d"} spec.template.spec.containers[web].env:>[{"name":"A","value":"x"}] spec.template.spec.containers[web].image:"web:1">"web:2"`, 5},
		{"env in front", "", strings.Replace(deployment("web", 3, "web:2", "a.b/c: e"), "        ports:", "        env: [{name: Z, value: <1>}, {name: A, value: x}]\n        ports:", 1),
			`configured Deployment default/web metadata.labels[a.b/c]:"d">"e" spec.template.spec.containers[web].env[Z]:>{"name":"Z","value":"<1>"}`, 6},
		{"other namespace", "?namespace=prod", service("web"), "created Service prod/web", 7},
		{"JSON", "", `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"ns"}}`, "created Namespace /ns", 8},
	} {
		got := a.want(200, "POST", path+c.query, c.body)
		if r := results(t, got); r != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, r, c.want)
		}
		if a.index() != uint64(c.index) || got.field("index") != fmt.Sprint(c.index) {
			t.Errorf("%s: index %s, %d events, want %d", c.name, got.field("index"), a.index(), c.index)
		}
	}
	steps := remembered(a.ledger.View())
	if c := steps[0].Commit; len(c.Events) != 3 || !strings.HasPrefix(c.Actor, "local Go-http-client") || c.Cause != "apply" {
		t.Errorf("commit: got %d events by %q for %q", len(c.Events), c.Actor, c.Cause)
	}
	got := a.want(200, "POST", path+"?cause="+url.QueryEscape("ticket 7\n\x1b[31m"), deployment("web", 9, "web:1"))
	steps = remembered(a.ledger.View())
	if c := steps[len(steps)-1].Commit; c.Cause != "ticket 7[31m" || got.field("commit") != c.ID(0).String() {
		t.Errorf("got cause %q, commit %s, want %s", c.Cause, got.field("commit"), c.ID(0))
	}
}

// Lines 25 and 26 of what went wrong before: an error in one document applied those before it, and what a manifest
// said wrongly was dropped in silence. Nothing is applied, and every mistake is told with its line.
func TestManifests_mistakes(t *testing.T) {
	a := start(t, t.TempDir())
	bad := docs(deployment("ok", 1, "web:1"), service("Bad_Name"), strings.Replace(deployment("x", 1, "w"), "replicas:", "replica:", 1))
	got := a.want(400, "POST", "/api/v1/manifests", bad)
	var r Refusal
	if err := json.Unmarshal(got.body, &r); err != nil {
		t.Fatal(err)
	}
	if r.Kind != "Status" || r.Code != 400 || len(r.Mistakes) != 2 || len(r.Details.Causes) != 2 {
		t.Fatalf("got %s", got.body)
	}
	for i, want := range []Mistake{
		{Document: 2, Line: 22, Object: "Service default/Bad_Name", Field: "metadata.name", Reason: "FieldValueInvalid"},
		{Document: 3, Line: 33, Object: "Deployment default/x", Field: "spec.replica", Reason: "FieldUnknown"},
	} {
		m := r.Mistakes[i]
		m.Message = ""
		if m != want {
			t.Errorf("got %+v, want %+v", m, want)
		}
	}
	// What is wrong only beside what is there.
	a.want(200, "POST", "/api/v1/manifests", deployment("web", 1, "web:1"))
	moved := strings.Replace(deployment("web", 1, "web:1"), "{app: web}", "{app: other}", 2)
	got = a.want(422, "POST", "/api/v1/manifests", docs(service("new"), moved))
	if err := json.Unmarshal(got.body, &r); err != nil {
		t.Fatal(err)
	}
	if m := r.Mistakes[0]; m.Document != 2 || m.Line == 0 || m.Field != "spec.selector" || m.Object != "Deployment default/web" {
		t.Errorf("got %+v", m)
	}
	if a.index() != 1 {
		t.Errorf("%d events, want 1", a.index())
	}
	a.want(404, "GET", deploymentsPath+"/ok", "")
	a.want(404, "GET", "/api/v1/namespaces/default/services/new", "")
}

// Line 23 of what went wrong before: a null where an object should be ended the program.
func TestManifests_nullsAndOtherNonsense(t *testing.T) {
	a := start(t, t.TempDir())
	for _, body := range []string{"", "null", "~", "[]", "[null]", "0", `""`, "---\n---\n", "{}", `{"kind":null}`, "\x00", "a: [", "%", "{\"a\":",
		`{"kind":"List","apiVersion":"v1","items":[null]}`, `{"kind":"Deployment","apiVersion":"apps/v1","metadata":null,"spec":null}`,
		`{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"x"},"spec":{"template":null,"selector":null}}`,
		`{"kind":"Pod","apiVersion":"v1"}`, "&a [*a]", strings.Repeat("[", 100000)} {
		for _, path := range []string{"/api/v1/manifests", deploymentsPath} {
			if got := a.do("POST", path, body); got.code != 400 && got.code != 422 || got.field("kind") != "Status" {
				t.Errorf("%.20q to %s: got %d %.300s", body, path, got.code, got.body)
			}
		}
		for _, as := range []string{asMerge, asStrategic, asJSONPatch} {
			a.do("PATCH", webPath, body, as)
		}
	}
	if a.index() != 0 || strings.Contains(a.said.String(), "panic") {
		t.Errorf("%d events; said:\n%s", a.index(), a.said)
	}
}

// Line 24 of what went wrong before: a delete removed everything of a name, and always said that it had.
func TestManifests_deleteNeedsAKind(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", "/api/v1/manifests", docs(deployment("web", 2, "web:1"), service("web"), anIngress("web")))
	const path = "/api/v1/manifests/default/web"
	if got := a.want(400, "DELETE", path, ""); !strings.Contains(got.field("message"), "deployment, ingress, service") {
		t.Errorf("got %s, want what there is of that name", got.body)
	}
	a.want(400, "DELETE", path+"?kind=pod", "")
	a.want(400, "DELETE", path+"?kind=namespace", "")
	a.want(404, "DELETE", "/api/v1/manifests/default/none?kind=deployment", "")
	a.want(404, "DELETE", "/api/v1/manifests/other/web?kind=deployment", "")
	if got := results(t, a.want(200, "DELETE", path+"?kind=Service&dryRun=All", "")); got != "deleted Service default/web" || a.index() != 3 {
		t.Errorf("dry run: got %s, %d events", got, a.index())
	}
	got := a.want(200, "DELETE", path+"?kind=svc", "")
	if results(t, got) != "deleted Service default/web" || got.field("commit") == "" || got.field("index") != "4" {
		t.Errorf("got %s", got.body)
	}
	a.want(404, "DELETE", path+"?kind=svc", "")
	a.want(200, "GET", webPath, "")
	a.want(200, "GET", "/apis/networking.k8s.io/v1/namespaces/default/ingresses/web", "")
}

// Whole or not at all, also for those who look while it happens.
func TestManifests_nobodySeesAPart(t *testing.T) {
	a := start(t, t.TempDir())
	var wg sync.WaitGroup
	const rounds = 50
	both := func(n int) string { return docs(deployment("a", n, "web:1"), deployment("b", n, "web:1")) }
	a.want(200, "POST", "/api/v1/manifests", both(0))
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got := a.do("GET", deploymentsPath, "")
				if x, y := got.field("items.0.spec.replicas"), got.field("items.1.spec.replicas"); x != y {
					t.Errorf("a part of a manifest is to be seen: %s and %s", x, y)
					return
				}
			}
		})
	}
	for i := range rounds {
		a.want(200, "POST", "/api/v1/manifests", both(i+1))
	}
	close(done)
	wg.Wait()
}
