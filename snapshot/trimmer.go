package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
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
	about, err := ReadAbout(filepath.Join(t.Increments.Backups.Dir, d.File))
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
	if err := t.Folds.cover(ctx, kept-1); err != nil {
		return "", fmt.Errorf("a snapshot of the fold, for a start without what is to go: %w", err)
	}
	return "", t.Source.Trim(kept)
}

// have reads the increments that have the events from one on, from the disk, and compares them with the log. It gives the first event before another that they do not have.
func (p *Increments) have(ctx context.Context, log Log, from, to uint64) (uint64, error) {
	p.busy.Lock()
	defer p.busy.Unlock()
	all, err := listPieces(p.folder)
	if err != nil {
		return from, err
	}
	all = slices.DeleteFunc(all, func(f PieceFile) bool { return slices.Contains(parts(all), f) })
	var piece *Piece
	err = log.Read(ctx, from-1, func(r events.Record) error {
		if r.Last() >= to {
			return errFound
		}
		if piece == nil || r.Index > piece.Last {
			i := sort.Search(len(all), func(i int) bool { return all[i].Last >= r.Index })
			if i == len(all) || all[i].First > r.Index {
				return errFound
			}
			if err := forget(filepath.Join(p.folder, all[i].Name)); err != nil {
				return err
			}
			var err error
			if piece, err = readPieceFile(p.folder, all[i]); err != nil {
				return err
			}
		}
		i := sort.Search(len(piece.Records), func(i int) bool { return piece.Records[i].Index >= r.Index })
		if i == len(piece.Records) || !sameRecord(&piece.Records[i], &r) {
			return fmt.Errorf("%s has not what the log has as event %d", nameOfPiece(piece.First, piece.Last), r.Index)
		}
		from = r.Last() + 1
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return from, err
}

func sameRecord(a, b *events.Record) bool {
	return a.Number == b.Number && a.Index == b.Index && a.Count == b.Count && a.At.Equal(b.At) && a.Inc == b.Inc && a.Seq == b.Seq &&
		a.Hash == b.Hash && bytes.Equal(a.Payload, b.Payload)
}

// cover sees to it that there is a snapshot, whole and readable, of the state at an event or after it.
func (f *Folds) cover(ctx context.Context, index uint64) error {
	newest := func() (uint64, error) {
		names, err := f.names()
		if err != nil || len(names) == 0 {
			return 0, err
		}
		if err := forget(names[len(names)-1]); err != nil {
			return 0, err
		}
		s, _, err := f.load(ctx, names[len(names)-1])
		if err != nil {
			f.Log.Warn("snapshot of the fold is damaged", "file", names[len(names)-1], "err", err)
			return 0, nil // another takes its place
		}
		return s.Index(), nil
	}
	there, err := newest()
	if err != nil || there >= index && there > 0 {
		return err
	}
	if err := f.Save(ctx, f.Ledger.View().OnDisk()); err != nil {
		return err
	}
	if there, err = newest(); err == nil && there < index {
		err = fmt.Errorf("the one just made is of event %d", there)
	}
	return err
}
