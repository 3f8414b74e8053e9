package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func shortSegments() events.Options {
	return events.Options{SegmentBytes: 4096, MinFree: 1, Reserve: -1}
}

// trimmer is that of a host, which keeps two segments or so.
func (h *host) trimmer(t testing.TB) *Trimmer {
	t.Helper()
	p := h.increments(t)
	p.All = true
	return &Trimmer{Source: h.log, Increments: p, Drill: &Drill{Backups: p.Backups, Log: h.view.Log}, Folds: h.folds, Bytes: 8000, Log: h.view.Log}
}

// ready makes the backup and the increments that a trim wants.
func (tr *Trimmer) ready(t testing.TB) {
	t.Helper()
	tr.Increments.turn(t)
	if _, err := tr.Increments.Backups.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Drill.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (tr *Trimmer) turn(t testing.TB) {
	t.Helper()
	if err := tr.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What is trimmed is still to be read, at every moment and event by event, and the host starts without it.
func TestTrimmer_historyStaysReadable(t *testing.T) {
	dir := t.TempDir()
	h := openWith(t, dir, shortSegments())
	var states []*projection.State
	trimmed := uint64(1)
	for range 3 {
		states = append(states, h.changes(t, 40)...)
		tr := h.trimmer(t)
		tr.ready(t)
		tr.turn(t)
		if first := h.log.First(); first <= trimmed || tr.Said() != (Trimmed{Count: 1}) {
			t.Fatalf("nothing was trimmed: the log begins with event %d, %+v", first, tr.Said())
		}
		trimmed = h.log.First()
		h.close()
		h = openWith(t, dir, shortSegments())
		if got, want := h.View().Digest(), states[len(states)-1].Digest(); got != want {
			t.Fatalf("after a start: got %s, want %s", got, want)
		}
	}
	for _, want := range states {
		got, err := h.folds.At(t.Context(), Moment{Index: want.Index()})
		if err != nil || got.Digest() != want.Digest() {
			t.Fatalf("event %d: %v", want.Index(), err)
		}
	}
	all := &History{Log: h.log, Dir: filepath.Join(dir, "backups")}
	for _, from := range []uint64{1, 2, 17, trimmed - 1, trimmed, trimmed + 1} {
		for what, read := range map[string]func(func(events.Record) error) error{
			"Read": func(fn func(events.Record) error) error { return all.Read(t.Context(), from-1, fn) },
			"Scan": func(fn func(events.Record) error) error { return all.Scan(from, fn) }} { // here each record has one event
			next := from
			err := read(func(r events.Record) error {
				if r.Index != next || r.Number != next || events.HashOf(r.Payload) != r.Hash {
					return fmt.Errorf("event %d, want %d", r.Index, next)
				}
				next++
				return nil
			})
			if err != nil || next != h.log.End().Index+1 {
				t.Errorf("%s from %d: ended at %d, %v", what, from, next, err)
			}
		}
	}
	for _, what := range []string{"verified", "verified where there is a part of a larger one"} {
		if what != "verified" {
			all.layPart(t)
		}
		chains, err := events.Verify(t.Context(), filepath.Join(dir, "events"), nil, all.Trimmed)
		if err != nil || len(chains) != 1 || chains[0].Trimmed != 0 || chains[0].Holds() != h.log.End().Index {
			t.Errorf("%s: %v, %+v", what, err, chains)
		}
	}
	lost := errors.New("lost")
	if err := all.Read(t.Context(), 0, func(events.Record) error { return lost }); !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
	// Without any snapshot of the fold the start is longer, and the same.
	names, err := h.folds.names()
	if err != nil {
		t.Fatal(err)
	}
	h.close()
	for _, name := range names {
		if err := os.Truncate(name, 100); err != nil {
			t.Fatal(err)
		}
	}
	h = openWith(t, dir, shortSegments())
	if got, want := h.View().Digest(), states[len(states)-1].Digest(); got != want {
		t.Fatalf("from the increments: got %s, want %s", got, want)
	}
	h.close()
	if err := os.RemoveAll(filepath.Join(dir, "backups")); err != nil {
		t.Fatal(err)
	}
	l, err := events.Open(filepath.Join(dir, "events"), shortSegments())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := projection.OpenLedger(&History{Log: l, Dir: filepath.Join(dir, "backups")}, nil, 1, nil); !errors.Is(err, events.ErrTrimmed) {
		t.Errorf("without either: got %v", err)
	}
}

// layPart has an increment stand beside the first that is a part of it, as a crash leaves one after it was put together with others.
func (h *History) layPart(t *testing.T) {
	t.Helper()
	folder, _ := newestPieces(h.Dir, h.ID())
	all, err := listPieces(folder)
	if err != nil {
		t.Fatal(err)
	}
	p, err := readPieceFile(folder, all[0], h.Keys)
	if err != nil {
		t.Fatal(err)
	}
	some := p.Records[:len(p.Records)/2]
	last := some[len(some)-1]
	p.PieceHead.Last = last.Last()
	var lines []byte
	for i := range some {
		lines = appendRecord(lines, &some[i])
	}
	data, err := appendPiece(nil, p.PieceHead, lines, pieceEnd{Records: len(some), Hash: last.Hash})
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, nameOfPiece(p.First, p.PieceHead.Last, false)), data, 0o640)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What was trimmed is lost when the increment that has it is damaged: then what is left is read, as of a log that has no increments. While the disk does
// not give it, that is not known.
func TestHistory_damagedIncrement(t *testing.T) {
	dir := t.TempDir()
	h := openWith(t, dir, shortSegments())
	h.changes(t, 40)
	tr := h.trimmer(t)
	tr.ready(t)
	tr.turn(t)
	all, err := listPieces(tr.Increments.folder)
	if err != nil || len(all) == 0 || h.log.First() == 1 {
		t.Fatalf("%d increments, %v; the log begins with event %d", len(all), err, h.log.First())
	}
	path := filepath.Join(tr.Increments.folder, all[0].Name)
	whole := read(t, path)
	bad := bytes.Clone(whole)
	bad[len(bad)/2] ^= 1
	write(t, path, bad)
	history := &History{Log: h.log, Dir: filepath.Join(dir, "backups")}
	none := func(events.Record) error { return nil }
	for what, err := range map[string]error{"Scan": history.Scan(1, none), "Scan from 2": history.Scan(2, none), "Read": history.Read(t.Context(), 0, none)} {
		if !errors.Is(err, events.ErrTrimmed) || !strings.Contains(err.Error(), all[0].Name) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, found, err := h.Forgone(t.Context()); found || err != nil {
		t.Errorf("what others have given up is looked for in what is left: got %v, %v", found, err)
	}
	write(t, path, whole)
	lost := errors.New("lost")
	if err := history.Scan(1, func(events.Record) error { return lost }); !errors.Is(err, lost) || errors.Is(err, events.ErrTrimmed) {
		t.Errorf("whoever reads ends it: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var damaged *badPieceError
	if _, err := history.piece(tr.Increments.folder, all[0]); err == nil || errors.As(err, &damaged) {
		t.Errorf("what the disk does not give is damaged: %v", err)
	}
}

// Nothing goes before all that it goes behind is there, and right.
func TestTrimmer_waits(t *testing.T) {
	h := openWith(t, t.TempDir(), shortSegments())
	tr := h.trimmer(t)
	h.changes(t, 60)
	keeps := func(what, waits, failed string) {
		t.Helper()
		err := tr.Once(t.Context())
		if h.log.First() != 1 {
			t.Fatalf("%s: trimmed to event %d", what, h.log.First())
		}
		if (err != nil) != (failed != "") || err != nil && !strings.Contains(err.Error(), failed) || !strings.Contains(tr.Said().Waits, waits) {
			t.Errorf("%s: got %v, %+v; want %q, %q", what, err, tr.Said(), waits, failed)
		}
	}
	keeps("nothing is there", "a backup that has been verified", "")
	tr.Increments.Backups.Of = nil // as in earlier versions, or where it could not be told
	if _, err := tr.Increments.Backups.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Drill.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	keeps("a backup of before there were increments", "a verified backup that the increments go with", "")
	tr.Increments.Backups.Of = tr.Increments.Find
	tr.Drill = &Drill{Backups: tr.Increments.Backups, Log: h.view.Log}
	tr.Increments.turn(t)
	if _, err := tr.Increments.Backups.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	keeps("a backup that nobody has looked at", "a backup that has been verified", "")
	if _, err := tr.Drill.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	pieces := tr.Increments.turn(t)
	away := filepath.Join(t.TempDir(), "away")
	first := filepath.Join(tr.Increments.folder, pieces[0].Name)
	if err := os.Rename(first, away); err != nil {
		t.Fatal(err)
	}
	keeps("no increment", "increments that have what is to go", "")
	whole, err := os.ReadFile(away)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first, whole[:len(whole)-1], 0o640); err != nil {
		t.Fatal(err)
	}
	keeps("a damaged one", "increments that have what is to go", "")
	if tr.Increments.turn(t); !bytes.Equal(read(t, first), whole) || !bytes.Equal(read(t, first+".damaged"), whole[:len(whole)-1]) {
		t.Error("it is not made good")
	}
	piece, err := ReadPiece(whole)
	if err != nil {
		t.Fatal(err)
	}
	piece.Records[3].Payload = append([]byte(nil), piece.Records[3].Payload...)
	piece.Records[3].Payload[len(piece.Records[3].Payload)-3] ^= 1
	piece.Records[3].Hash = events.HashOf(piece.Records[3].Payload)
	var lines []byte
	for i := range piece.Records {
		lines = appendRecord(lines, &piece.Records[i])
	}
	data, err := appendPiece(nil, piece.PieceHead, lines, pieceEnd{Records: len(piece.Records), Hash: piece.Records[len(piece.Records)-1].Hash})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first, data, 0o640); err != nil {
		t.Fatal(err)
	}
	keeps("one that has something else", "", "has not what the log has as event 4")
	if err := os.WriteFile(first, whole, 0o640); err != nil {
		t.Fatal(err)
	}
	// No place for a snapshot of the fold.
	blocked := filepath.Join(h.folds.Dir, "fold.tmp")
	if err := os.Mkdir(blocked, 0o750); err != nil {
		t.Fatal(err)
	}
	keeps("no snapshot of the fold", "", "a snapshot of the fold")
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(tr.Increments.Backups.Dir, tr.Drill.Said().File)
	if err := os.Rename(backup, away); err != nil {
		t.Fatal(err)
	}
	keeps("the backup is gone", "", "state-backup-")
	if err := os.Rename(away, backup); err != nil {
		t.Fatal(err)
	}
	if tr.turn(t); h.log.First() == 1 {
		t.Errorf("all is there: %+v", tr.Said())
	}
}

// A log that was trimmed and then put back to an earlier time takes along what it has nowhere else.
func TestTrimmer_putBack(t *testing.T) {
	dir := t.TempDir()
	h := openWith(t, dir, shortSegments())
	states := h.changes(t, 60)
	tr := h.trimmer(t)
	tr.ready(t)
	tr.turn(t)
	h.close()
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(filepath.Join(dir, "events"))); err != nil {
		t.Fatal(err)
	}
	h = openWith(t, dir, shortSegments())
	h.changes(t, 10)
	h.trimmer(t).Increments.turn(t)
	h.close()
	if err := os.RemoveAll(filepath.Join(dir, "events")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "events"), os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	h = openWith(t, dir, shortSegments())
	states = append(states, h.changes(t, 20)...)
	p := h.trimmer(t).Increments
	p.turn(t)
	if !strings.HasSuffix(p.Of(), "-2") {
		t.Fatalf("it goes on in %s", p.Of())
	}
	for _, want := range states {
		got, err := h.folds.At(t.Context(), Moment{Index: want.Index()})
		if err != nil || got.Digest() != want.Digest() {
			t.Fatalf("event %d: %v", want.Index(), err)
		}
	}
}

// The log is trimmed behind what is verified now, and goes with its increments: not behind a backup that another has turned out damaged after, nor one of
// another log, nor beyond the event that it is of.
func TestTrimmer_behindWhatIsVerified(t *testing.T) {
	h := openWith(t, t.TempDir(), shortSegments())
	tr := h.trimmer(t)
	b := tr.Increments.Backups
	now := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	b.Now = func() time.Time { now = now.Add(time.Second); return now }
	h.changes(t, 30)
	tr.ready(t)
	index := h.View().Index()
	h.changes(t, 60)
	tr.Increments.turn(t)
	whole := tr.Drill.Said()
	waits := func(what, want string) {
		t.Helper()
		if tr.turn(t); h.log.First() != 1 || !strings.Contains(tr.Said().Waits, want) {
			t.Errorf("%s: the log begins with event %d, and waits for %q", what, h.log.First(), tr.Said().Waits)
		}
	}
	f, err := b.Create(t.Context(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(b.Dir, f.Name), 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Drill.Once(t.Context()); err == nil || tr.Drill.Said().File != whole.File {
		t.Fatalf("the drill of a damaged one: %v, %+v", err, tr.Drill.Said())
	}
	waits("the newest is damaged", "a backup that has been verified")
	if err := os.Remove(filepath.Join(b.Dir, f.Name)); err != nil {
		t.Fatal(err)
	}
	b.Of = func(context.Context) string { return "log-0123" }
	if f, err = b.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Drill.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	waits("the newest is of another log", "a verified backup that the increments go with")
	if err := os.Remove(filepath.Join(b.Dir, f.Name)); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Drill.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tr.turn(t); h.log.First() == 1 || h.log.First() > index+1 {
		t.Errorf("the log begins with event %d, and the backup is of event %d: %+v", h.log.First(), index, tr.Said())
	}
}

// unreadable has a piece be one that cannot be read now: on a disk that fails, or of a later form.
func (p *Increments) unreadable(t *testing.T, f PieceFile) (undo func()) {
	t.Helper()
	path := filepath.Join(p.folder, f.Name)
	if was := read(t, path); !f.Sealed {
		text, err := plain(was)
		if err != nil {
			t.Fatal(err)
		}
		body := []byte(strings.Replace(string(text[:len(text)-checksumLen]), `"version":1`, `"version":2`, 1))
		write(t, path, appendChecksum(body, body))
		return func() { write(t, path, was) }
	}
	path += besideEnd
	was := read(t, path)
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o750)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		write(t, path, was)
	}
}

// A bit that rots in an increment between others holds a trim up for one turn: the log has yet what was in it. Not so where the log has not all of that any more, nor where the increment
// only cannot be read: then it is said, and it stays as it is.
func TestTrimmer_damagedBetween(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		h := openWith(t, t.TempDir(), shortSegments())
		tr := h.trimmer(t)
		p := tr.Increments
		if sealed {
			p.Backups.For, _, _ = pair(t)
		}
		for range 6 {
			h.changes(t, 10)
			p.turn(t)
		}
		tr.ready(t)
		all := p.turn(t)
		bad := all[1]
		path := filepath.Join(p.folder, bad.Name)
		whole := read(t, path)
		undo := p.unreadable(t, bad)
		if err := tr.Once(t.Context()); err == nil || damaged(err) || h.log.First() != 1 {
			t.Errorf("sealed %v: one that cannot be read: got %v", sealed, err)
		}
		undo()
		rotten := bytes.Clone(whole)
		rotten[len(rotten)/2] ^= 4
		write(t, path, rotten)
		if tr.turn(t); h.log.First() > bad.First {
			t.Fatalf("sealed %v: the log begins with event %d, and events %d to %d are damaged", sealed, h.log.First(), bad.First, bad.Last)
		}
		if got := p.turn(t); len(got) != len(all) || !bytes.Equal(read(t, path+".damaged"), rotten) {
			t.Fatalf("sealed %v: got %v, want %v", sealed, got, all)
		}
		if _, _, err := checkPiece(p.folder, bad, p.Backups.Keys); err != nil {
			t.Errorf("sealed %v: it is not made good: %v", sealed, err)
		}
		if tr.turn(t); h.log.First() <= bad.Last {
			t.Fatalf("sealed %v: trimmed to event %d only, %+v", sealed, h.log.First(), tr.Said())
		}
		h.changes(t, 60)
		p.turn(t)
		tr.ready(t)
		all = p.turn(t)
		first := h.log.First()
		i := slices.IndexFunc(all, func(f PieceFile) bool { return f.Last >= first })
		if all[i].First == first {
			t.Fatalf("the log begins with event %d, as an increment does", first)
		}
		path = filepath.Join(p.folder, all[i].Name)
		whole = read(t, path)
		write(t, path, whole[:len(whole)-1])
		if err := tr.Once(t.Context()); err == nil || !strings.Contains(err.Error(), all[i].Name) || h.log.First() != first {
			t.Errorf("sealed %v: one that the log has not all of any more: got %v", sealed, err)
		}
		if got := read(t, path); len(got) != len(whole)-1 {
			t.Errorf("sealed %v: it is another", sealed)
		}
	}
}

// What a restore to a moment would change can be seen also of what was trimmed off the log, as the restore itself finds it.
func TestRestorer_sourceAtDryOfATrimmedLog(t *testing.T) {
	h := openWith(t, t.TempDir(), shortSegments())
	h.changes(t, 3)
	tr := h.trimmer(t)
	tr.ready(t)
	states := h.changes(t, 60)
	tr.ready(t)
	tr.turn(t)
	r := h.restorer(t)
	r.Backups, r.Increments = tr.Increments.Backups, tr.Increments
	want := states[5]
	if first := h.log.First(); want.Index()+1 >= first {
		t.Fatalf("the log begins with event %d", first)
	}
	for _, dry := range []bool{true, false} {
		from, err := r.SourceAt(t.Context(), r.Backups.names(t)[0], Moment{Index: want.Index()}, dry)
		if err != nil || !reflect.DeepEqual(from.Want, want.Declarations()) {
			t.Errorf("dry %v: %v", dry, err)
		}
	}
}
