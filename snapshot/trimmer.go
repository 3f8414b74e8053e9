package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// Trimmer trims a log at its front: of what is older, or more, than is to be kept, only that which an increment has, byte for byte, and which is
// before a backup that was found whole and a snapshot of the fold that a start goes on from. Its fields are its configuration.
type Trimmer struct {
	Source     *events.Log
	Increments *Increments // All must be set
	Drill      *Drill
	Folds      *Folds
	Age        time.Duration // older records go; zero: none for that
	Bytes      int64         // of the log; what is more goes; zero: none for that
	Log        *slog.Logger

	mu   sync.Mutex // for a moment
	said Trimmed
}

// Trimmed is how the trimming goes.
type Trimmed struct {
	Waits  string // what is to be there before what is too old or too much can go; "": nothing is, or it has gone
	Failed error  // why the last try did nothing; nil: it did, or there was nothing to do
	Count  uint64 // how often something went, since the agent's start
}

// Said is how it goes.
func (t *Trimmer) Said() Trimmed {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said
}

// Run trims when there is something to go, until ctx ends.
func (t *Trimmer) Run(ctx context.Context) error {
	if t.Age <= 0 && t.Bytes <= 0 {
		return nil
	}
	tick := time.NewTicker(10 * max(t.Increments.Every, time.Millisecond)) // a segment is seldom full sooner
	defer tick.Stop()
	for said := ""; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := t.Once(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != said {
			t.Log.Warn("the log cannot be trimmed; it is kept as it is, and tried again", "err", err)
		}
		if said = ""; err != nil {
			said = err.Error()
		}
	}
}

// Once trims what can go now. Nothing does before everything that is to be there has been read and found right. See events.Log.Trim for what a crash leaves.
func (t *Trimmer) Once(ctx context.Context) error {
	first := t.Source.First()
	waits, err := t.once(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said.Waits, t.said.Failed = waits, err
	if t.Source.First() > first {
		t.said.Count++
	}
	return err
}

func (t *Trimmer) once(ctx context.Context) (waits string, err error) {
	var before time.Time
	if t.Age > 0 {
		before = t.Increments.Backups.now().Add(-t.Age)
	}
	first := t.Source.First()
	upTo := t.Source.Excess(before, t.Bytes)
	if upTo <= first {
		return "", t.Source.Trim(first) // removes what a trim before had no time for
	}
	d := t.Drill.Said()
	if d.File == "" || d.Failed != nil {
		return "a backup that has been verified", nil
	}
	about, err := t.Increments.Backups.about(d.File)
	if err != nil {
		return "", err
	}
	if about.Log == "" || about.Log != t.Increments.Of() {
		return "a verified backup that the increments go with", nil
	}
	kept, err := t.Increments.have(ctx, t.Source, first, min(upTo, about.Index+1))
	if err != nil {
		return "", err
	}
	if kept <= first {
		return "increments that have what is to go", nil
	}
	if err := t.Folds.cover(ctx, kept); err != nil {
		return "", fmt.Errorf("a snapshot of the fold, for a start without what is to go: %w", err)
	}
	t.Log.Debug("trimming the log", "before", kept)
	defer t.Log.Debug("done with the trim")
	return "", t.Source.Trim(kept)
}

// have reads the increments that have the events from one on, from the disk, and compares them with the log. It gives the first event before another that they do not have.
// One that cannot be opened here has them if its bytes are those that were written, and it is of the log as it is: before it was sealed each of its
// records was compared with the log, after it was sealed it was opened again, and what came on the disk was read back. One that is damaged goes aside: the log
// has yet what was in it, so that the next Once makes it good.
func (p *Increments) have(ctx context.Context, log Log, from, to uint64) (uint64, error) {
	p.busy.Lock()
	defer p.busy.Unlock()
	all, err := listPieces(p.folder)
	if err != nil {
		return from, err
	}
	all = slices.DeleteFunc(all, func(f PieceFile) bool { return slices.Contains(parts(all), f) })
	var file PieceFile
	var piece *Piece
	var about *pieceAbout
	err = log.Read(ctx, from-1, func(r events.Record) error {
		unopened := about != nil && piece == nil && r.Index <= about.Last // only its last record tells
		if r.Last() >= to && !unopened {
			return errFound
		}
		if about == nil || r.Index > about.Last {
			i := sort.Search(len(all), func(i int) bool { return all[i].Last >= r.Index })
			if i == len(all) || all[i].First > r.Index {
				return errFound
			}
			file = all[i]
			if err := forget(filepath.Join(p.folder, file.Name)); err != nil {
				return err
			}
			var err error
			piece, about, err = checkPiece(p.folder, file, p.Backups.Keys)
			if err != nil {
				return cmp.Or(p.mend(file, err), errFound)
			}
		}
		if piece == nil { // sealed for others: that its records are these was seen before it was sealed, see put
			switch {
			case r.Last() < about.Last:
			case about.Log != p.Source.ID() || !about.endsWith(&r):
				return fmt.Errorf("%s is not of the log as it is", file.Name)
			default:
				from = min(r.Last()+1, to)
			}
			return nil
		}
		i := sort.Search(len(piece.Records), func(i int) bool { return piece.Records[i].Index >= r.Index })
		if i == len(piece.Records) || !sameRecord(&piece.Records[i], &r) {
			return fmt.Errorf("%s has not what the log has as event %d", file.Name, r.Index)
		}
		from = r.Last() + 1
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return from, err
}

// mend has one that cannot be taken, for an error, made anew from the log. An error says that it is not.
func (p *Increments) mend(f PieceFile, why error) error {
	switch {
	case !damaged(why) || errors.Is(why, seal.ErrNoKey):
		return why
	case f.First < p.Source.First():
		return fmt.Errorf("%w; the log has not all of it any more: put a copy of it into %s, or, where there is none, move it out of there", why, p.folder)
	}
	p.Log.Warn("an increment is damaged; it is made anew from the log", "file", f.Name, "err", why)
	return aside(p.folder, f.Name)
}

func sameRecord(a, b *events.Record) bool {
	return a.Number == b.Number && a.Index == b.Index && a.Count == b.Count && a.At.Equal(b.At) && a.Inc == b.Inc && a.Seq == b.Seq &&
		a.Hash == b.Hash && bytes.Equal(a.Payload, b.Payload)
}

// cover sees to it that a log that begins with an event, or before, is enough: for a start, which goes on from the newest snapshot, and for every moment
// from that event on, which is folded from the one that is made of it. Both stand on records that such a log has, so that no increment is
// needed to believe them, which might be sealed.
func (f *Folds) cover(ctx context.Context, first uint64) error {
	newest := func() (uint64, error) {
		names, err := f.names()
		if err != nil || len(names) == 0 {
			return 0, err
		}
		if err := forget(names[len(names)-1]); err != nil {
			return 0, err
		}
		s, _, err := f.load(ctx, names[len(names)-1])
		if err := ctx.Err(); err != nil { // which says nothing of the snapshot
			return 0, err
		}
		if err != nil {
			f.Log.Warn("snapshot of the fold is damaged", "file", names[len(names)-1], "err", err)
			return 0, nil // another takes its place
		}
		return s.Index(), nil
	}
	there, err := newest()
	if err != nil {
		return err
	}
	if there < first {
		if err := f.Save(ctx, f.Ledger.View().OnDisk()); err != nil {
			return err
		}
		if there, err = newest(); err == nil && there < first {
			err = fmt.Errorf("the one just made is of event %d", there)
		}
		if err != nil {
			return err
		}
	}
	return f.begin(ctx, first)
}

// begin sees to it that there is a snapshot of the state at an event.
func (f *Folds) begin(ctx context.Context, first uint64) error {
	s, err := f.At(ctx, Moment{Index: first})
	if err != nil {
		return err
	}
	if _, err := os.Stat(f.nameOf(s.Index())); err == nil {
		return nil
	}
	f.first.Store(s.Index())
	return f.Save(ctx, s)
}
