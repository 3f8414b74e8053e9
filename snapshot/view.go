package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Ledger is where the states come from; projection.Ledger is one.
type Ledger interface{ View() *projection.View }

// View keeps state.json: written whole or not at all, at most Every behind the log when things are quiet, and never
// folded. It is written from states that are already durable, by its own goroutine, so no apply waits for it.
type View struct {
	Path   string // of state.json
	Sums   string // of the file that remembers what this agent wrote there
	Node   string
	Ledger Ledger
	Key    *events.Key   // by which state.json is sealed; nil: it is plain
	Every  time.Duration // at least between two writes; zero: 1 s. Large states are written less often
	Log    *slog.Logger

	mine    fs.FileInfo // of state.json when it was last known for this agent's own
	stands  []string    // checksums, of which state.json has one, also after a power cut; none: it is not there
	written atomic.Pointer[Written]
}

// Written says how the last write of state.json went.
type Written struct {
	Index uint64    // of the last event in it
	At    time.Time // when it was written
	Took  time.Duration
	Bytes int64
	Err   error // of the newest try; the rest is then of the last that went well
}

// Written is how the last write went; nil before the first.
func (v *View) Written() *Written { return v.written.Load() }

// Run writes state.json whenever the state has changed, until ctx ends, and then once more.
func (v *View) Run(ctx context.Context) error {
	every := v.Every
	if every == 0 {
		every = time.Second
	}
	for {
		view := v.Ledger.View().Durable()
		pause := every
		if w := v.Written(); w == nil || w.Err != nil || w.Index != view.Index() {
			v.once(view.State)
			pause = max(every, 10*v.Written().Took) // at most a tenth of the time is spent on writing
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			last := v.Ledger.View().Durable()
			if w := v.Written(); w.Err != nil || w.Index != last.Index() {
				v.once(last.State)
			}
			return nil
		case <-timer.C:
		}
		if v.Written().Err != nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-view.Changed:
		}
	}
}

// once writes one state and notes how it went.
func (v *View) once(s *projection.State) {
	begun := time.Now()
	n, err := v.Write(s)
	w := Written{Index: s.Index(), At: time.Now(), Took: time.Since(begun), Bytes: n}
	if err != nil {
		old := v.Written()
		if old == nil || old.Err == nil {
			v.Log.Error("state.json cannot be written; the log is not affected, and it is tried again", "err", err)
		}
		w = Written{Took: w.Took}
		if old != nil {
			w.Index, w.At, w.Bytes = old.Index, old.At, old.Bytes
		}
		w.Err = err
	} else if old := v.Written(); old != nil && old.Err != nil {
		v.Log.Info("state.json is written again", "index", s.Index())
	}
	v.written.Store(&w)
}

// Write writes the state to state.json, and returns its size. When it returns nil that is durable, and a later
// Inspect knows the file for this agent's own.
func (v *View) Write(s *projection.State) (int64, error) {
	sum, n, tmp := sha256.New(), counter(0), v.Path+".tmp"
	err := prepare(v.Path, tmp, 0o640, func(w io.Writer) error { return v.render(io.MultiWriter(w, sum, &n), s) })
	if err != nil {
		return 0, err
	}
	ours := hex.EncodeToString(sum.Sum(nil))
	if err := v.name(tmp, ours); err != nil {
		return 0, errors.Join(err, os.Remove(tmp))
	}
	v.stands = append(v.stands, ours)
	v.mine, _ = os.Lstat(v.Path) // failing that, the next Inspect reads it
	if err := SyncFolder(filepath.Dir(v.Path)); err != nil {
		return 0, err
	}
	v.stands = []string{ours}
	return int64(n), nil
}

// name has what is at tmp stand as state.json. Its checksum is on disk before: what is found under the name must be known for ours whenever
// the power goes.
func (v *View) name(tmp, sum string) error {
	aside, err := v.Inspect()
	if err != nil {
		return err
	}
	if aside != "" {
		v.Log.Warn("state.json was changed by somebody else: it has been set aside and changes nothing", "file", aside, "to_apply_it", ToApply(aside))
	}
	err = WriteFile(v.Sums, v.Sums+".tmp", 0o640, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(append(slices.Clone(v.stands), sum), "\n")+"\n")
		return err
	})
	if err != nil {
		return err
	}
	return os.Rename(tmp, v.Path)
}

// render writes the state. What is sealed is so in memory.
func (v *View) render(w io.Writer, s *projection.State) error {
	if v.Key == nil {
		return WriteDocument(w, v.Node, s)
	}
	var b bytes.Buffer
	if err := WriteDocument(&b, v.Node, s); err != nil {
		return err
	}
	_, err := w.Write(v.Key.SealFile(filepath.Base(v.Path), b.Bytes()))
	return err
}

type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

// Inspect looks at state.json, before the first Write and at each. What this agent did not write last is set aside,
// whatever it is, so that it is not overwritten, and Inspect returns where it now is; "" when there was nothing to do.
func (v *View) Inspect() (aside string, err error) {
	foreign, err := v.Foreign()
	if err != nil || !foreign {
		return "", err
	}
	aside = v.aside()
	if err := os.Rename(v.Path, aside); err != nil {
		return "", fmt.Errorf("set %s aside: %w", v.Path, err)
	}
	return aside, SyncFolder(filepath.Dir(v.Path))
}

// aside is a name for what stands as state.json and is none of this agent's.
func (v *View) aside() string {
	return fmt.Sprintf("%s.set-aside-%s", v.Path, time.Now().UTC().Format("20060102-150405.000000"))
}

// Replace has data stand as state.json, as if somebody had put it there, and sets aside what stood there, under the name that it returns. When it returns nil
// that is durable; a crash leaves the one or the other, and what stood there has perhaps both names. What cannot be written, as on a full disk, changes no name.
func (v *View) Replace(data []byte) (aside string, err error) {
	tmp := v.Path + ".tmp"
	if err := prepare(v.Path, tmp, 0o640, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
		return "", err
	}
	aside = v.aside()
	if err := os.Link(v.Path, aside); err != nil { // a folder, or on a file system that has no links
		if err := os.Rename(v.Path, aside); err != nil {
			return "", fmt.Errorf("set %s aside: %w", v.Path, err)
		}
	}
	if err := os.Rename(tmp, v.Path); err != nil {
		return aside, err
	}
	return aside, SyncFolder(filepath.Dir(v.Path))
}

// Foreign reports whether something stands as state.json that this agent did not write last.
func (v *View) Foreign() (bool, error) {
	info, err := os.Lstat(v.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && v.mine != nil && os.SameFile(info, v.mine) &&
		info.Size() == v.mine.Size() && info.ModTime().Equal(v.mine.ModTime()) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sum, err := v.known(info)
	if err != nil {
		v.Log.Warn("whether this agent wrote state.json last cannot be told", "err", err)
	}
	if sum == "" {
		return true, nil
	}
	v.mine, v.stands = info, []string{sum}
	return false, nil
}

// known is the checksum of state.json if this agent wrote it last; otherwise "".
func (v *View) known(info fs.FileInfo) (string, error) {
	if !info.Mode().IsRegular() {
		return "", nil
	}
	f, err := os.Open(v.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read %s: %w", v.Path, err)
	}
	b, err := os.ReadFile(v.Sums)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	found := hex.EncodeToString(sum.Sum(nil))
	if !slices.Contains(strings.Fields(string(b)), found) {
		return "", nil
	}
	return found, nil
}
