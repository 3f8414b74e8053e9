package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

const webDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web:1, ports: [{name: http, containerPort: 8080}]}]
`

const webService = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
`

func web(n int) projection.Pod {
	return projection.Pod{Namespace: "default", Deployment: "web", Ordinal: n}
}

// found starts an agent with two hosts, a Deployment of two replicas and a Service in front of it.
func found(t *testing.T) (*agent, [2]events.ID) {
	a := start(t, t.TempDir())
	for i, ip := range []string{"192.0.2.1", "192.0.2.2"} {
		a.record(projection.Change{Kind: events.Observed, Key: projection.HostKey(fmt.Sprint("h", i+1)), Object: projection.Encode(projection.Host{Address: ip})})
	}
	a.want(200, "POST", "/api/v1/manifests", webDeployment+"---"+webService)
	return a, [2]events.ID{a.place(web(0), "h1", ""), a.place(web(1), "h2", "")}
}

func ran(of events.ID, ip string, port int) *projection.Replica {
	return &projection.Replica{Placement: of, Phase: projection.Running, IP: ip, Started: time.Unix(1, 0),
		Ports: []projection.Port{{Name: "http", Container: 8080, Host: port, Protocol: "TCP"}}}
}

// addresses is what the seed's route answers.
func (a *agent) addresses() string {
	return strings.TrimSpace(string(a.want(200, "GET", "/api/v1/services/default/web/addresses", "").body))
}

// A28 of failures-to-beat: endpoints expired 30 s after they were registered, for ever. They are there for as long as what they are
// of runs, and gone with it, in every form in which they are served.
func TestFailure_A28_endpointsFollowThePods(t *testing.T) {
	a, of := found(t)
	if got := a.addresses(); got != "[]" {
		t.Errorf("before anything runs: got %s", got)
	}
	a.observe(web(0), "h1", ran(of[0], "10.88.0.5", 20001))
	a.observe(web(1), "h2", ran(of[1], "10.88.0.5", 20002))
	if got, want := a.addresses(), `["192.0.2.1:20001","192.0.2.2:20002"]`; got != want {
		t.Errorf("both run: got %s, want %s", got, want)
	}
	later := *a.Server
	later.Now = func() time.Time { return time.Now().AddDate(10, 0, 0) }
	if got := later.lookAt(a.ledger.View().State).find(name{"default", "web"}); len(got.Absent) > 0 || len(got.Ports[0].Endpoints) != 2 {
		t.Errorf("ten years later: got %+v", got)
	}
	down := ran(of[1], "10.88.0.5", 20002)
	down.Unready = "GET /ready: 500"
	a.observe(web(1), "h2", down)
	if got, want := a.addresses(), `["192.0.2.1:20001"]`; got != want {
		t.Errorf("one is not ready: got %s, want %s", got, want)
	}
	got := a.want(200, "GET", "/api/v1/services/default/web/endpoints", "")
	if got.field("0.pod") != "web-0" || got.field("0.port") != "20001" || got.field("0.ready") != "true" || got.field("1.ready") != "false" {
		t.Errorf("got %s", got.body)
	}
	got = a.want(200, "GET", "/swarm/v1/services/default/web", "")
	if got.field("absent.0.pod") != "web-1" || got.field("absent.0.why") != "not ready: GET /ready: 500" {
		t.Errorf("got %s", got.body)
	}
	a.record(projection.Change{Kind: events.Decided, Key: web(0).PlacementKey()})
	if got := a.addresses(); got != "[]" {
		t.Errorf("the other is gone: got %s", got)
	}
	a.want(404, "GET", "/api/v1/services/default/nobody/endpoints", "")
	a.want(404, "GET", "/api/v1/services/default/nobody/addresses", "")
}

// A headless Service without ports has its replicas' addresses, as in Kubernetes, and no port that nobody has declared.
func TestEndpoints_withoutPorts(t *testing.T) {
	a, of := found(t)
	a.want(200, "POST", "/api/v1/manifests", "{apiVersion: v1, kind: Service, metadata: {name: peers}, spec: {clusterIP: None, selector: {app: web}}}")
	a.observe(web(0), "h1", ran(of[0], "10.88.0.5", 20001))
	a.observe(web(1), "h2", ran(of[1], "10.88.0.5", 20002))
	for path, want := range map[string]string{
		"/api/v1/services/default/peers/addresses": `["192.0.2.1","192.0.2.2"]`,
		"/api/v1/services/default/peers/endpoints": `[{"address":"192.0.2.1","ip":"192.0.2.1","port":0,"protocol":"","pod":"web-0","host":"h1","ready":true},` +
			`{"address":"192.0.2.2","ip":"192.0.2.2","port":0,"protocol":"","pod":"web-1","host":"h2","ready":true}]`,
	} {
		if got := strings.TrimSpace(string(a.want(200, "GET", path, "").body)); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	e := a.want(200, "GET", "/api/v1/namespaces/default/endpoints/peers", "")
	if e.field("subsets.1.addresses.0.ip") != "192.0.2.2" || e.field("subsets.1.ports") != "" {
		t.Errorf("got %s", e.body)
	}
	s := a.want(200, "GET", "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=kubernetes.io/service-name%3Dpeers", "")
	if s.field("items.1") != "" || s.field("items.0.endpoints.1.addresses.0") != "192.0.2.2" || s.field("items.0.ports") != "[]" {
		t.Errorf("got %s", s.body)
	}
}

func TestEndpoints_asKubernetesHasThem(t *testing.T) {
	a, of := found(t)
	const list = "/api/v1/namespaces/default/endpoints"
	w := a.follow(list + "?watch=true&resourceVersion=" + a.want(200, "GET", list, "").field("metadata.resourceVersion"))
	const slices = "/apis/discovery.k8s.io/v1/endpointslices"
	ws := a.follow(slices + "?watch=true&resourceVersion=" + a.want(200, "GET", slices, "").field("metadata.resourceVersion"))
	a.observe(web(0), "h1", ran(of[0], "10.88.0.5", 20001))
	what, o := w.event()
	got := a.want(200, "GET", list+"/web", "")
	if what != "MODIFIED web" || o.field("subsets") != got.field("subsets") || o.field("metadata.resourceVersion") != got.field("metadata.resourceVersion") {
		t.Errorf("the watch tells %s %s, want %s", what, o.body, got.body)
	}
	for path, want := range map[string]string{"kind": "Endpoints", "subsets.0.addresses.0.ip": "192.0.2.1", "subsets.0.addresses.0.nodeName": "h1",
		"subsets.0.addresses.0.targetRef.name": "web-0", "subsets.0.ports.0.port": "20001", "subsets.0.ports.0.name": "http"} {
		if got.field(path) != want {
			t.Errorf("%s: got %q, want %q", path, got.field(path), want)
		}
	}
	pod := a.want(200, "GET", "/api/v1/namespaces/default/pods/web-0", "")
	if got.field("subsets.0.addresses.0.targetRef.uid") != pod.field("metadata.uid") {
		t.Error("the target has another uid than the pod")
	}
	first, _ := ws.event() // the empty one goes, the one of web-0 comes, in the order of their names
	second, _ := ws.event()
	if first[:5]+second[:5] != "ADDEDDELET" && first[:5]+second[:5] != "DELETADDED" {
		t.Errorf("of slices was told %s, %s", first, second)
	}
	got = a.want(200, "GET", slices+"?labelSelector=kubernetes.io/service-name%3Dweb", "")
	for path, want := range map[string]string{"kind": "EndpointSliceList", "items.1": "", "items.0.endpoints.0.addresses.0": "192.0.2.1",
		"items.0.endpoints.0.conditions.ready": "true", "items.0.ports.0.port": "20001", "items.0.addressType": "IPv4"} {
		if got.field(path) != want {
			t.Errorf("%s: got %q, want %q in %s", path, got.field(path), want, got.body)
		}
	}
	one := a.want(200, "GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/"+got.field("items.0.metadata.name"), "")
	if one.field("metadata.uid") != got.field("items.0.metadata.uid") {
		t.Errorf("got %s", one.body)
	}
	a.observe(web(1), "h2", ran(of[1], "10.88.0.5", 20002))
	if what, o := w.event(); what != "MODIFIED web" || o.field("subsets.1.addresses.0.ip") != "192.0.2.2" {
		t.Errorf("got %s %s", what, o.body)
	}
	// A host that this one does not hear takes its replicas with it, and nothing was said of these.
	a.record(projection.Change{Kind: events.Observed, Key: projection.SightKey("h1"),
		Object: projection.Encode(projection.Sight{Silent: map[string]time.Time{"h2": time.Unix(0, 0)}})})
	if what, o := w.event(); what != "MODIFIED web" || o.field("subsets.1.notReadyAddresses.0.ip") != "192.0.2.2" {
		t.Errorf("got %s %s", what, o.body)
	}
	a.want(200, "DELETE", "/api/v1/namespaces/default/services/web", "")
	if what, _ := w.event(); what != "DELETED web" {
		t.Errorf("got %s", what)
	}
	a.want(404, "GET", list+"/web", "")
	a.want(405, "DELETE", slices, "")
	if got := a.want(200, "GET", "/apis/discovery.k8s.io/v1", ""); got.field("resources.0.name") != "endpointslices" {
		t.Errorf("got %s", got.body)
	}
}

// What a Service's address follows from is shown and never recorded: what was read can be written back by every way that there is.
func TestService_derivedIsNotDeclared(t *testing.T) {
	a, _ := found(t)
	const path = "/api/v1/namespaces/default/services/web"
	before, index := a.want(200, "GET", path, ""), a.index()
	ip, port := before.field("spec.clusterIP"), before.field("spec.ports.0.nodePort")
	if !strings.HasPrefix(ip, "10.") || before.field("spec.clusterIPs.0") != ip || len(port) != 5 {
		t.Fatalf("got %s", before.body)
	}
	for _, again := range []answer{
		a.want(200, "PUT", path, string(before.body)),
		a.want(200, "PATCH", path, `{"spec":{"type":"NodePort"}}`, "Content-Type: application/merge-patch+json"),
		a.want(200, "PATCH", path, `{"spec":{"clusterIP":"`+ip+`"}}`, "Content-Type: application/strategic-merge-patch+json"),
	} {
		if string(again.body) != string(before.body) {
			t.Errorf("got %s, want %s", again.body, before.body)
		}
	}
	for _, body := range []string{webService, string(before.body)} {
		if got := a.want(200, "POST", "/api/v1/manifests", body); got.field("results.0.action") != "unchanged" {
			t.Errorf("applied again: got %s", got.body)
		}
	}
	if a.index() != index {
		t.Errorf("%d events were recorded of what is derived", a.index()-index)
	}
	dry := a.want(200, "PATCH", path+"?dryRun=All", `{"metadata":{"labels":{"x":"y"}}}`, "Content-Type: application/merge-patch+json")
	if dry.field("spec") != before.field("spec") {
		t.Errorf("a dry run shows %s", dry.body)
	}
	changed := a.want(200, "PATCH", path, `{"spec":{"sessionAffinity":"ClientIP"}}`, "Content-Type: application/merge-patch+json")
	if changed.field("spec.clusterIP") != ip || changed.field("spec.ports.0.nodePort") != port {
		t.Errorf("after a change: got %s", changed.body)
	}
	if o, _ := a.ledger.View().Lookup("service/default/web"); strings.Contains(string(o.Version.Object), "clusterIP") || strings.Contains(string(o.Version.Object), "nodePort") {
		t.Errorf("recorded was %s", o.Version.Object)
	}
	// An older one that comes to want the address gets it, and the watch of Services tells of both.
	w := a.follow("/api/v1/services?watch=true&resourceVersion=" + a.want(200, "GET", "/api/v1/services", "").field("metadata.resourceVersion"))
	a.record(projection.Change{Kind: events.Declared, Key: "service/default/old", Object: []byte(
		`{"kind":"Service","apiVersion":"v1","metadata":{"name":"old","namespace":"default","creationTimestamp":"2001-01-01T00:00:00Z"},"spec":{"clusterIP":"` + ip + `","ports":[{"port":1}]}}`)})
	told := map[string]string{}
	for range 2 {
		what, o := w.event()
		told[what] = o.field("spec.clusterIP") + " " + o.field("metadata.resourceVersion")
	}
	now := a.want(200, "GET", path, "")
	// By one event, so that the other's own is told last, with the version of it.
	if told["ADDED old"] != ip+" "+now.field("metadata.resourceVersion") || now.field("spec.clusterIP") == ip ||
		told["MODIFIED web"] != now.field("spec.clusterIP")+" "+a.resourceVersion(a.index()-1) {
		t.Errorf("told was %v, and web is now %s", told, now.body)
	}
}

// What is elsewhere can be put behind a Service by hand; what is behind one that selects replicas cannot.
func TestEndpoints_byHand(t *testing.T) {
	a, _ := found(t)
	const db = "apiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {ports: [{name: sql, port: 5432}]}\n"
	const given = "apiVersion: v1\nkind: Endpoints\nmetadata: {name: db}\nsubsets:\n- addresses: [{ip: 198.51.100.7}, {ip: 198.51.100.8}]\n  ports: [{name: sql, port: 15432}]\n"
	a.want(200, "POST", "/api/v1/manifests", db)
	const path = "/api/v1/namespaces/default/endpoints"
	a.want(404, "GET", path+"/db", "")
	w := a.follow(path + "?watch=true&resourceVersion=" + a.want(200, "GET", path, "").field("metadata.resourceVersion"))
	a.want(200, "POST", "/api/v1/manifests", given)
	got := a.want(200, "GET", path+"/db", "")
	if what, o := w.event(); what != "ADDED db" || o.field("subsets") != got.field("subsets") || got.field("subsets.0.addresses.1.ip") != "198.51.100.8" {
		t.Errorf("got %s %s", what, got.body)
	}
	if got := a.want(200, "GET", "/api/v1/services/default/db/addresses", ""); strings.TrimSpace(string(got.body)) != `["198.51.100.7:15432","198.51.100.8:15432"]` {
		t.Errorf("got %s", got.body)
	}
	slices := a.want(200, "GET", "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=kubernetes.io/service-name%3Ddb", "")
	if slices.field("items.0.endpoints.1.addresses.0") != "198.51.100.8" || slices.field("items.0.ports.0.port") != "15432" || slices.field("items.1") != "" {
		t.Errorf("got %s", slices.body)
	}
	if got := a.want(200, "POST", "/api/v1/manifests", db+"---\n"+given); got.field("results.0.action")+got.field("results.1.action") != "unchangedunchanged" {
		t.Errorf("applied again: got %s", got.body)
	}
	for _, wrong := range []string{strings.ReplaceAll(given, "name: db", "name: web"), strings.ReplaceAll(given, "198.51.100.7", "127.0.0.1")} {
		if got := a.want(422, "POST", "/api/v1/manifests", wrong); !strings.Contains(string(got.body), "subsets") {
			t.Errorf("got %s", got.body)
		}
	}
	a.want(422, "PATCH", path+"/web", `{"subsets":[]}`, "Content-Type: application/merge-patch+json")
	a.want(200, "DELETE", path+"/db", "")
	if what, _ := w.event(); what != "DELETED db" {
		t.Errorf("got %s", what)
	}
	if got := a.want(200, "GET", "/api/v1/services/default/db/addresses", ""); strings.TrimSpace(string(got.body)) != "[]" {
		t.Errorf("got %s", got.body)
	}
}

// A Service that an agent of another version has recorded, in a way that this one cannot read, is no reason to stumble over another that is declared.
func TestDeclare_uponAServiceThatCannotBeRead(t *testing.T) {
	a := start(t, t.TempDir())
	a.record(projection.Change{Kind: events.Declared, Key: "service/default/web", Object: []byte(`{"apiVersion":"v1","kind":"Service","spec":{"ports":"many"}}`)})
	if got := string(a.do("POST", "/api/v1/manifests", webService).body); strings.Contains(got, "internal error") || strings.Contains(got, "nil pointer") {
		t.Errorf("got %s", got)
	}
}
