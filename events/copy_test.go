package events

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A copy in another form is the same log: record by record, in the same segments, and goes on where that one would. So it is there and back.
func TestCopy_isTheSameLog(t *testing.T) {
	o, dir := small(), t.TempDir()
	l := mustOpen(t, dir, o)
	a := author{inc: 1}
	var all []Entry
	for i := range 60 {
		batch := []Entry{a.entry(t, 1+i%3, 100), a.entry(t, 1, 700*(i%4))}
		all = append(all, batch...)
		mustAppend(t, l, batch...)
	}
	if l.Stats().Segments < 5 {
		t.Fatalf("%d segments", l.Stats().Segments)
	}
	end, inc := l.End(), l.Incarnation()
	for i, key := range []*Key{keyOfBytes(7), keyOfBytes(8), nil, keyOfBytes(9)} {
		to := filepath.Join(t.TempDir(), "copy")
		last := int64(0)
		if err := l.Copy(to, key, func(done, of int64) {
			if done < last || done > of {
				t.Errorf("%d of %d bytes after %d", done, of, last)
			}
			last = done
		}); err != nil {
			t.Fatal(err)
		}
		segments := l.Stats().Segments
		mustClose(t, l)
		o.Key = key
		l = mustOpen(t, to, o)
		if n := holds(t, l, all); n != len(all) || l.End() != end || l.Incarnation() != inc || l.Stats().Segments != segments || l.Stats().Cut != nil {
			t.Fatalf("copy %d: %d records, %+v, want %d, %+v", i, n, l.Stats(), len(all), end)
		}
		for range 5 { // and it goes on, over the end of a segment that has grown
			e := a.entry(t, 1, 900)
			all = append(all, e)
			mustAppend(t, l, e)
		}
		end = l.End()
		mustClose(t, l)
		l = mustOpen(t, to, o)
		holds(t, l, all)
	}
}

// What the disk gives back otherwise than it was written is found before the copy is believed.
func TestCopy_readsItAgain(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, small())
	a := author{inc: 1}
	mustAppend(t, l, a.entry(t, 1, 100))
	mustAppend(t, l, a.entry(t, 1, 100))
	name := filepath.Join(dir, segmentName(1))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-3] ^= 1
	if err := os.WriteFile(name, b, 0o640); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := l.Copy(to, keyOfBytes(1), nil); err == nil {
		t.Error("a damaged log was copied")
	}
	if _, err := os.Stat(filepath.Join(to, manifestName)); err == nil {
		t.Error("and what came of it is a log")
	}
}

// A copy of a log that has been trimmed begins where that does, and knows where every incarnation stood then.
func TestCopy_ofATrimmedLog(t *testing.T) {
	o, dir := small(), t.TempDir()
	l := mustOpen(t, dir, o)
	a := &author{inc: l.Incarnation()}
	all := grow(t, l, a, 6)
	if err := l.Trim(l.Excess(time.Time{}, l.Stats().Bytes/2)); err != nil || l.First() == 1 {
		t.Fatalf("it begins with event %d: %v", l.First(), err)
	}
	for _, key := range []*Key{keyOfBytes(7), nil} {
		to := filepath.Join(t.TempDir(), "copy")
		if err := l.Copy(to, key, nil); err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
		o.Key = key
		l = mustOpen(t, to, o)
		holdsFrom(t, l, all)
		e := a.entry(t, 1, 900)
		mustAppend(t, l, e)
		all = append(all, e)
		mustClose(t, l)
		if _, err := Verify(t.Context(), to, key, nil); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, to, o)
		holdsFrom(t, l, all)
	}
}
