package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tidwall/wal"
)

// Append writes the entries after the last record, one record each, all with one write and one fsync. On nil they
// are durable and readers see them, End is the last of them, and all have its At.
//
// On an error that is ErrFull nothing was written, and the same entries may be tried again. On ErrFailed it is not
// known whether they are there: the log takes nothing any more, and Open finds out. Any other error means that the
// entries were refused (they do not follow on what the log has of their incarnation, or are not what they say
// they are), and that nothing was written.
//
// A crash within Append leaves each record whole or not at all, and none without those before it. One caller at a
// time; the entries' bytes are not kept.
func (l *Log) Append(entries []Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.append(entries); err != nil {
		return fmt.Errorf("append %d records to log %s: %w", len(entries), l.dir, err)
	}
	return nil
}

func (l *Log) append(entries []Entry) error {
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.room(0); err != nil { // before all is copied, as while the disk is full the same is tried again and again
		return err
	}
	defer l.letGo()
	d, err := l.draft(entries)
	if err != nil {
		return err
	}
	if err := l.room(d.bytes()); err != nil {
		return err
	}
	if err := l.write(); err != nil {
		return err
	}
	if err := l.makeDurable(d); err != nil {
		return l.fail(err)
	}
	l.headMu.Lock()
	for inc, h := range d.heads {
		l.heads[inc] = h
	}
	l.headMu.Unlock()
	l.tail.Store(&d.tail)
	if d.turned() {
		l.notes.soon(0, l.keep)
	} else {
		l.notes.soon(noteEvery, l.keep)
	}
	return nil
}

// keepBytes is how much memory is kept for the next batch.
const keepBytes = 8 << 20

// letGo lets go of the memory of a batch that was larger than most.
func (l *Log) letGo() {
	if l.batched > keepBytes {
		l.batch, l.frame = wal.Batch{}, nil
	}
}

// draft is what an append makes of the log, should it succeed.
type draft struct {
	from  *tail
	tail  tail
	heads heads // of the incarnations that it adds to
}

func (d *draft) bytes() int64 { return d.tail.bytes - d.from.bytes }

// turned reports whether a segment is begun.
func (d *draft) turned() bool { return d.tail.next.seg != d.from.next.seg }

// draft checks the entries and makes their frames, in l.batch. It knows when tidwall/wal will begin a segment: when
// the one there has reached its size, which makes it durable first, and so ends the batch that shares an fsync.
func (l *Log) draft(entries []Entry) (*draft, error) {
	if len(entries) == 0 {
		return nil, errors.New("nothing to append")
	}
	from := l.tail.Load()
	d := &draft{from: from, tail: *from, heads: heads{}}
	at := max(l.o.Now().UnixMicro(), from.next.at)
	t, n := &d.tail, &d.tail.next
	n.pos = 0
	if n.off > l.o.SegmentBytes {
		t.turn()
	}
	l.batch.Clear()
	l.batched = 0
	for i := range entries {
		e := &entries[i]
		if err := l.check(d.heads, n.number, e); err != nil {
			return nil, fmt.Errorf("record %d of them: %w", i+1, err)
		}
		f := frame{number: n.number, index: n.index, count: e.Count, pos: n.pos, at: at, inc: e.Inc, seq: e.Seq,
			prev: n.crc, hash: e.Hash, payload: e.Payload}
		if l.frame = l.frame[:0]; l.o.Key == nil {
			l.frame = f.append(l.frame)
		} else {
			l.frame = f.appendSealed(l.frame, l.o.Key)
		}
		l.batch.Write(f.number, l.frame)
		l.batched += len(l.frame)
		t.marks = addMark(t.marks, n)
		if err := n.follow(&f); err != nil {
			return nil, fmt.Errorf("record %d of them: %w", i+1, err)
		}
		size := int64(len(l.frame) + len(binary.AppendUvarint(nil, uint64(len(l.frame)))))
		n.off += size
		t.bytes += size
		if n.off >= l.o.SegmentBytes {
			t.turn()
		}
	}
	return d, nil
}

// turn begins a segment.
func (t *tail) turn() {
	t.sealed = append(t.sealed, span{t.next.seg, t.next.off})
	t.next.seg, t.next.off, t.next.pos = t.next.number, 0, 0
}

// check holds an entry to its incarnation's chain, in the log and in the batch before it.
func (l *Log) check(batch heads, number uint64, e *Entry) error {
	if len(e.Payload) > maxPayload {
		return fmt.Errorf("commit of %d bytes: want at most %d", len(e.Payload), maxPayload)
	}
	take := func(inc Incarnation) { // only Append writes heads, so reading them here needs no lock
		if _, ok := batch[inc]; !ok {
			if h, ok := l.heads[inc]; ok {
				batch[inc] = h
			}
		}
	}
	if take(e.Inc); e.Inc == 0 { // a jump, which is about all of them
		for inc := range l.heads {
			take(inc)
		}
	}
	return batch.follow(number, e.Inc, e.Seq, e.Count, e.Hash, e.Payload)
}

// write hands l.batch to the operating system. A disk found full only now takes nothing of it: the log is put back
// to where it was, and the batch tried again in the room that was held in reserve.
func (l *Log) write() error {
	for {
		err := l.wal.WriteBatch(&l.batch)
		if err == nil {
			return nil
		}
		if !unwritten(err) {
			return l.fail(err)
		}
		if err := l.putBack(); err != nil {
			return l.fail(err)
		}
		if !l.reserve.release() {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		l.o.Log.Warn("disk is full: finishing the append under way in the room held in reserve", "dir", l.dir)
	}
}

// unwritten reports whether an error of WriteBatch says that there was no room, before any fsync failed.
func unwritten(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && (p.Op == "write" || p.Op == "open") && noSpace(err)
}

// makeDurable returns when the batch just written is on disk, with the names of the segments that it began.
func (l *Log) makeDurable(d *draft) error {
	start := time.Now()
	if err := l.sync(l.wal); err != nil {
		return err
	}
	if d.turned() {
		if err := syncDir(l.dir); err != nil {
			return err
		}
		if err := l.turned(d); err != nil {
			return err
		}
	}
	if l.o.Observe != nil {
		l.o.Observe(time.Since(start), int(d.bytes()), int(d.tail.next.number-d.from.next.number))
	}
	return nil
}

// turned checks that tidwall/wal began a segment where the frames say that it did, and lets go of the old one,
// which it would keep in memory.
func (l *Log) turned(d *draft) error {
	for _, s := range d.tail.spans(d.from.next.seg) {
		info, err := os.Stat(filepath.Join(l.dir, segmentName(s.first)))
		if err != nil {
			return err
		}
		if info.Size() != s.size {
			return fmt.Errorf("segment %s has %d bytes, want %d", segmentName(s.first), info.Size(), s.size)
		}
	}
	return l.wal.ClearCache()
}

// putBack makes the files what they were before a write that found no room. What tidwall/wal has in memory is no
// longer what is on disk, and is dropped with it: it is not even closed, which would fsync.
func (l *Log) putBack() error {
	l.wal = nil
	t := l.tail.Load()
	spans, err := listSegments(l.dir)
	if err != nil {
		return err
	}
	for i := len(spans) - 1; i >= 0 && spans[i].first > t.next.seg; i-- {
		if err := os.Remove(filepath.Join(l.dir, segmentName(spans[i].first))); err != nil {
			return err
		}
	}
	if err := syncDir(l.dir); err != nil {
		return err
	}
	if err := truncate(filepath.Join(l.dir, segmentName(t.next.seg)), t.next.off); err != nil {
		return err
	}
	from := t.markOf(t.next.number)
	end, err := walk(l.dir, l.o.Key, t.spans(from.seg), from, true, func(*frame, *mark) error { return nil })
	if err != nil {
		return err
	}
	if end.number != t.next.number || end.crc != t.next.crc {
		return end.corrupt(fmt.Sprintf("the log ends with record %d, want %d", end.number-1, t.next.number-1))
	}
	return l.openWAL()
}
