package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// crashed is a log as a killed process leaves it: two records that the watermark covers, and more that it does not.
func crashed(t *testing.T, batches ...int) (image, []Entry) {
	t.Helper()
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	var all []Entry
	add := func(n int) {
		var batch []Entry
		for range n {
			batch = append(batch, a.entry(t, 1, 20))
		}
		mustAppend(t, l, batch...)
		all = append(all, batch...)
	}
	add(2)
	l.keep()
	for _, n := range batches {
		add(n)
	}
	l.notes.stop()
	return imageOf(t, dir), all
}

// closed is the same log after Close.
func closed(t *testing.T, batches ...int) (image, []Entry) {
	t.Helper()
	im, all := crashed(t, batches...)
	dir := ram(t)
	im.put(t, dir)
	mustClose(t, mustOpen(t, dir, small()))
	return imageOf(t, dir), all
}

// diskSize is the size of an entry's record.
func diskSize(e Entry) int {
	n := headerSize + len(e.Payload)
	if *sealed {
		n += sealedExtra
	}
	if n < 128 {
		return n + 1
	}
	return n + 2
}

func TestOpen_tornAtEveryByte(t *testing.T) {
	t.Parallel()
	im, all := crashed(t, 1, 1)
	name := segmentName(1)
	file := im[name]
	whole := len(file) - diskSize(all[len(all)-1])
	dir := ram(t)
	for cut := whole; cut <= len(file); cut++ {
		im.with(name, file[:cut]).put(t, dir)
		l := mustOpen(t, dir, small())
		want, c := all[:len(all)-1], l.Stats().Cut
		if cut == len(file) {
			want = all
		}
		mustHold(t, l, want)
		switch {
		case cut == whole || cut == len(file):
			if c != nil {
				t.Fatalf("cut at %d of %d: %+v was cut off a whole log", cut, len(file), c)
			}
		case c == nil || c.Segment != name || c.Offset != int64(whole) || c.Bytes != int64(cut-whole):
			t.Fatalf("cut at %d: got %+v", cut, c)
		default:
			if b, err := os.ReadFile(c.Aside); err != nil || !bytes.Equal(b, file[whole:cut]) {
				t.Fatalf("cut at %d: set aside %d bytes, %v", cut, len(b), err)
			}
		}
		// What was cut is written again, and the log goes on as if nothing had been.
		rest := all[len(want):]
		if len(rest) > 0 {
			mustAppend(t, l, rest...)
		}
		mustClose(t, l)
		l = mustOpen(t, dir, small())
		mustHold(t, l, all)
		if l.Stats().Cut != nil {
			t.Fatalf("cut at %d: cut again at the next open", cut)
		}
		mustClose(t, l)
	}
}

func TestOpen_zeroTail(t *testing.T) {
	t.Parallel()
	im, all := crashed(t, 1)
	name := segmentName(1)
	zeros := make([]byte, 8192)
	dir := ram(t)
	for n := 1; n <= len(zeros); n++ {
		im.with(name, append(im[name][:len(im[name]):len(im[name])], zeros[:n]...)).put(t, dir)
		l := mustOpen(t, dir, small())
		if c := l.Stats().Cut; c == nil || c.Bytes != int64(n) {
			t.Fatalf("%d zeros: cut %+v", n, c)
		}
		mustHold(t, l, all)
		mustClose(t, l)
	}
}

func TestOpen_zerosInsteadOfTheLastRecord(t *testing.T) {
	im, all := crashed(t, 1)
	name := segmentName(1)
	file := im[name]
	dir := ram(t)
	for n := 1; n <= diskSize(all[len(all)-1]); n++ {
		b := bytes.Clone(file)
		clear(b[len(b)-n:])
		im.with(name, b).put(t, dir)
		l := mustOpen(t, dir, small())
		mustHold(t, l, all[:len(all)-1])
		mustClose(t, l)
	}
}

func TestOpen_tailAfterCleanClose(t *testing.T) {
	im, all := closed(t, 1)
	name := segmentName(1)
	dir := ram(t)
	im.with(name, append(bytes.Clone(im[name]), make([]byte, 100)...)).put(t, dir)
	l := mustOpen(t, dir, small())
	mustHold(t, l, all)
	mustClose(t, l)
	// Whole records after the end that MANIFEST gives are no crash: one of the two is from another time.
	longer, _ := crashed(t, 1, 1)
	im.with(name, longer[name]).put(t, dir)
	mustRefuse(t, dir, "a segment of another log")
}

func TestOpen_olderManifestAfterCleanClose(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	mustAppend(t, l, a.entry(t, 1, 20))
	mustClose(t, l)
	old := imageOf(t, dir)[manifestName]
	l = mustOpen(t, dir, small())
	mustAppend(t, l, a.entry(t, 1, 20))
	mustClose(t, l)
	imageOf(t, dir).with(manifestName, old).put(t, dir)
	mustRefuse(t, dir, "MANIFEST of before the last records")
}

// every calls fn with the file after each single flipped bit.
func every(file []byte, fn func(bit int, flipped []byte)) {
	b := bytes.Clone(file)
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		fn(bit, b)
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestOpen_everyBitOfAClosedLog(t *testing.T) {
	t.Parallel()
	im, all := closed(t, 1)
	dir := ram(t)
	refused := 0
	name := segmentName(1)
	every(im[name], func(bit int, b []byte) {
		im.with(name, b).put(t, dir)
		if l, err := Open(dir, small()); err == nil {
			l.Close()
			t.Fatalf("bit %d of the segment: opened", bit)
		}
		if got := imageOf(t, dir); !bytes.Equal(got[name], b) || len(got) != len(im) {
			t.Fatalf("bit %d of the segment: refused, but the folder was changed", bit)
		}
		refused++
	})
	every(im[manifestName], func(bit int, b []byte) {
		if bit/8%slotAt >= slotSize {
			return // nothing is read there
		}
		im.with(manifestName, b).put(t, dir)
		l := mustOpen(t, dir, small())
		mustHold(t, l, all)
		mustClose(t, l)
	})
	t.Logf("%d flips of the segment, all refused", refused)
}

func TestOpen_everyBitOfACrashedLog(t *testing.T) {
	t.Parallel()
	im, all := crashed(t, 1, 1)
	dir := ram(t)
	refused, repaired := 0, 0
	check := func(file string, bit int, b []byte) {
		im.with(file, b).put(t, dir)
		l, err := Open(dir, small())
		if err != nil {
			var c *CorruptError
			if !errors.As(err, &c) {
				t.Fatalf("bit %d of %s: %v", bit, file, err)
			}
			refused++
			return
		}
		if n := holds(t, l, all); n < 3 {
			t.Fatalf("bit %d of %s: %d records, and 3 were durable before the last", bit, file, n)
		} else if n < len(all) {
			repaired++
		}
		mustClose(t, l)
	}
	every(im[segmentName(1)], func(bit int, b []byte) { check(segmentName(1), bit, b) })
	if want := diskSize(all[3]) * 8; repaired != want {
		t.Errorf("%d flips repaired, want the %d of the last record", repaired, want)
	}
	every(im[manifestName], func(bit int, b []byte) {
		if bit/8%slotAt < slotSize {
			check(manifestName, bit, b)
		}
	})
	t.Logf("%d refused, %d repaired", refused, repaired)
}

// TestOpen_tornBatches leaves a group commit as a power cut can: any of its sectors on disk and any not. Nothing of
// it was acknowledged; what was before it must be there.
func TestOpen_tornBatches(t *testing.T) {
	t.Parallel()
	rnd := random(t)
	dir, cuts := ram(t), 0
	for range 3000 {
		acked, l := randomLog(t, rnd.IntN, dir)
		var batch []Entry
		a := &author{inc: l.Incarnation()}
		a.last, a.hash = l.Head(a.inc)
		for range 1 + rnd.IntN(12) {
			batch = append(batch, a.entry(t, 1+rnd.IntN(3), rnd.IntN(700)))
		}
		l.notes.stop()
		noted := imageOf(t, dir)[manifestName]
		before := l.tail.Load().next
		mustAppend(t, l, batch...)
		die(l)
		im := imageOf(t, dir).with(manifestName, noted)
		im[segmentName(l.tail.Load().next.seg)] = tear(im, l, before, rnd.IntN)
		im.put(t, dir)
		l = mustOpen(t, dir, small())
		if n := holds(t, l, append(acked, batch...)); n < len(acked) {
			t.Fatalf("%d records, and %d were acknowledged", n, len(acked))
		}
		if l.Stats().Cut != nil {
			cuts++
		}
		mustClose(t, l)
	}
	t.Logf("3000 torn batches, %d of them cut", cuts)
}

// tear returns the last segment with sectors missing from what was written to it since before.
func tear(im image, l *Log, before mark, intN func(int) int) []byte {
	next := l.tail.Load().next
	b := bytes.Clone(im[segmentName(next.seg)])
	from := 0
	if next.seg == before.seg {
		from = int(before.off)
	}
	for at := from; at < len(b); {
		end := min(len(b), (at/512+1)*512)
		if intN(2) == 0 {
			clear(b[at:end])
		}
		at = end
	}
	if intN(3) == 0 {
		b = b[:from+intN(len(b)-from+1)]
	}
	return b
}

// randomLog is a log that a process has open, with some batches in it.
func randomLog(t *testing.T, intN func(int) int, dir string) ([]Entry, *Log) {
	t.Helper()
	image{}.put(t, dir)
	o := small()
	o.SegmentBytes = 6000
	l := mustOpen(t, dir, o)
	a := &author{inc: l.Incarnation()}
	var all []Entry
	for range 1 + intN(5) {
		var batch []Entry
		for range 1 + intN(4) {
			batch = append(batch, a.entry(t, 1+intN(3), intN(700)))
		}
		mustAppend(t, l, batch...)
		all = append(all, batch...)
	}
	return all, l
}

// TestOpen_damagedBatchRefused damages a group commit that was acknowledged, since another one follows it.
func TestOpen_damagedBatchRefused(t *testing.T) {
	t.Parallel()
	rnd := random(t)
	dir := ram(t)
	for range 1000 {
		_, l := randomLog(t, rnd.IntN, dir)
		a := &author{inc: l.Incarnation()}
		a.last, a.hash = l.Head(a.inc)
		end := l.tail.Load().next
		mustAppend(t, l, a.entry(t, 1, 20), a.entry(t, 1, 20))
		l.notes.stop()
		die(l)
		im := imageOf(t, dir)
		segs := im.segments()
		name := segs[rnd.IntN(len(segs))]
		b := bytes.Clone(im[name])
		until := len(b)
		if name == segmentName(end.seg) {
			until = int(end.off)
		} else if name > segmentName(end.seg) {
			continue // begun by the last batch
		}
		if until == 0 {
			continue
		}
		b[rnd.IntN(until)] ^= byte(1 + rnd.IntN(255))
		im.with(name, b).put(t, dir)
		mustRefuse(t, dir, "damage in an acknowledged batch")
	}
}

func TestOpen_cutNeverBelowWatermark(t *testing.T) {
	im, _ := crashed(t)
	name := segmentName(1)
	dir := ram(t)
	for n := range len(im[name]) {
		im.with(name, im[name][:n]).put(t, dir)
		if c := mustRefuse(t, dir, "segment cut below the watermark"); c.Segment != name {
			t.Fatalf("cut at %d: got %v", n, c)
		}
	}
}

// TestOpen_noRoomToSetAside cuts off an unfinished end on a full disk, with a reserve to set it aside in and without.
func TestOpen_noRoomToSetAside(t *testing.T) {
	im, all := crashed(t, 1, 1)
	torn := im.with(segmentName(1), im[segmentName(1)][:len(im[segmentName(1)])-1])
	for _, want := range []int64{-1, 8 << 10} {
		dir := tinyDisk(t, 64<<10)
		torn.put(t, dir)
		o := small()
		o.Reserve = want
		if want > 0 {
			r := reserve{path: filepath.Join(dir, "RESERVE"), want: want}
			if err := r.take(); err != nil {
				t.Fatal(err)
			}
		}
		fill(t, filepath.Join(dir, "fill"))
		l := mustOpen(t, dir, o)
		mustHold(t, l, all[:len(all)-1])
		c := l.Stats().Cut
		if c == nil || (c.Aside != "") != (want > 0) {
			t.Fatalf("reserve %d: got %+v, want a cut, set aside if there is a reserve", want, c)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*.torn-*")); len(left) > 0 != (want > 0) {
			t.Errorf("reserve %d: left %v", want, left)
		}
	}
}

// TestOpen_lengthOfNothing has a length that is no longer than a record may be, and nothing after it: that much is not
// made room for.
func TestOpen_lengthOfNothing(t *testing.T) {
	im, _ := crashed(t)
	name := segmentName(1)
	dir := ram(t)
	im.with(name, binary.AppendUvarint(nil, maxPayload)).put(t, dir)
	if c := mustRefuse(t, dir, "length of nothing"); !strings.Contains(c.Reason, "of them there") {
		t.Errorf("got %v", c)
	}
}
