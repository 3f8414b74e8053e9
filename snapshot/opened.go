package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// A host may not be able to open its own backups. Then who asks for a restore brings along what is restored from, opened; it is kept
// until the restore is done, no longer, so that one that was interrupted goes on by itself.

// Before is what was there before a restore: as its backup says, or, where that is sealed and no key here opens it, as the log does. Of a restore of another
// host, which has the backup, it is what the log of this one has of what that host had seen.
func (r *Restorer) Before(ctx context.Context, x projection.Restore) (Source, error) {
	if x.Host != r.Backups.Node {
		if r.At == nil {
			return Source{}, errors.New("this host cannot tell what was there before the restore of another")
		}
		s, err := r.At(ctx, Moment{Seen: x.Seen})
		if err != nil {
			return Source{}, fmt.Errorf("the log of this host does not tell what was there before the restore: %w. Host %s did it, and has the backup of that, %s: ask its agent", err, x.Host, x.Before)
		}
		return Source{File: "what " + x.Host + " had seen", Made: s.At(), Want: s.Declarations(), seen: true}, nil
	}
	was, err := r.Source(x.Before)
	if err == nil {
		return was, nil
	}
	err = fmt.Errorf("what was there before the restore: %w", err)
	if !errors.Is(err, seal.ErrNoKey) || r.At == nil {
		return was, err
	}
	data, rerr := os.ReadFile(filepath.Join(r.Backups.Dir, x.Before))
	about, berr := r.Backups.beside(x.Before)
	if rerr != nil || berr != nil {
		return was, errors.Join(err, rerr, berr)
	}
	s, aerr := r.At(ctx, Moment{Index: about.About.Index})
	if aerr == nil && s.Index() != about.About.Index {
		aerr = fmt.Errorf("event %d does not end a commit of this log", about.About.Index)
	}
	if aerr != nil {
		return was, fmt.Errorf("%w; nor does the log tell any more: %w. Who has the key: psctl undo RESTORE --identity FILE", err, aerr)
	}
	return Source{File: x.Before, Hash: hashOf(data), Made: about.About.Made, Want: s.Declarations()}, nil
}

// BroughtBefore reads the backup of what was there before a restore of this host that somebody brings along opened. Like what is Brought it lies in Opened until
// the restore is taken back. Another backup is refused.
func (r *Restorer) BroughtBefore(x projection.Restore, data []byte) (Source, error) {
	was, err := r.Brought(x.Before, data)
	if err != nil {
		return was, err
	}
	about, err := r.Backups.about(x.Before)
	if err != nil {
		return was, err
	}
	if is := was.about; is.Index != about.Index || is.Node != about.Node || !is.Made.Equal(about.Made) {
		return was, fmt.Errorf("%s is of event %d of %s, %s, and not what was brought", x.Before, about.Index, about.Node, about.Made.Format(time.RFC3339))
	}
	return was, nil
}

// again is what an interrupted restore was from.
func (r *Restorer) again(ctx context.Context, x projection.Restore) (from Source, err error) {
	if x.Index > 0 {
		return r.Moment(ctx, Moment{Index: x.Index})
	}
	if data, herr := os.ReadFile(r.held(x.Hash)); herr == nil {
		if data, err = r.Key.OpenFile(x.Hash, data); err == nil {
			from, err = brought(data, seal.Keys{})
		}
	} else if x.Undoes != "" {
		undone, ok := r.Ledger.View().LookupRestore(x.Undoes)
		if !ok {
			return from, fmt.Errorf("restore %s, which is to be taken back, is not known", x.Undoes)
		}
		from, err = r.Before(ctx, undone)
	} else {
		from, err = r.Source(x.From)
	}
	if err == nil && from.Hash != x.Hash {
		err = fmt.Errorf("%s is another file by now", x.From)
	}
	return from, err
}

// held is where what is restored from lies open.
func (r *Restorer) held(hash string) string { return filepath.Join(r.Opened, filepath.Base(hash)) }

// hold keeps what a restore is from that this host could not read again.
func (r *Restorer) hold(from Source) error {
	if !from.brought {
		return nil
	}
	if r.Opened == "" {
		return errors.New("there is no folder to keep what is restored from until it is done")
	}
	if err := os.MkdirAll(r.Opened, 0o700); err != nil {
		return err
	}
	path, data := r.held(from.Hash), from.plain
	if r.Key != nil {
		data = r.Key.SealFile(from.Hash, data)
	}
	err := WriteFile(path, path+".tmp", 0o600, func(w io.Writer) error { _, err := w.Write(data); return err })
	return errors.Join(err, SyncFolder(filepath.Dir(r.Opened)))
}

// letGo removes what was held, once no restore of this host is unfinished.
func (r *Restorer) letGo() {
	if r.Opened == "" {
		return
	}
	if len(r.Unfinished()) > 0 {
		return
	}
	if err := os.RemoveAll(r.Opened); err != nil {
		r.Log.Warn("what was restored from cannot be removed, and lies open", "folder", r.Opened, "err", err)
	}
}
