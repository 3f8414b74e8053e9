package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
)

// checkAudit gives the mistakes in what is said of the audit file.
func (c *config) checkAudit() (errs []error) {
	if c.AuditFile != "" {
		abs, err := filepath.Abs(c.AuditFile)
		if err != nil {
			return []error{fmt.Errorf("--audit-file: %w", err)}
		}
		c.AuditFile = abs
	}
	if c.AuditFileSize != "0" {
		var err error
		if c.auditMost, err = parseSize(c.AuditFileSize); err != nil || c.auditMost <= 0 {
			errs = append(errs, fmt.Errorf("--audit-file-size %q: want a size like 100MiB, or 0", c.AuditFileSize))
		}
	}
	if c.AuditFileKeep < 0 {
		errs = append(errs, fmt.Errorf("--audit-file-keep %d: must not be negative", c.AuditFileKeep))
	}
	return errs
}

// openTail has the log be read for all who follow it, and the audit file be written.
func (a *agent) openTail() {
	a.tail = &tail.Tail{ID: a.events.ID(), Read: a.history.Read, First: a.events.First, Log: a.part("tail"), View: func() (uint64, <-chan struct{}) {
		v := a.ledger.View()
		return v.OnDisk().Index(), v.Changed
	}}
	a.audit = &audit{tail: a.tail, path: a.c.AuditFile, most: a.c.auditMost, keep: a.c.AuditFileKeep, log: a.part("audit")}
}

// keepAudit writes the audit file, and opens it anew when told to by SIGHUP: also where there is none, that must not end
// the agent.
func (a *agent) keepAudit(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	a.audit.reopen = hup
	return a.audit.Run(ctx)
}

// audit writes every event of the log to a file, one line of JSON each, for those who ship logs. Its fields are its
// configuration.
//
// It reads the log at its own pace and holds up nobody. Where it goes on after a start it finds by the last line of the
// file, and each file begins with a line that says so if it has no other (a bookmark). When the file cannot be written, that is said
// once and counted, and what happens meanwhile is caught up from the log. A crash leaves an unfinished line at most, which
// is cut off and written again.
type audit struct {
	tail   *tail.Tail
	path   string // "": nothing is written
	most   int64  // bytes after which the next file is begun; 0: never
	keep   int    // how many earlier files stay; 0: all
	log    *slog.Logger
	reopen <-chan os.Signal // opens the file anew, which somebody else has moved away; nil: never
	every  time.Duration    // how soon after a failure it is tried again; zero: 5 s

	file   *os.File
	size   int64
	events bool          // the file holds one, not a bookmark alone
	last   tail.Position // of the last line
	synced time.Time
	dirty  bool // something was written since

	wrong   atomic.Pointer[string] // why it cannot be written
	errors  atomic.Uint64          // how often it could not
	wrote   atomic.Uint64          // events
	reached atomic.Uint64          // the index of the last line
}

// goOn has what follows p be written next.
func (a *audit) goOn(p tail.Position) {
	a.last = p
	a.reached.Store(p.Index)
}

// lag is how many events the log has after the last that is in the file, as far as that was read.
func (a *audit) lag() uint64 {
	end, _ := a.tail.View()
	return end - min(end, a.reached.Load())
}

// problems is what a person ought to see of it.
func (a *audit) problems() []api.Problem {
	why := a.wrong.Load()
	if why == nil {
		return nil
	}
	return []api.Problem{{What: "the audit file cannot be written", Why: *why,
		Do: "make room or mend it; what it lacks is then caught up from the log"}}
}

// Run writes until ctx ends.
func (a *audit) Run(ctx context.Context) error {
	if a.path == "" {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-a.reopen:
				a.log.Info("told to open the audit file anew, and there is none (--audit-file)")
			}
		}
	}
	defer a.tail.Join()()
	defer func() { a.close() }()
	for ctx.Err() == nil {
		err := a.write(ctx)
		if ctx.Err() != nil {
			break
		}
		a.say(err)
		wait := time.Second // no longer, to see a signal
		if err != nil {
			a.close()
			if wait = a.every; wait == 0 {
				wait = 5 * time.Second
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			continue
		}
		pause, cancel := context.WithTimeout(ctx, wait)
		_ = a.tail.Wait(pause, a.last.Index) // whatever ended it, the next round looks
		cancel()
		select {
		case <-a.reopen:
			a.close()
			a.log.Info("the audit file is opened anew", "path", a.path)
		default:
		}
	}
	return nil
}

// say says once that the file cannot be written, and once that it can again.
func (a *audit) say(err error) {
	was := a.wrong.Load()
	switch {
	case err != nil && was == nil:
		a.log.Warn("the audit file cannot be written; what it lacks will be caught up from the log", "err", err)
	case err == nil && was != nil:
		a.log.Info("the audit file is written again", "after", a.last.String())
	}
	if err == nil {
		a.wrong.Store(nil)
		return
	}
	a.errors.Add(1)
	why := err.Error()
	a.wrong.Store(&why)
}

// write writes what the log has and the file has not.
func (a *audit) write(ctx context.Context) error {
	if a.file == nil {
		if err := a.open(ctx); err != nil {
			return err
		}
	}
	err := a.tail.Each(ctx, a.last.Index, a.put)
	var gone *tail.GoneError
	if errors.As(err, &gone) {
		return a.note(gone.Resume, gone.Error())
	}
	if err == nil && a.dirty && time.Since(a.synced) > time.Second {
		a.synced, a.dirty = time.Now(), false
		err = a.file.Sync()
	}
	return err
}

// put writes the lines of some records.
func (a *audit) put(items []*tail.Item) error {
	var b []byte
	last, n := a.last, 0
	for _, it := range items {
		for i, line := range it.Lines() {
			if p := it.Position(i); p.Index > last.Index {
				b = append(append(b, line...), '\n')
				last = p
				n++
			}
		}
	}
	if a.most > 0 && a.events && a.size+int64(len(b)) > a.most {
		if err := a.rotate(); err != nil {
			return err
		}
	}
	if err := a.append(b); err != nil {
		return err
	}
	a.goOn(last)
	a.events = a.events || n > 0
	a.wrote.Add(uint64(n))
	return nil
}

func (a *audit) append(b []byte) error {
	n, err := a.file.Write(b)
	a.size += int64(n)
	a.dirty = true
	return err
}

// note writes a line that is no event, and goes on from there.
func (a *audit) note(p tail.Position, why string) error {
	line := tail.Bookmark(p)
	if why != "" {
		a.log.Error("the audit file has a gap, or tells some events twice", "why", why, "from", p.String())
		text, err := json.Marshal(why)
		if err != nil {
			return err
		}
		line = fmt.Appendf(line[:len(line)-1], `,"why":%s}`, text)
	}
	if err := a.append(append(line, '\n')); err != nil {
		return err
	}
	a.goOn(p)
	return nil
}

func (a *audit) close() {
	if a.file == nil {
		return
	}
	if err := errors.Join(a.file.Sync(), a.file.Close()); err != nil {
		a.log.Debug("closing the audit file", "err", err)
	}
	a.file = nil
}

// open opens the file and finds out where to go on.
func (a *audit) open(ctx context.Context) (err error) {
	if a.file, err = os.OpenFile(a.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640); err != nil {
		a.file = nil
		return err
	}
	end, err := endOf(a.file)
	if err != nil {
		return err
	}
	if end.torn {
		if err := a.file.Truncate(end.size); err != nil {
			return fmt.Errorf("cut an unfinished line off %s: %w", a.path, err)
		}
	}
	a.size, a.events = end.size, end.events
	if end.size > 0 && end.position != nil {
		a.goOn(*end.position)
	} else if a.last == (tail.Position{}) {
		p, err := a.earlier()
		if err != nil {
			return err
		}
		a.goOn(p)
	}
	var gone *tail.GoneError
	var strange *tail.StrangeError
	switch err := a.tail.Check(ctx, a.last); {
	case errors.As(err, &gone):
		return a.note(gone.Resume, gone.Error())
	case errors.As(err, &strange): // rather twice than not at all
		return a.note(a.tail.At(0), strange.Error())
	case err != nil:
		return err
	}
	if a.size == 0 && a.last.Index > 0 {
		return a.note(a.last, "")
	}
	return nil
}

// rotate puts the file aside, named by the last event that it holds, and begins the next.
func (a *audit) rotate() error {
	if err := a.file.Sync(); err != nil {
		return err
	}
	aside := fmt.Sprintf("%s.%d", a.path, a.last.Index)
	if _, err := os.Lstat(aside); err == nil {
		return nil // it is of another log, which was here before: the next name will do
	}
	if err := os.Rename(a.path, aside); err != nil {
		return err
	}
	a.close()
	f, err := os.OpenFile(a.path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	a.file, a.size, a.events = f, 0, false
	if err := a.note(a.last, ""); err != nil {
		return err
	}
	return a.prune()
}

// prune removes the oldest of the files that rotate has put aside.
func (a *audit) prune() error {
	all, err := a.aside()
	if err != nil || a.keep == 0 {
		return err
	}
	for _, path := range all[:max(0, len(all)-a.keep)] {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// aside are the files that rotate has put aside, the oldest first: by when they were written, as a log that begins anew counts anew.
func (a *audit) aside() ([]string, error) {
	names, err := os.ReadDir(filepath.Dir(a.path))
	wrote := map[string]time.Time{}
	for _, e := range names {
		text, ours := strings.CutPrefix(e.Name(), filepath.Base(a.path)+".")
		if _, err := strconv.ParseUint(text, 10, 63); !ours || err != nil {
			continue
		}
		if st, err := e.Info(); err == nil {
			wrote[a.path+"."+text] = st.ModTime()
		}
	}
	return slices.SortedFunc(maps.Keys(wrote), func(x, y string) int {
		return cmp.Or(wrote[x].Compare(wrote[y]), cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	}), err
}
