package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// agent is podman-swarm-agent as a process that can be killed and started again, and psctl to ask it.
type agent struct {
	*trial.Agent
	psctlBin string
}

func newAgent(bin, dataDir, podman string) *agent {
	return &agent{psctlBin: filepath.Join(bin, "psctl"), Agent: &trial.Agent{
		Bin: filepath.Join(bin, "podman-swarm-agent"), DataDir: dataDir, Podman: podman, Node: "demo",
		Args: []string{"--recovery-delay", "1s"}, Output: dataDir + ".log",
	}}
}

// start starts the agent. On return it has recovered and is ready.
func (a *agent) start(ctx context.Context) error {
	if err := a.Start(); err != nil {
		return err
	}
	fmt.Println("   $ podman-swarm-agent --data-dir", a.DataDir, "--podman-url", a.Podman, "--api-addr",
		strings.TrimPrefix(a.URL(), "http://"), "--node-name", a.Node, strings.Join(a.Args, " "))
	return a.Ready(ctx)
}

// terminate sends SIGTERM, and wants the agent to end with 0 within ten seconds.
func (a *agent) terminate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := time.Now()
	code, err := a.Terminate(ctx)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("after SIGTERM the agent ended with %d", code)
	}
	fmt.Printf("   the agent ended with 0 after %.1f s\n", time.Since(began).Seconds())
	return nil
}

// psctl runs psctl against the agent, shows what it says, and returns that.
func (a *agent) psctl(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.psctlBin, args...)
	cmd.Env = append(os.Environ(), "PSCTL_SERVER="+a.URL())
	return show(cmd, "$ psctl "+strings.Join(args, " "))
}

// show runs a command, shows it as line and what it says, and returns that.
func show(cmd *exec.Cmd, line string) (string, error) {
	fmt.Println("  ", line)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		fmt.Print("   ", line)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", line, err)
	}
	return string(out), nil
}
