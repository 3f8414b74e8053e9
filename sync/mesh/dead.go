package mesh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// userTimeout is how long what was sent to a peer may lie there without an acknowledgement, or the peer let it wait with its
// window shut: then the connection is closed, and dialled anew. TCP itself tries again after 0.2, 0.4 … 6.4, 12.8 s: a cable
// that was out for some seconds would be dead for as long once more. It is the peer's kernel that acknowledges, so an
// agent that is merely slow, or stopped, keeps its routes until its buffers are full.
const userTimeout = 3 * time.Second

// tcpUserTimeout is TCP_USER_TIMEOUT of Linux, in milliseconds.
const tcpUserTimeout = 0x12

// bound has a connection that came in end when the peer is gone.
func bound(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = boundSocket(int(fd)) })
	return errors.Join(err, set)
}

func boundSocket(fd int) error {
	return os.NewSyscallError("set TCP_USER_TIMEOUT", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(userTimeout.Milliseconds())))
}

// boundTo does that for a connection that NATS has dialled, for which it has no hook. So the socket is looked for among all of
// this process, by whom it leads to. That it leads elsewhere by the time it is set would do no harm.
func boundTo(addr string) error {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("find the connection to %s: %w", addr, err)
	}
	return sockets(func(fd int) error {
		if peer, err := syscall.Getpeername(fd); err != nil || addrPort(peer) != to {
			return nil
		}
		return boundSocket(fd)
	})
}

// sockets has fn see each socket of this process. Not by /proc, which may be that of another PID namespace; but the lowest
// number that is free is given out first, so a wide gap is the end.
func sockets(fn func(fd int) error) error {
	var errs []error
	for fd, gap := 0, 0; gap < 4096; fd++ {
		_, err := syscall.Getsockname(fd)
		if err == syscall.EBADF {
			gap++
			continue
		}
		if gap = 0; err == nil {
			errs = append(errs, fn(fd))
		}
	}
	return errors.Join(errs...)
}

// addrPort is the address of a TCP socket; zero, of another.
func addrPort(s syscall.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), uint16(s.Port))
	}
	return netip.AddrPort{}
}
