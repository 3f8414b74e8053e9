package podman_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// container gives one container of the pod, which must be there once.
func (w *world) container(p projection.Pod, of string) podman.Container {
	w.t.Helper()
	var found []podman.Container
	for _, c := range w.of(p) {
		if c.Labels[podman.LabelContainer] == of {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("%s, container %q: got %+v, want one", p.Name(), of, found)
	}
	return found[0]
}

// A crash of the agent after the first container was made, and before the other is, costs nothing: the first is not touched.
func TestSeveral_crashBetweenTheCreates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		web0 := pod("web", 0)
		w.fake.Hook(func(op, what string) error {
			if op == "Create" && strings.HasSuffix(what, ".side") {
				return podman.ErrUnavailable
			}
			return nil
		})
		w.place(host, template(with("side")), web0)
		w.settled(10 * time.Second)
		first := w.container(web0, "")
		if f := w.fact(web0); f.Phase != projection.Running || !strings.HasPrefix(f.Unready, "container side: ") {
			t.Errorf("got %+v, want it to run, and not to be ready", f)
		}
		w.stop()
		w.fake.Hook(nil)
		w.run()
		w.settled(time.Minute)
		if now := w.container(web0, ""); stamp(now) != stamp(first) {
			t.Errorf("got %s, want %s", stamp(now), stamp(first))
		}
		if c := w.container(web0, "side"); c.Status != podman.StatusRunning || w.fact(web0).Unready != "" || w.Report().Bounced != 0 {
			t.Errorf("got %+v, %+v", c, w.fact(web0))
		}
	})
}

// Whatever Podman was asked last before the agent died, in the end each container is there once, what ran is not touched, and no init
// container is run twice.
func TestSeveral_crashAtEveryCall(t *testing.T) {
	last := false // nothing is asked after the crash any more: it would have come too late
	for n := int64(1); !last; n++ {
		synctest.Test(t, func(t *testing.T) {
			w := running(t)
			web0 := pod("app", 0)
			var asked, runs atomic.Int64
			hook := func(most int64) func(string, string) error {
				return func(op, what string) error {
					if asked.Add(1) > most {
						return podman.ErrUnavailable
					}
					if op == "Start" && w.fake.Spec(what) != nil && slices.Contains([]string{".one", ".two"}, filepath.Ext(w.fake.Spec(what).Name)) {
						runs.Add(1)
					}
					return nil
				}
			}
			w.fake.Hook(hook(n))
			w.place(host, template(initially("one", "-exit-after=1s"), initially("two", "-exit-after=1s"), with("side"), with("third")), web0)
			w.settled(8 * time.Second)
			was := map[string]string{}
			for _, c := range w.of(web0) {
				if c.Status.Runs() {
					was[c.Labels[podman.LabelContainer]] = stamp(c)
				}
			}
			w.stop()
			last = asked.Load() <= n
			w.fake.Hook(hook(math.MaxInt64))
			w.run()
			w.settled(time.Minute)
			if f := w.fact(web0); f.Phase != projection.Running || f.Unready != "" || f.Restarts != 0 || len(w.of(web0)) != 3 || w.Report().Bounced != 0 {
				t.Fatalf("after %d calls: got %+v, %+v", n, f, w.of(web0))
			}
			for _, name := range []string{"", "side", "third"} {
				if now := stamp(w.container(web0, name)); was[name] != "" && now != was[name] {
					t.Errorf("after %d calls: container %q: got %s, want %s", n, name, now, was[name])
				}
			}
			if got := runs.Load(); got != 2 {
				t.Errorf("after %d calls: init containers were started %d times, want each once", n, got)
			}
		})
	}
}

// One that cannot be had, or ends again and again, keeps the pod from being ready, and nothing else.
func TestSeveral_oneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		web0, web1 := pod("web", 0), pod("web", 1)
		w.place(host, template(with("side"), func(p *corev1.PodSpec) {
			p.Containers[1].Image, p.Containers[1].ImagePullPolicy = "localhost/none:1", corev1.PullNever
		}), web0)
		w.place(host, template(with("side", "-exit-after=1s", "-exit-code=3")), web1)
		w.settled(2 * time.Minute)
		if f := w.fact(web0); f.Phase != projection.Running || f.Unready != "container side: ErrImageNeverPull" || f.Others["side"].Message == "" {
			t.Errorf("got %+v", f)
		}
		first := w.container(web1, "")
		if f := w.fact(web1); f.Restarts != 0 || f.Unready != "container side: CrashLoopBackOff" || f.Others["side"].ExitCode != 3 || f.Others["side"].Restarts < 3 ||
			w.Progress().Looping != 1 || w.Progress().Phases[projection.Running] != 2 {
			t.Errorf("got %+v, %+v", f, w.Progress())
		}
		w.fake.Exit(w.container(web0, "").Name, 1) // which the other's back-off does not hold up
		w.settled(time.Second)
		if f := w.fact(web0); f.Phase != projection.Running || f.Restarts != 1 {
			t.Errorf("got %+v, want it started again at once", f)
		}
		if now := w.container(web1, ""); stamp(now) != stamp(first) {
			t.Errorf("got %s, want %s", stamp(now), stamp(first))
		}
	})
}

// Each container is asked by its own probes, and a restart of the first one restarts the others, which is no crash of theirs.
func TestSeveral_probesAndRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		web0 := pod("web", 0)
		var well atomic.Bool
		w.fake.SetExec(func(container string, _ []string) (int, string, error) {
			if strings.HasSuffix(container, ".side") && !well.Load() {
				return 1, "not yet", nil
			}
			return 0, "", nil
		})
		asked := func(p *corev1.PodSpec) {
			p.Containers[1].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/ready"}}}, FailureThreshold: 1}
		}
		w.place(host, template(with("side"), asked), web0)
		w.settled(time.Minute)
		if f := w.fact(web0); !strings.HasPrefix(f.Unready, "container side: readiness probe: ") || f.Part("").Unready != "" {
			t.Errorf("got %+v", f)
		}
		well.Store(true)
		w.settled(time.Minute)
		if f := w.fact(web0); f.Unready != "" || f.Readied.IsZero() {
			t.Errorf("got %+v, want it ready", f)
		}
		for n := range 2 { // the second time the first waits 10 s, and the other only for it
			w.fake.Exit(w.container(web0, "").Name, 1)
			w.settled(11 * time.Second)
			f := w.fact(web0)
			if side := f.Others["side"]; f.Restarts != n+1 || side.Restarts != n+1 || side.Started.Before(f.Started) || f.Phase != projection.Running || side.Phase != projection.Running {
				t.Errorf("got %+v", f)
			}
		}
	})
}

// Init containers are run one after the other, a failed one again, and none twice that has done its work.
func TestSeveral_initContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		web0 := pod("web", 0)
		w.fake.Hook(func(op, what string) error {
			if op == "Start" && strings.HasSuffix(w.fake.Spec(what).Name, ".two") {
				return errors.New("not now")
			}
			return nil
		})
		w.place(host, template(initially("one", "-exit-after=1s"), initially("two", "-exit-after=1s"), with("side")), web0)
		w.settled(time.Minute)
		if f := w.fact(web0); f.Phase != projection.Pending || f.Others["one"].Phase != projection.Exited || f.Others["two"].Reason != "RunContainerError" || len(w.of(web0)) != 2 {
			t.Errorf("got %+v, %+v", f, w.of(web0))
		}
		w.stop()
		w.fake.Hook(nil)
		w.run()
		w.settled(time.Minute)
		f := w.fact(web0)
		if f.Phase != projection.Running || f.Unready != "" || len(w.of(web0)) != 2 {
			t.Errorf("got %+v, %+v", f, w.of(web0))
		}
		w.fake.Exit(w.container(web0, "").Name, 1)
		w.settled(time.Minute)
		counts := map[string]int{}
		for _, call := range w.fake.Calls() {
			op, name, _ := strings.Cut(call, " ")
			counts[op+name[strings.LastIndexByte(name, '.'):]]++
		}
		if counts["Create.one"] != 1 || counts["Start.one"] != 1 || counts["Remove.one"] != 1 || counts["Create.two"] != 1 || counts["Remove.two"] != 1 {
			t.Errorf("got %s", fmt.Sprint(w.fake.Calls()))
		}
		w.end(web0)
		w.settled(time.Minute)
		if len(w.of(web0)) != 0 || w.fact(web0) != nil {
			t.Errorf("got %+v, %+v; want nothing left", w.of(web0), w.fact(web0))
		}
	})
}

// A pod of several containers is taken away in the order that Podman asks for, also where it has moved.
func TestSeveral_removal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		web0 := pod("web", 0)
		w.place(host, template(with("side"), with("third")), web0)
		w.settled(time.Minute)
		w.fake.Calls()
		w.place(host, template(with("side"), args("-lines=1")), web0)
		w.settled(time.Minute)
		if f := w.fact(web0); len(w.of(web0)) != 2 || f.Unready != "" || len(f.Others) != 1 {
			t.Errorf("got %+v, %+v", f, w.of(web0))
		}
		if n := w.said.count("dependent containers"); n != 0 {
			t.Errorf("Podman had to say %d times what is to go first:\n%s", n, w.said)
		}
		w.end(web0)
		w.settled(time.Minute)
		if len(w.of(web0)) != 0 || w.fact(web0) != nil {
			t.Errorf("got %+v, %+v; want nothing left", w.of(web0), w.fact(web0))
		}
	})
}

// What is left of an earlier placement, and cannot be ended, says nothing of what the pod is now.
func TestSeveral_leftOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		web0 := pod("web", 0)
		onHost := func(p *corev1.PodSpec) { p.HostNetwork = true } // none has the first one's network, which else had to wait
		w.place(host, template(with("side"), onHost), web0)
		w.settled(time.Minute)
		old := w.fact(web0).Container
		runs := false // what the pod is now, and that is recorded
		w.fake.Hook(func(op, what string) error {
			if c := w.fake.Spec(what); op != "Stop" || c == nil || !strings.HasSuffix(c.Name, ".side") {
				return nil
			}
			for ; !runs; time.Sleep(time.Second) {
				f := w.fact(web0)
				runs = f.Container != old && f.Phase == projection.Running
			}
			return errors.New("not now")
		})
		w.place(host, template(onHost), web0)
		w.settled(time.Minute)
		f := w.fact(web0)
		if f.Phase != projection.Running || f.Container != w.container(web0, "").ID || f.Unready != "" {
			t.Errorf("got %+v", f)
		}
		if err := w.log.Scan(1, func(r events.Record) error {
			if bytes.Contains(r.Payload, []byte("KillContainerError")) {
				return fmt.Errorf("recorded: %s", r.Payload)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		w.fake.Hook(nil)
		w.settled(time.Minute)
		if f := w.fact(web0); len(w.of(web0)) != 1 || f.Others != nil {
			t.Errorf("got %+v, %+v; want the other gone", w.of(web0), f)
		}
	})
}

// While another container may be made that has its network, the first is left alone.
func TestSeveral_endedWhileMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		web0 := pod("web", 0)
		going := make(chan struct{})
		w.fake.Hook(func(op, what string) error {
			if op == "Create" && strings.HasSuffix(what, ".side") {
				<-going
			}
			return nil
		})
		w.place(host, template(with("side")), web0)
		w.settled(10 * time.Second)
		w.end(web0)
		w.settled(10 * time.Second)
		first := w.container(web0, "")
		if first.Status != podman.StatusRunning {
			t.Errorf("got %+v, want it left alone", first)
		}
		close(going)
		w.settled(time.Minute)
		if len(w.of(web0)) != 0 || w.fact(web0) != nil || w.said.count("dependent containers") != 0 {
			t.Errorf("got %+v, %+v; want nothing left", w.of(web0), w.fact(web0))
		}
	})
}

// A recovery goes on until a pod's init containers have done their work and the others were made.
func TestSeveral_recovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(initially("one", "-exit-after=5s"), with("side")), pod("web", 0))
		w.run()
		w.settled(4 * time.Second)
		if !w.Recovering() {
			t.Error("it has ended before anything of the pod ran")
		}
		w.settled(4 * time.Second)
		if r := w.Report(); w.Recovering() || r.Created != 3 || r.Failed != 0 {
			t.Errorf("got %+v", r)
		}
	})
}
