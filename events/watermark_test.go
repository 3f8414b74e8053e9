package events

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOpen_manifestLost(t *testing.T) {
	im, _ := manySegments(t)
	dir := ram(t)
	broken := bytes.Clone(im[manifestName])
	broken[40]++
	broken[slotAt+40]++
	for what, b := range map[string][]byte{"missing": nil, "is damaged": broken, "is damaged, ": {}} {
		lost := im.with(manifestName, b)
		lost.put(t, dir)
		_, err := Open(dir, small())
		if err == nil || !strings.Contains(err.Error(), "MANIFEST "+what) && !strings.Contains(err.Error(), what) ||
			!strings.Contains(err.Error(), "log dump") {
			t.Errorf("MANIFEST %s: got %v", what, err)
		}
		if !same(lost.data(), imageOf(t, dir).data()) {
			t.Errorf("MANIFEST %s: the folder was changed", what)
		}
	}
}

func TestOpen_incarnation(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 2, 10)}
	mustAppend(t, l, all...)
	mustClose(t, l)

	l = mustOpen(t, dir, small())
	if l.Incarnation() != a.inc {
		t.Errorf("reopened: got %v, want %v", l.Incarnation(), a.inc)
	}
	if last, hash := l.Head(a.inc); last != 2 || hash != a.hash {
		t.Errorf("head: got %d, %v, want 2, %v", last, hash, a.hash)
	}
	all = append(all, a.entry(t, 1, 10))
	mustAppend(t, l, all[1])
	mustClose(t, l)

	clone := small()
	clone.Machine = "m2"
	l = mustOpen(t, dir, clone)
	b := &author{inc: l.Incarnation()}
	if b.inc == a.inc {
		t.Fatal("a folder that comes from another machine goes on with its incarnation")
	}
	mustHold(t, l, all)
	all = append(all, b.entry(t, 1, 10))
	mustAppend(t, l, all[2])
	l.notes.stop()
	im := imageOf(t, dir)
	mustClose(t, l)

	// Whichever part of MANIFEST is lost, the other machine's incarnation does not come back.
	for slot := range 2 {
		broken := bytes.Clone(im[manifestName])
		broken[slot*slotAt+50]++
		im.with(manifestName, broken).put(t, dir)
		l = mustOpen(t, dir, clone)
		if l.Incarnation() != b.inc {
			t.Errorf("slot %d lost: got %v, want %v", slot, l.Incarnation(), b.inc)
		}
		mustHold(t, l, all)
		mustClose(t, l)
	}
}

func TestOpen_newerFormat(t *testing.T) {
	im, _ := manySegments(t)
	dir := ram(t)
	m, slot, _, err := func() (manifest, int, error, error) { im.put(t, dir); return readManifest(dir) }()
	if err != nil {
		t.Fatal(err)
	}
	b := m.append(nil)
	b[3] = manifestSealed + 1
	resum(b)
	newer := bytes.Clone(im[manifestName])
	copy(newer[slot*slotAt:], b)
	im.with(manifestName, newer).put(t, dir)
	if _, err := Open(dir, small()); !errors.Is(err, ErrVersion) {
		t.Errorf("got %v, want ErrVersion", err)
	}
}

// TestOpen_twoFutures puts together MANIFEST and segment of two copies of one log that went on differently.
func TestOpen_twoFutures(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := author{inc: l.Incarnation()}
	mustAppend(t, l, a.entry(t, 1, 10))
	mustClose(t, l)
	im := imageOf(t, dir)
	var futures [2]image
	for i := range futures {
		im.put(t, dir)
		b := a
		l := mustOpen(t, dir, small())
		mustAppend(t, l, b.entry(t, 1, 20+i))
		mustClose(t, l)
		futures[i] = imageOf(t, dir)
	}
	futures[0].with(manifestName, futures[1][manifestName]).put(t, dir)
	mustRefuse(t, dir, "the other's MANIFEST")
}

// TestOpen_newerSlotLost damages the slot that says that the log is open; the other says that it was closed, and
// where, which is long past.
func TestOpen_newerSlotLost(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 1, 10), a.entry(t, 1, 10)}
	mustAppend(t, l, all[0])
	mustClose(t, l)
	l = mustOpen(t, dir, small())
	mustAppend(t, l, all[1])
	l.notes.stop()
	im := imageOf(t, dir)
	broken := bytes.Clone(im[manifestName])
	broken[l.notes.at*slotAt+200]++
	mustClose(t, l)
	im.with(manifestName, broken).put(t, dir)
	mustHold(t, mustOpen(t, dir, small()), all)
}

// TestOpen_manifestLostBesideOneSegment is TestOpen_manifestLost for a log so short that it looks almost new.
func TestOpen_manifestLostBesideOneSegment(t *testing.T) {
	im, _ := crashed(t)
	lost := im.with(manifestName, nil)
	dir := ram(t)
	lost.put(t, dir)
	if _, err := Open(dir, small()); err == nil || !strings.Contains(err.Error(), manifestName+" is missing") {
		t.Errorf("got %v", err)
	}
	if !same(lost.data(), imageOf(t, dir).data()) {
		t.Error("the folder was changed")
	}
}

// TestOpen_machineWithoutID keeps its incarnation for as long as there is no id, and draws a new one when there is.
func TestOpen_machineWithoutID(t *testing.T) {
	dir := ram(t)
	var last Incarnation
	for i, c := range []struct {
		machine string
		same    bool
	}{{"", false}, {"", true}, {"m1", false}, {"m1", true}, {"", false}} {
		o := small()
		o.Machine = c.machine
		l := mustOpen(t, dir, o)
		if got := l.Incarnation(); got == 0 || (got == last) != c.same {
			t.Errorf("start %d, machine %q: incarnation %v after %v", i, c.machine, got, last)
		}
		last = l.Incarnation()
		mustClose(t, l)
	}
}

// TestStats_besideAHangingDisk has the disk not return from a write of MANIFEST.
func TestStats_besideAHangingDisk(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a := &author{inc: l.Incarnation()}
	mustAppend(t, l, a.entry(t, 1, 10))
	l.keep()
	l.notes.io.Lock()
	defer l.notes.io.Unlock()
	got := make(chan Stats, 1)
	go func() { got <- l.Stats() }()
	select {
	case s := <-got:
		if s.Watermark != l.End() {
			t.Errorf("watermark %+v, end %+v", s.Watermark, l.End())
		}
	case <-time.After(10 * time.Second):
		t.Error("Stats waits for the disk")
	}
}

// TestKeep_followsTheAppends wants MANIFEST to be a second behind, and not at all when a segment has been begun.
func TestKeep_followsTheAppends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustOpen(t, ram(t), small())
		a := &author{inc: l.Incarnation()}
		behind := func(want bool) {
			t.Helper()
			synctest.Wait()
			if s := l.Stats(); (s.Watermark != s.End) != want {
				t.Fatalf("watermark %+v, end %+v", s.Watermark, s.End)
			}
		}
		mustAppend(t, l, a.entry(t, 1, 10))
		behind(true)
		mustAppend(t, l, a.entry(t, 1, 5000)) // begins a segment
		behind(false)
		mustAppend(t, l, a.entry(t, 1, 10))
		behind(true)
		time.Sleep(noteEvery)
		behind(false)
		if m, _, _, err := readManifest(l.dir); err != nil || m.clean || m.next != l.tail.Load().next {
			t.Errorf("MANIFEST says %+v, %v; want the end, %+v, and that the log is open", m, err, l.tail.Load().next)
		}
		mustAppend(t, l, a.entry(t, 1, 10))
		mustClose(t, l)
		if l.notes.timer.Stop() {
			t.Error("MANIFEST is still to be written after Close")
		}
	})
}
