package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// Folder is the folder of this host's backups and increments.
func (p *Increments) Folder() Folder {
	return Folder{Dir: p.Backups.Dir, Keys: p.Backups.Keys, host: p}
}

// CheckAll is CheckIncrements, and folds what it has read: from each backup that a key opens the increments must come to the states that they say, and after each they must
// go on without a gap. Where it is this host's folder, they must also have all that was trimmed off its log, which is nowhere else. That a backup itself is damaged is not said here.
func (f Folder) CheckAll(ctx context.Context) (all []CheckedLog, err error) {
	if all, err = f.CheckIncrements(ctx); err != nil {
		return all, err
	}
	note := func(log, damage string) {
		name := IncrementsFolder + "/" + log
		i := slices.IndexFunc(all, func(c CheckedLog) bool { return c.Name == name })
		if i < 0 { // none of it is left
			all, i = append(all, CheckedLog{Name: name}), len(all)
		}
		// CheckIncrements has said it already, or a backup before.
		if !slices.ContainsFunc(all[i].Damage, func(said string) bool { return strings.HasSuffix(said, damage) }) {
			all[i].Damage = append(all[i].Damage, damage)
		}
	}
	files, err := f.backups().List()
	if err != nil {
		return all, err
	}
	for _, file := range files {
		about, err := f.backups().about(file.Name)
		if err != nil || about.Log == "" {
			continue
		}
		err = f.checkAfter(ctx, file.Name, about)
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		if _, gone := f.backups().Stat(file.Name); err == nil || gone != nil { // what it needed may have gone with it
			continue
		}
		note(about.Log, strings.TrimPrefix(err.Error(), f.Dir+string(filepath.Separator)))
	}
	if f.host == nil || f.host.Of() == "" {
		return all, nil
	}
	first := f.host.Source.First() // before the pieces are listed: what is trimmed meanwhile is in one
	pieces, err := listPieces(filepath.Join(f.Dir, IncrementsFolder, f.host.Of()))
	if err != nil || first == 1 {
		return all, err
	}
	for _, gap := range gaps(pieces, 1, first-1) {
		note(f.host.Of(), fmt.Sprintf("%s/%s: events %d to %d are in no piece", IncrementsFolder, f.host.Of(), gap.first, gap.last))
	}
	return all, nil
}

// checkAfter folds the increments after a backup, or, where no key opens it or them, finds out whether one is missing.
func (f Folder) checkAfter(ctx context.Context, name string, about About) error {
	if _, err := f.backups().Read(name); err != nil && !errors.Is(err, seal.ErrNoKey) {
		return nil // it is damaged, which is told of with the backups, or gone
	}
	_, err := f.Verify(ctx, name)
	if errors.Is(err, seal.ErrNoKey) {
		err = f.pieces(about.Log, false).after(about.Index, func(PieceFile) (bool, error) { return ctx.Err() == nil, nil })
	}
	if errors.Is(err, fs.ErrNotExist) || goneAfterPinned(name, about.Index, err) { // put together with others meanwhile
		return nil
	}
	return err
}
