package trial

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Agent is podman-swarm-agent as a process, life after life on the same data dir and address. Its methods are not for
// concurrent use, but for URL.
type Agent struct {
	Bin     string   // path of the binary
	DataDir string   // its --data-dir
	Podman  string   // its --podman-url
	Node    string   // its --node-name; "" is "trial"
	Args    []string // further flags
	Output  string   // file to which every life's output is appended
	Before  []string // a command to run it with, as strace and its flags; nil: none
	Env     []string // beside this process's own, NAME=value; later ones win
	Addr    string   // its --api-addr; "": one that is free at the first Start
	// Dial reaches the API where it is not in this process's network; nil: as usual.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	cmd   *exec.Cmd
	ended chan struct{} // closed once cmd has been waited for
	how   error         // how it ended; read after ended
}

// Start starts the agent's process, and does not wait for it to do anything. It must not be running. Should this
// process die, the kernel kills the agent with it.
func (a *Agent) Start() error {
	if a.Addr == "" {
		var err error
		if a.Addr, err = FreeAddr(); err != nil {
			return fmt.Errorf("find an address for the agent: %w", err)
		}
	}
	out, err := os.OpenFile(a.Output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer out.Close()
	node := a.Node
	if node == "" {
		node = "trial"
	}
	line := append(append([]string{}, a.Before...), a.Bin,
		"--data-dir", a.DataDir, "--api-addr", a.Addr, "--node-name", node, "--podman-url", a.Podman)
	line = append(line, a.Args...)
	a.cmd = exec.Command(line[0], line[1:]...)
	a.cmd.Stdout, a.cmd.Stderr = out, out
	a.cmd.Env = os.Environ()
	if a.Dial == nil { // it shares this machine's network, with who knows whom: there it changes nothing
		a.cmd.Env = append(a.cmd.Env, "PODMAN_SWARM_SERVICE_CIDR=none", "PODMAN_SWARM_INGRESS_HTTP=none", "PODMAN_SWARM_INGRESS_HTTPS=none")
	}
	a.cmd.Env = append(a.cmd.Env, a.Env...)
	// Not in our process group: a Ctrl-C is for us, and we end the agent in order.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		a.cmd = nil
		return fmt.Errorf("start the agent: %w", err)
	}
	cmd, ended := a.cmd, make(chan struct{})
	a.ended = ended
	go func() {
		a.how = cmd.Wait()
		close(ended)
	}()
	return nil
}

// FreeAddr is an address of the loopback at which nobody listens now, and which stays the caller's until its process ends, for
// who listens there does so later, and not while it is restarted: no other call gives it, in whatever process of this network.
// Nor does it go by chance: connections that this machine makes take their ports from 32768 up, unless told otherwise, as
// whoever asks for any port does, and replicas theirs from 20000 up.
func FreeAddr() (string, error) {
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(10000))
		if err = claim("@podman-swarm-trial-" + addr); err != nil {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", err
}

// claim takes a name that one process of this network can have: of a socket without a file. Nobody closes it, on purpose, and
// so it is not net's, which closes what nobody refers to; the kernel does, when the process ends.
func claim(name string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: name}); err != nil {
		return errors.Join(err, syscall.Close(fd))
	}
	return nil
}

// URL is where the agent's API is, from the first Start on.
func (a *Agent) URL() string { return "http://" + a.Addr }

// Client asks the agent on a connection of its own each time, so that none is left to an agent that has been killed.
func (a *Agent) Client() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: a.Dial}}
}

// Signal sends the running agent a signal, and does not wait for what that does.
func (a *Agent) Signal(s syscall.Signal) error {
	if err := a.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("send the agent %s: %w", s, err)
	}
	return nil
}

// Pid is the number of the running process.
func (a *Agent) Pid() int { return a.cmd.Process.Pid }

// Ready returns nil when the agent has recovered and takes changes. It is an error when the agent ends before that, or
// takes longer than three minutes.
func (a *Agent) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	client := a.Client()
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for {
		_, err := Do(ctx, client, http.MethodGet, a.URL()+"/readyz", "")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent is not ready: %w; it wrote:\n%s", errors.Join(ctx.Err(), err), a.OutputTail())
		case <-a.ended:
			return fmt.Errorf("the agent ended before it was ready: %w; it wrote:\n%s", a.how, a.OutputTail())
		case <-every.C:
		}
	}
}

// Up is Start and Ready.
func (a *Agent) Up(ctx context.Context) error {
	if err := a.Start(); err != nil {
		return err
	}
	return a.Ready(ctx)
}

// Kill kills the agent with SIGKILL, if it runs. It is gone on return.
func (a *Agent) Kill() error {
	if a.cmd == nil {
		return nil
	}
	if err := a.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the agent: %w", err)
	}
	<-a.ended
	a.cmd = nil
	return nil
}

// Terminate sends SIGTERM and waits for the agent to end, and gives its exit code.
func (a *Agent) Terminate(ctx context.Context) (int, error) {
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("send the agent SIGTERM: %w", err)
	}
	return a.Wait(ctx)
}

// Wait waits for the agent to end by itself, and gives its exit code: -1 when a signal killed it.
func (a *Agent) Wait(ctx context.Context) (int, error) {
	select {
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the agent to end: %w; it wrote:\n%s", ctx.Err(), a.OutputTail())
	case <-a.ended:
	}
	code := a.cmd.ProcessState.ExitCode()
	a.cmd = nil
	return code, nil
}

// Ended reports whether the agent does not run, be it that it ended by itself.
func (a *Agent) Ended() bool {
	if a.cmd == nil {
		return true
	}
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// OutputTail is the end of what the agent wrote over all its lives.
func (a *Agent) OutputTail() string {
	b, err := os.ReadFile(a.Output)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8192):])
}

// Build builds the agent, for its real system, into a file. Further arguments go to go build.
func Build(ctx context.Context, file string, args ...string) error {
	all := append([]string{"build", "-trimpath", "-ldflags=-s -w -X main.version=trial", "-o", file}, args...)
	cmd := exec.CommandContext(ctx, "go", append(all, "github.com/podman-swarm/podman-swarm/cmd/podman-swarm-agent")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, out)
	}
	return nil
}
