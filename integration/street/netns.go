package street

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// within runs f on a thread that is in another network namespace meanwhile. Sockets and devices that f opens belong to
// that namespace for good. f must not start goroutines or processes.
func within(networkFile string, f func() error) (err error) {
	there, err := os.Open(networkFile)
	if err != nil {
		return fmt.Errorf("enter the network of a host: %w", err)
	}
	defer there.Close()
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network of a host: %w", err)
	}
	defer here.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network of a host: %w", err)
	}
	defer func() {
		if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
			// Still locked, so nobody else ever runs on this thread.
			err = errors.Join(err, fmt.Errorf("leave the network of a host: %w", back))
			return
		}
		// And not ended with the goroutine: a process started from this thread may be meant to die with it.
		runtime.UnlockOSThread()
	}()
	return f()
}
