package podmanhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// subnet is a number between 0 and 255 that no other host on this machine has, and the network named after it. It is
// held by a lock on a file, so that it is free again however its process ends.
type subnet struct {
	name   string   // of the network and of its bridge
	prefix string   // of its addresses: "198.18.7."
	lock   *os.File // nil where the network is the host's own, which ends with it
}

func numbered(n int) *subnet {
	return &subnet{name: fmt.Sprintf("swt%d", n), prefix: fmt.Sprintf("198.18.%d.", n)}
}

// takeSubnet takes the first free number. What a killed process left under it in the machine's network is removed.
func takeSubnet() (*subnet, error) {
	if err := os.MkdirAll(lockDir, 0o700); err != nil {
		return nil, fmt.Errorf("take a subnet: %w", err)
	}
	for n := range 256 {
		s := numbered(n)
		lock, err := lockFile(filepath.Join(lockDir, s.name), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("take a subnet: %w", err)
		}
		s.lock = lock
		if err := s.clear(); err != nil {
			return nil, errors.Join(fmt.Errorf("take subnet %s: %w", s.cidr(), err), lock.Close())
		}
		return s, nil
	}
	return nil, errors.New("take a subnet: all 256 are taken")
}

// exclusively runs f while no other host on this machine runs its own. The first container with a published port
// makes firewall chains that all networks share, and two that make them at once get in each other's way.
func (s *subnet) exclusively(f func() error) error {
	if s.lock == nil {
		return f()
	}
	lock, err := lockFile(filepath.Join(lockDir, "firewall"), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	return errors.Join(f(), lock.Close())
}

// release gives the number back, once nothing in the machine's network is left of it.
func (s *subnet) release() error {
	if s.lock == nil {
		return nil
	}
	return errors.Join(s.clear(), s.lock.Close())
}

// clear removes the bridge and the firewall rules that Podman did not take back, since its containers were killed
// without it. A rule left over would send what comes for its port to an address that is somebody else's by then.
func (s *subnet) clear() error {
	var errs []error
	if _, err := net.InterfaceByName(s.name); err == nil {
		_, err := command("", "ip", "link", "delete", s.name)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, s.exclusively(s.clearRules))...)
}

func (s *subnet) clearRules() error {
	for _, table := range []string{"nat", "filter"} {
		rules, err := command("", "iptables", "--wait", "-t", table, "-S")
		if err != nil {
			return err
		}
		var undo, chains strings.Builder
		for rule := range strings.Lines(rules) {
			if strings.HasPrefix(rule, "-A ") && (strings.Contains(rule, s.prefix) || strings.Contains(rule, "name: "+s.name+" ")) {
				undo.WriteString("-D" + rule[2:])
				_, target, _ := strings.Cut(strings.TrimSpace(rule), " -j ")
				own := strings.HasPrefix(target, "NETAVARK-") && !strings.HasPrefix(target, "NETAVARK-HOSTPORT-")
				if own && !strings.Contains(chains.String(), target) {
					chains.WriteString("-F " + target + "\n-X " + target + "\n")
				}
			}
		}
		if undo.Len() == 0 {
			continue
		}
		if _, err := command("*"+table+"\n"+undo.String()+chains.String()+"COMMIT\n", "iptables-restore", "--noflush", "--wait"); err != nil {
			return err
		}
	}
	return nil
}

// command runs a program of the system and returns its stdout.
func command(stdin string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// config is the network as Podman's netavark backend keeps it.
func (s *subnet) config() map[string]any {
	id := sha256.Sum256([]byte(s.name))
	return map[string]any{
		"name":              s.name,
		"id":                hex.EncodeToString(id[:]),
		"driver":            "bridge",
		"network_interface": s.name,
		"created":           time.Now().UTC().Format(time.RFC3339),
		"subnets":           []map[string]string{{"subnet": s.cidr(), "gateway": s.prefix + "1"}},
		"ipv6_enabled":      false,
		"internal":          false,
		"dns_enabled":       false,
		"ipam_options":      map[string]string{"driver": "host-local"},
	}
}

func (s *subnet) cidr() string { return s.prefix + "0/24" }

// lockDir is not below $TMPDIR: whoever shares the network has to find the same files there.
const lockDir = "/run/podman-swarm-podmanhost"

func lockFile(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return f, nil
}

// removeCgroups removes the empty cgroups of containers in dir's storage that were killed and not stopped.
func removeCgroups(dir string) error {
	containers, err := filepath.Glob(filepath.Join(dir, "storage", "*-containers", strings.Repeat("[0-9a-f]", 64)))
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range containers {
		for _, pattern := range []string{"/sys/fs/cgroup/libpod_parent", "/sys/fs/cgroup/*/libpod_parent"} {
			groups, err := filepath.Glob(filepath.Join(pattern, "libpod-"+filepath.Base(c)))
			errs = append(errs, err)
			for _, g := range groups {
				errs = append(errs, os.Remove(g))
			}
		}
	}
	return errors.Join(errs...)
}
