package events

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What is damaged holds up nothing that does not follow on it: the log is read on behind it, wherever that is, and says of what it lacks something.
func TestMissing_aroundDamage(t *testing.T) {
	for _, many := range []int{1, 40} { // in one segment, and in several
		l := mustOpen(t, ram(t), small())
		a, b := &author{inc: 10}, &author{inc: 20}
		for range many {
			mustAppend(t, l, a.entry(t, 1, 1), b.entry(t, 1, 1), a.entry(t, 2, 1), b.entry(t, 3, 1))
		}
		var places []mark
		var records []Record
		tail := l.tail.Load()
		if _, err := walk(l.dir, l.o.Key, tail.spans(1), tail.markAt(0), false, func(f *frame, m *mark) error {
			places, records = append(places, *m), append(records, f.record())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for i, p := range places {
			for _, at := range []int64{0, 1, 3, 40, 100} { // the length before the record, its head, what it holds
				flip(t, filepath.Join(l.dir, segmentName(p.seg)), p.off+at)
				var given []Record
				gone, err := l.Missing(context.Background(), func(Incarnation) uint64 { return 0 }, 0, func(r Record) error {
					given = append(given, r)
					return nil
				})
				var corrupt *CorruptError
				if !errors.As(err, &corrupt) || corrupt.Offset != p.off || corrupt.Segment != segmentName(p.seg) {
					t.Fatalf("record %d, byte %d: got %v", i+1, at, err)
				}
				if !slices.Contains(gone, records[i].Inc) {
					t.Errorf("record %d, byte %d: %v is not among those of which something cannot be read: %v", i+1, at, records[i].Inc, gone)
				}
				had := map[Incarnation]uint64{}
				for _, r := range given {
					if r.Seq != had[r.Inc]+1 {
						t.Fatalf("record %d, byte %d: event %d of %v is given after %d", i+1, at, r.Seq, r.Inc, had[r.Inc])
					}
					had[r.Inc] = r.Seq + uint64(r.Count) - 1
				}
				var last Incarnation // whose last commit there is no room for
				left, err := l.Missing(context.Background(), func(Incarnation) uint64 { return 0 }, 0, func(r Record) error {
					if r.Seq+uint64(r.Count)-1 == l.heads[r.Inc].last {
						last = r.Inc
						return io.ErrShortBuffer
					}
					return nil
				})
				if last != 0 && (!errors.Is(err, io.ErrShortBuffer) || i < 4*many-2 && !slices.Contains(left, last)) {
					t.Errorf("record %d, byte %d: the end of %v had no room, and gone are %v, %v", i+1, at, last, left, err)
				}
				if at > 1 { // its length leads to the next one: of the other incarnation all can be had
					if other := 30 - records[i].Inc; had[other] != l.heads[other].last || slices.Contains(gone, other) {
						t.Errorf("record %d, byte %d: of %v %d of %d events are given, and gone are %v", i+1, at, other, had[other], l.heads[other].last, gone)
					}
				}
				flip(t, filepath.Join(l.dir, segmentName(p.seg)), p.off+at)
			}
		}
		if ids, gone := lacking(t, l, nil, 0); len(ids) != 4*many || len(gone) > 0 {
			t.Errorf("whole again: %d commits, gone %v", len(ids), gone)
		}
	}
}

// So does what the disk gives an error for, and a segment that is not there.
func TestMissing_aroundWhatCannotBeRead(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		"gone":        os.Remove,
		"not read":    func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) }, // opens, and gives EISDIR
		"cut to half": func(path string) error { return os.Truncate(path, 200) },
	} {
		l := mustOpen(t, ram(t), small())
		a, b := &author{inc: 10}, &author{inc: 20}
		for len(l.tail.Load().sealed) < 3 {
			mustAppend(t, l, a.entry(t, 1, 1))
		}
		bad := segmentName(l.tail.Load().sealed[1].first)
		for range 10 {
			mustAppend(t, l, b.entry(t, 1, 1))
		}
		if err := spoil(filepath.Join(l.dir, bad)); err != nil {
			t.Fatal(err)
		}
		had := map[Incarnation]uint64{}
		gone, err := l.Missing(context.Background(), func(Incarnation) uint64 { return 0 }, 0, func(r Record) error {
			had[r.Inc] = r.Seq
			return nil
		})
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Segment != bad {
			t.Errorf("%s: got %v, want that %s is damaged", what, err, bad)
		}
		least := l.tail.Load().sealed[1].first - 1 // what comes before the bad place, a record an event
		if !slices.Equal(gone, []Incarnation{10}) || had[10] < least || had[20] != 10 {
			t.Errorf("%s: up to %v is given, and gone are %v", what, had, gone)
		}
	}
}

// What passes by itself is no damage: a person would be told to set the log aside.
func TestMark_unread(t *testing.T) {
	for _, c := range []struct {
		err    fs.PathError
		damage bool
	}{
		{fs.PathError{Op: "read", Err: unix.EIO}, true}, {fs.PathError{Op: "open", Err: unix.ENOENT}, true},
		{fs.PathError{Op: "open", Err: unix.EMFILE}, false}, {fs.PathError{Op: "open", Err: unix.EACCES}, false},
	} {
		var corrupt *CorruptError
		if err := (&mark{seg: 1}).unread(&c.err); errors.As(err, &corrupt) != c.damage {
			t.Errorf("%v: got %v", &c.err, err)
		}
	}
}

// flip turns a bit of a file over.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}
