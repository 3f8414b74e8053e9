package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
)

// Machine is a machine that runs. Run and Put are safe for concurrent use.
type Machine struct {
	dir    string
	cgroup string
	init   *exec.Cmd
	guard  *exec.Cmd // kills init when this process ends
	life   io.Closer // held until then
}

// bootScript becomes the first process of a machine. $1: its folder; $2: the cgroup that it is to be in.
const bootScript = `
mount --make-rprivate /
mkdir "$2"
echo 0 >"$2/cgroup.procs" # this process, whatever its number
exec unshare --cgroup bash -euo pipefail -c '
	mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
	cd "$1/root"
	mount -t proc proc proc
	mount -t sysfs sysfs sys
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	mount --rbind /dev dev
	mount -t tmpfs tmpfs run
	mount -t tmpfs tmpfs tmp
	# On a real file system: neither can lie on an overlay, one for its containers, the other for its power cuts.
	mkdir -p var/lib/containers var/lib/podman-swarm oldroot
	mount --bind "$1/storage" var/lib/containers
	mount --bind "$1/state" var/lib/podman-swarm
	pivot_root . oldroot
	umount -l /oldroot
	cd /
	mount --make-rshared / # as systemd does where it is no container: credentials are mounted beside a service, and come to it that way
	exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		/lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=0
' boot2 "$1"
`

// Boot boots a machine whose files are in dir, which must exist, be empty and lie on a real file system. On return systemd has reached
// basic.target, and Podman is configured and does not run. It must be closed.
func Boot(ctx context.Context, dir string) (m *Machine, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("boot a machine: this needs root, for namespaces and mounts of its own")
	}
	for _, tool := range []string{"/lib/systemd/systemd", "podman", "bash", "nsenter", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("boot a machine: %w; integration/setup.sh tests installs it", err)
		}
	}
	m = &Machine{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("boot a machine in %s: %w\n%s", dir, err, m.console()), m.Close())
			m = nil
		}
	}()
	if err := m.prepare(); err != nil {
		return m, err
	}
	if err := m.start(); err != nil {
		return m, err
	}
	return m, m.up(ctx)
}

// prepare makes the folders, and the configuration that Podman needs in here.
func (m *Machine) prepare() error {
	for _, name := range []string{"upper/etc/containers", "work", "root", "storage", "state"} {
		if err := os.MkdirAll(filepath.Join(m.dir, name), 0o755); err != nil {
			return err
		}
	}
	conf, err := podmanhost.Config()
	if err != nil {
		return err
	}
	conf = strings.Replace(conf, "[containers]\n", "[containers]\npids_limit = 0 # there are no controllers in its cgroups\n", 1)
	if err := os.WriteFile(filepath.Join(m.dir, "upper/etc/containers/containers.conf"), []byte(conf), 0o644); err != nil {
		return err
	}
	root := "/sys/fs/cgroup/unified" // beside controllers of version 1
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}
	const prefix = "podman-swarm-machine-"
	left, err := filepath.Glob(filepath.Join(root, prefix+"*"))
	if err != nil {
		return err
	}
	for _, c := range left {
		_ = removeCgroup(c) // it is in use: another machine runs
	}
	m.cgroup = filepath.Join(root, prefix+strconv.Itoa(os.Getpid()))
	return nil
}

// start starts systemd, and what ends it with us.
func (m *Machine) start() error {
	console, err := os.Create(filepath.Join(m.dir, "console"))
	if err != nil {
		return err
	}
	defer console.Close()
	m.init = exec.Command("bash", "-euo", "pipefail", "-c", bootScript, "boot", m.dir, m.cgroup)
	m.init.Stdout, m.init.Stderr = console, console
	m.init.SysProcAttr = &syscall.SysProcAttr{Setpgid: true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC}
	if err := m.init.Start(); err != nil {
		m.init = nil
		return err
	}
	m.guard = exec.Command("bash", "-c", `read -r; kill -KILL "$0"`, strconv.Itoa(m.init.Process.Pid))
	m.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if m.life, err = m.guard.StdinPipe(); err != nil {
		return err
	}
	if err := m.guard.Start(); err != nil {
		m.guard = nil
		return err
	}
	return nil
}

// up waits until the machine has booted.
func (m *Machine) up(ctx context.Context) error {
	for {
		said, err := m.Run(ctx, nil, "systemctl", "is-active", "basic.target")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; the last that systemd said: %s %w", ctx.Err(), said, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Run runs a program on the machine as its root, and gives what it writes to stdout. It is killed when ctx ends. The error has what it wrote to stderr.
func (m *Machine) Run(ctx context.Context, stdin io.Reader, name string, args ...string) (string, error) {
	line := append([]string{"--target", strconv.Itoa(m.init.Process.Pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--", name}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", line...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	cmd.Stdin = stdin
	var out, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &wrong
	cmd.WaitDelay = 10 * time.Second // for who has inherited its stdout
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(wrong.Bytes()))
	}
	return out.String(), nil
}

// Put writes a file on the machine.
func (m *Machine) Put(ctx context.Context, path, mode string, r io.Reader) error {
	_, err := m.Run(ctx, r, "sh", "-c", `mkdir -p "$(dirname "$0")" && cat > "$0" && chmod "$1" "$0"`, path, mode)
	return err
}

// Close ends the machine at once, and removes what is outside of its folder, which is the caller's.
func (m *Machine) Close() error {
	var errs []error
	if m.init != nil {
		errs = append(errs, m.init.Process.Kill())
		_ = m.init.Wait() // it was killed
		m.init = nil
	}
	if m.life != nil {
		errs = append(errs, m.life.Close())
	}
	if m.guard != nil {
		_ = m.guard.Wait() // whom it was to kill is gone
	}
	if m.cgroup != "" {
		errs = append(errs, m.clear())
	}
	return errors.Join(errs...)
}

// clear removes the machine's cgroups, whose processes the kernel is about to end.
func (m *Machine) clear() (err error) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = removeCgroup(m.cgroup); err == nil {
			return nil
		}
	}
	return err
}

// removeCgroup removes a cgroup and those in it. One that is not there is no error.
func removeCgroup(path string) error {
	var all []string
	err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if err := os.Remove(all[i]); err != nil {
			return err
		}
	}
	return nil
}

// console is the end of what systemd and the script before it have said.
func (m *Machine) console() string {
	b, err := os.ReadFile(filepath.Join(m.dir, "console"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}
