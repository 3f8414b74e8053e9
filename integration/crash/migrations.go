package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// migrations have new agents take over what other agents left, and kill them in it.
type migrations struct {
	done, kills, before, between int // taken over; kills; of those, before the restore's first commit, and between two commits of it
	took                         time.Duration
}

// migrate has one new data dir be taken over, by an agent that is killed up to three times in it.
func (t *trying) migrate(ctx context.Context) (err error) {
	m := &t.migrations
	kind := trial.Migration(m.done % int(trial.Migrations))
	dir := filepath.Join(t.dir, fmt.Sprintf("new-%d", m.done))
	a := &trial.Agent{Bin: t.agent.Bin, DataDir: filepath.Join(dir, "data"), Podman: t.host.Socket(), Node: "new", Output: filepath.Join(dir, "agent.log"),
		Args: append(trial.RestoreArgs(), "--recovery-delay", "10ms")}
	if m.done/int(trial.Migrations)%2 == 1 {
		a.Args = append(a.Args, "--encrypt-state")
	}
	t.keys.Set(a, trial.Sealing(m.done/(2*int(trial.Migrations))%int(trial.ByPassphrase)))
	defer func() { err = errors.Join(err, a.Kill()) }()
	if err := kind.Lay(a.DataDir, filepath.Join(t.agent.DataDir, t.restoring.Backup(0))); err != nil {
		return err
	}
	begun := time.Now()
	for try := 0; m.took > 0 && try < 3 && t.rnd.IntN(5) > 0; try++ {
		if err := a.Start(); err != nil {
			return err
		}
		timer := time.NewTimer(time.Duration(t.rnd.Int64N(int64(m.took))))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		if a.Ended() {
			return fmt.Errorf("the agent ended by itself while it took over what others left; it wrote:\n%s", a.OutputTail())
		}
		m.kills++
		if err := a.Kill(); err != nil {
			return err
		}
		begun = time.Now()
	}
	if err := a.Up(ctx); err != nil {
		return err
	}
	report, err := kind.Look(ctx, a)
	t.report.Add(report)
	if err != nil {
		return err
	}
	if m.took == 0 {
		m.took = time.Since(begun)
	}
	said, err := os.ReadFile(a.Output)
	if err != nil {
		return err
	}
	m.done++
	m.between += strings.Count(string(said), goingOn)
	m.before += max(0, strings.Count(string(said), "it is restored as soon as")-1)
	if err := a.Kill(); err != nil || !report.Clean() {
		return err
	}
	return os.RemoveAll(dir)
}

// goingOn is what an agent says that goes on with a restore of which some commits are there, and not the last.
const goingOn = "going on with a restore that was interrupted"
