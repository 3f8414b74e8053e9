package podman_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// An agent on an empty data directory beside running containers removes none, and says whose they are. Then a
// person adopts one and removes another.
func TestRecovery_emptyLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var pods []projection.Pod
		for n := range 20 {
			pods = append(pods, pod("web", n))
		}
		w.place(host, template(), pods...)
		w.run()
		w.ready()
		before := w.stamps(pods...)
		foreign := w.foreign("somebody", map[string]string{"a": "b"})
		w.stop()
		w.fresh()
		w.fake.Calls()
		w.run()
		w.ready()
		w.settled(time.Hour)
		if calls := w.fake.Calls(); len(calls) != 0 {
			t.Errorf("asked of Podman: %q", calls)
		}
		orphans := w.Orphans()
		if len(orphans) != 20 || w.Report().Orphans != 20 || w.Report().Bounced != 0 {
			t.Fatalf("got %d orphans, report %+v", len(orphans), w.Report())
		}
		for i, p := range pods {
			if got := stamp(w.one(p)); got != before[i] {
				t.Errorf("pod %s was bounced", p.Name())
			}
		}

		you := projection.By{Actor: "a person", Cause: "orphans"}
		if err := w.RemoveOrphan(t.Context(), you, foreign.ID); !errors.Is(err, podman.ErrNoOrphan) {
			t.Errorf("removing a foreign container: got %v", err)
		}
		adopt, keep := w.one(pod("web", 3)), w.one(pod("web", 4))
		if err := w.AdoptOrphan(t.Context(), you, adopt.ID); !errors.Is(err, podman.ErrMisfit) || !strings.Contains(err.Error(), "apply the manifest") {
			t.Errorf("adopting what is not placed: got %v", err)
		}
		w.place(host, template(), pod("web", 3))
		w.place(host, template(args("-another")), pod("web", 4))
		w.settled(time.Second)
		if got := len(w.of(pod("web", 3))); got != 2 {
			t.Fatalf("pod web-3 has %d containers, want the orphan and its own", got)
		}
		if err := w.AdoptOrphan(t.Context(), you, keep.ID); !errors.Is(err, podman.ErrMisfit) || !strings.Contains(err.Error(), "another spec") {
			t.Errorf("adopting what has another spec: got %v", err)
		}
		if err := w.AdoptOrphan(t.Context(), you, adopt.ID); err != nil {
			t.Fatal(err)
		}
		w.settled(time.Second)
		if got := w.runs(pod("web", 3)); stamp(got) != stamp(adopt) {
			t.Errorf("got %+v, want the adopted container, and no other", got)
		}
		if err := w.AdoptOrphan(t.Context(), you, adopt.ID); !errors.Is(err, podman.ErrNoOrphan) {
			t.Errorf("adopting it again: got %v", err)
		}
		w.restart()
		w.ready()
		if got := w.runs(pod("web", 3)); stamp(got) != stamp(adopt) {
			t.Error("after a restart the adopted container is not the pod's any more")
		}
		w.fake.Exit(adopt.ID, 1)
		w.settled(time.Second)
		if got := w.runs(pod("web", 3)); got.ID != adopt.ID {
			t.Error("the adopted container exited and was not started again")
		}
		w.end(pod("web", 3))
		w.settled(time.Second)
		if got := w.of(pod("web", 3)); len(got) != 0 {
			t.Errorf("the adopted container is there after its pod has been deleted: %+v", got)
		}

		removed := w.one(pod("web", 5))
		if err := w.RemoveOrphan(t.Context(), you, removed.ID); err != nil {
			t.Fatal(err)
		}
		w.settled(time.Second)
		if got := w.of(pod("web", 5)); len(got) != 0 {
			t.Errorf("the removed orphan is there: %+v", got)
		}
		if !w.told(podman.OrphanType+"/"+host+"/"+removed.ID, "a person") {
			t.Error("the log does not tell who had the orphan removed")
		}
		if got := len(w.Orphans()); got != 18 {
			t.Errorf("%d orphans are left, want 18", got)
		}
	})
}

// told reports whether the log tells of the key in the name of the actor.
func (w *world) told(key, actor string) bool {
	found := false
	err := w.log.Scan(1, func(r events.Record) error {
		c, err := events.ParseCommit(r.Payload)
		for _, e := range c.Events {
			found = found || e.Key == key && c.Actor == actor
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}
