package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// What hosts of a later version declare of a kind that this one lacks, as an agent that is older than ConfigMaps lacks those: it stays whole in the state, and
// is restored; nothing here serves it, takes a change of it back, or ends it with its namespace.
func TestKind_ofALaterVersion(t *testing.T) {
	a := restoring(t, func(*Server) {})
	past(t, a)
	const key, object = "later/team/app", `{"kind":"Later","apiVersion":"v1","metadata":{"name":"app","namespace":"team"},"data":{"a":"<x>"}}`
	declare := func(object string) {
		t.Helper()
		a.record(projection.Change{Kind: events.Declared, Key: key, Object: json.RawMessage(object)})
	}
	is := func(want string) {
		t.Helper()
		o, ok := a.ledger.View().Lookup(key)
		if got := ""; !ok && want != "" || ok && string(o.Version.Object) != want {
			if ok {
				got = string(o.Version.Object)
			}
			t.Errorf("got %q, want %q", got, want)
		}
	}
	declare(object)
	a.want(404, "GET", "/api/v1/namespaces/team/laters/app", "")
	if got := a.want(422, "POST", apply, object); !strings.Contains(got.field("message"), `no kind "Later"`) {
		t.Errorf("got %s", got.body)
	}
	if got := a.want(422, "POST", "/swarm/v1/undo?event=1", ""); !strings.Contains(got.field("message"), key+" was declared: only what people declare of deployments") {
		t.Errorf("got %s", got.body)
	}
	backup := a.want(201, "POST", "/swarm/v1/backups", "").field("name")
	if got := string(a.want(200, "GET", "/swarm/v1/backups/"+backup, "").body); !strings.Contains(got, `"`+key+`": {"kind":"declared"`) || !strings.Contains(got, object) {
		t.Errorf("it is not in %s", got)
	}
	a.want(200, "POST", apply, "{apiVersion: v1, kind: Namespace, metadata: {name: team}}")
	a.want(200, "DELETE", "/api/v1/namespaces/team", "")
	a.want(404, "GET", "/api/v1/namespaces/team", "")
	is(object)
	declare(strings.Replace(object, "<x>", "y", 1))
	a.want(200, "POST", "/swarm/v1/backups/"+backup+"/restore", "")
	is(object)
}
