package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Drill finds out, before anybody needs it, whether the newest backup can be restored from: at the start, after each that is made, and once
// in Every. It changes nothing but what it says. Its fields are its configuration.
type Drill struct {
	Backups *Backups
	Every   time.Duration // zero: a day
	Log     *slog.Logger

	mu   sync.Mutex // for a moment
	said Drilled
}

// Drilled is what came of the drills since the agent's start.
type Drilled struct {
	File   string    // the newest backup that was found whole; "": none yet
	At     time.Time // when it was
	Took   time.Duration
	Failed error // why the last drill found that the newest is of no use; nil: it is, or there is none
	Count  uint64
	Errors uint64
}

// Said is what came of the drills since the agent's start. What an earlier life of the agent found out is not kept: it is found out anew at
// each start, which tells what the disk holds now.
func (d *Drill) Said() Drilled {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said
}

// Run drills until ctx ends. A drill that fails is a warning, and the next one may find a better backup.
func (d *Drill) Run(ctx context.Context) error {
	every := d.Every
	if every == 0 {
		every = 24 * time.Hour
	}
	for {
		made := d.Backups.Changed() // before it is looked at
		if f, err := d.Once(ctx); err != nil && ctx.Err() == nil {
			d.Log.Warn("the newest backup cannot be restored from", "file", f.Name, "err", err, "to_do", "psctl backup create, then look at the disk")
		} else if f.Name != "" {
			d.Log.Info("the newest backup was read and is whole", "file", f.Name)
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-made:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Once reads the newest backup from the disk, decodes it, folds it and the increments around it into a state of its own and compares that with what
// each says of itself.
// Files of version 1 are passed over: they are no backups of this log. Without any other it does nothing.
func (d *Drill) Once(ctx context.Context) (BackupFile, error) {
	begun := time.Now()
	f, err := d.Backups.standing(func(all []BackupFile) (BackupFile, error) { return d.read(ctx, all) })
	if ctx.Err() != nil || err == nil && f.Name == "" {
		return f, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said.Count++
	if d.said.Failed = err; err != nil {
		d.said.Errors++
		return f, err
	}
	d.said.File, d.said.At, d.said.Took = f.Name, d.Backups.now(), time.Since(begun)
	return f, nil
}

// standing has the backups that there are read. If one has gone before they were, what went wrong may be that it was pruned: then it is
// done again with those that there are.
func (b *Backups) standing(read func([]BackupFile) (BackupFile, error)) (BackupFile, error) {
	for {
		all, err := b.List()
		if err != nil || len(all) == 0 {
			return BackupFile{}, err
		}
		f, err := read(all)
		if err == nil || !slices.ContainsFunc(all, func(f BackupFile) bool {
			_, err := os.Stat(filepath.Join(b.Dir, f.Name))
			return errors.Is(err, fs.ErrNotExist)
		}) {
			return f, err
		}
	}
}

// read reads the newest of the backups and the increments after it; and folds those between the one before and it, which must come to the same.
func (d *Drill) read(ctx context.Context, all []BackupFile) (f BackupFile, err error) {
	for i, f := range slices.Backward(all) {
		use, err := d.readOne(ctx, f, all[:i])
		if use || err != nil {
			return f, err
		}
	}
	return f, nil
}

// readOne reads a backup, and reports whether it is of use as one. From then on no rule removes it, until a newer is found whole: the trimming of the
// log goes by what was found. Nor does one while it is read, however long that takes and however many are made meanwhile.
func (d *Drill) readOne(ctx context.Context, f BackupFile, older []BackupFile) (use bool, err error) {
	release, err := d.Backups.reserve(beingRead, f.Name)
	if err != nil {
		return false, err
	}
	defer release()
	if err := forget(filepath.Join(d.Backups.Dir, f.Name)); err != nil {
		return false, err
	}
	found, err := d.Backups.Check(f.Name)
	if err == nil && found.Original != nil {
		return false, nil
	}
	if err == nil {
		err = d.fold(ctx, found, f.Name, older)
	}
	if err == nil {
		d.Backups.hold(verified, f.Name)
	}
	return true, err
}

// fold folds the newest backup, and the increments after it and between one before and it.
func (d *Drill) fold(ctx context.Context, found Checked, name string, older []BackupFile) error {
	folder := Folder{Dir: d.Backups.Dir, Keys: d.Backups.Keys}
	if !found.Opened { // no more can be found out here than that the bytes, of the increments too, are those that were written
		if err := folder.pieces(found.About.Log, false).check(ctx, found.About.Index); err != nil {
			return fmt.Errorf("the increments after %s: %w", name, err)
		}
		return ctx.Err()
	}
	newest, err := d.Backups.Read(name)
	if err != nil || newest.Log == "" {
		return err
	}
	if _, err := folder.Verify(ctx, name); err != nil {
		return fmt.Errorf("the increments after %s: %w", name, err)
	}
	for _, f := range slices.Backward(older) {
		about, err := d.Backups.about(f.Name)
		if err != nil || about.Log != newest.Log || about.Index >= newest.Index || f.Pinned {
			continue // it says nothing of the newest, or what was in between may have gone
		}
		s, _, err := folder.At(ctx, f.Name, Moment{Index: newest.Index})
		switch {
		case errors.Is(err, ErrNoMoment): // the increments have not come so far yet
		case err != nil:
			return fmt.Errorf("from %s to %s by the increments: %w", f.Name, name, err)
		case s.Digest() != newest.Digest:
			return fmt.Errorf("from %s by the increments comes another state than %s has", f.Name, name)
		}
		break
	}
	return ctx.Err()
}

// forget drops what memory holds of a file, so that what is read next is what the disk has: what was just written would be read from memory.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop %s from memory: %w", path, err)
	}
	return nil
}
