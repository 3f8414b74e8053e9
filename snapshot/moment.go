package snapshot

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Moment is a moment of a log: the event of an index, or that of an id, or, where neither is given, a time by this host's clock. All of them are
// moments as the log's host knew them: after its own copy of the event. Or, with Seen, it is what some host knew that had seen so much of each
// incarnation, and no more: that is the same by the log of every host.
type Moment struct {
	Index uint64
	Event events.ID
	Time  time.Time
	Seen  map[events.Incarnation]uint64
}

// ErrNoMoment says that the log has no such moment.
var ErrNoMoment = errors.New("the log has no such moment")

// ParseMoment reads a moment as people write it: the index of an event, its id or stamp, a time as RFC 3339 has it, or how long ago, like 2h. False: it
// is none of these.
func ParseMoment(text string, now time.Time) (m Moment, ok bool) {
	var err error
	if m.Index, err = strconv.ParseUint(text, 10, 63); err == nil {
		return m, m.Index > 0
	}
	m.Index = 0
	if m.Event, err = events.ParseID(text); err == nil && !m.Event.IsZero() {
		return m, true
	}
	var stamp events.Stamp
	if err = stamp.UnmarshalText([]byte(text)); err == nil && !stamp.IsZero() {
		return Moment{Event: stamp.ID}, true
	}
	if m.Time, err = time.Parse(time.RFC3339Nano, text); err == nil {
		return m, true
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return Moment{Time: now.Add(-d)}, true
	}
	return Moment{}, false
}

// MomentForms says what ParseMoment reads.
const MomentForms = "the index of an event like 120, its id like 5f3a9c0e11223344-42, a time like 2026-01-21T12:00:00Z, or how long ago, like 2h"

// byTime reports whether neither an index nor an id is given.
func (m Moment) byTime() bool { return m.Index == 0 && m.Event.IsZero() }

// reaches reports whether the moment can be folded from a state.
func (m Moment) reaches(s *projection.State) bool {
	switch {
	case m.Index > 0:
		return s.Index() <= m.Index
	case !m.Event.IsZero():
		return !s.Covers(m.Event)
	}
	return !s.At().After(m.Time)
}

// until finds the end of a moment among the records of a log, each of which it is asked of in turn.
func (m Moment) until() *until { return &until{Moment: m} }

type until struct {
	Moment
	seen bool
}

// past reports whether a record is later than the moment.
func (u *until) past(r *events.Record) bool {
	switch {
	case u.Index > 0:
		return r.Index > u.Index
	case !u.Event.IsZero():
		past := u.seen
		u.seen = u.seen || r.Inc == u.Event.Inc && r.Seq <= u.Event.Seq && u.Event.Seq-r.Seq < uint64(r.Count)
		return past
	}
	return r.At.After(u.Time)
}

// missed is an error where the moment is an event that was not among the records.
func (u *until) missed(where string) error {
	if u.Index > 0 || u.Event.IsZero() || u.seen {
		return nil
	}
	return fmt.Errorf("event %s: %w: %s does not hold it", u.Event, ErrNoMoment, where)
}

// At is the state at a moment, as this host knew it then, folded from the nearest snapshot before it. Where the index is within a commit,
// that is all of it. The error wraps ErrNoMoment where that is before the log's first event, or after its last, or an event that the log does not hold.
func (f *Folds) At(ctx context.Context, m Moment) (*projection.State, error) {
	if m.Seen != nil {
		return f.seen(ctx, m.Seen)
	}
	end := f.Source.End()
	if m.Index > end.Index {
		return nil, fmt.Errorf("event %d: %w: it ends at event %d", m.Index, ErrNoMoment, end.Index)
	}
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	var start *projection.State
	from, until := uint64(1), m.until()
	for _, name := range slices.Backward(names) {
		var index uint64
		if _, err := fmt.Sscanf(filepath.Base(name), "fold-%d.snap", &index); err != nil || m.Index > 0 && index > m.Index {
			continue
		}
		if m.byTime() { // the log tells sooner than the snapshot whether that is later
			if r, err := f.recordAt(ctx, index); err == nil && r.At.After(m.Time) {
				continue
			}
		}
		s, next, err := f.load(ctx, name)
		if err == nil && m.reaches(s) {
			start, from = s, next
			break
		}
	}
	s, err := projection.FoldUntil(f.Source, start, from, func(r events.Record) bool { return ctx.Err() != nil || until.past(&r) })
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = until.missed("the log")
		if err != nil && start != nil { // what the snapshot does not cover need not come after it: it may have been given up before
			if index, ferr := f.find(ctx, m); ferr != nil {
				return nil, ferr
			} else if index > 0 {
				return f.At(ctx, Moment{Index: index})
			}
		}
	}
	if err == nil && s.Index() == 0 {
		err = fmt.Errorf("%s: %w: it begins later", m.Time.UTC().Format(time.RFC3339), ErrNoMoment)
	}
	return s, err
}

// find is the index at which the commit of a moment's event ends, wherever the log has it; zero where it does not. Nothing is folded.
func (f *Folds) find(ctx context.Context, m Moment) (index uint64, err error) {
	until := m.until()
	look := func(r events.Record) error {
		if until.past(&r); until.seen {
			index = r.Last()
			return errFound
		}
		return nil
	}
	if err = f.Source.Read(ctx, 0, look); errors.Is(err, events.ErrTrimmed) { // what is left of it may have it
		err = f.Source.Read(ctx, f.Source.First()-1, look)
	}
	if errors.Is(err, errFound) {
		err = nil
	}
	return index, err
}
