package snapshot

import (
	"cmp"
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
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// Backups makes the backups of one host and keeps those that are worth it. Its fields are its configuration. All methods are safe
// for concurrent use; one backup is made at a time.
type Backups struct {
	Dir string
	// Apart says that Dir is on a disk of its own, perhaps. Then it is never made: where that is not mounted it would come to be on this one.
	Apart   bool
	Cluster string
	Node    string
	Agent   string // its version
	Ledger  Ledger
	// Compress has them compressed (Zstandard): zstd -d gives the JSON.
	Compress bool
	For      seal.For      // whom they are sealed for; the zero value: they are plain
	Keys     seal.Keys     // what opens sealed ones on this host, if anything does
	Every    time.Duration // between two backups; zero: none is made unasked
	// Of names the folder of the increments that go on from a backup that is made now; "": it cannot be told. Nil: there are none.
	Of   func(context.Context) string
	Keep Keep
	Log  *slog.Logger
	Now  func() time.Time // nil: time.Now

	busy sync.Mutex // held while the folder is changed
	mu   sync.Mutex // for a moment
	made Made
	held map[string]string // by a reason why no rule removes it just now: the name of the backup that it is the reason for
	next chan struct{}     // closed when another is made; nil: nobody waits for that
}

// Made is how the making of backups goes.
type Made struct {
	Last   *BackupFile // the newest that this agent made; nil: none yet
	Untold *BackupFile // the newest of which no event tells with who asked for it; nil: none yet
	Took   time.Duration
	Failed error // why the newest try made none; nil: it did
	Stays  error // why the last Prune left some that are not to be kept; nil: it left none
	Count  uint64
	Told   uint64 // of them, those of which an event tells with who asked
	Errors uint64
}

// BackupFile is a file that has the name of a backup.
type BackupFile struct {
	Name  string    `json:"name"`
	Made  time.Time `json:"made"` // as its name says
	Bytes int64     `json:"bytes"`
	// Pinned says that no rule removes it, by the end of its name. Whoever renames a backup so has pinned it.
	Pinned bool `json:"pinned,omitempty"`
	Sealed bool `json:"sealed,omitempty"` // by the end of its name
	Ahead  bool `json:"-"`                // it is of a time to come: the clock was ahead when it was made
	same   int  // how many of the same second came before it
}

var backupName = regexp.MustCompile(`^state-backup-(\d{8}-\d{6})(?:-(\d{1,3}))?(-pinned)?\.json(\.zst)?(\.age)?$`)

const nameTime = "20060102-150405"

// parseBackupName is when a file of that name was made; false: it is not the name of a backup.
func parseBackupName(name string) (f BackupFile, ok bool) {
	m := backupName.FindStringSubmatch(name)
	if m == nil {
		return f, false
	}
	made, err := time.Parse(nameTime, m[1])
	f = BackupFile{Name: name, Made: made, Pinned: m[3] != "", Sealed: m[5] != ""}
	if m[2] != "" {
		f.same, _ = strconv.Atoi(m[2]) // three digits at most
	}
	return f, err == nil
}

// tmpBackup is where a backup is written before it has its name.
const tmpBackup = "state-backup.tmp"

// aheadBy is how far ahead of the clock the time in a name may be before it is of one that was wrong.
const aheadBy = time.Hour

// List gives the backups in the folder, the oldest first; before all others those of a time to come, which must not be taken for the newest. That one is
// listed does not say that it is whole. A folder that is not there has none.
func (b *Backups) List() ([]BackupFile, error) {
	now := b.now().Add(aheadBy)
	all, err := list(b.Dir, parseBackupName, func(f *BackupFile, info fs.FileInfo) { f.Bytes, f.Ahead = info.Size(), f.Made.After(now) })
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	known := func(f BackupFile) int { return map[bool]int{false: 1}[f.Ahead] }
	slices.SortFunc(all, func(x, y BackupFile) int {
		return cmp.Or(known(x)-known(y), x.Made.Compare(y.Made), cmp.Compare(x.same, y.same))
	})
	return all, nil
}

// list gives what the regular files in a folder are, of those whose names say that they are ours; others are not looked at. A folder that
// is not there has none.
func list[T any](folder string, named func(string) (T, bool), fill func(*T, fs.FileInfo)) (all []T, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		f, ok := named(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if fill(&f, info); info.Mode().IsRegular() {
			all = append(all, f)
		}
	}
	return all, nil
}

// Create makes a backup of what is on disk now. When it returns nil that is durable, under a name that no other had. A
// crash leaves the backup whole or none, and perhaps a temporary file, which the next one replaces.
func (b *Backups) Create(ctx context.Context, why string, pinned bool) (BackupFile, error) {
	f, _, err := b.createOf(ctx, why, pinned, nil)
	return f, err
}

// createOf is CreateAsked, or with a nil tell Create, and gives the state that the backup is of.
func (b *Backups) createOf(ctx context.Context, why string, pinned bool, tell func(BackupFile) error) (BackupFile, *projection.State, error) {
	b.busy.Lock()
	defer b.busy.Unlock()
	if err := ctx.Err(); err != nil {
		return BackupFile{}, nil, err
	}
	begun := time.Now()
	s := b.Ledger.View().OnDisk()
	b.Log.Debug("making a backup", "why", why)
	f, err := b.create(ctx, s, why, pinned)
	b.Log.Debug("done with the backup", "file", f.Name, "err", err)
	took := time.Since(begun)
	told := err == nil && tell != nil && tell(f) == nil // before it counts, or it might be told of twice
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.made.Failed = err; err != nil {
		b.made.Errors++
		return f, nil, err
	}
	b.made.Last, b.made.Took = &f, took
	if b.made.Count++; told {
		b.made.Told++
	} else {
		b.made.Untold = &f
	}
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
	return f, s, nil
}

// Changed is closed when another backup is made.
func (b *Backups) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

func (b *Backups) create(ctx context.Context, s *projection.State, why string, pinned bool) (BackupFile, error) {
	now := b.now().UTC()
	if err := b.folder(); err != nil {
		return BackupFile{}, fmt.Errorf("make a backup: %w", err)
	}
	f, err := b.free(now, pinned, ending(b.Compress, !b.For.None()))
	if err != nil {
		return f, fmt.Errorf("make a backup: %w", err)
	}
	about := About{Cluster: b.Cluster, Node: b.Node, Agent: b.Agent, Made: now, Why: why}
	if b.Of != nil {
		about.Log = b.Of(ctx)
	}
	write := func(w io.Writer) error { return WriteBackup(w, about, s) }
	if b.Compress {
		write = func(w io.Writer) error {
			return compress(w, func(w io.Writer) error { return WriteBackup(w, about, s) })
		}
	}
	if b.For.None() {
		var size counter
		err = WriteFile(filepath.Join(b.Dir, f.Name), filepath.Join(b.Dir, tmpBackup), 0o640, func(w io.Writer) error {
			return write(io.MultiWriter(w, &size))
		})
		f.Bytes = int64(size)
	} else {
		f.Bytes, err = b.createSealed(f.Name, s.Digest(), write)
	}
	if err != nil {
		return f, fmt.Errorf("make a backup: %w", err)
	}
	return f, nil
}

// folder sees to it that there is Dir.
func (b *Backups) folder() error {
	if !b.Apart {
		return makeFolders(b.Dir)
	}
	_, err := os.Stat(b.Dir)
	return missing(b.Dir, err)
}

// MakeDir makes Dir, also where it is apart: with a new log nothing that has gone there can be missed.
func (b *Backups) MakeDir() error { return makeFolders(b.Dir) }

// put writes a backup that there is already.
func (b *Backups) put(name string, data []byte) error {
	return WriteFile(filepath.Join(b.Dir, name), filepath.Join(b.Dir, tmpBackup), 0o640, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// ending is how the name of a backup ends.
func ending(compressed, sealed bool) string {
	return ".json" + map[bool]string{true: ".zst"}[compressed] + map[bool]string{true: ".age"}[sealed]
}

// free is the name for a backup that is made now, which no other has.
func (b *Backups) free(now time.Time, pinned bool, end string) (BackupFile, error) {
	all, err := b.List()
	if err != nil {
		return BackupFile{}, err
	}
	first := 0 // behind all of this second: a number that has become free again would be older than those, and go first
	for _, f := range all {
		if f.Made.Equal(now.Truncate(time.Second)) {
			first = max(first, f.same+1)
		}
	}
	for n := first; n < 1000; n++ {
		name := "state-backup-" + now.Format(nameTime)
		if n > 0 {
			name += fmt.Sprintf("-%d", n)
		}
		there := false
		for i := range 8 { // so that pinning one needs no other name
			other := map[bool]string{true: "-pinned"}[i&4 > 0] + ending(i&1 > 0, i&2 > 0)
			_, err := os.Lstat(filepath.Join(b.Dir, name+other))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return BackupFile{}, err
			}
			there = there || err == nil
		}
		if !there {
			if pinned {
				name += "-pinned"
			}
			f, _ := parseBackupName(name + end)
			return f, nil
		}
	}
	return BackupFile{}, errors.New("there are a thousand of this second")
}

func (b *Backups) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// Made is how the making of backups goes.
func (b *Backups) Made() Made {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.made
}

// Stat is what its name and its size say of a backup in the folder; the error wraps fs.ErrNotExist where there is none.
func (b *Backups) Stat(name string) (BackupFile, error) {
	f, ok := parseBackupName(name) // and so no path
	if !ok {
		return f, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
	}
	info, err := os.Stat(filepath.Join(b.Dir, name))
	if err != nil {
		return f, err
	}
	f.Bytes = info.Size()
	return f, nil
}

// Read reads one of the backups in the folder, and finds out whether it is whole. The error wraps seal.ErrNoKey where it is sealed,
// and no key here opens it.
func (b *Backups) Read(name string) (*Backup, error) {
	if _, err := b.Stat(name); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(b.Dir, name))
	if err != nil {
		return nil, err
	}
	if data, err = opened(data, b.Keys); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	backup, err := ReadBackup(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return backup, nil
}

// Run makes a backup each Every, and soon after the start when the newest is older than that; and after each it removes
// those that are not to be kept. One that cannot be made is said, and tried again after a minute. It returns nil when ctx ends.
func (b *Backups) Run(ctx context.Context) error {
	if b.Every <= 0 {
		return nil
	}
	again := min(b.Every, time.Minute)
	for why := "at the start"; ; why = "on schedule" {
		wait, err := b.due(why == "at the start")
		for err != nil { // the disk of the backups may come yet
			b.Log.Warn("whether a backup is due cannot be told", "err", err)
			if !rest(ctx, again) {
				return nil
			}
			wait, err = b.due(why == "at the start")
		}
		if !rest(ctx, wait) {
			return nil
		}
		f, err := b.Create(ctx, why, false)
		for err != nil {
			b.Log.Error("a backup cannot be made; it is tried again in a minute", "folder", b.Dir, "err", err)
			if !rest(ctx, again) {
				return nil
			}
			f, err = b.Create(ctx, why, false)
		}
		b.Log.Info("a backup was made", "file", f.Name, "bytes", f.Bytes)
		b.Tidy()
	}
}

// rest waits so long, and reports whether ctx has not ended meanwhile.
func rest(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// due is how long the next backup can wait. Each host has a moment of its own within the interval, by its name, so that not
// all are busy in the same second.
func (b *Backups) due(start bool) (time.Duration, error) {
	now := b.now()
	sum := sha256.Sum256([]byte(b.Node))
	share := float64(binary.LittleEndian.Uint32(sum[:])) / (1 << 32)
	if start {
		all, err := b.List()
		if err != nil {
			return 0, err
		}
		if len(all) == 0 || all[len(all)-1].Ahead || now.Sub(all[len(all)-1].Made) >= b.Every {
			return time.Duration(share * float64(min(b.Every/60, time.Minute))), nil
		}
	}
	mine := time.Duration(share * float64(b.Every))
	return now.Add(-mine).Truncate(b.Every).Add(b.Every + mine).Sub(now), nil
}
