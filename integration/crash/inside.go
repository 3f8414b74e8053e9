package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// inside counts, by what a kill has left on the disk, what it fell into.
type inside struct{ backup, prune, increment, trim, fold, view int }

// look looks at a data dir whose agent has just been killed.
func (i *inside) look(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	backups := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "state-backup-2") && !strings.Contains(e.Name(), "-pinned") {
			backups++
		}
	}
	if backups > trial.KeepLast {
		i.prune++
	}
	if there(dir, "state-backup.tmp") {
		i.backup++
	}
	if there(dir, "state.json.tmp") || there(dir, "events/state.sum.tmp") {
		i.view++
	}
	pieces, err := filepath.Glob(filepath.Join(dir, "increments", "*", "piece.tmp"))
	if len(pieces) > 0 {
		i.increment++
	}
	if there(dir, "events/fold.tmp") {
		i.fold++
	}
	trims, terr := trimming(dir)
	if trims {
		i.trim++
	}
	if err == nil {
		err = terr
	}
	return err
}

func there(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// trimming reports whether a trim of the log is under way, or was broken off: there is what it writes before it says where the log begins, or what it then
// removes.
func trimming(dir string) (bool, error) {
	if there(dir, "events/floor.tmp") {
		return true, nil
	}
	entries, err := os.ReadDir(filepath.Join(dir, "events"))
	if err != nil {
		return false, err
	}
	first, floors, newest := uint64(0), 0, uint64(0)
	for _, e := range entries {
		name := e.Name()
		n, err := strconv.ParseUint(name[:min(20, len(name))], 10, 64)
		switch {
		case err != nil:
		case name[20:] == ".floor":
			floors++
			newest = max(newest, n)
		case name[20:] == "" && first == 0:
			first = n
		}
	}
	return floors > 1 || first < newest, nil
}

// aim waits for the beginning of something that is seldom under way, until ctx ends at most, and then for a moment within it or soon after.
func (t *trying) aim(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for what := t.rnd.IntN(3); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		begun, within := false, 60*time.Millisecond
		switch what {
		case 0:
			begun, _ = trimming(t.agent.DataDir) // what cannot be read now can be later
		case 1:
			begun = there(t.agent.DataDir, "state-backup.tmp")
		case 2: // what is removed after it is
			begun, within = there(t.agent.DataDir, "state-backup.tmp"), 300*time.Millisecond
		}
		if begun {
			timer := time.NewTimer(time.Duration(t.rnd.Int64N(int64(within))))
			defer timer.Stop()
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			return
		}
	}
}
