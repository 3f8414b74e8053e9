package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// window is how long each side writes before it is the other's turn.
const window = 50 * time.Millisecond

// writers measures (b): how many durable applies fit in a second when several clients apply at once.
func (b *bench) writers(ctx context.Context) (rows []row, err error) {
	for _, size := range []int{objectSize, smallSize} {
		more, err := b.writersOf(ctx, size)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func (b *bench) writersOf(ctx context.Context, size int) (rows []row, err error) {
	bed, err := openBed(ctx, b.dir, 1000, size)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	bytes, err := bed.applySize(ctx)
	if err != nil {
		return nil, err
	}
	var all, ours, shared []*series
	raw := &series{name: "raw fsyncs", once: func() (time.Duration, error) { return bed.writeFor(window, bytes, 1) }}
	all = append(all, raw)
	numbers := []int{1, 8, 64}
	for _, n := range numbers {
		o := &series{name: fmt.Sprintf("%d writers", n),
			once: func() (time.Duration, error) { return bed.applyFor(ctx, window, n) }}
		s := &series{name: fmt.Sprintf("raw, %d at once", n),
			once: func() (time.Duration, error) { return bed.writeFor(window, bytes, n) }}
		ours, shared, all = append(ours, o), append(shared, s), append(all, o, s)
	}
	if err := interleave(ctx, b.scale(100, 4), all...); err != nil {
		return nil, err
	}
	for i, n := range numbers {
		figure := fmt.Sprintf("b  %d writers, objects of %s bytes", n, count(size))
		against := func(with string, theirs *series) row {
			return row{Figure: figure, Ours: rate(ours[i].perSecond()), With: with, Theirs: rate(theirs.perSecond()),
				Ratio: ours[i].perSecond() / theirs.perSecond()}
		}
		rows = append(rows, against("raw fsyncs, one apply's bytes in each", raw))
		if n > 1 {
			rows = append(rows, against(fmt.Sprintf("raw fsyncs, %d applies' bytes in each", n), shared[i]))
		}
	}
	most, last := ours[len(ours)-1], &rows[len(rows)-1]
	*last = last.aim(">= 50,000/s", most.perSecond() >= 50_000).
		note("windows of %v in turn, %d each, 1,000 objects in the state; the best tenth of the windows: %s",
			window, len(raw.took), rate(float64(time.Second)/float64(most.quantile(0.1))))
	return rows, nil
}

// applyFor has n writers apply one change after the other for a while, and returns how long each change took of it.
func (b *bed) applyFor(ctx context.Context, d time.Duration, n int) (time.Duration, error) {
	var group errgroup.Group
	var applied atomic.Int64
	began := time.Now()
	for w := range n {
		v := b.made + w
		group.Go(func() error {
			for ; time.Since(began) < d; v += n {
				if err := b.record(ctx, b.change(v)); err != nil {
					return err
				}
				applied.Add(1)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	took := time.Since(began)
	b.made += int(applied.Load()) + n
	return took / time.Duration(applied.Load()), nil
}

// writeFor makes the bytes of many changes durable with one raw write and fsync, again and again for a while, and
// returns how long each change took of it.
func (b *bed) writeFor(d time.Duration, bytes, many int) (time.Duration, error) {
	var fsyncs int
	began := time.Now()
	for time.Since(began) < d {
		if _, err := b.write(bytes * many); err != nil {
			return 0, err
		}
		fsyncs++
	}
	return time.Since(began) / time.Duration(fsyncs*many), nil
}
