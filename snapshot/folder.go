package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Folder is a folder of backups and increments, wherever it has come from: all that is needed to have the state back as it was at any moment
// that it covers. It is only read.
type Folder struct{ Dir string }

// At is the state at a moment, and what the backup says of itself that it was folded from: the one of that name, or, where it is "", the newest that is
// before the moment. Of a time after what the folder has it is the last state that there is. The error wraps ErrNoMoment where the folder does
// not cover the moment.
func (f Folder) At(ctx context.Context, name string, m Moment) (*projection.State, About, error) {
	s, about, err := f.base(name, m)
	if err != nil {
		return nil, about, err
	}
	later := func(r events.Record) bool {
		return ctx.Err() != nil || m.Index > 0 && r.Index > m.Index || m.Index == 0 && r.At.After(m.Time)
	}
	if about.Log != "" {
		p := pieces{folder: filepath.Join(f.Dir, IncrementsFolder, about.Log)}
		if s, err = p.fold(s, later); err == nil {
			err = ctx.Err()
		}
	}
	if err == nil && m.Index > s.Index() {
		err = fmt.Errorf("event %d: %w: %s goes up to event %d", m.Index, ErrNoMoment, f.Dir, s.Index())
	}
	return s, about, err
}

// base is what is to be folded from.
func (f Folder) base(name string, m Moment) (*projection.State, About, error) {
	all := &Backups{Dir: f.Dir}
	if name != "" {
		b, err := all.Read(name)
		if err != nil {
			return nil, About{}, err
		}
		if m.Index > 0 && m.Index < b.Index || m.Index == 0 && b.State.At().After(m.Time) {
			return nil, About{}, fmt.Errorf("%w: backup %s is of event %d, %s", ErrNoMoment, name, b.Index, b.State.At().Format(time.RFC3339))
		}
		return b.State, b.About, nil
	}
	files, err := all.List()
	if err != nil {
		return nil, About{}, err
	}
	var errs []error
	logs := map[string]bool{}
	for _, file := range slices.Backward(files) {
		about, err := ReadAbout(filepath.Join(f.Dir, file.Name))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", file.Name, err))
			continue
		}
		// An index means nothing without the log that it is of. Of several logs a time tells which backup is meant, and a name always does.
		if logs[about.Log] = true; len(logs) > 1 && m.Index > 0 {
			return nil, about, fmt.Errorf("%s has backups of several logs, and each has its own event %d: say which backup to go from, or a time", f.Dir, m.Index)
		}
		if m.Index > 0 && m.Index < about.Index || m.Index == 0 && about.Made.After(m.Time) {
			continue
		}
		b, err := all.Read(file.Name)
		if err == nil && (m.Index > 0 || !b.State.At().After(m.Time)) {
			return b.State, b.About, nil
		}
		errs = append(errs, err)
	}
	return f.fromNothing(m, errs)
}

// fromNothing is the state before the first event, where the folder has a log from there on.
func (f Folder) fromNothing(m Moment, errs []error) (*projection.State, About, error) {
	entries, err := os.ReadDir(filepath.Join(f.Dir, IncrementsFolder))
	if err == nil && len(entries) == 1 {
		folder := filepath.Join(f.Dir, IncrementsFolder, entries[0].Name())
		if all, err := listPieces(folder); err == nil && len(all) > 0 && all[0].First == 1 {
			p, err := readPieceFile(folder, all[0])
			if err != nil {
				return nil, About{}, err
			}
			if m.Index > 0 || !p.Records[0].At.After(m.Time) {
				return projection.NewState(), About{Cluster: p.Cluster, Node: p.Node, Log: entries[0].Name()}, nil
			}
		}
	}
	return nil, About{}, errors.Join(fmt.Errorf("%s: %w: it has no backup that is before that", f.Dir, ErrNoMoment), errors.Join(errs...))
}

// pieces are those of one log.
type pieces struct {
	folder string
	check  bool // that the states in between have the digests that the pieces say
	read   int
}

// fold goes on from a state through the pieces until a record is later than wanted.
func (p *pieces) fold(s *projection.State, later func(events.Record) bool) (*projection.State, error) {
	all, err := listPieces(p.folder)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		if f.Last <= s.Index() {
			continue
		}
		if f.First > s.Index()+1 {
			return nil, fmt.Errorf("%s: events %d to %d are in no piece", p.folder, s.Index()+1, f.First-1)
		}
		piece, err := readPieceFile(p.folder, f)
		if err != nil {
			return nil, err
		}
		p.read++
		if s, err = projection.FoldUntil(after{piece.Records, s.Index()}, s, 0, later); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		switch {
		case s.Index() < piece.Last:
			return s, nil
		case p.check && piece.Digest != "" && piece.Digest != s.Digest():
			return nil, fmt.Errorf("%s: the state at event %d has another digest than it says", f.Name, piece.Last)
		}
	}
	return s, nil
}

// after are the records that have an event after an index.
type after struct {
	records []events.Record
	index   uint64
}

// Scan calls fn with them.
func (a after) Scan(_ uint64, fn func(events.Record) error) error {
	for _, r := range a.records {
		if r.Last() <= a.index {
			continue
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// Verify reads a backup of the folder and folds all increments after it, comparing each digest. It gives the state at the end.
func (f Folder) Verify(ctx context.Context, name string) (*projection.State, error) {
	b, err := (&Backups{Dir: f.Dir}).Read(name)
	if err != nil || b.Log == "" {
		if err != nil {
			return nil, err
		}
		return b.State, nil
	}
	p := pieces{folder: filepath.Join(f.Dir, IncrementsFolder, b.Log), check: true}
	s, err := p.fold(b.State, func(events.Record) bool { return ctx.Err() != nil })
	if err == nil {
		err = ctx.Err()
	}
	return s, err
}
