package tail

import (
	"context"
	"errors"
	"sort"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// Since is the index after which everything is that this host wrote at a time or later: those of its log rise.
func (t *Tail) Since(ctx context.Context, at time.Time) (after uint64, err error) {
	end, _ := t.View()
	low, high := t.around(at, end)
	n := sort.Search(int(high-low), func(i int) bool {
		if err != nil {
			return true
		}
		var wrote time.Time
		rerr := t.Read(ctx, low+uint64(i), func(r events.Record) error {
			wrote = r.At
			return errFound
		})
		switch {
		case errors.Is(rerr, errFound):
			return !wrote.Before(at)
		case errors.Is(rerr, events.ErrTrimmed):
			return false // it was before all that is left
		case rerr == nil:
			return true // past the durable end
		}
		err = rerr
		return true
	})
	return low + uint64(n), err
}

// around narrows down what Since looks for, between 0 and end, by what is in memory: a thousand who begin to follow at once, from now on, then need
// not look into the log.
func (t *Tail) around(at time.Time, end uint64) (low, high uint64) {
	t.mu.Lock()
	h := t.hub
	t.mu.Unlock()
	if h == nil {
		return 0, end
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i := sort.Search(len(h.recent), func(i int) bool { return !h.recent[i].At.Before(at) })
	if i > 0 {
		low = h.recent[i-1].Last()
	}
	if i < len(h.recent) {
		return low, h.recent[i].Index - 1
	}
	return low, max(low, end) // which has gone on meanwhile
}
