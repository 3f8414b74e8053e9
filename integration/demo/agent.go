package main

import (
	"context"
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

// agent is podman-swarm-agent as a process that can be killed and started again.
type agent struct {
	bin     string
	args    []string
	addr    string
	logFile string

	cmd   *exec.Cmd
	ended chan struct{} // closed once cmd has been waited for
	how   error         // how it ended; read after ended
}

func newAgent(bin, dataDir, podman string) (*agent, error) {
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := port.Addr().String()
	if err := port.Close(); err != nil {
		return nil, err
	}
	return &agent{
		bin:     bin,
		addr:    addr,
		logFile: dataDir + ".log",
		args: []string{"--data-dir", dataDir, "--node-name", "demo", "--api-addr", addr, "--podman-url", podman,
			"--recovery-delay", "1s"},
	}, nil
}

// start starts the agent. On return it has recovered and is ready.
func (a *agent) start(ctx context.Context) error {
	log, err := os.OpenFile(a.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	a.cmd = exec.Command(filepath.Join(a.bin, "podman-swarm-agent"), a.args...)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	// Not in our process group: a Ctrl-C is for the demo, which then kills the agent and cleans up.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	fmt.Println("   $ podman-swarm-agent", strings.Join(a.args, " "))
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
	return a.ready(ctx)
}

func (a *agent) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for {
		_, err := get(ctx, "http://"+a.addr+"/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent is not ready: %w", errors.Join(ctx.Err(), err))
		case <-a.ended:
			return fmt.Errorf("the agent ended before it was ready: %w", a.how)
		case <-every.C:
		}
	}
}

// kill kills the agent with SIGKILL, if it runs.
func (a *agent) kill() error {
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

// terminate sends SIGTERM, and wants the agent to end with 0 within ten seconds.
func (a *agent) terminate(ctx context.Context) error {
	began := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("send the agent SIGTERM: %w", err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second):
		return errors.New("the agent still runs 10 s after SIGTERM")
	case <-a.ended:
	}
	a.cmd = nil
	if a.how != nil {
		return fmt.Errorf("the agent after SIGTERM: %w", a.how)
	}
	fmt.Printf("   the agent ended with 0 after %.1f s\n", time.Since(began).Seconds())
	return nil
}

// psctl runs psctl against the agent, shows what it says, and returns that.
func (a *agent) psctl(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	fmt.Println("   $ psctl", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, filepath.Join(a.bin, "psctl"), args...)
	cmd.Env = append(os.Environ(), "PSCTL_SERVER=http://"+a.addr)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		fmt.Print("   ", line)
	}
	if err != nil {
		return "", fmt.Errorf("psctl %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// log returns what the agent wrote, over all its lives.
func (a *agent) log() string {
	b, err := os.ReadFile(a.logFile)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
