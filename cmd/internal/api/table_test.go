package api

//lint:file-ignore SA1019 Endpoints are written by hand; see events/manifest/endpoints.go

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// asTable is what kubectl asks for.
const asTable = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"

// tableOf reads a Table.
func tableOf(t *testing.T, body []byte) *metav1.Table {
	t.Helper()
	to := &metav1.Table{}
	if err := json.Unmarshal(body, to); err != nil || to.Kind != "Table" || to.APIVersion != "meta.k8s.io/v1" {
		t.Fatalf("got %v, %s", err, body)
	}
	return to
}

// text is a table as kubectl shows it with -o wide, but for the widths.
func text(to *metav1.Table) (lines []string) {
	var head []string
	for _, c := range to.ColumnDefinitions {
		head = append(head, strings.ToUpper(c.Name))
	}
	if head != nil {
		lines = append(lines, strings.Join(head, "|"))
	}
	for _, r := range to.Rows {
		var cells []string
		for _, c := range r.Cells {
			cells = append(cells, fmt.Sprint(c))
		}
		lines = append(lines, strings.Join(cells, "|"))
	}
	return lines
}

func TestTable_everyKind(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, docs(deployment("web", 2, "web:1"), service("web"), anIngress("web"),
		"apiVersion: v1\nkind: Endpoints\nmetadata: {name: far}\nsubsets: [{addresses: [{ip: 192.0.2.1}, {ip: 192.0.2.2}], ports: [{name: a, port: 80}, {name: b, port: 81}]}]\n", configMap("app", `"data":{"a":"x","b":"x"},"binaryData":{"c":"AA=="}`)))
	for _, c := range []struct{ path, name, want string }{
		{"/apis/apps/v1/deployments", "web", "NAME|READY|UP-TO-DATE|AVAILABLE|AGE|CONTAINERS|IMAGES|SELECTOR\nweb|0/2|0|0|AGE|web|web:1|app=web"},
		{"/api/v1/services", "web", "NAME|TYPE|CLUSTER-IP|EXTERNAL-IP|PORT(S)|AGE|SELECTOR\nweb|ClusterIP|10.111.184.154|<none>|80/TCP|AGE|app=web"},
		{"/apis/networking.k8s.io/v1/ingresses", "web", "NAME|CLASS|HOSTS|ADDRESS|PORTS|AGE\nweb|<none>|web.example||80|AGE"},
		{"/api/v1/endpoints", "far", "NAME|ENDPOINTS|AGE\nfar|192.0.2.1:80,192.0.2.2:80,192.0.2.1:81 + 1 more...|AGE"},
		{"/api/v1/configmaps", "app", "NAME|DATA|AGE\napp|3|AGE"},
		{"/api/v1/namespaces", "default", "NAME|STATUS|AGE\ndefault|Active|<unknown>"},
	} {
		to := tableOf(t, a.want(200, "GET", c.path, "", asTable).body)
		got := text(to)
		i := slices.IndexFunc(to.Rows, func(r metav1.TableRow) bool { return r.Cells[0] == c.name })
		if i < 0 {
			t.Errorf("%s: got %q, want one of %s", c.path, got, c.name)
			continue
		}
		aged := strings.Replace(got[i+1], "|0s", "|AGE", 1)
		if len(aged) == len(got[i+1]) {
			aged = strings.Replace(got[i+1], "|1s", "|AGE", 1)
		}
		if got := got[0] + "\n" + aged; got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.path, got, c.want)
		}
	}
	for _, r := range resources() { // whatever there is, in each cell is something
		path := "/api/v1/" + r.plural
		if r.group != "" {
			path = "/apis/" + r.group + "/v1/" + r.plural
		}
		to := tableOf(t, a.want(200, "GET", path, "", asTable).body)
		if i := slices.IndexFunc(to.ColumnDefinitions, func(c metav1.TableColumnDefinition) bool { return c.Name == "Name" && c.Format == "name" }); i < 0 || len(to.Rows) > 0 && to.ResourceVersion == "" {
			t.Errorf("%s: got %+v", path, to)
		}
		for _, row := range to.Rows {
			if len(row.Cells) != len(to.ColumnDefinitions) || slices.Contains(row.Cells, nil) {
				t.Errorf("%s: got %v below %v", path, row.Cells, to.ColumnDefinitions)
			}
		}
	}
}

// Whoever names no Table, or none that there is, is answered as ever.
func TestTable_accept(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, service("web"))
	for accept, want := range map[string]string{
		"application/json":                      "ServiceList",
		"*/*":                                   "ServiceList",
		"application/json, " + asTable[8:]:      "ServiceList", // the first that there is
		"application/json;as=Table;g=x;v=v1":    "ServiceList",
		"application/json;as=Table;v=v2":        "ServiceList",
		"application/yaml;as=Table, text/plain": "ServiceList",
		"application/json;as=Table;g=meta.k8s.io;v=v1beta1, application/json":               "Table",
		"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1," + asTable[8:]:   "Table",
		"application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1, " + asTable[8:]:   "Table",
		"application/json; as = Table; g=meta.k8s.io ;v=v1;;, application/json;as=Table;g=": "ServiceList",
	} {
		if got := a.want(200, "GET", "/api/v1/services", "", "Accept: "+accept).field("kind"); got != want {
			t.Errorf("Accept: %s: got a %s, want a %s", accept, got, want)
		}
	}
	if got := tableOf(t, a.want(200, "GET", "/api/v1/namespaces/default/services/web", "", asTable).body); len(got.Rows) != 1 || got.Rows[0].Cells[0] != "web" {
		t.Errorf("of one: got %+v", got)
	}
	a.want(404, "GET", "/api/v1/namespaces/default/services/none", "", asTable)
}

func TestTable_includeObject(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, service("web"))
	for include, want := range map[string]string{"": "PartialObjectMetadata", "Metadata": "PartialObjectMetadata", "Object": "Service", "None": ""} {
		got := a.want(200, "GET", "/api/v1/services?includeObject="+include, "", asTable)
		if kind, name := got.field("rows.0.object.kind"), got.field("rows.0.object.metadata.name"); kind != want || (name == "web") != (want != "") ||
			(got.field("rows.0.object.spec.ports.0.port") == "80") != (include == "Object") {
			t.Errorf("%q: got %s", include, got.body)
		}
	}
}

func TestTable_watch(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	w := a.follow(allDeployments+"&allowWatchBookmarks=true", asTable)
	next := func() (typ string, to *metav1.Table) {
		t.Helper()
		var e struct {
			Type   string
			Object json.RawMessage
		}
		if err := json.Unmarshal([]byte(<-w.lines), &e); err != nil {
			t.Fatal(err)
		}
		return e.Type, tableOf(t, e.Object)
	}
	if typ, to := next(); typ != "ADDED" || len(to.ColumnDefinitions) == 0 || to.Rows[0].Cells[0] != "a" || to.Rows[0].Cells[1] != "0/1" {
		t.Errorf("got %s %q", typ, text(to))
	}
	a.want(200, "POST", apply, deployment("a", 3, "w"))
	if typ, to := next(); typ != "MODIFIED" || len(to.ColumnDefinitions) != 0 || to.Rows[0].Cells[1] != "0/3" || to.ResourceVersion == "" {
		t.Errorf("got %s %q, want the row alone", typ, text(to))
	}
	a.want(200, "DELETE", deploymentsPath+"/a", "")
	if typ, to := next(); typ != "DELETED" || to.Rows[0].Cells[0] != "a" {
		t.Errorf("got %s %q", typ, text(to))
	}
}

// Who waits for the end of what was there at the beginning finds its mark in a table as well.
func TestTable_initialEventsEnd(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	w := a.follow(allDeployments+"&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", asTable)
	for _, want := range []string{"ADDED a ", "BOOKMARK  true"} {
		var e struct {
			Type   string
			Object struct {
				Kind     string
				Metadata metav1.ListMeta
				Rows     []struct {
					Object metav1.PartialObjectMetadata
				}
			}
		}
		if err := json.Unmarshal([]byte(<-w.lines), &e); err != nil || e.Object.Kind != "Table" || len(e.Object.Rows) != 1 || e.Object.Metadata.ResourceVersion == "" {
			t.Fatalf("got %v, %+v", err, e)
		}
		o := e.Object.Rows[0].Object
		if got := e.Type + " " + o.Name + " " + o.Annotations[metav1.InitialEventsAnnotationKey]; got != want || o.ResourceVersion == "" {
			t.Errorf("got %q at %q, want %q", got, o.ResourceVersion, want)
		}
	}
}

func TestColumns_cells(t *testing.T) {
	now := time.Now()
	pod := func(change func(p *corev1.Pod, c *corev1.ContainerStatus)) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 1)},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: make([]corev1.ContainerStatus, 1)}}
		change(p, &p.Status.ContainerStatuses[0])
		return p
	}
	port, web := int32(80), "web"
	for _, c := range []struct {
		kind string
		o    object
		want map[string]string
	}{
		{"Pod", pod(func(_ *corev1.Pod, c *corev1.ContainerStatus) { c.Ready = true }), map[string]string{"Ready": "1/1", "Status": "Running", "Restarts": "0", "Age": "<unknown>", "Node": "<none>"}},
		{"Pod", pod(func(_ *corev1.Pod, c *corev1.ContainerStatus) {
			c.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
			c.RestartCount, c.LastTerminationState.Terminated = 7, &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now.Add(-5 * time.Minute))}
		}), map[string]string{"Ready": "0/1", "Status": "CrashLoopBackOff", "Restarts": "7 (5m ago)"}},
		{"Pod", pod(func(_ *corev1.Pod, c *corev1.ContainerStatus) {
			c.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed"}
		}), map[string]string{"Status": "Completed"}},
		{"Pod", pod(func(p *corev1.Pod, _ *corev1.ContainerStatus) {
			p.Status.Phase, p.Status.Reason = corev1.PodUnknown, "NodeLost"
		}), map[string]string{"Status": "Unknown"}},
		{"Pod", pod(func(p *corev1.Pod, _ *corev1.ContainerStatus) { p.DeletionTimestamp = &metav1.Time{} }), map[string]string{"Status": "Terminating"}},
		{"Service", &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "db.example"}},
			map[string]string{"Type": "ExternalName", "Cluster-IP": "<none>", "External-IP": "db.example", "Port(s)": "<none>", "Selector": "<none>"}},
		{"Service", &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.7", Ports: []corev1.ServicePort{{Port: 80, NodePort: 30080}, {Port: 53, Protocol: corev1.ProtocolUDP}}}},
			map[string]string{"Type": "ClusterIP", "Cluster-IP": "10.96.0.7", "Port(s)": "80:30080/TCP,53/UDP"}},
		{"EndpointSlice", &discoveryv1.EndpointSlice{AddressType: "IPv4", Ports: []discoveryv1.EndpointPort{{Port: &port}, {}}, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}}},
			map[string]string{"AddressType": "IPv4", "Ports": "80,*", "Endpoints": "192.0.2.1"}},
		{"Node", &corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true}, Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}, Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.9"}}}},
			map[string]string{"Status": "Ready,SchedulingDisabled", "Internal-IP": "192.0.2.9", "External-IP": "<none>", "OS-Image": "<unknown>"}},
		{"Node", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/": "", "kubernetes.io/role": "db", "zone": "a"}},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}}}, map[string]string{"Status": "NotReady", "Roles": "db,edge"}},
		{"Node", &corev1.Node{}, map[string]string{"Status": "Unknown", "Roles": "<none>"}},
		{"Service", &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}, map[string]string{"External-IP": "<pending>"}},
		{"Service", &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ExternalIPs: []string{"192.0.2.1", "192.0.2.2"}}}, map[string]string{"External-IP": "192.0.2.1,192.0.2.2"}},
		{"EndpointSlice", &discoveryv1.EndpointSlice{}, map[string]string{"Ports": "<unset>", "Endpoints": "<unset>"}},
		{"EndpointSlice", &discoveryv1.EndpointSlice{Ports: []discoveryv1.EndpointPort{{Name: &web}, {}}}, map[string]string{"Ports": "web,*"}},
		{"Endpoints", &corev1.Endpoints{Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "192.0.2.1"}}}}}, map[string]string{"Endpoints": "192.0.2.1"}},
		{"Endpoints", &corev1.Endpoints{}, map[string]string{"Endpoints": "<none>"}},
		{"Ingress", &networkingv1.Ingress{Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: "b"}, {}, {Host: "a"}}}}, map[string]string{"Hosts": "b,a", "Ports": "80"}},
		{"Ingress", &networkingv1.Ingress{Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{}}, TLS: make([]networkingv1.IngressTLS, 1)}}, map[string]string{"Hosts": "*", "Ports": "80, 443"}},
		{"Event", &corev1.Event{Source: corev1.EventSource{Component: "agent", Host: "h1"}}, map[string]string{"Source": "agent, h1"}},
		{"Event", &corev1.Event{Source: corev1.EventSource{Component: "agent"}}, map[string]string{"Source": "agent"}},
		{"Secret", &corev1.Secret{Data: map[string][]byte{"a": nil, "b": nil}}, map[string]string{"Type": "Opaque", "Data": "2"}},
		{"Event", &corev1.Event{Count: 0, Message: " x\n", LastTimestamp: metav1.NewTime(now.Add(-time.Hour)), InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "web-0"}},
			map[string]string{"Last Seen": "60m", "Object": "pod/web-0", "Message": "x", "Count": "1"}},
		{"Pod", &corev1.Service{}, map[string]string{"Ready": "<none>", "Restarts": "<none>"}}, // never a panic
		{"Whatever", &corev1.Service{}, map[string]string{"Name": "", "Age": "<unknown>"}},
	} {
		for _, col := range columns(c.kind) {
			if want, ok := c.want[col.name]; ok {
				if got := fmt.Sprint(col.cell(c.o, now)); got != want {
					t.Errorf("%s, %s: got %q, want %q", c.kind, col.name, got, want)
				}
				delete(c.want, col.name)
			}
		}
		if len(c.want) > 0 {
			t.Errorf("%s has no columns for %v", c.kind, c.want)
		}
	}
}
