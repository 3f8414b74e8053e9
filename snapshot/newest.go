package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// Newest is the last state that a folder of backups has, as a backup.
type Newest struct {
	File string // the backup that it is, or is folded from; "": there is none
	Data []byte
	Last time.Time // of the last event in it; zero: it is of version 1, which does not say
	// Lacks says why what the increments have after that backup is not in it; nil: it is.
	Lacks error
}

// Newest is the newest backup in the folder that can be restored from, with what the increments beside it have after it. A backup that is damaged is passed
// over, and one that is sealed is not: it is whole for who has the key, and an older one is not what was meant. The error, which names it, wraps
// seal.ErrNoKey then.
func (r *Restorer) Newest(ctx context.Context) (Newest, error) {
	all, err := r.Backups.List()
	if err != nil {
		return Newest{}, err
	}
	for _, f := range slices.Backward(all) {
		_, err := r.Source(f.Name)
		switch {
		case err == nil:
			return r.newest(ctx, f.Name)
		case errors.Is(err, seal.ErrNoKey):
			return Newest{}, err
		}
		r.Log.Warn("a backup is passed over", "file", f.Name, "err", err)
	}
	return Newest{}, nil
}

func (r *Restorer) newest(ctx context.Context, name string) (Newest, error) {
	data, err := os.ReadFile(filepath.Join(r.Backups.Dir, name))
	if err != nil {
		return Newest{}, err
	}
	n := Newest{File: name, Data: data}
	b, err := r.Backups.Read(name)
	if errors.Is(err, ErrNoBackup) { // of version 1, which has no increments
		return n, nil
	}
	if err != nil {
		return n, err
	}
	n.Last = b.State.At()
	if b.Log == "" { // made where that could not be told, or by an earlier version: what goes from an older one may be newer
		name = ""
	}
	end := Moment{Time: time.Unix(1<<40, 0)} // after all that there can be, also what was made while the clock was ahead
	data, about, err := Folder{Dir: r.Backups.Dir, Keys: r.Backups.Keys}.Extract(ctx, name, end, r.Backups.Agent, r.Backups.Compress)
	newer := about.Index > b.Index // whatever the clock said meanwhile
	if b.Log == "" {
		newer = about.Made.After(n.Last)
	}
	switch {
	case ctx.Err() != nil:
		return n, ctx.Err()
	case err != nil:
		n.Lacks = err
	case newer:
		n.Data, n.Last = data, about.Made
	}
	return n, nil
}
