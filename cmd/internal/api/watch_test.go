package api

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

const (
	allDeployments = "/apis/apps/v1/deployments?watch=true"
	apply          = "/api/v1/manifests"
)

func TestWatch_fromNow(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, docs(deployment("a", 1, "w"), deployment("b", 1, "w")))
	for _, version := range []string{"", "&resourceVersion=0"} {
		w := a.follow(allDeployments + version)
		w.wantEvents("ADDED a", "ADDED b")
	}
	w := a.follow(allDeployments)
	w.wantEvents("ADDED a", "ADDED b")
	a.want(200, "POST", apply, docs(deployment("b", 2, "w"), service("b"), deployment("c", 1, "w")))
	o := w.wantEvents("MODIFIED b", "ADDED c")
	if got, want := o.field("metadata.resourceVersion"), a.resourceVersion(5); got != want {
		t.Errorf("resourceVersion: got %s, want %s", got, want)
	}
	if o.field("kind") != "Deployment" || o.field("apiVersion") != "apps/v1" {
		t.Errorf("got %s", o.body)
	}
	a.want(200, "DELETE", deploymentsPath+"/a", "")
	o = w.wantEvents("DELETED a")
	if o.field("metadata.resourceVersion") != a.resourceVersion(6) || o.field("spec.replicas") != "1" {
		t.Errorf("got %s, want the last state with the version of the deletion", o.body)
	}
}

// A watch goes on where it was, from any place within a commit, also after the agent has been started anew.
func TestWatch_resume(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir)
	a.want(200, "POST", apply, docs(deployment("a", 1, "w"), service("a"), deployment("b", 1, "w"), deployment("c", 1, "w")))
	a.want(200, "POST", apply, deployment("a", 2, "w"))
	a.want(200, "DELETE", deploymentsPath+"/b", "")
	for range 2 {
		want := []string{"ADDED a", "", "ADDED b", "ADDED c", "MODIFIED a", "DELETED b"}
		for from := range uint64(7) {
			w := a.follow(allDeployments + "&resourceVersion=" + a.resourceVersion(from))
			for _, e := range want[min(from, uint64(len(want))):] {
				if e != "" {
					w.wantEvents(e)
				}
			}
			w.close()
		}
		a.stop()
		a = start(t, dir)
	}
	w := a.follow(allDeployments + "&resourceVersion=" + a.resourceVersion(6))
	a.want(200, "POST", apply, deployment("d", 1, "w"))
	w.wantEvents("ADDED d")
}

func TestWatch_gone(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	gone := func(path string) {
		t.Helper()
		w := a.follow(path)
		o := w.wantEvents("ERROR")
		if o.field("kind") != "Status" || o.field("apiVersion") != "v1" || o.field("code") != "410" || o.field("reason") != "Expired" {
			t.Errorf("%s: got %s", path, o.body)
		}
		w.wantEvents("END")
	}
	foreign := fmt.Sprint((a.Epoch()+1)<<indexBits | 1)
	gone(allDeployments + "&resourceVersion=" + foreign)
	gone(allDeployments + "&resourceVersion=7")
	gone(allDeployments + "&resourceVersion=" + a.resourceVersion(2))
	a.want(410, "GET", "/apis/apps/v1/deployments?resourceVersion="+foreign, "")
	a.want(410, "GET", allDeployments+"&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion="+foreign, "")
	got := a.want(504, "GET", "/apis/apps/v1/deployments?resourceVersionMatch=NotOlderThan&resourceVersion="+a.resourceVersion(2), "")
	if got.field("details.causes.0.reason") != "ResourceVersionTooLarge" {
		t.Errorf("got %s", got.body)
	}
	a.want(410, "GET", "/apis/apps/v1/deployments?resourceVersionMatch=Exact&resourceVersion="+a.resourceVersion(0), "")
	a.want(200, "GET", "/apis/apps/v1/deployments?resourceVersionMatch=Exact&resourceVersion="+a.resourceVersion(1), "")
	a.want(400, "GET", allDeployments+"&resourceVersion=abc", "")
	a.want(422, "GET", allDeployments+"&sendInitialEvents=true", "")

	slow := a.follow(allDeployments)
	slow.wantEvents("ADDED a")
	for i := range 2500 { // more than a view remembers
		a.record(projection.Change{Kind: events.Observed, Key: "host/h1", Object: projection.Encode(projection.Host{CPUs: i})})
	}
	gone(allDeployments + "&resourceVersion=" + a.resourceVersion(1))
	a.want(200, "POST", apply, deployment("a", 2, "w"))
	slow.wantEvents("MODIFIED a") // it kept up, although nothing was told for long
}

// large records so many versions of one large Deployment, as fast as the disk takes them: more than the connection to
// a client that does not read can hold.
func (a *agent) large(n int) {
	a.t.Helper()
	changes, err := parsed(deployment("a", 0, "w"))
	if err != nil {
		a.t.Fatal(err)
	}
	filler := fmt.Sprintf(`"name":"a","annotations":{"filler":%q}`, strings.Repeat("x", 16<<10))
	object := strings.Replace(string(changes[0].Object), `"name":"a"`, filler, 1)
	var wg sync.WaitGroup
	const writers = 50
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				change := changes[0]
				change.Object = []byte(strings.Replace(object, `"replicas":0`, fmt.Sprintf(`"replicas":%d`, i+1), 1))
				if _, err := a.Ledger.Record(context.Background(), projection.By{}, func(*projection.State) ([]projection.Change, error) {
					return []projection.Change{change}, nil
				}); err != nil {
					a.t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A client that does not read slows nobody and costs no more than a piece of memory. When it reads on, and what it
// lacks is no longer held, it is told so.
func TestWatch_clientThatFallsBehind(t *testing.T) {
	a := start(t, t.TempDir())
	w := a.follow(allDeployments)
	a.large(2500)
	n := 0
	for e, o := w.event(); ; e, o = w.event() {
		if e == "ERROR" {
			if o.field("code") != "410" {
				t.Errorf("got %s", o.body)
			}
			break
		}
		if n++; e == "END" || n > 2500 {
			t.Fatalf("got %s after %d changes, want to be told that some are missing", e, n)
		}
	}
	t.Logf("%d changes were told before", n)
}

// One that never reads on is cut off.
func TestWatch_clientThatDoesNotRead(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) { s.Patience = 100 * time.Millisecond })
	w := a.follow(allDeployments)
	a.large(1500)
	deadline := time.Now().Add(patience)
	for streams() > 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if n := streams(); n > 0 {
		t.Errorf("%d watches go on", n)
	}
	for w.next() != "" { // until the connection ends, within a line
	}
}

// streams is how many watches there are.
func streams() int {
	b := make([]byte, 1<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "api.(*Server).watch(")
}

func TestWatch_bookmarks(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) { s.Bookmarks = 10 * time.Millisecond })
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	w := a.follow(allDeployments + "&allowWatchBookmarks=true&resourceVersion=" + a.resourceVersion(1))
	a.want(200, "POST", apply, service("a"))
	o := w.wantEvents("BOOKMARK")
	if o.field("metadata.resourceVersion") != a.resourceVersion(2) || o.field("kind") != "Deployment" || o.field("apiVersion") != "apps/v1" || o.field("metadata.annotations") != "" {
		t.Errorf("got %s", o.body)
	}
	a.want(200, "POST", apply, deployment("a", 2, "w"))
	w.wantEvents("MODIFIED a") // and no bookmark in between, since nothing had moved
	silent := a.follow(allDeployments + "&timeoutSeconds=1&resourceVersion=" + a.resourceVersion(2))
	silent.wantEvents("MODIFIED a", "END")
}

func TestWatch_bookmarksKeepQuietWatchesAlive(t *testing.T) {
	a := start(t, t.TempDir())
	w := a.follow(allDeployments + "&allowWatchBookmarks=true&resourceVersion=" + a.resourceVersion(0))
	for i := range idleIndexes + 1 {
		a.record(projection.Change{Kind: events.Observed, Key: "host/h1", Object: projection.Encode(projection.Host{CPUs: i})})
	}
	w.wantEvents("BOOKMARK")
}

func TestWatch_sendInitialEvents(t *testing.T) {
	a := start(t, t.TempDir())
	const initial = allDeployments + "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
	end := func(w *watcher, index uint64) {
		t.Helper()
		o := w.wantEvents("BOOKMARK")
		if o.field("metadata.annotations.k8s~io/initial-events-end") != "true" || o.field("metadata.resourceVersion") != a.resourceVersion(index) {
			t.Errorf("got %s", o.body)
		}
	}
	w := a.follow(initial)
	end(w, 0)
	a.want(200, "POST", apply, docs(deployment("a", 1, "w"), deployment("b", 1, "w"), service("x")))
	w.wantEvents("ADDED a", "ADDED b")
	w = a.follow(initial + "&resourceVersion=" + a.resourceVersion(1))
	w.wantEvents("ADDED a", "ADDED b")
	end(w, 3)
	w = a.follow(allDeployments + "&sendInitialEvents=false&resourceVersionMatch=NotOlderThan")
	a.want(200, "DELETE", deploymentsPath+"/a", "")
	w.wantEvents("DELETED a")
}

// A watch through a selector tells of what comes into it and what leaves it, with the last state that was in it.
func TestWatch_selectors(t *testing.T) {
	a := start(t, t.TempDir())
	byLabel := a.follow(allDeployments + "&labelSelector=tier%3Dfront")
	byName := a.follow(allDeployments + "&fieldSelector=metadata.name%3Db")
	one := a.follow(webPath + "?watch=true")
	other := a.follow("/apis/apps/v1/namespaces/other/deployments?watch=true")
	a.want(200, "POST", apply, docs(deployment("web", 1, "w"), deployment("b", 1, "w", "tier: front")))
	a.want(200, "POST", apply, docs(deployment("web", 1, "w", "tier: front"), deployment("b", 2, "w", "tier: back")))
	a.want(200, "POST", apply, docs(deployment("web", 2, "w", "tier: front")))
	a.want(200, "POST", apply+"?namespace=other", docs(deployment("web", 2, "w")))
	a.want(200, "DELETE", webPath, "")
	byLabel.wantEvents("ADDED b", "ADDED web")
	if o := byLabel.wantEvents("DELETED b"); o.field("spec.replicas") != "1" || o.field("metadata.resourceVersion") != a.resourceVersion(4) {
		t.Errorf("left the selection: got %s, want its last state within it, with the version at which it left", o.body)
	}
	byLabel.wantEvents("MODIFIED web", "DELETED web")
	byName.wantEvents("ADDED b", "MODIFIED b")
	one.wantEvents("ADDED web", "MODIFIED web", "MODIFIED web", "DELETED web")
	other.wantEvents("ADDED web")
	a.want(400, "GET", allDeployments+"&fieldSelector=spec.replicas%3D1", "")
	a.want(400, "GET", allDeployments+"&labelSelector=%21%21", "")
}

// What becomes of a Deployment is told with it: placements and what hosts say change its status.
func TestWatch_podsAndStatus(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("web", 2, "web:1"))
	deps, pods, nodes := a.follow(allDeployments), a.follow("/api/v1/namespaces/default/pods?watch=true"), a.follow("/api/v1/nodes?watch=true")
	onH1 := a.follow("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dh1,status.phase%3DRunning")
	deps.wantEvents("ADDED web")
	p := projection.Pod{Namespace: "default", Deployment: "web"}
	id := a.place(p, "h1", "least loaded")
	pods.wantEvents("ADDED web-0")
	if o := deps.wantEvents("MODIFIED web"); o.field("status.replicas") != "1" {
		t.Errorf("got %s", o.body)
	}
	a.observe(p, "h1", &projection.Replica{Placement: id, Phase: projection.Pending, Reason: "ImagePullBackOff", Message: "no such image"})
	o := pods.wantEvents("MODIFIED web-0")
	if o.field("status.phase") != "Pending" || o.field("status.containerStatuses.0.state.waiting.reason") != "ImagePullBackOff" {
		t.Errorf("got %s", o.body)
	}
	a.observe(p, "h1", &projection.Replica{Placement: id, Phase: projection.Running, Container: "cafe", Started: time.Now()})
	pods.wantEvents("MODIFIED web-0")
	onH1.wantEvents("ADDED web-0")
	deps.wantEvents("MODIFIED web") // the message of its condition
	if o := deps.wantEvents("MODIFIED web"); o.field("status.readyReplicas") != "1" {
		t.Errorf("got %s", o.body)
	}
	a.observe(p, "h2", &projection.Replica{Placement: id, Phase: projection.Exited}) // not the host of the placement: no change
	a.record(projection.Change{Kind: events.Decided, Key: p.PlacementKey()})
	onH1.wantEvents("DELETED web-0")
	pods.wantEvents("DELETED web-0")
	a.record(projection.Change{Kind: events.Observed, Key: "host/h1", Object: projection.Encode(projection.Host{CPUs: 2, Podman: "5.4"})})
	nodes.wantEvents("ADDED h1")
	// Only their time of change told the two apart, if at all.
	if got := a.want(200, "GET", webPath, ""); got.field("status.replicas") != "" {
		t.Errorf("got %s", got.body)
	}
}

func TestWatch_namespacesInUse(t *testing.T) {
	a := start(t, t.TempDir())
	w := a.follow("/api/v1/namespaces?watch=true")
	w.wantEvents("ADDED default")
	a.want(200, "POST", apply+"?namespace=x", docs(service("a"), service("b")))
	w.wantEvents("ADDED x")
	a.want(200, "POST", apply+"?namespace=x", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x, labels: {a: b}}\n")
	w.wantEvents("MODIFIED x")
	a.want(200, "DELETE", "/api/v1/namespaces/x", "")
	w.wantEvents("DELETED x")
	a.want(200, "POST", apply, service("a"))
	a.want(200, "POST", apply+"?namespace=y", service("a"))
	w.wantEvents("ADDED y")
}

func TestWatch_endsWhenTheAgentStops(t *testing.T) {
	a := start(t, t.TempDir())
	w := a.follow(allDeployments)
	a.stop()
	w.wantEvents("END")
}

// A replica is available once it has run for minReadySeconds, and nobody records that: a watch tells of it all the
// same, also one that was not there at the time.
func TestWatch_availableByTime(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, strings.Replace(deployment("web", 1, "w"), "replicas:", "minReadySeconds: 60\n  replicas:", 1))
	p := projection.Pod{Namespace: "default", Deployment: "web"}
	id := a.place(p, "h1", "")
	first := a.follow(allDeployments)
	first.wantEvents("ADDED web")
	a.observe(p, "h1", &projection.Replica{Placement: id, Phase: projection.Running, Started: time.Now().Add(-58 * time.Second)})
	if o := first.wantEvents("MODIFIED web"); o.field("status.readyReplicas") != "1" || o.field("status.availableReplicas") != "" {
		t.Errorf("before: got %s", o.body)
	}
	resumed := a.follow(allDeployments + "&resourceVersion=" + a.resourceVersion(a.index()))
	for _, w := range []*watcher{first, resumed} {
		if o := w.wantEvents("MODIFIED web"); o.field("status.availableReplicas") != "1" || o.field("metadata.resourceVersion") != a.resourceVersion(a.index()) {
			t.Errorf("after: got %s", o.body)
		}
	}
	late := a.follow(allDeployments + "&resourceVersion=" + a.resourceVersion(a.index()))
	if o := late.wantEvents("MODIFIED web"); o.field("status.availableReplicas") != "1" {
		t.Errorf("late: got %s", o.body)
	}
}

// The same holds for a roll-out that stands still for too long.
func TestWatch_deadlineByTime(t *testing.T) {
	var skip atomic.Int64
	a := start(t, t.TempDir(), func(s *Server) {
		s.Now = func() time.Time { return time.Now().Add(time.Duration(skip.Load())) }
	})
	a.want(200, "POST", apply, docs(deployment("web", 1, "w"), deployment("none", 0, "w")))
	a.place(projection.Pod{Namespace: "default", Deployment: "web"}, "h1", "")
	seen := a.want(200, "GET", "/apis/apps/v1/deployments", "").field("metadata.resourceVersion")
	skip.Store(int64(time.Hour))
	for _, from := range []string{"&resourceVersion=" + seen, "&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"} {
		w := a.follow(allDeployments + from)
		if o := w.wantEvents("MODIFIED web"); o.field("status.conditions.1.reason") != "ProgressDeadlineExceeded" {
			t.Errorf("%s: got %s", from, o.body)
		}
	}
	w := a.follow(allDeployments + "&resourceVersion=" + seen + "&fieldSelector=metadata.name%3Dnone")
	a.want(200, "DELETE", deploymentsPath+"/none", "")
	w.wantEvents("DELETED none") // nothing had changed
}

// One event may change how several objects look. A client that has heard of one of them and takes the watch up again there hears of the others:
// none but the last is told with the version of the event.
func TestWatch_severalByOneEvent(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("web", 3, "web:1"))
	for i := range 3 {
		p := webPod(i)
		id := a.place(p, "h2", "")
		a.observe(p, "h2", &projection.Replica{Placement: id, Phase: projection.Running, Started: time.Now().Add(-time.Hour)})
	}
	const allPods = "/api/v1/namespaces/default/pods?watch=true"
	from := a.resourceVersion(a.index())
	a.silence("h2")
	want := map[string]bool{"web-0": true, "web-1": true, "web-2": true}
	for n := range 3 {
		w := a.follow(allPods + "&resourceVersion=" + from)
		if n == 0 {
			for range 3 {
				if got, _ := w.event(); !want[strings.TrimPrefix(got, "MODIFIED ")] {
					t.Fatalf("got %s", got)
				}
			}
			continue
		}
		// Whoever leaves after the first n of them.
		heard, version := map[string]bool{}, ""
		for range n {
			got, o := w.event()
			heard[strings.TrimPrefix(got, "MODIFIED ")], version = true, o.field("metadata.resourceVersion")
		}
		w.close()
		w = a.follow(allPods + "&resourceVersion=" + version)
		for len(heard) < 3 {
			got, _ := w.event()
			if heard[strings.TrimPrefix(got, "MODIFIED ")] = true; len(got) == 0 || got == "END" {
				t.Fatalf("after %d: heard %v", n, heard)
			}
		}
	}
	// A pod that has moved is told as one that goes and another that comes, by one event.
	p := projection.Pod{Namespace: "default", Deployment: "web"}
	w := a.follow(allPods + "&resourceVersion=" + a.resourceVersion(a.index()))
	a.place(p, "h3", "")
	gone := w.wantEvents("DELETED web-0")
	w.close()
	a.follow(allPods+"&resourceVersion="+gone.field("metadata.resourceVersion")).wantEvents("DELETED web-0", "ADDED web-0")
}
