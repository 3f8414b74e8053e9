package podmantest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Fake is a Podman that is only a map: a podman.Engine whose containers run programs that understand some of the flags
// of integration/testimage (-exit-after, -exit-code, -ignore-term, -lines). Safe for concurrent use, and good in a
// testing/synctest bubble.
type Fake struct {
	mu         sync.Mutex
	containers map[string]*container // by id
	images     map[string]podman.Image
	volumes    map[string]podman.Volume
	ghosts     map[string]bool // names that only the storage knows
	busy       map[int]bool    // host ports that are somebody else's
	exec       func(container string, command []string) (code int, output string, err error)
	next       int
	down       bool
	hook       func(op, what string) error
	listeners  map[*listener]bool
	calls      []string
}

type container struct {
	podman.Container
	spec *podman.Spec
	end  *time.Timer // ends the program by itself
	done chan struct{}
}

type listener struct {
	label, value string
	hint         func()
	broken       chan struct{}
}

// New is a Fake with these images.
func New(images ...string) *Fake {
	f := &Fake{containers: map[string]*container{}, images: map[string]podman.Image{}, volumes: map[string]podman.Volume{},
		ghosts: map[string]bool{}, busy: map[int]bool{}, listeners: map[*listener]bool{}}
	for _, name := range images {
		f.AddImage(name, "")
	}
	return f
}

func (f *Fake) find(name string) *container {
	if c := f.containers[name]; c != nil {
		return c
	}
	for _, c := range f.containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (f *Fake) ended(c *container, code int) {
	if !c.Status.Runs() {
		return
	}
	c.Status, c.ExitCode, c.Finished, c.IP = podman.StatusExited, code, time.Now(), ""
	c.end.Stop()
	close(c.done)
	f.tell(c)
}

func (f *Fake) tell(c *container) {
	for l := range f.listeners {
		if c.Labels[l.label] == l.value {
			l.hint()
		}
	}
}

// asked begins every method: it calls the hook and returns with the lock held when there is no error.
func (f *Fake) asked(ctx context.Context, op, what string, changes bool) error {
	f.mu.Lock()
	hook := f.hook
	if changes {
		name := what
		if c := f.find(what); c != nil {
			name = c.Name
		}
		f.calls = append(f.calls, op+" "+name)
	}
	f.mu.Unlock()
	if hook != nil {
		if err := hook(op, what); err != nil {
			return fmt.Errorf("%s %s: %w", op, what, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op, what, err)
	}
	f.mu.Lock()
	if f.down {
		f.mu.Unlock()
		return fmt.Errorf("%s %s: %w", op, what, podman.ErrUnavailable)
	}
	return nil
}

func refuse(class error, format string, args ...any) error {
	return &podman.Refusal{Message: fmt.Sprintf(format, args...), Class: class}
}

// Info implements podman.Engine.
func (f *Fake) Info(ctx context.Context) (podman.Info, error) {
	if err := f.asked(ctx, "Info", "", false); err != nil {
		return podman.Info{}, err
	}
	defer f.mu.Unlock()
	return podman.Info{Version: "0.0.0-fake", CPUs: 4, Memory: 8 << 30, OS: "linux", Kernel: "6.0", Arch: "amd64"}, nil
}

// List implements podman.Engine.
func (f *Fake) List(ctx context.Context, label, value string) ([]podman.Container, error) {
	if err := f.asked(ctx, "List", "", false); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	var all []podman.Container
	for _, c := range f.containers {
		if v, ok := c.Labels[label]; label == "" || ok && v == value {
			listed := c.Container
			listed.OOMKilled, listed.IP, listed.Grace = false, "", 0
			listed.Started, listed.Finished = listed.Started.Truncate(time.Second), listed.Finished.Truncate(time.Second)
			all = append(all, listed)
		}
	}
	return all, nil
}

// Inspect implements podman.Engine.
func (f *Fake) Inspect(ctx context.Context, name string) (podman.Container, error) {
	if err := f.asked(ctx, "Inspect", name, false); err != nil {
		return podman.Container{}, err
	}
	defer f.mu.Unlock()
	c := f.find(name)
	if c == nil {
		return podman.Container{}, refuse(podman.ErrNotFound, "no container with name or ID %q found: no such container", name)
	}
	return c.Container, nil
}

// Create implements podman.Engine.
func (f *Fake) Create(ctx context.Context, spec *podman.Spec) (string, error) {
	if err := f.asked(ctx, "Create", spec.Name, true); err != nil {
		return "", err
	}
	defer f.mu.Unlock()
	image, ok := f.images[spec.Image]
	if !ok {
		return "", refuse(podman.ErrNotFound, "%s: image not known", spec.Image)
	}
	if f.ghosts[spec.Name] || f.find(spec.Name) != nil {
		return "", refuse(podman.ErrNameInUse, "creating container storage: the container name %q is already in use", spec.Name)
	}
	for _, v := range spec.Volumes {
		if _, ok := f.volumes[v.Name]; !ok {
			f.volumes[v.Name] = podman.Volume{Name: v.Name}
		}
	}
	f.next++
	kept := *spec
	c := &container{spec: &kept, Container: podman.Container{
		ID: fmt.Sprintf("%064x", f.next), Name: spec.Name, Labels: maps.Clone(spec.Labels), Status: podman.StatusCreated,
		Image: image.ID, Created: time.Now(), Grace: time.Duration(spec.StopTimeout) * time.Second}}
	for _, p := range spec.PortMappings {
		c.Ports = append(c.Ports, projection.Port{
			Container: int(p.Container), Host: int(p.Host), HostIP: p.HostIP, Protocol: strings.ToUpper(p.Protocol)})
	}
	f.containers[c.ID] = c
	f.tell(c)
	return c.ID, nil
}

// Start implements podman.Engine.
func (f *Fake) Start(ctx context.Context, name string) error {
	if err := f.asked(ctx, "Start", name, true); err != nil {
		return err
	}
	defer f.mu.Unlock()
	return f.start(name)
}

// start starts a container under the lock, and before it the one whose network it has.
func (f *Fake) start(name string) error {
	c := f.find(name)
	switch {
	case c == nil:
		return refuse(podman.ErrNotFound, "no container with name or ID %q found: no such container", name)
	case c.Status.Runs():
		return nil
	}
	if n := c.spec.NetNS; n != nil && n.Mode == "container" {
		if err := f.start(n.Value); err != nil {
			return err
		}
	}
	for _, p := range c.Ports {
		if f.busy[p.Host] || f.published(p.Host) {
			return refuse(podman.ErrPortInUse, "cannot listen on the TCP port: listen tcp4 :%d: bind: address already in use", p.Host)
		}
	}
	c.Status, c.Started, c.ExitCode, c.IP = podman.StatusRunning, time.Now(), 0, "10.88.0.2"
	c.done = make(chan struct{})
	after, code := program(c.spec.Command)
	if after == 0 {
		c.end = time.NewTimer(time.Hour)
		f.ended(c, code)
		return nil
	}
	c.end = time.AfterFunc(after, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ended(c, code)
	})
	f.tell(c)
	return nil
}

func (f *Fake) published(port int) bool {
	for _, c := range f.containers {
		if c.Status.Runs() && slices.ContainsFunc(c.Ports, func(p projection.Port) bool { return p.Host == port }) {
			return true
		}
	}
	return false
}

// program is after what time a program of these arguments ends by itself, and with which code.
func program(command []string) (time.Duration, int) {
	after, code := 100*365*24*time.Hour, 0
	for _, arg := range command {
		if v, ok := strings.CutPrefix(arg, "-exit-after="); ok {
			if d, err := time.ParseDuration(v); err == nil {
				after = d
			}
		}
		if v, ok := strings.CutPrefix(arg, "-exit-code="); ok {
			if _, err := fmt.Sscan(v, &code); err != nil {
				code = 2
			}
		}
	}
	return after, code
}

// Stop implements podman.Engine.
func (f *Fake) Stop(ctx context.Context, name string, within time.Duration) error {
	if err := f.asked(ctx, "Stop", name, true); err != nil {
		return err
	}
	c := f.find(name)
	if c == nil || !c.Status.Runs() {
		f.mu.Unlock()
		return nil
	}
	if !slices.Contains(c.spec.Command, "-ignore-term") {
		f.ended(c, 0)
		f.mu.Unlock()
		return nil
	}
	c.Status = podman.StatusStopping
	done := c.done
	f.mu.Unlock()
	wait := c.Grace
	if within > 0 {
		wait = (within + time.Second - 1).Truncate(time.Second)
	}
	grace := time.NewTimer(wait)
	defer grace.Stop()
	select {
	case <-grace.C:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ended(c, 137)
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("Stop %s: %w", name, ctx.Err())
	}
	return nil
}

// Remove implements podman.Engine.
func (f *Fake) Remove(ctx context.Context, name string) error {
	if err := f.asked(ctx, "Remove", name, true); err != nil {
		return err
	}
	defer f.mu.Unlock()
	if c := f.find(name); c != nil {
		for _, other := range f.containers {
			if n := other.spec.NetNS; n != nil && n.Mode == "container" && n.Value == c.ID {
				return refuse(nil, "container %s has dependent containers which must be removed before it: %s: container already exists", c.ID, other.ID)
			}
		}
		f.ended(c, 137)
		delete(f.containers, c.ID)
		f.tell(c)
	}
	return nil
}

// Logs implements podman.Engine.
func (f *Fake) Logs(ctx context.Context, name string, o podman.LogOptions) (io.ReadCloser, error) {
	if err := f.asked(ctx, "Logs", name, false); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	c := f.find(name)
	if c == nil {
		return nil, refuse(podman.ErrNotFound, "no container with name or ID %q found: no such container", name)
	}
	lines, err := written(c.spec.Command)
	if err != nil {
		return nil, err
	}
	if o.Limit {
		lines = lines[max(0, len(lines)-o.Tail):]
	}
	return io.NopCloser(strings.NewReader(strings.Join(lines, ""))), nil
}

// Events implements podman.Engine.
func (f *Fake) Events(ctx context.Context, label, value string, hint func()) error {
	if err := f.asked(ctx, "Events", "", false); err != nil {
		return err
	}
	l := &listener{label, value, hint, make(chan struct{})}
	f.listeners[l] = true
	f.mu.Unlock()
	select {
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.listeners, l)
		return ctx.Err()
	case <-l.broken:
		return errors.New("the stream of events ended")
	}
}
