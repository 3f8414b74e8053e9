// The filter of cut does not go onto a listener of multipath TCP, which would be the default.
//go:debug multipathtcp=0

package mesh

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cut has the kernel drop all that comes to the cluster ports of hosts of this process, or leaves them from there, as if the
// cable were out; heal lets it through again.
func cut(t *testing.T, hosts ...*host) (heal func()) {
	t.Helper()
	ports := map[uint16]bool{}
	for _, h := range hosts {
		ports[netip.MustParseAddrPort(h.bound()).Port()] = true
	}
	each := func(fn func(fd int) error) {
		err := sockets(func(fd int) error {
			local, lerr := syscall.Getsockname(fd)
			peer, perr := syscall.Getpeername(fd)
			if lerr == nil && ports[addrPort(local).Port()] || perr == nil && ports[addrPort(peer).Port()] {
				return fn(fd)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	each(func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	})
	return func() {
		each(func(fd int) error {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != unix.ENOENT {
				return err
			}
			return nil // one that was made meanwhile
		})
	}
}

// A cable is out for some seconds. Once it is in again, hosts hear each other as soon as they have dialled, and not only when
// TCP tries once more.
func TestMesh_hearsSoonAfterACut(t *testing.T) {
	t.Parallel()
	hosts := start(t, 2, nil)
	meshed(t, hosts...)
	heard := make(chan string, 1000)
	for _, h := range hosts {
		if _, err := h.Subscribe("t.*", func(subject string, _ []byte) { heard <- subject }); err != nil {
			t.Fatal(err)
		}
	}
	beat := time.NewTicker(100 * time.Millisecond)
	defer beat.Stop()
	listen := func(until func(heard map[string]bool) bool) {
		for from := map[string]bool{}; !until(from); {
			select {
			case subject := <-heard:
				from[subject] = true
			case <-beat.C:
				for _, h := range hosts {
					if err := h.Publish("t."+h.Node, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	both := func(heard map[string]bool) bool { return len(heard) == len(hosts) }
	within := func(d time.Duration) func(map[string]bool) bool {
		end := time.Now().Add(d)
		return func(map[string]bool) bool { return time.Now().After(end) }
	}
	listen(both)
	heal := cut(t, hosts...)
	listen(within(userTimeout + 4*time.Second))
	for len(heard) > 0 {
		<-heard
	}
	listen(within(300 * time.Millisecond))
	if len(heard) > 0 {
		t.Fatal("what was said went through all the same")
	}
	heal()
	began := time.Now()
	listen(both)
	if took := time.Since(began); took > 3500*time.Millisecond {
		t.Errorf("heard each other %v after the heal", took)
	} else {
		t.Logf("heard each other %v after the heal", took)
	}
}
