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
	n := sort.Search(int(end), func(i int) bool {
		if err != nil {
			return true
		}
		var wrote time.Time
		rerr := t.Read(ctx, uint64(i), func(r events.Record) error {
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
	return uint64(n), err
}
