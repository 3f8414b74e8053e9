package podman

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	top, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range top {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		root, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			info, infoErr := d.Info()
			got[e.Name()+strings.TrimPrefix(path, root)] = info.Mode().String() + " " + string(b)
			return errors.Join(err, infoErr)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func TestWriteVolume(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pod", "volume")
	write := func(files map[string]file, want string) {
		t.Helper()
		if err := writeVolume(dir, files); err != nil {
			t.Fatal(err)
		}
		if got := mustJSON(t, read(t, dir)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		hidden, err := filepath.Glob(filepath.Join(dir, "..*"))
		if err != nil || len(hidden) != 2 {
			t.Errorf("beside the files stand %q, want the link and what it leads to", hidden)
		}
	}
	link := func() string {
		to, err := os.Readlink(filepath.Join(dir, dataLink))
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	write(map[string]file{"a": {[]byte("1"), 0o644}, "d/e/b": {[]byte("2"), 0o400}}, `{"a":"-rw-r--r-- 1","d/e/b":"-r-------- 2"}`)
	first := link()
	write(map[string]file{"d/e/b": {[]byte("2"), 0o400}, "a": {[]byte("1"), 0o644}}, `{"a":"-rw-r--r-- 1","d/e/b":"-r-------- 2"}`)
	if link() != first {
		t.Error("the same was written anew")
	}
	write(map[string]file{"a": {[]byte("1"), 0o666}, "d/e/b": {[]byte("2"), 0o400}}, `{"a":"-rw-rw-rw- 1","d/e/b":"-r-------- 2"}`)
	write(map[string]file{"d": {[]byte("3"), 0o644}}, `{"d":"-rw-r--r-- 3"}`)
	// What a crash leaves.
	for _, name := range []string{"..2006", newLink} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]file{"d": {[]byte("4"), 0o644}}, `{"d":"-rw-r--r-- 4"}`)
	if err := os.Remove(filepath.Join(dir, "d")); err != nil {
		t.Fatal(err)
	}
	write(map[string]file{"d": {[]byte("4"), 0o644}}, `{"d":"-rw-r--r-- 4"}`)
	write(map[string]file{}, `{}`)
}

// Who reads through one folder has files of one time.
func TestWriteVolume_allOrNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "v")
	of := func(b byte) map[string]file {
		data := bytes.Repeat([]byte{b}, 64<<10)
		return map[string]file{"a": {data, 0o644}, "b": {data, 0o644}}
	}
	if err := writeVolume(dir, of('0')); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		defer close(done)
		for n := range 200 {
			if err := writeVolume(dir, of('0'+byte(n%10))); err != nil {
				t.Error(err)
			}
		}
	})
	torn := 0
	for going := true; going; {
		select {
		case <-done:
			going = false
		default:
		}
		if _, err := os.Lstat(filepath.Join(dir, dataLink)); err != nil {
			torn++
		}
		b, err := os.ReadFile(filepath.Join(dir, "a"))
		if errors.Is(err, fs.ErrNotExist) { // the folder that the link led to is gone by now; the next try finds the other
			continue
		}
		if err != nil || len(b) != 64<<10 || b[0] != b[len(b)-1] {
			torn++
		}
	}
	wait.Wait()
	if torn > 0 {
		t.Errorf("%d reads found something else than a whole file, or nothing", torn)
	}
}

func TestPrivate(t *testing.T) {
	base := filepath.Join(t.TempDir(), "swarm")
	dir := filepath.Join(base, "agent")
	if err := private(dir, false); err != nil {
		t.Fatal(err)
	}
	if err := private(dir, false); err != nil {
		t.Errorf("again: %v", err)
	}
	on, err := volatile(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := private(dir, true); (err == nil) != on {
		t.Errorf("on a file system that is in memory (%v): got %v", on, err)
	}
	if on, err := volatile("/dev/shm"); !on || err != nil {
		t.Errorf("/dev/shm: got %v, %v", on, err)
	}
	if on, err := volatile("/proc"); on || err != nil {
		t.Errorf("/proc: got %v, %v", on, err)
	}
	for _, d := range []string{dir, base} {
		if err := os.Chmod(d, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := private(dir, false); err == nil || !strings.Contains(err.Error(), d+" is to be") {
			t.Errorf("a folder that others can look into: got %v", err)
		}
		if err := os.Chmod(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(base); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), base); err != nil {
		t.Fatal(err)
	}
	if err := private(dir, false); err == nil {
		t.Error("a link in its place was followed")
	}
	if err := private("", false); err == nil {
		t.Error("no folder is taken for one")
	}
}

func TestPrepareSubPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("in", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := prepareSubPath(dir, "in/deep"); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "in/deep")); err != nil || !info.IsDir() {
		t.Errorf("it was not made: %v", err)
	}
	if err := prepareSubPath(dir, "link/deep"); err != nil {
		t.Error(err)
	}
	for _, out := range []string{"out", "out/etc"} {
		if err := prepareSubPath(dir, out); err == nil || !strings.Contains(err.Error(), "escapes") {
			t.Errorf("%s, which leads out of the volume: got %v", out, err)
		}
	}
}

// InMemory is for the tests from outside.
func InMemory(dir string) (bool, error) { return volatile(dir) }
