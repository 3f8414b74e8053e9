package snapshot

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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

// Once reads the newest backup from the disk, decodes it, folds it into a state of its own and compares that with what it says of itself.
// Without any backup it does nothing.
func (d *Drill) Once(ctx context.Context) (BackupFile, error) {
	begun := time.Now()
	all, err := d.Backups.List()
	if err == nil && len(all) == 0 || ctx.Err() != nil {
		return BackupFile{}, ctx.Err()
	}
	var f BackupFile
	if err == nil {
		f = all[len(all)-1]
		err = d.read(f.Name)
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

func (d *Drill) read(name string) error {
	if err := forget(filepath.Join(d.Backups.Dir, name)); err != nil {
		return err
	}
	_, err := d.Backups.Read(name)
	return err
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
