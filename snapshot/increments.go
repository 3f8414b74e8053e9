package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// Increments keep what was appended to a log since its backups, in pieces beside them: a backup and the pieces after it give the state at any
// moment (Folder.At). Its fields are its configuration. All methods are safe for concurrent use.
type Increments struct {
	Backups *Backups // those of the same host; the pieces stand in a folder beside them
	Source  PieceLog
	Every   time.Duration // the longest that something appended is in no piece; zero: none are made
	// All has the pieces reach back to the log's beginning, and none of them removed: what is trimmed off the log is in them.
	All bool
	Log *slog.Logger

	finding sync.Mutex // held until folder is known
	folder  string     // of this log; "": not known yet; written under finding and mu, and then never again

	busy   sync.Mutex // held while the folder is changed
	merged uint64     // the last event that was in the newest piece when pieces were merged
	abouts map[string]About

	mu   sync.Mutex // for a moment
	said Incremented
}

// PieceLog is the log whose pieces are kept.
type PieceLog interface {
	Log
	ID() string
}

// Incremented is how the making of increments goes.
type Incremented struct {
	Last   uint64    // index of the last event that is in a piece; zero: none is, or not looked at yet
	At     time.Time // when it was seen last that nothing was appended after it
	Failed error     // why the last try made none; nil: it did, or nothing had been appended
	Stays  error     // why the last try removed none of those that no backup needs; nil: it did
	Pieces int       // there now
	Bytes  int64     // of all of them
	Made   uint64    // since the agent's start
	Errors uint64
}

// IncrementsFolder is the folder, within that of the backups, in which there is one for each log.
const IncrementsFolder = "increments"

const (
	pieceEvents = 4096    // of which a piece has no more, but for the rest of a commit
	pieceBytes  = 8 << 20 // of its records' lines after which it ends

	smallEvents = 1024 // a piece of fewer events, and of fewer bytes, is merged with those around it
	smallBytes  = 256 << 10
	manySmall   = 60 // pieces more are merged
)

const tmpPiece = "piece.tmp"

// Said is how the making of increments goes.
func (p *Increments) Said() Incremented {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said
}

// Run makes an increment each Every, if anything was appended, until ctx ends. One that cannot be made is said, and tried again.
func (p *Increments) Run(ctx context.Context) error {
	if p.Every <= 0 {
		return nil
	}
	tick := time.NewTicker(p.Every)
	defer tick.Stop()
	for said := ""; ; {
		err, what := p.Once(ctx), "what was appended since the last backup cannot be kept beside it; trying again"
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err, what = p.Said().Stays, "increments that no backup needs stay where they are; trying again"
		}
		now := ""
		if err != nil {
			now = err.Error()
		}
		if now != "" && now != said {
			p.Log.Warn(what, "folder", p.Backups.Dir, "err", err)
		}
		said = now
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Once brings the pieces to where the log was durable when it was called: what is in none goes into one, what no backup needs any more goes, and
// many small ones become few. When it returns nil all that is durable; what could not be removed (Incremented.Stays) holds up nothing. A crash leaves each piece whole or not there, and at worst some that
// are parts of a larger one, which the next Once removes.
func (p *Increments) Once(ctx context.Context) error {
	p.busy.Lock()
	defer p.busy.Unlock()
	made, stays, err := p.once(ctx)
	var pieces []PieceFile
	if err == nil {
		pieces, err = listPieces(p.folder)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said.Made += uint64(made)
	p.said.Stays = stays
	if p.said.Failed = err; err != nil {
		p.said.Errors++
		return err
	}
	p.said.At, p.said.Pieces, p.said.Bytes = p.Backups.now(), len(pieces), 0
	for _, f := range pieces {
		p.said.Bytes += f.Bytes
		p.said.Last = f.Last
	}
	return nil
}

// once also says why what is not needed could not be removed.
func (p *Increments) once(ctx context.Context) (made int, stays, err error) {
	if err := p.find(ctx); err != nil {
		return 0, nil, err
	}
	s := p.Backups.Ledger.View().OnDisk()
	if s.Index() == 0 {
		return 0, nil, nil
	}
	if err := p.there(); err != nil {
		return 0, nil, err
	}
	pieces, err := p.tidy()
	if err != nil {
		return 0, nil, err
	}
	digest := func(last uint64) string { return map[bool]string{true: s.Digest()}[last == s.Index()] }
	from, err := p.needed(ctx)
	if err != nil {
		return 0, nil, err
	}
	for _, gap := range gaps(pieces, max(from, p.Source.First()), s.Index()) {
		n, err := p.write(ctx, gap, digest)
		if made += n; err != nil {
			return made, nil, err
		}
	}
	if err := p.merge(ctx, digest); err != nil {
		return made, nil, fmt.Errorf("merge increments: %w", err)
	}
	return made, p.prune(from), nil
}

// listPieces gives the pieces in a folder in order, larger ones before their parts. A folder that is not there has none.
func listPieces(folder string) ([]PieceFile, error) {
	all, err := list(folder, parsePieceName, func(f *PieceFile, info fs.FileInfo) { f.Bytes, f.Made = info.Size(), info.ModTime().UTC() })
	if err != nil {
		return nil, fmt.Errorf("list increments: %w", err)
	}
	slices.SortFunc(all, func(a, b PieceFile) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(b.Last, a.Last)) })
	return all, nil
}

// parts are those of the pieces that are within another.
func parts(pieces []PieceFile) (within []PieceFile) {
	last := uint64(0)
	for _, f := range pieces {
		if f.Last <= last {
			within = append(within, f)
		}
		last = max(last, f.Last)
	}
	return within
}

// tidy removes the pieces that are within another: a crash left them between the making of the larger one and their end. So it did what stands
// beside a sealed piece that is not there.
func (p *Increments) tidy() ([]PieceFile, error) {
	if err := sweepPieces(p.folder); err != nil {
		return nil, err
	}
	pieces, err := listPieces(p.folder)
	if err != nil {
		return nil, err
	}
	within := parts(pieces)
	if err := p.remove(within); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pieces, func(f PieceFile) bool { return slices.Contains(within, f) }), nil
}

func (p *Increments) remove(pieces []PieceFile) error {
	for _, f := range pieces {
		if err := os.Remove(filepath.Join(p.folder, f.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove an increment: %w", err)
		}
	}
	if len(pieces) == 0 {
		return nil
	}
	return errors.Join(sweepPieces(p.folder), SyncFolder(p.folder))
}

// stretch is the events from one to another.
type stretch struct{ first, last uint64 }

// gaps are what no piece has of the events from one on up to another.
func gaps(pieces []PieceFile, from, to uint64) (all []stretch) {
	for _, f := range pieces {
		if f.First > from {
			all = append(all, stretch{from, min(f.First-1, to)})
		}
		if from = max(from, f.Last+1); from > to {
			return all
		}
	}
	if from <= to {
		all = append(all, stretch{from, to})
	}
	return all
}

// write puts the records of some events into pieces, each whole or not at all.
func (p *Increments) write(ctx context.Context, of stretch, digest func(last uint64) string) (made int, err error) {
	var lines []byte
	var heads []events.Record // without their payloads
	var prev events.Hash
	total := uint64(0)
	flush := func() error {
		if len(heads) == 0 {
			return nil
		}
		b, last := p.Backups, heads[len(heads)-1]
		p.Log.Debug("writing an increment", "first", heads[0].Index)
		defer p.Log.Debug("done with the increment")
		head := PieceHead{Cluster: b.Cluster, Node: b.Node, Agent: b.Agent, Log: p.Source.ID(), First: heads[0].Index, Last: last.Last(), Prev: prev}
		data, err := appendPiece(nil, head, lines, pieceEnd{Records: len(heads), Hash: last.Hash, Digest: digest(last.Last())})
		if err == nil {
			err = p.put(head.First, head.Last, data, heads)
		}
		lines, heads, total, prev = lines[:0], heads[:0], 0, last.Hash
		made++
		return err
	}
	after := of.first - 1
	if of.first > p.Source.First() {
		after-- // with the record before, for its hash
	}
	err = p.Source.Read(ctx, after, func(r events.Record) error {
		switch {
		case r.Last() < of.first:
			prev = r.Hash
			return nil
		case r.Index > of.last:
			return errFound
		}
		lines = appendRecord(lines, &r)
		head := r
		head.Payload = nil
		heads = append(heads, head)
		if total += uint64(r.Count); total >= pieceEvents || len(lines) >= pieceBytes {
			return flush()
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return made, err
	}
	return made, flush()
}

// makeFolders makes a folder and those above it, and their names durable.
func makeFolders(dir string) error { return events.MakeDir(dir) }

// merge makes few of many small pieces at the end, from the log: so no key is needed for those that are sealed.
func (p *Increments) merge(ctx context.Context, digest func(last uint64) string) error {
	pieces, err := listPieces(p.folder)
	if err != nil {
		return err
	}
	i, fresh := len(pieces), 0
	for ; i > 0; i-- {
		f := pieces[i-1]
		small := f.Bytes < smallBytes && f.Last-f.First < smallEvents
		if !small || i < len(pieces) && f.Last+1 != pieces[i].First || f.First < p.Source.First() {
			break
		}
		if f.First > p.merged {
			fresh++
		}
	}
	if fresh < manySmall {
		return nil
	}
	small := pieces[i:]
	end := small[len(small)-1]
	if _, err := p.write(ctx, stretch{small[0].First, end.Last}, digest); err != nil {
		return err
	}
	p.merged = end.Last
	_, err = p.tidy()
	return err
}
