package api

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/secret"
)

// A host that dies in the middle of a restore leaves the others with a part of it: that is a problem, until it goes on with it, or another restore takes its place.
func TestStatus_unfinishedRestore(t *testing.T) {
	var ahead time.Duration
	a := start(t, t.TempDir(), func(s *Server) { s.Now = func() time.Time { return time.Now().Add(ahead) } })
	fact := func(id string, r projection.Restore) {
		t.Helper()
		a.record(projection.Change{Kind: events.Observed, Key: projection.RestoreKey(id), Object: projection.Encode(r)})
	}
	problems := func() string {
		t.Helper()
		return a.want(200, "GET", "/swarm/v1/status", "").field("problems")
	}
	begun := projection.Restore{Host: "h2", From: "a backup", Asked: time.Now(), Count: 7}
	fact("theirs", begun)
	if got := problems(); got != "" {
		t.Errorf("while it is being done: %s", got)
	}
	ahead = 2 * time.Minute
	own := begun
	own.Host, own.Only = "h1", []string{"service"}
	fact("ours", own) // of which the agent itself says what keeps it
	got := problems()
	if strings.Count(got, `"what"`) != 1 || !strings.Contains(got, "restore of a backup is unfinished") || !strings.Contains(got, "host h2, which does it") || !strings.Contains(got, "after 7 objects") ||
		!strings.Contains(got, "psctl undo theirs") {
		t.Errorf("got %s", got)
	}
	later := begun
	later.Asked, later.Done = begun.Asked.Add(time.Second), begun.Asked.Add(time.Second)
	fact("later", later)
	if got := problems(); got != "" {
		t.Errorf("another has taken its place: %s", got)
	}
	if got := a.want(200, "GET", "/swarm/v1/restores", "").body; !strings.Contains(string(got), `"over":"later"`) {
		t.Errorf("it is not listed as over: %s", got)
	}
}

// What of a file of version 1 cannot be declared as it is stands in what a restore would change, with the reason, as far as it is of what is restored.
func TestRestore_refusedOfVersion1(t *testing.T) {
	a := restoring(t, func(s *Server) { s.Restorer.Opened = filepath.Join(t.TempDir(), "opened") })
	data, err := os.ReadFile("../../../snapshot/testdata/version1/29-doc-style-STORAGE.md.json")
	if err != nil {
		t.Fatal(err)
	}
	const path = "/swarm/v1/backups/old.json/restore"
	a.want(200, "POST", apply, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`) // which such a file cannot have, and says nothing of
	if got := a.want(400, "POST", path+"?dry_run=true&only=namespace", string(data)); !strings.Contains(string(got.body), "says nothing of namespace") {
		t.Errorf("of Namespaces: %s", got.body)
	}
	for q, want := range map[string]string{
		"?dry_run=true": "deployment/default/nginx service/default/nginx-service ingress/default/nginx-ingress",
		"?dry_run=true&only=deployment/default&only=ingress/shop": "deployment/default/nginx",
		"?dry_run=true&only=deployment/default/web":               "",
		"": "deployment/default/nginx service/default/nginx-service ingress/default/nginx-ingress",
	} {
		var plan RestorePlan
		if err := json.Unmarshal([]byte(a.want(200, "POST", path+q, string(data)).body), &plan); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range plan.Refused {
			if got = append(got, x.Key); x.Why == "" {
				t.Errorf("%s: %s: nothing is said of why", q, x.Key)
			}
		}
		if strings.Join(got, " ") != want || len(plan.Results) != 0 {
			t.Errorf("%s: got %v, and %v; want %s", q, got, plan.Results, want)
		}
	}
}

// Of which types a file of version 1 has no section stands in what a restore would change, and none of them ends.
func TestRestore_missingSectionOfVersion1(t *testing.T) {
	a := restoring(t, func(*Server) {})
	a.want(200, "POST", apply, env(1, 1, "a"))
	var plan RestorePlan
	got := a.want(200, "POST", "/swarm/v1/backups/old.json/restore?dry_run=true", `{"version":1,"services":{}}`)
	if err := json.Unmarshal(got.body, &plan); err != nil || strings.Join(plan.Missing, " ") != "deployment ingress" || len(plan.Results) > 0 {
		t.Errorf("got %s, %v", got.body, err)
	}
}

// A restore of a Service that asks for what another has by now is not held up by it; what clashes stands in what it would change, and in what it has. What another gives
// up by the same restore does not clash.
func TestRestore_clashingServices(t *testing.T) {
	a := restoring(t, func(*Server) {})
	a.want(201, "POST", servicesPath, ported("one", 30080))
	a.want(201, "POST", servicesPath, ported("same", 30090))
	backup := a.want(201, "POST", "/swarm/v1/backups", "").field("name")
	a.want(200, "DELETE", servicesPath+"/one", "")
	a.want(201, "POST", servicesPath, ported("two", 30080))
	const clash = "asks for spec.ports[0].nodePort 30080: Service default/two has it. It is restored all the same, and one of the two gets another"
	a.clashes(t, backup+"/restore?dry_run=true", "")
	a.clashes(t, backup+"/restore?dry_run=true&only=service/default/one&only=service/default/same", clash)
	a.clashes(t, backup+"/restore?only=service/default/one", clash)
	a.want(200, "GET", servicesPath+"/one", "")
}

func (a *agent) clashes(t *testing.T, path, want string) {
	t.Helper()
	var plan RestorePlan
	if err := json.Unmarshal(a.want(200, "POST", "/swarm/v1/backups/"+path, "").body, &plan); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range plan.Results {
		got = append(got, x.Warnings...)
	}
	if strings.Join(got, "; ") != want {
		t.Errorf("%s: got %q, want %q", path, got, want)
	}
}

// A backup has no key of the Secrets in it. Where that is another host's, what a restore would change names those that could not be opened, before it is done.
func TestRestore_secretsWithoutTheirKey(t *testing.T) {
	theirs := restoring(t, keyed(t, 1))
	theirs.want(200, "POST", apply, deployment("web", 1, "w"))
	theirs.want(200, "POST", apply, opaqueSecret("db", sesame))
	theirs.want(200, "POST", apply, opaqueSecret("none", sesame))
	backup := string(theirs.want(200, "GET", "/swarm/v1/backups/"+theirs.want(201, "POST", "/swarm/v1/backups", "").field("name"), "").body)
	const path = "/swarm/v1/backups/theirs.json/restore"
	locked := func(q string, keys func(*Server)) (*agent, string) {
		t.Helper()
		a := restoring(t, keys)
		a.Restorer.Opened = filepath.Join(t.TempDir(), "opened")
		a.want(200, "POST", apply, opaqueSecret("own", sesame))
		return a, a.want(200, "POST", path+q, backup).field("locked")
	}
	both, err := secret.NewKeys(bytes.Repeat([]byte{2}, secret.KeyBytes), bytes.Repeat([]byte{1}, secret.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	if _, got := locked("?dry_run=true", func(s *Server) { s.Secrets = both }); got != "" {
		t.Errorf("where the key is: %s", got)
	}
	if _, got := locked("?dry_run=true&only=deployment", keyed(t, 2)); got != "" {
		t.Errorf("of Deployments alone: %s", got)
	}
	a, got := locked("?dry_run=true", keyed(t, 2))
	if strings.Count(got, "(key ") != 2 || !strings.HasPrefix(got, `["default/db (key `) || !strings.Contains(got, `"default/none (key `) {
		t.Errorf("got %s", got)
	}
	if again := a.want(200, "POST", path, backup).field("locked"); again != got {
		t.Errorf("restored: got %s, want %s", again, got)
	}
	if got := a.want(200, "GET", "/swarm/v1/status", "").field("problems"); !strings.Contains(got, "cannot open: default/db (key ") {
		t.Errorf("the status: %s", got)
	}
}
