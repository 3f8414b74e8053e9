package tail

import (
	"bytes"
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

const (
	recentBytes = 1 << 20 // about how much of the newest records is kept in memory, while anybody follows
	recentEach  = 512     // what a record costs beside its payload, about
	recentFirst = 256     // how many events of it are read when the first one begins to follow
)

// What those who follow may cost whoever changes something meanwhile, on the same processors: less than one of them. So they are woken, a few at
// a time, no faster than this; and while a log grows faster than all of them can be told of it, it is they who fall behind.
const (
	perReader = 400 * time.Microsecond
	perByte   = 12 * time.Nanosecond // 80 MB/s to all of them, which is most of a gigabit link
	perBehind = 40 * time.Nanosecond // of a byte that has to be read from the log, and put into words, for one reader alone
	atOnce    = time.Millisecond     // so much is done before a pause
)

// hub is what those who follow share: the newest records, read once for all, and who waits for the next.
//
// No wake-up is lost, as last and waiting are compared under one lock. Who waits comes into waiting only while last is not
// beyond what it has. Only run lets last rise, and it calls wake before it sleeps again, which takes out everybody whom last has
// passed: so while run sleeps, nobody waits for what is there. And run sleeps on a channel that it took before it read: whatever was
// not there to be read yet closes it.
type hub struct {
	tail      *Tail
	followers int // under tail.mu
	stop      func()

	mu      sync.Mutex
	recent  []*Item // the newest records, without a gap, up to last
	bytes   int
	last    uint64                   // the index of the last event that was looked at
	waiting map[chan struct{}]uint64 // and the index of the last event that each has
}

// Join has the newest records be kept in memory until leave is called, which waits for whatever was begun for that.
// Without it Wait must not be called.
func (t *Tail) Join() (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hub == nil {
		ctx, cancel := context.WithCancel(context.Background())
		h := &hub{tail: t, waiting: map[chan struct{}]uint64{}}
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

// Wait returns nil once there is something after the index, and ctx's error when that ends.
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
	return slices.Clone(h.recent[i:n]), true // so that who is slow holds no more than that
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
		h.read(ctx)
		h.wake(ctx)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		_, changed = h.tail.View()
	}
}

// read takes in what the log has after last. What cannot be read is left to those who want it, and who then find out why.
func (h *hub) read(ctx context.Context) {
	from := h.last // which only this goroutine changes
	err := h.tail.read(ctx, from, func(r events.Record) error {
		r.Payload = bytes.Clone(r.Payload) // it is part of a larger piece, which would stay in memory with it
		it := h.tail.item(r)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.recent, h.bytes, h.last = append(h.recent, it), h.bytes+len(r.Payload)+recentEach, r.Last()
		n := 0
		for ; h.bytes > recentBytes && n < len(h.recent)-1; n++ {
			h.bytes -= len(h.recent[n].Payload) + recentEach
			h.recent[n] = nil // the array may stay for a while
		}
		h.recent = h.recent[n:]
		return nil
	})
	if err == nil || ctx.Err() != nil {
		return
	}
	end, _ := h.tail.View()
	h.mu.Lock()
	h.recent, h.bytes, h.last = nil, 0, max(end, h.last)
	h.mu.Unlock()
	if h.tail.Log != nil {
		h.tail.Log.Error("the log cannot be read for those who follow it", "after", from, "err", err)
	}
}

// wake wakes all who wait for what is there, some at a time: who was woken has something to do, and a change that is
// recorded meanwhile must not have to wait for all of them.
func (h *hub) wake(ctx context.Context) {
	costs := map[chan struct{}]time.Duration{}
	h.mu.Lock()
	for ch, has := range h.waiting {
		if has < h.last {
			costs[ch] = max(perReader, time.Duration(h.beyond(has))*perByte)
			delete(h.waiting, ch)
		}
	}
	h.mu.Unlock()
	var owed time.Duration
	for ch, cost := range costs {
		close(ch)
		if owed += cost; owed >= atOnce {
			pause(ctx, owed)
			owed = 0
		}
	}
	if len(costs) > 0 {
		pause(ctx, max(owed, atOnce)) // before the log is looked at again
	}
}

// beyond is how many bytes there are in memory after an index.
func (h *hub) beyond(index uint64) (n int) {
	for _, it := range slices.Backward(h.recent) {
		if it.Last() <= index {
			break
		}
		n += len(it.Payload)
	}
	return n
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (h *hub) wait(ctx context.Context, after uint64) error {
	h.mu.Lock()
	if h.last > after {
		h.mu.Unlock()
		return ctx.Err()
	}
	ch := make(chan struct{})
	h.waiting[ch] = after
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
