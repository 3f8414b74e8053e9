package events

import (
	"context"
	"fmt"
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
	_, err := walk(l.dir, l.o.Key, t.spans(from.seg), from, reuse, func(f *frame, m *mark) error {
		inner = fn(f, m)
		return inner
	})
	if inner == nil && err != nil {
		err = l.gone(from.number, err)
		return fmt.Errorf("read log %s: %w", l.dir, err)
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
