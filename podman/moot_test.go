package podman_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A pull that goes on and on keeps a replica from nothing: not from being deleted, nor from its next template.
func TestReconciler_placementEndsWhileItPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		w.fake.AddImage("docker.io/library/slow:1", "")
		w.fake.Hook(func(op, _ string) error {
			if op == "Pull" {
				time.Sleep(20 * time.Minute)
			}
			return nil
		})
		slow := template(func(s *corev1.PodSpec) {
			s.Containers[0].Image, s.Containers[0].ImagePullPolicy = "slow:1", corev1.PullAlways
		})
		w.place(host, slow, pod("web", 0), pod("web", 1))
		w.settled(time.Minute)
		w.place(host, template(), pod("web", 0))
		w.end(pod("web", 1))
		w.settled(time.Second)
		w.runs(pod("web", 0))
		if f := w.fact(pod("web", 1)); f != nil {
			t.Errorf("deleted while it pulled: still recorded as %+v", f)
		}
		w.settled(time.Hour)
		w.runs(pod("web", 0))
		made := slices.DeleteFunc(w.fake.Calls(), func(c string) bool { return !strings.HasPrefix(c, "Create ") })
		if len(made) != 1 {
			t.Errorf("made: %q; want the one that is wanted", made)
		}
	})
}
