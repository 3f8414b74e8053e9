package snapshot

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteFile puts what write writes at path, whole or not at all: a temporary file beside it, fsync, rename, fsync of
// the folder. When it returns nil the new content is durable. A crash leaves the old content, or the new, and
// perhaps the temporary file, which the next write replaces.
func WriteFile(path, tmp string, perm os.FileMode, write func(io.Writer) error) error {
	if err := prepare(path, tmp, perm, write); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// prepare writes at tmp what is to stand at path. On nil it is whole and on disk, but for its name.
func prepare(path, tmp string, perm os.FileMode, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()      // a second close, after a successful one, only returns an error
			os.Remove(tmp) // what is left of it means nothing
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err := f.Chmod(perm); err != nil { // the mode given to OpenFile is subject to the umask, and not applied to a leftover
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// SyncFolder makes the names in a folder durable: what was made, renamed or removed in it.
func SyncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
