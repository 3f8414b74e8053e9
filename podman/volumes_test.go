package podman_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// inMemory has the reconciler look objects up, and gives it a folder for their files.
func (w *world) inMemory() (files string, change func(*podman.Reconciler)) {
	w.t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "podman-swarm-test-")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			w.t.Error(err)
		}
	})
	files = filepath.Join(dir, "agent")
	return files, func(r *podman.Reconciler) { w.opens(r); r.Files = files }
}

func mounted(volume string, source corev1.VolumeSource, at ...corev1.VolumeMount) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) {
		s.Volumes = append(s.Volumes, corev1.Volume{Name: volume, VolumeSource: source})
		for _, m := range at {
			m.Name = volume
			s.Containers[0].VolumeMounts = append(s.Containers[0].VolumeMounts, m)
		}
	}
}

func secretVolume(name string, items ...corev1.KeyToPath) corev1.VolumeSource {
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, Items: items}}
}

func configVolume(name string) corev1.VolumeSource {
	return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}
}

// source is where the host's files are that the container has at a path.
func (w *world) source(p projection.Pod, at string) string {
	w.t.Helper()
	for _, m := range w.fake.Spec(w.one(p).Name).Mounts {
		if m.Destination == at && m.Type == "bind" {
			return m.Source
		}
	}
	w.t.Fatalf("nothing is mounted at %s", at)
	return ""
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The files are there before a container is, follow the object while it runs, are made anew after a reboot, and go with the last container.
func TestVolumes_live(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		files, change := w.inMemory()
		w.run(change)
		w.ready()
		web0 := pod("web", 0)
		w.place(host, template(mounted("v", secretVolume("s"), corev1.VolumeMount{MountPath: "/v"}),
			mounted("m", configVolume("m"), corev1.VolumeMount{MountPath: "/m"}, corev1.VolumeMount{MountPath: "/k", SubPath: "k"})), web0)
		w.settled(time.Hour)
		if f := w.fact(web0); f.Phase != projection.Pending || f.Reason != "CreateContainerConfigError" || f.Message != `volume "v": secret "s" not found` {
			t.Errorf("got %+v", f)
		}
		w.secret("s", "k", "one")
		w.configMap("m", "k", "1")
		w.settled(hint)
		first := w.runs(web0)
		v, m, k := w.source(web0, "/v"), w.source(web0, "/m"), w.source(web0, "/k")
		if got := fmt.Sprintf("%s %s %s %q", content(t, v+"/k"), content(t, m+"/k"), content(t, k), content(t, m+"/b")); got != `one 1 1 "\x00\xff"` {
			t.Errorf("got %s", got)
		}
		for dir := files; dir != "/dev/shm"; dir = filepath.Dir(dir) {
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: got %v, %v", dir, info.Mode(), err)
			}
		}

		w.secret("s", "k", "two", "more", "x")
		w.settled(0)
		if got := content(t, v+"/k") + content(t, v+"/more"); got != "twox" || stamp(w.runs(web0)) != stamp(first) {
			t.Errorf("after a change: got %q, %s", got, stamp(w.runs(web0)))
		}
		w.secret("s") // as in Kubernetes, who has it keeps it
		w.settled(time.Hour)
		if got := content(t, v+"/k"); got != "two" {
			t.Errorf("after its end: got %q", got)
		}
		w.fake.Exit(first.Name, 1)
		w.settled(time.Minute)
		if got := content(t, v+"/k"); got != "two" || w.runs(web0).ID != first.ID || w.said.count("a volume keeps the files that it has") == 0 {
			t.Errorf("started again: got %q", got)
		}

		w.stop()
		w.secret("s", "k", "three")
		w.restart(change) // it bounces nothing, and looks for what has changed
		w.ready()
		if got := content(t, v+"/k"); got != "three" || w.Report().Bounced+w.Report().Restart+w.Report().Created != 0 {
			t.Errorf("after a restart of the agent: got %q, %+v", got, w.Report())
		}

		w.stop()
		w.fake.Reboot()
		if err := os.RemoveAll(filepath.Dir(files)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Dir(files), 0o700); err != nil {
			t.Fatal(err)
		}
		w.secret("s")
		w.restart(change)
		w.settled(time.Minute)
		if f := w.fact(web0); f.Phase == projection.Running || f.Reason != "CreateContainerConfigError" || f.Message != `volume "v": secret "s" not found` {
			t.Errorf("after a reboot, without the Secret: got %+v", f)
		}
		w.secret("s", "k", "four")
		w.settled(hint)
		if got := content(t, v+"/k"); got != "four" || w.runs(web0).ID != first.ID {
			t.Errorf("after a reboot: got %q", got)
		}

		if err := os.MkdirAll(filepath.Join(files, "gone-0.default.00000000", "v"), 0o755); err != nil {
			t.Fatal(err)
		}
		w.settled(11 * time.Minute)
		if _, err := os.Stat(filepath.Join(files, "gone-0.default.00000000")); err == nil {
			t.Error("what no container has, nor will have, is left")
		}
		content(t, v+"/k")
		w.end(web0)
		w.settled(time.Minute)
		if left, err := os.ReadDir(files); err != nil || len(left) > 0 {
			t.Errorf("left after its end: %v, %v", left, err)
		}
	})
}

// A log that was set back may have an old value: nothing is written over before this host has heard the others.
func TestVolumes_settleFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, change := w.inMemory()
		w.run(change)
		w.ready()
		web0 := pod("web", 0)
		w.secret("s", "k", "new")
		w.place(host, template(mounted("v", secretVolume("s"), corev1.VolumeMount{MountPath: "/v"})), web0)
		w.settled(time.Second)
		v := w.source(web0, "/v")
		w.restart(change, func(r *podman.Reconciler) { r.Settle = podman.Wait(time.Hour) })
		w.settled(time.Minute)
		w.secret("s", "k", "old")
		w.settled(time.Minute)
		if got := content(t, v+"/k"); got != "new" {
			t.Errorf("before it has heard the others: got %q", got)
		}
		w.settled(time.Hour)
		if got := content(t, v+"/k"); got != "old" {
			t.Errorf("once it has: got %q", got)
		}
	})
}

// What cannot be written while the container runs is tried again.
func TestVolumes_triedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		files, change := w.inMemory()
		w.run(change)
		w.ready()
		web0 := pod("web", 0)
		w.secret("s", "k", "one")
		w.place(host, template(mounted("v", secretVolume("s"), corev1.VolumeMount{MountPath: "/v"})), web0)
		w.settled(time.Second)
		v := w.source(web0, "/v")
		if err := os.Chmod(files, 0o755); err != nil {
			t.Fatal(err)
		}
		w.secret("s", "k", "two")
		w.settled(time.Hour)
		if got := content(t, v+"/k"); got != "one" {
			t.Errorf("into a folder that others can look into was written: %q", got)
		}
		if err := os.Chmod(files, 0o700); err != nil {
			t.Fatal(err)
		}
		w.settled(5 * time.Minute)
		if got := content(t, v+"/k"); got != "two" {
			t.Errorf("got %q", got)
		}
	})
}

// A container that is about to go keeps what it has: its volumes are not those of the template that takes its place.
func TestVolumes_ofAnotherTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, change := w.inMemory()
		w.run(change)
		w.ready()
		web0 := pod("web", 0)
		w.secret("s", "k", "one", "other", "x")
		of := func(key string) []byte {
			return template(args("-ignore-term"), mounted("v", secretVolume("s", corev1.KeyToPath{Key: key, Path: "f"}), corev1.VolumeMount{MountPath: "/v"}))
		}
		w.place(host, of("k"), web0)
		w.settled(time.Second)
		v := w.source(web0, "/v")
		w.place(host, of("other"), web0) // the one that is there takes its time to end
		w.settled(time.Second)
		w.secret("s", "k", "two", "other", "y")
		w.settled(time.Second)
		if got := content(t, v+"/f"); got != "one" {
			t.Errorf("got %q", got)
		}
		w.settled(5 * time.Minute)
		if got := content(t, w.source(web0, "/v")+"/f"); got != "y" {
			t.Errorf("the next one: got %q", got)
		}
	})
}

// As long as a container that nothing explains is there, so are its files; and a placement that was recorded again has those that its container has.
func TestVolumes_ofOrphansAndRenumbered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		files, change := w.inMemory()
		w.run(change)
		w.ready()
		web0 := pod("web", 0)
		w.secret("s", "k", "one")
		w.place(host, template(mounted("v", secretVolume("s"), corev1.VolumeMount{MountPath: "/v"})), web0)
		w.settled(time.Second)
		v := w.source(web0, "/v")
		w.renumber(web0)
		w.settled(20 * time.Minute)
		w.secret("s", "k", "two")
		w.settled(time.Second)
		if got := content(t, v+"/k"); got != "two" {
			t.Errorf("after a change: got %q", got)
		}
		if err := os.RemoveAll(files); err != nil {
			t.Fatal(err)
		}
		w.fake.Exit(w.one(web0).Name, 1)
		w.settled(time.Minute)
		if got := content(t, v+"/k"); got != "two" || w.source(web0, "/v") != v {
			t.Errorf("started again: got %q", got)
		}
		w.stop()
		w.fresh() // a log that knows nothing of it
		w.run(change)
		w.settled(30 * time.Minute)
		if got := content(t, v+"/k"); got != "two" || len(w.Orphans()) != 1 {
			t.Errorf("got %q, %+v", got, w.Orphans())
		}
	})
}

// What was swept while a container is about to be made would be missed by it.
func TestVolumes_sweptWhileOneIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		files, change := w.inMemory()
		w.run(change)
		w.ready()
		w.place(host, template(), pod("other", 0))
		w.secret("s", "k", "one")
		w.settled(time.Second)
		making, may := make(chan struct{}), make(chan struct{})
		w.fake.Hook(func(op, what string) error {
			if op == "Create" && strings.HasPrefix(what, "web-0") {
				close(making)
				<-may
			}
			return nil
		})
		w.place(host, template(mounted("v", secretVolume("s"), corev1.VolumeMount{MountPath: "/v"})), pod("web", 0))
		<-making
		w.end(pod("other", 0))
		w.settled(time.Minute)
		if left, err := os.ReadDir(files); err != nil || len(left) != 1 {
			t.Errorf("got %v, %v, want the files of the one that is being made", left, err)
		}
		close(may)
		w.settled(time.Second)
		w.runs(pod("web", 0))
	})
}

func TestVolumes_cannotBe(t *testing.T) {
	yes, mode := true, int32(0o400)
	for _, c := range []struct {
		name, want string
		change     []func(*corev1.PodSpec)
	}{
		{"no key", `volume "v": references non-existent secret key: none, of secret "s"`,
			[]func(*corev1.PodSpec){mounted("v", secretVolume("s", corev1.KeyToPath{Key: "none", Path: "x"}), corev1.VolumeMount{MountPath: "/v"})}},
		{"no key of a ConfigMap", `volume "v": configmap "none" not found`,
			[]func(*corev1.PodSpec){mounted("v", configVolume("none"), corev1.VolumeMount{MountPath: "/v"})}},
		{"nothing there", `volume "v" has no "none", which is mounted of it: Secret s has no such key`,
			[]func(*corev1.PodSpec){mounted("v", secretVolume("s"), corev1.VolumeMount{MountPath: "/v", SubPath: "none"})}},
		{"locked", `volume "v": secret "locked": it is sealed by key 0102: this host does not have the key`,
			[]func(*corev1.PodSpec){mounted("v", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "locked", Optional: &yes}}, corev1.VolumeMount{MountPath: "/v"})}},
		{"optional", "", []func(*corev1.PodSpec){mounted("v", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "none", Optional: &yes}}, corev1.VolumeMount{MountPath: "/v"}),
			mounted("w", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s", Optional: &yes, Items: []corev1.KeyToPath{{Key: "none", Path: "x"}, {Key: "k", Path: "d/y", Mode: &mode}}}},
				corev1.VolumeMount{MountPath: "/w"})}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			_, change := w.inMemory()
			w.run(change)
			w.ready()
			w.secret("s", "k", "hidden")
			w.record(projection.Change{Kind: events.Declared, Key: "secret/default/locked", Object: []byte(locked)})
			web0 := pod("web", 0)
			w.place(host, template(c.change...), web0)
			w.settled(time.Minute)
			if c.want != "" {
				if f := w.fact(web0); f.Reason != "CreateContainerConfigError" || f.Message != c.want || len(w.of(web0)) > 0 {
					t.Errorf("%s: got %+v", c.name, f)
				}
				return
			}
			w.runs(web0)
			if all, err := filepath.Glob(w.source(web0, "/v") + "/[^.]*"); err != nil || len(all) > 0 {
				t.Errorf("%s: got %v, %v", c.name, all, err)
			}
			path := w.source(web0, "/w") + "/d/y"
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o400 || content(t, path) != "hidden" {
				t.Errorf("%s: got %v, %v", c.name, info, err)
			}
		})
	}
}

// Secrets are written into memory only; a ConfigMap, which is on the disk as it is, need not be.
func TestVolumes_notOnADisk(t *testing.T) {
	dir := t.TempDir()
	if on, err := podman.InMemory(dir); on || err != nil { // as it is by default on some distributions
		if dir, err = os.MkdirTemp("/var/tmp", "podman-swarm-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if on, err := podman.InMemory(dir); on || err != nil {
			t.Fatalf("/var/tmp is to be on a disk: %v, %v", !on, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		files := filepath.Join(dir, "swarm", "agent")
		w.run(w.opens, func(r *podman.Reconciler) { r.Files = files })
		w.ready()
		w.secret("s", "k", "hidden")
		w.configMap("m", "k", "v")
		w.place(host, template(mounted("v", secretVolume("s"), corev1.VolumeMount{MountPath: "/v"})), pod("web", 0))
		w.place(host, template(mounted("v", configVolume("m"), corev1.VolumeMount{MountPath: "/v"})), pod("web", 1))
		w.settled(time.Minute)
		if f := w.fact(pod("web", 0)); f.Message != `volume "v": `+files+" is not in memory (tmpfs): what a Secret holds would be on a disk" {
			t.Errorf("got %+v", f)
		}
		w.runs(pod("web", 1))
	})
}

// That what a Secret has filled may still be there is not passed over.
func TestVolumes_folderThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		files := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(files, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w.run(w.opens, func(r *podman.Reconciler) { r.Files = files })
		w.ready()
		w.settled(time.Hour)
		if w.said.count("not all files of volumes that are over could be removed") == 0 {
			t.Errorf("nothing is said of it:\n%s", w.said)
		}
	})
}

// inside reads a file as a container's program does.
func (w *real) inside(c podman.Container, path string) string {
	w.t.Helper()
	return w.proc(c, filepath.Join("root", path))
}

// proc reads what the host's kernel says of a container's program.
func (w *real) proc(c podman.Container, path string) string {
	w.t.Helper()
	args := append(w.host.Inside(), "cat", filepath.Join("/proc", w.podman("inspect", "--format", "{{.State.Pid}}", c.ID), path))
	out, err := exec.CommandContext(w.t.Context(), args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return err.Error() + ": " + string(out)
	}
	return string(out)
}

// On a real Podman: what a container finds in its volumes, while they change, after it was started again, and after a reboot.
func TestReal_volumesOfSecretsAndConfigMaps(t *testing.T) {
	memory := t.TempDir()
	if err := syscall.Mount("tmpfs", memory, "tmpfs", syscall.MS_NOEXEC|syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0700"); err != nil { // before the host is: it has a /run and a /dev/shm of its own
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(memory, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := newReal(t)
	files := filepath.Join(memory, "agent")
	change := func(r *podman.Reconciler) { w.opens(r); r.Files = files }
	w.run(change)
	w.ready()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	web0 := pod("volumes", 0)
	w.configMap("m", "k", "1")
	uid := int64(1000)
	w.place(host, web(mounted("v", secretVolume("s"), corev1.VolumeMount{MountPath: "/v"}),
		mounted("m", configVolume("m"), corev1.VolumeMount{MountPath: "/m"}, corev1.VolumeMount{MountPath: "/etc/k.conf", SubPath: "k"}),
		mounted("e", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, corev1.VolumeMount{MountPath: "/a", SubPath: "a"}, corev1.VolumeMount{MountPath: "/b", SubPath: "b"}),
		mounted("h", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}, corev1.VolumeMount{MountPath: "/h", SubPath: "sub/dir"}),
		func(s *corev1.PodSpec) {
			s.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &uid}
			s.Containers[0].Args = []string{"-listen=:8080"}
		}), web0)
	w.until("the Secret is missed", func() bool { f := w.fact(web0); return f != nil && f.Message == `volume "v": secret "s" not found` })
	w.secret("s", "k", "one")
	c := w.running(web0)
	has := func(want string) bool {
		return w.inside(c, "/v/k")+w.inside(c, "/m/k")+w.inside(c, "/etc/k.conf") == want
	}
	if !has("one11") {
		t.Errorf("got %q, %q, %q", w.inside(c, "/v/k"), w.inside(c, "/m/k"), w.inside(c, "/etc/k.conf"))
	}
	if got := w.podman("inspect", "--format", `{{range .Mounts}}{{.Destination}} {{.RW}}, {{end}}`, c.ID); !sameWords(got, "/v false, /m false, /etc/k.conf false, /a true, /b true, /h true, ") {
		t.Errorf("got %s", got)
	}
	for line := range strings.Lines(w.proc(c, "mountinfo")) {
		if strings.Contains(line, " /m ") && (!strings.Contains(line, " ro,") || strings.Contains(line, "noexec")) {
			t.Errorf("it is mounted so: %s", line)
		}
	}
	if n := len(strings.Fields(w.podman("volume", "ls", "--quiet"))); n != 2 {
		t.Errorf("got %d volumes, want one for each part of the emptyDir", n)
	}
	if info, err := os.Stat(filepath.Join(dir, "sub/dir")); err != nil || !info.IsDir() {
		t.Errorf("the hostPath's part: %v", err)
	}
	w.secret("s", "k", "two")
	w.configMap("m", "k", "2")
	w.until("its volumes have followed, and not its single file", func() bool { return has("two21") })
	if now := w.running(web0); stamp(now) != stamp(c) {
		t.Errorf("it was started again: %s, %s", stamp(now), stamp(c))
	}
	w.podman("kill", c.ID)
	w.until("it is started again", func() bool { return w.fact(web0).Restarts == 1 })
	if now := w.running(web0); now.ID != c.ID || !has("two22") {
		t.Errorf("started again: got %q, %q, %q", w.inside(c, "/v/k"), w.inside(c, "/m/k"), w.inside(c, "/etc/k.conf"))
	}

	c = w.running(web0)
	w.restart(change)
	w.ready()
	if now := w.running(web0); stamp(now) != stamp(c) || w.Report().Bounced != 0 {
		t.Errorf("a restart of the agent: got %s, want %s", stamp(now), stamp(c))
	}
	w.stop()
	if err := w.host.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(files); err != nil {
		t.Fatal(err)
	}
	w.restart(change)
	w.ready()
	if now := w.running(web0); now.ID != c.ID || !has("two22") {
		t.Errorf("after a reboot: got %q, %q, %q", w.inside(c, "/v/k"), w.inside(c, "/m/k"), w.inside(c, "/etc/k.conf"))
	}
	w.end(web0)
	w.until("all is gone", func() bool {
		left, err := os.ReadDir(files)
		return err == nil && len(left) == 0 && len(w.all()) == 0 && w.podman("volume", "ls", "--quiet") == ""
	})
}
