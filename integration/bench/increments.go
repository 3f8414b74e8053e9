package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// forNobody is a public key whose secret half nobody has.
const forNobody = "age1chxwvvwgaqpnts00uj7mlk07sfnnhr5kzrq0pdn8qqkhshce8p7q8d0agn"

// increments measures (o): how many bytes an hour go to the backups at a thousand changes an hour, as increments, plain and sealed, and as a full copy each hour,
// which has of those changes only what each object came to.
func (b *bench) increments(ctx context.Context) (rows []row, err error) {
	objects, changes := b.scale(10_000, 1000), b.scale(1000, 100)
	bed, err := openBed(ctx, b.dir, objects, objectSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	var key seal.For
	if err := key.Add(forNobody); err != nil {
		return nil, err
	}
	passphrase, err := seal.Passphrase("correct horse battery staple")
	if err != nil {
		return nil, err
	}
	all := []*kept{bed.keep("plain", seal.For{}), bed.keep("sealed", key), bed.keep("passphrase", passphrase)}
	for turn := range 11 { // the first makes the backup that they go on from; the others are as they would come in the course of an hour
		for range min(turn, 1) * changes / 10 {
			if _, err := bed.apply(ctx); err != nil {
				return nil, err
			}
		}
		for _, k := range all {
			if err := k.once(ctx, turn > 0); err != nil {
				return nil, err
			}
		}
	}
	plain, sealed := all[0], all[1]
	backups := plain.inc.Backups
	full, err := backups.Create(ctx, "to compare", false)
	if err != nil {
		return nil, err
	}
	backups.Compress = false
	readable, err := backups.Create(ctx, "to compare", false)
	if err != nil {
		return nil, err
	}
	grown := make([]float64, len(all))
	for i, k := range all {
		if grown[i], err = k.bytes(); err != nil {
			return nil, err
		}
	}
	what := "o  bytes an hour by increments, " + count(changes) + " changes an hour, " + count(objects) + " objects"
	against := func(with string, theirs float64) row {
		return row{Figure: what, Ours: size(grown[0]), With: with, Theirs: size(theirs), Ratio: grown[0] / theirs}
	}
	return []row{
		against("a full copy each hour, compressed", float64(full.Bytes)),
		against("a full copy each hour, plain", float64(readable.Bytes)).
			note("in ten increments, with their checksums; the longest took %s, its fsyncs included. That the changes are of a kind helps their compression", span(plain.took)),
		row{Figure: what + ", sealed for a key", Ours: size(grown[1]), With: "not sealed", Theirs: size(grown[0]), Ratio: grown[1] / grown[0]}.
			note("with what stands in clear beside each; the longest took %s. By a passphrase they are %s, and the longest took %s, most of it for the passphrase", span(sealed.took),
				size(grown[2]), span(all[2].took)),
	}, nil
}

// kept are the increments of a bed, sealed in one way.
type kept struct {
	inc  *snapshot.Increments
	took time.Duration // the longest
}

// keep has a bed keep increments.
func (b *bed) keep(name string, whom seal.For) *kept {
	quiet := slog.New(slog.DiscardHandler)
	backups := &snapshot.Backups{Dir: filepath.Join(b.dir, "backups-"+name), Node: "bench", Ledger: b.ledger, Compress: true, For: whom, Log: quiet}
	k := &kept{inc: &snapshot.Increments{Backups: backups, Source: b.log, Log: quiet}}
	backups.Of = k.inc.Find
	return k
}

// once makes an increment of what was appended since the last.
func (k *kept) once(ctx context.Context, measured bool) error {
	began := time.Now()
	err := k.inc.Once(ctx)
	if measured {
		k.took = max(k.took, time.Since(began))
	}
	return err
}

// bytes is the size of the increments, and of what stands beside them.
func (k *kept) bytes() (sum float64, err error) {
	err = filepath.WalkDir(filepath.Join(k.inc.Backups.Dir, snapshot.IncrementsFolder), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sum += float64(info.Size())
		}
		return err
	})
	return sum, err
}
