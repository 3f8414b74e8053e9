package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// beside reads what stands beside a sealed backup. The error wraps fs.ErrNotExist where nothing does.
func (b *Backups) beside(name string) (beside[About], error) {
	return readBeside[About](filepath.Join(b.Dir, name))
}

// about is what a backup in the folder says of itself: of a sealed one what stands beside it, or, where nothing does, what is in it, if a key here
// opens it. The error wraps fs.ErrNotExist only where the backup is not there, so that what is not known is not taken for what is gone.
func (b *Backups) about(name string) (About, error) {
	f, err := b.Stat(name)
	if err != nil {
		return About{}, err
	}
	path := filepath.Join(b.Dir, name)
	if !f.Sealed {
		return ReadAbout(path)
	}
	x, err := b.beside(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return x.About, err
	}
	is, err := b.Read(name)
	if errors.Is(err, seal.ErrNoKey) {
		return About{}, fmt.Errorf("%w; nor is there a %s, which would say what it is of", err, name+besideEnd)
	}
	if err != nil {
		return About{}, err
	}
	return is.About, nil
}

// createSealed makes a sealed backup of what write writes. Before that is sealed, which is the last time that it can be looked at without
// a key, it is read as a restore would, and must be of the state with that digest.
func (b *Backups) createSealed(name, digest string, write func(io.Writer) error) (int64, error) {
	var plain bytes.Buffer
	if err := write(&plain); err != nil {
		return 0, err
	}
	is, err := ReadBackup(plain.Bytes())
	if err != nil {
		return 0, fmt.Errorf("what was to be sealed cannot be read: %w", err)
	}
	if is.Digest != digest {
		return 0, errors.New("what was to be sealed is of another state")
	}
	return b.putSealed(name, is.About, plain.Bytes())
}

// putSealed seals a backup and puts it into the folder, and returns its size.
func (b *Backups) putSealed(name string, about About, plain []byte) (int64, error) {
	data, err := b.For.Seal(plain)
	if err != nil {
		return 0, err
	}
	return int64(len(data)), b.place(name, about, data)
}

// place puts what is sealed already into the folder.
func (b *Backups) place(name string, about About, sealed []byte) error {
	about.Digest = "" // see beside
	return place(filepath.Join(b.Dir, name), filepath.Join(b.Dir, tmpBackup), about, sealed)
}

// sweep removes what stands beside backups that are not there any more.
func (b *Backups) sweep() error {
	return sweep(b.Dir, func(name string) bool { f, ok := parseBackupName(name); return ok && f.Sealed })
}

// Checked is what Check found out of a backup that is whole.
type Checked struct {
	About About // of one that was not opened without the digest
	// Opened says that all of it was read. If not, it is sealed, no key here opens it, and its bytes are those that were written.
	Opened bool
	// Original is set where it is a file of version 1; then About says nothing. Of one that was not opened nothing is known of what it has.
	Original *Original
}

// Check finds out whether a backup in the folder is whole, as far as the keys here go. The error wraps fs.ErrNotExist where it is not there.
func (b *Backups) Check(name string) (Checked, error) {
	f, err := b.Stat(name)
	if err != nil {
		return Checked{}, err
	}
	plain, unread, err := unseal[About](filepath.Join(b.Dir, name), f.Sealed, b.Keys)
	if err != nil {
		return Checked{}, err
	}
	if unread != nil {
		c := Checked{About: *unread}
		if unread.Version == 0 { // see adopt
			c.Original = &Original{}
		}
		return c, nil
	}
	c, err := CheckBytes(plain)
	if err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	if c.Original != nil {
		c.Original.Recorded, err = b.recorded(f)
	}
	return c, err
}
