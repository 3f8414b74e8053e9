package trial

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Reseals has the data dir of an agent that does not run be sealed, be sealed with a new key, and made plain again.
type Reseals struct {
	Rnd *rand.Rand
	// Kill has it killed at random moments, until once it is not.
	Kill bool

	sealed               bool
	took                 time.Duration // that did end by itself
	Done, Killed, Inside int           // times it was asked for; killed; of these with something left of it that the next start had to end
}

// Next does it once, and has the agent's flags follow.
func (r *Reseals) Next(ctx context.Context, a *Agent) error {
	r.Done++
	args := []string{"reseal", "--data-dir", a.DataDir}
	switch {
	case !r.sealed:
		r.sealed = true
	case r.Rnd.IntN(3) == 0:
		args = append(args, "--new-key")
	default:
		r.sealed = false
		args = append(args, "--plain")
	}
	for try := 0; ; try++ {
		most := time.Hour
		if r.Kill && r.took > 0 && try < 3 && r.Rnd.IntN(4) > 0 {
			most = time.Duration(r.Rnd.Int64N(int64(r.took)))
		}
		begun := time.Now()
		ended, err := r.run(ctx, a.Bin, args, most)
		if err != nil {
			return err
		}
		if ended {
			r.took = time.Since(begun)
			a.Args = slices.DeleteFunc(a.Args, func(s string) bool { return s == "--encrypt-state" })
			if r.sealed {
				a.Args = append(a.Args, "--encrypt-state")
			}
			return nil
		}
		r.Killed++
		for _, left := range []string{"events.reseal", "state.json.reseal", "encryption.key.next"} {
			if _, err := os.Lstat(filepath.Join(a.DataDir, left)); err == nil {
				r.Inside++
				break
			}
		}
	}
}

// run runs it for so long at most, and reports whether it ended by itself.
func (r *Reseals) run(ctx context.Context, bin string, args []string, most time.Duration) (ended bool, err error) {
	cmd := exec.CommandContext(ctx, bin, args...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return false, err
	}
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case err = <-end:
	case <-timer.C:
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "finished") {
			return false, err
		}
		if err = <-end; err != nil && ctx.Err() == nil && !cmd.ProcessState.Exited() {
			return false, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("podman-swarm-agent %s: %w\n%s", strings.Join(args, " "), err, &said)
	}
	return true, nil
}
