package summary

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// factTypes are the types of fact beside those of manifests: the constants, of the packages that record any, whose names end in Type.
func factTypes(t *testing.T) (all []string) {
	t.Helper()
	var files []string
	for _, folder := range []string{"projection", "podman", "snapshot", "sync"} {
		found, err := filepath.Glob("../../../" + folder + "/*.go")
		if err != nil || len(found) == 0 {
			t.Fatal(folder, found, err)
		}
		files = append(files, found...)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				for _, s := range g.Specs {
					v := s.(*ast.ValueSpec)
					for i, name := range v.Names {
						if lit, ok := literal(v, i); ok && strings.HasSuffix(name.Name, "Type") {
							all = append(all, lit)
						}
					}
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

func literal(v *ast.ValueSpec, i int) (string, bool) {
	if i >= len(v.Values) {
		return "", false
	}
	lit, ok := v.Values[i].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

// told is a fact, and how it is told.
type told struct {
	key  string
	fact any
	want string
}

// facts are facts of every type, written as they are recorded.
func facts() []told {
	at := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	yes := projection.DNSAllowList{Enabled: true}
	lost := []projection.LostChange{{Key: "deployment/default/a"}, {Key: "deployment/default/b"}}
	return []told{
		{"placement/default/web/0", projection.Placement{Host: "h1", Why: "only host"}, "to run on h1: only host"},
		{"placement/default/web/0", projection.Placement{Why: "0/3 hosts can take it"}, "not placed: 0/3 hosts can take it"},
		{"replica/default/web/0/h1", projection.Replica{Phase: projection.Running, Container: "0123456789abcdef", Restarts: 2, ExitCode: 3},
			"Running, container 0123456789ab, 2 restarts, the last after exit code 3"},
		{"replica/default/web/0/h1", projection.Replica{Phase: projection.Running, Container: "0123456789abcdef", Others: map[string]projection.Replica{
			"side": {Phase: projection.Exited, Reason: "CrashLoopBackOff", Message: "back-off\n10s"}, "init": {Phase: projection.Exited}}},
			"Running, container 0123456789ab; init Exited; side Exited CrashLoopBackOff: back-off 10s"},
		{"replica/default/web/0/h1", projection.Replica{Phase: projection.Pending, Reason: "ErrImagePull", Message: "no such\nimage"}, "Pending ErrImagePull: no such image"},
		{"host/h1", projection.Host{Version: "v2", Podman: "5.0"}, "agent v2"},
		{"host/h1", projection.Host{Version: "v2", ReadOnly: "disk full"}, "agent v2, Podman cannot be reached, read-only: disk full"},
		{"host/h1", projection.Host{Version: "v2", Podman: "5.0", Left: at}, "agent v2, was told to stop"},
		{"host/h1", projection.Host{Version: "v2", Left: at, Off: true}, "agent v2, the host shuts down"},
		{"recovery/h1", projection.Recovery{}, "recovering"},
		{"recovery/h1", projection.Recovery{Done: at, Adopted: 1, Restart: 2, Created: 3, Removed: 4, Failed: 5, More: 7},
			"recovered: adopted 1, started 2, created 3, removed 4, failed 5, bounced 0; 7 starts before that are told of in no event"},
		{"node/h1", projection.Node{}, "changed, takes new replicas"},
		{"node/h1", projection.Node{Unschedulable: true, Down: at}, "changed, cordoned, taken for dead"},
		{"node/h1", projection.Node{Unschedulable: true, Draining: true, Labels: map[string]string{"disk": "ssd"}, Annotations: map[string]string{"rack": "7"},
			Taints: []corev1.Taint{{Key: "gpu", Value: "a", Effect: "NoSchedule"}}}, "changed, draining, taints gpu=a:NoSchedule, labels disk=ssd, annotations rack"},
		{"sight/h1", projection.Sight{}, "hears all others"},
		{"sight/h1", projection.Sight{Silent: map[string]time.Time{"h3": at, "h2": at}, Recovering: []string{"h4"}}, "does not hear h2 and h3; waits for h4 to recover"},
		{"member/h1", projection.Member{}, "joined"},
		{"member/h1", projection.Member{Removed: true}, "removed for good"},
		{"jointoken/ab12", projection.JoinToken{}, "join token created"},
		{"apitoken/ci", projection.APIToken{Scope: "write", Namespaces: []string{"default", "shop"}}, "token created, scope write in default and shop"},
		{"dnsallow/example.com", projection.DNSAllow{}, "allowed"},
		{projection.DNSAllowListKey, yes, "only names of the list are resolved"},
		{projection.DNSAllowListKey, projection.DNSAllowList{}, "all names are resolved"},
		{"backup/h1", projection.Backups{Name: "b.json"}, "b.json was made"},
		{"backup/h1", projection.Backups{Name: "b.json", More: 2}, "b.json was made, and 2 before it"},
		{"backup/h1", projection.Backups{Name: "b.json", Brought: true}, "b.json was brought"},
		{"backup/h1", projection.Backups{Removed: []string{"a", "b"}, More: 1}, "3 old backups removed"},
		{"readonly/h1", projection.ReadOnly{Since: at, Until: at.Add(time.Minute), Why: "no space left"},
			"its log took nothing from 2026-01-21 12:00:00 UTC to 2026-01-21 12:01:00 UTC: no space left"},
		{"clock/h1", projection.Clocks{Off: map[string]string{"h3": "-9s", "h2": "7.2s"}}, "clocks differ from its own: that of host h2 by 7.2s, that of host h3 by -9s"},
		{"clock/h1", projection.Clocks{}, "no host's clock differs much from its own any more"},
		{"clash/h1", projection.Clash{Lost: lost, More: 3},
			"changes that were made here lost against others that had not seen them: deployment/default/a, deployment/default/b and 3 more; psctl conflicts"},
		{"finding/h1/h2", projection.Finding{Incarnation: 10, First: 41, Had: 57, Has: 40},
			"the log of host h2 had events up to 57 of incarnation 000000000000000a, and came back with 40, as host h1 found: the disk was put back or lost, or the log was cut"},
		{"finding/h1/h2", projection.Finding{Incarnation: 10, First: 41},
			"the log of host h2 is not what it was from event 41 of incarnation 000000000000000a on: host h1 holds others in their place"},
		{"restore/x", projection.Restore{From: "b.json"}, "restore of b.json began"},
		{"restore/x", projection.Restore{From: "b.json", Count: 9, Only: []string{"deployment/default"}}, "restore of b.json, only deployment/default goes on: 9 objects so far"},
		{"restore/x", projection.Restore{From: "b.json", Count: 1, Done: at, Before: "p.json"}, "restore of b.json, done: 1 object; what was there before is in p.json"},
		{"restore/x", projection.Restore{From: "p.json", Undoes: "w"}, "undo of restore w, from p.json began"},
		{"orphan/h1/0123456789abcdef", map[string]string{"name": "web-0.default.1234abcd", "why": "its labels cannot be read"},
			"container web-0.default.1234abcd, which nothing explained, is removed: its labels cannot be read"},
		{"refused/deployment/default/web", map[string]string{"key": "deployment/default/web", "why": "no image"}, "could not be taken over as it is: no image"},
	}
}

// Each type of fact that can stand in the log is told in words of its own, and when it is gone as well.
func TestOf_eachTypeOfFactInItsOwnWords(t *testing.T) {
	plain := []string{"created", "changed", "deleted", ""}
	shown := map[string]bool{}
	for _, f := range facts() {
		if got := Of(f.key, true, projection.Encode(f.fact)); got != f.want {
			t.Errorf("%s:\ngot  %s\nwant %s", f.key, got, f.want)
		}
		typ, _, _ := strings.Cut(f.key, "/")
		shown[typ] = true
	}
	types := factTypes(t)
	if len(types) < 18 {
		t.Fatalf("there are the types %q only: the test does not find them", types)
	}
	for _, typ := range types {
		if !shown[typ] {
			t.Errorf("no fact of type %q is told in this test", typ)
		}
		for _, object := range []string{"", "null"} {
			if got := Of(typ+"/x", false, []byte(object)); slices.Contains(plain, got) {
				t.Errorf("a fact of type %s that is gone is told as %q", typ, got)
			}
		}
	}
	if has := slices.Sorted(maps.Keys(words())); !slices.Equal(has, types) {
		t.Errorf("words of %q, and there are facts of %q", has, types)
	}
}

// What people declare is created, changed and deleted; so is what only a later version knows, and what cannot be read is not told as anything else.
func TestOf_whatPeopleDeclare(t *testing.T) {
	var types []string
	for _, r := range manifest.Resources() {
		types = append(types, r.Type)
	}
	for _, typ := range append(types, "later") {
		for want, got := range map[string]string{
			"created": Of(typ+"/default/web", true, []byte(`{"spec":{}}`)),
			"changed": Of(typ+"/default/web", false, []byte(`{"spec":{}}`)),
			"deleted": Of(typ+"/default/web", false, nil),
		} {
			if got != want {
				t.Errorf("%s: got %q, want %q", typ, got, want)
			}
		}
	}
	if got := Of("replica/default/web/0/h1", false, []byte(`{"phase":7}`)); got != "changed" {
		t.Errorf("a fact that cannot be read is told as %q", got)
	}
	if got := Jump("nowhere"); got != "the state was taken over: nowhere" {
		t.Errorf("a jump is told as %q", got)
	}
}

// Why a program was started again, or how it ended, is told with it.
func TestOf_howContainersEnded(t *testing.T) {
	for object, want := range map[string]string{
		`{"phase":"Running","container":"abc","started":"2026-01-21T12:00:00Z"}`:                           "Running, container abc",
		`{"phase":"Running","container":"abc","restarts":1,"exit_code":3}`:                                 "Running, container abc, 1 restart, after exit code 3",
		`{"phase":"Running","container":"abc","restarts":1}`:                                               "Running, container abc, 1 restart, after exit code 0",
		`{"phase":"Running","container":"abc","restarts":2,"exit_code":137,"oom_killed":true}`:             "Running, container abc, 2 restarts, the last after it was killed for memory",
		`{"phase":"Exited","reason":"Error","container":"abc","exit_code":3}`:                              "Exited Error, container abc, exit code 3",
		`{"phase":"Exited","reason":"OOMKilled","container":"abc","exit_code":137,"oom_killed":true}`:      "Exited OOMKilled, container abc, killed for memory",
		`{"phase":"Exited","reason":"CrashLoopBackOff","container":"abc","exit_code":3,"message":"it is"}`: "Exited CrashLoopBackOff, container abc: it is",
	} {
		if got := Of("replica/default/web/0/h1", false, []byte(object)); got != want {
			t.Errorf("%s: got %s, want %s", object, got, want)
		}
	}
}
