package podmanhost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// initScript is pid 1 of a host. It takes one word a line on stdin and answers each with one line on stdout. It is
// bash and not sh because bash reaps what is not its own child, as conmon will be: Podman takes a zombie for alive.
const initScript = `
set -eu
socket=$1 id=$2; shift 2
resolv=$(cat /etc/resolv.conf 2>/dev/null || true)
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm # Podman keeps its locks here, and clears them all when it finds a new /run
mkdir -p /run/lock
file=$(readlink -m /etc/resolv.conf)
if [ ! -e "$file" ]; then mkdir -p "${file%/*}"; printf '%s\n' "$resolv" >"$file"; fi
if [ -n "$id" ]; then # a machine of its own
	ip link set lo up
	if [ -e /etc/machine-id ]; then mount --bind "$id" /etc/machine-id; fi
	cat /proc/sys/kernel/random/uuid >/run/boot_id # /run is another one in each life, and so is this
	mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
fi
service=
echo up
while read -r word; do
	case $word in
	start)
		rm -f "$socket"
		"$@" system service --time=0 "unix://$socket" >&2 &
		service=$!
		echo started
		;;
	stop)
		kill -TERM "$service" 2>/dev/null || true
		for _ in {1..20}; do kill -0 "$service" 2>/dev/null || break; sleep 0.1; done
		kill -KILL "$service" 2>/dev/null || true # an open event stream holds a polite stop up
		wait "$service" || true
		rm -f "$socket"
		echo stopped
		;;
	esac
done
`

// Host is one private Podman. Its methods are not for concurrent use, but for Podman and Socket.
type Host struct {
	dir     string
	subnet  *subnet
	apart   bool   // in a network namespace of its own
	image   []byte // as BuildImage made it; nil: to be built
	init    *exec.Cmd
	words   *os.File // to init's stdin
	answers *os.File // from init's stdout
	read    *bufio.Reader
}

// Open starts a host whose files are in dir, which must exist, be empty and lie on a real file system. On return its
// service answers, it holds the images Image1 and Image2, and a container with a published port has been run on it.
//
// Whoever opens a host must Close it. If this process is killed, the host and its containers die with it.
func Open(ctx context.Context, dir string) (*Host, error) {
	return open(ctx, &Host{dir: dir})
}

func open(ctx context.Context, h *Host) (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("open a private Podman host: this needs root, for namespaces and mounts of its own")
	}
	for _, tool := range []string{"podman", "bash", "nsenter", "ip", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("open a private Podman host: %w; integration/setup.sh installs it", err)
		}
	}
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open a private Podman host in %s: %w\n%s", h.dir, err, h.logTail()), h.Close())
	}
	return h, nil
}

func (h *Host) open(ctx context.Context) error {
	var err error
	if h.apart {
		h.subnet, err = numbered(0), h.drawMachineID()
	} else {
		h.subnet, err = takeSubnet()
	}
	if err != nil {
		return err
	}
	if err := h.writeConfig(); err != nil {
		return err
	}
	if err := h.boot(ctx); err != nil {
		return err
	}
	if err := h.importImages(ctx); err != nil {
		return err
	}
	if h.apart { // there is nobody whose way its first container could be in
		return nil
	}
	return h.subnet.exclusively(func() error {
		_, err := h.Podman(ctx, "run", "--rm", "-p", "127.0.0.1::80", Image1, "-exit-after=0s")
		return err
	})
}

// boot starts init and the service.
func (h *Host) boot(ctx context.Context) error {
	log, err := os.OpenFile(h.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	stdin, words, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	answers, stdout, err := os.Pipe()
	if err != nil {
		return errors.Join(err, words.Close())
	}
	defer stdout.Close()

	args := append([]string{"-c", initScript, "podmanhost", h.socketFile(), h.machineID()}, h.podmanCommand()...)
	h.init = exec.Command("bash", args...)
	h.init.Stdin, h.init.Stdout, h.init.Stderr = stdin, stdout, log
	h.init.Env = h.env()
	h.init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Setpgid:    true, // a Ctrl-C at the terminal is for us; we end the host in order
	}
	if h.apart {
		h.init.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	h.words, h.answers, h.read = words, answers, bufio.NewReader(answers)
	if err := h.init.Start(); err != nil {
		h.init = nil
		return errors.Join(fmt.Errorf("start init: %w", err), h.closePipes())
	}
	if err := h.expect(ctx, "up"); err != nil {
		return err
	}
	return h.StartService(ctx)
}

// expect reads init's next answer.
func (h *Host) expect(ctx context.Context, want string) error {
	deadline := time.Now().Add(10 * time.Second)
	if t, ok := ctx.Deadline(); ok && t.Before(deadline) {
		deadline = t
	}
	if err := h.answers.SetReadDeadline(deadline); err != nil {
		return err
	}
	line, err := h.read.ReadString('\n')
	if err != nil {
		return fmt.Errorf("waiting for init to say %q: %w", want, err)
	}
	if got := strings.TrimSpace(line); got != want {
		return fmt.Errorf("init said %q, not %q", got, want)
	}
	return nil
}

// StartService starts the Podman service. It answers on return.
func (h *Host) StartService(ctx context.Context) error {
	if _, err := fmt.Fprintln(h.words, "start"); err != nil {
		return fmt.Errorf("start the Podman service: %w", err)
	}
	if err := h.expect(ctx, "started"); err != nil {
		return fmt.Errorf("start the Podman service: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", h.socketFile())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start the Podman service: %w; last: %w", ctx.Err(), err)
		case <-every.C:
		}
	}
}

// StopService stops the Podman service. Containers run on, and Podman still works: only the socket is gone.
func (h *Host) StopService(ctx context.Context) error {
	if _, err := fmt.Fprintln(h.words, "stop"); err != nil {
		return fmt.Errorf("stop the Podman service: %w", err)
	}
	if err := h.expect(ctx, "stopped"); err != nil {
		return fmt.Errorf("stop the Podman service: %w", err)
	}
	return nil
}

// Restart stops and starts the Podman service, as an upgrade of Podman does. Containers run on.
func (h *Host) Restart(ctx context.Context) error {
	return errors.Join(h.StopService(ctx), h.StartService(ctx))
}

// Reboot kills all containers and starts the host again on the same storage with an empty /run, so that on return
// Podman finds, as after a reboot, that all its containers have exited.
func (h *Host) Reboot(ctx context.Context) error {
	// Killed one by one, so that Podman takes back what it set up in the network: that is the machine's own here, and
	// no reboot clears it.
	if _, err := h.Podman(ctx, "stop", "--all", "--time", "0"); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	if err := h.killInit(); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return h.boot(ctx)
}

// Socket is where the service listens, as Podman's clients want it: unix:///…/podman.sock. It stays the same for the
// life of the host.
func (h *Host) Socket() string { return "unix://" + h.socketFile() }

// Podman runs podman on this host beside the service, so it works while that is stopped, and returns what it wrote to
// stdout without the space around it. Safe for concurrent use.
func (h *Host) Podman(ctx context.Context, args ...string) (string, error) {
	return h.podman(ctx, nil, args...)
}

func (h *Host) podman(ctx context.Context, stdin []byte, args ...string) (string, error) {
	if h.init == nil {
		return "", fmt.Errorf("podman %s: the host in %s is off", strings.Join(args, " "), h.dir)
	}
	all := append([]string{"--target", strconv.Itoa(h.init.Process.Pid), "--mount", "--pid", "--net", "--"}, h.podmanCommand()...)
	cmd := exec.CommandContext(ctx, "nsenter", append(all, args...)...)
	cmd.Env = h.env()
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return strings.TrimSpace(stdout.String()),
			fmt.Errorf("podman %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// Close ends the host: containers, service, network, storage. On return nothing of it is left, or the error says what.
func (h *Host) Close() error {
	var errs []error
	if h.apart {
		errs = append(errs, h.PowerOff()) // nothing of it is in the machine's network
	} else if h.init != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if _, err := h.Podman(ctx, "rm", "--force", "--all", "--depend", "--time", "0"); err != nil {
			errs = append(errs, err) // what runs is killed below all the same
		}
		errs = append(errs, h.killInit())
	}
	if h.subnet != nil {
		errs = append(errs, removeCgroups(h.dir), h.subnet.release())
		h.subnet = nil
	}
	entries, err := os.ReadDir(h.dir)
	errs = append(errs, err)
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(h.dir, e.Name())))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the Podman host in %s: %w", h.dir, err)
	}
	return nil
}

// killInit kills pid 1 of the host, and the kernel kills the rest of it before Wait returns.
func (h *Host) killInit() error {
	err := errors.Join(h.init.Process.Kill(), h.closePipes())
	var killed *exec.ExitError
	if werr := h.init.Wait(); !errors.As(werr, &killed) {
		err = errors.Join(err, werr)
	}
	h.init = nil
	return err
}

func (h *Host) closePipes() error { return errors.Join(h.words.Close(), h.answers.Close()) }

// logTail returns the end of what init and the service wrote to stderr.
func (h *Host) logTail() string {
	b, err := os.ReadFile(h.logFile())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

func (h *Host) logFile() string    { return filepath.Join(h.dir, "service.log") }
func (h *Host) socketFile() string { return filepath.Join(h.dir, "podman.sock") }
