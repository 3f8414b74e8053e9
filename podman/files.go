package podman

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// file is one of a volume.
type file struct {
	data []byte
	mode fs.FileMode
}

// What stands in a volume's folder beside the links that a container looks at, as in Kubernetes: of the dated folders one is current, to which
// dataLink leads, and each file's link leads through that. So who reads sees all of the old or all of the new.
const (
	dataLink = "..data"
	newLink  = "..data_tmp"
)

// writeVolume makes a volume's folder hold these files, by their paths in it, and nothing else; it does nothing where it does. A crash leaves
// all of what was there or all of these, and something that the next one clears away.
func writeVolume(dir string, files map[string]file) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	current, _ := os.Readlink(filepath.Join(dir, dataLink)) // none: it is new
	if current == "" || !holds(filepath.Join(dir, current), files) {
		dated, err := os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
		if err != nil {
			return err
		}
		if err := fillFolder(dated, files); err != nil {
			return errors.Join(err, os.RemoveAll(dated))
		}
		if err := link(filepath.Base(dated), dir, newLink); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, newLink), filepath.Join(dir, dataLink)); err != nil {
			return err
		}
		current = filepath.Base(dated)
	}
	tops := map[string]bool{}
	for path := range files {
		top, _, _ := strings.Cut(path, "/")
		tops[top] = true
	}
	for top := range tops {
		if err := link(filepath.Join(dataLink, top), dir, top); err != nil {
			return err
		}
	}
	there, err := os.ReadDir(dir)
	for _, e := range there {
		if name := e.Name(); name != dataLink && name != current && !tops[name] {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
		}
	}
	return err
}

// link makes a symbolic link in a folder lead there, whatever had its name.
func link(to, dir, name string) error {
	path := filepath.Join(dir, name)
	if now, err := os.Readlink(path); err == nil && now == to {
		return nil
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return os.Symlink(to, path)
}

// fillFolder writes files into a folder that is nobody's yet.
func fillFolder(dir string, files map[string]file) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for path, f := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.data, 0o600); err != nil {
			return err
		}
		if err := os.Chmod(path, f.mode); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}

// holds reports whether a folder has these files, and no other.
func holds(dir string, files map[string]file) bool {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, ok := files[rel]
		info, err := d.Info()
		if err != nil || !ok || info.Mode() != f.mode {
			return errors.Join(err, errOther)
		}
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(data, f.data) {
			return errors.Join(err, errOther)
		}
		return nil
	})
	return err == nil && n == len(files)
}

var errOther = errors.New("it is another file")

// private makes the folder of this agent's volumes, if it is not there, and checks that nobody else can look into it; inMemory: and that it does not
// outlive the boot.
func private(dir string, inMemory bool) error {
	if dir == "" {
		return errors.New("this agent has no folder for the files of Secrets and ConfigMaps")
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := os.Lstat(d)
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(s.Uid) != os.Geteuid() {
			return fmt.Errorf("%s is to be a folder that only this agent's user can look into, for what Secrets hold, and is not", d)
		}
	}
	if !inMemory {
		return nil
	}
	on, err := volatile(dir)
	if err == nil && !on {
		err = fmt.Errorf("%s is not in memory (tmpfs): what a Secret holds would be on a disk", dir)
	}
	return err
}

// volatile reports whether what stands in a folder is gone with the boot.
func volatile(dir string) (bool, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return false, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return slices.Contains([]int64{0x01021994, 0x858458f6}, int64(s.Type)), nil // tmpfs, ramfs
}
