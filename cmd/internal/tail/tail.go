package tail

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// BufferBytes is about how much fits into what Buffer gives.
const BufferBytes = 32 << 10

// batchBytes is about how much a reader is given at once.
const batchBytes = 32 << 10

// Tail gives the events of one log. Its exported fields are its configuration and must not be changed once it is used;
// Read and View are needed. Its methods are safe for concurrent use.
type Tail struct {
	ID string // of the log; "" where it has none
	// Read calls fn with each record from the one that holds the event after the index on, up to the durable end.
	Read func(ctx context.Context, after uint64, fn func(events.Record) error) error
	// View gives the index of the last durable event, and a channel that is closed once there is more.
	View  func() (end uint64, changed <-chan struct{})
	First func() uint64 // the index of the first event in the log; nil: 1
	Log   *slog.Logger  // nil: silent

	reading sync.Mutex   // one reads from the disk for somebody who is behind
	lagging atomic.Int64 // how many do, or wait to; not those who are being sent what was read
	mu      sync.Mutex
	hub     *hub // nil while nobody follows
	dropped atomic.Uint64
	buffers sync.Pool // of *[]byte
}

// Stats is how many there are who follow, and how many were dropped since they were too slow.
type Stats struct {
	Followers int
	Dropped   uint64
}

// Stats are the figures now.
func (t *Tail) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Dropped: t.dropped.Load()}
	if t.hub != nil {
		s.Followers = t.hub.followers
	}
	return s
}

// Drop counts a reader who was too slow.
func (t *Tail) Drop() { t.dropped.Add(1) }

// Buffer gives an empty buffer for what a reader is told at once, and takes it back by done, grown or not: with a thousand who follow a
// busy log, one made anew for each of them and each time would be gigabytes a second. A reader who stands still holds one.
func (t *Tail) Buffer() (b []byte, done func([]byte)) {
	p, ok := t.buffers.Get().(*[]byte)
	if !ok {
		p = new(make([]byte, 0, 2*BufferBytes))
	}
	return (*p)[:0], func(b []byte) {
		if cap(b) <= 4*BufferBytes { // else it had to hold an object of megabytes
			*p = b
			t.buffers.Put(p)
		}
	}
}

// Item is one record, with what it says. It is shared, and must not be changed.
type Item struct {
	events.Record
	Commit *events.Commit // nil: a jump, or of a format that this version does not understand

	tail  *Tail
	once  sync.Once
	lines [][]byte
}

func (t *Tail) item(r events.Record) *Item {
	it := &Item{Record: r, tail: t}
	if r.Inc != 0 {
		if c, err := events.ParseCommit(r.Payload); err == nil {
			it.Commit = &c
		}
	}
	return it
}

// read is Read, up to where View says that the log ends: a reader is told of nothing that it could not go on from at once.
func (t *Tail) read(ctx context.Context, after uint64, fn func(events.Record) error) error {
	end, _ := t.View()
	err := t.Read(ctx, after, func(r events.Record) error {
		if r.Last() > end {
			return errFound
		}
		return fn(r)
	})
	if errors.Is(err, errFound) {
		return nil
	}
	return err
}

// Each calls send with what comes after an index, a batch at a time, up to the end of the log, or, while anybody has joined, to what those are woken
// for, which can be a little less. The error is send's, a *GoneError, or the disk's; when ctx has ended, ctx's. While send runs, it holds up nobody, and
// holds no more than the batch and what is open to read the next one.
func (t *Tail) Each(ctx context.Context, after uint64, send func([]*Item) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		items, ok := t.recent(after)
		if !ok {
			if end, _ := t.View(); after >= end {
				return nil
			}
			was := after
			var err error
			if after, err = t.behind(ctx, after, send); err != nil || after == was {
				return t.gone(err)
			}
			continue
		}
		if len(items) == 0 {
			return nil
		}
		if err := send(items); err != nil {
			return err
		}
		after = items[len(items)-1].Last()
	}
}

// All is Each for who comes once: send is called with all that the log has when All is called, also where those who have joined are yet to be told.
func (t *Tail) All(ctx context.Context, after uint64, send func([]*Item) error) error {
	end, _ := t.View()
	err := t.Each(ctx, after, func(items []*Item) error {
		err := send(items)
		if err == nil {
			after = items[len(items)-1].Last()
		}
		return err
	})
	if err != nil || after >= end {
		return err
	}
	_, err = t.behind(ctx, after, send)
	return t.gone(err)
}

// behind reads from the log, up to its end, and gives the index of the last event that was sent.
func (t *Tail) behind(ctx context.Context, after uint64, send func([]*Item) error) (uint64, error) {
	var batch []*Item
	size := 0
	t.lagging.Add(1)
	defer t.lagging.Add(-1)
	t.reading.Lock()
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		t.reading.Unlock()
		if others := t.lagging.Load() - 1; others > 0 { // one alone may have all that the disk gives
			pause(ctx, time.Duration(int64(size)*others)*perBehind)
		}
		t.lagging.Add(-1) // who takes nothing is not to slow others
		defer t.lagging.Add(1)
		defer t.reading.Lock()
		err := send(batch)
		if err == nil {
			after = batch[len(batch)-1].Last()
		}
		batch, size = nil, 0
		return err
	}
	defer t.reading.Unlock()
	err := t.read(ctx, after, func(r events.Record) error {
		batch = append(batch, t.item(r))
		if size += len(r.Payload); size < batchBytes {
			return nil
		}
		return flush()
	})
	return after, errors.Join(err, flush())
}
