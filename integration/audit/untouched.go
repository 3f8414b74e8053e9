package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// untouchedKinds are the copies that nobody has tampered with.
func untouchedKinds() []string {
	return []string{"as it was", "as it was, sealed", "trimmed", "increments", "increments, in part", "beside its writer", "writer killed", "writer killed, reopened", tornEnd}
}

// tornEnd is what a power cut leaves: of what was written last, and not yet noted to be durable, a part.
const tornEnd = "end torn"

// leave makes a copy that nobody tampers with, and has it looked at.
func (t *trying) leave(ctx context.Context, i int, dir string, rnd *rand.Rand) (func(*figures), error) {
	kind := untouchedKinds()[i%len(untouchedKinds())]
	c := &touched{dir: filepath.Join(dir, "events"), sealed: kind == "as it was, sealed"}
	from, _ := t.base.of(c)
	names, err := segments(from)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(kind, "increments") {
		err = t.base.keep(c, kind, rnd)
	} else {
		err = copyLog(from, c.dir, names[len(names)-1]) // the last one goes on
	}
	if err != nil {
		return nil, err
	}
	var said []string
	look := func() error {
		alone, peers, heads, err := t.found(ctx, dir, c)
		for by, v := range map[string]verdict{"by itself": alone, "with peers": peers, "with heads": heads} {
			if v.bad {
				said = append(said, fmt.Sprintf("copy %d, %s, %s: %s", i, kind, by, v.said))
			}
		}
		return err
	}
	torn, killed := false, strings.HasPrefix(kind, "writer killed") || kind == tornEnd
	switch {
	case kind == "trimmed":
		if err := trim(c.dir, rnd); err != nil {
			return nil, err
		}
	case killed:
		ends, err := killWriter(ctx, c.dir, t.base.own(), rnd)
		if err != nil {
			return nil, err
		}
		if kind == tornEnd {
			if err := tear(from, c.dir, names[len(names)-1], rnd); err != nil {
				return nil, err
			}
			ends = nil // a disk that keeps what it acknowledges keeps these
			if err := look(); err != nil {
				return nil, err
			}
		}
		t.holdTo(ctx, c.dir, ends, func(text string) { said = append(said, fmt.Sprintf("copy %d, %s: %s", i, kind, text)) })
		if kind != "writer killed" {
			if torn, err = reopen(c.dir); err != nil {
				return nil, err
			}
			t.holdTo(ctx, c.dir, ends, func(text string) { said = append(said, fmt.Sprintf("copy %d, %s: %s", i, kind, text)) })
		}
	case kind == "beside its writer":
		w, err := startWriter(ctx, c.dir, t.base.own())
		if err != nil {
			return nil, err
		}
		err = look()
		if _, kerr := w.kill(); err != nil || kerr != nil {
			return nil, errors.Join(err, kerr)
		}
	}
	if kind != "beside its writer" {
		if err := look(); err != nil {
			return nil, err
		}
	}
	return func(f *figures) {
		f.Untouched[kind]++
		f.FalseAlarm = append(f.FalseAlarm, said...)
		if killed {
			f.Killed++
		}
		if torn {
			f.Torn++
		}
	}, nil
}

// holdTo holds a log whose writer was killed to all that the writer had said is on disk.
func (t *trying) holdTo(ctx context.Context, dir string, ends []events.Known, bad func(string)) {
	if v := t.verify(ctx, dir, nil, nil, ends); v.bad {
		bad(v.said)
	}
}

// tear cuts the last segment off at some byte behind what the log had when its writer began, and what that has noted to be durable since.
func tear(from, dir, last string, rnd *rand.Rand) error {
	had, err := os.Stat(filepath.Join(from, last))
	if err != nil {
		return err
	}
	names, err := segments(dir)
	if err != nil {
		return err
	}
	name := names[len(names)-1]
	least, err := noted(dir, name)
	if err != nil {
		return err
	}
	if name == last {
		least = max(least, had.Size())
	}
	path := filepath.Join(dir, name)
	is, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, least+rnd.Int64N(is.Size()-least+1))
}

// noted is how many bytes of a segment MANIFEST says are durable. Of its two slots the newer one says more, or the same.
func noted(dir, name string) (bytes int64, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "MANIFEST"))
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return 0, err
	}
	const slotAt, segment, offset = 4096, 120, 128 // as events/watermark.go has them
	for ; len(b) >= offset+8; b = b[min(slotAt, len(b)):] {
		if binary.LittleEndian.Uint64(b[segment:]) == number {
			bytes = max(bytes, int64(binary.LittleEndian.Uint64(b[offset:])))
		}
	}
	return bytes, nil
}

// keep makes a copy that is trimmed, with its increments beside it: all of them, or, in part, the last.
func (b *base) keep(c *touched, kind string, rnd *rand.Rand) error {
	c.sealed = rnd.IntN(3) == 0
	gone, err := b.shorten(c, rnd)
	if err != nil {
		return err
	}
	if _, err = c.increment(gone, len(gone), nil); err == nil && kind == "increments, in part" {
		err = c.forget(rnd)
	}
	return err
}

// trim makes the log shorter at its front, as an agent does behind its backups.
func trim(dir string, rnd *rand.Rand) error {
	log, err := events.Open(dir, logOptions(nil))
	if err != nil {
		return err
	}
	err = log.Trim(1 + rnd.Uint64N(log.End().Index))
	return errors.Join(err, log.Close())
}

// reopen opens a log after a crash and closes it, and reports whether an unfinished end was cut off.
func reopen(dir string) (torn bool, err error) {
	log, err := events.Open(dir, logOptions(nil))
	if err != nil {
		return false, err
	}
	aside, err := filepath.Glob(filepath.Join(dir, "*.torn-*"))
	return len(aside) > 0, errors.Join(err, log.Close())
}

// writeTo is the environment variable that makes this program write to the log in the folder that it names, until it is killed.
const writeTo = "AUDIT_WRITE_TO"

// write appends to a log, and says how far it is on disk, with the hash there.
func write(dir string) error {
	log, err := events.Open(dir, logOptions(nil))
	if err != nil {
		return err
	}
	a := author{host: us, inc: log.Incarnation(), time: events.LastTime / 2}
	a.last, a.hash = log.Head(a.inc)
	rnd := rand.New(rand.NewPCG(a.last, uint64(os.Getpid())))
	for {
		var batch []events.Entry
		for range 1 + rnd.IntN(40) {
			e, err := a.next(rnd)
			if err != nil {
				return err
			}
			batch = append(batch, e)
		}
		if err := log.Append(batch); err != nil {
			return err
		}
		fmt.Println(a.last, a.hash)
	}
}

// writer is this program, writing to a log.
type writer struct {
	cmd *exec.Cmd
	out *bufio.Reader
	inc events.Incarnation
}

// startWriter returns when it has written something.
func startWriter(ctx context.Context, dir string, inc events.Incarnation) (*writer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &writer{cmd: exec.CommandContext(ctx, self), inc: inc}
	w.cmd.Env = append(os.Environ(), writeTo+"="+dir)
	w.cmd.Stderr = os.Stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	w.out = bufio.NewReader(out)
	_, err = w.out.Peek(1)
	return w, err
}

// kill kills it, and gives what it had said.
func (w *writer) kill() (ends []events.Known, err error) {
	if err := w.cmd.Process.Kill(); err != nil {
		return nil, err
	}
	for {
		line, err := w.out.ReadString('\n')
		if errors.Is(err, io.EOF) { // what is not a whole line was not said
			break
		}
		if err != nil {
			return nil, err
		}
		k := events.Known{Inc: w.inc, Host: us, From: "the writer"}
		if _, err := fmt.Sscan(line, &k.Seq, &k.Hash); err != nil {
			return nil, err
		}
		ends = append(ends, k)
	}
	_ = w.cmd.Wait() // which says that it was killed
	return ends, nil
}

// killWriter has a writer write for some moments, and kills it in the middle.
func killWriter(ctx context.Context, dir string, inc events.Incarnation, rnd *rand.Rand) ([]events.Known, error) {
	w, err := startWriter(ctx, dir, inc)
	if err != nil {
		return nil, err
	}
	at := time.NewTimer(time.Duration(rnd.Int64N(int64(60 * time.Millisecond))))
	defer at.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-at.C:
	}
	return w.kill()
}
