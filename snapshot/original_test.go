package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// found puts a file of version 1 where state.json stands, and takes it over, as a first start does.
func (r *Restorer) found(t *testing.T, h *host, name string) Source {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "version1", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, h.view.Path, data)
	r.Stood = h.view.Path + ".stood"
	from, err := r.Found(h.view.Path, false, true)
	if err != nil || from == nil {
		t.Fatalf("%s: got %+v, %v", name, from, err)
	}
	return *from
}

// What is kept of version 1 is told of as that, not as damaged: it can be read, and once it was restored from, any flipped bit is found by the
// checksum that the log has.
func TestCheck_original(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	from := r.found(t, h, "04-rich-3nodes-pods-map")
	path := filepath.Join(r.Backups.Dir, from.File)
	is := func(when string, want Original) {
		t.Helper()
		c, err := r.Backups.Check(from.File)
		if err != nil || !c.Opened || c.Original == nil || *c.Original != want {
			t.Errorf("%s: got %+v, %+v, %v", when, c, c.Original, err)
		}
	}
	is("before it is restored from", Original{Objects: 11})
	if _, err := r.Restore(t.Context(), projection.By{}, from, nil); err != nil {
		t.Fatal(err)
	}
	is("after", Original{Objects: 11, Recorded: true})
	data := read(t, path)
	for at := 0; at < len(data); at += 797 {
		data[at] ^= 4
		write(t, path, data)
		if _, err := r.Backups.Check(from.File); err == nil || !strings.Contains(err.Error(), from.File) {
			t.Fatalf("a flipped bit at %d: %v", at, err)
		}
		data[at] ^= 4
	}
	write(t, path, data)
	is("made good", Original{Objects: 11, Recorded: true})

	// By another, or without a log, only what it is can be told. What is neither is no backup.
	other := &Backups{Dir: r.Backups.Dir, Node: "b", Ledger: h.Ledger}
	if c, err := other.Check(from.File); err != nil || c.Original.Recorded {
		t.Errorf("by another host: %+v, %v", c.Original, err)
	}
	if c, err := (Folder{Dir: r.Backups.Dir}).backups().Check(from.File); err != nil || c.Original.Recorded {
		t.Errorf("of a folder: %+v, %v", c.Original, err)
	}
	torn := "state-backup-20260121-130000.json"
	write(t, filepath.Join(r.Backups.Dir, torn), data[:len(data)/2])
	if _, err := r.Backups.Check(torn); !errors.Is(err, ErrNoBackup) {
		t.Errorf("half of one: %v", err)
	}
	from = r.found(t, h, "29-doc-style-STORAGE.md")
	is("one of which nothing can be declared", Original{Refused: 3})
}

// Neither a drill nor a prune takes what is kept of version 1 for a backup of what the log has.
func TestOriginal_isNotTheNewest(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	d := &Drill{Backups: r.Backups, Log: h.view.Log}
	from := r.found(t, h, "02-example-1node")
	if _, _, err := r.Take(read(t, h.view.Path)); err != nil {
		t.Fatal(err)
	}
	if f, err := d.Once(t.Context()); err != nil || f.Name != "" || d.Said() != (Drilled{}) {
		t.Errorf("with nothing else: got %+v, %v; said %+v", f, err, d.Said())
	}
	r.Backups.Now = func() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) } // before it
	made, err := r.Backups.Create(t.Context(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := d.Once(t.Context()); err != nil || f.Name != made.Name || d.Said().File != made.Name {
		t.Errorf("got %+v, %v; want %s", f, err, made.Name)
	}
	plan := []Kept{{BackupFile: made}, {BackupFile: BackupFile{Name: from.File}}}
	if err := r.Backups.holdNewestWhole(plan); err != nil || plan[0].Why == nil || plan[1].Why != nil {
		t.Errorf("got %+v, %v", plan, err)
	}
}

// One that is sealed is known for one without the key too.
func TestCheck_originalSealed(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	var keys seal.Keys
	r.Backups.For, keys, _ = pair(t)
	from := r.found(t, h, "02-example-1node")
	if c, err := r.Backups.Check(from.File); err != nil || c.Opened || c.Original == nil {
		t.Errorf("without the key: %+v, %v", c, err)
	}
	r.Backups.Keys = keys
	if c, err := r.Backups.Check(from.File); err != nil || !c.Opened || c.Original == nil || *c.Original != (Original{Objects: 3}) {
		t.Errorf("with it: %+v, %v", c, err)
	}
	r.Opened = filepath.Join(h.dir, "opened")
	if _, err := r.Restore(t.Context(), projection.By{}, from, nil); err != nil {
		t.Fatal(err)
	}
	if c, err := r.Backups.Check(from.File); err != nil || c.Original.Recorded { // the log has the checksum of what is in it
		t.Errorf("restored from: %+v, %v", c.Original, err)
	}
}
