package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// replay measures (d): how fast the log becomes the state, on one core.
func (b *bench) replay(ctx context.Context) (rows []row, err error) {
	dir, err := os.MkdirTemp(b.dir, "replay-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n, keys := b.scale(1_000_000, 100_000), b.scale(10_000, 1_000)
	log, err := fillLog(ctx, dir, n, keys)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	fold := &series{name: "replay and fold", once: func() (time.Duration, error) {
		return onCore(func() error { return foldAll(log, keys) })
	}}
	read := &series{name: "bare read", once: func() (time.Duration, error) {
		return onCore(func() error { return bareRead(dir, log.Stats().Bytes) })
	}}
	only := &series{name: "replay without fold", once: func() (time.Duration, error) {
		return onCore(func() error { return log.Scan(1, func(events.Record) error { return nil }) })
	}}
	if err := interleave(ctx, b.scale(7, 2), fold, read, only); err != nil {
		return nil, err
	}
	perSecond := func(s *series) float64 { return float64(n) * s.perSecond() }
	bytes := log.Stats().Bytes
	what := fmt.Sprintf("%s events", count(n))
	return []row{
		row{Figure: "d  replay and fold of " + what, Ours: rate(perSecond(fold)), With: "a bare CRC-32C read of the same files",
			Theirs: rate(perSecond(read)), Ratio: perSecond(fold) / perSecond(read)}.
			aim(">= 1,000,000/s", perSecond(fold) >= 1_000_000).
			note("each an apply of its own to one of %s keys: objects of %s bytes, %s on disk for each, %s in all, from the page cache; "+
				"per second of one core's time (user and system, GOMAXPROCS=1), so that others on the machine do not count",
				count(keys), count(objectSize), size(float64(bytes)/float64(n)), size(float64(bytes))),
		{Figure: "d  replay alone, checks and all", Ours: rate(perSecond(only)), With: "a bare CRC-32C read of the same files",
			Theirs: rate(perSecond(read)), Ratio: perSecond(only) / perSecond(read)},
	}, nil
}

// fillLog makes a log of n events, each a commit of its own, that go round the keys.
func fillLog(ctx context.Context, dir string, n, keys int) (*events.Log, error) {
	log, err := events.Open(dir, events.Options{})
	if err != nil {
		return nil, err
	}
	if err := fillEvents(ctx, log, n, keys); err != nil {
		return nil, errors.Join(fmt.Errorf("fill the log: %w", err), log.Close())
	}
	return log, nil
}

func fillEvents(ctx context.Context, log *events.Log, n, keys int) error {
	all, err := newObjects(objectSize)
	if err != nil {
		return err
	}
	var prev events.Hash
	newest := make([]events.Event, keys)
	clock := events.NewClock(nil)
	batch := make([]events.Entry, 0, 1000)
	for i := range n {
		k := i * 7919 % keys
		c := events.Commit{Inc: log.Incarnation(), Seq: uint64(i + 1), Time: clock.After(0), Prev: prev, Node: "bench", Actor: "bench", Cause: "apply"}
		e := events.Event{Kind: events.Declared, Key: key(k), UID: newest[k].UID, Base: newest[k].Base, Object: all.of(k, i/keys)}
		if e.UID.IsZero() {
			e.UID = c.ID(0)
		}
		c.Events = []events.Event{e}
		newest[k].UID, newest[k].Base = e.UID, c.Stamp(0)
		payload, err := c.Append(nil)
		if err != nil {
			return err
		}
		prev = events.HashOf(payload)
		batch = append(batch, events.Entry{Payload: payload, Count: 1, Hash: prev, Inc: c.Inc, Seq: c.Seq})
		if len(batch) == cap(batch) || i == n-1 {
			if err := errors.Join(ctx.Err(), log.Append(batch)); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}

func foldAll(log *events.Log, keys int) error {
	l, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		return err
	}
	if got := l.View().Len(); got != keys {
		return fmt.Errorf("%d objects folded, want %d", got, keys)
	}
	return nil
}

// bareRead reads the log's segments and sums them, and does nothing else.
func bareRead(dir string, want int64) error {
	segments, err := filepath.Glob(filepath.Join(dir, "0*"))
	if err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	table := crc32.MakeTable(crc32.Castagnoli)
	var sum uint32
	var read int64
	for _, name := range segments {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		for err == nil {
			var n int
			n, err = f.Read(buf)
			sum = crc32.Update(sum, table, buf[:n])
			read += int64(n)
		}
		if err = errors.Join(errorBut(err, io.EOF), f.Close()); err != nil {
			return err
		}
	}
	if read != want {
		return fmt.Errorf("%d bytes in the segments, want %d", read, want)
	}
	runtime.KeepAlive(sum)
	return nil
}

// errorBut is err, unless it is the one that was to be expected.
func errorBut(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// onCore is how much of a core's time do takes, what it leaves for the garbage collector included.
func onCore(do func() error) (time.Duration, error) {
	runtime.GC()
	was, err := cpu()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	is, err := cpu()
	return is - was, err
}

// cpu is the time that this process has spent on a core, in itself and in the kernel.
func cpu() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
