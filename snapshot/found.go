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
	"time"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// ErrUnread says that what stands as state.json is nothing that can be restored from.
var ErrUnread = errors.New("it is neither a state.json that this agent wrote, nor a backup, nor of version 1")

// Found looks at what stands as state.json, and takes a copy of it into the folder of backups if somebody has put it there as to restore it: a
// backup, or, where fresh says that the log has nothing yet, a file of version 1, which is what an agent that had no log left. It is nil when
// there is no file, when it is this agent's own (mine), or when just that one, put there at just that time, has been restored from already.
// An error that is ErrUnread or another of ReadBackup says that it is of no use. state.json itself stays where it is: until it stands in the
// log that it was restored, the next start must find it again.
func (r *Restorer) Found(path string, mine, fresh bool) (*Source, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && mine {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrUnread
	}
	if err := settle(path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	from, err := source(data, r.Backups.Keys)
	if errors.Is(err, ErrNoBackup) {
		err = ErrUnread
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	from.Stood = info.ModTime().UTC()
	for _, x := range Restores(r.Ledger.View().State) {
		if x.Host == r.Backups.Node && x.Hash == from.Hash && x.Stood.Equal(from.Stood) {
			return nil, nil
		}
	}
	if from.Made.IsZero() {
		if err := r.older(&from, fresh); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	from.File, err = r.adopt(data, &from, cmp.Or(from.Made, info.ModTime()))
	from.brought = !seal.Sealed(data) && !r.Backups.For.None() // what is in the folder is sealed then
	return &from, err
}

// settle makes durable what somebody has put at a path, who was in no hurry: what is begun on account of it would find it in part after a power cut,
// or as of another time, and do it not at all, or twice.
func settle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncFolder(filepath.Dir(path)))
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
func (r *Restorer) Take(data []byte) (string, error) {
	from, err := source(data, r.Backups.Keys)
	if err != nil {
		return "", err
	}
	return r.adopt(data, &from, cmp.Or(from.Made, r.Backups.now()))
}

// adopt gives the name under which a backup stands in the folder, and puts it there, pinned, if it does not yet.
func (r *Restorer) adopt(data []byte, from *Source, made time.Time) (string, error) {
	b := r.Backups
	b.busy.Lock()
	defer b.busy.Unlock()
	all, err := b.List()
	if err != nil {
		return "", err
	}
	about := from.about
	about.Made = made
	sealed := seal.Sealed(data)
	for _, f := range all {
		if f.Bytes == int64(len(data)) {
			if there, err := os.ReadFile(filepath.Join(b.Dir, f.Name)); err == nil && bytes.Equal(there, data) {
				return f.Name, nil
			}
		}
		if f.Sealed { // the bytes of what is sealed twice are never the same
			x, err := b.beside(f.Name)
			if err == nil && x.About.Made.Equal(made) && x.About.Node == about.Node && x.About.Index == about.Index {
				return f.Name, nil
			}
		}
	}
	if err := makeFolders(b.Dir); err != nil {
		return "", err
	}
	f, err := b.free(made.UTC(), true, ending(isZstd(from.plain), sealed || !b.For.None()))
	if err != nil {
		return "", err
	}
	switch {
	case sealed:
		return f.Name, b.place(f.Name, about, data)
	case !b.For.None():
		_, err = b.putSealed(f.Name, about, data)
		return f.Name, err
	}
	return f.Name, b.put(f.Name, data)
}
