package podman

import (
	"context"
	"runtime"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Facts finds out what this host is.
type Facts struct {
	Engine Engine

	last  projection.Host
	asked time.Time
}

// askAgain is how long what Podman has said of itself is taken to be so. Each time that it is asked it runs its distribution's
// package manager for each of its programs, some tenths of a second of CPU.
const askAgain = time.Hour

// Host is what there is to say of this host, as far as Podman and the kernel know it. When Podman does not answer, its version
// is "", and the rest is what this process sees. Podman is asked the first time, when it did not answer the last time, when
// away says that it did not answer somebody else since, and once an hour. Address, Labels, Version and Started are for the
// caller to fill in. It is for one goroutine.
func (f *Facts) Host(ctx context.Context, away bool) projection.Host {
	if f.last.Podman != "" && !away && time.Since(f.asked) < askAgain {
		return f.last
	}
	h := projection.Host{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	var si syscall.Sysinfo_t
	if syscall.Sysinfo(&si) == nil {
		h.Memory = int64(uint64(si.Totalram) * uint64(si.Unit))
	}
	err := within(ctx, quick, func(ctx context.Context) error {
		i, err := f.Engine.Info(ctx)
		if err == nil {
			h.CPUs, h.Memory, h.Podman, h.OS, h.Kernel, h.Arch = i.CPUs, i.Memory, i.Version, i.OS, i.Kernel, i.Arch
		}
		return err
	})
	if err != nil {
		h.Podman = ""
	}
	f.last, f.asked = h, time.Now()
	return h
}
