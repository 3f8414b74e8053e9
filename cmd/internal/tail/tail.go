package tail

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

const (
	batchBytes  = 64 << 10 // about how much a reader is given at once
	recentBytes = 1 << 20  // about how much of the newest records is kept in memory, while anybody follows
	recentFirst = 256      // how many events of it are read when the first one begins to follow
	inTurn      = 16       // how many readers are woken at once
	perReader   = 150 * time.Microsecond
	leastPause  = time.Millisecond // between two looks at the log, however few follow
)

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

	reading sync.Mutex // one reads from the disk for somebody who is behind
	mu      sync.Mutex
	hub     *hub // nil while nobody follows
	dropped atomic.Uint64
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

// Each calls send with what comes after an index, a batch at a time, up to the end of the log. The error is send's, a
// *GoneError, or the disk's; when ctx has ended, ctx's. While send runs nothing is held but the batch.
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

// behind reads from the log, up to its end, and gives the index of the last event that was sent.
func (t *Tail) behind(ctx context.Context, after uint64, send func([]*Item) error) (uint64, error) {
	var batch []*Item
	size := 0
	t.reading.Lock()
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		t.reading.Unlock()
		defer t.reading.Lock()
		err := send(batch)
		if err == nil {
			after = batch[len(batch)-1].Last()
		}
		batch, size = nil, 0
		return err
	}
	defer t.reading.Unlock()
	err := t.Read(ctx, after, func(r events.Record) error {
		batch = append(batch, t.item(r))
		if size += len(r.Payload); size < batchBytes {
			return nil
		}
		return flush()
	})
	return after, errors.Join(err, flush())
}

// Join has the newest records be kept in memory until leave is called, which waits for whatever was begun for that.
// Without it Wait must not be called.
func (t *Tail) Join() (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hub == nil {
		ctx, cancel := context.WithCancel(context.Background())
		h := &hub{tail: t, waiting: map[chan struct{}]bool{}}
		done := make(chan struct{})
		h.stop = func() { cancel(); <-done }
		go func() {
			defer close(done)
			h.run(ctx)
		}()
		t.hub = h
	}
	h := t.hub
	h.followers++
	return sync.OnceFunc(func() {
		t.mu.Lock()
		h.followers--
		last := h.followers == 0
		if last {
			t.hub = nil
		}
		t.mu.Unlock()
		if last {
			h.stop()
		}
	})
}

// Wait returns nil once there may be something after the index, and ctx's error when that ends.
func (t *Tail) Wait(ctx context.Context, after uint64) error {
	t.mu.Lock()
	h := t.hub
	t.mu.Unlock()
	return h.wait(ctx, after)
}

// recent gives a batch of what comes after an index, from memory; false when that is not there.
func (t *Tail) recent(after uint64) ([]*Item, bool) {
	t.mu.Lock()
	h := t.hub
	t.mu.Unlock()
	if h == nil {
		return nil, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.recent) == 0 || after+1 < h.recent[0].Index || after > h.last {
		return nil, false
	}
	i := sort.Search(len(h.recent), func(i int) bool { return h.recent[i].Last() > after })
	n, size := i, 0
	for ; n < len(h.recent) && size < batchBytes; n++ {
		size += len(h.recent[n].Payload)
	}
	return slices.Clone(h.recent[i:n]), true // what is not read for long holds no more than that
}

// hub is what those who follow share.
type hub struct {
	tail      *Tail
	followers int // under tail.mu
	stop      func()

	mu      sync.Mutex
	recent  []*Item // the newest records, without a gap
	bytes   int
	last    uint64 // the index of the last event that was looked at
	waiting map[chan struct{}]bool
}

// run reads what is new, once for all, and wakes who waits for it.
func (h *hub) run(ctx context.Context) {
	end, changed := h.tail.View()
	from := max(end, recentFirst) - recentFirst
	if from+1 < h.tail.first() { // what is older is elsewhere, and slow to read
		from = min(end, h.tail.first()-1)
	}
	h.mu.Lock()
	h.last = from
	h.mu.Unlock()
	for {
		if h.read(ctx) {
			h.wake(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		_, changed = h.tail.View()
	}
}

// read takes in what the log has after last, and reports whether that is anything. What cannot be read is left to
// those who want it, and who then find out why.
func (h *hub) read(ctx context.Context) bool {
	from := h.last // which only this goroutine changes
	err := h.tail.Read(ctx, from, func(r events.Record) error {
		r.Payload = bytes.Clone(r.Payload) // it is part of a larger piece, which would stay in memory with it
		it := h.tail.item(r)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.recent, h.bytes, h.last = append(h.recent, it), h.bytes+len(r.Payload), r.Last()
		n := 0
		for ; h.bytes > recentBytes && n < len(h.recent)-1; n++ {
			h.bytes -= len(h.recent[n].Payload)
		}
		h.recent = h.recent[n:]
		return nil
	})
	if err != nil && ctx.Err() == nil {
		h.mu.Lock()
		h.recent, h.bytes = nil, 0
		h.last, _ = h.tail.View()
		h.mu.Unlock()
		if h.tail.Log != nil {
			h.tail.Log.Error("the log cannot be read for those who follow it", "after", from, "err", err)
		}
	}
	return h.last > from
}

// wake wakes all who wait, some at a time: who was woken has something to do, and a change that is recorded meanwhile
// must not have to wait for all of them.
func (h *hub) wake(ctx context.Context) {
	h.mu.Lock()
	all := h.waiting
	h.waiting = map[chan struct{}]bool{}
	h.mu.Unlock()
	pause := time.NewTimer(0)
	defer pause.Stop()
	n, left := 0, len(all)
	for ch := range all {
		close(ch)
		left--
		if n++; n < inTurn && left > 0 {
			continue
		}
		pause.Reset(max(time.Duration(n)*perReader, leastPause))
		n = 0
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

func (h *hub) wait(ctx context.Context, after uint64) error {
	h.mu.Lock()
	if h.last > after {
		h.mu.Unlock()
		return ctx.Err()
	}
	ch := make(chan struct{})
	h.waiting[ch] = true
	h.mu.Unlock()
	select {
	case <-ch:
		return ctx.Err()
	case <-ctx.Done():
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.waiting, ch)
		return ctx.Err()
	}
}
