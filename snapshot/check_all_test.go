package snapshot

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// damage is all that is wrong with the increments of a host.
func (p *Increments) damage(t *testing.T) string {
	t.Helper()
	logs, err := p.Folder().CheckAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range logs {
		all = append(all, c.Damage...)
	}
	return strings.Join(all, "\n")
}

// An increment that is whole and says another digest than the fold comes to is found by folding alone.
func TestCheckAll_digest(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	h.changes(t, 3)
	p.turn(t) // makes the first backup
	h.changes(t, 3)
	pieces := p.turn(t)
	if is := p.damage(t); is != "" {
		t.Fatalf("of what is whole it says: %s", is)
	}
	name := filepath.Join(p.folder, pieces[len(pieces)-1].Name)
	piece, err := ReadPiece(read(t, name))
	if err != nil || piece.Digest == "" {
		t.Fatalf("%+v, %v", piece, err)
	}
	var lines []byte
	for i := range piece.Records {
		lines = appendRecord(lines, &piece.Records[i])
	}
	text, err := appendPiece(nil, piece.PieceHead, lines, pieceEnd{len(piece.Records), piece.Records[len(piece.Records)-1].Hash, strings.Repeat("0", len(piece.Digest))})
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	if err := compress(&packed, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		t.Fatal(err)
	}
	write(t, name, packed.Bytes())
	if is := p.damage(t); strings.Count(is, "\n") != 0 || !strings.Contains(is, "has another digest than it says") {
		t.Errorf("got %q", is)
	}
}

// Of a log that was trimmed, the first increment that is missing is missed, and the last, though none beside them tells of it; and where there is a backup that was before them, what is after it.
func TestCheckAll_ends(t *testing.T) {
	h := openWith(t, t.TempDir(), shortSegments())
	h.changes(t, 60)
	tr := h.trimmer(t)
	p := tr.Increments
	p.turn(t)
	h.changes(t, 40)
	tr.ready(t)
	tr.turn(t)
	pieces := p.turn(t)
	first := h.log.First()
	if first <= pieces[0].Last+1 || len(pieces) != 2 {
		t.Fatalf("the log begins with event %d, and the increments are %v", first, pieces)
	}
	if is := p.damage(t); is != "" {
		t.Fatalf("of what is whole it says: %s", is)
	}
	for i, want := range []string{"events 1 to 60 are in no piece", "are in no piece"} {
		path := filepath.Join(p.folder, pieces[i].Name)
		data := read(t, path)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if is := p.damage(t); strings.Count(is, "\n") != 0 || !strings.HasSuffix(is, want) {
			t.Errorf("without %s: got %q, want %q", pieces[i].Name, is, want)
		}
		write(t, path, data)
	}
}

// What is missing right after a backup is told of, also where no key opens that; after one that is pinned, which is enough by itself, it is not.
func TestCheckAll_afterABackup(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		h := open(t, t.TempDir())
		p := h.increments(t)
		if sealed {
			p, _ = h.sealedIncrements(t)
		}
		h.changes(t, 3)
		p.turn(t)
		h.changes(t, 3)
		p.turn(t)
		h.changes(t, 3)
		pieces := p.turn(t)
		for _, f := range pieces[:len(pieces)-1] {
			if err := os.Remove(filepath.Join(p.folder, f.Name)); err != nil {
				t.Fatal(err)
			}
		}
		if is := p.damage(t); !strings.HasSuffix(is, "are in no piece") {
			t.Errorf("sealed %v: got %q", sealed, is)
		}
		if sealed {
			continue
		}
		name := filepath.Join(p.Backups.Dir, p.Backups.names(t)[0])
		if err := os.Rename(name, strings.Replace(name, ".json", "-pinned.json", 1)); err != nil {
			t.Fatal(err)
		}
		if is := p.damage(t); is != "" {
			t.Errorf("the backup is pinned: got %q", is)
		}
	}
}
