package podmantest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/podman"
)

// label is on everything that the suite makes.
const label, value = "podmantest", "conformance"

// Conformance holds an engine to what podman.Engine promises. image is integration/testimage, or for a Fake anything:
// a program that runs until it is stopped and understands its flags. port is a free host port.
func Conformance(t *testing.T, e podman.Engine, image string, port int) {
	s := suite{e, image, port}
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"info", s.info},
		{"life", s.life},
		{"a list of all", s.listAll},
		{"exit", s.exit},
		{"grace", s.grace},
		{"a shorter grace", s.shorterGrace},
		{"exec", s.exec},
		{"a shared network", s.sharedNetwork},
		{"refusals", s.refusals},
		{"what is not there", s.absent},
		{"ports", s.ports},
		{"images", s.images},
		{"volumes", s.volumes},
		{"logs", s.logs},
		{"events", s.events},
		{"a context that has ended", s.canceled},
	} {
		t.Run(c.name, c.test)
	}
}

type suite struct {
	podman.Engine
	image string
	port  int
}

func (s *suite) spec(t *testing.T, args ...string) *podman.Spec {
	name := "conformance-" + strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())
	return &podman.Spec{Name: name, Image: s.image, Command: args, RestartPolicy: "no", StopTimeout: 1, Labels: map[string]string{label: value, "test": t.Name()}}
}

// make makes a container that is gone at the test's end.
func (s *suite) make(t *testing.T, spec *podman.Spec) string {
	t.Helper()
	id, err := s.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	return id
}

func (s *suite) start(t *testing.T, spec *podman.Spec) string {
	t.Helper()
	id := s.make(t, spec)
	if err := s.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func (s *suite) look(t *testing.T, id string) podman.Container {
	t.Helper()
	c, err := s.Inspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// until looks at a container until it is as wanted.
func (s *suite) until(t *testing.T, id string, want func(podman.Container) bool) podman.Container {
	t.Helper()
	deadline := time.After(20 * time.Second)
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		c := s.look(t, id)
		if want(c) {
			return c
		}
		select {
		case <-every.C:
		case <-deadline:
			t.Fatalf("waited in vain; the container is %+v", c)
		}
	}
}

func (s *suite) info(t *testing.T) {
	i, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i.Version == "" || i.CPUs < 1 || i.Memory < 1<<20 || i.OS != "linux" || i.Kernel == "" || i.Arch == "" {
		t.Errorf("got %+v, want every field", i)
	}
}

func (s *suite) life(t *testing.T) {
	spec := s.spec(t)
	id := s.make(t, spec)
	c := s.look(t, spec.Name)
	if c.ID != id || c.Name != spec.Name || c.Status.Runs() || c.Status.Ended() || c.Labels["test"] != t.Name() || !c.Started.IsZero() ||
		c.Grace != time.Second || c.Image == "" {
		t.Errorf("made: got %+v", c)
	}
	for range 2 { // the second time it runs already
		if err := s.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	c = s.look(t, id)
	if c.Status != podman.StatusRunning || c.Started.IsZero() || time.Since(c.Started) > time.Minute || !c.Finished.IsZero() || c.IP == "" {
		t.Errorf("started: got %+v", c)
	}
	var found []podman.Container
	for _, l := range s.list(t) {
		if l.ID == id {
			found = append(found, l)
		}
	}
	if len(found) != 1 || found[0].Status != podman.StatusRunning || found[0].Started.Unix() != c.Started.Unix() || found[0].Name != spec.Name ||
		found[0].Labels["test"] != t.Name() || !found[0].Finished.IsZero() || found[0].Image != c.Image {
		t.Errorf("listed: got %+v, want %+v", found, c)
	}
	if others, err := s.List(t.Context(), label, "another"); err != nil || len(others) != 0 {
		t.Errorf("list of another label: got %+v, %v", others, err)
	}
	for range 2 {
		if err := s.Stop(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
	}
	if c := s.look(t, id); !c.Status.Ended() || c.Finished.Before(c.Started) {
		t.Errorf("stopped: got %+v", c)
	}
	if err := s.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it runs; then it is not there
		if err := s.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Inspect(t.Context(), id); !errors.Is(err, podman.ErrNotFound) {
		t.Errorf("removed: got %v, want ErrNotFound", err)
	}
}

// listAll: without a label all are listed, also what has none; with one, what has none is not.
func (s *suite) listAll(t *testing.T) {
	spec := s.spec(t)
	labelled := s.start(t, spec)
	bare := *spec
	bare.Name, bare.Labels = spec.Name+"-bare", nil
	for _, id := range []string{s.start(t, &bare), labelled} {
		is := func(c podman.Container) bool { return c.ID == id && c.Name != "" && c.Status == podman.StatusRunning }
		if all, err := s.List(t.Context(), "", ""); err != nil || !slices.ContainsFunc(all, is) {
			t.Errorf("got %+v, %v, want %s in it", all, err, id)
		}
		if slices.ContainsFunc(s.list(t), is) != (id == labelled) {
			t.Errorf("by the label: got %+v", s.list(t))
		}
	}
}

func (s *suite) list(t *testing.T) []podman.Container {
	t.Helper()
	all, err := s.List(t.Context(), label, value)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *suite) exit(t *testing.T) {
	id := s.start(t, s.spec(t, "-exit-after=0s", "-exit-code=3"))
	c := s.until(t, id, func(c podman.Container) bool { return c.Status.Ended() })
	if c.ExitCode != 3 || c.Finished.IsZero() || c.OOMKilled {
		t.Errorf("got %+v, want exit code 3", c)
	}
	for _, l := range s.list(t) {
		if l.ID == id && (!l.Status.Ended() || l.ExitCode != 3 || l.Finished.Unix() != c.Finished.Unix()) {
			t.Errorf("listed: got %+v, want exit code 3", l)
		}
	}
}

func (s *suite) grace(t *testing.T) {
	id := s.start(t, s.spec(t, "-ignore-term", "-lines=1"))
	s.until(t, id, func(podman.Container) bool { // before its first line it does not ignore the signal yet
		return strings.Contains(s.read(t, id, podman.LogOptions{}), "out 1\n")
	})
	began := time.Now()
	if err := s.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < 900*time.Millisecond {
		t.Errorf("stopped after %s, want a second of grace", d)
	}
	if c := s.look(t, id); !c.Status.Ended() || c.ExitCode != 137 {
		t.Errorf("got %+v, want exit code 137", c)
	}
}

func (s *suite) refusals(t *testing.T) {
	spec := s.spec(t)
	s.make(t, spec)
	if _, err := s.Create(t.Context(), spec); !errors.Is(err, podman.ErrNameInUse) {
		t.Errorf("create under a name in use: got %v, want ErrNameInUse", err)
	}
	other := *spec
	other.Name, other.Image = spec.Name+"-2", "localhost/nonesuch:1"
	var refusal *podman.Refusal
	if _, err := s.Create(t.Context(), &other); !errors.Is(err, podman.ErrNotFound) || !errors.As(err, &refusal) || refusal.Message == "" {
		t.Errorf("create from no image: got %v, want ErrNotFound in Podman's words", err)
	}
}

func (s *suite) absent(t *testing.T) {
	const none = "conformance-nonesuch"
	if _, err := s.Inspect(t.Context(), none); !errors.Is(err, podman.ErrNotFound) {
		t.Errorf("inspect: got %v, want ErrNotFound", err)
	}
	if err := s.Start(t.Context(), none); !errors.Is(err, podman.ErrNotFound) {
		t.Errorf("start: got %v, want ErrNotFound", err)
	}
	if err := s.Stop(t.Context(), none, 0); err != nil {
		t.Errorf("stop: got %v", err)
	}
	if err := s.Remove(t.Context(), none); err != nil {
		t.Errorf("remove: got %v", err)
	}
	if _, err := s.Logs(t.Context(), none, podman.LogOptions{}); !errors.Is(err, podman.ErrNotFound) {
		t.Errorf("logs: got %v, want ErrNotFound", err)
	}
}

func (s *suite) ports(t *testing.T) {
	spec := s.spec(t)
	spec.PortMappings = []podman.PortMapping{{Container: 80, Host: uint16(s.port), Protocol: "tcp"}}
	id := s.start(t, spec)
	c := s.look(t, id)
	if got := fmt.Sprint(c.Ports); len(c.Ports) != 1 || c.Ports[0].Container != 80 || c.Ports[0].Host != s.port || c.Ports[0].Protocol != "TCP" {
		t.Errorf("got ports %s", got)
	}
	for _, l := range s.list(t) {
		if l.ID == id && fmt.Sprint(l.Ports) != fmt.Sprint(c.Ports) {
			t.Errorf("listed: got ports %v, want %v", l.Ports, c.Ports)
		}
	}
	second := *spec
	second.Name += "-2"
	if err := s.Start(t.Context(), s.make(t, &second)); !errors.Is(err, podman.ErrPortInUse) {
		t.Errorf("a second container on the port: got %v, want ErrPortInUse", err)
	}
}

func (s *suite) images(t *testing.T) {
	if i, err := s.Image(t.Context(), s.image); err != nil || i.ID == "" {
		t.Errorf("got %+v, %v", i, err)
	}
	if _, err := s.Image(t.Context(), "localhost/nonesuch:1"); !errors.Is(err, podman.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	var refusal *podman.Refusal
	if err := s.Pull(t.Context(), "localhost:1/nonesuch:1"); !errors.As(err, &refusal) || errors.Is(err, podman.ErrUnavailable) {
		t.Errorf("pull from no registry: got %v, want a Refusal", err)
	}
}

func (s *suite) volumes(t *testing.T) {
	const name = "conformance-volume"
	for range 2 {
		if err := s.CreateVolume(t.Context(), name, "1000:1000", map[string]string{label: value}); err != nil {
			t.Fatal(err)
		}
	}
	spec := s.spec(t)
	spec.Volumes = []podman.NamedVolume{{Name: name, Dest: "/data", Options: []string{"rw", "nocopy"}}}
	id := s.start(t, spec)
	all, err := s.Volumes(t.Context(), label, value)
	if err != nil || len(all) != 1 || all[0].Name != name || all[0].Labels[label] != value {
		t.Errorf("got %+v, %v", all, err)
	}
	if err := s.RemoveVolume(t.Context(), name); err == nil {
		t.Error("a volume in use was removed")
	}
	if err := s.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Volumes(t.Context(), label, value); err != nil || len(all) != 1 {
		t.Errorf("after its container: got %+v, %v; want it still there", all, err)
	}
	for range 2 {
		if err := s.RemoveVolume(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.Volumes(t.Context(), label, value); err != nil || len(all) != 0 {
		t.Errorf("removed: got %+v, %v", all, err)
	}
}

func (s *suite) logs(t *testing.T) {
	id := s.start(t, s.spec(t, "-exit-after=0s", "-lines=2"))
	s.until(t, id, func(c podman.Container) bool { return c.Status.Ended() })
	all := s.read(t, id, podman.LogOptions{})
	for _, want := range []string{"out 1\n", "out 2\n", "err 1\n", "err 2\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("got %q, want %q in it", all, want)
		}
	}
	if got := s.read(t, id, podman.LogOptions{Limit: true, Tail: 1}); strings.Count(got, "\n") != 1 {
		t.Errorf("the last line: got %q", got)
	}
}

func (s *suite) read(t *testing.T, id string, o podman.LogOptions) string {
	t.Helper()
	r, err := s.Logs(t.Context(), id, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (s *suite) events(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hints := make(chan struct{}, 100)
	ended := make(chan error, 1)
	go func() { ended <- s.Events(ctx, label, value, func() { hints <- struct{}{} }) }()
	every := time.NewTicker(200 * time.Millisecond) // the stream may begin a moment after it was asked for
	defer every.Stop()
	deadline := time.After(20 * time.Second)
	id := s.make(t, s.spec(t))
	for heard := false; !heard; {
		if err := s.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
		select {
		case <-hints:
			heard = true
		case <-every.C:
		case <-deadline:
			t.Fatal("no hint of a container that starts and stops")
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the stream ended without an error")
	}
}

func (s *suite) canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.List(ctx, label, value); !errors.Is(err, context.Canceled) || errors.Is(err, podman.ErrUnavailable) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
