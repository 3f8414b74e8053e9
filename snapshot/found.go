package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Found looks whether somebody has put a backup where state.json stands, as to restore it, and takes a copy of it into
// the folder of backups unless it is there. It is nil when there is none, or when just that one, put there at just that time, has been
// restored from already. An error says that it is a backup and of no use. state.json itself stays where it is: until it stands in the log that
// it was restored, the next start must find it again.
func (r *Restorer) Found(path string) (*Source, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b, err := ReadBackup(data)
	if errors.Is(err, ErrNoBackup) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s is a backup, and cannot be restored from: %w", path, err)
	}
	from := &Source{Hash: hashOf(data), Want: b.State.Declarations(), Stood: info.ModTime().UTC()}
	for _, x := range Restores(r.Ledger.View().State) {
		if x.Host == r.Backups.Node && x.Hash == from.Hash && x.Stood.Equal(from.Stood) {
			return nil, nil
		}
	}
	from.File, err = r.Backups.adopt(data, b)
	return from, err
}

// adopt gives the name under which a backup stands in the folder, and puts it there, pinned, if it does not yet.
func (b *Backups) adopt(data []byte, backup *Backup) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
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
	f, err := b.free(backup.Made.UTC(), true)
	if err != nil {
		return "", err
	}
	return f.Name, b.put(f.Name, data)
}
