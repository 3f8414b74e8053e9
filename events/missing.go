package events

import (
	"context"
	"errors"
	"maps"
	"math"
)

// Missing calls fn with each commit that somebody lacks who has of every incarnation no more than the first have of its
// events, in the order of this log, from record number from on, and up to where the log was durable when it was called.
// fn's error is returned as it is. A payload is overwritten once fn has returned.
//
// gone are the incarnations of which something is lacked that this log does not hold: it jumped over it. Nothing of
// them is given. It takes no lock for long and waits for no fsync.
//
// What is damaged holds up no other incarnation: those of which something cannot be read are gone as well, given up to there, and err is
// a *CorruptError, joined to fn's where both are; then gone are also those to whose end it did not come. Of an incarnation nothing is given that does not follow on what was given before.
//
// What a Trim beside it takes away before anything has been given is gone, and the rest is given. What it takes away later is ErrTrimmed, upon which
// who asks again is told what is gone; what was given until then is whole. have may be asked twice of an incarnation.
func (l *Log) Missing(ctx context.Context, have func(Incarnation) uint64, from uint64, fn func(Record) error) (gone []Incarnation, err error) {
	for {
		given := false
		gone, err = l.missing(ctx, have, from, func(r Record) error {
			given = true
			return fn(r)
		})
		if given || !errors.Is(err, ErrTrimmed) {
			return gone, err
		}
		// The log has been trimmed since it was looked where it begins, and by now it is known what is gone by that.
	}
}

func (l *Log) missing(ctx context.Context, have func(Incarnation) uint64, from uint64, fn func(Record) error) (gone []Incarnation, err error) {
	begin := l.tail.Load().markAt(0).number // before the floors are read: what is trimmed off in between is ErrTrimmed then
	l.headMu.Lock()
	all := maps.Clone(l.heads)
	l.headMu.Unlock()
	first := uint64(math.MaxUint64)
	lacked := map[Incarnation]uint64{} // what is had of those of which something is to be given
	for inc, h := range all {
		switch had := have(inc); {
		case had >= h.last:
		case had < h.floor:
			gone = append(gone, inc)
		default:
			lacked[inc] = had
			first = min(first, h.from(had))
		}
	}
	if len(lacked) == 0 {
		return gone, ctx.Err()
	}
	given := maps.Clone(lacked)
	next, whole := max(first, from, begin), true
	damage, err := l.scanAround(next, func(r Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		whole, next = whole && r.Number == next, r.Number+1
		had, ok := lacked[r.Inc]
		last := r.Seq + uint64(r.Count) - 1
		if h := all[r.Inc]; !ok || last <= had || !h.holds(&r) || !whole && r.Seq > given[r.Inc]+1 {
			return nil
		}
		if err := fn(r); err != nil {
			return err
		}
		given[r.Inc] = last
		return nil
	})
	if damage == nil {
		return gone, err
	}
	torn := false
	for inc, last := range given {
		if last < all[inc].last {
			gone, torn = append(gone, inc), true
		}
	}
	if torn {
		err = errors.Join(err, damage)
	}
	return gone, err
}

// Floor is the event of an incarnation up to which not all are here, since the log was trimmed, or jumped over them; zero where all are.
func (l *Log) Floor(inc Incarnation) uint64 {
	l.headMu.Lock()
	defer l.headMu.Unlock()
	return l.heads[inc].floor
}

// Renew draws another incarnation, under which this host counts its events from now on. It is for a host that cannot know
// whether others have heard more of the old one than it has itself. On nil the new one is durable; after an error, and
// after a crash, it is either. It is for the caller of Append, and not at the same time.
func (l *Log) Renew() (Incarnation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return 0, err
	}
	was, inc := l.Incarnation(), l.o.Draw()
	if err := l.rename(inc); err != nil {
		return 0, l.fail(err)
	}
	l.inc.Store(uint64(inc))
	l.o.Log.Info("this host counts its events anew", "dir", l.dir, "was", was, "incarnation", inc)
	return inc, nil
}
