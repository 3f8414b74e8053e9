package api

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// past has the server give states at moments of its log.
func past(t *testing.T, a *agent) {
	t.Helper()
	folds := &snapshot.Folds{Dir: t.TempDir(), Source: a.log}
	a.Server.At = folds.At
}

const envs = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "localhost/web:%d", args: [%s], env: [%s]}
`

func env(replicas, image int, args string, vars ...string) string {
	for i, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		vars[i] = fmt.Sprintf("{name: %s, value: %q}", name, value)
	}
	return fmt.Sprintf(envs, replicas, image, args, strings.Join(vars, ", "))
}

// What an event changed is as before it, and what others changed since is not touched: not in a list of which it changed another item,
// either. Where an item has no name the whole list counts.
func TestUndo_keepsWhatCameLater(t *testing.T) {
	for _, c := range []struct {
		name                string
		before, event, then string // then: applied after the event
		want                string // "" for a refusal
		why                 string
	}{
		{"replicas under an image", env(1, 1, "a"), env(3, 1, "a"), env(3, 2, "a"), env(1, 2, "a"), ""},
		{"a variable beside another", env(1, 1, "a", "A=1", "B=1"), env(1, 1, "a", "A=2", "B=1"), env(1, 1, "a", "A=2", "B=2"), env(1, 1, "a", "A=1", "B=2"), ""},
		{"a variable that was added", env(1, 1, "a", "A=1"), env(1, 1, "a", "A=1", "B=1"), env(2, 1, "a", "A=1", "B=1"), env(2, 1, "a", "A=1"), ""},
		{"a variable that was taken out", env(1, 1, "a", "A=1", "B=1"), env(1, 1, "a", "B=1"), env(2, 1, "a", "B=1"), env(2, 1, "a", "A=1", "B=1"), ""},
		{"the same variable", env(1, 1, "a", "A=1"), env(1, 1, "a", "A=2"), env(1, 1, "a", "A=3"), "", "containers[web].env[A].value"},
		{"another argument of the list", env(1, 1, "a, b"), env(1, 1, "x, b"), env(1, 1, "x, z"), "", "containers[web].args[1]"},
		{"it is so again", env(1, 1, "a"), env(3, 1, "a"), env(1, 2, "a"), env(1, 2, "a"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := start(t, t.TempDir())
			past(t, a)
			for _, m := range []string{c.before, c.event, c.then} {
				a.want(200, "POST", "/api/v1/manifests", m)
			}
			end := a.index()
			if c.want == "" {
				got := a.want(409, "POST", "/swarm/v1/undo?event=2", "")
				if !strings.Contains(got.field("message"), "event 2: ") || !strings.Contains(got.field("message"), c.why) || a.index() != end {
					t.Errorf("got %s, want a refusal that names %s and records nothing", got.body, c.why)
				}
				return
			}
			a.want(200, "POST", "/swarm/v1/undo?event=2&dry_run=true", "")
			if a.index() != end {
				t.Error("a dry run recorded something")
			}
			a.want(200, "POST", "/swarm/v1/undo?event=2", "")
			if got := a.want(200, "POST", "/api/v1/manifests?dryRun=All", c.want); got.field("results.0.action") != "unchanged" {
				t.Errorf("what is there differs from what is wanted: %s", got.body)
			}
		})
	}
}

// What can be taken back is what people declared. All that cannot is said at once.
func TestUndo_refused(t *testing.T) {
	a := start(t, t.TempDir())
	past(t, a)
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	a.record(projection.Change{Kind: events.Observed, Key: "host/h", Object: []byte(`{}`)}) // 2
	got := a.want(422, "POST", "/swarm/v1/undo?event=2&event=3", "")
	if m := got.field("message"); !strings.Contains(m, "event 2: host/h was observed: only what people declare") || !strings.Contains(m, "event 3: the log ends at event 2") {
		t.Errorf("got %s", got.body)
	}
	a.want(400, "POST", "/swarm/v1/undo", "")
	a.want(400, "POST", "/swarm/v1/undo?event=x", "")
	a.want(200, "DELETE", webPath, "") // 3
	if got = a.want(200, "POST", "/swarm/v1/undo?event=1", ""); got.field("commit") != "" || a.index() != 3 {
		t.Errorf("what was made is gone already: got %s", got.body)
	}
	a.want(200, "POST", "/api/v1/manifests", env(2, 1, "a")) // 4
	got = a.want(409, "POST", "/swarm/v1/undo?event=3&event=1", "")
	if m := got.field("message"); !strings.Contains(m, "event 3: deployment/default/web was deleted by it, and has been made anew since") ||
		!strings.Contains(m, "event 1: deployment/default/web was made by it, and has been changed since (spec.replicas)") {
		t.Errorf("got %s", got.body)
	}
}

// An event is taken back by its id on a host whose log has it at another index, also from the midst of a commit.
func TestUndo_byID(t *testing.T) {
	a, b := start(t, t.TempDir()), start(t, t.TempDir())
	past(t, b)
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	a.want(200, "POST", "/api/v1/manifests", strings.Replace(env(1, 1, "a"), "name: web}\n", "name: api}\n", 1)+"---\n"+env(2, 1, "a")) // 2 and 3
	b.want(200, "POST", "/api/v1/manifests", strings.Replace(env(1, 1, "a"), "name: web}\n", "name: own}\n", 1))
	var commits [][]byte
	if err := a.log.Read(t.Context(), 0, func(r events.Record) error {
		commits = append(commits, slices.Clone(r.Payload))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ledger, ok := b.Ledger.(*projection.Ledger)
	if !ok {
		t.Fatalf("the ledger is a %T", b.Ledger)
	}
	if _, err := ledger.Admit(t.Context(), commits); err != nil {
		t.Fatal(err)
	}
	of := func(key string) string {
		o, _ := b.Ledger.View().Lookup(key)
		return o.Stamp.ID.String()
	}
	id := of("deployment/default/web")
	if got := b.want(200, "POST", "/swarm/v1/undo?event="+id, ""); got.field("first") == "" || strings.Contains(string(got.body), `"api"`) {
		t.Errorf("got %s", got.body)
	}
	if got := b.want(200, "GET", webPath, ""); !strings.Contains(string(got.body), `"replicas":1`) {
		t.Errorf("got %s", got.body)
	}
	stamp, _ := b.Ledger.View().Lookup("deployment/default/api")
	b.want(200, "POST", "/swarm/v1/undo?event="+stamp.Stamp.String(), "")
	b.want(404, "GET", strings.Replace(webPath, "/web", "/api", 1), "")
	if got := b.want(422, "POST", "/swarm/v1/undo?event=00000000000000ff-1", ""); !strings.Contains(got.field("message"), "event 00000000000000ff-1: the log of this host does not hold it") {
		t.Errorf("got %s", got.body)
	}
	b.want(400, "POST", "/swarm/v1/undo?event=2h", "")
}

// The newest change of an object taken back is the object as it was, and that taken back is the change again.
func TestUndo_ofUndo(t *testing.T) {
	r := rand.New(rand.NewPCG(testSeed(t), 0))
	a := start(t, t.TempDir())
	past(t, a)
	shown := func() string {
		o, ok := a.ledger.View().Lookup("deployment/default/web")
		if !ok {
			return ""
		}
		d, err := treeOf("deployment", o.Version.Object)
		if err != nil {
			t.Fatal(err)
		}
		v, err := leaves(d)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(v)
	}
	for range 60 {
		var vars []string
		for v := range 4 {
			if r.IntN(2) == 0 {
				vars = append(vars, fmt.Sprintf("V%d=%d", v, r.IntN(3)))
			}
		}
		before, end := shown(), a.index()
		if r.IntN(5) == 0 {
			if before != "" {
				a.want(200, "DELETE", webPath, "")
			}
		} else {
			a.want(200, "POST", "/api/v1/manifests", env(r.IntN(4), r.IntN(3), []string{"a", "b, a", ""}[r.IntN(3)], vars...))
		}
		if a.index() == end {
			continue
		}
		after := shown()
		a.want(200, "POST", fmt.Sprintf("/swarm/v1/undo?event=%d", a.index()), "")
		if got := shown(); got != before {
			t.Fatalf("taken back\n%s\nwant\n%s", got, before)
		}
		a.want(200, "POST", fmt.Sprintf("/swarm/v1/undo?event=%d", a.index()), "")
		if got := shown(); got != after {
			t.Fatalf("taken back again\n%s\nwant\n%s", got, after)
		}
	}
}

// restoring has an agent make backups, and restore from them.
func restoring(t *testing.T, more func(*Server)) *agent {
	dir := t.TempDir()
	return start(t, t.TempDir(), func(s *Server) {
		ledger, ok := s.Ledger.(*projection.Ledger)
		if !ok {
			t.Fatalf("the ledger is a %T", s.Ledger)
		}
		quiet := slog.New(slog.DiscardHandler)
		s.Node = "h1"
		s.Backups = &snapshot.Backups{Dir: dir, Node: s.Node, Ledger: ledger, Log: quiet}
		s.Restorer = &snapshot.Restorer{Ledger: ledger, Backups: s.Backups, Log: quiet}
		more(s)
	})
}

// A restore that was taken back has nothing left to take back: nothing is recorded, and no backup is made.
func TestRestore_undoneTwice(t *testing.T) {
	a := restoring(t, func(*Server) {})
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	backup := a.want(201, "POST", "/swarm/v1/backups", "").field("name")
	a.want(200, "POST", "/api/v1/manifests", env(2, 1, "a"))
	undo := "/swarm/v1/restores/" + a.want(200, "POST", "/swarm/v1/backups/"+backup+"/restore", "").field("id") + "/undo"
	if got := a.want(200, "POST", undo, ""); got.field("id") == "" {
		t.Fatalf("got %s", got.body)
	}
	index := a.index()
	before, err := a.Backups.List()
	if err != nil {
		t.Fatal(err)
	}
	if got := a.want(200, "POST", undo, ""); got.field("id") != "" || a.index() != index {
		t.Errorf("the second time: got %s, and the log at %d after %d", got.body, a.index(), index)
	}
	if all, err := a.Backups.List(); err != nil || len(all) != len(before) {
		t.Errorf("got %v, %v, want %v", all, err, before)
	}
}

// A restore that is unfinished is ended by its undo also where that has nothing to take back, since all has been changed by hand meanwhile: else it would go on over that.
func TestRestore_undoneUnfinished(t *testing.T) {
	a := restoring(t, func(*Server) {})
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	backup := a.want(201, "POST", "/swarm/v1/backups", "").field("name")
	fact := projection.Restore{Host: "h1", From: backup, Before: backup, Asked: time.Now()}
	a.record(projection.Change{Kind: events.Observed, Key: projection.RestoreKey("cut"), Object: projection.Encode(fact)})
	index := a.index()
	if got := a.want(200, "POST", "/swarm/v1/restores/cut/undo?dry_run=true", ""); got.field("results") != "[]" || got.field("unfinished") != "true" || a.index() != index {
		t.Errorf("got %s, and the log at %d after %d", got.body, a.index(), index)
	}
	got := a.want(200, "POST", "/swarm/v1/restores/cut/undo", "")
	if got.field("undoes") != "cut" || got.field("unfinished") != "true" || got.field("done") == "" {
		t.Errorf("got %s", got.body)
	}
	if left := a.Restorer.Unfinished(); len(left) > 0 {
		t.Errorf("it goes on: %+v", left)
	}
	index = a.index()
	if got := a.want(200, "POST", "/swarm/v1/restores/cut/undo", ""); got.field("unfinished") != "" || a.index() != index {
		t.Errorf("the second time: got %s, and the log at %d after %d", got.body, a.index(), index)
	}
}

// What is yet to come is not what is now: who mistypes a year is told. A clock that is a little ahead is no mistake.
func TestMoment_toCome(t *testing.T) {
	a := start(t, t.TempDir())
	past(t, a)
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	at := func(d time.Duration) string {
		return webPath + "?at=" + a.Server.now().Add(d).UTC().Format(time.RFC3339Nano)
	}
	a.want(200, "GET", at(aheadMost/2), "")
	if got := a.want(400, "GET", at(time.Hour), ""); !strings.Contains(got.field("message"), "that is yet to come: it is ") {
		t.Errorf("got %s", got.body)
	}
}

// A restore that is refused leaves nothing behind: not the backup either that it would have been from.
func TestRestore_refusedMakesNoBackup(t *testing.T) {
	refusing := ""
	a := restoring(t, func(s *Server) { s.Refusing = func() string { return refusing } })
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	path := "/swarm/v1/backups/" + a.want(201, "POST", "/swarm/v1/backups", "").field("name") + "/restore?at=0s"
	a.want(400, "POST", path+"&only=deployment/", "")
	refusing = "recovering"
	a.want(503, "POST", path, "")
	if all, err := a.Backups.List(); err != nil || len(all) != 1 {
		t.Errorf("got %v, %v, want the one backup", all, err)
	}
}

// Either spelling of a dry run is taken by all that can be tried, and refused by what can only be done.
func TestDryRun_eitherSpelling(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) { s.Orphans = &orphanList{all: []Orphan{{ID: "cafe"}}} })
	past(t, a)
	a.join("h1", "h2")
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	a.runs(0, "h1")
	a.want(200, "POST", "/swarm/v1/nodes/h1/cordon", "")
	was := a.index()
	for _, c := range []struct {
		code               int
		method, path, body string
	}{
		{200, "POST", apply, deployment("web", 2, "w")}, {200, "PUT", webPath, deployment("web", 2, "w")}, {200, "DELETE", webPath, ""}, {200, "DELETE", deploymentsPath, ""},
		{200, "DELETE", "/api/v1/manifests/default/web?kind=deployment", ""}, {200, "PATCH", "/api/v1/nodes/h1", `{"spec":{"unschedulable":false}}`},
		{201, "POST", "/api/v1/namespaces/default/pods/web-0/eviction", "{}"}, {200, "POST", "/swarm/v1/undo?event=3", ""},
		{400, "POST", "/swarm/v1/nodes/h2/remove?force=true", ""}, {400, "POST", "/swarm/v1/nodes/h2/drain", ""}, {400, "POST", "/swarm/v1/orphans/cafe/remove", ""},
		{400, "POST", "/swarm/v1/tokens", `{"name":"x","scope":"read"}`},
	} {
		for _, spelling := range []string{"dryRun=All", "dry_run=true", "dryRun=true", "dry_run=1"} {
			path := c.path + "?" + spelling
			if strings.Contains(c.path, "?") {
				path = c.path + "&" + spelling
			}
			var headers []string
			if c.method == "PATCH" {
				headers = []string{asMerge}
			}
			if got := a.do(c.method, path, c.body, headers...); got.code != c.code {
				t.Errorf("%s %s: got %d %s, want %d", c.method, path, got.code, got.body, c.code)
			}
			if now := a.index(); now != was {
				t.Errorf("%s %s: %d events were recorded", c.method, path, now-was)
				was = now
			}
		}
	}
	a.want(400, "POST", "/swarm/v1/undo?event=3&dry_run=perhaps", "")
	a.want(400, "POST", "/swarm/v1/nodes/h2/cordon?dryRun=perhaps", "")
}

// A restore of another host is taken back from the log, and is ended where it was unfinished. Where the log cannot tell, the host is named that can.
func TestRestore_undoneOnAnotherHost(t *testing.T) {
	a := restoring(t, func(*Server) {})
	past(t, a)
	a.Restorer.At = a.Server.At
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	backup := a.want(201, "POST", "/swarm/v1/backups", "").field("name")
	a.want(200, "POST", "/api/v1/manifests", env(2, 1, "a"))
	undo := "/swarm/v1/restores/" + a.want(200, "POST", "/swarm/v1/backups/"+backup+"/restore", "").field("id") + "/undo"
	a.Server.Node, a.Backups.Node = "h2", "h2"
	if got := a.want(200, "POST", undo, ""); got.field("host") != "h2" || !strings.Contains(string(a.want(200, "GET", webPath, "").body), `"replicas":2`) {
		t.Errorf("got %s", got.body)
	}
	fact := projection.Restore{Host: "h1", From: backup, Before: backup, Asked: time.Now(), Seen: map[events.Incarnation]uint64{7: 9}}
	a.record(projection.Change{Kind: events.Observed, Key: projection.RestoreKey("cut"), Object: projection.Encode(fact)})
	if got := a.want(409, "POST", "/swarm/v1/restores/cut/undo", ""); !strings.Contains(got.field("message"), "Host h1 did it, and has the backup of that, "+backup+": ask its agent") {
		t.Errorf("got %s", got.body)
	}
	inc, seq := a.log.Incarnation(), uint64(1)
	fact.Seen = map[events.Incarnation]uint64{inc: seq}
	a.record(projection.Change{Kind: events.Observed, Key: projection.RestoreKey("cut"), Object: projection.Encode(fact)})
	if got := a.want(200, "POST", "/swarm/v1/restores/cut/undo", ""); got.field("undoes") != "cut" || got.field("unfinished") != "true" {
		t.Errorf("got %s", got.body)
	}
}
