package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// bed is a running ledger on a log of its own, with objects in its state, and a plain file beside the log, on the same
// disk, for what it is compared with.
type bed struct {
	dir    string
	n      int // objects in the state
	all    *objects
	log    *events.Log
	ledger *projection.Ledger
	raw    *os.File
	block  []byte // what is written to raw, as far as needed

	stop context.CancelFunc
	done *errgroup.Group
	made int // versions made so far
}

// openBed makes a bed of n objects, of objectSize or smallSize each, in a new folder below dir.
func openBed(ctx context.Context, dir string, n, size int) (b *bed, err error) {
	if dir, err = os.MkdirTemp(dir, "ledger-"); err != nil {
		return nil, err
	}
	b = &bed{dir: dir, n: n, block: make([]byte, 1<<20)}
	for i := range b.block {
		b.block[i] = byte(i)
	}
	if b.all, err = newObjects(size); err != nil {
		return nil, err
	}
	if b.log, err = events.Open(filepath.Join(dir, "events"), events.Options{}); err != nil {
		return nil, err
	}
	if b.raw, err = os.OpenFile(filepath.Join(dir, "raw"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640); err != nil {
		return nil, errors.Join(err, b.log.Close())
	}
	if b.ledger, err = projection.OpenLedger(b.log, nil, 1, nil); err != nil {
		return nil, errors.Join(err, b.log.Close(), b.raw.Close())
	}
	b.ledger.Node = "bench"
	var run context.Context
	run, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	b.done = &errgroup.Group{}
	b.done.Go(func() error { return b.ledger.Run(run) })
	if err := b.fill(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// close ends the bed and removes its files.
func (b *bed) close() error {
	b.stop()
	return errors.Join(b.done.Wait(), b.log.Close(), b.raw.Close(), os.RemoveAll(b.dir))
}

// fill puts the objects into the state, many in a commit.
func (b *bed) fill(ctx context.Context) error {
	const many = 500
	for from := 0; from < b.n; from += many {
		var changes []projection.Change
		for i := from; i < min(from+many, b.n); i++ {
			changes = append(changes, projection.Change{Kind: events.Declared, Key: key(i), Object: b.all.of(i, 0)})
		}
		if err := b.record(ctx, changes...); err != nil {
			return fmt.Errorf("fill the state: %w", err)
		}
	}
	return nil
}

func (b *bed) record(ctx context.Context, changes ...projection.Change) error {
	by := projection.By{Actor: "bench", Cause: "apply"}
	_, err := b.ledger.Record(ctx, by, func(*projection.State) ([]projection.Change, error) { return changes, nil })
	return err
}

// change is the v-th change: the next version of one object or another, in an order that jumps about in the state.
func (b *bed) change(v int) projection.Change {
	i := v * 7919 % b.n
	return projection.Change{Kind: events.Declared, Key: key(i), Object: b.all.of(i, v)}
}

// apply records one change. How long it took is without the making of the object.
func (b *bed) apply(ctx context.Context) (time.Duration, error) {
	b.made++
	change := b.change(b.made)
	began := time.Now()
	err := b.record(ctx, change)
	return time.Since(began), err
}

// applySize is how much the log grows by one apply.
func (b *bed) applySize(ctx context.Context) (int, error) {
	was := b.log.Stats().Bytes
	_, err := b.apply(ctx)
	return int(b.log.Stats().Bytes - was), err
}

// write appends n bytes to the plain file and makes them durable.
func (b *bed) write(n int) (time.Duration, error) {
	began := time.Now()
	if _, err := b.raw.Write(b.block[:n]); err != nil {
		return 0, err
	}
	err := b.raw.Sync()
	return time.Since(began), err
}
