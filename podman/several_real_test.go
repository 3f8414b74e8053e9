package podman_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// with adds a container to a pod; it is asked whether it is ready, and shares a folder with the first.
func with(name string, args ...string) func(*corev1.PodSpec) {
	return func(p *corev1.PodSpec) {
		k := *p.Containers[0].DeepCopy()
		k.Name, k.Args, k.Ports = name, args, []corev1.ContainerPort{{Name: name, ContainerPort: 81, Protocol: corev1.ProtocolTCP}}
		p.Containers = append(p.Containers, k)
	}
}

// initially has the pod run a program before its first container.
func initially(name string, args ...string) func(*corev1.PodSpec) {
	return func(p *corev1.PodSpec) {
		k := *p.Containers[0].DeepCopy()
		k.Name, k.Args, k.Ports = name, args, nil
		p.InitContainers = append(p.InitContainers, k)
	}
}

// parts waits until all containers of the pod run for its placement and it is ready, and gives them by name, the first by "".
func (w *real) parts(p projection.Pod) map[string]podman.Container {
	w.t.Helper()
	all := map[string]podman.Container{}
	w.until(p.Name()+" runs wholly", func() bool {
		placed, err := w.ledger.View().Placement(p)
		f := w.fact(p)
		if err != nil || placed == nil || f == nil || f.Placement != placed.Event() || f.Phase != projection.Running || f.Unready != "" {
			return false
		}
		clear(all)
		ids := map[string]*projection.Replica{"": f}
		for name, part := range f.Others {
			if part.Phase == projection.Running {
				ids[name] = &part
			}
		}
		for name, part := range ids {
			c, err := w.engine.Inspect(w.t.Context(), part.Container)
			if err != nil || c.Status != podman.StatusRunning || !c.Started.Equal(part.Started) {
				return false
			}
			all[name] = c
		}
		return true
	})
	return all
}

// stamps are which containers those are, and since when they run.
func stamps(all map[string]podman.Container) map[string]string {
	s := map[string]string{}
	for name, c := range all {
		s[name] = stamp(c)
	}
	return s
}

func TestReal_severalContainers(t *testing.T) {
	w := newReal(t)
	w.run()
	w.ready()
	web0 := pod("web", 0)
	two := web(with("side", "-listen=:81"))
	w.place(host, two, web0)
	first := w.parts(web0)
	f := w.fact(web0)
	if len(first) != 2 || len(f.Ports) != 2 || f.Ports[1].Name != "side" || first["side"].Name != first[""].Name+".side" || f.Others["side"].Ports != nil {
		t.Fatalf("got %+v", f)
	}
	if got := w.get(web0, "/"); !strings.Contains(got, "web-0") {
		t.Errorf("got %q", got)
	}

	w.restart() // it bounces nothing
	w.ready()
	if got := stamps(w.parts(web0)); !maps.Equal(got, stamps(first)) {
		t.Errorf("after a restart of the agent: got %v, want %v", got, stamps(first))
	}
	if r := w.Report(); r.Bounced != 0 || r.Adopted != 2 || r.Created+r.Restart+r.Removed+r.Failed+r.Orphans != 0 {
		t.Errorf("report: got %+v", r)
	}

	w.podman("kill", first["side"].ID)
	w.until("the other is started again", func() bool { return w.fact(web0).Others["side"].Restarts == 1 })
	second := w.parts(web0)
	if stamp(second[""]) != stamp(first[""]) || second["side"].ID != first["side"].ID {
		t.Errorf("got %v, want only the other started again: %v", stamps(second), stamps(first))
	}

	w.podman("kill", first[""].ID)
	w.until("the first is started again", func() bool { return w.fact(web0).Restarts == 1 })
	third := w.parts(web0)
	if third["side"].Started.Before(third[""].Started) || third["side"].ID != first["side"].ID || third[""].ID != first[""].ID {
		t.Errorf("got %v, want both started again in place, the first first", stamps(third))
	}
	if ip := w.fact(web0).IP; third["side"].IP != ip && third["side"].IP != "" {
		t.Errorf("the other has address %s, want its pod's, %s", third["side"].IP, ip)
	}

	w.place(host, web(with("side", "-listen=:81"), func(p *corev1.PodSpec) { p.Containers[1].Env = []corev1.EnvVar{{Name: "A", Value: "b"}} }), web0)
	w.until("the new ones run alone", func() bool { return len(w.parts(web0)) == 2 && len(w.all()) == 2 })
	if got := w.parts(web0); got[""].ID == first[""].ID || got["side"].ID == first["side"].ID {
		t.Errorf("got %v, want other containers than %v", stamps(got), stamps(first))
	}

	w.end(web0)
	w.until("nothing is left", func() bool { return len(w.all()) == 0 && w.fact(web0) == nil })
}

func TestReal_initContainers(t *testing.T) {
	w := newReal(t)
	w.run()
	w.ready()
	web0 := pod("web", 0)
	w.place(host, web(initially("one", "-exit-after=0s"), initially("two", "-exit-after=0s"), with("side", "-listen=:81")), web0)
	all := w.parts(web0)
	w.until("the init containers are gone", func() bool { return len(w.all()) == 2 })
	f := w.fact(web0)
	one, two := f.Others["one"], f.Others["two"]
	if len(all) != 2 || one.Phase != projection.Exited || two.Phase != projection.Exited || two.Started.Before(one.Finished) || f.Started.Before(two.Finished) {
		t.Errorf("got %v, %+v", slices.Collect(maps.Keys(all)), f)
	}
	w.restart()
	w.ready()
	if got := stamps(w.parts(web0)); !maps.Equal(got, stamps(all)) || len(w.all()) != 2 {
		t.Errorf("after a restart of the agent: got %v, want %v", got, stamps(all))
	}
	w.end(web0)
	w.until("nothing is left", func() bool { return len(w.all()) == 0 && w.fact(web0) == nil })
}

func TestReal_failingInitContainer(t *testing.T) {
	w := newReal(t)
	w.run()
	w.ready()
	web0 := pod("web", 0)
	w.place(host, web(initially("one", "-exit-after=0s", "-exit-code=3")), web0)
	w.until("it waits to be run again", func() bool {
		f := w.fact(web0)
		return f != nil && f.Others["one"].Reason == "CrashLoopBackOff"
	})
	if f := w.fact(web0); f.Phase != projection.Pending || f.Reason != "PodInitializing" || f.Container != "" || f.Others["one"].ExitCode != 3 || len(w.all()) != 1 {
		t.Errorf("got %+v", f)
	}
	w.end(web0)
	w.until("nothing is left", func() bool { return len(w.all()) == 0 && w.fact(web0) == nil })
}
