package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrTrimmed says that what was asked for is not in the log any more, since that was made shorter at its front.
var ErrTrimmed = errors.New("trimmed off the log")

// TrimmedError is ErrTrimmed of a record.
type TrimmedError struct {
	First         uint64 // record with which the log begins
	wanted, event uint64
}

// Error says which record, and with which the log begins.
func (e *TrimmedError) Error() string {
	return fmt.Sprintf("record %d: %v: it begins with record %d, event %d", e.wanted, ErrTrimmed, e.First, e.event)
}

// Unwrap is ErrTrimmed.
func (e *TrimmedError) Unwrap() error { return ErrTrimmed }

// floorEnd ends the name of the file that says where every incarnation stood when the log was trimmed; what it begins with is the number of
// the first record that is left.
const floorEnd = ".floor"

func floorName(first uint64) string { return segmentName(first) + floorEnd }

// wireFloor is what the first line of that file says. The second is the SHA-256 of the first.
type wireFloor struct {
	V      int        `json:"v"`
	Record uint64     `json:"record"` // number of the first record that is left
	Heads  []JumpHead `json:"heads"`
}

// Excess is the index of the first event that would be left if the log were to keep no record that was written before a time, and no more
// than so many bytes, and in either case only whole segments were let go of; zero time, or no bytes: no such limit. Trim takes it.
func (l *Log) Excess(before time.Time, bytes int64) uint64 {
	t := l.tail.Load()
	first := t.markAt(0)
	left := t.bytes
	for i, s := range t.sealed {
		next := t.next
		if i+1 < len(t.sealed) {
			next.seg, next.off = t.sealed[i+1].first, t.sealed[i+1].size
		}
		// The mark at a segment's beginning has when the record before was written.
		at := t.markOf(next.seg)
		if next.off == 0 || at.number != next.seg || !(left > bytes && bytes > 0) && !(at.at < before.UnixMicro() && !before.IsZero()) {
			break
		}
		left -= s.size
		first = at
	}
	return first.index
}

// Trim lets go of every segment all of whose events are before the one with the index, and of none that has the last record. When it returns nil that
// is durable, First says where the log begins, and what is read from before there is ErrTrimmed. Whoever reads such a segment at the moment gets that
// too. After an error, and a crash, the log has all that it had, or begins there; what is left over of it then Open removes, or the next Trim.
//
// That what goes is kept elsewhere is for the caller to know. It may be called beside Append, by one caller at a time.
func (l *Log) Trim(before uint64) error {
	if err := l.trim(before); err != nil {
		return fmt.Errorf("trim log %s: %w", l.dir, err)
	}
	return nil
}

func (l *Log) trim(before uint64) error {
	t := l.tail.Load()
	first, ok := t.boundary(before)
	if !ok {
		return l.removeBefore(t.markAt(0).number)
	}
	heads, err := l.headsAt(t, first)
	if err != nil {
		return err
	}
	l.mu.Lock() // no append, and not the end, until the log's own word of where it begins is durable
	err = l.begins(first, heads)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.o.Log.Info("the log was trimmed", "dir", l.dir, "first", first.index)
	return l.removeBefore(first.number)
}

// boundary is the beginning of the last segment of which all events before it are before the index, if that is not where the log begins.
func (t *tail) boundary(before uint64) (mark, bool) {
	segs := []uint64{}
	for _, s := range t.sealed[min(1, len(t.sealed)):] {
		segs = append(segs, s.first)
	}
	if len(t.sealed) > 0 && t.next.off > 0 {
		segs = append(segs, t.next.seg)
	}
	for _, seg := range slices.Backward(segs) {
		if m := t.markOf(seg); m.number == seg && m.index <= before {
			return m, true
		}
	}
	return mark{}, false
}

// headsAt reads what is to go, and gives where every incarnation stands behind it.
func (l *Log) headsAt(t *tail, first mark) (heads, error) {
	from := t.markAt(0)
	h, err := readFloor(l.dir, from.number)
	if err != nil {
		return nil, err
	}
	end, err := walk(l.dir, l.o.Key, slices.DeleteFunc(slices.Clone(t.spans(from.seg)), func(s span) bool { return s.first >= first.number }), from, true,
		func(f *frame, _ *mark) error {
			return h.follow(f.number, f.inc, f.seq, f.count, f.hash, f.payload)
		})
	if err == nil && (end.number != first.number || end.index != first.index || end.crc != first.crc) {
		err = end.corrupt(fmt.Sprintf("what is to be trimmed ends with record %d, want %d", end.number-1, first.number-1))
	}
	return h, err
}

// begins makes it the log's own word that it begins at first: with the file of the heads, and then in both parts of MANIFEST, since with either of
// them it must be known what is missing on purpose.
func (l *Log) begins(first mark, at heads) error {
	if err := l.usable(); err != nil {
		return err
	}
	err := writeFloor(l.dir, first.number, at)
	if noSpace(err) && l.reserve.release() {
		err = writeFloor(l.dir, first.number, at)
	}
	if err != nil {
		return err
	}
	n := &l.notes
	n.io.Lock()
	was := n.m.first
	n.m.first = first.place
	n.io.Unlock()
	for range 2 {
		if err := n.write(l.tail.Load().next, false); err != nil {
			n.io.Lock()
			n.m.first = was // the next write says so again: nothing has been removed yet
			n.io.Unlock()
			if noSpace(err) {
				return fmt.Errorf("write %s: %w", manifestName, err)
			}
			return l.fail(fmt.Errorf("write %s: %w", manifestName, err))
		}
	}
	l.headMu.Lock()
	for inc, gone := range at {
		l.heads[inc] = l.heads[inc].trimmed(gone.last, first.number)
	}
	l.headMu.Unlock()
	l.tail.Store(l.tail.Load().from(first))
	return nil
}

// from is the tail of a log that begins at first.
func (t *tail) from(first mark) *tail {
	n := &tail{next: t.next, bytes: t.bytes}
	for _, s := range t.sealed {
		if s.first >= first.number {
			n.sealed = append(n.sealed, s)
		} else {
			n.bytes -= s.size
		}
	}
	for _, m := range t.marks {
		if m.number >= first.number {
			n.marks = append(n.marks, m)
		}
	}
	return n
}

// trimmed is the head when the records before one are gone, and with them its events up to one.
func (h head) trimmed(gone, first uint64) head {
	h.floor = min(max(h.floor, gone), h.last)
	h.marks = slices.DeleteFunc(slices.Clone(h.marks), func(m headMark) bool { return m.record < first })
	h.void = slices.DeleteFunc(slices.Clone(h.void), func(v headRange) bool { return v.before <= first })
	return h
}

// removeBefore removes the segments before a record, the first of those that stay, and what the last trim left of its like.
func (l *Log) removeBefore(first uint64) error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	removed := false
	for _, e := range entries { // in order, so the oldest first
		name := e.Name()
		if len(name) < 20 || e.IsDir() {
			continue
		}
		number, err := strconv.ParseUint(name[:20], 10, 64)
		if err != nil || !(name[20:] == "" && number < first || name[20:] == floorEnd && number != first) {
			continue
		}
		if err := os.Remove(filepath.Join(l.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return syncDir(l.dir)
}

// since are those of the segments from the one that begins with a record on; those before it are left of a trim.
func since(spans []span, first uint64) []span {
	return slices.DeleteFunc(slices.Clone(spans), func(s span) bool { return s.first < first })
}

// writeFloor notes where every incarnation stands before a record, whole or not at all.
func writeFloor(dir string, first uint64, at heads) error {
	w := wireFloor{V: Version, Record: first, Heads: []JumpHead{}}
	for inc, h := range at {
		w.Heads = append(w.Heads, JumpHead{Inc: inc, Seq: h.last, Hash: h.hash})
	}
	slices.SortFunc(w.Heads, func(a, b JumpHead) int { return strings.Compare(a.Inc.String(), b.Inc.String()) })
	line, err := json.Marshal(w)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, "floor.tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(tmp, fmt.Appendf(nil, "%s\n%s\n", line, HashOf(line))); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, floorName(first))); err != nil {
		return err
	}
	return syncDir(dir)
}

// readFloor is where every incarnation stands before the log's first record: nowhere, unless it has been trimmed.
func readFloor(dir string, first uint64) (heads, error) {
	h := heads{}
	if first <= 1 {
		return h, nil
	}
	name := floorName(first)
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("the log has been trimmed, and what says where it was then is missing: put %s back from a copy of this folder: %w", name, err)
	}
	line, sum, _ := bytes.Cut(b, []byte("\n"))
	var w wireFloor
	if string(sum) != HashOf(line).String()+"\n" || json.Unmarshal(line, &w) != nil || w.Record != first {
		return nil, &CorruptError{Segment: name, Reason: "its checksum does not fit: put it back from a copy of this folder"}
	}
	if w.V > Version {
		return nil, fmt.Errorf("%s of format %d: %w", name, w.V, ErrVersion)
	}
	for _, at := range w.Heads {
		h[at.Inc] = head{last: at.Seq, hash: at.Hash, floor: at.Seq}
	}
	return h, nil
}

// gone reports whether a read from record number failed since that has been trimmed off meanwhile.
func (l *Log) gone(number uint64, err error) error {
	if first := l.tail.Load().markAt(0); number < first.number && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		return &TrimmedError{first.number, number, first.index}
	}
	return err
}
