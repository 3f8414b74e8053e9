package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FolderStore is a Store in a folder: of another disk, say, or of a file server. It is never made: where a disk is not mounted it would come to be on
// this one, and nobody would know.
type FolderStore string

// Put is a Store's. It makes the folders that name goes through.
func (d FolderStore) Put(ctx context.Context, name string, data []byte) error {
	folder := string(d)
	parts := strings.Split(name, "/")
	for _, part := range parts[:len(parts)-1] {
		within := filepath.Join(folder, part)
		if err := os.Mkdir(within, 0o750); errors.Is(err, fs.ErrExist) {
			folder = within
			continue
		} else if err != nil {
			return d.missing(err)
		}
		if err := SyncFolder(folder); err != nil {
			return err
		}
		folder = within
	}
	path := filepath.Join(folder, parts[len(parts)-1])
	return d.missing(WriteFile(path, path+".tmp", 0o640, func(w io.Writer) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}))
}

// Get is a Store's.
func (d FolderStore) Get(_ context.Context, name string) ([]byte, error) {
	path := filepath.Join(string(d), filepath.FromSlash(name))
	if err := forget(path); err != nil { // so that it is read from the disk
		return nil, err
	}
	return os.ReadFile(path)
}

// Sizes is a Store's.
func (d FolderStore) Sizes(ctx context.Context) (map[string]int64, error) {
	all := map[string]int64{}
	err := fs.WalkDir(os.DirFS(string(d)), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return errors.Join(err, ctx.Err())
		}
		info, err := e.Info()
		if err == nil {
			all[path] = info.Size()
		}
		return errors.Join(err, ctx.Err())
	})
	return all, d.missing(err)
}

func (d FolderStore) missing(err error) error { return missing(string(d), err) }

// missing says of an error what it comes from where a folder that is never made is not there.
func missing(dir string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, gone := os.Stat(dir); gone != nil {
		return fmt.Errorf("there is no folder %s: mount its disk; on a new one, make it once: %w", dir, gone)
	}
	return err
}
