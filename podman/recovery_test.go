package podman_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

var three = []projection.Pod{pod("web", 0), pod("web", 1), pod("web", 2)}

// recorded is the report as the state has it.
func (w *world) recorded() projection.Recovery {
	w.t.Helper()
	o, ok := w.ledger.View().Lookup(projection.RecoveryKey(host))
	if !ok {
		w.t.Fatal("no report of the recovery is recorded")
	}
	var r projection.Recovery
	if err := json.Unmarshal(o.Version.Object, &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) stamps(pods ...projection.Pod) []string {
	w.t.Helper()
	var all []string
	for _, p := range pods {
		all = append(all, stamp(w.runs(p)))
	}
	return all
}

// Line 6 of what went wrong before: a restart of the agent must touch no container.
func TestRecovery_adoptsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.run()
		w.ready()
		before, index := w.stamps(three...), w.ledger.View().Index()
		w.fake.Calls()
		w.restart(func(r *podman.Reconciler) {
			r.Settle = podman.Wait(5 * time.Second)
			r.Begun = projection.Recovery{Started: time.Now().Add(-2 * time.Second).UTC(), Replayed: 7, Seconds: map[string]float64{"replay": 2}}
		})
		w.ready()
		if got := w.stamps(three...); !slices.Equal(got, before) {
			t.Errorf("got %v, want the same containers since the same times: %v", got, before)
		}
		if calls := w.fake.Calls(); len(calls) != 0 {
			t.Errorf("asked of Podman: %q", calls)
		}
		r := w.recorded()
		if r.Adopted != 3 || r.Restart+r.Created+r.Removed+r.Orphans+r.Failed+r.Bounced != 0 || r.Replayed != 7 || r.Done.IsZero() ||
			r.Seconds["replay"] != 2 || r.Seconds["settle"] != 5 {
			t.Errorf("got report %+v", r)
		}
		if got := w.ledger.View().Index() - index; got != 1 {
			t.Errorf("%d events were recorded, want the report alone", got)
		}
		said := w.said.String()
		at := 0
		for _, want := range []string{"starting recovery", "recovering deployment\" deployment=default/web", "adopted pod", "pod=web-0", "adopted pod", "pod=web-2",
			"recovery completed: 1 recovered, 0 failed", "phases.act=", "phases.adopt=", "phases.settle="} {
			i := strings.Index(said[at:], want)
			if i < 0 {
				t.Fatalf("not said, or not in this order: %q", want)
			}
			at += i
		}
	})
}

// Lines 6 and 7 of what went wrong before: the agent was away; containers exited, or were removed.
func TestRecovery_startsAndCreates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.place(host, template(), pod("gone", 0))
		w.run()
		w.ready()
		first := w.stamps(three...)
		w.stop()
		w.fake.Exit(w.one(three[1]).ID, 1)
		if err := w.fake.Remove(t.Context(), w.one(three[2]).ID); err != nil {
			t.Fatal(err)
		}
		w.end(pod("gone", 0))
		w.restart()
		w.ready()
		got := w.stamps(three...)
		if got[0] != first[0] {
			t.Error("the one that ran was bounced")
		}
		if f := w.fact(three[1]); f.Restarts != 1 || f.ExitCode != 1 {
			t.Errorf("the one that had exited: got %+v", f)
		}
		if r := w.recorded(); r.Adopted != 1 || r.Restart != 1 || r.Created != 1 || r.Removed != 1 || r.Failed != 0 || r.Bounced != 0 {
			t.Errorf("got report %+v", r)
		}
	})
}

// Line 7 of what went wrong before: after a reboot nothing came back. Everything comes back, at once, however often it had crashed.
func TestRecovery_afterReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.run()
		w.ready()
		ports := map[projection.Pod]int{}
		for _, p := range three {
			ports[p] = w.fact(p).Ports[0].Host
		}
		w.stop()
		w.fake.Reboot()
		w.settled(time.Minute)
		w.restart()
		w.settled(time.Second)
		for _, p := range three {
			w.runs(p)
			if got := w.fact(p).Ports[0].Host; got != ports[p] {
				t.Errorf("pod %s: got host port %d, want %d as before", p.Name(), got, ports[p])
			}
		}
		if r := w.Report(); r.Restart != 3 || r.Adopted != 0 || r.Failed != 0 || w.Recovering() {
			t.Errorf("got report %+v", r)
		}
	})
}

// What is recorded of a container that runs tells in which boot of the host it does: so nobody takes it for one that runs after the next. A restart
// of the agent in the same boot writes nothing; the first after an update, of what an earlier version recorded, writes it once.
func TestRecovery_bootIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.run()
		w.ready()
		for i, boot := range []string{"first", "first", "", "first"} {
			before, runs := w.ledger.View().Index(), w.stamps(three...)
			w.restart(func(r *podman.Reconciler) { r.Boot = boot })
			w.ready()
			w.settled(time.Minute)
			for _, p := range three {
				if f := w.fact(p); f.Phase != projection.Running || f.Boot != "first" {
					t.Errorf("start %d in boot %q: got %+v", i, boot, f)
				}
			}
			want := uint64(1) // the report of the recovery
			if i == 0 {
				want += uint64(len(three))
			}
			if n := w.ledger.View().Index() - before; n != want || !slices.Equal(w.stamps(three...), runs) {
				t.Errorf("start %d in boot %q: %d events, want %d; now %v run, before %v", i, boot, n, want, w.stamps(three...), runs)
			}
		}
		w.stop()
		w.fake.Reboot()
		w.restart(func(r *podman.Reconciler) { r.Boot = "second" })
		w.settled(time.Minute)
		for _, p := range three {
			w.runs(p)
			if f := w.fact(p); f.Phase != projection.Running || f.Boot != "second" {
				t.Errorf("after a reboot: got %+v", f)
			}
		}
	})
}

// Until it has heard the others the agent changes nothing; what runs is adopted at once.
func TestRecovery_waitsToSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.run()
		w.ready()
		w.stop()
		w.fake.Exit(w.one(three[0]).ID, 1)
		w.end(three[1])
		w.fake.Calls()
		heard := make(chan struct{})
		w.restart(func(r *podman.Reconciler) {
			r.Settle = func(ctx context.Context) error {
				select {
				case <-heard:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		w.settled(time.Hour)
		if p := w.Progress(); p.Stage != podman.Settling || !slices.Equal(p.Waiting, []string{"settle"}) || !w.Recovering() || w.Report().Adopted != 1 {
			t.Errorf("got %+v, adopted %d", p, w.Report().Adopted)
		}
		if calls := w.fake.Calls(); len(calls) != 0 {
			t.Errorf("asked of Podman while it waited: %q", calls)
		}
		close(heard)
		w.settled(time.Second)
		if r := w.Report(); w.Recovering() || r.Restart != 1 || r.Removed != 1 || r.Adopted != 1 {
			t.Errorf("got report %+v", r)
		}
	})
}

// Without Podman the recovery goes on trying, says so once, and does not end.
func TestRecovery_podmanAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.fake.SetDown(true)
		w.run()
		w.settled(time.Hour)
		if p := w.Progress(); !w.Recovering() || !slices.Equal(p.Waiting, []string{"podman"}) || p.Podman == "" || p.Stage != podman.Adopting {
			t.Errorf("got %+v", p)
		}
		if n := w.said.count("Podman does not answer"); n != 1 {
			t.Errorf("it was said %d times", n)
		}
		w.fake.SetDown(false)
		w.settled(15 * time.Second)
		if r := w.Report(); w.Recovering() || r.Created != 3 || r.Failed != 0 {
			t.Errorf("got report %+v", r)
		}
	})
}

// Podman goes away in the middle of acting.
func TestRecovery_podmanGoesAwayInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.fake.Hook(func(op, what string) error {
			if op == "Start" {
				w.fake.Hook(nil)
				w.fake.SetDown(true)
			}
			return nil
		})
		w.run()
		w.settled(time.Hour)
		if p := w.Progress(); !w.Recovering() || !slices.Contains(p.Waiting, "podman") {
			t.Errorf("got %+v", p)
		}
		w.fake.SetDown(false)
		w.settled(15 * time.Second)
		w.stamps(three...)
		if r := w.Report(); w.Recovering() || r.Failed != 0 || r.Created+r.Restart != 3 {
			t.Errorf("got report %+v", r)
		}
	})
}

// The recovery is done when everything was tried once, not when all of it works, nor when the last image has come.
func TestRecovery_failures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), pod("web", 0))
		w.place(host, template(func(s *corev1.PodSpec) {
			s.Containers[0].ImagePullPolicy, s.Containers[0].Image = corev1.PullNever, "none"
		}), pod("bad", 0))
		w.run()
		w.settled(time.Second)
		if r := w.Report(); w.Recovering() || r.Created != 1 || r.Failed != 1 {
			t.Errorf("got report %+v", r)
		}
		if f := w.fact(pod("bad", 0)); f.Reason != "ErrImageNeverPull" {
			t.Errorf("got %+v", f)
		}
		if w.said.count("recovery completed: 1 recovered, 1 failed") != 1 {
			t.Error("the failure was not said")
		}

		w.fake.Hook(func(op, _ string) error {
			if op == "Pull" {
				time.Sleep(10 * time.Minute)
			}
			return nil
		})
		w.place(host, template(func(s *corev1.PodSpec) { s.Containers[0].Image = "slow" }), pod("slow", 0))
		w.settled(11 * time.Minute)
		w.restart()
		w.settled(50 * time.Second)
		if p := w.Progress(); !w.Recovering() || !slices.Equal(p.Waiting, []string{"default/slow-0"}) {
			t.Errorf("got %+v", p)
		}
		w.settled(15 * time.Second)
		if r := w.Report(); w.Recovering() || r.Failed != 2 || r.Adopted != 1 {
			t.Errorf("got report %+v", r)
		}
	})
}

// An agent of another version, with other defaults, bounces nothing: what is recorded is compared,
// and never computed again.
func TestRecovery_otherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.record(projection.Change{Kind: events.Decided, Key: three[0].PlacementKey(), Object: projection.Encode(projection.Placement{
			Host: host, SpecHash: "whatever another version made of it", Template: template()})})
		w.run()
		w.ready()
		before := w.stamps(three[0])
		w.restart()
		w.ready()
		if got := w.stamps(three[0]); !slices.Equal(got, before) {
			t.Errorf("got %v, want %v", got, before)
		}
	})
}

// Another host's containers, and another cluster's, are not looked at, whatever they are called.
func TestRecovery_othersAreUntouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		w.run()
		w.ready()
		before := w.stamps(three...)
		w.stop()
		w.ledger.View()
		w.end(three...)
		for _, change := range []func(*podman.Reconciler){
			func(r *podman.Reconciler) { r.Host = "two" },
			func(r *podman.Reconciler) { r.Cluster = "another" },
		} {
			w.restart(change)
			w.ready()
			if got := w.Orphans(); len(got) != 0 {
				t.Errorf("got orphans %+v", got)
			}
			for i, p := range three {
				if got := stamp(w.one(p)); got != before[i] {
					t.Errorf("pod %s was bounced", p.Name())
				}
			}
		}
	})
}

// Told to stop in the middle, the agent stops nothing, and the next one finds what was begun.
func TestRecovery_stoppedInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		hold := make(chan struct{})
		w.fake.Hook(func(op, _ string) error {
			if op == "Start" {
				<-hold
			}
			return nil
		})
		w.run()
		w.settled(time.Second)
		stopped := make(chan struct{})
		stop := w.stop
		go func() { stop(); close(stopped) }()
		synctest.Wait()
		close(hold)
		<-stopped
		w.fake.Hook(nil)
		w.restart()
		w.ready()
		w.stamps(three...)
		if r := w.Report(); r.Failed != 0 || r.Adopted+r.Restart+r.Created != 3 {
			t.Errorf("got report %+v", r)
		}
	})
}

// What is adopted is what runs for its placement, not the orphan beside it.
func TestRecovery_countsNoOrphanAsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three[0])
		w.run()
		w.ready()
		w.foreign("copy", w.runs(three[0]).Labels)
		w.restart()
		w.ready()
		if r := w.Report(); r.Adopted != 1 || r.Orphans != 1 {
			t.Errorf("got report %+v", r)
		}
	})
}

// The report is recorded when the start may be told of, with how many before it were not; one that may not be by the end is not.
func TestRecovery_toldWhenItMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), three...)
		may := make(chan struct{})
		tell := func(r *podman.Reconciler) {
			r.Tell = func(ctx context.Context) (int, bool) {
				select {
				case <-may:
					return 7, true
				case <-ctx.Done():
					return 0, false
				}
			}
		}
		is := func(want bool) {
			t.Helper()
			synctest.Wait()
			if _, ok := w.ledger.View().Lookup(projection.RecoveryKey(host)); ok != want {
				t.Errorf("a report is recorded: %v, want %v", ok, want)
			}
		}
		w.run(tell)
		w.ready()
		time.Sleep(time.Minute)
		is(false)
		w.restart(tell)
		is(false)
		w.ready()
		close(may)
		is(true)
		if got := w.recorded(); got.More != 7 {
			t.Errorf("got %+v, want 7 more", got)
		}
	})
}
