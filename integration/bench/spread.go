package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// clusterObjects is how many objects there are in the state of a measured cluster.
const clusterObjects = 1000

// clusterSizes are how many hosts the measured clusters in this process have.
func (b *bench) clusterSizes() []int {
	if b.short {
		return []int{1, 3, 5}
	}
	return []int{1, 3, 10, 50}
}

// onDisk is up to how many hosts in this process all have their logs on the measured disk. Of larger clusters only the
// first has, and the others in memory: they stand for machines with a disk each.
const onDisk = 3

// spread measures (i): from an apply on one host until all others show it, and what it costs the one who applies.
func (b *bench) spread(ctx context.Context) (rows []row, err error) {
	var all, applies, shows []*series
	for _, n := range b.clusterSizes() {
		c, err := openCluster(ctx, b.dir, n, n > onDisk, objectSize)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		if err := errors.Join(c.join(ctx), c.fill(ctx, clusterObjects)); err != nil {
			return nil, err
		}
		apply := &series{name: fmt.Sprintf("apply, %d hosts", n)}
		show := &series{name: fmt.Sprintf("shown by %d hosts", n)}
		show.once = func() (time.Duration, error) {
			applied, shown, err := c.applyAndShow(ctx)
			apply.took = append(apply.took, applied)
			return shown, err
		}
		applies, shows, all = append(applies, apply), append(shows, show), append(all, show)
	}
	raw, err := openBed(ctx, b.dir, 1, objectSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	bytes, err := raw.applySize(ctx)
	if err != nil {
		return nil, err
	}
	three, err := openBare(ctx, 3)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, three.close()) }()
	way := timed("NATS", func() error { return three.send(ctx, raw.block[:bytes], 1) })
	fsync := &series{name: "fsync", once: func() (time.Duration, error) { return raw.write(bytes) }}
	if err := interleave(ctx, b.scale(300, 20), append(all, way, fsync)...); err != nil {
		return nil, err
	}
	return spreadRows(b.clusterSizes(), applies, shows, way, fsync), nil
}

// applyAndShow applies one change on the first host: how long that took, and how long until all others showed it.
func (c *cluster) applyAndShow(ctx context.Context) (applied, shown time.Duration, err error) {
	change := c.next(clusterObjects)
	began := time.Now()
	id, err := c.record(ctx, change)
	applied = time.Since(began)
	if err != nil {
		return applied, 0, err
	}
	err = c.spread(ctx, id)
	return applied, time.Since(began), err
}

func spreadRows(sizes []int, applies, shows []*series, way, fsync *series) (rows []row) {
	for i, n := range sizes {
		if n == 1 {
			continue
		}
		where := ""
		if n > onDisk {
			where = ", logs of the others in memory"
		}
		for _, q := range []struct {
			name string
			of   float64
		}{{"median", 0.5}, {"p99", 0.99}} {
			theirs := way.quantile(q.of) + fsync.quantile(q.of)
			r := row{Figure: fmt.Sprintf("i  apply until %d hosts show it%s, %s", n, where, q.name), Ours: span(shows[i].quantile(q.of)),
				With: "bare NATS one way, 3 hosts, and one fsync", Theirs: span(theirs), Ratio: float64(shows[i].quantile(q.of)) / float64(theirs)}
			if n == 3 && q.of == 0.99 {
				r = r.aim("<= 10 ms", shows[i].quantile(q.of) <= 10*time.Millisecond).
					note("%d times, all in turn; one after the other there are two fsyncs, that of the first host and that of the others; NATS takes %s, "+
						"p99 %s, an fsync %s, p99 %s", len(way.took), span(way.median()), span(way.quantile(0.99)), span(fsync.median()), span(fsync.quantile(0.99)))
			}
			rows = append(rows, r)
		}
	}
	for i, n := range sizes[1:] {
		ratio := applies[i+1].over(applies[0])
		r := row{Figure: fmt.Sprintf("i  apply with %d hosts", n), Ours: span(applies[i+1].median()), With: "apply with one host",
			Theirs: span(applies[0].median()), Ratio: ratio}.aim("<= 1.2", ratio <= 1.2)
		rows = append(rows, r)
	}
	return rows
}
