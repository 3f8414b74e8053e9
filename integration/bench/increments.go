package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/podman-swarm/podman-swarm/snapshot"
)

// increments measures (o): how many bytes go to the backups for a thousand changes, as increments and as another full copy.
func (b *bench) increments(ctx context.Context) (rows []row, err error) {
	objects, changes := b.scale(10_000, 1000), b.scale(1000, 100)
	bed, err := openBed(ctx, b.dir, objects, objectSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	quiet := slog.New(slog.DiscardHandler)
	backups := &snapshot.Backups{Dir: filepath.Join(bed.dir, "backups"), Node: "bench", Ledger: bed.ledger, Compress: true, Log: quiet}
	inc := &snapshot.Increments{Backups: backups, Source: bed.log, Log: quiet}
	backups.Of = inc.Of
	if err := inc.Once(ctx); err != nil { // makes the backup that they go on from
		return nil, err
	}
	said := inc.Said()
	var took time.Duration
	for range 10 { // as they would come in the course of an hour
		for range changes / 10 {
			if _, err := bed.apply(ctx); err != nil {
				return nil, err
			}
		}
		began := time.Now()
		if err := inc.Once(ctx); err != nil {
			return nil, err
		}
		took = max(took, time.Since(began))
	}
	grown := float64(inc.Said().Bytes - said.Bytes)
	full, err := backups.Create(ctx, "to compare", false)
	if err != nil {
		return nil, err
	}
	backups.Compress = false
	plain, err := backups.Create(ctx, "to compare", false)
	if err != nil {
		return nil, err
	}
	what := count(changes) + " changes, " + count(objects) + " objects"
	return []row{
		row{Figure: "o  increments, " + what, Ours: size(grown), With: "one full copy, compressed", Theirs: size(float64(full.Bytes)), Ratio: grown / float64(full.Bytes)},
		row{Figure: "o  increments, " + what, Ours: size(grown), With: "one full copy, plain", Theirs: size(float64(plain.Bytes)), Ratio: grown / float64(plain.Bytes)}.
			note("in ten increments, with their seals; the longest took %s, its fsyncs included. That the changes are of a kind helps their compression", span(took)),
	}, nil
}
