package events

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// markEvery is how many bytes of a segment are between two marks: what a reader may have to read in vain.
const markEvery = 64 << 10

// Cut is the unfinished end that a crash left, and that Open cut off. None of it was acknowledged.
type Cut struct {
	Segment string // name of the file
	Offset  int64  // where it was cut
	Bytes   int64  // how much was cut off
	Aside   string // path of the file that holds these bytes; empty when there was no room for it
}

// scan reads every record, repairs what a crash left unfinished, refuses any other damage, and sets tail and heads.
func (l *Log) scan(spans []span, m manifest) error {
	if len(spans) == 0 {
		start := m.start()
		return missing(&start, m.next.number)
	}
	last := spans[len(spans)-1]
	path := filepath.Join(l.dir, segmentName(last.first))
	if !m.clean {
		if err := errors.Join(settle(path), syncDir(l.dir)); err != nil {
			return err
		}
	}
	at, err := readFloor(l.dir, m.first.number)
	if err != nil {
		return err
	}
	s := scanner{upTo: m.next, heads: at, key: l.o.Key}
	end, torn, bad, err := s.examine(l.dir, spans, m, true, func(_ *frame, at *mark) error {
		s.marks = addMark(s.marks, at)
		return nil
	})
	if err != nil {
		return err
	}
	if bad != nil {
		if err := l.cutOff(end, torn, bad); err != nil {
			return err
		}
	} else if m.clean && end.number != m.next.number {
		return end.goesOn(m.next.number - 1)
	}
	t := tail{next: end, sealed: spans[:len(spans)-1], marks: s.marks, bytes: end.off}
	for _, s := range t.sealed {
		t.bytes += s.size
	}
	l.heads = s.heads
	l.tail.Store(&t)
	return nil
}

// settle makes what is read of a segment what the disk holds. A killed process leaves records that never reached
// the disk; a failed write-back leaves some that never will, and still show in memory.
func settle(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop %s from memory: %w", path, err)
	}
	return nil
}

// scanner holds what it reads of a log to what the log says of itself.
type scanner struct {
	upTo  mark // the watermark
	marks []mark
	heads heads
	key   *Key
}

// examine calls fn for each record of a log that is whole and in its place, and returns the mark after the last. An
// error says that the log is damaged. When it ends instead with what a crash can have left of a write under way, these
// bytes are torn, and bad says what is wrong with them.
func (s *scanner) examine(dir string, spans []span, m manifest, reuse bool, fn func(*frame, *mark) error) (
	end mark, torn []byte, bad *CorruptError, err error) {
	end, err = walk(dir, s.key, spans, m.start(), reuse, func(f *frame, at *mark) error {
		if err := s.record(f, at); err != nil {
			return err
		}
		return fn(f, at)
	})
	if err != nil && !errors.As(err, &bad) {
		return end, nil, nil, err
	}
	if err := durable(spans, m, end, bad); err != nil || bad == nil {
		return end, nil, nil, err
	}
	last := spans[len(spans)-1]
	if end.seg != last.first || bad.whole {
		return end, nil, nil, bad
	}
	// Not further than has been looked at: the log's owner may have written more since.
	if torn, err = readPart(filepath.Join(dir, bad.Segment), end.off, last.size); err != nil {
		return end, nil, nil, err
	}
	if reason := acknowledged(torn, end.number); reason != "" {
		bad.Reason += "; " + reason
		return end, nil, nil, bad
	}
	return end, torn, bad, nil
}

func (s *scanner) record(f *frame, at *mark) error {
	if err := s.heads.follow(f.number, f.inc, f.seq, f.count, f.hash, f.payload); err != nil {
		return at.damaged(err)
	}
	if f.number == s.upTo.number-1 && f.crc != s.upTo.crc {
		return at.damaged(errors.New("it is not the record that MANIFEST knows by this number"))
	}
	return nil
}

// goesOn says that there is more than MANIFEST saw when the log was closed.
func (m *mark) goesOn(last uint64) *CorruptError {
	return m.corrupt(fmt.Sprintf("the log was closed with record %d as its last, and goes on: "+
		"MANIFEST or the segments are from another time", last))
}

// addMark adds the place of a record if it begins a segment or is far enough from the mark before.
func addMark(marks []mark, at *mark) []mark {
	if n := len(marks); n == 0 || at.off == 0 || at.off-marks[n-1].off >= markEvery {
		return append(marks, *at)
	}
	return marks
}

// durable refuses a log that ends before the watermark: what is missing there was acknowledged.
func durable(spans []span, m manifest, end mark, bad *CorruptError) error {
	switch {
	case end.number >= m.next.number && spans[len(spans)-1].first >= m.next.seg:
		return nil
	case bad != nil:
		bad.Reason = fmt.Sprintf("%s; events up to %d were durable", bad.Reason, m.next.index-1)
		return bad
	case spans[len(spans)-1].first < m.next.seg:
		return &CorruptError{Segment: segmentName(m.next.seg), Index: end.index,
			Reason: fmt.Sprintf("segment is missing; events up to %d were durable", m.next.index-1)}
	}
	return end.corrupt(fmt.Sprintf("the log ends here, and events up to %d were durable", m.next.index-1))
}

// cutOff cuts off the last segment what a crash left at end, and sets it aside.
func (l *Log) cutOff(end mark, torn []byte, bad *CorruptError) error {
	path := filepath.Join(l.dir, bad.Segment)
	c := Cut{Segment: bad.Segment, Offset: end.off, Bytes: int64(len(torn))}
	var err error
	if c.Aside, err = l.setAside(path, torn); err != nil {
		return err
	}
	if err := truncate(path, end.off); err != nil {
		return err
	}
	l.cut = &c
	l.o.Log.Warn("unfinished end of the log cut off: a crash left it, and nothing of it was acknowledged",
		"dir", l.dir, "segment", c.Segment, "offset", c.Offset, "bytes", c.Bytes, "aside", c.Aside, "found", bad.Reason)
	return nil
}

// acknowledged says why the bytes from the damaged record on are not what a crash left of a write under way: there
// is a whole record after it that was written only when the fsync of the damaged one had succeeded. A later record
// of the same batch is no such proof, since sectors reach the disk in any order.
func acknowledged(b []byte, damaged uint64) string {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte(magic[:len(magic)-1])) // of either form
		if i < 0 {
			return ""
		}
		var f frame
		from += i
		if _, err := parseFrame(b[from:], &f); err == nil && f.number > damaged+uint64(f.pos) {
			return fmt.Sprintf("record %d after it is whole and was begun when this one was durable", f.number)
		}
		from += len(magic) - 1
	}
}

// setAside writes b to a file beside the segment. The disk may be full, and a full disk is no reason not to start:
// then the reserve goes, and when that is not enough, the bytes, which were promised to nobody.
func (l *Log) setAside(path string, b []byte) (string, error) {
	name := fmt.Sprintf("%s.torn-%d", path, time.Now().UnixNano())
	for {
		err := writeNew(name, b)
		if err == nil {
			return name, syncDir(l.dir)
		}
		if !noSpace(err) {
			return "", err
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if !l.reserve.release() {
			l.o.Log.Warn("no room to set the unfinished end of the log aside", "dir", l.dir, "bytes", len(b))
			return "", nil
		}
	}
}

func writeNew(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// truncate makes the file size bytes long, durably.
func truncate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = f.Truncate(size); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readPart reads a file from an offset to another.
func readPart(path string, from, to int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, to-from)
	if n, err := f.ReadAt(b, from); n < len(b) {
		return nil, err
	}
	return b, nil
}
