package api

import (
	"strings"
	"testing"
)

// hostly is a Deployment of a namespace in the network of its host, with a folder of it.
func hostly(name, namespace string) string {
	d := strings.Replace(deployment(name, 1, "w"), "metadata:", "metadata:\n  namespace: "+namespace, 1)
	return strings.Replace(d, "    spec:\n", "    spec:\n      hostNetwork: true\n      volumes: [{name: v, hostPath: {path: /}}]\n", 1)
}

// Who may write in some namespaces does not get hold of the hosts by what is declared there, in whichever way it is.
func TestConfined(t *testing.T) {
	a := start(t, t.TempDir())
	a.join("h1")
	team, all := a.token(`{"name":"tw","scope":"write","namespaces":["team"]}`), a.token(`{"name":"w","scope":"write"}`)
	o := a.listen()
	plain := strings.Replace(deployment("web", 1, "w"), "metadata:", "metadata:\n  namespace: team", 1)
	const web, db = "/apis/apps/v1/namespaces/team/deployments/web", "/apis/apps/v1/namespaces/team/deployments/db"
	a.want(200, "POST", apply, docs(plain, hostly("db", "team")))
	was := a.index()
	const toHost = `{"spec":{"template":{"spec":{"hostNetwork":true}}}}`
	for _, c := range []struct{ method, path, body string }{
		{"POST", apply, docs(plain, hostly("web2", "team"))},
		{"POST", apply + "?dryRun=All", hostly("web2", "team")},
		{"POST", apply, hostly("db", "team")}, // as it is
		{"POST", strings.TrimSuffix(web, "/web"), hostly("web2", "team")},
		{"PUT", web, hostly("web", "team")},
		{"PATCH", web, toHost},
		{"PATCH", db, `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"mine"}]}}}}`},
		{"PATCH", db + "/scale", `{"spec":{"replicas":2}}`},
	} {
		got := o.ask(nil, team, c.method, c.path, c.body)
		if message := got.field("message"); got.code != 422 || !strings.Contains(message, "spec.template.spec.hostNetwork: Forbidden") ||
			!strings.Contains(message, "not for token:tw, which has scope write in namespaces team only") {
			t.Errorf("%s %s: got %d %s", c.method, c.path, got.code, got.body)
		}
	}
	if a.index() != was {
		t.Errorf("%d events were recorded", a.index()-was)
	}
	got := o.ask(nil, team, "POST", apply, docs(plain, hostly("web2", "team"), hostly("web3", "team")))
	if n := len(strings.Split(got.field("message"), "\n")); n != 4 || !strings.Contains(got.field("message"), "document 3, line ") {
		t.Errorf("got %d lines: %s", n, got.body)
	}
	// What it may do, and who may do the rest.
	for _, c := range []struct {
		token, method, path, body string
	}{
		{team, "PATCH", web, `{"spec":{"replicas":2}}`},
		{team, "DELETE", db, ""},
		{all, "POST", apply, hostly("db", "team")},
		{all, "PATCH", web, toHost},
	} {
		if got := o.ask(nil, c.token, c.method, c.path, c.body); got.code != 200 {
			t.Errorf("%s %s: got %d %s", c.method, c.path, got.code, got.body)
		}
	}
}

// Nor by a conflict: what an admin had declared is not made to stand by who may not declare it.
func TestConfined_reapply(t *testing.T) {
	a, b := start(t, t.TempDir()), start(t, t.TempDir())
	plain := strings.Replace(deployment("web", 1, "w"), "metadata:", "metadata:\n  namespace: team", 1)
	a.want(200, "POST", apply, plain)
	b.hear(a)
	a.want(200, "POST", apply, hostly("web", "team"))
	b.want(200, "POST", apply, strings.Replace(plain, "replicas: 1", "replicas: 2", 1))
	a.hear(b)
	id := a.want(200, "GET", "/swarm/v1/conflicts", "").field("0.event")
	o, token := a.listen(), a.token(`{"name":"tw","scope":"write","namespaces":["team"]}`)
	if got := o.ask(nil, token, "POST", "/swarm/v1/conflicts/"+id+"/reapply", ""); got.code != 422 || !strings.Contains(got.field("message"), "hostNetwork") {
		t.Errorf("got %d %s", got.code, got.body)
	}
	if got := o.ask(nil, token, "POST", "/swarm/v1/conflicts/"+id+"/dismiss", ""); got.code != 200 {
		t.Errorf("got %d %s", got.code, got.body)
	}
}
