package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// What a kept backup needs of the increments: those from it on, without a gap up to the newest. So of one log all stay that are not wholly before
// the oldest backup that a rule keeps. One that is pinned, as each restore pins one for good, counts only where no other is left: by itself it is whole, and what it is pinned for needs no more.

// needed is the first event that has to be in a piece.
func (p *Increments) needed(ctx context.Context) (uint64, error) {
	if p.All {
		return 1, nil
	}
	oldest, err := p.oldest()
	if oldest == nil {
		return 0, err
	}
	index, ok := oldest[filepath.Base(p.folder)]
	if err = nil; !ok { // without a backup before them they would be of no use
		var f BackupFile
		if f, err = p.Backups.Create(ctx, "for increments to go on from", false); err == nil {
			var a About
			a, err = p.Backups.about(f.Name)
			index = a.Index
		}
	}
	return index + 1, err
}

// oldest is the index of the oldest backup of each log that is not pinned, or, where all are, of the oldest, by the folder of its increments. An error says that it is not known of all; nil that it is
// of none.
func (p *Increments) oldest() (map[string]uint64, error) {
	files, err := p.Backups.List()
	if err != nil {
		return nil, err
	}
	oldest, pinned := map[string]uint64{}, map[string]uint64{}
	abouts := map[string]About{}
	var unknown []error
	for _, f := range files {
		a, ok := p.abouts[f.Name]
		if !ok {
			if a, err = p.Backups.about(f.Name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNoBackup) {
				unknown = append(unknown, fmt.Errorf("which increments backup %s needs cannot be told: %w", f.Name, err))
				continue
			} else if err != nil {
				continue // gone meanwhile, or of version 1
			}
		}
		abouts[f.Name] = a
		of := oldest
		if f.Pinned {
			of = pinned
		}
		if first, ok := of[a.Log]; a.Log != "" && (!ok || a.Index < first) {
			of[a.Log] = a.Index
		}
	}
	for log, index := range pinned {
		if _, ok := oldest[log]; !ok {
			oldest[log] = index
		}
	}
	p.abouts = abouts
	return oldest, errors.Join(unknown...)
}

// prune removes what no backup that is kept needs: of this log the pieces that are wholly before an event, and the pieces of other logs of which
// no backup is left. It is decided anew each time, so also after a crash.
func (p *Increments) prune(from uint64) error {
	if p.All {
		return nil
	}
	oldest, err := p.oldest()
	if err != nil {
		return err
	}
	pieces, err := listPieces(p.folder)
	if err != nil {
		return err
	}
	if err := p.remove(unneeded(pieces, from)); err != nil {
		return err
	}
	folders, err := os.ReadDir(filepath.Dir(p.folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range folders {
		folder := filepath.Join(filepath.Dir(p.folder), e.Name())
		if _, ok := oldest[e.Name()]; ok || folder == p.folder || !strings.HasPrefix(e.Name(), "log-") || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		if err := removePieces(folder); err != nil {
			return fmt.Errorf("remove the increments of a log of which no backup is left: %w", err)
		}
	}
	return nil
}

// unneeded are the pieces that are wholly before an event.
func unneeded(pieces []PieceFile, from uint64) []PieceFile {
	return slices.DeleteFunc(slices.Clone(pieces), func(f PieceFile) bool { return f.Last >= from })
}

// removePieces removes the pieces in a folder, and the folder, unless something else is in it.
func removePieces(folder string) error {
	pieces, err := listPieces(folder)
	if err != nil {
		return err
	}
	for _, f := range pieces {
		if err := os.Remove(filepath.Join(folder, f.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := sweepPieces(folder); err != nil {
		return err
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		return nil // somebody has put something there, or it is gone
	}
	return os.Remove(folder)
}

// maxAbout is how much of a backup is looked at for what it says of itself.
const maxAbout = 64 << 10

// ReadAbout reads what a backup says of itself, without looking at the rest of it.
func ReadAbout(path string) (a About, err error) {
	f, err := os.Open(path)
	if err != nil {
		return a, err
	}
	defer f.Close()
	head := make([]byte, maxAbout)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return a, err
	}
	if head = head[:n]; seal.Sealed(head) {
		return a, fmt.Errorf("what it says of itself: %w", seal.ErrNoKey)
	}
	if isZstd(head) {
		if head, err = unzipHead(head); err != nil {
			return a, err
		}
	}
	if !bytes.HasPrefix(head, []byte(beginning)) {
		return a, ErrNoBackup
	}
	line, _, _ := bytes.Cut(head[len(beginning)-1:], []byte("\n"))
	if err := json.Unmarshal(bytes.TrimSuffix(line, []byte(",")), &a); err != nil {
		return a, fmt.Errorf("what it says of itself cannot be read: %w", err)
	}
	return a, nil
}

// unzipHead is the beginning of what was compressed, from its beginning.
func unzipHead(head []byte) ([]byte, error) {
	z, err := zstd.NewReader(bytes.NewReader(head), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(math.MaxInt32))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	text := make([]byte, maxAbout)
	n, err := io.ReadFull(z, text)
	if n == 0 && err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	return text[:n], nil
}
