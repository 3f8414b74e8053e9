package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// hearAll waits until this host has what the others that it hears have, for ten seconds at most, and names those whose
// it has, and all others: those whose it has not, and those that it does not hear.
func (a *agent) hearAll(ctx context.Context) (heard, unheard []string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		coming := false
		st, changed := a.cluster.sync.Status()
		heard, unheard = nil, a.neverHeard(st.Peers)
		for _, p := range st.Peers {
			switch {
			case a.welcome(p.Host) != nil: // it was removed
			case p.Alive && !p.Unknown:
				heard = append(heard, p.Host)
			default:
				unheard = append(unheard, p.Host)
				coming = coming || p.Alive
			}
		}
		if !coming {
			return heard, unheard
		}
		select {
		case <-ctx.Done():
			return heard, unheard
		case <-changed:
		}
	}
}

// find looks at what stands as state.json: one that this agent wrote last is as it should be, a backup is a request to restore it, a file of
// version 1 is taken over where the log is new, and anything else is set aside. What cannot be told now, as on a full disk, is looked at again by
// restoreFound. With a new log in the stead of what is of no use that is refused: nothing is started empty over damage, or over what is sealed and cannot be opened here, which stays where it is for a start with the key.
func (a *agent) find(ctx context.Context) error {
	joins := len(a.c.Join) > 0
	if _, err := os.Stat(filepath.Join(a.c.DataDir, "peers")); err == nil && a.c.ClusterAddr != "" {
		joins = true // it has lost its log, and others have what was in it
	}
	foreign, err := a.view.Foreign()
	if err != nil {
		return err
	}
	found, err := a.restorer.Found(a.view.Path, !foreign, a.empty)
	if errors.Is(err, seal.ErrNoKey) && a.empty && !joins { // it is what was asked for
		return fmt.Errorf("%w. The log is empty, and nothing is begun in its place: start with --backup-identity-file FILE, or put there what age -d makes of it where the key is; "+
			"or, to begin with nothing, move it elsewhere", err)
	}
	if errors.Is(err, snapshot.ErrNewer) && a.empty && !joins { // nor is that damage, in whose place an older backup would be put
		return fmt.Errorf("%w. The log is empty, nothing is begun in its place, and it stays as it is: start the newer agent; or, to begin with nothing, move it elsewhere", err)
	}
	if errors.Is(err, snapshot.ErrUnread) && a.empty && !joins {
		if err := a.fallBack(ctx, err); err != nil {
			return err
		}
		found, err = a.restorer.Found(a.view.Path, false, true)
	}
	useless := errors.Is(err, snapshot.ErrUnread) || errors.Is(err, seal.ErrNoKey)
	switch {
	case err != nil && !useless && !(a.empty && joins): // a full disk, say: what stands there may be what somebody wants restored
		a.log.Error("what stands as state.json cannot be taken among the backups now; it stays where it is, and is tried again", "err", err)
		a.found = true
		return nil
	case err != nil:
		a.log.Error("what stands as state.json cannot be restored from, and changes nothing", "err", err)
	case found != nil && a.empty && joins:
		a.log.Warn("a backup stands as state.json, and this host is to join others: it is set aside, since an old backup must not change a living cluster unasked",
			"to_restore_it", "psctl restore "+found.File)
	case found != nil:
		a.log.Warn("a backup stands as state.json: it is restored as soon as the other hosts have been heard", "backup", found.File)
		for _, x := range found.Refused {
			a.log.Error("an object of state.json cannot be declared as it is; it is kept and listed", "key", x.Key, "why", x.Why)
		}
		a.found = true
		return nil
	case a.empty && !joins:
		left, err := fs.Glob(os.DirFS(a.c.DataDir), filepath.Base(a.view.Path)+".set-aside-*") // not filepath.Glob: the data dir's own name may have brackets
		if err != nil {
			return fmt.Errorf("what was set aside of state.json: %w", err)
		}
		if len(left) > 0 {
			return fmt.Errorf("the log is empty, and %s is what stood as state.json: to have its like, put a backup in its place (cp BACKUP %s); "+
				"to begin with nothing, move it elsewhere", filepath.Join(a.c.DataDir, left[len(left)-1]), a.view.Path)
		}
	}
	close(a.restored)
	return a.inspect()
}

// fallBack puts the newest backup that can be read, with the increments after it, where a state.json stands that cannot.
func (a *agent) fallBack(ctx context.Context, why error) error {
	newest, err := a.restorer.Newest(ctx)
	if errors.Is(err, seal.ErrNoKey) {
		return fmt.Errorf("%w. The log is empty, and the newest backup, %w: start with --backup-identity-file FILE, or, where the key is, "+
			"podman-swarm-agent backup extract %s --identity FILE -o NEW makes one that is to be moved to %s; or, to begin with nothing, move what stands there elsewhere",
			why, err, a.backups.Dir, a.view.Path)
	}
	if err != nil {
		return err
	}
	if newest.File == "" {
		if err := a.inspect(); err != nil {
			return err
		}
		return fmt.Errorf("%w. It has been set aside; the log is empty, there is no backup in %s to go back to, and nothing is begun in its place. "+
			"Put a backup there (cp BACKUP %s), or, to begin with nothing, move what was set aside elsewhere", why, a.backups.Dir, a.view.Path)
	}
	a.log.Error("state.json cannot be read, and the log is empty: going back to the newest backup", "err", why, "backup", newest.File, "last_event", newest.Last)
	if newest.Lacks != nil {
		a.log.Error("what was changed after that backup is lacking: its increments cannot be read", "err", newest.Lacks,
			"look", "podman-swarm-agent backup verify "+a.backups.Dir)
	}
	aside, err := a.view.Replace(newest.Data)
	if err == nil {
		a.log.Warn("what stood as state.json has been set aside", "file", aside)
	}
	return err
}

// inspect sets state.json aside unless this agent wrote it, and says so.
func (a *agent) inspect() error {
	aside, err := a.setAside()
	if err == nil && aside != "" {
		a.log.Warn("state.json was not written by this agent: it has been set aside and changes nothing; the log says what the state is",
			"file", aside, "to_apply_it", snapshot.ToApply(aside))
	}
	return err
}

// setAside sets state.json aside unless this agent wrote it. What is to be taken over is not there any more then.
func (a *agent) setAside() (aside string, err error) {
	if aside, err = a.view.Inspect(); err != nil {
		return aside, err
	}
	if err = os.Remove(a.restorer.Stood); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return aside, err
}

// tryAgain is how often this host looks for a restore that it is to go on with.
const tryAgain = 10 * time.Second

// restore does what find has found, and goes on with each restore in which this host was interrupted: before its start, or since, by a full disk.
func (a *agent) restore(ctx context.Context) error {
	if a.settle(ctx) != nil {
		return nil
	}
	for wait, said := tryAgain, ""; ; {
		err := a.goOn(ctx)
		if ctx.Err() != nil {
			return nil
		}
		why := ""
		if err != nil {
			why = err.Error()
		}
		a.unrestored.Store(why)
		if why != "" && why != said {
			a.log.Error("a restore is unfinished; trying again", "err", err, "otherwise", "psctl restores lists it, psctl undo takes it back")
		}
		said = why
		if wait = min(2*wait, 10*time.Minute); err == nil || !a.found || a.events.Writable() != nil {
			wait = tryAgain // else each try makes a backup of what is there, for nothing
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// goOn restores what is left to restore, where the log can be written: else there would be one more backup of what was before each time, for nothing.
func (a *agent) goOn(ctx context.Context) error {
	if (a.found || len(a.restorer.Unfinished()) > 0) && a.events.Writable() != nil {
		return errors.New("the log cannot be written; psctl status says why")
	}
	err := a.restorer.Resume(ctx)
	if a.found {
		err = errors.Join(err, a.restoreFound(ctx))
	}
	return err
}

// unfinished is what a person ought to see of what this host is to restore, and cannot.
func (a *agent) unfinished() []api.Problem {
	why, _ := a.unrestored.Load().(string)
	if why == "" {
		return nil
	}
	return []api.Problem{{What: "a restore of this host is unfinished", Why: why,
		Do: "It goes on by itself once it can. psctl restores lists it, psctl undo takes it back, and another restore of the same takes its place"}}
}

// restoreFound restores what stands as state.json, unless the log has it already.
func (a *agent) restoreFound(ctx context.Context) error {
	found, err := a.restorer.Found(a.view.Path, false, a.empty)
	if err != nil {
		return err
	}
	if found != nil {
		if _, err := a.restorer.Restore(ctx, projection.By{Actor: "agent", Cause: "it stood as state.json"}, *found, nil); err != nil {
			return err
		}
	}
	aside, err := a.setAside()
	if err != nil {
		return err
	}
	a.log.Info("what stood as state.json has been restored, and is set aside", "file", aside)
	a.found = false
	close(a.restored)
	return nil
}

// keepView keeps state.json, once nothing stands there that is still to be restored.
func (a *agent) keepView(ctx context.Context) error {
	select {
	case <-a.restored:
		return a.view.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}
