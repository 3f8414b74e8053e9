package api

import (
	"fmt"
	"strings"
	"testing"
)

const configMapsPath = "/api/v1/namespaces/default/configmaps"

// configMap is one in JSON, with more behind its name: `"data":{"a":"x"}`.
func configMap(name, more string) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `"},` + more + `}`
}

// A ConfigMap is created, watched, listed, replaced, patched in each way that there is, blamed, taken back and deleted, as any kind is.
func TestConfigMap(t *testing.T) {
	a := start(t, t.TempDir())
	past(t, a)
	w := a.follow("/api/v1/configmaps?watch=true")
	const one = configMapsPath + "/app"
	a.want(201, "POST", configMapsPath, configMap("app", `"data":{"LEVEL":"info","app.conf":"a\nb\n"},"binaryData":{"logo":"AP8="}`))
	created := w.wantEvents("ADDED app")
	if got := created.field("data.LEVEL") + created.field("binaryData.logo") + created.field("metadata.generation"); got != "infoAP8=1" {
		t.Errorf("got %s", created.body)
	}
	if got := a.want(409, "POST", configMapsPath, configMap("app", `"data":{}`)); got.field("reason") != "AlreadyExists" {
		t.Errorf("created again: %s", got.body)
	}
	list := a.want(200, "GET", "/api/v1/configmaps", "")
	if list.field("kind") != "ConfigMapList" || list.field("items.0.data.app~conf") != "a\nb\n" || list.field("items.1") != "" {
		t.Errorf("got %s", list.body)
	}
	for _, p := range []struct{ typ, patch, want string }{
		{"strategic-merge-patch", `{"data":{"LEVEL":"debug","MORE":"x"}}`, `{"LEVEL":"debug","MORE":"x","app.conf":"a\nb\n"}`},
		{"merge-patch", `{"data":{"MORE":null}}`, `{"LEVEL":"debug","app.conf":"a\nb\n"}`},
		{"json-patch", `[{"op":"remove","path":"/data/app.conf"}]`, `{"LEVEL":"debug"}`},
	} {
		got := a.want(200, "PATCH", one, p.patch, "Content-Type: application/"+p.typ+"+json")
		if got.field("data") != p.want || got.field("binaryData.logo") != "AP8=" {
			t.Errorf("%s: got %s, want %s", p.typ, got.body, p.want)
		}
	}
	w.wantEvents("MODIFIED app", "MODIFIED app", "MODIFIED app")
	if got := a.want(200, "PUT", one, configMap("app", `"data":{"LEVEL":"warn"}`)); got.field("binaryData") != "" || got.field("metadata.generation") != "5" {
		t.Errorf("replaced: %s", got.body)
	}
	if got := results(t, a.want(200, "POST", apply, configMap("app", `"data":{"LEVEL":"error"}`))); got != `configured ConfigMap default/app data.LEVEL:"warn">"error"` {
		t.Errorf("got %s", got)
	}
	if got := results(t, a.want(200, "POST", apply, configMap("app", `"data":{"LEVEL":"error"},"binaryData":{}`))); got != "unchanged ConfigMap default/app" {
		t.Errorf("got %s", got)
	}
	if got := a.want(200, "GET", "/swarm/v1/blame/configmap/default/app", ""); !strings.Contains(string(got.body), `"data.LEVEL"`) {
		t.Errorf("blame: %s", got.body)
	}
	a.want(200, "POST", "/swarm/v1/undo?event=6", "")
	if got := a.want(200, "GET", one, "").field("data"); got != `{"LEVEL":"warn"}` {
		t.Errorf("taken back: got %s", got)
	}
	w.wantEvents("MODIFIED app", "MODIFIED app", "MODIFIED app")
	a.want(200, "DELETE", one, "")
	w.wantEvents("DELETED app")
	a.want(404, "GET", one, "")
	a.want(200, "POST", "/swarm/v1/undo?event=8", "")
	w.wantEvents("ADDED app")
}

// What is deleted by name, by selector and with its namespace goes, and nothing else.
func TestConfigMap_deletedWithOthers(t *testing.T) {
	a := start(t, t.TempDir())
	in := func(namespace, name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: " + namespace + ", labels: {of: " + name + "}}\ndata: {a: x}\n"
	}
	a.want(200, "POST", apply, docs(in("team", "a"), in("team", "b"), in("other", "a"), in("other", "c")))
	if got := a.want(200, "GET", "/api/v1/namespaces/team", "").field("status.phase"); got != "Active" { // there is something in it
		t.Errorf("got %q", got)
	}
	names := func(want string) {
		t.Helper()
		got := ""
		for list, i := a.want(200, "GET", "/api/v1/configmaps", ""), 0; list.field("items."+string(rune('0'+i))) != ""; i++ {
			at := "items." + string(rune('0'+i)) + ".metadata."
			got += list.field(at+"namespace") + "/" + list.field(at+"name") + " "
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	names("other/a other/c team/a team/b ")
	a.want(200, "DELETE", "/api/v1/namespaces/team", "")
	names("other/a other/c ")
	a.want(200, "DELETE", "/api/v1/namespaces/other/configmaps?labelSelector=of%3Da", "")
	names("other/c ")
	if got := a.want(200, "DELETE", "/api/v1/manifests/other/c?kind=cm", ""); got.field("results.0.action") != "deleted" {
		t.Errorf("got %s", got.body)
	}
	names("")
}

// What is immutable is changed by no way in, an undo included; deleted and made anew it may be, and a restore brings back what was.
func TestConfigMap_immutable(t *testing.T) {
	a := restoring(t, func(*Server) {})
	past(t, a)
	const one = configMapsPath + "/app"
	a.want(200, "POST", apply, configMap("app", `"data":{"a":"x"}`))
	backup := a.want(201, "POST", "/swarm/v1/backups", "").field("name")
	a.want(200, "POST", apply, configMap("app", `"data":{"a":"z"},"immutable":true`))
	fixed := a.index()
	for _, c := range []struct {
		method, path, body, header string
		code                       int
	}{
		{"POST", apply, configMap("app", `"data":{"a":"w"},"immutable":true`), "", 422},
		{"POST", apply + "?dryRun=All", configMap("app", `"data":{"a":"w"},"immutable":true`), "", 422},
		{"PUT", one, configMap("app", `"data":{"a":"z"}`), "", 422},
		{"PATCH", one, `{"binaryData":{"b":"AA=="}}`, "Content-Type: application/merge-patch+json", 422},
		{"PATCH", one, `{"immutable":null}`, "Content-Type: application/strategic-merge-patch+json", 422},
		{"POST", "/swarm/v1/undo?event=3", "", "", 409},
	} {
		header := c.header
		if header == "" {
			header = "Content-Type: application/json"
		}
		got := a.want(c.code, c.method, c.path, c.body, header)
		if !strings.Contains(got.field("message"), "field is immutable when `immutable` is set") || a.index() != fixed {
			t.Errorf("%s %s: got %s", c.method, c.path, got.body)
		}
	}
	a.want(200, "PATCH", one, `{"metadata":{"labels":{"l":"x"}}}`, "Content-Type: application/merge-patch+json")
	a.want(200, "DELETE", one, "")
	a.want(201, "POST", configMapsPath, configMap("app", `"data":{"a":"w"},"immutable":true`))
	a.want(200, "POST", "/swarm/v1/backups/"+backup+"/restore?only=configmap", "")
	if got := a.want(200, "GET", one, ""); got.field("data.a") != "x" || got.field("immutable") != "" {
		t.Errorf("restored: %s", got.body)
	}
}

// A token of some namespaces has the ConfigMaps of those, and one that may read changes none.
func TestConfigMap_scopes(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply+"?namespace=team", configMap("app", `"data":{"a":"x"}`))
	read, team := a.token(`{"name":"r","scope":"read"}`), a.token(`{"name":"t","scope":"write","namespaces":["team"]}`)
	o := a.listen()
	const of, other = "/api/v1/namespaces/team/configmaps", "/api/v1/namespaces/other/configmaps"
	for _, c := range []struct {
		token, method, path, body string
		code                      int
	}{
		{read, "GET", of + "/app", "", 200}, {read, "GET", "/api/v1/configmaps", "", 200}, {read, "POST", of, configMap("b", `"data":{}`), 403}, {read, "DELETE", of + "/app", "", 403},
		{team, "POST", of, configMap("b", `"data":{}`), 201}, {team, "POST", apply + "?namespace=team", configMap("c", `"data":{}`), 200}, {team, "DELETE", of + "/app", "", 200},
		{team, "GET", other, "", 403}, {team, "GET", "/api/v1/configmaps", "", 403}, {team, "POST", other, configMap("b", `"data":{}`), 403}, {team, "POST", apply + "?namespace=other", configMap("b", `"data":{}`), 403},
	} {
		if got := o.ask(nil, c.token, c.method, c.path, c.body); got.code != c.code {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, got.code, got.body, c.code)
		}
	}
}

// What is wrong with one is a 422 by Kubernetes' paths, and a 400 of a manifest with its line.
func TestConfigMap_wrong(t *testing.T) {
	a := start(t, t.TempDir())
	for more, want := range map[string]string{
		`"data":{"a b":"x"}`:                                   "data[a b]",
		`"data":{"a":"x"},"binaryData":{"a":"AA=="}`:           "duplicate of key present in data",
		`"binaryData":{"` + strings.Repeat("a", 254) + `":""}`: "253",
		`"data":{"a":"` + strings.Repeat("x", 1<<20+1) + `"}`:  "may not be more than 1048576 bytes in data and binaryData together",
	} {
		if got := a.want(422, "POST", configMapsPath, configMap("app", more)); got.field("reason") != "Invalid" || !strings.Contains(got.field("message"), want) {
			t.Errorf("%.60s: got %.300s", more, got.body)
		}
	}
	if got := a.want(400, "POST", configMapsPath, configMap("app", `"data":{"a":1}`)); !strings.Contains(got.field("message"), "data[a]") {
		t.Errorf("got %s", got.body)
	}
	if got := a.want(400, "POST", apply, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata:\n  port: 80\n"); !strings.Contains(got.field("message"), "line 5: ConfigMap default/app: data[port]") {
		t.Errorf("got %s", got.body)
	}
	if a.index() != 0 {
		t.Error("something was recorded")
	}
}

// Two hosts that change one unseen of each other: what lost can be had, but not over one that is immutable by now.
func TestConfigMap_conflict(t *testing.T) {
	for _, immutable := range []bool{false, true} {
		a, b := start(t, t.TempDir()), start(t, t.TempDir())
		with := func(value string) string {
			return configMap("app", fmt.Sprintf(`"data":{"a":%q},"immutable":%v`, value, immutable))
		}
		a.want(200, "POST", apply, configMap("app", `"data":{"a":"first"}`))
		b.hear(a)
		a.want(200, "POST", apply, with("one"))
		b.want(200, "POST", apply, with("two"))
		a.hear(b)
		b.hear(a)
		lost := a.want(200, "GET", "/swarm/v1/conflicts", "").field("0.event")
		shown := a.want(200, "GET", configMapsPath+"/app", "").field("data.a")
		if immutable {
			if got := a.want(422, "POST", "/swarm/v1/conflicts/"+lost+"/reapply", ""); !strings.Contains(got.field("message"), "data: Forbidden: field is immutable") {
				t.Errorf("got %s", got.body)
			}
			a.want(200, "POST", "/swarm/v1/conflicts/"+lost+"/dismiss", "")
		} else {
			a.want(200, "POST", "/swarm/v1/conflicts/"+lost+"/reapply", "")
			shown = map[string]string{"one": "two", "two": "one"}[shown]
		}
		if got := a.want(200, "GET", configMapsPath+"/app", "").field("data.a"); got != shown {
			t.Errorf("immutable %v: got %s, want %s", immutable, got, shown)
		}
		if got := a.want(200, "GET", "/swarm/v1/conflicts", "").field("0.event"); got != "" {
			t.Errorf("there is still the conflict %s", got)
		}
		agreed(t, a, b)
	}
}
