package podman_test

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// On a real Podman: what is asked over HTTP, TCP and by a command gates and restarts a container, and its resolver is the one
// that the agent was told.
func TestReal_probes(t *testing.T) {
	w := newReal(t)
	w.run(func(r *podman.Reconciler) {
		r.Resolver = func() netip.Addr { return netip.MustParseAddr("192.0.2.10") }
	})
	w.ready()
	p := pod("web", 0)
	every := func(h corev1.ProbeHandler) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: h, PeriodSeconds: 1, TimeoutSeconds: 10, FailureThreshold: 2}
	}
	w.place(host, web(func(s *corev1.PodSpec) {
		c := &s.Containers[0]
		c.StartupProbe = every(corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}})
		c.StartupProbe.FailureThreshold = 60
		c.ReadinessProbe = every(corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/health/ready", Port: intstr.FromInt(80)}})
		c.LivenessProbe = every(corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/web", "-check=live"}}})
	}), p)
	fact := func(what string, so func(*projection.Replica) bool) projection.Replica {
		t.Helper()
		var f projection.Replica
		w.until(what, func() bool {
			now := w.fact(p)
			if now != nil {
				f = *now
			}
			return now != nil && so(now)
		})
		return f
	}
	ready := func(f *projection.Replica) bool {
		return f.Phase == projection.Running && f.Unready == "" && !f.Readied.IsZero()
	}
	fact("it is ready", ready)
	conf := w.get(p, "/resolv.conf")
	for _, want := range []string{"nameserver 192.0.2.10\n", "search default.svc.cluster.local svc.cluster.local cluster.local", "ndots:5", "timeout:5", "attempts:2"} {
		if !strings.Contains(conf, want) || strings.Count(conf, "nameserver") != 1 {
			t.Errorf("resolv.conf is %q, want %q in it, and one name server", conf, want)
		}
	}
	w.get(p, "/health/ready?set=503")
	fact("it is not ready", func(f *projection.Replica) bool {
		return f.Phase == projection.Running && f.Unready == "readiness probe: HTTP 503 from /health/ready"
	})
	w.get(p, "/health/ready?set=200")
	before := fact("it is ready again", ready)
	w.get(p, "/health/live?set=500") // it goes on failing after the restart, and waits then
	after := fact("it is restarted", func(f *projection.Replica) bool { return f.Restarts > 0 })
	if before.Restarts != 0 || after.Container != before.Container || !after.Finished.After(before.Started) {
		t.Errorf("before %+v, after %+v; want the same container, started again", before, after)
	}
	if n := w.tells(p, func(r *projection.Replica) bool {
		return r.Reason == "Unhealthy" && r.Message == "liveness probe: /web exited with code 1"
	}); n == 0 {
		t.Error("no event says why it was restarted")
	}
}
