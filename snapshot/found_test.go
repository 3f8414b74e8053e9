package snapshot

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// What can never be restored from is told apart from what cannot be looked at, or taken among the backups, just now: on account of that no request to
// restore is given up.
func TestFound_useless(t *testing.T) {
	h := open(t, t.TempDir())
	h.apply(t, "deployment/default/a", `{"n":1}`)
	if _, err := h.view.Write(h.View().State); err != nil {
		t.Fatal(err)
	}
	view := read(t, h.view.Path)
	r := h.restorer(t)
	r.Stood = filepath.Join(h.dir, "stood")
	from := r.backup(t)
	whole := read(t, filepath.Join(r.Backups.Dir, from.File))
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	forWhom, _, _ := pair(t)
	sealed, err := forWhom.Seal(whole)
	if err != nil {
		t.Fatal(err)
	}
	one := read(t, "testdata/version1/02-example-1node.json")
	full := errors.New("any other")
	for name, c := range map[string]struct {
		data  []byte
		fresh bool
		want  error
	}{
		"whole":                   {whole, false, nil},
		"damaged":                 {damaged, false, ErrUnread},
		"half":                    {whole[:len(whole)/2], false, ErrUnread},
		"compressed and half":     {[]byte("\x28\xb5\x2f\xfd"), false, ErrUnread},
		"a view":                  {view, false, ErrUnread},
		"empty":                   {nil, false, ErrUnread},
		"version 1, late":         {one, false, ErrUnread},
		"sealed, without the key": {sealed, false, seal.ErrNoKey},
		"version 1, on a full disk, which is to remember it": {one, true, full},
	} {
		if err := os.WriteFile(h.view.Path, c.data, 0o640); err != nil {
			t.Fatal(err)
		}
		if c.want == full {
			if err := os.Mkdir(r.Stood+".tmp", 0o750); err != nil { // where it is written first
				t.Fatal(err)
			}
		}
		from, err := r.Found(h.view.Path, false, c.fresh)
		switch {
		case (from == nil) != (err != nil):
			t.Errorf("%s: got %+v, %v", name, from, err)
		case c.want == full && (err == nil || errors.Is(err, ErrUnread) || errors.Is(err, seal.ErrNoKey)):
			t.Errorf("%s: got %v, want another error", name, err)
		case c.want != full && !errors.Is(err, c.want):
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	// The folder of backups takes none, and cannot even be listed.
	for _, at := range []string{filepath.Join(r.Backups.Dir, tmpBackup), r.Backups.Dir} {
		if at == r.Backups.Dir {
			if err := errors.Join(os.RemoveAll(at), os.WriteFile(at, nil, 0o640)); err != nil {
				t.Fatal(err)
			}
		} else if err := errors.Join(os.RemoveAll(r.Backups.Dir), os.MkdirAll(at, 0o750)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.view.Path, whole, 0o640); err != nil {
			t.Fatal(err)
		}
		if from, err := r.Found(h.view.Path, false, false); from != nil || err == nil || errors.Is(err, ErrUnread) || errors.Is(err, seal.ErrNoKey) {
			t.Errorf("with %s: got %+v, %v, want another error", at, from, err)
		}
	}
	// A disk that does not give the bytes back will not do so later.
	if err := ofContent(&fs.PathError{Op: "read", Path: h.view.Path, Err: syscall.EIO}); !errors.Is(err, ErrUnread) {
		t.Errorf("got %v, want ErrUnread", err)
	}
	if err := ofContent(&fs.PathError{Op: "open", Path: h.view.Path, Err: syscall.EMFILE}); errors.Is(err, ErrUnread) {
		t.Errorf("got %v, want another error", err)
	}
}
