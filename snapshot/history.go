package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// History is a log with what was trimmed off it, which is read from the increments beside the backups. Whoever reads it need not know where the
// log begins. What is in increments that no key here opens is events.ErrTrimmed and seal.ErrNoKey; what is in one that is damaged, so that no later
// look helps either, is events.ErrTrimmed.
type History struct {
	*events.Log
	Dir  string    // of the backups
	Keys seal.Keys // what opens increments that are sealed
}

// Read is the log's, from whichever event.
func (h *History) Read(ctx context.Context, after uint64, fn func(events.Record) error) error {
	return h.both(func(to func(events.Record) error) error { return h.Log.Read(ctx, after, to) }, func(r *events.Record) bool { return r.Last() > after },
		func(to func(events.Record) error) error { return h.trimmed(ctx, after, to) }, func(r *events.Record) { after = r.Last() }, fn)
}

// Scan is the log's, from whichever record.
func (h *History) Scan(from uint64, fn func(events.Record) error) error {
	from = max(from, 1)
	return h.both(func(to func(events.Record) error) error { return h.Log.Scan(from, to) }, func(r *events.Record) bool { return r.Number >= from },
		func(to func(events.Record) error) error {
			after, err := h.before(from)
			if err != nil {
				return err
			}
			return h.trimmed(context.Background(), after, to)
		}, func(r *events.Record) { from = r.Number + 1 }, fn)
}

// both reads the log, and where that begins later, the increments first. The log may be trimmed meanwhile.
func (h *History) both(log func(func(events.Record) error) error, wanted func(*events.Record) bool, pieces func(func(events.Record) error) error,
	past func(*events.Record), fn func(events.Record) error) error {
	for {
		var inner error
		moved := false
		to := func(r events.Record) error {
			if !wanted(&r) {
				return nil
			}
			if inner = fn(r); inner == nil {
				past(&r)
				moved = true
			}
			return inner
		}
		err := log(to)
		if inner != nil || !errors.Is(err, events.ErrTrimmed) {
			return err
		}
		perr := pieces(to)
		if errors.Is(perr, seal.ErrNoKey) {
			return fmt.Errorf("%w, and what is there of it: %w: --backup-identity-file has the agent open it; or podman-swarm-agent backup extract %s --identity FILE does", err, perr, h.Dir)
		}
		var bad *badPieceError
		if inner == nil && errors.As(perr, &bad) {
			return fmt.Errorf("%w, and what is there of it cannot be read: %w", err, perr)
		}
		if perr != nil {
			return perr
		}
		if !moved {
			return fmt.Errorf("%w, and not in %s either", err, h.Dir)
		}
	}
}

// Trimmed gives what was trimmed off the log before an event, from the increments: all that there is. Where no key here opens some of it the error is
// events.ErrTrimmed; one that is damaged is an error of its own.
func (h *History) Trimmed(ctx context.Context, before uint64, fn func(events.Record) error) error {
	folder, _ := newestPieces(h.Dir, h.ID())
	all, err := listPieces(folder)
	if err != nil {
		return err
	}
	last := uint64(0)
	for _, f := range all {
		if f.First >= before {
			break
		}
		if f.Last <= last { // a part of a larger one, as a crash leaves it
			continue
		}
		last = f.Last
		p, err := readPieceFile(folder, f, h.Keys)
		if errors.Is(err, seal.ErrNoKey) {
			return fmt.Errorf("%w: %w", events.ErrTrimmed, err)
		}
		if err != nil {
			return err
		}
		for _, r := range p.Records {
			if r.Index >= before {
				break
			}
			if err := errors.Join(ctx.Err(), fn(r)); err != nil {
				return err
			}
		}
	}
	return nil
}

// trimmed reads from the increments what has an event after the index and is not in the log.
func (h *History) trimmed(ctx context.Context, after uint64, fn func(events.Record) error) error {
	folder, _ := newestPieces(h.Dir, h.ID())
	all, err := listPieces(folder)
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Last <= after {
			continue
		}
		if f.First > after+1 || f.First >= h.First() {
			return nil
		}
		p, err := h.piece(folder, f)
		if err != nil {
			return fmt.Errorf("what was trimmed off the log: %w", err)
		}
		for _, r := range p.Records {
			if err := ctx.Err(); err != nil {
				return err
			}
			if r.Last() <= after || r.Index >= h.First() {
				continue
			}
			if err := fn(r); err != nil {
				return err
			}
		}
		after = p.Last
	}
	return nil
}

// before is the index of the last event that comes before a record, in the increments.
func (h *History) before(record uint64) (uint64, error) {
	if record <= 1 {
		return 0, nil
	}
	folder, _ := newestPieces(h.Dir, h.ID())
	all, err := listPieces(folder)
	if err != nil {
		return 0, err
	}
	i := sort.Search(len(all), func(i int) bool {
		p, perr := h.piece(folder, all[i])
		if perr != nil {
			err = errors.Join(err, perr)
			return true
		}
		return p.Records[0].Number > record
	})
	if err != nil || i == 0 {
		return 0, err
	}
	p, err := h.piece(folder, all[i-1])
	if err != nil {
		return 0, err
	}
	for _, r := range p.Records {
		if r.Number == record {
			return r.Index - 1, nil
		}
	}
	return p.Last, nil
}

// badPieceError says that a piece is damaged, and not only that it cannot be read just now, or by this agent.
type badPieceError struct{ err error }

func (e *badPieceError) Error() string { return e.err.Error() }
func (e *badPieceError) Unwrap() error { return e.err }

// piece reads one of the increments.
func (h *History) piece(folder string, f PieceFile) (*Piece, error) {
	p, err := readPieceFile(folder, f, h.Keys)
	if damaged(err) {
		err = &badPieceError{err}
	}
	return p, err
}

// newestPieces is the folder of the pieces of a log, the last that was begun, and its number among them.
func newestPieces(dir, id string) (folder string, n int) {
	base := filepath.Join(dir, IncrementsFolder, "log-"+id)
	for folder, n = base, 1; ; n++ {
		next := fmt.Sprintf("%s-%d", base, n+1)
		if _, err := os.Stat(next); err != nil {
			return folder, n
		}
		folder = next
	}
}
