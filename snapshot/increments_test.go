package snapshot

import (
	"bytes"
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
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// increments are those of a host beside its backups.
func (h *host) increments(t testing.TB) *Increments {
	t.Helper()
	b := &Backups{Dir: filepath.Join(h.dir, "backups"), Cluster: "default", Node: "a", Agent: "1.2", Ledger: h.Ledger, Log: h.view.Log}
	p := &Increments{Backups: b, Source: h.log, Every: time.Minute, Log: h.view.Log}
	b.Of = p.Find
	return p
}

func (p *Increments) turn(t testing.TB) []PieceFile {
	t.Helper()
	if err := p.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := listPieces(p.folder)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// changes makes changes, and gives the states after each.
func (h *host) changes(t testing.TB, n int) (states []*projection.State) {
	t.Helper()
	for i := range n {
		key, object := fmt.Sprintf("deployment/default/d%d", i%7), fmt.Sprintf(`{"n":%d,"s":"\"<&>"}`, h.View().Index())
		if _, ok := h.View().Lookup(key); ok && i%5 == 3 {
			object = ""
		}
		h.apply(t, key, object)
		states = append(states, h.View().State)
	}
	return states
}

// A folder of backups and increments gives the state at every moment, on a host that has nothing else.
func TestFolder_everyMoment(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	var states []*projection.State
	for i := range 12 {
		states = append(states, h.changes(t, 1+i)...)
		p.turn(t)
		if i%5 == 4 {
			if _, err := p.Backups.Create(t.Context(), "", false); err != nil {
				t.Fatal(err)
			}
		}
		if i == 7 { // the state is said anew by another host
			other := open(t, t.TempDir())
			other.apply(t, "service/default/elsewhere", `{"kind":"Service"}`)
			if err := h.Join(t.Context(), other.View().State, "told by another"); err != nil {
				t.Fatal(err)
			}
			states = append(states, h.View().State)
		}
	}
	p.turn(t)
	dir := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.CopyFS(dir, os.DirFS(p.Backups.Dir)); err != nil {
		t.Fatal(err)
	}
	f := Folder{Dir: dir}
	checked := 0
	for _, want := range states[1:] { // the first backup came after the first change
		got, about, err := f.At(t.Context(), "", Moment{Index: want.Index()})
		if err != nil {
			t.Fatalf("event %d: %v", want.Index(), err)
		}
		if got.Digest() != want.Digest() || got.Index() != want.Index() || about.Node != "a" {
			t.Fatalf("event %d: got that of event %d, which differs", want.Index(), got.Index())
		}
		if got, _, err = f.At(t.Context(), "", Moment{Time: want.At()}); err != nil || got.Index() < want.Index() || got.At().After(want.At()) {
			t.Fatalf("%v: got that of event %d, %v, %v; want event %d", want.At(), got.Index(), got.At(), err, want.Index())
		}
		checked++
	}
	if checked < 70 {
		t.Fatalf("only %d moments", checked)
	}
	last := states[len(states)-1].Index()
	for _, m := range []Moment{{Index: last + 1}, {Time: time.Now().Add(-time.Hour)}} {
		if s, _, err := f.At(t.Context(), "", m); !errors.Is(err, ErrNoMoment) {
			t.Errorf("%+v: got %v, %v", m, s, err)
		}
	}
	files, err := (&Backups{Dir: dir}).List()
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	newest := files[len(files)-1].Name
	if _, _, err := f.At(t.Context(), newest, Moment{Index: 2}); !errors.Is(err, ErrNoMoment) {
		t.Errorf("a moment before the backup that was named: %v", err)
	}
	if s, err := f.Verify(t.Context(), files[0].Name); err != nil || s.Digest() != h.View().Digest() {
		t.Errorf("all of it folded: %v", err)
	}
}

// Nothing appended, nothing written; else one piece, that follows on the one before.
func TestIncrements_onlyWhatIsNew(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	if got := p.turn(t); len(got) != 0 {
		t.Errorf("of an empty log: %v", got)
	}
	h.changes(t, 3)
	if got := p.turn(t); len(got) != 0 { // the first backup has it all
		t.Errorf("got %v", got)
	}
	h.changes(t, 4)
	first := p.turn(t)
	if got := p.turn(t); len(first) != 1 || !slices.Equal(got, first) {
		t.Errorf("got %v, then %v", first, got)
	}
	h.changes(t, 2)
	got := p.turn(t)
	if len(got) != 2 || got[0] != first[0] || got[1].First != first[0].Last+1 || got[1].Last != h.View().Index() {
		t.Errorf("got %v", got)
	}
	var whole [2]*Piece
	for i := range whole {
		var err error
		if whole[i], err = readPieceFile(p.folder, got[i], seal.Keys{}); err != nil {
			t.Fatal(err)
		}
	}
	if prev := whole[0].Records[len(whole[0].Records)-1].Hash; whole[1].Prev != prev || prev == (events.Hash{}) || whole[1].Digest != h.View().Digest() {
		t.Errorf("got a piece %+v that does not name the hash before it, %v", whole[1].PieceHead, prev)
	}
	if said := p.Said(); said.Last != h.View().Index() || said.Pieces != 2 || said.Made != 2 || said.Failed != nil {
		t.Errorf("it says %+v", said)
	}
	if info, err := os.Stat(filepath.Join(p.folder, got[0].Name)); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v; want mode 0640", info.Mode(), err)
	}
}

// Whatever bit of a piece is flipped, wherever it ends: it is found.
func TestReadPiece_damage(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	h.changes(t, 1)
	p.turn(t)
	h.changes(t, 3)
	f := p.turn(t)[0]
	packed, err := os.ReadFile(filepath.Join(p.folder, f.Name))
	if err != nil {
		t.Fatal(err)
	}
	text, err := plain(packed)
	if err != nil {
		t.Fatal(err)
	}
	for _, whole := range [][]byte{packed, text} {
		if _, err := ReadPiece(whole); err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			for bit := range 8 {
				bad := bytes.Clone(whole)
				bad[i] ^= 1 << bit
				if _, err := ReadPiece(bad); err == nil {
					t.Fatalf("bit %d of byte %d of %d is flipped, and nobody says so", bit, i, len(whole))
				}
			}
			if _, err := ReadPiece(whole[:i]); err == nil && i != len(whole)-40 { // without the seal it is what zstd would have made
				t.Fatalf("cut off after byte %d of %d, and nobody says so", i, len(whole))
			}
		}
	}
	if _, err := ReadPiece([]byte("{}\n")); err == nil || !strings.Contains(err.Error(), "not a piece of a log") {
		t.Errorf("got %v", err)
	}
}

// What is no JSON of one line is kept byte for byte as well.
func TestAppendRecord_bytes(t *testing.T) {
	for _, payload := range []string{`{"v":1}`, "{\n}", "no JSON", `{"a":"<>&\u2028é"}`} {
		want := events.Record{Number: 3, Index: 7, Count: 2, At: time.UnixMicro(1_700_000_000_000_001).UTC(), Inc: 0xfe, Seq: 9,
			Hash: events.HashOf([]byte(payload)), Payload: []byte(payload)}
		got, err := parseRecord(bytes.TrimSuffix(appendRecord(nil, &want), []byte("\n")))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %+v, %v; want %+v", payload, got, err, want)
		}
	}
}

func FuzzReadPiece(f *testing.F) {
	r := events.Record{Number: 1, Index: 1, Count: 1, At: time.UnixMicro(1), Hash: events.HashOf([]byte("{}")), Payload: []byte("{}")}
	whole, err := appendPiece(nil, PieceHead{Log: "x", First: 1, Last: 1}, appendRecord(nil, &r), pieceEnd{Records: 1, Hash: r.Hash})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:len(whole)-checksumLen])
	f.Fuzz(func(t *testing.T, body []byte) { // with a checksum that fits, whatever it is
		if p, err := ReadPiece(appendChecksum(bytes.Clone(body), body)); err == nil && len(p.Records) == 0 {
			t.Error("a piece of nothing")
		}
	})
}

// Many small pieces become one; a crash at any point of that leaves all that was there.
func TestIncrements_merge(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	h.changes(t, 1)
	p.turn(t)
	var last []PieceFile
	for range manySmall - 1 {
		h.changes(t, 1)
		last = p.turn(t)
	}
	if len(last) != manySmall-1 {
		t.Fatalf("got %d pieces", len(last))
	}
	before := t.TempDir()
	if err := os.CopyFS(before, os.DirFS(p.folder)); err != nil {
		t.Fatal(err)
	}
	h.changes(t, 1)
	merged := p.turn(t)
	if len(merged) != 1 || merged[0].First != last[0].First || merged[0].Last != h.View().Index() {
		t.Fatalf("got %v", merged)
	}
	piece, err := readPieceFile(p.folder, merged[0], seal.Keys{})
	if err != nil || piece.Digest != h.View().Digest() {
		t.Errorf("got %+v, %v", piece, err)
	}
	// Killed after the large one was written, with some of the parts left.
	for i := range 3 {
		name := last[i*20].Name
		data, err := os.ReadFile(filepath.Join(before, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.folder, name), data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if s, _, err := (Folder{Dir: p.Backups.Dir}).At(t.Context(), "", Moment{Index: h.View().Index()}); err != nil || s.Digest() != h.View().Digest() {
		t.Errorf("with parts left: %v", err)
	}
	if got := p.turn(t); !slices.Equal(got, merged) {
		t.Errorf("got %v, want the parts removed", got)
	}
}

// What a kept backup needs stays; what is before all of them goes, and comes back when it is wanted again.
func TestIncrements_prune(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	now := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	p.Backups.Now = func() time.Time { now = now.Add(time.Second); return now }
	p.Backups.Keep = Keep{Last: 2}
	for range 4 {
		h.changes(t, 3)
		p.turn(t)
		h.changes(t, 2)
		p.turn(t)
		if _, err := p.Backups.Create(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
	}
	all := p.turn(t)
	if _, err := p.Backups.Prune(false); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(filepath.Dir(p.folder), "log-0123")
	if err := os.CopyFS(foreign, os.DirFS(p.folder)); err != nil {
		t.Fatal(err)
	}
	got := p.turn(t)
	oldest, err := p.oldest()
	if err != nil {
		t.Fatal(err)
	}
	from := oldest[p.Of()]
	if len(got) >= len(all) || got[0].Last <= from || got[0].First > from+1 {
		t.Errorf("the oldest backup is of event %d: got %v of %v", from, got, all)
	}
	if _, err := os.Stat(foreign); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the increments of a log without a backup are still there: %v", err)
	}
	for index := from; index <= h.View().Index(); index++ {
		if s, _, err := (Folder{Dir: p.Backups.Dir}).At(t.Context(), "", Moment{Index: index}); err != nil || s.Index() != index {
			t.Errorf("event %d: %v", index, err)
		}
	}
	if err := os.CopyFS(foreign, os.DirFS(p.folder)); err != nil {
		t.Fatal(err)
	}
	p.All = true
	if got := p.turn(t); got[0].First != 1 || len(gaps(got, 1, h.View().Index())) != 0 {
		t.Errorf("all are wanted: got %v", got)
	}
	if got := p.turn(t); got[0].First != 1 {
		t.Errorf("all are wanted, and some removed: got %v", got)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("all are wanted, and those of another log are gone: %v", err)
	}
}

// Each restore pins a backup for good. It is enough by itself, so that the increments after it go with the others; as long as no other backup is there, it is what they go on from.
func TestIncrements_prunePinned(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	now := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	p.Backups.Now = func() time.Time { now = now.Add(time.Second); return now }
	p.Backups.Keep = Keep{Last: 1}
	h.changes(t, 3)
	p.turn(t) // makes the first backup
	h.changes(t, 3)
	p.turn(t)
	pinned, err := p.Backups.Create(t.Context(), "before a restore", true)
	if err != nil {
		t.Fatal(err)
	}
	was := h.View().State
	if err := os.Remove(filepath.Join(p.Backups.Dir, p.Backups.names(t)[0])); err != nil {
		t.Fatal(err)
	}
	h.changes(t, 3)
	if got := p.turn(t); len(p.Backups.names(t)) != 1 || got[len(got)-1].First != was.Index()+1 {
		t.Errorf("it is the only one: got %v, %v", got, p.Backups.names(t))
	}
	drill := &Drill{Backups: p.Backups, Log: h.view.Log}
	for range 3 {
		h.changes(t, 3)
		p.turn(t)
		if _, err := p.Backups.Create(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Backups.Prune(false); err != nil {
			t.Fatal(err)
		}
		p.turn(t)
		if _, err := drill.Once(t.Context()); err != nil {
			t.Error(err)
		}
	}
	h.changes(t, 3)
	p.turn(t)
	h.changes(t, 3)
	got := p.turn(t)
	if got[0].First <= was.Index()+1 {
		t.Fatalf("nothing has gone: %v", got)
	}
	if _, err := drill.Once(t.Context()); err != nil { // now that there are some after the newest
		t.Error(err)
	}
	f := Folder{Dir: p.Backups.Dir}
	if s, _, err := f.At(t.Context(), pinned.Name, Moment{Index: was.Index()}); err != nil || s.Digest() != was.Digest() {
		t.Errorf("what it is of: %v", err)
	}
	want := fmt.Sprintf("events %d to %d are in no piece", was.Index()+1, got[0].First-1)
	for _, m := range []Moment{{Index: was.Index() + 1}, {Time: h.View().At()}} {
		if _, _, err := f.At(t.Context(), pinned.Name, m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("from it to what has gone: got %v, want %q", err, want)
		}
	}
	if s, err := f.Verify(t.Context(), pinned.Name); err != nil || s.Digest() != was.Digest() {
		t.Errorf("it is whole: got %v", err)
	}
	if err := os.Remove(filepath.Join(p.folder, got[len(got)-2].Name)); err != nil {
		t.Fatal(err)
	}
	all := p.Backups.names(t)
	if _, err := f.Verify(t.Context(), all[len(all)-1]); err == nil || len(all) != 3 { // and one that was drilled before it
		t.Errorf("the last of %v, which is not pinned, and what it needs has gone, is whole", all)
	}
}

// The backup that needs the most is the one of the earliest event, also where a clock that was put back has another be the oldest by name.
func TestIncrements_pruneAfterTheClockWasPutBack(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	now := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	p.Backups.Now = func() time.Time { return now }
	h.changes(t, 3)
	p.turn(t) // makes the first backup
	h.changes(t, 3)
	all := p.turn(t)
	now = now.Add(-time.Hour)
	if _, err := p.Backups.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	if got := p.turn(t); len(all) == 0 || !slices.Equal(got, all) {
		t.Errorf("got %v; the first backup needs %v", got, all)
	}
}

// A backup that cannot be read might need any increment: none is removed.
func TestIncrements_pruneInDoubt(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	h.changes(t, 2)
	p.turn(t)
	h.changes(t, 2)
	all := p.turn(t)
	name := filepath.Join(p.Backups.Dir, "state-backup-20200101-000000.json")
	if err := os.WriteFile(name, []byte(beginning+"damaged"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := p.Once(t.Context()); err != nil || !strings.Contains(fmt.Sprint(p.Said().Stays), "cannot be told") {
		t.Errorf("got %v, %v", err, p.Said().Stays)
	}
	if got, err := listPieces(p.folder); err != nil || !slices.Equal(got, all) {
		t.Errorf("got %v, %v; want %v", got, err, all)
	}
	h.changes(t, 2)
	if got := p.turn(t); len(got) != len(all)+1 || got[len(all)].Last != h.View().Index() || p.Said().Stays == nil {
		t.Errorf("what was appended meanwhile: got %v after %v; stays: %v", got, all, p.Said().Stays)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if p.turn(t); p.Said().Stays != nil {
		t.Errorf("once the backup was moved away: %v", p.Said().Stays)
	}
}

// A log that has been put back to an earlier time goes on otherwise: its increments do not come between those that are there.
func TestIncrements_logPutBack(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	p := h.increments(t)
	h.changes(t, 3)
	p.turn(t)
	h.close()
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(filepath.Join(dir, "events"))); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir)
	p = h.increments(t)
	h.changes(t, 6)
	p.turn(t)
	first, was := p.Of(), h.View().State
	h.close()
	if err := os.RemoveAll(filepath.Join(dir, "events")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "events"), os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and it is found again
		h = open(t, dir)
		p = h.increments(t)
		h.changes(t, 8)
		p.turn(t)
		if p.Of() != first+"-2" {
			t.Fatalf("got %s, want another folder than %s", p.Of(), first)
		}
		h.close()
	}
	files, err := p.Backups.List()
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := (Folder{Dir: p.Backups.Dir}).At(t.Context(), files[0].Name, Moment{Index: was.Index()})
	if err != nil || s.Digest() != was.Digest() {
		t.Errorf("what was there before: %v", err)
	}
	now := h.View().State
	if s, _, err = (Folder{Dir: p.Backups.Dir}).At(t.Context(), "", Moment{Time: time.Now()}); err != nil || s.Digest() != now.Digest() {
		t.Errorf("what is there now: %v", err)
	}
	if _, _, err := (Folder{Dir: p.Backups.Dir}).At(t.Context(), "", Moment{Index: 2}); err == nil || !strings.Contains(err.Error(), "several logs") {
		t.Errorf("an event of two logs: got %v", err)
	}
}

// A piece that is damaged is made again from the log, which has it still.
func TestIncrements_damageIsMadeGood(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	p := h.increments(t)
	h.changes(t, 2)
	p.turn(t)
	h.changes(t, 3)
	f := p.turn(t)[0]
	if err := os.Truncate(filepath.Join(p.folder, f.Name), f.Bytes-1); err != nil {
		t.Fatal(err)
	}
	h.close()
	h = open(t, dir)
	p = h.increments(t)
	got := p.turn(t)
	if len(got) != 1 || got[0].Name != f.Name {
		t.Errorf("got %v", got)
	}
	if _, err := readPieceFile(p.folder, got[0], seal.Keys{}); err != nil {
		t.Error(err)
	}
}

// A piece that is whole and says what is not so is refused.
func TestReadPiece_whole(t *testing.T) {
	record := func(index uint64, payload string) events.Record {
		return events.Record{Number: index, Index: index, Count: 1, At: time.UnixMicro(1).UTC(), Hash: events.HashOf([]byte(payload)), Payload: []byte(payload)}
	}
	good := []events.Record{record(5, `{"a":1}`), record(6, `{"a":2}`)}
	forged := record(6, `{"a":2}`)
	forged.Payload = []byte(`{"a":3}`)
	for name, c := range map[string]struct {
		records []events.Record
		head    PieceHead
		end     pieceEnd
		says    string
	}{
		"good":              {good, PieceHead{First: 5, Last: 6}, pieceEnd{Records: 2, Hash: good[1].Hash}, ""},
		"another commit":    {[]events.Record{good[0], forged}, PieceHead{First: 5, Last: 6}, pieceEnd{Records: 2, Hash: forged.Hash}, "its hash is not that of its commit"},
		"one is missing":    {[]events.Record{good[0], record(7, `{}`)}, PieceHead{First: 5, Last: 7}, pieceEnd{Records: 2, Hash: record(7, `{}`).Hash}, "event 7 follows on event 5"},
		"another first":     {good, PieceHead{First: 4, Last: 6}, pieceEnd{Records: 2, Hash: good[1].Hash}, "not those that it says"},
		"another last":      {good, PieceHead{First: 5, Last: 7}, pieceEnd{Records: 2, Hash: good[1].Hash}, "not those that it says"},
		"another last hash": {good, PieceHead{First: 5, Last: 6}, pieceEnd{Records: 2, Hash: good[0].Hash}, "not those that it says"},
		"fewer":             {good, PieceHead{First: 5, Last: 6}, pieceEnd{Records: 3, Hash: good[1].Hash}, "not those that it says"},
		"nothing":           {nil, PieceHead{First: 5, Last: 6}, pieceEnd{}, "not those that it says"},
	} {
		var lines []byte
		for i := range c.records {
			lines = appendRecord(lines, &c.records[i])
		}
		data, err := appendPiece(nil, c.head, lines, c.end)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPiece(data); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}

// Where increments go back to the beginning (--log-keep), and the only backup was made before its agent knew which log they are of, they tell of each moment.
func TestFolder_backupThatKnewNoLog(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	p.All = true
	p.Backups.Of = nil // as in earlier versions, or where it could not be told
	if _, err := p.Backups.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	p.Backups.Of = p.Find
	states := h.changes(t, 4)
	if all := p.turn(t); len(all) == 0 || all[0].First != 1 {
		t.Fatalf("increments: %+v, want them from event 1 on", all)
	}
	for _, c := range []struct {
		Moment
		want *projection.State
	}{{Moment{Index: 2}, states[1]}, {Moment{Time: time.Now().Add(time.Hour)}, states[3]}} {
		s, _, err := Folder{Dir: p.Backups.Dir}.At(t.Context(), "", c.Moment)
		if err != nil || s.Digest() != c.want.Digest() {
			t.Errorf("at %+v: %v, want the state after event %d", c.Moment, err, c.want.Index())
		}
	}
}

// A backup that is made before the first increments of an agent's life, of an empty log too, has those that come go on from it.
func TestBackups_beforeTheFirstIncrements(t *testing.T) {
	for _, n := range []int{0, 3} {
		h := open(t, t.TempDir())
		p := h.increments(t)
		h.changes(t, n)
		b, err := p.Backups.Create(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		states := h.changes(t, 4)
		p.turn(t)
		if names := p.Backups.names(t); len(names) != 1 {
			t.Errorf("after %d events: for increments to go on from there are %v", n, names)
		}
		s, about, err := Folder{Dir: p.Backups.Dir}.At(t.Context(), b.Name, Moment{Index: states[1].Index()})
		if err != nil || s.Digest() != states[1].Digest() || about.Log == "" {
			t.Errorf("after %d events: from %+v: %v, want the state after event %d", n, about, err, states[1].Index())
		}
	}
}

// To look at what would be restored changes nothing on the disk, and shows what was done just now all the same.
func TestRestorer_sourceAtDry(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	h.changes(t, 3)
	p.turn(t) // makes the first backup
	h.changes(t, 3)
	p.turn(t)
	states := h.changes(t, 4) // which are in no piece
	r := h.restorer(t)
	r.Backups, r.Increments = p.Backups, p
	backup := p.Backups.names(t)[0]
	was := names(t, p.Backups.Dir) + names(t, p.folder)
	inc := h.log.Incarnation()
	for want, m := range map[*projection.State]Moment{states[1]: {Index: states[1].Index()}, states[2]: {Event: events.ID{Inc: inc, Seq: states[2].Head(inc).Seq}}, states[3]: {Time: time.Now()}} {
		dry, err := r.SourceAt(t.Context(), backup, m, true)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if now := names(t, p.Backups.Dir) + names(t, p.folder); now != was {
			t.Errorf("%+v: there are %s, and were %s", m, now, was)
		}
		if !dry.Made.Equal(want.At()) || !reflect.DeepEqual(dry.Want, want.Declarations()) {
			t.Errorf("%+v: %s, want the state at event %d", m, dry.File, want.Index())
		}
	}
	if _, err := r.SourceAt(t.Context(), backup, Moment{Index: states[3].Index() + 1}, true); !errors.Is(err, ErrNoMoment) {
		t.Errorf("an event to come: %v", err)
	}
	from, err := r.SourceAt(t.Context(), backup, Moment{Index: states[1].Index()}, false)
	if err != nil || !reflect.DeepEqual(from.Want, states[1].Declarations()) {
		t.Errorf("in earnest: %v", err)
	}
}
