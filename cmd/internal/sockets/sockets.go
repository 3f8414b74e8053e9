package sockets

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// first is the number of the first file descriptor that systemd hands over.
const first = 3

// Store is where listening sockets are kept while no agent runs. Its methods may be called from many goroutines.
type Store struct {
	notify string // the socket that systemd hears us at; "": nobody does
	log    *slog.Logger

	mu   sync.Mutex
	kept []kept
	held map[string]bool // names under which systemd holds one
}

// kept is a socket that was handed over and that nobody has asked for yet.
type kept struct {
	name     string
	listener net.Listener
}

// Open takes what systemd has handed over to this process, by LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, and removes those from the
// environment, so that no child of ours takes them for its own. NOTIFY_SOCKET stays. It is to be called once, before anything
// else opens files. A nil log is silent.
func Open(log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{notify: os.Getenv("NOTIFY_SOCKET"), log: log, held: map[string]bool{}}
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, fmt.Errorf("unset %s: %w", name, err)
		}
	}
	if count == "" || pid != strconv.Itoa(os.Getpid()) { // for somebody else
		return s, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS is %q, which is no number of files", count)
	}
	called := strings.Split(names, ":")
	for i := range n {
		k := kept{name: "unknown"}
		if i < len(called) {
			k.name = called[i]
		}
		f := os.NewFile(uintptr(first+i), k.name)
		k.listener, err = net.FileListener(f) // of a copy
		if cerr := f.Close(); cerr != nil {
			log.Warn("closing a file that was handed over", "name", k.name, "error", cerr)
		}
		if err != nil {
			log.Warn("what was handed over is no listening socket and is not used", "name", k.name, "error", err)
			s.forget(k.name)
			continue
		}
		s.kept, s.held[k.name] = append(s.kept, k), true
	}
	return s, nil
}

// Listen gives a socket that listens at a TCP address: the one that was kept under the name, if it is of that address, and otherwise a new one,
// which is then kept under the name. An empty host is every address. When it returns nil, a socket that could be given to systemd has been: it is held from
// the moment that systemd has read that, which is before the agent ends. Whatever else was kept under the name is given up.
//
// Asked for again in one life of the agent, it binds anew. The address may be in use for a moment then, until systemd has let go of it: try again.
func (s *Store) Listen(name, address string) (net.Listener, error) {
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found net.Listener
	s.kept = slices.DeleteFunc(s.kept, func(k kept) bool {
		switch {
		case k.name != name:
			return false
		case found == nil && same(k.listener.Addr(), want):
			found = k.listener
		default:
			s.giveUp(k)
		}
		return true
	})
	l, again := found.(*net.TCPListener)
	if again {
		s.log.Info("a listening socket was kept over the restart", "name", name, "address", l.Addr().String())
	} else {
		if s.held[name] {
			s.forget(name)
		}
		if l, err = net.ListenTCP("tcp", want); err != nil {
			return nil, err
		}
	}
	if s.held[name] { // but when another of its name was given up: it went with that
		return l, nil
	}
	if err := s.keep(name, l); err != nil {
		s.log.Warn("a listening socket cannot be kept over a restart of the agent; clients will be refused during one", "name", name, "error", err)
	}
	return l, nil
}

// Done gives up what was kept and nobody has asked for.
func (s *Store) Done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		s.giveUp(k)
	}
	s.kept = nil
}

func (s *Store) giveUp(k kept) {
	s.log.Info("a listening socket that was kept is of no more use", "name", k.name, "address", k.listener.Addr().String())
	if err := k.listener.Close(); err != nil {
		s.log.Warn("closing a socket", "name", k.name, "error", err)
	}
	s.forget(k.name)
}

// same reports whether a socket listens where it is wanted. A wanted port of 0 is any.
func same(is net.Addr, want *net.TCPAddr) bool {
	a, ok := is.(*net.TCPAddr)
	if !ok || want.Port != 0 && a.Port != want.Port {
		return false
	}
	all := func(ip net.IP) bool { return ip == nil || ip.IsUnspecified() }
	return all(a.IP) && all(want.IP) || a.IP.Equal(want.IP) && a.Zone == want.Zone
}

// keep hands a copy of a socket to systemd.
func (s *Store) keep(name string, l *net.TCPListener) error {
	if s.notify == "" {
		return nil
	}
	c, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	// The number is used within, and not a copy of it: a copy's File would make both blocking.
	if err := c.Control(func(fd uintptr) { sent = s.tell("FDSTORE=1\nFDNAME="+name, int(fd)) }); err != nil {
		return err
	}
	s.held[name] = sent == nil
	return sent
}

// forget has systemd close what it holds under a name.
func (s *Store) forget(name string) {
	delete(s.held, name)
	if s.notify == "" {
		return
	}
	if err := s.tell("FDSTOREREMOVE=1\nFDNAME=" + name); err != nil {
		s.log.Warn("systemd cannot be told to close a socket", "name", name, "error", err)
	}
}

// tell sends systemd a message and files with it.
func (s *Store) tell(message string, fds ...int) error {
	c, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(c)
	// Should systemd not read, the agent starts all the same.
	if err := syscall.SetsockoptTimeval(c, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &syscall.Timeval{Sec: 5}); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	for {
		err := syscall.Sendmsg(c, []byte(message), rights, &syscall.SockaddrUnix{Name: s.notify}, syscall.MSG_NOSIGNAL) // "@" is the abstract one
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("sendmsg", err)
		}
	}
}
