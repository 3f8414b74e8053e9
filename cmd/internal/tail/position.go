package tail

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/podman-swarm/podman-swarm/events"
)

// Position is a place in one host's log: after the event with that index. Log and Hash say whose log it is, and which
// event; what is "" is not known, and not compared.
type Position struct {
	Index uint64
	Log   string // the first 8 digits of the log's id
	Hash  string // the first 12 digits of the hash of the commit that the event is of
}

// String is the position's text form, "57@5f3a9c0e-a1b2c3d4e5f6"; an index alone is its own.
func (p Position) String() string {
	text := strconv.FormatUint(p.Index, 10)
	if p.Log == "" && p.Hash == "" {
		return text
	}
	text += "@" + p.Log
	if p.Hash != "" {
		text += "-" + p.Hash
	}
	return text
}

// ParsePosition reads what String gives.
func ParsePosition(text string) (p Position, err error) {
	parts := regexp.MustCompile(`^(\d+)(?:@([0-9a-f]{8})?(?:-([0-9a-f]{12}))?)?$`).FindStringSubmatch(text)
	if parts == nil {
		return p, fmt.Errorf("%q: want a position like 57@5f3a9c0e-a1b2c3d4e5f6, or the index of an event", text)
	}
	p.Log, p.Hash = parts[2], parts[3]
	if p.Index, err = strconv.ParseUint(parts[1], 10, 63); err != nil {
		return p, fmt.Errorf("%q: no log has so many events", text)
	}
	return p, nil
}

// Position is that of the event with an index, which the record has.
func (t *Tail) Position(r *events.Record, index uint64) Position {
	p := t.At(index)
	p.Hash = hex.EncodeToString(r.Hash[:6])
	return p
}

// At is a position of this log, of which the event is not known.
func (t *Tail) At(index uint64) Position {
	return Position{Index: index, Log: t.ID[:min(len(t.ID), 8)]}
}

// StrangeError says that a position is none of this log.
type StrangeError struct{ text string }

func (e *StrangeError) Error() string { return e.text }

// GoneError says that what comes after a position is in the log no more, nor elsewhere; Resume is where one can go on.
// It wraps events.ErrTrimmed.
type GoneError struct {
	Resume Position
	err    error
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("%v: one can go on from %v", e.err, e.Resume)
}

// Unwrap gives what the log says.
func (e *GoneError) Unwrap() error { return e.err }

// errFound ends a reading that has found what it was for.
var errFound = errors.New("found")

// Check says whether a reader can go on from a position: nil, a *StrangeError or a *GoneError, or that of the disk.
func (t *Tail) Check(ctx context.Context, p Position) error {
	end, _ := t.View()
	own := t.At(p.Index)
	switch {
	case p.Log != "" && own.Log != "" && p.Log != own.Log:
		return &StrangeError{fmt.Sprintf("position %v is of another log than this one, which is %s: each host's log has an order of its own, "+
			"so go on there, or begin here anew, from a time or from 0", p, own.Log)}
	case p.Index > end:
		return &StrangeError{fmt.Sprintf("position %v is not there yet: the log ends at %d. If it was there once, this host's disk was put back "+
			"to an earlier state: begin anew, from a time or from %d", p, end, end)}
	}
	if p.Hash != "" && p.Index > 0 {
		found := ""
		err := t.Read(ctx, p.Index-1, func(r events.Record) error {
			found = t.Position(&r, p.Index).Hash
			return errFound
		})
		if err != nil && !errors.Is(err, errFound) && !errors.Is(err, events.ErrTrimmed) {
			return err
		}
		if found != "" && found != p.Hash {
			return &StrangeError{fmt.Sprintf("position %v is of another history: event %d of this log is another one. This host's disk was put back "+
				"to an earlier state: begin anew, from a time or from 0", p, p.Index)}
		}
	}
	if p.Index == end {
		return nil
	}
	err := t.Read(ctx, p.Index, func(events.Record) error { return errFound })
	if errors.Is(err, errFound) {
		return nil
	}
	return t.gone(err)
}

// gone is a *GoneError where err says that something is gone.
func (t *Tail) gone(err error) error {
	if !errors.Is(err, events.ErrTrimmed) {
		return err
	}
	return &GoneError{Resume: t.At(t.first() - 1), err: err}
}

// first is the index of the first event that is in the log for sure.
func (t *Tail) first() uint64 {
	if t.First == nil {
		return 1
	}
	return max(1, t.First())
}
