package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
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
	if from.Made.IsZero() && !fresh {
		return nil, fmt.Errorf("%s: %w: it is of version 1, and what it has is older than the log", path, ErrUnread)
	}
	from.File, err = r.adopt(data, &from, cmp.Or(from.Made, info.ModTime()))
	from.brought = !seal.Sealed(data) && !r.Backups.For.None() // what is in the folder is sealed then
	return &from, err
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
	if err := os.MkdirAll(b.Dir, 0o750); err != nil {
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
