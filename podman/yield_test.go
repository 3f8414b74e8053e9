package podman_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// says has another host say how its container of a pod is doing.
func (w *world) says(other string, p projection.Pod, phase projection.Phase) {
	w.t.Helper()
	placed, err := w.ledger.View().Placement(p)
	if err != nil || placed == nil {
		w.t.Fatalf("%s is not placed: %v", p.Name(), err)
	}
	w.record(projection.Change{Kind: events.Observed, Key: p.ReplicaKey(other), Object: projection.Encode(projection.Replica{
		Placement: placed.Event(), Phase: phase})})
}

// hears has this host say which others it does not hear.
func (w *world) hears(silent ...string) {
	w.t.Helper()
	sight := projection.Sight{Silent: map[string]time.Time{}}
	for _, s := range silent {
		sight.Silent[s] = time.Now()
	}
	w.record(projection.Change{Kind: events.Observed, Key: projection.SightKey(host), Object: projection.Encode(sight)})
}

// Line 12 of B: a host that returns keeps what was moved away from it until the other host says that it runs there.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.run()
		w.ready()
		before := w.stamps(three...)
		w.stop()
		w.place("two", template(), three[0])
		w.restart()
		w.ready()
		for range 3 { // whatever happens meanwhile, and however long it takes
			w.settled(time.Hour)
			if got := stamp(w.one(three[0])); got != before[0] {
				t.Fatalf("got %s, want it left alone: %s", got, before[0])
			}
			w.says("two", three[0], projection.Pending)
			w.place(host, template(), pod("other", 0))
		}
		if f := w.fact(three[0]); f == nil {
			t.Error("what was recorded of it was taken back")
		}
		if r := w.Report(); r.Removed != 0 || r.Bounced != 0 || r.Orphans != 0 || r.Failed != 0 || r.Adopted != 2 {
			t.Errorf("got report %+v", r)
		}
		if n := w.said.count("pod has moved"); n != 1 {
			t.Errorf("it was said %d times", n)
		}
		w.hears("two")
		w.says("two", three[0], projection.Running)
		w.settled(time.Hour)
		if got := stamp(w.one(three[0])); got != before[0] {
			t.Errorf("got %s although the other host is not heard, want %s", got, before[0])
		}
		w.record(projection.Change{Kind: events.Observed, Key: projection.SightKey(host), Object: projection.Encode(projection.Sight{Recovering: []string{"two"}})})
		w.settled(time.Hour)
		if got := stamp(w.one(three[0])); got != before[0] {
			t.Errorf("got %s although the other host recovers, want %s", got, before[0])
		}
		w.hears()
		w.settled(time.Minute)
		if got := w.of(three[0]); len(got) != 0 || w.fact(three[0]) != nil {
			t.Errorf("got %+v, recorded %+v, want neither: it runs on the other host", got, w.fact(three[0]))
		}
		w.stamps(three[1:]...)
	})
}

func TestYield_deletedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.run()
		w.ready()
		w.place("two", template(), three[0])
		w.settled(time.Hour)
		w.one(three[0])
		w.end(three[0])
		w.settled(time.Minute)
		if got := w.of(three[0]); len(got) != 0 {
			t.Errorf("got %+v, want none: it was deleted", got)
		}
	})
}

// What another pod that is placed here needs is given up for it.
func TestYield_inTheWay(t *testing.T) {
	port := func(s *corev1.PodSpec) { s.Containers[0].Ports[0].HostPort = 8080 }
	folder := t.TempDir()
	data := func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}}}}
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	}
	read := func(s *corev1.PodSpec) { data(s); s.Containers[0].VolumeMounts[0].ReadOnly = true }
	for _, c := range []struct {
		name     string
		has, new func(*corev1.PodSpec)
		yields   bool
	}{
		{"a host port", port, port, true},
		{"a folder that both write to", data, data, true},
		{"a folder that one writes to", read, data, true},
		{"a folder that both read", read, read, false},
		{"nothing", port, func(*corev1.PodSpec) {}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.place(host, template(c.has), three[0])
				w.run()
				w.ready()
				w.place("two", template(c.has), three[0])
				w.settled(time.Hour)
				w.one(three[0])
				w.place(host, template(c.new), pod("new", 0))
				w.settled(time.Minute)
				w.runs(pod("new", 0))
				if got := w.of(three[0]); (len(got) == 0) != c.yields {
					t.Errorf("got %+v, want it gone: %v", got, c.yields)
				}
			})
		})
	}
}

// Before it has heard the others a host records nothing: what its log has lost, the others may have.
func TestRecovery_recordsNothingBeforeItHasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.run()
		w.ready()
		before := w.stamps(three...)
		w.stop()
		for _, p := range three { // as if the facts had been lost
			w.record(projection.Change{Kind: events.Observed, Key: p.ReplicaKey(host)})
		}
		index, heard := w.ledger.View().Index(), make(chan struct{})
		w.restart(func(r *podman.Reconciler) {
			r.Settle = func(ctx context.Context) error {
				select {
				case <-heard:
				case <-ctx.Done():
				}
				return ctx.Err()
			}
		})
		w.settled(time.Hour)
		if got := w.ledger.View().Index(); got != index || w.Report().Adopted != 3 {
			t.Errorf("%d events were recorded, %d adopted, want none and 3", got-index, w.Report().Adopted)
		}
		close(heard)
		w.settled(time.Second)
		if got := w.stamps(three...); w.Recovering() || got[0] != before[0] || got[1] != before[1] || got[2] != before[2] {
			t.Errorf("got %v, want what ran: %v", got, before)
		}
		if r := w.Report(); r.Adopted != 3 || r.Failed+r.Created+r.Restart+r.Bounced != 0 {
			t.Errorf("got report %+v", r)
		}
	})
}
