package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
)

// Which folder the increments of a log are in, and whether they are of that log as it is.

// Of names the folder of the pieces of this host's log; "" as long as it is not known, before the first Once or Find.
func (p *Increments) Of() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.folder == "" {
		return ""
	}
	return filepath.Base(p.folder)
}

// Find is Of, once it is found out, and "" where it cannot be told now: Once says why.
func (p *Increments) Find(ctx context.Context) string {
	_ = p.find(ctx)
	return p.Of()
}

func (p *Increments) use(folder string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.folder = folder
}

// find finds the folder of this log. Its name has the log's id: a new log begins again at event 1, and its pieces must not come between those of
// another. Where a log has been put back to an earlier time, pieces that are there have what is not in it any more: then it begins another.
func (p *Increments) find(ctx context.Context) error {
	p.finding.Lock() // not busy: a backup must not wait for increments, of which making the first may take long
	defer p.finding.Unlock()
	if p.folder != "" {
		return nil
	}
	if p.Backups.Apart { // or what is on a disk that is not mounted would be taken not to be
		if err := p.Backups.folder(); err != nil {
			return err
		}
	}
	folder, n := newestPieces(p.Backups.Dir, p.Source.ID())
	pieces, err := listPieces(folder)
	if err != nil {
		return err
	}
	fits, err := p.fits(ctx, folder, pieces)
	if err != nil {
		return err
	}
	if fits {
		p.use(folder)
		if first := p.Source.First(); first > 1 && !slices.ContainsFunc(pieces, func(f PieceFile) bool { return f.First < first && f.Last >= first-1 }) {
			p.Log.Warn("what was trimmed off the log last is in no increment here: was another disk in this one's place?", "events up to", first-1, "folder", folder)
		}
		return nil
	}
	p.Log.Warn("the log is another than the one that these increments are of, put back to an earlier time, it seems: it begins others", "folder", folder)
	next := filepath.Join(filepath.Dir(folder), fmt.Sprintf("log-%s-%d", p.Source.ID(), n+1))
	if err := p.carry(folder, next, pieces); err != nil {
		return err
	}
	p.use(next)
	return nil
}

// there says where, of a log that was trimmed, the folder with what went is not there. It is not made then: in the place of a disk that is not mounted it would have
// what the log is trimmed of next, and be hidden once that is mounted.
func (p *Increments) there() error {
	first := p.Source.First()
	if _, err := os.Stat(p.folder); first == 1 || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("the log begins with event %d, and the increments with what was before are not in %s: mount its disk, or bring them along; "+
		"where they are lost for good, make the folder %s", first, p.Backups.Dir, p.folder)
}

// carry begins a folder with what was trimmed off the log before it was put back: that is no other, and nowhere else.
func (p *Increments) carry(from, to string, pieces []PieceFile) error {
	begun := to + ".tmp"
	if err := os.RemoveAll(begun); err != nil {
		return err
	}
	if err := makeFolders(begun); err != nil {
		return err
	}
	for _, f := range pieces {
		if f.First < p.Source.First() && f.Last <= p.Source.End().Index {
			if err := link(from, begun, f.Name); err != nil {
				return err
			}
		}
	}
	if err := SyncFolder(begun); err != nil {
		return err
	}
	if err := os.Rename(begun, to); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(to))
}

// link gives a piece, and what stands beside it if anything does, another name in another folder.
func link(from, to, name string) error {
	err := os.Link(filepath.Join(from, name+besideEnd), filepath.Join(to, name+besideEnd))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Link(filepath.Join(from, name), filepath.Join(to, name))
}

// aside renames a damaged piece, with what stands beside it: what it should hold is a gap, and made again as long as the log has it.
func aside(folder, name string) error {
	path := filepath.Join(folder, name)
	err := os.Rename(path+besideEnd, path+besideEnd+".damaged")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(path, path+".damaged")
}

// damaged reports whether an error says that a piece is, and not only that it cannot be read now, or by this agent, which says nothing of what is on the disk.
func damaged(err error) bool {
	var unread *fs.PathError
	return err != nil && !errors.As(err, &unread) && !errors.Is(err, ErrPieceVersion)
}

// fits reports whether the last piece of which it can be told is of this log as it is. One that is damaged goes aside; while one only cannot be read, it is not known.
func (p *Increments) fits(ctx context.Context, folder string, pieces []PieceFile) (bool, error) {
	for _, f := range slices.Backward(pieces) {
		piece, about, err := checkPiece(folder, f, p.Backups.Keys)
		switch {
		case err == nil:
		case f.First < p.Source.First(): // it cannot be made again
			p.Log.Warn("an increment that the log has not any more cannot be found whole; it stays", "file", f.Name, "err", err)
			continue
		case !damaged(err):
			return false, fmt.Errorf("whether the increments are of this log: %w", err)
		default:
			p.Log.Warn("an increment is damaged", "file", f.Name, "err", err)
			if err := aside(folder, f.Name); err != nil {
				return false, err
			}
			continue
		}
		if f.Last > p.Source.End().Index {
			return false, nil
		}
		fits := false
		if f.Last < p.Source.First() {
			return true, nil // what could be compared has been trimmed
		}
		err = p.Source.Read(ctx, f.Last-1, func(r events.Record) error {
			fits = about.endsWith(&r) && (piece == nil || piece.Records[len(piece.Records)-1].Hash == r.Hash)
			return errFound
		})
		if errors.Is(err, errFound) {
			err = nil
		}
		return fits, err
	}
	return true, nil
}
