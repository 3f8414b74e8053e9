package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// CheckedLog is what was found out of the increments of one log.
type CheckedLog struct {
	Name     string   `json:"name"` // of their folder
	First    uint64   `json:"first"`
	Last     uint64   `json:"last"`
	Pieces   int      `json:"pieces"`
	Bytes    int64    `json:"bytes"`
	Unopened int      `json:"unread,omitempty"` // of them, sealed, and no key here opens them: their bytes are those that were written
	Damage   []string `json:"damage,omitempty"`
}

// String says of increments without damage what they are.
func (c CheckedLog) String() string {
	what := fmt.Sprintf("events %d to %d, in %d pieces", c.First, c.Last, c.Pieces)
	if c.Unopened > 0 {
		return fmt.Sprintf("%s: %s; %d are sealed, their bytes whole, and were not opened: there is no key here", c.Name, what, c.Unopened)
	}
	return fmt.Sprintf("%s is whole: %s", c.Name, what)
}

// CheckIncrements reads every increment in the folder, and finds out of each whether it is whole, as far as the keys go, and whether one is missing between them.
func (f Folder) CheckIncrements(ctx context.Context) (all []CheckedLog, err error) {
	logs, err := f.logs()
	if err != nil {
		return nil, err
	}
	for _, log := range logs {
		c := CheckedLog{Name: IncrementsFolder + "/" + log}
		folder := filepath.Join(f.Dir, IncrementsFolder, log)
		pieces, err := listPieces(folder)
		if err != nil {
			return all, err
		}
		for _, piece := range pieces {
			if err := ctx.Err(); err != nil {
				return all, err
			}
			if c.Pieces > 0 && piece.First > c.Last+1 {
				c.Damage = append(c.Damage, fmt.Sprintf("%s: events %d to %d are in no piece", c.Name, c.Last+1, piece.First-1))
			}
			is, _, err := checkPiece(folder, piece, f.Keys)
			switch {
			case errors.Is(err, fs.ErrNotExist): // put together with others meanwhile, or not needed any more
				c.Last = max(c.Last, piece.Last)
				continue
			case err != nil:
				c.Damage = append(c.Damage, fmt.Sprintf("%s/%v", c.Name, err))
			case is == nil:
				c.Unopened++
			}
			if c.Pieces == 0 {
				c.First = piece.First
			}
			c.Pieces++
			c.Bytes += piece.Bytes
			c.Last = max(c.Last, piece.Last)
		}
		if c.Pieces > 0 {
			all = append(all, c)
		}
	}
	return all, nil
}

// logs are the folders of increments, one for each log.
func (f Folder) logs() (all []string, err error) {
	entries, err := os.ReadDir(filepath.Join(f.Dir, IncrementsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list increments: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "log-") && !strings.HasSuffix(e.Name(), ".tmp") {
			all = append(all, e.Name())
		}
	}
	slices.Sort(all)
	return all, nil
}
