package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// inside counts what kills fell into: by what the agent said to have begun and not to have ended, and, of what it does not tell of, by what is left on the disk.
type inside struct {
	under      [trial.Doings]int
	sealing    [trial.Sealings]int // of these, while a backup or an increment was made that was to be sealed so
	fold, view int

	left map[string]os.FileInfo // by kills before
}

// count counts one kill of the agent that was watched.
func (i *inside) count(w *trial.Watch, s trial.Sealing) error {
	if err := w.Read(); err != nil {
		return err
	}
	for d := range trial.Doings {
		if w.UnderWay(d) {
			i.under[d]++
		}
	}
	if w.UnderWay(trial.BackingUp) || w.UnderWay(trial.Incrementing) {
		i.sealing[s]++
	}
	return nil
}

// look looks at the data dir of an agent that has been killed.
func (i *inside) look(dir string) {
	if i.fresh(filepath.Join(dir, "state.json.tmp")) || i.fresh(filepath.Join(dir, "events/state.sum.tmp")) {
		i.view++
	}
	if i.fresh(filepath.Join(dir, "events/fold.tmp")) {
		i.fold++
	}
}

// fresh reports whether there is a file, and not since a kill before.
func (i *inside) fresh(name string) bool {
	info, err := os.Lstat(name)
	if err != nil {
		return false
	}
	was := i.left[name]
	if i.left == nil {
		i.left = map[string]os.FileInfo{}
	}
	i.left[name] = info
	return was == nil || !os.SameFile(was, info) || !was.ModTime().Equal(info.ModTime())
}

// seldom is what kills fell into least.
func (i *inside) seldom() (least trial.Doing) {
	for d := range trial.Doings {
		if i.under[d] < i.under[least] {
			least = d
		}
	}
	return least
}

// aimed is what a kill is to fall into: mostly what few did.
func (t *trying) aimed() trial.Doing {
	if t.rnd.IntN(3) == 0 {
		return trial.Doing(t.rnd.IntN(int(trial.Doings)))
	}
	return t.inside.seldom()
}

// aim waits until the agent says that it has begun something, or until ctx ends, and then for a moment within it.
func (t *trying) aim(ctx context.Context, what trial.Doing) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !t.watch.UnderWay(what) {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := t.watch.Read(); err != nil {
			return err
		}
	}
	took := t.watch.Took(what, 5*time.Millisecond)
	timer := time.NewTimer(time.Duration(t.rnd.Int64N(int64(max(took, time.Millisecond)))))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return nil
}
