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

// spread measures (i): from an apply on one host until all others show it, and what it costs the one who applies. Each
// size is measured by itself, beside a host that is alone and what it is compared with: the beats of fifty hosts in this
// process would be in the figures of three.
func (b *bench) spread(ctx context.Context) (rows []row, err error) {
	raw, err := openBed(ctx, b.dir, 1, objectSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	three, err := openBare(ctx, 3)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, three.close()) }()
	lone, err := b.filled(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lone.close()) }()
	var costs []row
	for _, n := range b.clusterSizes()[1:] {
		more, cost, err := b.spreadThrough(ctx, n, lone, raw, three)
		if err != nil {
			return rows, err
		}
		rows, costs = append(rows, more...), append(costs, cost)
	}
	return append(rows, costs...), nil
}

// filled is a cluster of n hosts that sync, with objects.
func (b *bench) filled(ctx context.Context, n int) (*cluster, error) {
	c, err := openCluster(ctx, b.dir, n, n > onDisk, objectSize)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.join(ctx), c.fill(ctx, clusterObjects)); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (b *bench) spreadThrough(ctx context.Context, n int, lone *cluster, raw *bed, three *bare) (rows []row, cost row, err error) {
	c, err := b.filled(ctx, n)
	if err != nil {
		return nil, row{}, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	bytes, err := raw.applySize(ctx)
	if err != nil {
		return nil, row{}, err
	}
	m := spreading{hosts: n, apply: &series{name: "apply"}, show: &series{name: "shown"}}
	m.show.once = func() (time.Duration, error) {
		applied, shown, err := c.applyAndShow(ctx)
		m.apply.took = append(m.apply.took, applied)
		return shown, err
	}
	m.alone = &series{name: "apply on a host that is alone", once: func() (time.Duration, error) {
		applied, _, err := lone.applyAndShow(ctx)
		return applied, err
	}}
	m.way = timed("NATS", func() error { return three.send(ctx, raw.block[:bytes], 1) })
	m.fsync = &series{name: "fsync", once: func() (time.Duration, error) { return raw.write(bytes) }}
	if err := interleave(ctx, b.scale(300, 20), m.show, m.alone, m.way, m.fsync); err != nil {
		return nil, row{}, err
	}
	return m.rows(), m.cost(), nil
}

// spreading is what was measured of a cluster.
type spreading struct {
	hosts                          int
	apply, show, alone, way, fsync *series
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

func (m *spreading) rows() (rows []row) {
	where := ""
	if m.hosts > onDisk {
		where = ", logs of the others in memory"
	}
	for _, q := range []struct {
		name string
		of   float64
	}{{"median", 0.5}, {"p99", 0.99}} {
		ours, theirs := m.show.quantile(q.of), m.way.quantile(q.of)+m.fsync.quantile(q.of)
		r := row{Figure: fmt.Sprintf("i  apply until %d hosts show it%s, %s", m.hosts, where, q.name), Ours: span(ours),
			With: "bare NATS one way, 3 hosts, and one fsync", Theirs: span(theirs), Ratio: float64(ours) / float64(theirs)}
		if m.hosts == 3 && q.of == 0.99 {
			r = r.aim("<= 10 ms", ours <= 10*time.Millisecond).
				note("%d times, all in turn; one after the other there are two fsyncs, that of the first host and that of the others; the apply "+
					"takes %s, p99 %s, NATS %s, p99 %s, an fsync %s, p99 %s", len(m.way.took), span(m.apply.median()), span(m.apply.quantile(0.99)),
					span(m.way.median()), span(m.way.quantile(0.99)), span(m.fsync.median()), span(m.fsync.quantile(0.99)))
		}
		rows = append(rows, r)
	}
	return rows
}

func (m *spreading) cost() row {
	ratio := m.apply.over(m.alone)
	return row{Figure: fmt.Sprintf("i  apply with %d hosts", m.hosts), Ours: span(m.apply.median()), With: "apply with one host",
		Theirs: span(m.alone.median()), Ratio: ratio}.aim("<= 1.2", ratio <= 1.2)
}
