package podman_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// real is a world on a private Podman.
type real struct {
	*world
	host *podmanhost.Host
}

func newReal(t *testing.T) *real {
	h := podmanhost.Start(t)
	return &real{worldOn(t, &podman.Client{URL: h.Socket()}, nil), h}
}

// until waits until what is asked is so.
func (w *real) until(what string, so func() bool) {
	w.t.Helper()
	deadline := time.After(60 * time.Second)
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for !so() {
		select {
		case <-every.C:
		case <-deadline:
			w.t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (w *real) ready() {
	w.t.Helper()
	w.until("the recovery is done", func() bool { return !w.Recovering() })
}

// running waits until the pod runs from its placement, and is recorded so.
func (w *real) running(p projection.Pod) podman.Container {
	w.t.Helper()
	var c podman.Container
	w.until(p.Name()+" runs", func() bool {
		placed, err := w.ledger.View().Placement(p)
		f := w.fact(p)
		if err != nil || placed == nil || f == nil || f.Placement != placed.Event() || f.Phase != projection.Running {
			return false
		}
		c, err = w.engine.Inspect(w.t.Context(), f.Container)
		return err == nil && c.Status == podman.StatusRunning && c.Started.Equal(f.Started)
	})
	return c
}

func (w *real) all() []podman.Container {
	w.t.Helper()
	all, err := w.engine.List(w.t.Context(), podman.LabelCluster, "default")
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *real) podman(args ...string) string {
	w.t.Helper()
	out, err := w.host.Podman(w.t.Context(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// get asks the replica, from its first recorded host port.
func (w *real) get(p projection.Pod, path string) string {
	w.t.Helper()
	port := w.fact(p).Ports[0].Host
	var body string
	w.until(p.Name()+" answers", func() bool {
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", fmt.Sprint(port))+path, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		body = string(b)
		return err == nil
	})
	return body
}

func web(change ...func(*corev1.PodSpec)) []byte {
	return template(append([]func(*corev1.PodSpec){func(s *corev1.PodSpec) { s.Containers[0].Image = podmanhost.Image1 }}, change...)...)
}

// Lines 6, 7, 11 and 12 of what went wrong before: on a real Podman, in one story: apply, restart the agent, let one exit, restart
// Podman, change the template, reboot, delete.
func TestReal_story(t *testing.T) {
	w := newReal(t)
	// Of a name that no test of another package gives to a Deployment: the host ports follow from it, and are to be free again after the reboot.
	story := []projection.Pod{pod("story", 0), pod("story", 1), pod("story", 2)}
	foreign := w.podman("run", "--detach", "--name", "foreign", "--label", "a=b", podmanhost.Image1)
	started := w.podman("inspect", "--format", "{{.State.StartedAt}}", foreign)
	w.place(host, web(), story...)
	w.run()
	w.ready()
	var first []string
	for _, p := range story {
		first = append(first, stamp(w.running(p)))
		if got := w.get(p, "/"); !strings.Contains(got, "host "+p.Name()+"\n") {
			t.Errorf("pod %s says %q", p.Name(), got)
		}
	}

	w.restart()
	w.ready()
	var again []string
	for _, p := range story {
		again = append(again, stamp(w.running(p)))
	}
	if r := w.Report(); !slices.Equal(again, first) || r.Adopted != 3 || r.Bounced+r.Created+r.Restart+r.Failed != 0 {
		t.Errorf("after a restart: got %v, want %v; report %+v", again, first, r)
	}

	w.get(story[0], "/exit?code=3")
	w.until("the one that exited is started again", func() bool { f := w.fact(story[0]); return f.Restarts == 1 && f.Phase == projection.Running })
	if c, f := w.running(story[0]), w.fact(story[0]); f.ExitCode != 3 || f.Finished.IsZero() || !strings.HasPrefix(first[0], c.ID) {
		t.Errorf("got %+v, %+v; want the same container after exit code 3", c, f)
	}

	if err := w.host.StopService(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("it is known that Podman is away", func() bool { return w.Progress().Podman != "" })
	w.place(host, web(), pod("late", 0))
	if err := w.host.StartService(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.running(pod("late", 0))
	if got := stamp(w.running(story[1])); got != first[1] {
		t.Error("a restart of Podman bounced a container")
	}

	w.place(host, web(func(s *corev1.PodSpec) { s.Containers[0].Image = podmanhost.Image2 }), story[1])
	w.running(story[1])
	if got := w.get(story[1], "/"); !strings.Contains(got, "version 2") {
		t.Errorf("after a new template it says %q", got)
	}

	w.stop()
	ports := w.fact(story[2]).Ports
	w.podman("stop", "--time", "0", "foreign") // Reboot stops what it finds; this one is not to be looked at below
	if err := w.host.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.ready()
	for _, p := range append(story, pod("late", 0)) {
		w.running(p)
	}
	if r := w.Report(); r.Restart != 4 || r.Created != 0 || r.Failed != 0 {
		t.Errorf("after a reboot: got report %+v", r)
	}
	if got := w.fact(story[2]).Ports; !slices.Equal(got, ports) {
		t.Errorf("after a reboot: got ports %v, want %v", got, ports)
	}

	w.end(append(story, pod("late", 0))...)
	w.until("all is deleted", func() bool { return len(w.all()) == 0 && w.fact(story[0]) == nil && w.fact(pod("late", 0)) == nil })
	if got := w.podman("inspect", "--format", "{{.State.StartedAt}}", foreign); got != started {
		t.Errorf("the foreign container was started at %s, want %s", got, started)
	}
}

// What a pod asks for is what its container is.
func TestReal_podSpec(t *testing.T) {
	w := newReal(t)
	w.run()
	w.ready()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	number := func(n int64) *int64 { return &n }
	yes, no := true, false
	p := pod("full", 0)
	w.place(host, web(func(s *corev1.PodSpec) {
		s.Hostname = "somebody"
		s.HostAliases = []corev1.HostAlias{{IP: "1.2.3.4", Hostnames: []string{"there.example"}}}
		s.DNSPolicy, s.DNSConfig = corev1.DNSNone, &corev1.PodDNSConfig{Nameservers: []string{"198.51.100.1"}}
		s.TerminationGracePeriodSeconds = number(7)
		s.SecurityContext = &corev1.PodSecurityContext{RunAsUser: number(0), SupplementalGroups: []int64{77}}
		s.Volumes = []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "mem", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(1<<20, resource.BinarySI)}}},
			{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(dir, "made")}}},
		}
		c := &s.Containers[0]
		c.Command, c.Args = []string{"/web"}, []string{"-listen", ":$(PORT)", "-lines", "1"}
		c.Env = []corev1.EnvVar{{Name: "PORT", Value: "80"}, {Name: "GREETING", Value: "port $(PORT) $(NONE)"}}
		c.WorkingDir = "/srv/deep"
		c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "mem", MountPath: "/mem"}, {Name: "host", MountPath: "/host", ReadOnly: true}}
		c.Resources.Limits = corev1.ResourceList{"memory": resource.MustParse("64Mi"), "cpu": resource.MustParse("500m")}
		c.Resources.Requests = corev1.ResourceList{"memory": resource.MustParse("32Mi"), "cpu": resource.MustParse("100m")}
		c.SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE"}}}
	}), p)
	c := w.running(p)
	if got := w.get(p, "/env"); !strings.Contains(got, "GREETING=port 80 $(NONE)\n") || !strings.Contains(got, "VERSION=1\n") {
		t.Errorf("its environment is %q", got)
	}
	if got := w.get(p, "/"); !strings.Contains(got, "host somebody\n") {
		t.Errorf("it says %q", got)
	}
	for format, want := range map[string]string{
		"{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.MemoryReservation}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuShares}}": "67108864 67108864 33554432 50000 102",
		"{{.HostConfig.RestartPolicy.Name}} {{.Config.StopTimeout}} {{.Config.WorkingDir}}":                                                      "no 7 /srv/deep",
		"{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.ExtraHosts}} {{.HostConfig.Dns}} {{.EffectiveCaps}}":                                       "true [there.example:1.2.3.4] [198.51.100.1] [CAP_NET_BIND_SERVICE]",
		"{{.Config.Labels.app}} {{.HostConfig.GroupAdd}}":                                                                                        "web [77]",
		`{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}, {{end}}`:                                                                           "bind /host false, volume /data true, ",
	} {
		if got := w.podman("inspect", "--format", format, c.ID); !sameWords(got, want) {
			t.Errorf("%s: got %q, want %q", format, got, want)
		}
	}
	volume := w.podman("volume", "ls", "--quiet", "--filter", "label="+podman.LabelPod+"=full-0")
	if volume == "" || strings.Contains(volume, "\n") {
		t.Fatalf("got volumes %q, want one", volume)
	}
	mounted := w.podman("volume", "inspect", "--format", "{{.Mountpoint}}", volume)
	if err := os.WriteFile(filepath.Join(mounted, "kept"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.podman("rm", "--force", "--time", "0", c.ID)
	w.until("it is made anew", func() bool { f := w.fact(p); return f.Container != c.ID && f.Phase == projection.Running })
	if _, err := os.Stat(filepath.Join(mounted, "kept")); err != nil {
		t.Errorf("the emptyDir did not survive its container: %v", err)
	}
	w.end(p)
	w.until("its volume is gone", func() bool { return w.podman("volume", "ls", "--quiet") == "" })
	if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
		t.Errorf("the hostPath: %v", err)
	}
}

// sameWords compares what Podman lists in no particular order.
func sameWords(a, b string) bool {
	sorted := func(s string) []string {
		words := strings.Fields(s)
		slices.Sort(words)
		return words
	}
	return slices.Equal(sorted(a), sorted(b))
}

// Podman makes a volume for each that an image declares. They go with the container, and nothing piles up; an emptyDir
// stays as long as the placement.
func TestReal_imageVolumes(t *testing.T) {
	w := newReal(t)
	base := w.podman("create", podmanhost.Image1)
	w.podman("commit", "--quiet", "--change", "VOLUME /declared", base, "localhost/declares:1")
	w.podman("rm", base)
	w.place(host, web(func(s *corev1.PodSpec) {
		s.Containers[0].Image = "localhost/declares:1"
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	}), three[0])
	w.run()
	w.ready()
	c := w.running(three[0])
	if n := len(strings.Fields(w.podman("volume", "ls", "--quiet"))); n != 2 {
		t.Fatalf("%d volumes, want the emptyDir and the image's", n)
	}
	if err := w.engine.Remove(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	w.until("it is made anew", func() bool { f := w.fact(three[0]); return f.Container != c.ID && f.Phase == projection.Running })
	if n := len(strings.Fields(w.podman("volume", "ls", "--quiet"))); n != 2 {
		t.Errorf("%d volumes after the container was made anew, want two", n)
	}
	w.end(three[0])
	w.until("no volume is left", func() bool { return w.podman("volume", "ls", "--quiet") == "" })
}

// An emptyDir at a path where the image has a folder of root's is the program's to write to, which is not root.
func TestReal_emptyDirOfItsUser(t *testing.T) {
	w := newReal(t)
	w.place(host, web(func(s *corev1.PodSpec) {
		s.Containers[0].Args = []string{"-listen", ":8080"}
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/tmp"}}
		uid, gid := int64(1234), int64(5678)
		s.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &uid, RunAsGroup: &gid}
	}), three[0])
	w.run()
	w.ready()
	w.running(three[0])
	volume := w.podman("volume", "ls", "--quiet")
	var st syscall.Stat_t
	if err := syscall.Stat(w.podman("volume", "inspect", "--format", "{{.Mountpoint}}", volume), &st); err != nil {
		t.Fatal(err)
	}
	if st.Uid != 1234 || st.Gid != 5678 {
		t.Errorf("it belongs to %d:%d, want 1234:5678", st.Uid, st.Gid)
	}
}

// Copies that a person makes of a container have its labels. They are not the agent's.
func TestReal_copies(t *testing.T) {
	w := newReal(t)
	w.place(host, web(), three[0])
	w.run()
	w.ready()
	c := w.running(three[0])
	w.podman("commit", "--quiet", c.ID, "localhost/copy:1")
	w.podman("run", "--detach", "--name", "debug", "localhost/copy:1")
	w.podman("container", "clone", c.ID, "cloned")
	w.until("both are orphans", func() bool { return len(w.Orphans()) == 2 })
	w.end(three[0])
	w.until("the container is gone", func() bool { return w.fact(three[0]) == nil && len(w.all()) == 2 })
	for _, copied := range []string{"debug", "cloned"} {
		if _, err := w.engine.Inspect(t.Context(), copied); err != nil {
			t.Errorf("a copy of a container: %v", err)
		}
	}
}

// Line 6 of what went wrong before: Podman forgets a container and its storage does not, as after a crash in the middle of a removal. The
// name stays taken; the replica runs under another.
func TestReal_ghost(t *testing.T) {
	w := newReal(t)
	w.place(host, web(), three[0])
	w.run()
	w.ready()
	first := w.running(three[0])
	w.stop()
	w.podman("stop", "--time", "0", first.ID)
	if err := w.host.StopService(t.Context()); err != nil {
		t.Fatal(err)
	}
	root := w.podman("info", "--format", "{{.Store.GraphRoot}}")
	if err := os.Remove(filepath.Join(root, "libpod", "bolt_state.db")); err != nil {
		t.Fatal(err)
	}
	if err := w.host.StartService(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.podman("ps", "--all", "--external", "--format", "{{.Names}}"); got != first.Name {
		t.Fatalf("Podman's storage holds %q, want the ghost %s", got, first.Name)
	}
	w.restart()
	w.ready()
	if got := w.running(three[0]); got.Name != first.Name+"-2" {
		t.Errorf("got container %s, want %s-2", got.Name, first.Name)
	}
}

// On a real Podman: another log's containers are left running, and a person may adopt one.
func TestReal_orphans(t *testing.T) {
	w := newReal(t)
	w.place(host, web(), three[:2]...)
	w.run()
	w.ready()
	a, b := w.running(three[0]), w.running(three[1])
	w.stop()
	w.fresh()
	w.place(host, web(), three[0])
	w.run()
	w.ready()
	w.running(three[0])
	if got := len(w.Orphans()); got != 2 || len(w.all()) != 3 {
		t.Errorf("got %d orphans among %d containers, want 2 and 3", got, len(w.all()))
	}
	you := projection.By{Actor: "a person", Cause: "orphans"}
	if err := w.AdoptOrphan(t.Context(), you, a.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.RemoveOrphan(t.Context(), you, b.ID); err != nil {
		t.Fatal(err)
	}
	w.until("no orphan is left", func() bool { return len(w.Orphans()) == 0 && len(w.all()) == 1 })
	if got := w.running(three[0]); stamp(got) != stamp(a) {
		t.Errorf("got %+v, want the adopted container, untouched", got)
	}
}
