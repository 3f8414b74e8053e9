package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// stateSizes are how many objects there are in the state when something is applied to it.
func (b *bench) stateSizes() []int {
	if b.short {
		return []int{10, 1000}
	}
	return []int{10, 100, 1_000, 10_000, 100_000}
}

// appends measures (a): what one durable commit costs beyond the disk, and whether that grows with the state.
func (b *bench) appends(ctx context.Context) (rows []row, err error) {
	var all, ours, theirs []*series
	var bytes int
	sizes := b.stateSizes()
	for _, n := range sizes {
		bed, err := openBed(ctx, b.dir, n, objectSize)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, bed.close()) }()
		if bytes, err = bed.applySize(ctx); err != nil {
			return nil, err
		}
		name := count(n) + " objects"
		o := &series{name: name, once: func() (time.Duration, error) { return bed.apply(ctx) }}
		t := &series{name: name + ", raw", once: func() (time.Duration, error) { return bed.write(bytes) }}
		ours, theirs, all = append(ours, o), append(theirs, t), append(all, o, t)
	}
	if err := interleave(ctx, b.scale(3000, 50), all...); err != nil {
		return nil, err
	}
	var ratios []float64
	for i, n := range sizes {
		r := ours[i].over(theirs[i])
		ratios = append(ratios, r)
		rows = append(rows, row{
			Figure: fmt.Sprintf("a  apply, %s objects in the state", count(n)),
			Ours:   span(ours[i].median()), With: fmt.Sprintf("write+fsync of the same %s bytes", count(bytes)),
			Theirs: span(theirs[i].median()), Ratio: r,
		}.aim("<= 1.3", r <= 1.3))
	}
	flat := slices.Max(ratios) / slices.Min(ratios)
	rows = append(rows, row{
		Figure: "a  flat", Ours: digits(slices.Max(ratios)), With: "the best ratio above", Theirs: digits(slices.Min(ratios)),
		Ratio: flat,
	}.aim("<= 1.2", flat <= 1.2).note("%d times each, the sizes in turn too; objects of %s bytes; 9 of 10 applies at %s objects take at most %s, raw %s",
		len(ours[0].took), count(objectSize), count(sizes[len(sizes)-1]),
		span(ours[len(ours)-1].quantile(0.9)), span(theirs[len(theirs)-1].quantile(0.9))))
	return rows, nil
}
