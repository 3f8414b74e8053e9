package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// Folder is a folder of backups and increments, wherever it has come from: all that is needed to have the state back as it was at any moment
// that it covers. It is only read.
type Folder struct {
	Dir  string
	Keys seal.Keys // what opens those that are sealed

	host *Increments // of the host whose folder it is: what is only in its log yet is folded too. Nil: it may be anybody's
}

func (f Folder) backups() *Backups { return &Backups{Dir: f.Dir, Keys: f.Keys} }

func (f Folder) pieces(log string, digest bool) *pieces {
	return &pieces{folder: filepath.Join(f.Dir, IncrementsFolder, log), keys: f.Keys, digest: digest}
}

// At is the state at a moment, and what the backup says of itself that it was folded from: the one of that name, or, where it is "", the newest that is
// before the moment. Of a time after what the folder has it is the last state that there is. The error wraps ErrNoMoment where the folder does
// not cover the moment.
func (f Folder) At(ctx context.Context, name string, m Moment) (*projection.State, About, error) {
	s, about, err := f.at(ctx, name, "", m)
	if name != "" || m.Event.IsZero() || !errors.Is(err, ErrNoMoment) {
		return s, about, err
	}
	// What a backup does not cover need not come after it: it may have been given up before, or be of another log.
	logs, lerr := f.logs()
	err = errors.Join(err, lerr)
	var failed error // where it is, and yet cannot be had: another log may have what was before it whole
	for _, log := range logs {
		index, ferr := f.find(ctx, log, m)
		if index == 0 {
			err = errors.Join(err, ferr)
			continue
		}
		s, about, ferr := f.at(ctx, "", log, Moment{Index: index})
		if ferr == nil || ctx.Err() != nil {
			return s, about, ferr
		}
		if failed == nil && !errors.Is(ferr, ErrNoMoment) {
			failed = ferr
		}
	}
	return s, about, cmp.Or(failed, err)
}

// find is the index at which the commit of a moment's event ends in the pieces of a log; zero where they do not have it, and then the error tells of those
// that cannot be read. Nothing is folded.
func (f Folder) find(ctx context.Context, log string, m Moment) (index uint64, err error) {
	until, p := m.until(), f.pieces(log, false)
	all, err := listPieces(p.folder)
	for _, file := range all {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		piece, rerr := readPieceFile(p.folder, file, f.Keys)
		if rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		for i := range piece.Records {
			if until.past(&piece.Records[i]); until.seen {
				return piece.Records[i].Last(), nil
			}
		}
	}
	return 0, err
}

// at is At, of the one log that is meant; of any, where that is "".
func (f Folder) at(ctx context.Context, name, log string, m Moment) (*projection.State, About, error) {
	s, about, err := f.base(name, log, m)
	if err != nil {
		return nil, about, err
	}
	until, reached := m.until(), false
	later := func(r events.Record) bool {
		reached = ctx.Err() != nil || until.past(&r)
		return reached
	}
	if about.Log != "" && (m.Index == 0 || m.Index > s.Index()) { // after one that is pinned the increments may have gone
		s, err = f.pieces(about.Log, false).fold(s, later)
		if err == nil && !reached && f.host != nil && about.Log == f.host.Of() {
			index := s.Index()
			s, err = projection.FoldUntil(scan(func(fn func(events.Record) error) error { return f.host.Source.Read(ctx, index, fn) }), s, 0, later)
		}
		if err == nil {
			err = ctx.Err()
		}
	}
	if err == nil {
		err = until.missed(f.Dir)
	}
	if err == nil && m.Index > s.Index() {
		err = fmt.Errorf("event %d: %w: %s goes up to event %d", m.Index, ErrNoMoment, f.Dir, s.Index())
	}
	return s, about, err
}

// base is what is to be folded from, of the one log that is meant, or, where that is "", of any.
func (f Folder) base(name, log string, m Moment) (*projection.State, About, error) {
	all := f.backups()
	if name != "" {
		b, err := all.Read(name)
		if err != nil {
			return nil, About{}, err
		}
		if !m.reaches(b.State) {
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
	abouts := map[string]About{}
	for _, file := range files {
		about, err := all.about(file.Name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", file.Name, err))
			continue
		}
		if log != "" && about.Log != log {
			continue
		}
		if abouts[file.Name] = about; about.Log != "" {
			logs[about.Log] = true
		}
	}
	// Where it could not be told of which log its increments are, and in earlier versions, it says none: it is the last to go from.
	named := func(f BackupFile) int { return len(abouts[f.Name].Log) }
	slices.SortStableFunc(files, func(x, y BackupFile) int { return min(named(x), 1) - min(named(y), 1) })
	for _, file := range slices.Backward(files) {
		about, ok := abouts[file.Name]
		if !ok || m.Index > 0 && about.Log == "" && len(logs) > 0 {
			continue
		}
		// An index means nothing without the log that it is of. Of several logs a time tells which backup is meant, and a name always does.
		if len(logs) > 1 && m.Index > 0 {
			return nil, about, fmt.Errorf("%s has backups of several logs, and each has its own event %d: say which backup to go from, or a time", f.Dir, m.Index)
		}
		if m.Index > 0 && m.Index < about.Index || m.byTime() && about.Made.After(m.Time) {
			continue
		}
		b, err := all.Read(file.Name)
		if err == nil && m.reaches(b.State) {
			if about.Log == "" { // increments that go back to the beginning tell more than a backup of which it is not known where they go on from it
				if s, about, err := f.fromNothing(log, m, nil); err == nil {
					return s, about, nil
				}
			}
			return b.State, b.About, nil
		}
		errs = append(errs, err)
	}
	return f.fromNothing(log, m, errs)
}

// fromNothing is the state before the first event, where the folder has a log from there on.
func (f Folder) fromNothing(log string, m Moment, errs []error) (*projection.State, About, error) {
	logs, err := f.logs()
	if log != "" {
		logs = []string{log}
	}
	if err == nil && len(logs) == 1 {
		folder := filepath.Join(f.Dir, IncrementsFolder, logs[0])
		if all, err := listPieces(folder); err == nil && len(all) > 0 && all[0].First == 1 {
			p, err := readPieceFile(folder, all[0], f.Keys)
			if err != nil {
				return nil, About{}, err
			}
			if !m.byTime() || !p.Records[0].At.After(m.Time) {
				return projection.NewState(), About{Cluster: p.Cluster, Node: p.Node, Log: logs[0]}, nil
			}
		}
	}
	return nil, About{}, errors.Join(fmt.Errorf("%s: %w: it has no backup that is before that", f.Dir, ErrNoMoment), errors.Join(errs...))
}

// pieces are those of one log.
type pieces struct {
	folder string
	keys   seal.Keys
	digest bool // the states in between must have the digests that the pieces say
	read   int
}

// after are the pieces that have what comes after an event. One that lacks something of that is an error.
func (p *pieces) after(index uint64, fn func(PieceFile) (goOn bool, err error)) error {
	all, err := listPieces(p.folder)
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Last <= index {
			continue
		}
		if f.First > index+1 {
			return &gapError{p.folder, stretch{index + 1, f.First - 1}}
		}
		if goOn, err := fn(f); err != nil || !goOn {
			return err
		}
		index = f.Last
	}
	return nil
}

// gapError says that some events are in no piece, while later ones are.
type gapError struct {
	folder string
	stretch
}

func (e *gapError) Error() string {
	return fmt.Sprintf("%s: events %d to %d are in no piece", e.folder, e.first, e.last)
}

// check finds out whether the pieces after an event are there and whole, as far as the keys go.
func (p *pieces) check(ctx context.Context, index uint64) error {
	return p.after(index, func(f PieceFile) (bool, error) {
		_, _, err := checkPiece(p.folder, f, p.keys)
		return ctx.Err() == nil, err
	})
}

// fold goes on from a state through the pieces until a record is later than wanted.
func (p *pieces) fold(s *projection.State, later func(events.Record) bool) (*projection.State, error) {
	err := p.after(s.Index(), func(f PieceFile) (bool, error) {
		piece, err := readPieceFile(p.folder, f, p.keys)
		if err != nil {
			return false, err
		}
		p.read++
		if s, err = projection.FoldUntil(after{piece.Records, s.Index()}, s, 0, later); err != nil {
			return false, fmt.Errorf("%s: %w", f.Name, err)
		}
		if p.digest && s.Index() == piece.Last && piece.Digest != "" && piece.Digest != s.Digest() {
			err = fmt.Errorf("%s: the state at event %d has another digest than it says", f.Name, piece.Last)
		}
		return s.Index() == piece.Last, err
	})
	if err != nil {
		return nil, err
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

// scan calls fn with some records.
type scan func(fn func(events.Record) error) error

// Scan is scan itself, wherever that begins.
func (s scan) Scan(_ uint64, fn func(events.Record) error) error { return s(fn) }

// Verify reads a backup of the folder and folds all increments after it, comparing each digest. It gives the state at the end. One that is pinned is enough by itself:
// that the increments after it have gone is no damage.
func (f Folder) Verify(ctx context.Context, name string) (*projection.State, error) {
	b, err := f.backups().Read(name)
	if err != nil || b.Log == "" {
		if err != nil {
			return nil, err
		}
		return b.State, nil
	}
	s, err := f.pieces(b.Log, true).fold(b.State, func(events.Record) bool { return ctx.Err() != nil })
	if goneAfterPinned(name, b.Index, err) {
		return b.State, nil
	}
	if err == nil {
		err = ctx.Err()
	}
	return s, err
}

// goneAfterPinned reports whether all that an error says is that what comes after a pinned backup, which is of an index, has gone.
func goneAfterPinned(name string, index uint64, err error) bool {
	var gap *gapError
	file, _ := parseBackupName(name)
	return file.Pinned && errors.As(err, &gap) && gap.first == index+1
}
