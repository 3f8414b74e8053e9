package podman_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Line 6 of what went wrong before: names that are taken by a ghost, by somebody else's container, or by our own of a lost answer.
func TestReconciler_nameInUse(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(w *world, name string)
	}{
		{"ghost", func(w *world, name string) { w.fake.Ghost(name) }},
		{"foreign", func(w *world, name string) { w.foreign(name, nil) }},
		{"another cluster's", func(w *world, name string) {
			w.foreign(name, map[string]string{podman.LabelCluster: "other", podman.LabelHost: host})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.run()
				w.ready()
				var name string
				w.fake.Hook(func(op, what string) error {
					if op == "Create" && name == "" {
						name = what
						w.fake.Hook(nil)
						c.setup(w, name)
					}
					return nil
				})
				w.place(host, template(), pod("web", 0))
				w.settled(time.Second)
				if got := w.runs(pod("web", 0)); got.Name != name+"-2" {
					t.Errorf("got container %s, want %s-2", got.Name, name)
				}
				for _, call := range w.fake.Calls() {
					if call == "Remove "+name || call == "Stop "+name {
						t.Errorf("asked of Podman: %s", call)
					}
				}
			})
		})
	}
}

// Podman took so long to make a container that the answer was lost, and lists it only later: it is not made twice.
func TestReconciler_lostAnswerAndLateList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		late := &losesAnswers{Engine: w.fake, n: 1, hide: true}
		w.run(func(r *podman.Reconciler) { r.Engine = late })
		w.ready()
		w.place(host, template(), pod("web", 0))
		w.settled(5 * time.Second)
		w.runs(pod("web", 0))
	})
}

// The answer to a create is lost, and the container is there all the same: it is found, not made twice.
func TestReconciler_lostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		lost := &losesAnswers{Engine: w.fake, n: 1}
		w.restart(func(r *podman.Reconciler) { r.Engine = lost })
		w.ready()
		w.place(host, template(), pod("web", 0))
		w.settled(5 * time.Second)
		w.runs(pod("web", 0))
		if got := w.fact(pod("web", 0)).Restarts; got != 0 {
			t.Errorf("got %d restarts", got)
		}
	})
}

func TestReconciler_portTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		taken := 0
		w.fake.Hook(func(op, what string) error {
			if spec := w.fake.Spec(what); op == "Start" && taken == 0 && spec != nil {
				taken = int(spec.PortMappings[0].Host)
				w.fake.TakePort(taken)
			}
			return nil
		})
		w.place(host, template(), pod("web", 0))
		w.settled(time.Second)
		w.runs(pod("web", 0))
		if got := w.fact(pod("web", 0)).Ports[0].Host; taken == 0 || got == taken {
			t.Errorf("got host port %d, which is taken", got)
		}
	})
}

// A host port that the manifest names is never exchanged for another, and people see whose fault it is.
func TestReconciler_fixedPortTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		w.fake.TakePort(8080)
		w.place(host, template(func(s *corev1.PodSpec) { s.Containers[0].Ports[0].HostPort = 8080 }), pod("web", 0))
		w.settled(10 * time.Second)
		f := w.fact(pod("web", 0))
		if f.Phase != projection.Pending || f.Reason != "RunContainerError" || !strings.Contains(f.Message, ":8080: bind: address already in use") {
			t.Errorf("got %+v", f)
		}
		if n := len(w.of(pod("web", 0))); n > 1 {
			t.Errorf("it has %d containers", n)
		}
	})
}

// Podman cannot remove a container that does not run any more, as when its storage is busy. The replica runs without.
func TestReconciler_cannotBeRemoved(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(w *world, old podman.Container)
	}{
		{"stuck in its removal", func(w *world, old podman.Container) {
			w.fake.Exit(old.ID, 1)
			w.fake.SetStatus(old.ID, "removing")
		}},
		{"cannot be started either", func(w *world, old podman.Container) { w.fake.Exit(old.ID, 1) }},
		{"over", func(w *world, _ podman.Container) { w.place(host, template(args("-x")), pod("web", 0)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.place(host, template(), pod("web", 0))
				w.run()
				w.ready()
				old := w.runs(pod("web", 0))
				w.fake.Hook(func(op, what string) error {
					if what == old.ID && (op == "Remove" || op == "Start") {
						return &podman.Refusal{Message: "device or resource busy"}
					}
					return nil
				})
				c.setup(w, old)
				w.settled(time.Minute)
				f := w.fact(pod("web", 0))
				if f.Phase != projection.Running || f.Container == old.ID || f.Reason != "RemoveContainerError" || f.Message == "" {
					t.Errorf("got %+v, want it running in another container, and what is left said", f)
				}
				if n := len(w.of(pod("web", 0))); n != 2 {
					t.Errorf("%d containers, want the one and what is left", n)
				}
				index := w.ledger.View().Index()
				w.settled(time.Hour)
				if n := w.ledger.View().Index() - index; n != 0 {
					t.Errorf("%d events in an hour of trying", n)
				}
				w.fake.Hook(nil)
				w.settled(6 * time.Minute)
				if got := w.runs(pod("web", 0)); got.ID != f.Container {
					t.Error("the container was bounced once what was left could be removed")
				}
			})
		})
	}
}

// What is left of an old container, and cannot be removed, does not keep the new one from being started again at once.
func TestReconciler_restartsBesideWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		old := w.runs(pod("web", 0))
		w.fake.Hook(func(op, what string) error {
			if op == "Remove" && what == old.ID {
				return &podman.Refusal{Message: "device or resource busy"}
			}
			return nil
		})
		w.place(host, template(args("-x")), pod("web", 0))
		w.settled(time.Hour)
		w.fake.Exit(w.fact(pod("web", 0)).Container, 1)
		w.settled(15 * time.Second)
		if f := w.fact(pod("web", 0)); f.Phase != projection.Running || f.Restarts != 1 {
			t.Errorf("got %+v, want it started again", f)
		}
		w.fake.Hook(nil)
		w.settled(6 * time.Minute)
		if f := w.fact(pod("web", 0)); f.Phase != projection.Running || f.Reason != "" || f.Message != "" {
			t.Errorf("got %+v, want no word of what is left no more", f)
		}
		w.runs(pod("web", 0))
	})
}

// But what is recorded is not forgotten where it is all that explains the container: that would be an orphan.
func TestReconciler_renamedOverAndCannotBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		old := w.runs(pod("web", 0))
		w.fake.Rename(old.ID, "mine")
		w.fake.Hook(func(op, what string) error {
			if op == "Remove" && what == old.ID {
				return &podman.Refusal{Message: "device or resource busy"}
			}
			return nil
		})
		w.end(pod("web", 0))
		w.settled(time.Minute)
		if f := w.fact(pod("web", 0)); f == nil || f.Reason != "RemoveContainerError" {
			t.Errorf("recorded: %+v", f)
		}
		w.fake.Hook(nil)
		w.settled(6 * time.Minute)
		if n := len(w.of(pod("web", 0))); n != 0 || w.fact(pod("web", 0)) != nil {
			t.Errorf("%d containers are left once it can be removed", n)
		}
	})
}

// Nor does it keep the pod of a deleted Deployment, or of one that is made anew only once its old pods are gone.
func TestReconciler_overAndCannotBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		old := w.runs(pod("web", 0))
		w.fake.Hook(func(op, what string) error {
			if op == "Remove" && what == old.ID {
				return &podman.Refusal{Message: "device or resource busy"}
			}
			return nil
		})
		w.end(pod("web", 0))
		w.settled(time.Minute)
		if f := w.fact(pod("web", 0)); f != nil {
			t.Errorf("still recorded: %+v", f)
		}
		if c := w.one(pod("web", 0)); c.Status.Runs() {
			t.Errorf("it runs: %+v", c)
		}
		w.fake.Hook(nil)
		w.settled(6 * time.Minute)
		if n := len(w.of(pod("web", 0))); n != 0 || len(w.Orphans()) != 0 {
			t.Errorf("%d containers and %d orphans are left once it can be removed", n, len(w.Orphans()))
		}
	})
}

// An agent that is started with another --cluster-name does not see the containers that it made before. It must not make each of
// them once more beside them, on the same folders.
func TestReconciler_anotherClusterName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := running(t)
		first := w.runs(pod("web", 0))
		w.restart(func(r *podman.Reconciler) { r.Cluster = "prod" })
		w.settled(time.Hour)
		if got := w.one(pod("web", 0)); stamp(got) != stamp(first) {
			t.Errorf("got %+v, want the one that was there", got)
		}
		if f := w.fact(pod("web", 0)); f.Reason != "CreateContainerError" || !strings.Contains(f.Message, `of cluster "default", host "one"`) {
			t.Errorf("recorded: %+v", f)
		}
		w.restart()
		w.ready()
		if got := w.runs(pod("web", 0)); stamp(got) != stamp(first) {
			t.Error("the container was bounced")
		}
	})
}
