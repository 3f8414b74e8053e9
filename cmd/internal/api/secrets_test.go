package api

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/secret"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// keyed has the server seal by a key that is made of that byte.
func keyed(t *testing.T, b byte) func(*Server) {
	k, err := secret.NewKeys(bytes.Repeat([]byte{b}, secret.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return func(s *Server) {
		s.Secrets = k
		s.Document = func(st *projection.State) any {
			var b bytes.Buffer
			if err := snapshot.WriteDocument(&b, "h1", st); err != nil {
				t.Error(err)
			}
			return json.RawMessage(b.Bytes())
		}
	}
}

// forms are what a text looks like in clear, and in base64, wherever in something longer it stands.
func forms(text string) []string {
	all := []string{text}
	for shift := range 3 {
		b := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
		all = append(all, strings.TrimRight(b, "=")[(shift*8+5)/6:len(strings.TrimRight(b, "="))-1])
	}
	return all
}

// sealedUp checks that nothing of what is told, and nothing in a folder, holds a text.
func sealedUp(t *testing.T, text string, told map[string]string, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			told[path] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for where, what := range told {
		for _, form := range forms(text) {
			if i := strings.Index(what, form); i >= 0 {
				t.Errorf("%s holds %q: …%s…", where, form, what[max(0, i-100):min(len(what), i+100)])
			}
		}
	}
}

const sesame = "open-sesame-4711"

func opaqueSecret(name, value string) string {
	return `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"` + name + `"},"stringData":{"password":"` + value + `"}}`
}

// asKubectl is what kubectl apply sends of it at first: with all of it in an annotation once more.
func asKubectl(t *testing.T, manifest string) string {
	t.Helper()
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(manifest, `"metadata":{`, `"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":`+string(text)+`},`, 1)
}

// A Secret is declared, changed, patched, undone, deleted and lost in a conflict, with right and with wrong input; and of its values,
// nothing is told by anything but the Secret itself, to who may change it.
func TestSecret_itsValuesStandNowhere(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir, keyed(t, 1))
	past(t, a)
	const path = "/api/v1/namespaces/default/secrets"
	a.want(201, "POST", path, asKubectl(t, opaqueSecret("db", sesame)))
	a.want(409, "POST", path, opaqueSecret("db", sesame))
	a.want(200, "PATCH", path+"/db", `{"stringData":{"more":"`+sesame+`2"},"metadata":{"labels":{"a":"b"}}}`, "Content-Type: application/merge-patch+json")
	a.want(200, "PATCH", path+"/db", `[{"op":"test","path":"/data/password","value":"`+base64.StdEncoding.EncodeToString([]byte(sesame))+`"},{"op":"remove","path":"/data/more"}]`,
		"Content-Type: application/json-patch+json")
	applied := a.want(200, "POST", "/api/v1/manifests", opaqueSecret("db", sesame+"3"))
	dry := a.want(200, "POST", "/api/v1/manifests?dryRun=All", opaqueSecret("db", sesame+"4"))
	told := map[string]string{"the answer to apply": string(applied.body), "that to a dry run": string(dry.body)}
	for i, wrong := range []struct{ method, path, body, typ string }{
		{"POST", path, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"},"data":{"a":"` + sesame + `"}}`, ""},
		{"POST", path, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"},"stringData":{"a":["` + sesame + `"]}}`, ""},
		{"POST", path, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"},"stringData":{"a":"` + sesame, ""},
		{"POST", path, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"},"type":"kubernetes.io/tls","stringData":{"tls.crt":"` + sesame + `","tls.key":"` + sesame + `"}}`, ""},
		{"POST", "/api/v1/manifests", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: *" + sesame + "}", ""},
		{"POST", "/api/v1/manifests", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: !" + sesame + " x}", ""},
		{"PATCH", path + "/db", `{"data":{"a":"` + sesame + `"}}`, "application/merge-patch+json"},
		{"PATCH", path + "/db", `{"data":["` + sesame + `"]}`, "application/strategic-merge-patch+json"},
		{"PATCH", path + "/db", `{"data":{"$patch":"` + sesame + `"}}`, "application/strategic-merge-patch+json"},
		{"PATCH", path + "/db", `[{"op":"test","path":"/data/password","value":"` + sesame + `"}]`, "application/json-patch+json"},
		{"PUT", path + "/db", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"type":"kubernetes.io/tls","stringData":{"a":"` + sesame + `"}}`, ""},
	} {
		headers := []string{}
		if wrong.typ != "" {
			headers = append(headers, "Content-Type: "+wrong.typ)
		}
		got := a.do(wrong.method, wrong.path, wrong.body, headers...)
		if got.code < 400 || got.code >= 500 {
			t.Errorf("wrong input %d: got %d %s", i, got.code, got.body)
		}
		told[fmt.Sprint("refusal ", i)] = string(got.body)
	}
	undone := a.want(200, "POST", "/swarm/v1/undo?event="+strconv.FormatUint(a.index(), 10), "")
	if got := a.want(200, "GET", path+"/db", "").field("data.password"); got != base64.StdEncoding.EncodeToString([]byte(sesame)) {
		t.Errorf("after the undo the password is %s", got)
	}
	told["the answer to undo"] = string(undone.body)
	for _, read := range []string{"/swarm/v1/state", "/swarm/v1/events", "/swarm/v1/history/secret/default/db", "/swarm/v1/blame/secret/default/db",
		"/swarm/v1/diff?from=1&to=now", "/swarm/v1/status", "/swarm/v1/conflicts", "/api/v1/events", "/api/v1/namespaces"} {
		told[read] = string(a.want(200, "GET", read, "").body)
	}
	if !strings.Contains(told["/swarm/v1/diff?from=1&to=now"], "bytes, sealed by key") && !strings.Contains(told["/swarm/v1/blame/secret/default/db"], "16 bytes, sealed by key") {
		t.Errorf("blame tells nothing of the values: %s", told["/swarm/v1/blame/secret/default/db"])
	}
	told["the log lines"] = a.said.String()
	sealedUp(t, sesame, told, dir)
}

// Line by line: the same is unchanged, what kubectl keeps comes back as it was, and versions count.
func TestSecret_appliedAgainIsUnchanged(t *testing.T) {
	a := start(t, t.TempDir(), keyed(t, 1))
	const one = "/api/v1/namespaces/default/secrets/db"
	first := asKubectl(t, opaqueSecret("db", sesame))
	created := a.want(201, "POST", "/api/v1/namespaces/default/secrets", first)
	if got := created.field("data.password"); got != base64.StdEncoding.EncodeToString([]byte(sesame)) || created.field("stringData") != "" || created.field("type") != "Opaque" {
		t.Errorf("created: %s", created.body)
	}
	index := a.index()
	for _, again := range []func() answer{
		func() answer { return a.want(200, "PUT", one, first) },
		func() answer {
			return a.want(200, "PATCH", one, first, "Content-Type: application/strategic-merge-patch+json")
		},
		func() answer { return a.want(200, "GET", one, "") },
	} {
		got := again()
		if got.field("metadata.resourceVersion") != created.field("metadata.resourceVersion") || a.index() != index {
			t.Errorf("the same again is another version: %s", got.body)
		}
		if text := got.field("metadata.annotations.kubectl~kubernetes~io/last-applied-configuration"); text != opaqueSecret("db", sesame) {
			t.Errorf("last applied: %q", text)
		}
	}
	got := a.want(200, "POST", "/api/v1/manifests", first+"\n---\n"+opaqueSecret("two", ""))
	if got.field("results.0.action") != "unchanged" || got.field("results.1.action") != "created" {
		t.Errorf("got %s", got.body)
	}
	if got := a.want(200, "DELETE", "/api/v1/manifests/default/two?kind=secret", ""); got.field("results.0.action") != "deleted" {
		t.Errorf("got %s", got.body)
	}
	if got := a.want(200, "GET", "/api/v1/secrets", ""); got.field("kind") != "SecretList" || got.field("items.0.data.password") == "" || got.field("items.1") != "" {
		t.Errorf("got %s", got.body)
	}
	a.want(200, "DELETE", one, "")
	a.want(404, "GET", one, "")
}

// Who may only read is told which values there are, and how long they are; it is refused as something to declare.
func TestSecret_valuesTakeScopeWrite(t *testing.T) {
	a := start(t, t.TempDir(), keyed(t, 1))
	a.want(201, "POST", "/api/v1/namespaces/team/secrets", asKubectl(t, strings.Replace(opaqueSecret("db", sesame), `"name"`, `"namespace":"team","name"`, 1)))
	read, write := a.token(`{"name":"r","scope":"read"}`), a.token(`{"name":"w","scope":"write"}`)
	other, team := a.token(`{"name":"o","scope":"write","namespaces":["other"]}`), a.token(`{"name":"t","scope":"write","namespaces":["team"]}`)
	o := a.listen()
	const one = "/api/v1/namespaces/team/secrets/db"
	for _, w := range []string{write, team} {
		if got := o.ask(nil, w, "GET", one, ""); got.field("data.password") != base64.StdEncoding.EncodeToString([]byte(sesame)) {
			t.Errorf("scope write: got %d %s", got.code, got.body)
		}
	}
	if got := o.ask(nil, other, "GET", one, ""); got.code != 403 {
		t.Errorf("scope write of another namespace: got %d %s", got.code, got.body)
	}
	told := map[string]string{}
	for _, path := range []string{one, "/api/v1/secrets", one + "?watch=true&timeoutSeconds=1", "/swarm/v1/history/secret/team/db", "/swarm/v1/events"} {
		told[path] = string(o.ask(nil, read, "GET", path, "").body)
	}
	sealedUp(t, sesame, told)
	shown := o.ask(nil, read, "GET", one, "")
	if got := shown.field("metadata.annotations.podman-swarm~github~com/withheld"); !strings.HasPrefix(got, "password: 16 bytes; ") || shown.field("data") != `{"password":""}` {
		t.Errorf("scope read: got %s", shown.body)
	}
	if got := a.want(422, "PUT", one, string(shown.body)); !strings.Contains(string(got.body), "shown without its values") {
		t.Errorf("got %s", got.body)
	}
}

// A host without the key folds, lists, deletes and replaces, and says what it cannot do.
func TestSecret_onAHostWithoutTheKey(t *testing.T) {
	a, b := start(t, t.TempDir(), keyed(t, 1)), start(t, t.TempDir(), keyed(t, 2))
	const one = "/api/v1/namespaces/default/secrets/db"
	a.want(200, "POST", "/api/v1/manifests", opaqueSecret("db", sesame))
	b.hear(a)
	got := b.want(200, "GET", one, "")
	if why := got.field("metadata.annotations.podman-swarm~github~com/withheld"); !strings.Contains(why, "does not have the key") || got.field("data.password") != "" {
		t.Errorf("got %s", got.body)
	}
	if got := b.want(200, "GET", "/swarm/v1/status", "").field("problems.0.what"); !strings.Contains(got, "default/db (key ") {
		t.Errorf("status: got %q", got)
	}
	if got := b.want(409, "PATCH", one, `{"metadata":{"annotations":null}}`, "Content-Type: application/merge-patch+json"); !strings.Contains(string(got.body), "does not have the key") {
		t.Errorf("got %s", got.body)
	}
	if got := b.want(200, "POST", "/api/v1/manifests", opaqueSecret("db", sesame)).field("results.0.action"); got != "configured" {
		t.Errorf("applied again by another key: got %s", got)
	}
	a.hear(b)
	if got := b.want(200, "GET", one, "").field("data.password"); got != base64.StdEncoding.EncodeToString([]byte(sesame)) {
		t.Errorf("got %s", got)
	}
	a.want(200, "DELETE", one, "")
}

func TestSecret_notServedWithoutKeys(t *testing.T) {
	a := start(t, t.TempDir())
	if got := a.want(501, "POST", "/api/v1/manifests", opaqueSecret("db", sesame)); strings.Contains(string(got.body), sesame) {
		t.Errorf("got %s", got.body)
	}
	if a.index() != 0 {
		t.Error("it was recorded")
	}
}

// Two hosts that change a Secret unseen of each other: the conflict tells no values, and is ended with them.
func TestSecret_conflict(t *testing.T) {
	dir := t.TempDir()
	a, b := start(t, dir, keyed(t, 1)), start(t, t.TempDir(), keyed(t, 1))
	a.want(200, "POST", "/api/v1/manifests", opaqueSecret("db", "first"))
	b.hear(a)
	a.want(200, "POST", "/api/v1/manifests", opaqueSecret("db", sesame+"a"))
	time.Sleep(time.Millisecond) // within one, the greater incarnation wins
	b.want(200, "POST", "/api/v1/manifests", opaqueSecret("db", sesame+"b"))
	a.hear(b)
	b.hear(a)
	lost := a.want(200, "GET", "/swarm/v1/conflicts", "")
	shown := a.want(200, "GET", "/swarm/v1/conflicts/"+lost.field("0.event"), "")
	ended := a.want(200, "POST", "/swarm/v1/conflicts/"+lost.field("0.event")+"/reapply", "")
	sealedUp(t, sesame, map[string]string{"list": string(lost.body), "shown": string(shown.body), "ended": string(ended.body)}, dir)
	if got := a.want(200, "GET", "/api/v1/namespaces/default/secrets/db", "").field("data.password"); got != base64.StdEncoding.EncodeToString([]byte(sesame+"a")) {
		t.Errorf("reapplied: got %s", got)
	}
	agreed(t, a, b)
}

// A pair of certificate and key is taken, and its mistakes are told by line.
func TestSecret_pairs(t *testing.T) {
	a := start(t, t.TempDir(), keyed(t, 1))
	manifest := func(cert, key string) string {
		indent := func(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ") }
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n    " + indent(cert) + "\n  tls.key: |\n    " + indent(key) + "\n"
	}
	pair := func() (cert, key string) {
		c := newAuthority(t).sign("web", nil)
		der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	cert, key := pair()
	_, other := pair()
	got := a.want(422, "POST", "/api/v1/manifests", manifest(cert, other))
	if got.field("mistakes.0.field") != "stringData[tls.key]" || got.field("mistakes.0.line") != strconv.Itoa(7+strings.Count(cert, "\n")) {
		t.Errorf("got %s", got.body)
	}
	a.want(200, "POST", "/api/v1/manifests", manifest(cert, key))
	r := &secret.Reader{View: a.ledger.View, Keys: a.Secrets}
	c, k, version, err := r.Secret("default", "web")
	if string(c) != cert || string(k) != key || version == "" || err != nil {
		t.Errorf("the ingress is given %q, %d bytes, %v", c, len(k), err)
	}
	if got := a.want(422, "POST", "/api/v1/namespaces/default/secrets",
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"},"type":"kubernetes.io/basic-auth","data":{}}`); !strings.Contains(string(got.body), "kubernetes.io/tls") {
		t.Errorf("got %s", got.body)
	}
}
