package podman

import (
	"context"
	"runtime"
	"syscall"

	"github.com/podman-swarm/podman-swarm/projection"
)

// HostFact is what there is to say of this host, as far as Podman and the kernel know it. When Podman does not answer,
// its version is "", and the rest is what this process sees. Address, Labels, Version and Started are for the caller
// to fill in.
func HostFact(ctx context.Context, engine Engine) projection.Host {
	h := projection.Host{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	var si syscall.Sysinfo_t
	if syscall.Sysinfo(&si) == nil {
		h.Memory = int64(uint64(si.Totalram) * uint64(si.Unit))
	}
	err := within(ctx, quick, func(ctx context.Context) error {
		i, err := engine.Info(ctx)
		if err == nil {
			h.CPUs, h.Memory, h.Podman, h.OS, h.Kernel, h.Arch = i.CPUs, i.Memory, i.Version, i.OS, i.Kernel, i.Arch
		}
		return err
	})
	if err != nil {
		h.Podman = ""
	}
	return h
}
