package snapshot

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// found are files that an agent may find where its own should be: state files that agents without a log wrote, whole
// ones and what a power cut left of them, by name.
func found(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/version1/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("testdata: %v, %v", names, err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		if all[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Whatever stands where a snapshot of the fold or state.json should be, a start has the state of the log: the snapshot
// is believed only if it is that very state, and a foreign state.json is set aside as it is.
func FuzzLoad(f *testing.F) {
	for _, b := range found(f) {
		f.Add(b)
	}
	dir := f.TempDir()
	h := open(f, dir)
	h.apply(f, "deployment/default/web", web)
	want := h.View().State
	if err := h.folds.Save(f.Context(), want); err != nil {
		f.Fatal(err)
	}
	names, err := h.folds.names()
	if err != nil || len(names) != 1 {
		f.Fatal(names, err)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(append(bytes.Clone(whole), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(names[0], b, 0o640); err != nil {
			t.Fatal(err)
		}
		switch s, next, err := h.folds.Load(t.Context()); {
		case err != nil:
			t.Errorf("a snapshot ends the start: %v", err)
		case s == nil && next != 1:
			t.Errorf("the log is folded from record %d, want all of it", next)
		case s != nil && (next != h.log.End().Record+1 || s.Digest() != want.Digest() || s.Index() != want.Index()):
			t.Errorf("believed, and it is another state: event %d, digest %s", s.Index(), s.Digest())
		case s == nil && bytes.Equal(b, whole):
			t.Error("the true snapshot is passed over")
		}
		if err := os.WriteFile(h.view.Path, b, 0o640); err != nil {
			t.Fatal(err)
		}
		aside, err := h.view.Inspect()
		if err != nil || aside == "" {
			t.Fatalf("Inspect = %q, %v, want it set aside", aside, err)
		}
		if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, b) {
			t.Errorf("set aside are %d bytes, %v, want the %d that were found", len(kept), err, len(b))
		}
		if err := os.Remove(aside); err != nil {
			t.Fatal(err)
		}
		h.said.Reset()
	})
}
