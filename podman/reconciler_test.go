package podman_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/podman/podmantest"
	"github.com/podman-swarm/podman-swarm/projection"
)

func TestReconciler_appliesScalesAndDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		w.place(host, template(), pod("web", 0), pod("web", 1), pod("web", 2))
		w.place("two", template(), pod("web", 3))
		w.settled(time.Second)
		ports := map[int]bool{}
		for n := range 3 {
			w.runs(pod("web", n))
			f := w.fact(pod("web", n))
			if len(f.Ports) != 1 || f.Ports[0].Name != "http" || f.Ports[0].Container != 80 || f.Ports[0].Host < 20000 || f.Ports[0].Host > 29999 || f.IP == "" {
				t.Errorf("got ports %+v, IP %q", f.Ports, f.IP)
			}
			ports[f.Ports[0].Host] = true
		}
		if len(ports) != 3 {
			t.Errorf("got host ports %v, want three different ones", ports)
		}
		if got := w.of(pod("web", 3)); len(got) != 0 {
			t.Errorf("what is placed on another host was made here: %+v", got)
		}
		w.end(pod("web", 1))
		w.settled(time.Second)
		if got := w.of(pod("web", 1)); len(got) != 0 || w.fact(pod("web", 1)) != nil {
			t.Errorf("deleted: got containers %+v, fact %+v", got, w.fact(pod("web", 1)))
		}
		index := w.ledger.View().Index()
		w.fake.Calls()
		w.settled(time.Hour)
		if got := w.ledger.View().Index(); got != index {
			t.Errorf("%d events in an hour in which nothing happened", got-index)
		}
		if calls := w.fake.Calls(); len(calls) != 0 {
			t.Errorf("asked of Podman in that hour: %q", calls)
		}
	})
}

// Line 11 of what went wrong before: a changed manifest ended in "name already in use".
func TestReconciler_newTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		first := w.runs(pod("web", 0))
		w.place(host, template(args("-x")), pod("web", 0))
		w.settled(time.Second)
		if second := w.runs(pod("web", 0)); second.ID == first.ID {
			t.Error("a new template: the container is the old one")
		}
	})
}

// crashLoopWrites is how many events a replica in a crash loop writes in an hour at most, as README.md says.
const crashLoopWrites = 40

func TestReconciler_crashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		var starts []time.Time
		w.fake.Hook(func(op, _ string) error {
			if op == "Start" {
				starts = append(starts, time.Now())
			}
			return nil
		})
		before := w.ledger.View().Index() + 1 // the placement
		w.place(host, template(args("-exit-after=1s", "-exit-code=3")), pod("web", 0))
		w.settled(30 * time.Minute)
		var gaps []string
		for i := range starts[1:] {
			gaps = append(gaps, starts[i+1].Sub(starts[i]).Round(time.Second).String())
		}
		want := "[1s 11s 21s 41s 1m21s 2m41s 5m1s 5m1s"
		if got := fmt.Sprint(gaps); !strings.HasPrefix(got, want) {
			t.Errorf("between starts: got %s, want %s …", got, want)
		}
		f := w.fact(pod("web", 0))
		if f.Phase != projection.Exited || f.Reason != "CrashLoopBackOff" || f.ExitCode != 3 || f.Restarts != len(starts)-1 ||
			!strings.Contains(f.Message, "back-off 5m0s") || f.Finished.IsZero() {
			t.Errorf("got %+v after %d starts", f, len(starts))
		}
		if n := int(w.ledger.View().Index() - before); n > 2*len(starts)+2 {
			t.Errorf("%d facts were recorded of %d starts", n, len(starts))
		}
		if got := w.Stats().Restarts.Load(); got != uint64(len(starts)-1) {
			t.Errorf("counted %d restarts, want %d", got, len(starts)-1)
		}
	})
}

// A program that is killed for memory again and again is said to be, while it waits to be started.
func TestReconciler_crashLoopForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := podmantest.New(image)
		w := worldOn(t, killsForMemory{fake}, fake)
		w.run()
		w.ready()
		w.place(host, template(args("-exit-after=1s", "-exit-code=137")), pod("web", 0))
		w.settled(5 * time.Second)
		f := w.fact(pod("web", 0))
		if f.Reason != "CrashLoopBackOff" || f.Message != "back-off 10s restarting the container, which exited with code 137, killed for memory" {
			t.Errorf("while it waits: got %+v", f)
		}
	})
}

// However long a container runs before it ends again, it writes no more than some tens of events an hour.
func TestReconciler_crashLoopWritesLittle(t *testing.T) {
	for _, runs := range []time.Duration{0, time.Second, 30 * time.Second, 5 * time.Minute, 10*time.Minute - time.Second, 10*time.Minute + time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.run()
			w.ready()
			w.place(host, template(args("-exit-after="+runs.String(), "-exit-code=3")), pod("web", 0))
			for hour := range 3 {
				before := w.ledger.View().Index()
				w.settled(time.Hour)
				if n := w.ledger.View().Index() - before; n > crashLoopWrites || n == 0 {
					t.Errorf("runs of %s: %d events in hour %d, want %d at most", runs, n, hour+1, crashLoopWrites)
				}
			}
		})
	}
}

// After a long run a container that exits is started again at once.
func TestReconciler_longRunEndsTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		w.place(host, template(args("-exit-after=11m")), pod("web", 0))
		w.settled(time.Second)
		for n := range 5 {
			w.settled(11*time.Minute + 2*time.Second)
			w.runs(pod("web", 0))
			if got := w.fact(pod("web", 0)).Restarts; got != n+1 {
				t.Errorf("after run %d: %d restarts", n+1, got)
			}
		}
	})
}

// An image that is not there is tried ever more seldom, and the others are not kept from running.
func TestReconciler_pullFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		bad := template(func(s *corev1.PodSpec) { s.Containers[0].Image = "nonesuch:1" })
		w.place(host, bad, pod("bad", 0))
		w.place(host, template(), pod("web", 0))
		w.settled(500 * time.Millisecond)
		w.runs(pod("web", 0))
		f := w.fact(pod("bad", 0))
		if f == nil || f.Phase != projection.Pending || f.Reason != "ErrImagePull" || !strings.Contains(f.Message, "docker.io/library/nonesuch:1") {
			t.Errorf("got %+v, want ErrImagePull in Podman's words", f)
		}
		w.settled(time.Hour)
		pulls := 0
		for _, c := range w.fake.Calls() {
			if strings.HasPrefix(c, "Pull ") {
				pulls++
			}
		}
		if pulls < 10 || pulls > 25 {
			t.Errorf("%d pulls in an hour, want every 5 minutes in the end", pulls)
		}
		if f := w.fact(pod("bad", 0)); f.Reason != "ImagePullBackOff" {
			t.Errorf("got %+v, want ImagePullBackOff", f)
		}
		if n := w.said.count("replica is not as it should be"); n > 2 {
			t.Errorf("it was said %d times", n)
		}
		w.fake.AddImage("docker.io/library/nonesuch:1", "")
		w.settled(6 * time.Minute)
		w.runs(pod("bad", 0))
	})
}

// A replica that is slow to pull, or to stop, delays no other.
func TestReconciler_slowReplicaDelaysNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		w.fake.Hook(func(op, _ string) error {
			if op == "Pull" {
				time.Sleep(10 * time.Minute)
			}
			return nil
		})
		var slow []projection.Pod
		for n := range 40 { // more than are worked on at a time
			slow = append(slow, pod("slow", n))
		}
		w.place(host, template(func(s *corev1.PodSpec) { s.Containers[0].Image = "slow:1" }), slow...)
		stubborn := template(args("-ignore-term"))
		w.place(host, stubborn, pod("stubborn", 0))
		w.settled(time.Second)
		if f := w.fact(slow[0]); f == nil || f.Reason != "Pulling" {
			t.Errorf("while it pulls: got %+v", f)
		}
		w.runs(pod("stubborn", 0))
		w.end(pod("stubborn", 0))
		w.settled(time.Second)
		w.place(host, template(), pod("web", 0))
		w.settled(time.Second)
		w.runs(pod("web", 0))
		if got := w.one(pod("stubborn", 0)).Status; got != podman.StatusStopping {
			t.Errorf("within its grace period the container is %s", got)
		}
		w.settled(30 * time.Second)
		if got := w.of(pod("stubborn", 0)); len(got) != 0 {
			t.Errorf("after its grace period: %+v", got)
		}
	})
}

// A container that was removed by hand is made anew, with the host ports that it had.
func TestReconciler_removedByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		first := w.runs(pod("web", 0))
		if err := w.fake.Remove(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		w.settled(time.Second)
		if second := w.runs(pod("web", 0)); second.Ports[0].Host != first.Ports[0].Host {
			t.Errorf("got host port %d, want %d again", second.Ports[0].Host, first.Ports[0].Host)
		}
	})
}

// A container that cannot be started any more is replaced.
func TestReconciler_broken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), pod("web", 0), pod("web", 1))
		w.run()
		w.ready()
		zero, one := w.runs(pod("web", 0)), w.runs(pod("web", 1))
		w.fake.Hook(func(op, what string) error {
			if op == "Start" && what == zero.ID {
				return &podman.Refusal{Message: "the mount point is gone"}
			}
			return nil
		})
		w.fake.Exit(zero.ID, 1)
		w.fake.SetStatus(one.ID, "removing")
		w.settled(15 * time.Second)
		if got := w.runs(pod("web", 0)); got.ID == zero.ID {
			t.Error("the broken container is still there")
		}
		if got := w.runs(pod("web", 1)); got.ID == one.ID {
			t.Error("the container that was being removed is still there")
		}
	})
}

// What takes its place gets as many tries as it had.
func TestReconciler_brokenAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tries := map[string]int{}
		w.fake.Hook(func(op, what string) error {
			if op != "Start" {
				return nil
			}
			tries[what]++
			return &podman.Refusal{Message: "the mount point is gone"}
		})
		w.place(host, template(), pod("web", 0))
		w.run()
		w.ready()
		w.settled(time.Hour)
		last := w.one(pod("web", 0)).ID
		for id, n := range tries {
			if n != 4 && id != last || n > 4 {
				t.Errorf("container %s was tried %d times, want 4", id, n)
			}
		}
		if len(tries) < 3 {
			t.Errorf("in an hour there were %d containers", len(tries))
		}
	})
}

// But not for one refusal, which may have any reason, nor as long as there is no image for another one: with it goes what its program
// has written, and the volumes that its image wants.
func TestReconciler_startRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		first := w.runs(pod("web", 0))
		var until time.Time
		bare := false // no image is here
		w.fake.Hook(func(op, what string) error {
			switch {
			case op == "Start" && what == first.ID && time.Now().Before(until):
				return &podman.Refusal{Message: "the mount point is gone"}
			case op == "Image" && bare && time.Now().Before(until):
				return &podman.Refusal{Message: "image not known", Class: podman.ErrNotFound}
			case op == "Pull":
				return &podman.Refusal{Message: "no route to the registry"}
			}
			return nil
		})
		for _, long := range []time.Duration{2 * time.Second, time.Hour} {
			until, bare = time.Now().Add(long), long > time.Minute
			w.fake.Exit(first.ID, 1)
			w.settled(long + 6*time.Minute)
			if got := w.runs(pod("web", 0)); got.ID != first.ID {
				t.Errorf("after %s of refusals the container is another one", long)
			}
		}
		if f := w.fact(pod("web", 0)); f.Restarts != 2 {
			t.Errorf("recorded: %+v", f)
		}
	})
}

// Nor for refusals that are not in a row, nor for what is none, or what another container would meet as well.
func TestReconciler_startRefusedNowAndThen(t *testing.T) {
	gone := &podman.Refusal{Message: "the mount point is gone"}
	away := fmt.Errorf("%w: EOF", podman.ErrUnavailable)
	for name, c := range map[string]struct {
		runs string // how long the program does
		do   func(w *world, id string, answer func(...error))
	}{
		"the log takes nothing": {"1h", func(w *world, id string, answer func(...error)) {
			w.log.Fail(errors.New("no space left on device"))
			w.fake.Exit(id, 1)
			w.settled(time.Minute)
			answer(gone)
			w.fake.Exit(id, 1)
			w.settled(time.Minute)
			w.log.Fail(nil)
		}},
		"Podman does not answer": {"1h", func(w *world, id string, answer func(...error)) {
			answer(away, away, away, away, gone)
			w.fake.Exit(id, 1)
		}},
		"the disk is full": {"1h", func(w *world, id string, answer func(...error)) {
			answer(slices.Repeat([]error{&podman.Refusal{Message: "mkdir /run/x: no space left on device"}}, 9)...)
			w.fake.Exit(id, 1)
		}},
		"it ran between": {"0s", func(_ *world, _ string, answer func(...error)) {
			answer(slices.Repeat([]error{gone, nil}, 6)...)
		}},
		"it was started by hand": {"1h", func(w *world, id string, answer func(...error)) {
			answer(gone, gone, gone)
			w.fake.Exit(id, 1)
			w.settled(5 * time.Second)
			if err := w.fake.Start(w.t.Context(), id); err != nil {
				w.t.Error(err)
			}
			w.settled(time.Minute)
			answer(gone)
			w.fake.Exit(id, 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.place(host, template(args("-exit-after="+c.runs)), pod("web", 0))
				w.run()
				w.ready()
				id := w.one(pod("web", 0)).ID
				var mu sync.Mutex
				var answers []error
				w.fake.Hook(func(op, what string) (err error) {
					mu.Lock()
					defer mu.Unlock()
					if op == "Start" && what == id && len(answers) > 0 {
						err, answers = answers[0], answers[1:]
					}
					return err
				})
				c.do(w, id, func(all ...error) {
					mu.Lock()
					defer mu.Unlock()
					answers = all
				})
				w.settled(50 * time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if got := w.one(pod("web", 0)); got.ID != id || len(answers) > 0 {
					t.Errorf("got container %s, was %s; left of the answers: %v", got.ID, id, answers)
				}
			})
		})
	}
}

// A port of the host that is somebody else's for a while is no reason to replace the container that is to have it, however long that takes, nor
// to make one after the other for it; one that was chosen for it is, as another can be.
func TestReconciler_portTakenForAWhile(t *testing.T) {
	for name, c := range map[string]struct {
		fixed, drawn bool // which kinds of ports it has
		taken        bool // it is the fixed one
		replaced     bool
	}{
		"fixed":                           {true, false, true, false},
		"fixed, and free by now":          {true, false, false, false},
		"drawn":                           {false, true, false, true},
		"fixed, beside one that is drawn": {true, true, true, false},
		"drawn, beside one that is fixed": {true, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, err := net.Listen("tcp", ":0") // as the one who has the port does: which it is Podman does not say
				if err != nil {
					t.Fatal(err)
				}
				fixed := corev1.ContainerPort{ContainerPort: 80, HostPort: int32(l.Addr().(*net.TCPAddr).Port)}
				if !c.taken {
					err = l.Close()
				} else {
					defer l.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
				var ports []corev1.ContainerPort
				if c.drawn {
					ports = append(ports, corev1.ContainerPort{ContainerPort: 9100})
				}
				if c.fixed {
					ports = append(ports, fixed)
				}
				w := newWorld(t)
				taken := func(id string) { // for an hour; "": for all of them
					until := time.Now().Add(time.Hour)
					w.fake.Hook(func(op, what string) error {
						if op == "Start" && (id == "" || what == id) && time.Now().Before(until) {
							return &podman.Refusal{Message: "address already in use", Class: podman.ErrPortInUse}
						}
						return nil
					})
				}
				taken("")
				w.place(host, template(func(s *corev1.PodSpec) { s.Containers[0].Ports = ports }), pod("web", 0))
				w.run()
				w.ready()
				w.settled(2 * time.Hour)
				first := w.runs(pod("web", 0))
				made := len(slices.DeleteFunc(w.fake.Calls(), func(c string) bool { return !strings.HasPrefix(c, "Create ") }))
				if (made > 1) != c.replaced {
					t.Errorf("%d containers were made", made)
				}
				taken(first.ID)
				w.fake.Exit(first.ID, 1)
				w.settled(time.Hour + 6*time.Minute)
				if got := w.runs(pod("web", 0)); (got.ID != first.ID) != c.replaced {
					t.Errorf("runs %s, was %s", got.ID, first.ID)
				}
			})
		})
	}
}

func TestReconciler_emptyDirGoesWithThePlacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		w.place(host, template(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		}), pod("web", 0))
		w.settled(time.Second)
		volumes := func() int {
			all, err := w.fake.Volumes(t.Context(), podman.LabelCluster, "default")
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		}
		if err := w.fake.Remove(t.Context(), w.runs(pod("web", 0)).ID); err != nil {
			t.Fatal(err)
		}
		w.settled(time.Second)
		w.runs(pod("web", 0))
		if n := volumes(); n != 1 {
			t.Errorf("%d volumes after the container was made anew, want the one", n)
		}
		w.end(pod("web", 0))
		w.settled(time.Second)
		if n := volumes(); n != 0 {
			t.Errorf("%d volumes after the replica is gone", n)
		}
	})
}

// A placement that was given up and recorded again, with another number each time, is the same decision: its volumes are not swept, and a container
// that is made anew for it gets them, and its host ports, again.
func TestReconciler_renumberedKeepsItsVolumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fake.Hook(func(op, _ string) error { // the port that it would be given first is somebody else's just then
			if op != "Start" {
				return nil
			}
			w.fake.Hook(nil)
			return &podman.Refusal{Message: "address already in use", Class: podman.ErrPortInUse}
		})
		w.place(host, template(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		}), pod("web", 0))
		w.run()
		w.ready()
		first := w.runs(pod("web", 0))
		volume := w.fake.Spec(first.ID).Volumes[0].Name
		for n := range 3 {
			before := w.runs(pod("web", 0))
			w.renumber(pod("web", 0))
			w.fake.Calls()
			w.settled(time.Hour)
			if got := w.runs(pod("web", 0)); stamp(got) != stamp(before) {
				t.Fatalf("time %d: it was bounced", n+1)
			}
			w.stop()
			if err := w.fake.Remove(t.Context(), before.ID); err != nil {
				t.Fatal(err)
			}
			w.renumber(pod("web", 0))
			w.restart()
			w.settled(time.Hour)
			got := w.runs(pod("web", 0))
			if name := w.fake.Spec(got.ID).Volumes[0].Name; name != volume {
				t.Errorf("time %d: got volume %s, want %s", n+1, name, volume)
			}
			if got.Ports[0].Host != first.Ports[0].Host {
				t.Errorf("time %d: got host port %d, want %d", n+1, got.Ports[0].Host, first.Ports[0].Host)
			}
			if calls := w.fake.Calls(); slices.ContainsFunc(calls, func(c string) bool { return strings.HasPrefix(c, "RemoveVolume") }) {
				t.Errorf("time %d: asked of Podman: %q", n+1, calls)
			}
		}
		w.end(pod("web", 0))
		w.settled(time.Second)
		if all, err := w.fake.Volumes(t.Context(), podman.LabelCluster, "default"); err != nil || len(all) > 0 {
			t.Errorf("after the replica is gone: %+v, %v", all, err)
		}
	})
}

// renumber records the pod's placement again, as is done with one that was given up.
func (w *world) renumber(p projection.Pod) {
	w.t.Helper()
	placed, err := w.ledger.View().Placement(p)
	if err != nil || placed == nil {
		w.t.Fatal(placed, err)
	}
	again := placed.Placement
	again.Was = append(slices.Clone(again.Was), placed.Event())
	w.record(projection.Change{Kind: events.Decided, Key: p.PlacementKey(), Object: projection.Encode(again)})
}

// Podman is gone for a while. It is said once, applies go on, and what was applied is done when it is back.
func TestReconciler_podmanDownAndUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		first := w.runs(pod("web", 0))
		w.fake.SetDown(true)
		w.settled(time.Second)
		w.place(host, template(), pod("web", 1))
		index := w.ledger.View().Index()
		w.settled(time.Hour)
		if p := w.Progress(); p.Podman == "" || p.Since.IsZero() || p.Stage != podman.Ready {
			t.Errorf("while Podman is away: got %+v", p)
		}
		if n := w.said.count("Podman does not answer"); n != 1 {
			t.Errorf("it was said %d times", n)
		}
		if got := w.ledger.View().Index(); got != index {
			t.Errorf("%d events while Podman was away", got-index)
		}
		w.fake.SetDown(false)
		w.settled(15 * time.Second)
		if got := w.runs(pod("web", 0)); stamp(got) != stamp(first) {
			t.Error("the container that ran was bounced")
		}
		w.runs(pod("web", 1))
		if p := w.Progress(); p.Podman != "" || p.Phases[projection.Running] != 2 {
			t.Errorf("got %+v", p)
		}
	})
}

// The log is on a full disk for a while: what runs is not disturbed, and is recorded later.
func TestReconciler_readOnlyLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		w.log.Fail(errors.New("no space left on device"))
		w.fake.Exit(w.one(pod("web", 0)).ID, 1)
		w.settled(time.Hour)
		if got := w.one(pod("web", 0)); got.Status != podman.StatusRunning {
			t.Errorf("the container is %s, want it started again all the same", got.Status)
		}
		if n := len(slices.DeleteFunc(w.fake.Calls(), func(c string) bool { return !strings.HasPrefix(c, "Start") })); n > 3 {
			t.Errorf("it was started %d times", n)
		}
		w.fake.Exit(w.one(pod("web", 0)).ID, 1) // nor does it wait for the next try to record anything
		w.settled(15 * time.Second)
		if got := w.one(pod("web", 0)); got.Status != podman.StatusRunning {
			t.Errorf("after it has ended again the container is %s", got.Status)
		}
		w.log.Fail(nil)
		w.settled(6 * time.Minute)
		w.runs(pod("web", 0))
	})
}

// What is to be pulled first is made all the same.
func TestReconciler_readOnlyLogAndNoImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		pulled := template(func(s *corev1.PodSpec) { s.Containers[0].ImagePullPolicy = corev1.PullAlways })
		w.place(host, pulled, pod("web", 0))
		w.log.Fail(errors.New("no space left on device"))
		w.settled(time.Minute)
		if got := w.of(pod("web", 0)); len(got) != 1 || !got[0].Status.Runs() {
			t.Errorf("got %+v, want it made", got)
		}
	})
}

// A crash loop that cannot be recorded is one all the same.
func TestReconciler_readOnlyLogAndCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(args("-exit-after=1s")), pod("web", 0))
		w.run()
		w.ready()
		w.log.Fail(errors.New("no space left on device"))
		w.fake.Calls()
		w.settled(time.Hour)
		if n := len(w.fake.Calls()); n < 10 || n > 30 {
			t.Errorf("it was started %d times in an hour", n)
		}
		if n := w.Stats().Errors.Load(); n > 100 {
			t.Errorf("%d errors in an hour", n)
		}
	})
}

// A clock that was ahead when the container ended, and is set back, does not have it wait for as long.
func TestReconciler_clockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		c := w.one(pod("web", 0))
		w.fake.Exit(c.ID, 1) // the first time it is started at once
		w.settled(time.Second)
		w.fake.Exit(c.ID, 1)
		w.fake.SetFinished(c.ID, time.Now().Add(5*time.Minute))
		w.settled(30 * time.Second)
		w.runs(pod("web", 0))
	})
}

// Paused is what people are told of a container that somebody has paused; it is left so.
func TestReconciler_paused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		first := w.runs(pod("web", 0))
		for _, c := range []struct {
			status podman.Status
			reason string
		}{{podman.StatusPaused, "Paused"}, {podman.StatusRunning, ""}} {
			w.fake.SetStatus(first.ID, c.status)
			index := w.ledger.View().Index()
			w.settled(time.Hour)
			if f := w.fact(pod("web", 0)); f.Phase != projection.Running || f.Reason != c.reason || w.ledger.View().Index() != index+1 {
				t.Errorf("%s: got %+v after %d events", c.status, f, w.ledger.View().Index()-index)
			}
		}
		if got := w.runs(pod("web", 0)); stamp(got) != stamp(first) {
			t.Error("it was bounced")
		}
	})
}
