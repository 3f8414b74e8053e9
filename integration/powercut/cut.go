package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// cut is one agent whose disk loses its power under load, again and again, on one kind of file system.
type cut struct {
	kind
	bin, dir string // dir has the file system's file and the place where it is mounted
	rounds   int
	seed     uint64

	agent     *trial.Agent
	load      *trial.Load
	witnesses trial.Witnesses
	report    trial.Report
	round     int
	mounted   bool
}

const (
	cutClients    = 8
	cutContainers = 2
	cutSize       = 2 << 30 // bytes of the file system
)

func (c *cut) file() string  { return filepath.Join(c.dir, "disk") }
func (c *cut) place() string { return filepath.Join(c.dir, "mnt") }

// try makes the file system and goes through the rounds.
func (c *cut) try(ctx context.Context, host *podmanhost.Host) (err error) {
	began := time.Now()
	if err := os.MkdirAll(c.place(), 0o750); err != nil {
		return err
	}
	if err := sparse(c.file(), cutSize); err != nil {
		return err
	}
	if err := c.make(ctx, c.file()); err != nil {
		return err
	}
	if err := c.mount(ctx, c.file(), c.place()); err != nil {
		return err
	}
	c.mounted = true
	c.agent = &trial.Agent{
		Bin: filepath.Join(c.bin, "podman-swarm-agent"), DataDir: filepath.Join(c.place(), "data"), Podman: host.Socket(),
		Node: "cut-" + c.name[:3] + fmt.Sprint(len(c.name)), Args: []string{"--recovery-delay", "50ms"},
		Output: filepath.Join(c.dir, "agent.log"),
	}
	defer func() {
		err = errors.Join(err, c.agent.Kill())
		if c.mounted {
			err = errors.Join(err, unmount(c.place()))
		}
	}()
	c.load = trial.NewLoad(cutClients, 15, 4*time.Millisecond, c.seed)
	c.witnesses = trial.Witnesses{Host: host, Name: "witness-" + c.agent.Node}
	broken := "" // what was acknowledged before an error ended the trial has not been looked for
	if err = c.all(ctx); err != nil {
		broken = "  NOT FINISHED"
	}
	fmt.Printf("%s: cuts %d  acknowledged %d  lost %d  partial %d  wrong %d  bounced %d  seed %d  seconds %.0f%s\n", c.name, c.round,
		c.load.Acknowledged(), len(c.report.Lost), len(c.report.Partial), len(c.report.Wrong), len(c.witnesses.Bounced),
		c.seed, time.Since(began).Seconds(), broken)
	return err
}

func (c *cut) all(ctx context.Context) error {
	rnd := rand.New(rand.NewPCG(c.seed, 2))
	if err := c.agent.Up(ctx); err != nil {
		return err
	}
	if err := c.witnesses.Begin(ctx, c.agent.URL(), cutContainers); err != nil {
		return err
	}
	for c.round < c.rounds {
		c.round++
		if err := c.once(ctx, time.Duration(1+rnd.Int64N(int64(700*time.Millisecond)))); err != nil {
			return fmt.Errorf("%s, cut %d: %w", c.name, c.round, err)
		}
		if c.round%10 == 0 {
			fmt.Printf("  %s, cut %d: acknowledged %d, lost %d, partial %d, wrong %d, bounced %d\n", c.name, c.round, c.load.Acknowledged(),
				len(c.report.Lost), len(c.report.Partial), len(c.report.Wrong), len(c.witnesses.Bounced))
		}
	}
	if _, err := c.agent.Terminate(ctx); err != nil {
		return err
	}
	return trial.Verify(ctx, c.agent.Bin, c.agent.DataDir)
}

// once puts load on the agent for so long, cuts the power, and looks at what the disk holds.
func (c *cut) once(ctx context.Context, long time.Duration) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.load.Run(ctx, c.agent.URL())
	}()
	at := time.NewTimer(long)
	defer at.Stop()
	select {
	case <-ctx.Done():
	case <-at.C:
	}
	if c.agent.Ended() {
		return fmt.Errorf("the agent ended by itself; it wrote:\n%s", c.agent.OutputTail())
	}
	c.load.Freeze() // an fsync under way while the disk goes may return without having reached it
	if err := errors.Join(shutdown(c.place()), c.agent.Kill()); err != nil {
		return err
	}
	<-done
	if err := unmount(c.place()); err != nil {
		return err
	}
	c.mounted = false
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.mount(ctx, c.file(), c.place()); err != nil {
		return err
	}
	c.mounted = true
	if err := c.agent.Up(ctx); err != nil {
		return err
	}
	// state.json is the old one or the new one, whole: the agent sets aside any other.
	if aside, err := filepath.Glob(filepath.Join(c.agent.DataDir, "state.json.set-aside-*")); err != nil || len(aside) > 0 {
		return errors.Join(err, fmt.Errorf("the agent does not know its own state.json: %v", aside))
	}
	seen, err := trial.Listed(ctx, c.agent.URL())
	if err != nil {
		return err
	}
	c.report.Add(c.load.Check(seen))
	return c.witnesses.Look(ctx)
}
