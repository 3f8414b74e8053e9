package api

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Whoever declares a Service whose port leads to one that no container declares is told so, in either answer, and also when nothing would be changed: on a cluster of one it works, and on
// another host it does not.
func TestApply_undeclaredPorts(t *testing.T) {
	a := start(t, t.TempDir())
	web := func(spec string) string {
		return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":` + spec + `}}}`
	}
	declaring := web(`{"containers":[{"name":"web","image":"w","ports":[{"containerPort":80,"name":"http"},{"containerPort":53,"protocol":"UDP"}]}]}`)
	service := func(ports string) string {
		return `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[` + ports + `]}}`
	}
	none := web(`{"containers":[{"name":"web","image":"w"}]}`)
	const lacks = "which no container of deployment web declares, so that other hosts cannot reach it: add `containerPort: "
	for _, c := range []struct{ deployment, ports, want string }{
		{declaring, `{"port":80}`, ""},
		{declaring, `{"port":8080,"targetPort":80}`, ""},
		{declaring, `{"port":8080,"targetPort":"http"}`, ""},
		{declaring, `{"port":53,"protocol":"UDP"}`, ""},
		{declaring, `{"port":81}`, "port 81 leads to port 81/TCP, " + lacks + "81` there"},
		{declaring, `{"port":80,"targetPort":8080,"name":"a"}`, "port a leads to port 8080/TCP, " + lacks + "8080` there"},
		{declaring, `{"port":53}`, "port 53 leads to port 53/TCP, " + lacks + "53` there"},
		{declaring, `{"port":80,"targetPort":"https"}`, `port 80 leads nowhere in deployment web: no container there has a TCP port that is called "https"`},
		{none, `{"port":80}`, "port 80 leads to port 80/TCP, " + lacks + "80` there"},
		{web(`{"hostNetwork":true,"containers":[{"name":"web","image":"w"}]}`), `{"port":80}`, ""},
		{strings.ReplaceAll(none, `"app":"web"`, `"app":"other"`), `{"port":80}`, ""},
	} {
		both := `{"apiVersion":"v1","kind":"List","items":[` + service(c.ports) + "," + c.deployment + `]}`
		for _, query := range []string{"?dryRun=All", "", ""} {
			if got := a.want(200, "POST", "/api/v1/manifests"+query, both).field("results.0.warnings.0"); got != c.want {
				t.Errorf("%s upon %s%s: got %q, want %q", c.ports, c.deployment, query, got, c.want)
			}
		}
		got := a.want(200, "PATCH", "/api/v1/namespaces/default/services/web", `{"metadata":{"annotations":{"for":"kubectl"}}}`,
			"Content-Type: application/merge-patch+json").header.Get("Warning")
		if (got == "") != (c.want == "") || !strings.Contains(strings.ReplaceAll(got, `\"`, `"`), c.want) {
			t.Errorf("%s upon %s, written alone: got %q, want %q", c.ports, c.deployment, got, c.want)
		}
		a.want(200, "DELETE", "/api/v1/manifests/default/web?kind=deployment", "")
		a.want(200, "DELETE", "/api/v1/manifests/default/web?kind=service", "")
	}
}

// Of the Deployments of a namespace only those are read whole that the Service selects, and those once.
func TestWarnings_readOnlyWhatIsSelected(t *testing.T) {
	a := start(t, t.TempDir())
	const others = 200
	of := func(name string) projection.Change {
		return projection.Change{Kind: events.Declared, Key: "deployment/default/" + name, Object: []byte(
			`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"` + name + `"},"spec":{"selector":{"matchLabels":{"app":"` + name + `"}},"template":{"metadata":{"labels":{"app":"` +
				name + `"}},"spec":{"containers":[{"name":"a","image":"w","env":[{"name":"a","value":"b"}],"ports":[{"containerPort":80}]},{"name":"b","image":"w"}]}}}}`)}
	}
	changes := []projection.Change{of("web")}
	for i := range others {
		changes = append(changes, of(fmt.Sprintf("other%d", i)))
	}
	a.record(changes...)
	st := a.Ledger.View().State
	service := &declaration{key: "service/default/web", is: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 81}}}}}
	var got map[string][]string
	allocs := testing.AllocsPerRun(5, func() { got = warnings(st, service) })
	if len(got["service/default/web"]) != 1 {
		t.Errorf("got %v", got)
	}
	if most := 10.0 * others; allocs > most {
		t.Errorf("it took %v allocations for %d Deployments that are not selected, want %v at most", allocs, others, most)
	}
}
