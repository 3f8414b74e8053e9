package street

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// Options are how a street is to be.
type Options struct {
	Dir   string   // the folder of the street's own, on a real disk; "": the system's for temporary files
	Hosts int      // how many, up to 200
	Bin   string   // folder of podman-swarm-agent
	Seed  uint64   // of what the wires do at random
	Args  []string // flags for every agent
}

// Street is hosts that are on, and connected by whole wires. Its methods are safe for concurrent use.
type Street struct {
	Hosts []*Host
	Wires *Switch

	dir  string
	lock *os.File
}

// prefix begins the name of a street's folder.
const prefix = "podman-swarm-street-"

// Open makes a street. On return every host's Podman answers; no agent runs yet. It must be closed.
func Open(ctx context.Context, o Options) (s *Street, err error) {
	if o.Hosts < 1 || o.Hosts > 200 {
		return nil, fmt.Errorf("open a street of %d hosts: want 1 to 200", o.Hosts)
	}
	dir, err := filepath.Abs(cmp.Or(o.Dir, os.TempDir())) // what runs on a host begins in another folder than we
	if err != nil {
		return nil, err
	}
	bin, err := filepath.Abs(filepath.Join(o.Bin, "podman-swarm-agent"))
	if err != nil {
		return nil, err
	}
	s = &Street{Wires: newSwitch(o.Hosts, o.Seed)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open a street of %d hosts: %w", o.Hosts, err), s.Close())
			s = nil
		}
	}()
	if err := sweep(dir); err != nil {
		return s, err
	}
	if err := s.takeFolder(dir); err != nil {
		return s, err
	}
	image, err := podmanhost.BuildImage(ctx, s.dir)
	if err != nil {
		return s, err
	}
	together, ctx := errgroup.WithContext(ctx)
	for n := range o.Hosts {
		h := &Host{Number: n, Name: fmt.Sprintf("h%d", n+1), dir: filepath.Join(s.dir, fmt.Sprintf("h%d", n+1)), wires: s.Wires}
		h.Agent = &trial.Agent{Bin: bin, DataDir: filepath.Join(h.dir, "data"), Node: h.Name, Addr: APIAddr, Dial: h.Dial,
			Args: append([]string{"--node-address", h.Addr()}, o.Args...), Output: filepath.Join(h.dir, "agent.log")}
		s.Hosts = append(s.Hosts, h)
		together.Go(func() error { return h.open(ctx, image) })
	}
	return s, together.Wait()
}

// Close ends the hosts with all that runs on them, and removes the street's folder. On return nothing is left, or the
// error says what.
func (s *Street) Close() error {
	errs := make([]error, len(s.Hosts))
	var together errgroup.Group
	for i, h := range s.Hosts {
		together.Go(func() error {
			errs[i] = h.close()
			return nil
		})
	}
	_ = together.Wait() // each has left its own error
	s.Wires.close()
	if s.lock != nil {
		errs = append(errs, os.RemoveAll(s.dir), s.lock.Close())
	}
	return errors.Join(errs...)
}

// Keep copies the hosts' data dirs and what their agents wrote into a folder, to be looked at after Close.
func (s *Street) Keep(folder string) error {
	var errs []error
	for _, h := range s.Hosts {
		errs = append(errs, h.Agent.Kill())
		to := filepath.Join(folder, h.Name)
		errs = append(errs, os.Mkdir(to, 0o750))
		for _, what := range []string{h.Agent.Output, h.Agent.DataDir} {
			if _, err := os.Stat(what); err != nil {
				continue // it was never made
			}
			if out, err := exec.Command("cp", "-a", what, to).CombinedOutput(); err != nil {
				errs = append(errs, fmt.Errorf("keep %s: %w: %s", what, err, out))
			}
		}
	}
	return errors.Join(errs...)
}

// CutOff cuts all wires of a host.
func (s *Street) CutOff(host int) {
	for other := range s.Hosts {
		s.CutPair(host, other)
	}
}

// CutPair cuts the wire between two hosts. Others still reach both.
func (s *Street) CutPair(a, b int) {
	s.CutOneWay(a, b)
	s.CutOneWay(b, a)
}

// CutOneWay lets nothing that one host sends reach another, which is still heard.
func (s *Street) CutOneWay(from, to int) { s.Wires.Set(from, to, Link{Cut: true}) }

// Links makes all wires such.
func (s *Street) Links(l Link) {
	for from := range s.Hosts {
		for to := range s.Hosts {
			s.Wires.Set(from, to, l)
		}
	}
}

// Heal makes all wires whole.
func (s *Street) Heal() { s.Links(Link{}) }

// takeFolder makes the street's folder, whose lock says that it is in use: it has its name only once it is locked.
func (s *Street) takeFolder(parent string) error {
	hidden, err := os.MkdirTemp(parent, "."+prefix)
	if err != nil {
		return err
	}
	s.dir = hidden
	if s.lock, err = os.Create(filepath.Join(hidden, "LOCK")); err != nil {
		return errors.Join(err, os.RemoveAll(hidden))
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	s.dir = filepath.Join(parent, strings.TrimPrefix(filepath.Base(hidden), "."))
	return os.Rename(hidden, s.dir)
}

// sweep removes what streets whose process was killed have left below a folder.
func sweep(parent string) error {
	locks, err := filepath.Glob(filepath.Join(parent, prefix+"*", "LOCK"))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range locks {
		lock, err := os.Open(name)
		if err != nil {
			continue // gone just now
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			dir := filepath.Dir(name)
			homes, _ := filepath.Glob(filepath.Join(dir, "h*", "podman"))
			for _, home := range homes {
				errs = append(errs, podmanhost.Sweep(home))
			}
			errs = append(errs, os.RemoveAll(dir))
		}
		errs = append(errs, lock.Close())
	}
	return errors.Join(errs...)
}
