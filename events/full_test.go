package events

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tidwall/wal"
	"golang.org/x/sys/unix"
)

// tinyDisk is a file system of so many bytes. It needs root, as all that tests full disks does.
func tinyDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		t.Fatalf("mount a small file system, which wants root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

func TestAppend_nearlyFullDisk(t *testing.T) {
	dir := tinyDisk(t, 1<<20)
	o := small()
	o.MinFree = 256 << 10
	l := mustOpen(t, dir, o)
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 1, 100)}
	mustAppend(t, l, all...)
	fill(t, filepath.Join(dir, "fill"))
	if err := l.Writable(); !errors.Is(err, ErrFull) {
		t.Errorf("writable on a full disk: got %v, want ErrFull", err)
	}
	next := a.entry(t, 1, 100)
	if err := l.Append([]Entry{next}); !errors.Is(err, ErrFull) {
		t.Fatalf("append on a full disk: got %v, want ErrFull", err)
	}
	mustHold(t, l, all)
	if err := os.Remove(filepath.Join(dir, "fill")); err != nil {
		t.Fatal(err)
	}
	if err := l.Writable(); err != nil {
		t.Errorf("writable with room again: %v", err)
	}
	mustAppend(t, l, next)
	all = append(all, next)
	mustHold(t, l, all)
}

// While the disk is full, a large batch is tried again and again: it is not made up each time only to find that, nor kept.
func TestAppend_fullDiskMakesUpNoBatch(t *testing.T) {
	dir := tinyDisk(t, 64<<20)
	o := Options{MinFree: 1 << 20, Reserve: -1, Key: testKey()}
	l := mustOpen(t, dir, o)
	a := &author{inc: l.Incarnation()}
	large := a.entry(t, 1, 9<<20)
	fill(t, filepath.Join(dir, "fill"))
	if err := l.Append([]Entry{large}); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if cap(l.frame) > 0 {
		t.Errorf("on a full disk a frame of %d bytes is made", cap(l.frame))
	}
	if err := os.Remove(filepath.Join(dir, "fill")); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, large)
	if cap(l.frame) > keepBytes {
		t.Errorf("%d bytes are kept for the next frame", cap(l.frame))
	}
	next := a.entry(t, 1, 100)
	mustAppend(t, l, next)
	if cap(l.frame) == 0 {
		t.Error("nothing is kept for the next frame")
	}
	mustHold(t, l, []Entry{large, next})
}

// TestAppend_diskFoundFullWhileWriting fills the disk behind the log's back, so that it is a write that fails, in
// the middle. A batch may find the reserve; nothing of one refused is left; and when there is room, all goes on.
func TestAppend_diskFoundFullWhileWriting(t *testing.T) {
	rnd := random(t)
	for _, reserve := range []int64{-1, 16 << 10} {
		dir := tinyDisk(t, 512<<10)
		o := small()
		o.Reserve = reserve
		l := mustOpen(t, dir, o)
		l.o.MinFree = -1 << 40 // as if the disk did not say how full it is
		a := &author{inc: l.Incarnation()}
		var all []Entry
		fulls := 0
		for round := range 40 {
			fill(t, filepath.Join(dir, "fill"))
			for full := false; !full; {
				was := *a
				var batch []Entry
				for range 1 + rnd.IntN(5) {
					batch = append(batch, a.entry(t, 1, rnd.IntN(3000)))
				}
				before := imageOf(t, dir).data().with("fill", nil)
				switch err := l.Append(batch); {
				case err == nil:
					all = append(all, batch...)
				case errors.Is(err, ErrFull):
					full, *a = true, was
					fulls++
					if after := imageOf(t, dir).data().with("fill", nil); !same(before, after) {
						t.Fatalf("round %d: something is left of a batch that found no room", round)
					}
				default:
					t.Fatal(err)
				}
			}
			mustHold(t, l, all)
			if err := os.Truncate(filepath.Join(dir, "fill"), 0); err != nil {
				t.Fatal(err)
			}
			l.keep()
			if reserve > 0 && l.Stats().Reserve != reserve {
				t.Fatalf("round %d: reserve of %d bytes with room again, want %d", round, l.Stats().Reserve, reserve)
			}
			if round%8 == 7 {
				mustClose(t, l)
				if err := os.Remove(filepath.Join(dir, "fill")); err != nil {
					t.Fatal(err)
				}
				l = mustOpen(t, dir, o)
				l.o.MinFree = -1 << 40
				mustHold(t, l, all)
				all = nil
				mustClose(t, l)
				if err := errors.Join(os.RemoveAll(filepath.Join(dir, "RESERVE")), os.RemoveAll(filepath.Join(dir, "LOCK"))); err != nil {
					t.Fatal(err)
				}
				image{}.put(t, dir)
				l = mustOpen(t, dir, o)
				l.o.MinFree = -1 << 40
				*a = author{inc: l.Incarnation()}
			}
		}
		t.Logf("reserve %d: %d batches refused", reserve, fulls)
	}
}

func TestAppend_reserveFinishesTheBatchUnderWay(t *testing.T) {
	dir := tinyDisk(t, 512<<10)
	o := small()
	o.Reserve = 64 << 10
	l := mustOpen(t, dir, o)
	l.o.MinFree = -1 << 40
	if got := l.Stats().Reserve; got != 64<<10 {
		t.Fatalf("reserve of %d bytes, want %d", got, 64<<10)
	}
	fill(t, filepath.Join(dir, "fill"))
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 1, 9000), a.entry(t, 1, 100)}
	mustAppend(t, l, all...)
	mustHold(t, l, all)
	if got := l.Stats().Reserve; got != 0 {
		t.Errorf("reserve of %d bytes, want it used", got)
	}
}

func TestOpen_fullDisk(t *testing.T) {
	dir := tinyDisk(t, 512<<10)
	o := small()
	o.Reserve = 16 << 10
	l := mustOpen(t, dir, o)
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 1, 100)}
	mustAppend(t, l, all...)
	mustClose(t, l)
	fill(t, filepath.Join(dir, "fill"))
	l = mustOpen(t, dir, o)
	mustHold(t, l, all)
	if err := l.Writable(); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if got := l.Stats().Reserve; got != 16<<10 {
		t.Errorf("reserve of %d bytes, want the one that was there", got)
	}
}

// sparse makes the part of MANIFEST that is written next a hole, so that there must be room to write it, as always on
// a file system that never writes in place.
func sparse(t *testing.T, dir string) {
	t.Helper()
	_, slot, _, err := readManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, manifestName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	if err := unix.Fallocate(int(f.Fd()), punch, int64(1-slot)*slotAt, slotAt); err != nil {
		t.Fatal(err)
	}
}

// TestOpen_fullDiskNotWrittenInPlace opens in the room that was held in reserve, and goes on for as long as MANIFEST
// cannot be written.
func TestOpen_fullDiskNotWrittenInPlace(t *testing.T) {
	dir := tinyDisk(t, 512<<10)
	o := small()
	o.Reserve = 16 << 10
	l := mustOpen(t, dir, o)
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 1, 100), a.entry(t, 1, 100)}
	mustAppend(t, l, all[0])
	mustClose(t, l)
	sparse(t, dir)
	fill(t, filepath.Join(dir, "fill"))
	l = mustOpen(t, dir, o)
	mustHold(t, l, all[:1])
	if got := l.Stats().Reserve; got != 0 {
		t.Errorf("reserve of %d bytes, want it used", got)
	}
	l.notes.stop()
	l.notes.stopped = false
	sparse(t, dir)
	fill(t, filepath.Join(dir, "fill"))
	l.keep()
	if err := l.Writable(); !errors.Is(err, ErrFull) {
		t.Errorf("MANIFEST could not be written for want of room: got %v, want ErrFull", err)
	}
	if !l.notes.due {
		t.Error("it is not tried again")
	}
	if err := os.Remove(filepath.Join(dir, "fill")); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, all[1])
	mustClose(t, l)
	mustHold(t, mustOpen(t, dir, o), all)
}

func TestAppend_syncErrorStopsTheLog(t *testing.T) {
	for _, cause := range []error{unix.EIO, unix.ENOSPC} {
		t.Run(cause.Error(), func(t *testing.T) { syncError(t, cause) })
	}
}

func syncError(t *testing.T, cause error) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 1, 100), a.entry(t, 1, 100)}
	mustAppend(t, l, all[0])
	l.sync = func(*wal.Log) error { return &os.PathError{Op: "sync", Path: "x", Err: cause} }
	if err := l.Append(all[1:]); !errors.Is(err, ErrFailed) || !errors.Is(err, cause) {
		t.Fatalf("got %v, want ErrFailed for %v", err, cause)
	}
	left := imageOf(t, dir)
	l.sync = (*wal.Log).Sync // the disk is well again, and has lost what it lost
	if err := l.Append([]Entry{a.entry(t, 1, 100)}); !errors.Is(err, ErrFailed) {
		t.Fatalf("append after a failed sync: got %v, want ErrFailed", err)
	}
	if err := l.Writable(); !errors.Is(err, ErrFailed) {
		t.Errorf("writable: got %v, want ErrFailed", err)
	}
	l.keep()
	mustHold(t, l, all[:1])
	if err := l.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("close: got %v, want ErrFailed", err)
	}
	if !same(left, imageOf(t, dir)) {
		t.Error("something was written after the failed sync")
	}
	l = mustOpen(t, dir, small())
	if n := holds(t, l, all); n < 1 {
		t.Errorf("%d records after reopening, want at least the first", n)
	}
	mustAppend(t, l, func() Entry {
		a.last, a.hash = l.Head(a.inc)
		return a.entry(t, 1, 10)
	}())
}

func TestAppend_writeErrorStopsTheLog(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	if err := l.wal.Close(); err != nil { // so that writing fails, and not for want of room
		t.Fatal(err)
	}
	if err := l.Append([]Entry{a.entry(t, 1, 10)}); !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	if err := l.Writable(); !errors.Is(err, ErrFailed) {
		t.Errorf("writable: got %v, want ErrFailed", err)
	}
}

func TestKeep_errorStopsTheLog(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	if err := l.notes.f.Close(); err != nil {
		t.Fatal(err)
	}
	l.keep()
	if err := l.Writable(); !errors.Is(err, ErrFailed) {
		t.Errorf("writable after MANIFEST could not be written: got %v, want ErrFailed", err)
	}
}

// TestKeep_writesInTurn looks for the slot with the last word to be left alone while the next is written.
func TestKeep_writesInTurn(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a := &author{inc: l.Incarnation()}
	changed := -1
	for range 4 {
		before := imageOf(t, l.dir)[manifestName]
		mustAppend(t, l, a.entry(t, 1, 10))
		l.keep()
		after := imageOf(t, l.dir)[manifestName]
		var now []int
		for slot := range 2 {
			if !bytes.Equal(before[slot*slotAt:][:slotSize], after[slot*slotAt:][:slotSize]) {
				now = append(now, slot)
			}
		}
		if len(now) != 1 || now[0] == changed {
			t.Fatalf("slots %v changed, and slot %d before", now, changed)
		}
		changed = now[0]
	}
}
