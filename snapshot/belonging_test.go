package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// again is a new life of what makes increments, that has nothing in memory.
func (p *Increments) again() *Increments {
	return &Increments{Backups: p.Backups, Source: p.Source, Every: p.Every, All: p.All, Log: p.Log}
}

// What cannot be read now, or only by a later agent, is no damage: it stays as it is, and is looked at again.
func TestIncrements_notReadNow(t *testing.T) {
	h := open(t, t.TempDir())
	p, _ := h.sealedIncrements(t)
	h.changes(t, 2)
	p.turn(t)
	h.changes(t, 2)
	f := p.turn(t)[0]
	path := filepath.Join(p.folder, f.Name)
	beside := read(t, path+besideEnd)
	if err := errors.Join(os.Remove(path+besideEnd), os.Mkdir(path+besideEnd, 0o750)); err != nil { // which reads as on a disk that fails
		t.Fatal(err)
	}
	next := p.again()
	if err := next.Once(t.Context()); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(path + besideEnd); err != nil {
		t.Fatal(err)
	}
	write(t, path+besideEnd, beside)
	if got := next.turn(t); !slices.Equal(got, []PieceFile{f}) {
		t.Errorf("once it can be read: got %v, want %v", got, f)
	}
	plainly := open(t, t.TempDir())
	p = plainly.increments(t)
	plainly.changes(t, 2)
	p.turn(t)
	plainly.changes(t, 2)
	f = p.turn(t)[0]
	path = filepath.Join(p.folder, f.Name)
	was := read(t, path)
	text, err := plain(was)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(strings.Replace(string(text[:len(text)-checksumLen]), `"version":1`, `"version":2`, 1))
	write(t, path, appendChecksum(body, body))
	next = p.again()
	if err := next.Once(t.Context()); !errors.Is(err, ErrPieceVersion) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("of a later version: got %v", err)
	}
	write(t, path, was)
	if got := next.turn(t); len(got) != 1 || got[0].Name != f.Name {
		t.Errorf("with an agent that reads it: got %v, want %v", got, f)
	}
	write(t, path, was[:len(was)/2]) // while this is damage
	if got := p.again().turn(t); len(got) != 1 || got[0].Name != f.Name || string(read(t, path+".damaged")) != string(was[:len(was)/2]) {
		t.Errorf("one that is damaged: got %v", got)
	}
}

// What the log has not any more cannot be made again: it stays, whatever is wrong with it.
func TestIncrements_damagedAndTrimmed(t *testing.T) {
	dir := t.TempDir()
	h := openWith(t, dir, shortSegments())
	tr := h.trimmer(t)
	for range 6 {
		h.changes(t, 10)
		tr.Increments.turn(t)
	}
	tr.ready(t)
	tr.turn(t)
	h.changes(t, 10)
	all := tr.Increments.turn(t)
	p := tr.Increments
	first := h.log.First()
	if all[0].First >= first || all[len(all)-1].First < first {
		t.Fatalf("the log begins with event %d, and there are %v", first, all)
	}
	for _, f := range all {
		if err := os.Truncate(filepath.Join(p.folder, f.Name), 30); err != nil {
			t.Fatal(err)
		}
	}
	p.again().turn(t)
	for _, f := range all {
		_, err := os.Stat(filepath.Join(p.folder, f.Name+".damaged"))
		if trimmed := f.First < first; trimmed != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("events %d to %d, where the log begins with event %d: %v", f.First, f.Last, first, err)
		}
		if _, err := os.Stat(filepath.Join(p.folder, f.Name)); err != nil && f.First < first {
			t.Error(err)
		}
	}
}
