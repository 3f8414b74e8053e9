package events

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// CorruptError says where a log is damaged. What stands before that place is whole.
type CorruptError struct {
	Segment string // name of the file; that of a missing one where one is missing
	Offset  int64  // in the file, in bytes
	Index   uint64 // of the first event that is damaged or missing
	Reason  string

	whole bool // the record is whole, but not the one that belongs here: nothing that a crash leaves
}

// Error names segment, offset and reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("segment %s at byte %d is damaged, at event %d: %s", e.Segment, e.Offset, e.Index, e.Reason)
}

func (m *mark) corrupt(reason string) *CorruptError {
	return &CorruptError{Segment: segmentName(m.seg), Offset: m.off, Index: m.index, Reason: reason}
}

// damaged is corrupt of a record that is whole by itself.
func (m *mark) damaged(err error) *CorruptError {
	c := m.corrupt(err.Error())
	c.whole = true
	return c
}

// segmentName is the file name that tidwall/wal gives a segment.
func segmentName(first uint64) string { return fmt.Sprintf("%020d", first) }

// span is a segment and how much of it may be read.
type span struct {
	first uint64
	size  int64
}

// walk calls fn for each record from m on, through spans, whose first is the segment that m is in. fn gets the
// mark before the record. It returns the mark after the last record that was whole and that fn took, and a
// *CorruptError for what is not a record that follows on the one before.
//
// Payloads are safe to keep, unless reuse says that they need not be.
// Of a log that is sealed, key opens the records.
func walk(dir string, key *Key, spans []span, m mark, reuse bool, fn func(*frame, *mark) error) (mark, error) {
	r := reader{reuse: reuse, key: key}
	for _, s := range spans {
		if s.first != m.seg {
			if s.first != m.number {
				return m, missing(&m, s.first)
			}
			m.seg, m.off, m.pos = s.first, 0, 0
		}
		if err := r.walk(dir, s, &m, fn); err != nil {
			return m, err
		}
	}
	return m, nil
}

func missing(m *mark, next uint64) error {
	if next < m.number {
		return &CorruptError{Segment: segmentName(next), Index: m.index,
			Reason: fmt.Sprintf("segment is not one of this log: the one before it ends with record %d", m.number-1)}
	}
	return &CorruptError{Segment: segmentName(m.number), Index: m.index,
		Reason: fmt.Sprintf("segment is missing, or the one before it cut short: the next one there begins with record %d", next)}
}

// chunk is how much is read at once. Whoever keeps one payload keeps the chunk that it stands in.
const chunk = 64 << 10

// reader reads one segment after the other.
type reader struct {
	f     *os.File
	limit int64  // where what may be read ends
	off   int64  // of buf[0]
	buf   []byte // read and not yet consumed
	mem   []byte // what buf is part of
	reuse bool   // read into mem again
	key   *Key
}

func (r *reader) walk(dir string, s span, m *mark, fn func(*frame, *mark) error) error {
	f, err := os.Open(filepath.Join(dir, segmentName(s.first)))
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer f.Close()
	r.f, r.limit, r.off, r.buf = f, s.size, m.off, nil
	var fr frame
	for r.off < r.limit {
		n, err := r.next(&fr)
		if err != nil {
			var failed *os.PathError
			if errors.As(err, &failed) {
				return fmt.Errorf("read log at byte %d: %w", r.off, err)
			}
			switch {
			case errors.Is(err, ErrSealed):
				return err
			case errors.Is(err, errForged): // no crash leaves that
				return m.damaged(err)
			}
			return m.corrupt(err.Error())
		}
		next := *m
		if err := next.follow(&fr); err != nil {
			return m.damaged(err)
		}
		if err := fn(&fr, m); err != nil {
			return err
		}
		next.off += int64(n)
		*m = next
	}
	return nil
}

// next reads the record at r.off, moves past it and returns how long it is.
func (r *reader) next(f *frame) (int, error) {
	if err := r.fill(min(r.limit-r.off, 10)); err != nil {
		return 0, err
	}
	prefix, size, err := recordLen(r.buf)
	if err != nil {
		return 0, err
	}
	n := prefix + size
	if int64(n) > r.limit-r.off {
		return 0, fmt.Errorf("record of %d bytes, %d of them there", n, r.limit-r.off)
	}
	if err := r.fill(int64(n)); err != nil {
		return 0, err
	}
	switch got, err := parseFrame(r.buf[prefix:n], f); {
	case err != nil:
		return 0, err
	case got != size:
		return 0, errLength
	}
	if err := f.open(r.key, r.buf[prefix:n]); err != nil {
		return 0, err
	}
	r.buf, r.off = r.buf[n:], r.off+int64(n)
	return n, nil
}

// fill makes buf at least n bytes long. n is never past the limit.
func (r *reader) fill(n int64) error {
	have := len(r.buf)
	if int64(have) >= n {
		return nil
	}
	wanted := int(n)
	n = max(n, min(chunk, r.limit-r.off))
	if !r.reuse || int64(cap(r.mem)) < n {
		r.mem = make([]byte, n)
	}
	b := r.mem[:n]
	copy(b, r.buf)
	got, err := r.f.ReadAt(b[have:], r.off+int64(have))
	switch r.buf = b[:have+got]; {
	case len(r.buf) >= wanted: // what comes before a place that cannot be read is whole
		return nil
	case err == io.EOF:
		return errors.New("the file is shorter than it was")
	}
	return err
}
