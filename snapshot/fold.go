package snapshot

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// foldMagic begins a snapshot of the fold: what it is, and the version of its form.
const foldMagic = "podman-swarm fold 1\n"

// Log is what is needed of a log to tell whether a snapshot is of it.
type Log interface {
	End() events.Position
	First() uint64 // index of the first event in it
	Read(ctx context.Context, after uint64, fn func(events.Record) error) error
	Scan(from uint64, fn func(events.Record) error) error
}

// Folds keeps snapshots of the fold beside the log: what a state was after some event, so that a start folds only
// what came later. The log alone is the truth; a snapshot that is damaged, or of another log, is passed over.
type Folds struct {
	Dir    string // the log's folder
	Source Log
	Ledger Ledger
	Key    *events.Key // by which they are sealed; nil: they are plain
	Events uint64      // a snapshot is made when so many events came since the last; zero: 50,000
	Log    *slog.Logger

	last  atomic.Uint64 // index of the newest snapshot
	first atomic.Uint64 // of the one that a log which is about to be trimmed will begin with; zero: it is not
}

const (
	// keep is how many snapshots stay in any case: an older one serves when the newest turns out damaged.
	keep = 2
	// apart is of how many events the first snapshot stays for good, so that a moment of long ago is folded from nearby.
	apart = 200_000
)

// Last is the index of the newest snapshot; zero when there is none.
func (f *Folds) Last() uint64 { return f.last.Load() }

// Load is the newest snapshot that is whole and of this log, and the number of the record that follows it. Without
// one it is nil and 1: everything is folded. Each snapshot that is passed over is named in a warning. The error is ctx's where that ends meanwhile.
func (f *Folds) Load(ctx context.Context) (*projection.State, uint64, error) {
	names, err := f.names()
	if err != nil {
		return nil, 0, err
	}
	for _, name := range slices.Backward(names) {
		s, next, err := f.load(ctx, name)
		if err == nil {
			f.last.Store(s.Index())
			return s, next, nil
		}
		if ctx.Err() != nil { // which says nothing of the snapshot
			return nil, 0, ctx.Err()
		}
		f.Log.Warn("snapshot of the fold is passed over; the log has it all", "file", name, "err", err)
	}
	return nil, 1, nil
}

func (f *Folds) names() ([]string, error) {
	names, err := fs.Glob(os.DirFS(f.Dir), "fold-*.snap") // not filepath.Glob: the folder's own name may have brackets
	if err != nil {
		return nil, fmt.Errorf("snapshots in %s: %w", f.Dir, err)
	}
	slices.Sort(names) // by index: the names have leading zeroes
	for i, name := range names {
		names[i] = filepath.Join(f.Dir, name)
	}
	return names, nil
}

func (f *Folds) load(ctx context.Context, name string) (*projection.State, uint64, error) {
	file, size, err := f.read(name)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	const overhead = len(foldMagic) + 8 + sha256.Size + sha256.Size
	body := size - int64(overhead)
	if body < 0 {
		return nil, 0, errors.New("too short")
	}
	if err := checksum(file, size-sha256.Size); err != nil {
		return nil, 0, err
	}
	r := bufio.NewReaderSize(file, 1<<16)
	head := make([]byte, len(foldMagic)+8+sha256.Size)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, 0, err
	}
	if string(head[:len(foldMagic)]) != foldMagic {
		return nil, 0, errors.New("not a snapshot of this version")
	}
	head = head[len(foldMagic):]
	record := binary.LittleEndian.Uint64(head)
	s, err := projection.DecodeState(io.LimitReader(r, body))
	if err != nil {
		return nil, 0, err
	}
	last, err := f.recordAt(ctx, s.Index())
	if err != nil {
		return nil, 0, err
	}
	if last.Number != record || !bytes.Equal(last.Hash[:], head[8:]) {
		return nil, 0, errors.New("of another log")
	}
	return s, record + 1, nil
}

// read opens a snapshot, unsealed, and gives its size. One that is sealed is opened in memory.
func (f *Folds) read(name string) (io.ReadSeekCloser, int64, error) {
	if f.Key != nil {
		data, err := os.ReadFile(name)
		if err == nil {
			data, err = f.Key.OpenFile(filepath.Base(name), data)
		}
		return inMemory{bytes.NewReader(data)}, int64(len(data)), err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// checksum compares the SHA-256 of the first n bytes with what follows them, and goes back to the start.
func checksum(f io.ReadSeeker, n int64) error {
	sum := sha256.New()
	if _, err := io.CopyN(sum, f, n); err != nil {
		return err
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, want); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return errors.New("checksum does not fit")
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

var errFound = errors.New("found")

// recordAt is the log's record that ends with event index.
func (f *Folds) recordAt(ctx context.Context, index uint64) (rec events.Record, err error) {
	if index == 0 || index > f.Source.End().Index {
		return rec, fmt.Errorf("event %d is not in the log, which ends at %d", index, f.Source.End().Index)
	}
	err = f.Source.Read(ctx, index-1, func(r events.Record) error {
		rec = r
		return errFound
	})
	if !errors.Is(err, errFound) {
		return rec, fmt.Errorf("read event %d: %w", index, err)
	}
	if rec.Last() != index {
		return rec, fmt.Errorf("event %d is not the end of a commit", index)
	}
	return rec, nil
}

// Run makes a snapshot whenever enough events have come since the last, until ctx ends. It makes none then: folding
// the rest again is quick, and a log that is replayed remembers what happened lately.
func (f *Folds) Run(ctx context.Context) error {
	every := f.Events
	if every == 0 {
		every = 50_000
	}
	for {
		v := f.Ledger.View()
		if s := v.OnDisk(); s.Index()-min(f.last.Load(), s.Index()) >= every {
			if err := f.Save(ctx, s); err != nil {
				f.Log.Warn("snapshot of the fold cannot be written; starts take longer", "err", err)
				select {
				case <-ctx.Done():
				case <-time.After(time.Minute):
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-v.Changed:
		}
	}
}

// Save writes a snapshot of the state and removes those that are not needed any more. When it returns nil the
// snapshot is durable.
func (f *Folds) Save(ctx context.Context, s *projection.State) error {
	last, err := f.recordAt(ctx, s.Index())
	if err != nil {
		return err
	}
	name := f.nameOf(s.Index())
	write := func(w io.Writer) error {
		sum := sha256.New()
		all := io.MultiWriter(w, sum)
		head := binary.LittleEndian.AppendUint64([]byte(foldMagic), last.Number)
		if _, err := all.Write(append(head, last.Hash[:]...)); err != nil {
			return err
		}
		if err := s.Encode(all); err != nil {
			return err
		}
		_, err := w.Write(sum.Sum(nil))
		return err
	}
	if f.Key != nil {
		var plain bytes.Buffer
		if err := write(&plain); err != nil {
			return err
		}
		sealed := f.Key.SealFile(filepath.Base(name), plain.Bytes())
		write = func(w io.Writer) error { _, err := w.Write(sealed); return err }
	}
	if err := WriteFile(name, filepath.Join(f.Dir, "fold.tmp"), 0o640, write); err != nil {
		return err
	}
	f.last.Store(max(f.last.Load(), s.Index()))
	return f.thin()
}

func (f *Folds) nameOf(index uint64) string {
	return filepath.Join(f.Dir, fmt.Sprintf("fold-%020d.snap", index))
}

// thin removes the snapshots that are not needed any more.
func (f *Folds) thin() error {
	names, err := f.names()
	if err != nil {
		return err
	}
	var stays uint64 // of which span of so many events there is one that stays; of the first it is the log's beginning
	begun := f.Source.First() == 1
	for _, name := range names[:max(0, len(names)-keep)] {
		var index uint64
		if _, err := fmt.Sscanf(filepath.Base(name), "fold-%d.snap", &index); err != nil {
			continue // no snapshot of ours
		}
		if index == f.first.Load() {
			continue
		}
		if !begun && index >= f.Source.First() { // from which the first moments in the log are folded
			begun = true
			continue
		}
		if span := index / apart; span != stays {
			stays = span
		} else if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
