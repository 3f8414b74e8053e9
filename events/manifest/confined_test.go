package manifest

import (
	"slices"
	"strings"
	"testing"
)

// What reaches beyond a container is named by its field, all of it, and what does not is left alone.
func TestUnconfined(t *testing.T) {
	host := func(container, pod string) Object {
		return one(t, strings.Replace(deployment(pod), `image: "nginx:1"`, `image: "nginx:1", `+container, 1))
	}
	for _, c := range []struct {
		container, pod string
		want           []string
	}{
		{"ports: [{containerPort: 80}]", "\n      volumes: [{name: v, emptyDir: {}}]", nil},
		{"securityContext: {runAsUser: 0, privileged: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE, cap_chown]}}", "", nil},
		{"readinessProbe: {httpGet: {port: 80}}, livenessProbe: {tcpSocket: {port: 80}}, lifecycle: {preStop: {sleep: {seconds: 1}}}", "", nil},
		{"ports: [{containerPort: 80}, {containerPort: 81, hostPort: 8081}, {containerPort: 82, hostPort: 82}]", "\n      hostNetwork: false",
			[]string{"containers[0].ports[1].hostPort", "containers[0].ports[2].hostPort"}},
		{"ports: [{containerPort: 8080}]", "\n      hostNetwork: true\n      volumes: [{name: a, emptyDir: {}}, {name: b, hostPath: {path: /}}, {name: c, hostPath: {path: /srv}}]",
			[]string{"hostNetwork", "volumes[1].hostPath", "volumes[2].hostPath"}},
		{"securityContext: {privileged: true, capabilities: {add: [CHOWN, SYS_ADMIN, all, cap_net_admin]}}", "", []string{"containers[0].securityContext.privileged",
			"containers[0].securityContext.capabilities.add[1]", "containers[0].securityContext.capabilities.add[2]", "containers[0].securityContext.capabilities.add[3]"}},
		{"readinessProbe: {httpGet: {port: 80, host: 127.0.0.1}}, livenessProbe: {tcpSocket: {port: 80, host: h2}}, startupProbe: {httpGet: {port: 80, host: h2}}," +
			" lifecycle: {preStop: {httpGet: {port: 80, host: h2}}}", "",
			[]string{"containers[0].readinessProbe.httpGet.host", "containers[0].livenessProbe.tcpSocket.host", "containers[0].startupProbe.httpGet.host", "containers[0].lifecycle.preStop.httpGet.host"}},
	} {
		o := host(c.container, c.pod)
		var got []string
		for _, e := range Unconfined(o, "him") {
			got = append(got, strings.TrimPrefix(e.Field, "spec.template.spec."))
			if !strings.HasSuffix(e.Detail, ": not for him") {
				t.Errorf("got %v", e)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s: got %q, want %q", c.container, c.pod, got, c.want)
		}
	}
	if got := Unconfined(one(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"), "him"); got != nil {
		t.Errorf("got %v", got)
	}
}
