package snapshot

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// What stands beside a log goes along with its copy in the new form: what has a form, whichever it was in; what has none as it is; what belongs to the
// folder alone, and what cannot be opened, not. A state.json that an agent did not write is nobody's to be sealed.
func TestReseal_whatGoesAlong(t *testing.T) {
	key, err := events.NewKey(bytes.Repeat([]byte{1}, events.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	other, err := events.NewKey(bytes.Repeat([]byte{2}, events.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := Reseal{Dir: filepath.Join(dir, "events"), To: filepath.Join(dir, "events.reseal"), View: filepath.Join(dir, "state.json"),
		NextView: filepath.Join(dir, "state.json.reseal"), From: key}
	for _, folder := range []string{r.Dir, r.To, filepath.Join(r.Dir, "folder")} {
		if err := os.Mkdir(folder, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	view := other.SealFile("state.json", []byte("view"))
	for name, data := range map[string]string{
		"sealed.snap": string(key.SealFile("sealed.snap", []byte("sealed"))), "plain.snap": "plain", "other.snap": string(other.SealFile("other.snap", nil)),
		"1.torn-1": string(key.SealFile("1.torn-1", []byte("torn"))), "note": "note", "x.tmp": "", "LOCK": "", "RESERVE": "", "there": "old", "state.sum": hashOf(view) + "\n"} {
		write(filepath.Join(r.Dir, name), []byte(data))
	}
	write(filepath.Join(r.To, "there"), []byte("new"))
	for _, c := range []struct {
		what string
		view []byte
	}{{"nobody's", []byte("by hand")}, {"an agent's, sealed with a key that is lost", view}} {
		write(r.View, c.view)
		if err := r.Write(); err != nil {
			t.Fatalf("state.json is %s: %v", c.what, err)
		}
		if b, err := os.ReadFile(r.NextView); err == nil {
			t.Errorf("state.json is %s: it is written anew: %q", c.what, b)
		}
	}
	want := map[string]string{"sealed.snap": "sealed", "plain.snap": "plain", "1.torn-1": "torn", "note": "note", "there": "new", "state.sum": hashOf(view) + "\n"}
	entries, err := os.ReadDir(r.To)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(r.To, e.Name()))
		if text, ok := want[e.Name()]; err != nil || !ok || string(b) != text {
			t.Errorf("%s went along as %q, %v, want %q", e.Name(), b, err, text)
		}
		delete(want, e.Name())
	}
	for name := range want {
		t.Errorf("%s did not go along", name)
	}
}

// A state.json is removed only if an agent wrote it, in another form than the log has now.
func TestDropView(t *testing.T) {
	key, err := events.NewKey(bytes.Repeat([]byte{1}, events.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		data  []byte
		mine  bool
		stays bool
	}{"in this form": {key.SealFile("state.json", []byte("x")), true, true}, "in the other": {[]byte("x"), true, false}, "by hand": {[]byte("x"), false, true}} {
		dir := t.TempDir()
		path, sums := filepath.Join(dir, "state.json"), filepath.Join(dir, "state.sum")
		if err := os.WriteFile(path, c.data, 0o640); err != nil {
			t.Fatal(err)
		}
		if c.mine {
			if err := os.WriteFile(sums, []byte(hashOf(c.data)+"\n"), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		if err := DropView(path, sums, key); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(path); (err == nil) != c.stays {
			t.Errorf("%s: %v, want that it stays: %v", what, err, c.stays)
		}
	}
}
