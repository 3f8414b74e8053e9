package events

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// Replay calls fn for every record from number from on, in order, up to where the log was durable when Replay was
// called, and returns nil there, or fn's error as it is. Each record is checked again as it is read; a
// *CorruptError says that the disk has lost something since Open. It takes no lock and waits for no fsync.
func (l *Log) Replay(from uint64, fn func(Record) error) error {
	t := l.tail.Load()
	if from >= t.next.number {
		return nil
	}
	if err := l.gone(max(from, 1), nil); err != nil {
		return err
	}
	return l.read(t, t.markOf(from), false, func(f *frame, _ *mark) error {
		if f.number < from {
			return nil
		}
		return fn(f.record())
	})
}

// Scan is Replay for who keeps no payload: each is overwritten once fn has returned, which halves what reading costs.
func (l *Log) Scan(from uint64, fn func(Record) error) error {
	t := l.tail.Load()
	if from >= t.next.number {
		return nil
	}
	if err := l.gone(max(from, 1), nil); err != nil {
		return err
	}
	return l.read(t, t.markOf(from), true, func(f *frame, _ *mark) error {
		if f.number < from {
			return nil
		}
		return fn(f.record())
	})
}

// scanAround is Scan that goes on behind what is damaged, or cannot be read: the first such place is damage, and no error. Some of what stands behind it may be left
// out, up to the next mark.
func (l *Log) scanAround(from uint64, fn func(Record) error) (damage, err error) {
	t := l.tail.Load()
	if from >= t.next.number {
		return nil, nil
	}
	if err := l.gone(max(from, 1), nil); err != nil {
		return nil, err
	}
	for m, ok := t.markOf(from), true; ok; {
		var inner error
		at, err := walk(l.dir, l.o.Key, t.spans(m.seg), m, true, func(f *frame, _ *mark) error {
			if f.number >= from {
				inner = fn(f.record())
			}
			return inner
		})
		if inner != nil || err == nil {
			return damage, inner
		}
		err = fmt.Errorf("read log %s: %w", l.dir, at.unread(l.gone(from, err)))
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) { // it may pass, and then nothing is known to be damaged
			return nil, err
		}
		if damage == nil {
			damage = err
		}
		m, ok = l.behind(t, at)
	}
	return damage, nil
}

// unread is a *CorruptError in the place of an error of the disk that does not pass: a record that it does not give, or a segment that is not there.
func (m *mark) unread(err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) && (failed.Op == "read" || errors.Is(err, fs.ErrNotExist)) {
		return m.corrupt(err.Error())
	}
	return err
}

// behind is where to go on behind the damaged record at m: the next one, if the length of the damaged one still leads there, and else the next
// mark; false when there is neither.
func (l *Log) behind(t *tail, m mark) (mark, bool) {
	if next, ok := l.oneOn(t, m); ok {
		return next, true
	}
	i := sort.Search(len(t.marks), func(i int) bool { return t.marks[i].number > m.number })
	if i == len(t.marks) {
		return mark{}, false
	}
	return t.marks[i], true
}

// oneOn is the place of the record after the one at m, in the same segment.
func (l *Log) oneOn(t *tail, m mark) (mark, bool) {
	f, err := os.Open(filepath.Join(l.dir, segmentName(m.seg)))
	if err != nil {
		return mark{}, false
	}
	defer f.Close()
	r := reader{f: f, limit: t.spans(m.seg)[0].size, off: m.off, key: l.o.Key}
	if r.fill(min(r.limit-r.off, 10)) != nil {
		return mark{}, false
	}
	prefix, size, err := recordLen(r.buf)
	if err != nil || r.off+int64(prefix+size) >= r.limit {
		return mark{}, false
	}
	next := mark{seg: m.seg, off: m.off + int64(prefix+size)}
	r.off, r.buf = next.off, nil
	var is frame
	if _, err := r.next(&is); err != nil || is.number != m.number+1 {
		return mark{}, false
	}
	next.place = place{number: is.number, index: is.index, crc: is.prev, at: is.at, pos: is.pos}
	return next, true
}

// Read is Replay from the record that holds the event after index after, until ctx ends.
func (l *Log) Read(ctx context.Context, after uint64, fn func(Record) error) error {
	t := l.tail.Load()
	if after >= t.next.index-1 {
		return ctx.Err()
	}
	from := t.markOfEvent(after + 1)
	if after+1 < from.index {
		return fmt.Errorf("event %d: %w: it begins with event %d", after+1, ErrTrimmed, from.index)
	}
	return l.read(t, from, false, func(f *frame, _ *mark) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.index+uint64(f.count) <= after+1 {
			return nil
		}
		return fn(f.record())
	})
}

func (l *Log) read(t *tail, from mark, reuse bool, fn func(*frame, *mark) error) error {
	var inner error
	at, err := walk(l.dir, l.o.Key, t.spans(from.seg), from, reuse, func(f *frame, m *mark) error {
		inner = fn(f, m)
		return inner
	})
	if inner == nil && err != nil {
		return fmt.Errorf("read log %s: %w", l.dir, at.unread(l.gone(from.number, err)))
	}
	return inner
}

// spans are the segments from the one that begins with record seg on, as far as they are durable.
func (t *tail) spans(seg uint64) []span {
	i := sort.Search(len(t.sealed), func(i int) bool { return t.sealed[i].first >= seg })
	return append(t.sealed[i:len(t.sealed):len(t.sealed)], span{t.next.seg, t.next.off})
}

// markOf is the last mark that is not after record number.
func (t *tail) markOf(number uint64) mark {
	return t.markAt(sort.Search(len(t.marks), func(i int) bool { return t.marks[i].number > number }))
}

// markOfEvent is the last mark that is not after the record that holds event index.
func (t *tail) markOfEvent(index uint64) mark {
	return t.markAt(sort.Search(len(t.marks), func(i int) bool { return t.marks[i].index > index }))
}

func (t *tail) markAt(i int) mark {
	if len(t.marks) == 0 {
		return t.next
	}
	return t.marks[max(0, i-1)]
}
