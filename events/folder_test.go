package events

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manySegments is a closed log of at least five segments.
func manySegments(t *testing.T) (image, []Entry) {
	t.Helper()
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	var all []Entry
	for range 40 {
		e := a.entry(t, 1, 300)
		all = append(all, e)
		mustAppend(t, l, e)
	}
	mustClose(t, l)
	im := imageOf(t, dir)
	if n := len(im.segments()); n < 5 {
		t.Fatalf("%d segments, want 5 or more", n)
	}
	return im, all
}

func TestOpen_missingSegment(t *testing.T) {
	im, _ := manySegments(t)
	segs := im.segments()
	dir := ram(t)
	for _, i := range []int{0, len(segs) / 2, len(segs) - 1} {
		im.with(segs[i], nil).put(t, dir)
		if c := mustRefuse(t, dir, "segment missing"); c.Segment != segs[i] || !strings.Contains(c.Reason, "missing") {
			t.Errorf("without segment %s: got %v", segs[i], c)
		}
	}
	none := im
	for _, s := range segs {
		none = none.with(s, nil)
	}
	none.put(t, dir)
	if c := mustRefuse(t, dir, "no segment"); c.Segment != segs[0] {
		t.Errorf("without segments: got %v", c)
	}
}

func TestOpen_cutSegment(t *testing.T) {
	im, _ := manySegments(t)
	segs := im.segments()
	dir := ram(t)
	for _, s := range segs {
		for _, n := range []int{0, 1, len(im[s]) / 2, len(im[s]) - 1} {
			if len(im[s]) == 0 || n < 0 {
				continue
			}
			im.with(s, im[s][:n]).put(t, dir)
			if c := mustRefuse(t, dir, "segment cut"); c.Segment != s && !strings.Contains(c.Reason, "cut short") {
				t.Errorf("segment %s cut at %d: got %v", s, n, c)
			}
		}
	}
}

func TestOpen_foreignSegment(t *testing.T) {
	im, _ := manySegments(t)
	other, _ := manySegments(t)
	dir := ram(t)
	for _, s := range im.segments() {
		if len(im[s]) == 0 {
			continue
		}
		im.with(s, other[s]).put(t, dir)
		mustRefuse(t, dir, "segment "+s+" of another log")
	}
	im.with(segmentName(2), im[segmentName(1)]).put(t, dir)
	mustRefuse(t, dir, "segment that is one too many")
}

func TestOpen_filesOfTruncation(t *testing.T) {
	im, all := manySegments(t)
	dir := ram(t)
	for _, name := range []string{segmentName(9) + ".START", segmentName(9) + ".END"} {
		im.with(name, []byte("x")).put(t, dir)
		if _, err := Open(dir, small()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("with %s: got %v", name, err)
		}
		if !same(im.with(name, []byte("x")).data(), imageOf(t, dir).data()) {
			t.Errorf("with %s: the folder was changed", name)
		}
	}
	im.with(segmentName(9)+".START.TEMP", []byte("x")).with("snapshot-000017", []byte("x")).put(t, dir)
	mustHold(t, mustOpen(t, dir, small()), all)
}

func TestOpen_secondOpenerOfThisProcess(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, small())
	_, err := Open(dir, small())
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("got %v, want ErrLocked with this process's number", err)
	}
	mustAppend(t, l, (&author{inc: l.Incarnation()}).entry(t, 1, 10))
	mustClose(t, l)
	mustClose(t, mustOpen(t, dir, small()))
}

// TestOpen_lockFileRemoved takes away LOCK, as people do who are told that something is in use.
func TestOpen_lockFileRemoved(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, small())
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, small()); !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
	mustClose(t, l)
	mustClose(t, mustOpen(t, dir, small()))
}

func TestOpen_secondOpenerOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EVENTS_HOLD="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	_, err = Open(dir, small())
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("got %v, want ErrLocked with process %d", err, cmd.Process.Pid)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the other process: %v", err)
	}
	mustClose(t, mustOpen(t, dir, small()))
}

// TestOpen_crashWhileCreating opens what a crash leaves between any two steps of making a log.
func TestOpen_crashWhileCreating(t *testing.T) {
	dir := ram(t)
	mustClose(t, mustOpen(t, dir, small()))
	made := imageOf(t, dir)[manifestName]
	lock, seg := image{"LOCK": nil}.with("LOCK", []byte{}), segmentName(1)
	steps := []image{{}, lock, lock.with("LOCK", []byte("123\n")), lock.with(seg, []byte{})}
	for n := 0; n <= len(made); n += 97 {
		steps = append(steps, lock.with(seg, []byte{}).with(manifestName+".tmp", made[:n]))
	}
	steps = append(steps, lock.with(seg, []byte{}).with(manifestName, made))
	for i, s := range steps {
		s.put(t, dir)
		for range 2 {
			l, err := Open(dir, small())
			if err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			a := &author{inc: l.Incarnation()}
			a.last, a.hash = l.Head(a.inc)
			mustAppend(t, l, a.entry(t, 1, 10))
			mustClose(t, l)
		}
	}
}

// TestOpen_crashWhileTurning opens what a crash leaves between any two steps of an append that begins segments.
func TestOpen_crashWhileTurning(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 1, 300), a.entry(t, 1, 300), a.entry(t, 1, 1800)}
	mustAppend(t, l, all...)
	l.keep()
	l.notes.stop()
	before := imageOf(t, dir)
	batch := []Entry{a.entry(t, 1, 300), a.entry(t, 2, 300), a.entry(t, 1, 4500), a.entry(t, 1, 900)}
	mustAppend(t, l, batch...)
	after := imageOf(t, dir)
	if n := len(after.segments()) - len(before.segments()); n != 2 {
		t.Fatalf("%d segments begun, want 2", n)
	}
	crash := ram(t)
	state := before
	for _, name := range after.segments() {
		for n := len(before[name]); n <= len(after[name]); n += 1 + n%41 {
			state = state.with(name, after[name][:n])
			for _, noted := range []string{"before", "after"} {
				s := state
				if noted == "after" && n == len(after[name]) && name == after.segments()[len(after.segments())-1] {
					s = state.with(manifestName, after[manifestName])
				}
				s.put(t, crash)
				l := mustOpen(t, crash, small())
				if got := holds(t, l, append(all, batch...)); got < len(all) {
					t.Fatalf("segment %s at byte %d: %d records, want %d or more", name, n, got, len(all))
				}
				mustClose(t, l)
			}
		}
		state = state.with(name, after[name])
	}
}

func TestOpen_folder(t *testing.T) {
	defer unix.Umask(unix.Umask(0)) // no test runs beside this one
	dir := filepath.Join(t.TempDir(), "data", "events")
	l := mustOpen(t, dir, Options{})
	mustAppend(t, l, (&author{inc: l.Incarnation()}).entry(t, 1, 10))
	for name, want := range map[string]os.FileMode{"": 0o750, "LOCK": 0o640, manifestName: 0o640, segmentName(1): 0o640, "RESERVE": 0o640} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %q: got %o, want %o", name, got, want)
		}
	}
	if s := l.Stats(); s.Segments != 1 || s.Bytes == 0 || s.Reserve != 16<<20 || s.Free <= 0 || s.Writable != nil {
		t.Errorf("stats: got %+v", s)
	}
	mustClose(t, l)
	mustClose(t, l)
	if err := l.Append([]Entry{(&author{inc: 1}).entry(t, 1, 10)}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("append after close: got %v, want os.ErrClosed", err)
	}
}

// TestOpen_timeGoesOn appends under a wall clock that goes back.
func TestOpen_timeGoesOn(t *testing.T) {
	dir := ram(t)
	wall := time.Date(2026, 1, 21, 12, 0, 0, 123456789, time.UTC)
	o := small()
	o.Now = func() time.Time { return wall }
	l := mustOpen(t, dir, o)
	a := &author{inc: l.Incarnation()}
	mustAppend(t, l, a.entry(t, 1, 10), a.entry(t, 1, 10))
	first := wall.Truncate(time.Microsecond)
	if got := l.End().At; !got.Equal(first) {
		t.Errorf("got %v, want %v", got, first)
	}
	mustClose(t, l)
	wall = wall.Add(-time.Hour)
	l = mustOpen(t, dir, o)
	mustAppend(t, l, a.entry(t, 1, 10))
	if got := l.End().At; !got.Equal(first) {
		t.Errorf("clock went back: got %v, want %v", got, first)
	}
}

// TestOpen_libraryDisagrees has tidwall/wal find another end, or another segment, than the frames say.
func TestOpen_libraryDisagrees(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	mustAppend(t, l, (&author{inc: l.Incarnation()}).entry(t, 1, 10))
	was := l.tail.Load()
	off := *was
	off.next.number++
	l.tail.Store(&off)
	if err := l.openWAL(); err == nil || !strings.Contains(err.Error(), "record 2") {
		t.Errorf("got %v, want both ends", err)
	}
	l.tail.Store(was)
	d := &draft{from: was, tail: *was}
	d.tail.next.off++
	if err := l.turned(d); err == nil || !strings.Contains(err.Error(), segmentName(1)) {
		t.Errorf("got %v, want the segment", err)
	}
}

// TestOpen_missingEmptySegment takes away a segment that was begun and not yet written to.
func TestOpen_missingEmptySegment(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	mustAppend(t, l, (&author{inc: l.Incarnation()}).entry(t, 1, 5000))
	mustClose(t, l)
	im := imageOf(t, dir)
	if b, ok := im[segmentName(2)]; !ok || len(b) > 0 {
		t.Fatalf("segment 2: %d bytes, %v; want it there and empty", len(b), ok)
	}
	im.with(segmentName(2), nil).put(t, dir)
	if c := mustRefuse(t, dir, "segment missing"); c.Segment != segmentName(2) {
		t.Errorf("got %v", c)
	}
}

// TestOpen_wholeRecordThatDoesNotFollow makes the last record, above the watermark, one that is whole by itself and
// does not follow on the one before: a crash leaves no such record, so it is not cut off.
func TestOpen_wholeRecordThatDoesNotFollow(t *testing.T) {
	im, all := crashed(t, 1)
	name := segmentName(1)
	file := im[name]
	at := len(file) - diskSize(all[2])
	prefix, _, err := recordLen(file[at:])
	if err != nil {
		t.Fatal(err)
	}
	dir := ram(t)
	for what, change := range map[string]func(*frame){
		"number":   func(f *frame) { f.number++ },
		"index":    func(f *frame) { f.index++ },
		"count":    func(f *frame) { f.count = 0 },
		"position": func(f *frame) { f.pos += 7 },
		"time":     func(f *frame) { f.at = 1 },
		"chain":    func(f *frame) { f.prev++ },
	} {
		var f frame
		if _, err := parseFrame(file[at+prefix:], &f); err != nil {
			t.Fatal(err)
		}
		change(&f)
		im.with(name, f.append(bytes.Clone(file[:at+prefix]))).put(t, dir)
		if c := mustRefuse(t, dir, what); c.Offset != int64(at) || c.Index != 3 {
			t.Errorf("%s: got %v, want it at byte %d", what, c, at)
		}
	}
}

// TestOpen_wholeRecordInTheWrongPlace leaves a record twice at the end, which no crash does.
func TestOpen_wholeRecordInTheWrongPlace(t *testing.T) {
	im, all := crashed(t, 1)
	name, n := segmentName(1), diskSize(all[2])
	file := im[name]
	dir := ram(t)
	im.with(name, append(bytes.Clone(file), file[len(file)-n:]...)).put(t, dir)
	mustRefuse(t, dir, "last record twice")
}

// TestOpen_unreadable has the disk fail to read what MANIFEST does not cover: nobody knows whether that is damaged, and
// nothing of it is cut off.
func TestOpen_unreadable(t *testing.T) {
	dir := ram(t)
	mustClose(t, mustOpen(t, dir, small()))
	path := filepath.Join(dir, segmentName(1))
	if err := errors.Join(os.Remove(path), os.Symlink("/proc/self/mem", path)); err != nil { // reads of it are EIO
		t.Fatal(err)
	}
	var c *CorruptError
	if _, err := Open(dir, small()); !errors.Is(err, unix.EIO) || errors.As(err, &c) || !strings.Contains(err.Error(), "read log at byte 0") {
		t.Errorf("got %v, want the disk's error, and no damage", err)
	}
	if _, _, err := dumped(dir, 0); !errors.Is(err, unix.EIO) || errors.As(err, &c) {
		t.Errorf("dump: got %v, want the disk's error, and no damage", err)
	}
}
