package events

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAppend_smallerSegments goes on, with smaller segments, in one that is larger than they are.
func TestAppend_smallerSegments(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 1, 2000), a.entry(t, 1, 20)}
	mustAppend(t, l, all[0])
	mustClose(t, l)
	o := small()
	o.SegmentBytes = 1000
	l = mustOpen(t, dir, o)
	mustAppend(t, l, all[1])
	mustHold(t, l, all)
	if got := l.Stats().Segments; got != 2 {
		t.Errorf("%d segments, want 2", got)
	}
	mustClose(t, l)
	mustHold(t, mustOpen(t, dir, o), all)
}

// TestAppend_libraryBeginsNoSegment has tidwall/wal go on in a segment that is full by the frames.
func TestAppend_libraryBeginsNoSegment(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	l.o.SegmentBytes = 1000
	a := &author{inc: l.Incarnation()}
	if err := l.Append([]Entry{a.entry(t, 1, 2000)}); !errors.Is(err, ErrFailed) {
		t.Errorf("got %v, want ErrFailed", err)
	}
}

func TestAppend_tooLarge(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	err := l.Append([]Entry{{Payload: make([]byte, maxPayload+1), Count: 1, Inc: 1, Seq: 1}})
	if err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("got %v, want the limit", err)
	}
}

// TestAppend_leavesMinFree counts what is about to be written.
func TestAppend_leavesMinFree(t *testing.T) {
	l := mustOpen(t, tinyDisk(t, 512<<10), small())
	free, err := freeBytes(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	l.o.MinFree = free - 10_000
	a := &author{inc: l.Incarnation()}
	was := *a
	if err := l.Append([]Entry{a.entry(t, 1, 20_000)}); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	*a = was
	mustAppend(t, l, a.entry(t, 1, 100))
}

// TestUnwritten holds the one kind of error after which an append may be tried again to what it can be: a failed fsync
// is never one, whatever it says.
func TestUnwritten(t *testing.T) {
	for _, c := range []struct {
		op   string
		err  error
		want bool
	}{
		{"write", unix.ENOSPC, true}, {"write", unix.EDQUOT, true}, {"open", unix.ENOSPC, true},
		{"sync", unix.ENOSPC, false}, {"close", unix.EDQUOT, false}, {"write", unix.EIO, false}, {"open", unix.EMFILE, false},
	} {
		if got := unwritten(&fs.PathError{Op: c.op, Path: "x", Err: c.err}); got != c.want {
			t.Errorf("%s: %v: got %v", c.op, c.err, got)
		}
	}
	if unwritten(errors.New("other")) {
		t.Error("any other error: got true")
	}
}

// TestAppend_cannotBePutBack has a disk found full only while writing, and then the segment gone.
func TestAppend_cannotBePutBack(t *testing.T) {
	dir := tinyDisk(t, 512<<10)
	l := mustOpen(t, dir, small())
	l.o.MinFree = -1 << 40
	fill(t, filepath.Join(dir, "fill"))
	if err := os.Remove(filepath.Join(dir, segmentName(1))); err != nil {
		t.Fatal(err)
	}
	a := &author{inc: l.Incarnation()}
	if err := l.Append([]Entry{a.entry(t, 1, 5000)}); !errors.Is(err, ErrFailed) || errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	if err := l.Writable(); !errors.Is(err, ErrFailed) {
		t.Errorf("writable: got %v, want ErrFailed", err)
	}
}

// TestPutBack_findsAnotherEnd has the disk hold other records than were appended.
func TestPutBack_findsAnotherEnd(t *testing.T) {
	for what, spoil := range map[string]func(*tail, []byte){
		"damaged":   func(_ *tail, b []byte) { b[len(b)-3] ^= 1 },
		"different": func(t *tail, _ []byte) { t.next.crc++ },
	} {
		l := mustOpen(t, ram(t), small())
		a := &author{inc: l.Incarnation()}
		mustAppend(t, l, a.entry(t, 1, 10))
		name := filepath.Join(l.dir, segmentName(1))
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		end := *l.tail.Load()
		spoil(&end, b)
		l.tail.Store(&end)
		if err := os.WriteFile(name, b, 0o640); err != nil {
			t.Fatal(err)
		}
		var c *CorruptError
		if err = l.putBack(); !errors.As(err, &c) {
			t.Errorf("%s: got %v, want a *CorruptError", what, err)
		}
		l.fail(err) // as write does
	}
}
