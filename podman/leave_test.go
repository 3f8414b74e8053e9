package podman_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// service records a Service, or, with an empty selector, one that selects nothing.
func (w *world) service(name, selector string) {
	w.t.Helper()
	w.record(projection.Change{Kind: events.Declared, Key: "service/default/" + name, Object: []byte(fmt.Sprintf(
		`{"apiVersion":"v1","kind":"Service","metadata":{"name":%q,"namespace":"default"},"spec":{"selector":{%s}}}`, name, selector))})
}

// stopped is how long it takes until each of the pods is told to stop, in order of the pods.
func (w *world) stopped(pods []projection.Pod, do func()) (after []time.Duration) {
	w.t.Helper()
	var mu sync.Mutex
	at := map[string]time.Time{}
	w.fake.Hook(func(op, what string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "Stop" {
			at[what] = time.Now()
		}
		return nil
	})
	ids := map[projection.Pod]string{}
	for _, p := range pods {
		ids[p] = w.runs(p).ID
	}
	began := time.Now()
	do()
	w.settled(time.Minute)
	mu.Lock()
	defer mu.Unlock()
	for _, p := range pods {
		if at[ids[p]].IsZero() {
			w.t.Fatalf("%s was not stopped", p.Name())
		}
		after = append(after, at[ids[p]].Sub(began))
	}
	w.fake.Hook(nil)
	return after
}

// Who sends requests to what leaves needs a moment to hear of it; what nobody sends requests to is stopped at once.
func TestLeave(t *testing.T) {
	onPort := func(s *corev1.PodSpec) { s.Containers[0].Ports[0].HostPort = 8080 }
	for _, c := range []struct {
		name     string
		selector string
		old      []byte
		do       func(w *world)
		want     string
	}{
		{"deleted", `"app":"web"`, template(), func(w *world) { w.end(three[0]) }, "[2s]"},
		{"no Service selects it", `"app":"web","tier":"x"`, template(), func(w *world) { w.end(three[0]) }, "[0s]"},
		{"a Service that selects nothing", ``, template(), func(w *world) { w.end(three[0]) }, "[0s]"},
		{"replaced in place", `"app":"web"`, template(), func(w *world) { w.place(host, template(args("-x")), three[0]) }, "[2s]"},
		{"its host port is needed", `"app":"web"`, template(onPort), func(w *world) {
			w.end(three[0])
			w.place(host, template(onPort), three[1])
		}, "[0s]"},
		{"its host port is needed in place", `"app":"web"`, template(onPort), func(w *world) {
			w.place(host, template(onPort, args("-x")), three[0])
		}, "[0s]"},
		{"its host port is needed a second later", `"app":"web"`, template(onPort), func(w *world) {
			w.end(three[0])
			w.settled(time.Second)
			w.place(host, template(onPort), three[1])
		}, "[1s]"},
		{"preStop", `"app":"web"`, template(func(s *corev1.PodSpec) {
			s.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 5}}}
		}), func(w *world) { w.end(three[0]) }, "[7s]"},
		{"a preStop longer than the grace", `"app":"other"`, template(func(s *corev1.PodSpec) {
			grace := int64(10)
			s.TerminationGracePeriodSeconds = &grace
			s.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 50}}}
		}), func(w *world) { w.end(three[0]) }, "[10s]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.service("web", c.selector)
				w.place(host, c.old, three[0])
				w.run()
				w.ready()
				got := fmt.Sprint(w.stopped(three[:1], func() { c.do(w) }))
				if got != c.want {
					t.Errorf("stopped after %s, want %s", got, c.want)
				}
				for _, p := range three {
					if n := len(w.of(p)); n > 1 {
						t.Errorf("%d containers of %s are left", n, p.Name())
					}
				}
			})
		})
	}
}

// preStop is done before a container is stopped that a probe wants restarted, too, and one that hangs is not waited for without end.
func TestLeave_preStopOfARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hang := make(chan struct{})
		defer close(hang)
		var before atomic.Int32
		w.fake.SetExec(func(_ string, command []string) (int, string, error) {
			if command[0] == "leave" {
				if before.Add(1) > 1 {
					<-hang
				}
				return 0, "", nil
			}
			return 1, "", nil
		})
		w.place(host, template(liveness, func(s *corev1.PodSpec) {
			s.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"leave"}}}}
		}), three[0])
		w.run()
		w.ready()
		w.settled(15 * time.Second)
		if f := w.fact(three[0]); f.Restarts != 1 || before.Load() != 1 {
			t.Errorf("got %+v, %d times done before", f, before.Load())
		}
		w.settled(50 * time.Second) // it fails again, and what is to be done before takes all of the 30 s
		if f := w.fact(three[0]); f.Phase != projection.Exited || before.Load() != 2 {
			t.Errorf("got %+v, %d times done before; want it ended all the same", f, before.Load())
		}
	})
}

// A restart of the agent in between begins the moment again, and forgets neither that the container goes nor what is to be done before.
func TestLeave_agentRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service("web", `"app":"web"`)
		w.place(host, template(func(s *corev1.PodSpec) {
			s.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 5}}}
		}), three[0])
		w.run()
		w.ready()
		w.end(three[0])
		w.settled(time.Second)
		began := time.Now()
		w.restart()
		w.settled(6900 * time.Millisecond)
		if n := len(w.of(three[0])); n != 1 {
			t.Errorf("%d containers %s after the restart, want it there still", n, time.Since(began))
		}
		w.settled(time.Second)
		if n := len(w.of(three[0])); n != 0 || strings.Contains(w.said.String(), "preStop did not end well") {
			t.Errorf("%d containers are left", n)
		}
	})
}
