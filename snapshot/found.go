package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// ErrUnread says that what stands as state.json is nothing that can be restored from: by what is in it, now and ever.
var ErrUnread = errors.New("it cannot be restored from")

// errForeign is ErrUnread of what is nothing known.
var errForeign = fmt.Errorf("%w: it is neither a state.json that this agent wrote, nor a backup, nor of version 1", ErrUnread)

// Found looks at what stands as state.json, and takes a copy of it into the folder of backups if somebody has put it there as to restore it: a
// backup, or, where fresh says that the log has nothing yet, a file of version 1, which is what an agent that had no log left. It is nil when
// there is no file, when it is this agent's own (mine), or when just that one, put there at just that time, has been restored from already.
// An error that wraps ErrUnread says that it is of no use, seal.ErrNoKey that no key here opens it; any other, as of a full disk, says nothing of it, and
// Found may do better later. state.json itself stays where it is: until it stands in the log that it was restored, the next start must find it again.
func (r *Restorer) Found(path string, mine, fresh bool) (*Source, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && mine {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errForeign
	}
	if err := settle(path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, ofContent(err)
	}
	from, err := source(data, r.Backups.Keys)
	switch {
	case errors.Is(err, ErrNoBackup):
		return nil, fmt.Errorf("%s: %w: %w", path, errForeign, err)
	case errors.Is(err, seal.ErrNoKey):
		return nil, fmt.Errorf("%s: %w", path, err)
	case err != nil: // it is damaged, or of a later form
		return nil, fmt.Errorf("%s: %w: %w", path, ErrUnread, err)
	}
	from.Stood = info.ModTime().UTC()
	for _, x := range Restores(r.Ledger.View().State) {
		if x.Host == r.Backups.Node && x.Hash == from.Hash && x.Stood.Equal(from.Stood) {
			r.Log.Warn("what stands as state.json has been restored already, as it was put there then: touch it, or copy it without its old time, to have it restored again",
				"restore", x.ID, "stands_since", from.Stood)
			return nil, nil
		}
	}
	if from.Made.IsZero() {
		if err := r.older(&from, fresh); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if from.File, _, err = r.adopt(data, &from, cmp.Or(from.Made, info.ModTime())); err != nil {
		return nil, fmt.Errorf("put %s among the backups: %w", path, err)
	}
	from.brought = !seal.Sealed(data) && !r.Backups.For.None() // what is in the folder is sealed then
	return &from, nil
}

// ofContent has an error of reading state.json be ErrUnread where the disk does not give its bytes back, which it will not do tomorrow either.
func ofContent(err error) error {
	if errors.Is(err, syscall.EIO) {
		return fmt.Errorf("%w: %w", ErrUnread, err)
	}
	return err
}

// settle makes durable what somebody has put at a path, who was in no hurry: what is begun on account of it would find it in part after a power cut,
// or as of another time, and do it not at all, or twice.
func settle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), SyncFolder(filepath.Dir(path)))
}

// older refuses a file of version 1 where the log has something, unless it stood there when the log had nothing: this host was stopped since, before it
// had taken it over, and has recorded something else meanwhile. For that it is remembered, by when it was put there.
func (r *Restorer) older(from *Source, fresh bool) error {
	stood := from.Stood.Format(time.RFC3339Nano) + "\n"
	if fresh {
		return WriteFile(r.Stood, r.Stood+".tmp", 0o640, func(w io.Writer) error { _, err := io.WriteString(w, stood); return err })
	}
	if was, err := os.ReadFile(r.Stood); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if string(was) != stood {
		return fmt.Errorf("%w: it is of version 1, and what it has is older than the log", ErrUnread)
	}
	return nil
}

// Take puts a backup, or a file of version 1, that somebody brings into the folder of backups, pinned, unless it is there, and gives its name there.
// What cannot be restored from is not taken. Where backups are sealed it is sealed, and to be restored from it is to be brought along again.
func (r *Restorer) Take(data []byte) (name string, put bool, err error) {
	from, err := source(data, r.Backups.Keys)
	if err != nil {
		return "", false, err
	}
	return r.adopt(data, &from, cmp.Or(from.Made, r.Backups.now()))
}

// adopt gives the name under which a backup stands in the folder, and puts it there, pinned, if it does not yet.
func (r *Restorer) adopt(data []byte, from *Source, made time.Time) (name string, put bool, err error) {
	b := r.Backups
	b.busy.Lock()
	defer b.busy.Unlock()
	all, err := b.List()
	if err != nil {
		return "", false, err
	}
	about := from.about
	about.Made = made
	sealed := seal.Sealed(data)
	for _, f := range all {
		if f.Bytes == int64(len(data)) {
			if there, err := os.ReadFile(filepath.Join(b.Dir, f.Name)); err == nil && bytes.Equal(there, data) {
				return f.Name, false, nil
			}
		}
		if f.Sealed { // the bytes of what is sealed twice are never the same
			x, err := b.beside(f.Name)
			if err == nil && x.About.Made.Equal(made) && x.About.Node == about.Node && x.About.Index == about.Index {
				return f.Name, false, nil
			}
		}
	}
	if err := b.folder(); err != nil {
		return "", false, err
	}
	f, err := b.free(made.UTC(), true, ending(isZstd(from.plain), sealed || !b.For.None()))
	if err != nil {
		return "", false, err
	}
	switch {
	case sealed:
		return f.Name, true, b.place(f.Name, about, data)
	case !b.For.None():
		_, err = b.putSealed(f.Name, about, data)
		return f.Name, true, err
	}
	return f.Name, true, b.put(f.Name, data)
}
