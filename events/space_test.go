package events

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestReserve_onlyARealOne finds files that are called RESERVE and hold no room.
func TestReserve_onlyARealOne(t *testing.T) {
	for what, b := range map[string][]byte{"none": nil, "too small": make([]byte, 4096), "larger": make([]byte, 64<<10)} {
		path := filepath.Join(ram(t), "RESERVE")
		if err := os.WriteFile(path, b, 0o640); err != nil {
			t.Fatal(err)
		}
		if b == nil {
			if err := os.Truncate(path, 8192); err != nil {
				t.Fatal(err)
			}
		}
		r := reserve{path: path, want: 8192}
		if r.find(); !r.missing() {
			t.Errorf("%s: taken for a reserve", what)
		}
	}
}

// TestReserve_notBelowMinFree has room for a reserve, but then not enough is left; and then not even for it.
func TestReserve_notBelowMinFree(t *testing.T) {
	dir := tinyDisk(t, 512<<10)
	o := small()
	o.MinFree, o.Reserve = 400<<10, 200<<10
	l := mustOpen(t, dir, o)
	if got := l.Stats().Reserve; got != 0 {
		t.Errorf("reserve of %d bytes, want none", got)
	}
	fill(t, filepath.Join(dir, "fill"))
	if err := l.reserve.take(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "RESERVE")); err == nil {
		t.Error("a part of a reserve is left")
	}
}

// TestReserve_comesBack uses the reserve up and frees the disk. Whoever asks whether the log is writable brings it back.
func TestReserve_comesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := tinyDisk(t, 512<<10)
		o := small()
		o.Reserve = 64 << 10
		l := mustOpen(t, dir, o)
		a := &author{inc: l.Incarnation()}
		fill(t, filepath.Join(dir, "fill"))
		l.o.MinFree = -1 << 40 // as if the disk did not say how full it is
		mustAppend(t, l, a.entry(t, 1, 9000))
		time.Sleep(noteEvery)
		synctest.Wait()
		l.o.MinFree = o.MinFree
		if got := l.Stats().Reserve; got != 0 {
			t.Fatalf("reserve of %d bytes, want it used", got)
		}
		if err := os.Remove(filepath.Join(dir, "fill")); err != nil {
			t.Fatal(err)
		}
		if err := l.Writable(); err != nil {
			t.Error(err)
		}
		time.Sleep(noteEvery)
		synctest.Wait()
		if got := l.Stats().Reserve; got != o.Reserve {
			t.Errorf("reserve of %d bytes, want %d", got, o.Reserve)
		}
		mustClose(t, l)
	})
}

// TestKeep_noReserveHere is on a file system where nothing can be allocated ahead: a thing to say once.
func TestKeep_noReserveHere(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "RESERVE"), 0o750); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	o := small()
	o.Reserve, o.Log = 64<<10, slog.New(slog.NewTextHandler(&said, nil))
	l := mustOpen(t, dir, o)
	l.keep()
	l.keep()
	if n := strings.Count(said.String(), "no reserve"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, said.String())
	}
}

// TestOpen_newLogSaysNothing makes a log and opens it again, which is nothing to warn of.
func TestOpen_newLogSaysNothing(t *testing.T) {
	var said bytes.Buffer
	o := small()
	o.Log = slog.New(slog.NewTextHandler(&said, nil))
	dir := ram(t)
	for range 2 {
		mustClose(t, mustOpen(t, dir, o))
	}
	if said.Len() > 0 {
		t.Errorf("said:\n%s", said.String())
	}
}
