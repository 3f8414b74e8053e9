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
	from, err := source(data)
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
	from.File, err = r.Backups.adopt(data, cmp.Or(from.Made, info.ModTime()))
	return &from, err
}

// Take puts a backup, or a file of version 1, that somebody brings into the folder of backups, pinned, unless it is there, and gives its name there.
// What cannot be restored from is not taken.
func (r *Restorer) Take(data []byte) (string, error) {
	from, err := source(data)
	if err != nil {
		return "", err
	}
	return r.Backups.adopt(data, cmp.Or(from.Made, r.Backups.now()))
}

// adopt gives the name under which a backup stands in the folder, and puts it there, pinned, if it does not yet.
func (b *Backups) adopt(data []byte, made time.Time) (string, error) {
	b.busy.Lock()
	defer b.busy.Unlock()
	all, err := b.List()
	if err != nil {
		return "", err
	}
	for _, f := range all {
		if f.Bytes != int64(len(data)) {
			continue
		}
		if there, err := os.ReadFile(filepath.Join(b.Dir, f.Name)); err == nil && bytes.Equal(there, data) {
			return f.Name, nil
		}
	}
	if err := os.MkdirAll(b.Dir, 0o750); err != nil {
		return "", err
	}
	f, err := b.free(made.UTC(), true, isZstd(data))
	if err != nil {
		return "", err
	}
	return f.Name, b.put(f.Name, data)
}
