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
	"slices"
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
	// there is what was there when it was listed, at that moment, and what has been put there since; nil: it is to be listed. All that is there is
	// many pages of a bucket, each of which is asked for by itself, and paid for.
	there  map[string]int64
	listed time.Time

	mu    sync.Mutex // for a moment
	said  Copied
	doing string    // what is asked of To just now; "": nothing
	since time.Time // when it was
}

// Copied is how the copying goes.
type Copied struct {
	Missing int       // files that are here and, as far as is known, not there
	Bytes   int64     // of these
	At      time.Time // when everything was last there, as far as is known; zero: not yet
	Failed  error     // why the last try did not copy all, or what of it has gone on for longer than any should; nil: it did
	Count   uint64    // files copied since the agent's start
	Errors  uint64
}

// relist is how long what is there is known by the last listing: as long it may go unseen that somebody has removed a copy.
const relist = 24 * time.Hour

// longest is the longest wait after a failure, and for an answer before it is said that there is none.
const longest = 10 * time.Minute

// Said is how it goes.
func (c *Copies) Said() Copied {
	c.mu.Lock()
	defer c.mu.Unlock()
	said := c.said
	if c.doing != "" && c.Backups.now().Sub(c.since) > longest {
		said.Failed = errors.Join(said.Failed, fmt.Errorf("%s: under way since %s, with no answer", c.doing, c.since.UTC().Format(time.RFC3339)))
	}
	return said
}

// does says what is asked of To from now on.
func (c *Copies) does(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doing, c.since = what, c.Backups.now()
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
		here, there := c.aside(ctx)
		if ctx.Err() != nil {
			return nil
		}
		now := ""
		if err := errors.Join(here, there); err != nil {
			if now = err.Error(); now != said {
				c.Log.Warn("backups cannot be copied elsewhere; trying again", "err", err)
			}
		}
		said = now
		wait := every
		if there != nil { // which a new backup changes nothing about
			wait, made = failed, nil
			failed = min(2*failed, longest)
		} else {
			failed = time.Second
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

// parting is how long a round has to end once it is told to.
const parting = time.Second

// aside is round, in a goroutine of its own, which is left to itself where it does not end soon after ctx: a folder on a file server that is away may hold a system call up
// for ever, and an agent that is to end still has to tell the other hosts. What that leaves there is a .tmp, which the next Put replaces.
func (c *Copies) aside(ctx context.Context) (here, there error) {
	errs := make(chan [2]error, 1)
	go func() {
		here, there := c.round(ctx)
		errs <- [2]error{here, there}
	}()
	select {
	case e := <-errs:
		return e[0], e[1]
	case <-ctx.Done():
	}
	select {
	case <-errs:
	case <-time.After(parting):
		c.Log.Warn("what is being copied elsewhere does not end, and is left")
	}
	return nil, ctx.Err()
}

// Once copies what is not there yet, the oldest backup first, and reads each back: when it returns nil, all that was here is there, byte for byte
// as far as this agent has put it there, else by its size. What is there is replaced by what is whole only. A crash leaves each file there whole or not at all.
func (c *Copies) Once(ctx context.Context) error { return errors.Join(c.round(ctx)) }

// round says apart what is wrong with files here, which holds up no others, and what there.
func (c *Copies) round(ctx context.Context) (here, there error) {
	c.busy.Lock()
	defer c.busy.Unlock()
	here, there = c.once(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said.Failed = errors.Join(here, there); c.said.Failed != nil {
		c.said.Errors++
	} else {
		c.said.At = c.Backups.now()
	}
	return here, there
}

func (c *Copies) once(ctx context.Context) (here, there error) {
	all, here := c.here()
	if now := c.Backups.now(); c.there == nil || now.Sub(c.listed) >= relist {
		c.does("list what is there")
		c.there, there = c.To.Sizes(ctx)
		if c.does(""); there != nil {
			c.there = nil
			return here, fmt.Errorf("list what is there: %w", there)
		}
		c.listed = now
	}
	var missing []copied
	var n int
	var size int64
	for _, f := range all {
		if slices.ContainsFunc(f.files, func(f copyFile) bool { n, ok := c.there[f.name]; return !ok || n != f.bytes || c.doubt[f.name] }) {
			missing = append(missing, f)
			n, size = n+len(f.files), size+f.bytes()
		}
	}
	c.lacks(n, size)
	for _, f := range missing {
		wrong, err := c.copy(ctx, f)
		if err != nil {
			c.there = nil
			return here, fmt.Errorf("copy %s: %w", f.name(), err)
		}
		if wrong != nil {
			here = errors.Join(here, fmt.Errorf("copy %s: %w", f.name(), wrong))
			continue
		}
		n, size = n-len(f.files), size-f.bytes()
		c.lacks(n, size)
	}
	return here, nil
}

func (c *Copies) lacks(n int, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said.Missing, c.said.Bytes = n, size
}

// copy copies what belongs together. Where some of it is there already, it must be whole here: what is there may be the last that is.
func (c *Copies) copy(ctx context.Context, f copied) (here, there error) {
	if slices.ContainsFunc(f.files, func(f copyFile) bool { _, ok := c.there[f.name]; return ok }) {
		if err := f.whole(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("what is there stays, since what is here cannot be found whole: %w", err), nil
		}
	}
	var read [][]byte
	for _, f := range f.files {
		data, err := os.ReadFile(filepath.Join(c.Backups.Dir, filepath.FromSlash(f.name)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil // removed meanwhile
		}
		if err != nil {
			return err, nil
		}
		read = append(read, data)
	}
	for i, data := range read {
		if err := c.put(ctx, f.files[i].name, data); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (c *Copies) put(ctx context.Context, name string, data []byte) error {
	if c.doubt == nil {
		c.doubt = map[string]bool{}
	}
	c.doubt[name] = true
	c.does("copy " + name)
	defer c.does("")
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
	c.there[name] = int64(len(data))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said.Count++
	return nil
}

// copied is what is to be elsewhere as well: a backup or a piece, and before it what stands beside it, since they are of no use but together.
type copied struct {
	files []copyFile
	whole func() error // finds out whether it is, as far as the keys go
}

type copyFile struct {
	name  string // from the folder of the backups, with slashes
	bytes int64
}

func (f copied) name() string { return f.files[len(f.files)-1].name }

func (f copied) bytes() (n int64) {
	for _, f := range f.files {
		n += f.bytes
	}
	return n
}

// here are the backups, the oldest first, and the increments, as far as they can be listed.
func (c *Copies) here() (all []copied, err error) {
	backups, err := c.Backups.List()
	errs := []error{err}
	add := func(name string, bytes int64, sealed bool, whole func() error) {
		f := copied{whole: whole}
		if sealed { // by what stands beside it it is checked where no key is
			info, err := os.Stat(filepath.Join(c.Backups.Dir, filepath.FromSlash(name+besideEnd)))
			if err == nil {
				f.files = append(f.files, copyFile{name + besideEnd, info.Size()})
			} else if !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		f.files = append(f.files, copyFile{name, bytes})
		all = append(all, f)
	}
	for _, f := range backups {
		add(f.Name, f.Bytes, f.Sealed, func() error { _, err := c.Backups.Check(f.Name); return err })
	}
	folders, err := os.ReadDir(filepath.Join(c.Backups.Dir, IncrementsFolder))
	if !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range folders {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		folder := filepath.Join(c.Backups.Dir, IncrementsFolder, e.Name())
		pieces, err := listPieces(folder)
		errs = append(errs, err)
		for _, f := range pieces {
			add(IncrementsFolder+"/"+e.Name()+"/"+f.Name, f.Bytes, f.Sealed, func() error { _, _, err := checkPiece(folder, f, c.Backups.Keys); return err })
		}
	}
	return all, errors.Join(errs...)
}
