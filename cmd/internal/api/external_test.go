package api

import (
	"fmt"
	"strings"
	"testing"
)

// A Service that stands for a name says why that is not looked up: names of the cluster always are, others by the list.
func TestFound_nameOffTheList(t *testing.T) {
	a, _ := found(t)
	names := map[string]bool{ // whether it is refused
		"shop.example.com": true, "www.example.com": true, "example.com": true, "one.allowed.example": false, "allowed.example": true,
		"web.default.svc.cluster.local": false, "none.default.svc.cluster.local": false, "cluster.local": false, "web.default.svc": false,
		"mycluster.local": true, "web.default.svc.example.com": true,
	}
	var all []string
	order := []string{"shop.example.com"} // e0
	for name := range names {
		if name != order[0] {
			order = append(order, name)
		}
	}
	for i, name := range order {
		all = append(all, fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: e%d}, spec: {type: ExternalName, externalName: %s}}\n", i, name))
	}
	a.want(200, "POST", "/api/v1/manifests", strings.Join(all, "---\n"))
	refused := func(i int) string {
		return a.want(200, "GET", fmt.Sprintf("/swarm/v1/services/default/e%d", i), "").field("refused")
	}
	for i, name := range order {
		if got := refused(i); got != "" {
			t.Errorf("%s, without a list: got %q", name, got)
		}
	}
	a.want(200, "PUT", dnsPath, `{"enabled": true, "hosts": ["*.allowed.example"]}`)
	for i, name := range order {
		if got := refused(i); (got != "") != names[name] || got != "" && !strings.Contains(got, "psctl dns allow") {
			t.Errorf("%s: got %q, want it refused: %t", name, got, names[name])
		}
	}
	if got := a.want(200, "GET", "/swarm/v1/services/default/e0", "").field("refused"); !strings.HasPrefix(got, "shop.example.com is not on") {
		t.Errorf("got %q, want the name", got)
	}
}

// What an Ingress can lead to is told by port: a headless Service without ports has ready replicas, and none.
func TestFound_open(t *testing.T) {
	a, of := found(t)
	a.want(200, "POST", "/api/v1/manifests", "apiVersion: v1\nkind: Service\nmetadata: {name: peers}\nspec: {clusterIP: None, selector: {app: web}}\n"+
		"---\napiVersion: v1\nkind: Service\nmetadata: {name: both}\nspec: {selector: {app: web}, ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 81, targetPort: none}]}\n")
	a.observe(web(0), "h1", ran(of[0], "10.88.0.5", 20001))
	a.observe(web(1), "h2", ran(of[1], "10.88.0.5", 20002))
	got := map[string]string{}
	reply := a.want(200, "GET", "/swarm/v1/services", "")
	for i := range 3 {
		f := func(name string) string { return reply.field(fmt.Sprintf("%d.%s", i, name)) }
		got[f("name")] = f("ready") + " " + f("open.0.name") + " " + f("open.0.port") + " " + f("open.1.name")
	}
	if got["peers"] != "2   " || got["both"] != "2 a 80 " || got["web"] != "2 http 80 " {
		t.Errorf("got %q", got)
	}
	for n, host := range []string{"h1", "h2"} {
		down := ran(of[n], "10.88.0.5", 20001+n)
		down.Unready = "GET /ready: 500"
		a.observe(web(n), host, down)
	}
	if reply := a.want(200, "GET", "/swarm/v1/services", ""); strings.Count(string(reply.body), `"open":[]`) != 3 {
		t.Errorf("none is ready: got %s", reply.body)
	}
}
