package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// In the place of a disk that is not mounted no backup and no increment comes to be, since they would be hidden once it is; and nothing is trimmed.
func TestBackups_notMounted(t *testing.T) {
	mount := t.TempDir()
	h := openWith(t, t.TempDir(), shortSegments())
	h.changes(t, 60)
	tr := h.trimmer(t)
	b := tr.Increments.Backups
	b.Dir, b.Apart = filepath.Join(mount, "backups"), true
	says := func(err error) {
		t.Helper()
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "there is no folder "+b.Dir+": mount its disk; on a new one, make it once") {
			t.Errorf("got %v", err)
		}
	}
	_, err := b.Create(t.Context(), "", false)
	says(err)
	says(tr.Increments.Once(t.Context()))
	tr.turn(t)
	if all, err := os.ReadDir(mount); err != nil || len(all) != 0 || h.log.First() != 1 {
		t.Errorf("where the disk would be mounted there are %v, %v; the log begins with event %d", all, err, h.log.First())
	}
	if err := b.MakeDir(); err != nil {
		t.Fatal(err)
	}
	tr.ready(t)
	if tr.turn(t); h.log.First() == 1 {
		t.Errorf("once it is there: %+v", tr.Said())
	}
}

// Where the mount point itself is the folder, that the disk is not there shows by a trimmed log's increments alone. Without them no others begin, before or after a start, so that the log
// keeps what it has; unless somebody says, by making their folder, that they are lost. That something is missing in between is said.
func TestIncrements_notMounted(t *testing.T) {
	h := openWith(t, t.TempDir(), shortSegments())
	h.changes(t, 60)
	tr := h.trimmer(t)
	tr.ready(t)
	tr.turn(t)
	first := h.log.First()
	b := tr.Increments.Backups
	away := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.Rename(b.Dir, away), os.Mkdir(b.Dir, 0o750)); err != nil || first == 1 {
		t.Fatalf("%v; the log begins with event %d", err, first)
	}
	h.changes(t, 60)
	says := func(p *Increments) {
		t.Helper()
		if err := p.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "are not in "+b.Dir+": mount its disk") {
			t.Errorf("got %v", err)
		}
		if _, err := b.Create(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
		next := &Trimmer{Source: h.log, Increments: p, Drill: &Drill{Backups: b, Log: h.view.Log}, Folds: h.folds, Bytes: 8000, Log: h.view.Log}
		if _, err := next.Drill.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		if next.turn(t); h.log.First() != first || next.Said().Waits == "" {
			t.Errorf("trimmed from event %d to %d, %+v", first, h.log.First(), next.Said())
		}
	}
	says(tr.Increments)
	says(tr.Increments.again())
	folder := tr.Increments.folder
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	if got := tr.Increments.again().turn(t); len(got) == 0 || got[0].First != first {
		t.Errorf("where they are lost: got %v", got)
	}
	for range 2 {
		if want := "is in no increment here"; !strings.Contains(h.said.String(), want) {
			t.Errorf("%q is not said:\n%s", want, &h.said)
		}
		h.said.Reset()
		tr.Increments.again().turn(t)
	}
	h.said.Reset()
	if err := errors.Join(os.RemoveAll(b.Dir), os.Rename(away, b.Dir)); err != nil {
		t.Fatal(err)
	}
	if tr.Increments.again().turn(t); strings.Contains(h.said.String(), "is in no increment here") {
		t.Errorf("where all are there it is said:\n%s", &h.said)
	}
}
