package podman_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// health is what the commands of probes answer: each container's program is as it is said to be.
type health struct {
	mu    sync.Mutex
	codes map[string]int // by the probe's command
	asked map[string]int
}

func (w *world) health() *health {
	h := &health{codes: map[string]int{}, asked: map[string]int{}}
	w.fake.SetExec(func(_ string, command []string) (int, string, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asked[command[0]]++
		return h.codes[command[0]], "", nil
	})
	return h
}

func (h *health) set(command string, code int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.codes[command] = code
}

func (h *health) count(command string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[command]
}

func execProbe(command string, change ...func(*corev1.Probe)) *corev1.Probe {
	p := &corev1.Probe{TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3}
	p.Exec = &corev1.ExecAction{Command: []string{command}}
	for _, c := range change {
		c(p)
	}
	return p
}

func readiness(s *corev1.PodSpec) { s.Containers[0].ReadinessProbe = execProbe("ready") }
func liveness(s *corev1.PodSpec)  { s.Containers[0].LivenessProbe = execProbe("live") }
func startup(s *corev1.PodSpec) {
	s.Containers[0].StartupProbe = execProbe("start", func(p *corev1.Probe) { p.PeriodSeconds = 5 })
}

// unready fails the test unless the pod runs, and is not ready for that reason.
func (w *world) unready(p projection.Pod, want string) {
	w.t.Helper()
	w.runs(p)
	if got := w.fact(p).Unready; got != want {
		w.t.Errorf("unready: got %q, want %q", got, want)
	}
}

func TestProbe_readyOnceItHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.health()
		h.set("ready", 1)
		w.run()
		w.ready()
		p := pod("web", 0)
		w.place(host, template(readiness), p)
		w.settled(time.Millisecond)
		w.unready(p, "readiness probe: has not passed yet")
		w.settled(2500 * time.Millisecond)
		w.unready(p, "readiness probe: ready exited with code 1")
		h.set("ready", 0)
		w.settled(time.Second) // who is not ready yet is asked each second
		w.unready(p, "")
		if f := w.fact(p); time.Since(f.Readied) > time.Second || f.Restarts != 0 {
			t.Errorf("got %+v", f)
		}
		index, asked := w.ledger.View().Index(), h.count("ready")
		w.settled(time.Minute)
		if got := w.ledger.View().Index(); got != index {
			t.Errorf("%d events of a container that stays ready", got-index)
		}
		if n := h.count("ready") - asked; n != 6 {
			t.Errorf("asked %d times in a minute, want every 10 s", n)
		}
		h.set("ready", 1)
		w.settled(25 * time.Second) // two or three times
		w.settled(5 * time.Second)
		w.unready(p, "readiness probe: ready exited with code 1")
		if got := w.ledger.View().Index(); got != index+1 {
			t.Errorf("%d events of becoming unready, want one", got-index)
		}
	})
}

// What is said in ever other words is one event, and another a minute at most.
func TestProbe_manyWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := 0
		w.fake.SetExec(func(string, []string) (int, string, error) { n++; return 1, fmt.Sprint(n / 7), nil })
		w.run()
		w.ready()
		w.place(host, template(readiness), pod("web", 0))
		w.settled(time.Second)
		index := w.ledger.View().Index()
		w.settled(10 * time.Minute)
		if got := w.ledger.View().Index() - index; got < 2 || got > 11 {
			t.Errorf("%d events in ten minutes of failing in other words every 7 s, want one a minute at most", got)
		}
	})
}

func TestProbe_livenessRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.health()
		w.run()
		w.ready()
		p := pod("web", 0)
		w.place(host, template(liveness), p)
		w.settled(time.Minute)
		first := w.runs(p)
		h.set("live", 2)
		var events []string
		w.fake.Hook(func(op, _ string) error {
			if op == "Stop" || op == "Start" {
				events = append(events, op)
				h.set("live", 0)
			}
			return nil
		})
		w.settled(31 * time.Second)
		again := w.runs(p)
		f := w.fact(p)
		if again.ID != first.ID || again.Started.Equal(first.Started) || f.Restarts != 1 || f.Unready != "" || fmt.Sprint(events) != "[Stop Start]" {
			t.Errorf("got %+v, %+v, %q; want the same container, stopped and started once", again, f, events)
		}
		if n := w.tells(p, func(r *projection.Replica) bool {
			return r.Phase == projection.Exited && r.Reason == "Unhealthy" && r.Message == "liveness probe: live exited with code 2"
		}); n != 1 {
			t.Errorf("%d events say why it was ended, want one", n)
		}
	})
}

// tells is how many of the events of the pod's container in the log are so.
func (w *world) tells(p projection.Pod, so func(*projection.Replica) bool) (n int) {
	w.t.Helper()
	steps, ok := w.ledger.View().Since(0)
	if !ok {
		w.t.Fatal("the steps since the beginning are no longer there")
	}
	for i := range steps {
		for _, e := range steps[i].Commit.Events {
			if e.Key == p.ReplicaKey(host) && e.Object != nil && so(readReplica(w.t, e.Object)) {
				n++
			}
		}
	}
	return n
}

// A program that is never well is restarted as one that exits is: with the same back-off, and little is written of it.
func TestProbe_livenessCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.health().set("live", 2)
		w.run()
		w.ready()
		p := pod("web", 0)
		w.place(host, template(liveness, args("-ignore-term"), func(s *corev1.PodSpec) {
			grace := int64(3)
			s.Containers[0].LivenessProbe.TerminationGracePeriodSeconds = &grace
		}), p)
		w.settled(time.Hour)
		index := w.ledger.View().Index()
		w.settled(time.Hour)
		f := w.fact(p)
		if f.Restarts < 10 || f.Restarts > 30 || f.ExitCode != 137 {
			t.Errorf("got %+v, want some ten restarts an hour", f)
		}
		if n := w.ledger.View().Index() - index; n > crashLoopWrites {
			t.Errorf("%d events in an hour, want %d at most", n, crashLoopWrites)
		}
		if n := w.tells(p, func(r *projection.Replica) bool {
			return r.Reason == "CrashLoopBackOff" && strings.Contains(r.Message, "liveness probe: live exited with code 2")
		}); n == 0 {
			t.Error("no back-off says what for")
		}
		if n := w.tells(p, func(r *projection.Replica) bool {
			return r.Reason == "Unhealthy" && r.Finished.Sub(r.Started) > 24*time.Second
		}); n != 0 {
			t.Errorf("%d times its own grace was waited for, want the probe's", n)
		}
	})
}

// One that Podman cannot end is tried ever more seldom, and it is recorded once why.
func TestProbe_livenessCannotBeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.health().set("live", 2)
		stops := 0
		w.fake.Hook(func(op, _ string) error {
			if op != "Stop" {
				return nil
			}
			stops++
			return &podman.Refusal{Message: "given PID did not die"}
		})
		p := pod("web", 0)
		w.place(host, template(liveness), p)
		w.run()
		w.settled(time.Minute)
		index := w.ledger.View().Index()
		w.settled(time.Hour)
		if f := w.fact(p); f.Phase != projection.Running || f.Reason != "KillContainerError" || !strings.Contains(f.Message, "did not die") {
			t.Errorf("recorded: %+v", f)
		}
		if got := w.ledger.View().Index() - index; got != 0 || stops < 10 || stops > 25 {
			t.Errorf("%d events and %d tries, want none and one every 5 minutes in the end", got, stops)
		}
		w.fake.Hook(nil)
		w.settled(6 * time.Minute)
		if f := w.fact(p); f.Restarts == 0 {
			t.Errorf("got %+v, want it started again", f)
		}
	})
}

// A program that starts slowly is asked nothing else, and is restarted only when its startup probe has had enough.
func TestProbe_startup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.health()
		h.set("start", 1)
		h.set("live", 1)
		w.run()
		w.ready()
		p := pod("web", 0)
		w.place(host, template(startup, liveness, readiness, func(s *corev1.PodSpec) { s.Containers[0].StartupProbe.FailureThreshold = 30 }), p)
		w.settled(2 * time.Minute)
		w.unready(p, "startup probe: has not passed yet")
		if h.count("live") != 0 || h.count("ready") != 0 || w.fact(p).Restarts != 0 {
			t.Errorf("liveness asked %d times, readiness %d, %d restarts; want none", h.count("live"), h.count("ready"), w.fact(p).Restarts)
		}
		h.set("start", 0)
		h.set("live", 0)
		w.settled(6 * time.Second)
		w.unready(p, "")
		n := h.count("start")
		w.settled(time.Minute)
		if h.count("start") != n || h.count("live") == 0 {
			t.Errorf("startup asked %d times after it had passed, liveness %d times", h.count("start")-n, h.count("live"))
		}
		h.set("start", 1)
		w.place(host, template(startup, args("-other")), pod("web", 1))
		w.settled(12 * time.Second)
		if f := w.fact(pod("web", 1)); f.Restarts != 1 {
			t.Errorf("got %+v, want a restart once the startup probe has failed three times", f)
		}
	})
}

// A restart of the agent bounces nothing, and nothing leaves or joins the endpoints for it.
func TestProbe_agentRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.health()
		w.place(host, template(readiness, liveness, startup), pod("web", 0))
		w.run()
		w.ready()
		w.unready(pod("web", 0), "")
		before, index := w.runs(pod("web", 0)), w.ledger.View().Index()
		w.fake.SetDown(true) // what is recorded holds while nobody can be asked
		w.restart()
		w.settled(time.Minute)
		w.unready(pod("web", 0), "")
		w.fake.SetDown(false)
		w.settled(time.Minute)
		w.unready(pod("web", 0), "")
		if got := w.ledger.View().Index(); got != index+1 { // the report of the recovery
			t.Errorf("%d events of a restart, want one", got-index)
		}
		h.set("ready", 1)
		n := h.count("start")
		w.restart(func(r *podman.Reconciler) { r.Settle = podman.Wait(31 * time.Second) })
		w.settled(30 * time.Second)
		w.unready(pod("web", 0), "")
		w.settled(3 * time.Second)
		w.unready(pod("web", 0), "readiness probe: ready exited with code 1") // found out while it waited for the others
		w.restart()
		w.settled(time.Second)
		w.unready(pod("web", 0), "readiness probe: ready exited with code 1")
		if h.count("start") != n || w.runs(pod("web", 0)).Started != before.Started {
			t.Error("what had started was asked again whether it has")
		}
	})
}

// A restart of the agent does not have all be asked together, then nor later: that would take a busy host's time, and so fail probes.
func TestProbe_agentRestartsAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.health()
		const many = 40
		for i := range many {
			w.place(host, template(readiness), pod("web", i))
		}
		w.run()
		w.ready()
		w.settled(time.Minute)
		w.restart()
		n, most := h.count("ready"), 0
		for range 20 {
			before := h.count("ready")
			w.settled(time.Second)
			most = max(most, h.count("ready")-before)
		}
		if got := h.count("ready") - n; got != 2*many || most > many/2 {
			t.Errorf("%d asked in 20 s, at most %d within one, want %d, and at most %d", got, most, 2*many, many/2)
		}
	})
}

// Podman does not have to answer for it to be recorded that a program takes no requests, and that a command of a probe
// could not be run says nothing of the program.
func TestProbe_withoutPodman(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.health()
		w.place(host, template(readiness, liveness), pod("web", 0))
		w.run()
		w.ready()
		w.unready(pod("web", 0), "")
		w.fake.Hook(func(op, _ string) error {
			if op == "Exec" || op == "Events" {
				return nil
			}
			return podman.ErrUnavailable
		})
		h.set("ready", 1)
		w.settled(time.Minute)
		if w.Progress().Podman == "" {
			t.Error("Podman is not known to be away")
		}
		w.unready(pod("web", 0), "readiness probe: ready exited with code 1")
		h.set("ready", 0)
		w.settled(time.Minute)
		w.unready(pod("web", 0), "")
		w.fake.Hook(func(string, string) error { return podman.ErrUnavailable })
		w.settled(10 * time.Minute)
		w.fake.Hook(nil)
		w.settled(time.Minute)
		w.unready(pod("web", 0), "")
		if f := w.fact(pod("web", 0)); f.Restarts != 0 {
			t.Errorf("got %+v, want no restart", f)
		}
	})
}

// A probe that does not end is not started twice, and delays nobody else.
func TestProbe_hangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hang := make(chan struct{})
		var hung, others atomic.Int32
		w.fake.SetExec(func(c string, _ []string) (int, string, error) {
			if strings.HasPrefix(c, "hang-") {
				hung.Add(1)
				<-hang
				return 0, "", errors.New("ended at last")
			}
			others.Add(1)
			return 0, "", nil
		})
		var pods []projection.Pod
		for n := range 20 {
			pods = append(pods, pod("hang", n))
		}
		w.place(host, template(readiness), pods...)
		w.run()
		w.ready()
		w.place(host, template(readiness), pod("web", 0))
		w.settled(100 * time.Millisecond)
		w.unready(pod("web", 0), "")
		w.settled(time.Minute)
		w.unready(pods[0], "readiness probe: ready has not ended in time")
		if hung.Load() != int32(len(pods)) || others.Load() != 7 {
			t.Errorf("hanging commands were started %d times, the other %d; want %d and 7", hung.Load(), others.Load(), len(pods))
		}
		close(hang)
	})
}

// What is paused is not asked, and was ready before it is again.
func TestProbe_paused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.health()
		w.place(host, template(readiness), pod("web", 0))
		w.run()
		w.ready()
		c := w.runs(pod("web", 0))
		w.fake.SetStatus(c.ID, podman.StatusPaused)
		w.settled(time.Minute)
		n := h.count("ready")
		w.settled(time.Minute)
		if f := w.fact(pod("web", 0)); h.count("ready") != n || f.Reason != "Paused" || f.Unready != "" {
			t.Errorf("asked %d times while it was paused, recorded %+v", h.count("ready")-n, f)
		}
	})
}

// What a program writes may be no text at all. It is recorded once all the same, since what is recorded is what is compared with.
func TestProbe_wordsThatAreNoText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fake.SetExec(func(string, []string) (int, string, error) {
			return 1, "Gr\xfc\xdfe\x1b[31m\n" + strings.Repeat("é", 200), nil
		})
		p := pod("web", 0)
		w.place(host, template(readiness), p)
		w.run()
		w.ready()
		w.settled(10 * time.Second)
		index := w.ledger.View().Index()
		w.settled(time.Minute)
		if got := w.ledger.View().Index() - index; got != 0 {
			t.Errorf("%d events of what goes on as it was", got)
		}
		w.unready(p, "readiness probe: ready exited with code 1: Gr\ufffd\ufffde [31m "+strings.Repeat("é", 92)+"…")
	})
}
