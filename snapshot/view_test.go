package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/podman-swarm/podman-swarm/projection"
)

func TestView_writesWholeFilesWithTheirMode(t *testing.T) {
	h := open(t, t.TempDir())
	h.apply(t, "service/default/web", `{}`)
	if err := os.WriteFile(h.view.Path+".tmp", []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := h.view.Write(h.View().State)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(h.view.Path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o640 || info.Size() != n {
		t.Errorf("state.json has mode %v and %d bytes, want 0640 and %d", info.Mode().Perm(), info.Size(), n)
	}
	if _, err := os.Stat(h.view.Path + ".tmp"); err == nil {
		t.Error("a temporary file is left")
	}
}

func TestView_inspectSetsAsideWhatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	if aside, err := h.view.Inspect(); aside != "" || err != nil {
		t.Errorf("Inspect of nothing = %q, %v", aside, err)
	}
	write := func() {
		t.Helper()
		if _, err := h.view.Write(h.View().State); err != nil {
			t.Fatal(err)
		}
	}
	h.apply(t, "service/default/web", `{"a":1}`)
	write()
	first, err := os.ReadFile(h.view.Path)
	if err != nil {
		t.Fatal(err)
	}
	h.apply(t, "service/default/web", `{"a":2}`)
	write()
	if aside, err := h.view.Inspect(); aside != "" || err != nil {
		t.Errorf("Inspect of its own = %q, %v, want it left", aside, err)
	}

	// The power goes between the note of what is coming and the rename: what stands there is still known.
	h.apply(t, "service/default/web", `{"a":3}`)
	before, _ := os.ReadFile(h.view.Path)
	write()
	if err := os.WriteFile(h.view.Path, before, 0o640); err != nil {
		t.Fatal(err)
	}
	if aside, err := h.view.Inspect(); aside != "" || err != nil {
		t.Errorf("Inspect after a crash = %q, %v, want it left", aside, err)
	}

	for name, content := range map[string][]byte{"older": first, "foreign": []byte(`{"version":1}`), "empty": {}, "torn": first[:len(first)/2]} {
		if err := os.WriteFile(h.view.Path, content, 0o640); err != nil {
			t.Fatal(err)
		}
		aside, err := h.view.Inspect()
		if err != nil || aside == "" {
			t.Fatalf("%s: Inspect = %q, %v, want it set aside", name, aside, err)
		}
		if got, _ := os.ReadFile(aside); !bytes.Equal(got, content) {
			t.Errorf("%s: what was set aside has changed", name)
		}
		if _, err := os.Stat(h.view.Path); err == nil {
			t.Errorf("%s: it is still there", name)
		}
	}
}

// A state.json that cannot be written stands on, and is known for this agent's own after any number of tries. They leave nothing behind.
func TestView_standsWhileItCannotBeReplaced(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, kept := range []string{"state.json", "its checksums"} {
			h := open(t, t.TempDir())
			v := h.view
			write := func(wantErr bool) {
				t.Helper()
				if _, err := v.Write(h.View().State); (err != nil) != wantErr {
					t.Fatalf("Write: %v", err)
				}
			}
			h.apply(t, "service/default/web", `{"a":0}`)
			write(false)
			inTheWay, free := v.Path+".tmp", v.Sums+".tmp"
			if kept != "state.json" {
				inTheWay, free = free, inTheWay
			}
			if err := os.Mkdir(inTheWay, 0o750); err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				if i != 1 { // the second try is of the same state
					h.apply(t, "service/default/web", fmt.Sprintf(`{"a":%d}`, i+1))
				}
				write(true)
				again := &View{Path: v.Path, Sums: v.Sums, Log: v.Log}
				if aside, err := again.Inspect(); aside != "" || err != nil {
					t.Fatalf("%s cannot be written, try %d, restart %v: Inspect = %q, %v, want it left", kept, i, restart, aside, err)
				}
				if _, err := os.Lstat(free); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s cannot be written: %s is left: %v", kept, free, err)
				}
				if restart {
					v = again
				}
			}
			if err := os.Remove(inTheWay); err != nil {
				t.Fatal(err)
			}
			write(false)
		}
	}
}

// When the power goes after the checksum of what is coming is on disk, again and again, what stands is still known.
func TestView_knownWhileTheNextHasNoName(t *testing.T) {
	for _, restart := range []bool{false, true} {
		h := open(t, t.TempDir())
		v := h.view
		h.apply(t, "service/default/web", `{"a":0}`)
		if _, err := v.Write(h.View().State); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			if err := v.name(v.Path+".none", fmt.Sprintf("%064d", i)); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("naming what is not there: %v", err)
			}
			again := &View{Path: v.Path, Sums: v.Sums, Log: v.Log}
			if aside, err := again.Inspect(); aside != "" || err != nil {
				t.Fatalf("try %d, restart %v: Inspect = %q, %v, want it left", i, restart, aside, err)
			}
			if restart {
				v = again
			}
		}
	}
}

func TestView_setsAsideWhatItCannotKnow(t *testing.T) {
	for name, put := range map[string]func(v *View) error{
		"folder":          func(v *View) error { return errors.Join(os.Remove(v.Path), os.Mkdir(v.Path, 0o750)) },
		"pipe":            func(v *View) error { return errors.Join(os.Remove(v.Path), unix.Mkfifo(v.Path, 0o640)) },
		"link":            func(v *View) error { return errors.Join(os.Rename(v.Path, v.Path+"2"), os.Symlink(v.Path+"2", v.Path)) },
		"link to nowhere": func(v *View) error { return errors.Join(os.Remove(v.Path), os.Symlink("nowhere", v.Path)) },
		"no checksums":    func(v *View) error { return os.Remove(v.Sums) },
		"checksums unreadable": func(v *View) error {
			return errors.Join(os.Remove(v.Sums), os.Mkdir(v.Sums, 0o750))
		},
	} {
		h := open(t, t.TempDir())
		if _, err := h.view.Write(h.View().State); err != nil {
			t.Fatal(err)
		}
		if err := put(h.view); err != nil {
			t.Fatal(err)
		}
		v := &View{Path: h.view.Path, Sums: h.view.Sums, Log: h.view.Log}
		aside, err := v.Inspect()
		if _, gone := os.Lstat(aside); err != nil || aside == "" || gone != nil {
			t.Errorf("%s: Inspect = %q, %v, want it set aside", name, aside, err)
		}
	}
}

// What somebody puts in the place of state.json while the agent runs is not overwritten.
func TestView_setsAsideWhatIsPutThereMeanwhile(t *testing.T) {
	h := open(t, t.TempDir())
	if _, err := h.view.Write(h.View().State); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.view.Path, []byte("somebody's"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := h.view.Write(h.View().State); err != nil {
		t.Error(err)
	}
	found, _ := filepath.Glob(h.view.Path + ".set-aside-*")
	if len(found) != 1 || !strings.Contains(h.said.String(), filepath.Base(found[0])) {
		t.Fatalf("set aside: %v, said:\n%s", found, h.said.String())
	}
	if b, err := os.ReadFile(found[0]); string(b) != "somebody's" {
		t.Errorf("set aside: %q, %v", b, err)
	}
}

// fixed is a ledger whose view a test sets.
type fixed struct{ v *projection.View }

func (f *fixed) View() *projection.View { return f.v }

func TestView_runRetriesAndWritesAtTheEnd(t *testing.T) {
	h := open(t, t.TempDir())
	h.apply(t, "service/default/web", `{}`)
	v := h.View()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		changed := make(chan struct{})
		l := &fixed{&projection.View{State: v.State, Changed: changed}}
		w := &View{Path: filepath.Join(dir, "missing", "state.json"), Sums: filepath.Join(dir, "sums"), Ledger: l, Log: h.view.Log}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		if w.Written().Err == nil {
			t.Fatal("a write into a folder that is not there went well")
		}
		if err := os.Mkdir(filepath.Join(dir, "missing"), 0o750); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.Written(); got.Err != nil || got.Index != v.Index() {
			t.Fatalf("after a second: %+v, want it written up to %d", got, v.Index())
		}
		if err := os.Remove(w.Path); err != nil {
			t.Fatal(err)
		}
		l.v = &projection.View{State: projection.NewState(), Changed: make(chan struct{})}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(w.Path); err != nil {
			t.Errorf("what came last was not written at the end: %v", err)
		}
	})
}

// What is put in the place of a state.json stands there whole, durably, with what stood there aside; or, where it cannot be, that still stands.
func TestView_replace(t *testing.T) {
	h := open(t, t.TempDir())
	if err := os.WriteFile(h.view.Path, []byte("half"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.view.Path+".tmp", 0o750); err != nil { // where it is written first
		t.Fatal(err)
	}
	if _, err := h.view.Replace([]byte("whole")); err == nil {
		t.Error("what cannot be written was")
	}
	if b, err := os.ReadFile(h.view.Path); err != nil || string(b) != "half" {
		t.Errorf("after that %q, %v stands as state.json", b, err)
	}
	if aside, err := filepath.Glob(h.view.Path + ".set-aside-*"); err != nil || len(aside) > 0 { // or each try, for as long as the disk is full, would leave one more
		t.Errorf("what still stands has other names as well: %v, %v", aside, err)
	}
	if err := os.Remove(h.view.Path + ".tmp"); err != nil {
		t.Fatal(err)
	}
	aside, err := h.view.Replace([]byte("whole"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{h.view.Path: "whole", aside: "half"} {
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", path, b, err, want)
		}
	}
	if err := os.Remove(h.view.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.view.Path, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := h.view.Replace([]byte("whole")); err != nil {
		t.Errorf("in the place of a folder: %v", err)
	}
}
