package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/podman-swarm/podman-swarm/projection"
)

// SourceAt is the state at a moment, to be restored: folded from the backup of that name and the increments after it. If it is only looked
// at (dry), no increment is made, if it can be told of which log they are. Else it is put into the folder of backups as one more, pinned, so that
// a restore that is interrupted can go on, and can be told of. The error wraps ErrNoMoment where there is no such moment, fs.ErrNotExist, or seal.ErrNoKey where a part of it is sealed and no key here opens it.
func (r *Restorer) SourceAt(ctx context.Context, name string, m Moment, dry bool) (Source, error) {
	if _, err := r.Backups.Stat(name); err != nil {
		return Source{}, err
	}
	folder := Folder{Dir: r.Backups.Dir, Keys: r.Backups.Keys}
	switch { // or what was appended since the last increment would not be there yet, and be taken for undone
	case r.Increments == nil:
	case dry && r.Increments.Find(ctx) != "": // to look changes nothing
		folder.host = r.Increments
	default:
		if err := r.Increments.Once(ctx); err != nil {
			return Source{}, fmt.Errorf("what was appended last could not be put beside the backups: %w", err)
		}
	}
	s, about, err := folder.At(ctx, name, m)
	if err != nil {
		return Source{}, err
	}
	about.Agent, about.Made, about.Why = r.Backups.Agent, s.At().UTC(), fmt.Sprintf("the state at event %d, from %s", s.Index(), name)
	if dry {
		return Source{File: about.Why, Made: about.Made, Want: s.Declarations()}, nil
	}
	data, err := encodeBackup(about, s, r.Backups.Compress)
	if err != nil {
		return Source{}, err
	}
	from, err := source(data, r.Backups.Keys)
	if err != nil {
		return Source{}, err
	}
	if from.File, _, err = r.adopt(data, &from, about.Made); err != nil {
		return Source{}, fmt.Errorf("nothing is restored, since %s could not be put among the backups: %w", about.Why, err)
	}
	from.brought = !r.Backups.For.None() // what is in the folder is sealed then
	return from, nil
}

// encodeBackup is a backup of a state as a file has it.
func encodeBackup(about About, s *projection.State, compressed bool) ([]byte, error) {
	var b bytes.Buffer
	write := func(w io.Writer) error { return WriteBackup(w, about, s) }
	if compressed {
		err := compress(&b, write)
		return b.Bytes(), err
	}
	err := write(&b)
	return b.Bytes(), err
}

// Extract gives one backup that has the state at a moment, of a folder of backups and increments, for where nothing else is: to be restored from like any other.
func (f Folder) Extract(ctx context.Context, name string, m Moment, agent string, compressed bool) ([]byte, About, error) {
	s, about, err := f.At(ctx, name, m)
	if err != nil {
		return nil, about, err
	}
	about.Agent, about.Made, about.Why = agent, s.At().UTC(), fmt.Sprintf("the state at event %d, folded from %s", s.Index(), f.Dir)
	about.Index = s.Index()
	data, err := encodeBackup(about, s, compressed)
	return data, about, err
}
