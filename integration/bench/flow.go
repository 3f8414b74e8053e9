package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/events"
)

// flow measures (j): how many events a second go through a cluster, from one host's clients to all hosts' disks.
func (b *bench) flow(ctx context.Context) (rows []row, err error) {
	for _, n := range b.clusterSizes()[1:] {
		r, err := b.flowThrough(ctx, n)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (b *bench) flowThrough(ctx context.Context, n int) (r row, err error) {
	c, err := openCluster(ctx, b.dir, n, n > onDisk, objectSize)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := errors.Join(c.join(ctx), c.fill(ctx, clusterObjects)); err != nil {
		return r, err
	}
	was := c.hosts[0].log.Stats().Bytes
	began := time.Now()
	applied, last, err := c.applyFor(ctx, time.Duration(b.scale(3000, 200))*time.Millisecond)
	if err != nil {
		return r, err
	}
	quick := time.Since(began)
	if err := c.spread(ctx, last); err != nil {
		return r, err
	}
	took := time.Since(began)
	var gaps, asked, dropped uint64
	for _, h := range c.hosts {
		st, _ := h.sync.Status()
		gaps, asked, dropped = gaps+st.Counts.Gaps, asked+st.Counts.Asked, dropped+h.mesh.Stats().Dropped
	}
	size := int(c.hosts[0].log.Stats().Bytes-was) / applied
	plain, err := openBare(ctx, n)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	times := min(applied, 20_000)
	began = time.Now()
	if err := plain.send(ctx, make([]byte, size), times); err != nil {
		return r, err
	}
	ours, theirs := float64(applied)/took.Seconds(), float64(times)/time.Since(began).Seconds()
	return row{Figure: fmt.Sprintf("j  sustained events through %d hosts", n), Ours: rate(ours),
		With: fmt.Sprintf("bare NATS, the same %s bytes each", count(size)), Theirs: rate(theirs), Ratio: ours / theirs}.
		note("%s applies by 64 clients of one host in %s, and %s more until all hosts had them; %s by all hosts together, which share "+
			"this machine's cores; NATS is told nothing but to carry them; gaps %d, asks %d, dropped messages %d",
			count(applied), span(quick), span(took-quick), rate(ours*float64(n)), gaps, asked, dropped), nil
}

// applyFor has 64 clients apply on the first host for so long, and gives how many applies that were, and the last.
func (c *cluster) applyFor(ctx context.Context, d time.Duration) (int, events.ID, error) {
	began := time.Now()
	return c.applyWhile(ctx, func(int64) bool { return time.Since(began) < d })
}

// applyWhile has 64 clients apply on the first host for as long as more says, which is told how many they have begun.
func (c *cluster) applyWhile(ctx context.Context, more func(begun int64) bool) (int, events.ID, error) {
	const clients = 64
	var group errgroup.Group
	var begun, last atomic.Int64
	base := c.made
	for range clients {
		group.Go(func() error {
			for {
				n := begun.Add(1)
				if !more(n) {
					begun.Add(-1)
					return nil
				}
				v := base + int(n)
				id, err := c.record(ctx, c.change(v, clusterObjects))
				if err != nil {
					return err
				}
				for was := last.Load(); int64(id.Seq) > was && !last.CompareAndSwap(was, int64(id.Seq)); was = last.Load() {
				}
			}
		})
	}
	err := group.Wait()
	c.made += int(begun.Load()) + clients
	return int(begun.Load()), events.ID{Inc: c.hosts[0].log.Incarnation(), Seq: uint64(last.Load())}, err
}
