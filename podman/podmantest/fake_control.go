package podmantest

import (
	"cmp"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/podman"
)

// AddImage puts an image on the host whose program runs as user.
func (f *Fake) AddImage(name, user string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images[name] = podman.Image{ID: "sha-of-" + name, User: user}
}

// SetDown makes Podman go away, and come back. Containers run on.
func (f *Fake) SetDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	if down {
		for l := range f.listeners {
			close(l.broken)
		}
		clear(f.listeners)
	}
}

// Hook has fn called before everything that is asked, with the method's name and the container, image or volume. Its
// error is the answer; it may wait. nil ends that.
func (f *Fake) Hook(fn func(op, what string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = fn
}

// Ghost makes a name taken by something that only Podman's storage knows.
func (f *Fake) Ghost(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ghosts[name] = true
}

// TakePort makes a host port somebody else's.
func (f *Fake) TakePort(port int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy[port] = true
}

// Exit ends a container's program with the code.
func (f *Fake) Exit(name string, code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.find(name); c != nil {
		f.ended(c, code)
	}
}

// SetFinished makes Podman say that a container ended then.
func (f *Fake) SetFinished(name string, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.find(name); c != nil {
		c.Finished = at
	}
}

// Reboot ends all programs, as a reboot of the host does.
func (f *Fake) Reboot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.containers {
		f.ended(c, 0)
	}
}

// SetStatus makes Podman say so of a container.
func (f *Fake) SetStatus(name string, s podman.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.find(name); c != nil {
		c.Status = s
	}
}

// Rename gives a container another name, as podman rename does.
func (f *Fake) Rename(name, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.find(name); c != nil {
		c.Name = to
	}
}

// Containers gives all containers, by name.
func (f *Fake) Containers() []podman.Container {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []podman.Container
	for _, c := range f.containers {
		all = append(all, c.Container)
	}
	slices.SortFunc(all, func(a, b podman.Container) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Spec is what a container was made from; nil when there is none of that name.
func (f *Fake) Spec(name string) *podman.Spec {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.find(name); c != nil {
		return c.spec
	}
	return nil
}

// Calls gives what was asked so far and changes something, as "Start NAME", and forgets it.
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}
