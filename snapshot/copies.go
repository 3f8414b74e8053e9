package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Store is a place elsewhere that backups are copied to. Names have slashes where there are folders. Its methods wait for the network, and end with ctx.
type Store interface {
	// Put puts something there under a name, in place of what has that; whoever reads meanwhile gets either, whole.
	Put(ctx context.Context, name string, data []byte) error
	// Get reads what has a name; the error wraps fs.ErrNotExist where nothing has.
	Get(ctx context.Context, name string) ([]byte, error)
	// Sizes gives the names of all that is there, and how many bytes each has.
	Sizes(ctx context.Context) (map[string]int64, error)
}

// Copies keep a copy of every backup and increment elsewhere. They hold nothing up: what cannot be copied is tried again, ever more seldom, and
// said. Nothing is ever removed there: a folder that is empty here, since its disk is new, must not empty the other. Its fields are its configuration.
type Copies struct {
	Backups *Backups
	To      Store         // nil: nowhere
	Every   time.Duration // how often is looked for what is new; zero: a minute
	Log     *slog.Logger

	busy  sync.Mutex      // one Once at a time
	doubt map[string]bool // those that were put there and not read back: that they are there says nothing

	mu   sync.Mutex // for a moment
	said Copied
}

// Copied is how the copying goes.
type Copied struct {
	Missing int       // files that are here and, as far as is known, not there
	Bytes   int64     // of these
	At      time.Time // when it was last seen that everything is there; zero: not yet
	Failed  error     // why the last try did not copy all; nil: it did
	Count   uint64    // files copied since the agent's start
	Errors  uint64
}

// longest is the longest wait after a failure.
const longest = 10 * time.Minute

// Said is how it goes.
func (c *Copies) Said() Copied {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}

// Run copies what is new until ctx ends.
func (c *Copies) Run(ctx context.Context) error {
	if c.To == nil {
		return nil
	}
	every := c.Every
	if every == 0 {
		every = time.Minute
	}
	said, failed := "", time.Second
	for {
		made := c.Backups.Changed()
		wait := every
		if err := c.Once(ctx); ctx.Err() != nil {
			return nil
		} else if err != nil {
			if wait, made = failed, nil; err.Error() != said {
				said = err.Error()
				c.Log.Warn("backups cannot be copied elsewhere; trying again", "err", err)
			}
			failed = min(2*failed, longest)
		} else {
			said, failed = "", time.Second
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-made:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Once copies what is not there yet, the oldest backup first, and reads each back: when it returns nil, all that was here is there, byte for byte
// as far as this agent has put it there, else by its size. A crash leaves each file there whole or not at all.
func (c *Copies) Once(ctx context.Context) error {
	c.busy.Lock()
	defer c.busy.Unlock()
	err := c.once(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said.Failed = err; err != nil {
		c.said.Errors++
		return err
	}
	c.said.At = c.Backups.now()
	return nil
}

func (c *Copies) once(ctx context.Context) error {
	here, err := c.here()
	if err != nil {
		return err
	}
	there, err := c.To.Sizes(ctx)
	if err != nil {
		return fmt.Errorf("list what is there: %w", err)
	}
	var missing []copyFile
	var size int64
	lacks := func(f copyFile) bool { n, ok := there[f.name]; return !ok || n != f.bytes || c.doubt[f.name] }
	for i, f := range here {
		with := i+1 < len(here) && here[i+1].name+besideEnd == f.name && lacks(here[i+1]) || i > 0 && here[i-1].name == f.name+besideEnd && lacks(here[i-1])
		if with || lacks(f) { // what is sealed and what stands beside it are of no use but together
			missing = append(missing, f)
			size += f.bytes
		}
	}
	c.lacks(len(missing), size)
	for i, f := range missing {
		if err := c.copy(ctx, f.name); err != nil {
			return fmt.Errorf("copy %s: %w", f.name, err)
		}
		size -= f.bytes
		c.lacks(len(missing)-i-1, size)
	}
	return nil
}

func (c *Copies) lacks(n int, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said.Missing, c.said.Bytes = n, size
}

func (c *Copies) copy(ctx context.Context, name string) error {
	data, err := os.ReadFile(filepath.Join(c.Backups.Dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return err
	}
	if c.doubt == nil {
		c.doubt = map[string]bool{}
	}
	c.doubt[name] = true
	if err := c.To.Put(ctx, name, data); err != nil {
		return err
	}
	back, err := c.To.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	if !bytes.Equal(back, data) {
		return fmt.Errorf("what is read back is not what was put there: %d bytes, and %d", len(back), len(data))
	}
	delete(c.doubt, name)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said.Count++
	return nil
}

// copyFile is a file that is to be elsewhere as well.
type copyFile struct {
	name  string // from the folder of the backups, with slashes
	bytes int64
}

// here are the backups, the oldest first, and the increments.
func (c *Copies) here() (all []copyFile, err error) {
	backups, err := c.Backups.List()
	if err != nil {
		return nil, err
	}
	add := func(name string, bytes int64, sealed bool) error {
		if sealed { // by what stands beside it it is checked where no key is
			info, err := os.Stat(filepath.Join(c.Backups.Dir, filepath.FromSlash(name+besideEnd)))
			if err == nil {
				all = append(all, copyFile{name + besideEnd, info.Size()})
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		all = append(all, copyFile{name, bytes})
		return nil
	}
	for _, f := range backups {
		if err := add(f.Name, f.Bytes, f.Sealed); err != nil {
			return nil, err
		}
	}
	folders, err := os.ReadDir(filepath.Join(c.Backups.Dir, IncrementsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range folders {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		pieces, err := listPieces(filepath.Join(c.Backups.Dir, IncrementsFolder, e.Name()))
		if err != nil {
			return nil, err
		}
		for _, f := range pieces {
			if err := add(IncrementsFolder+"/"+e.Name()+"/"+f.Name, f.Bytes, f.Sealed); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}
