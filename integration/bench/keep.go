package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/integration/trial"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// keep measures (p): making and reading backups, what an apply waits for while one is made, and what a restore would change.
func (b *bench) keep(ctx context.Context) (rows []row, err error) {
	n := b.scale(10_000, 1000)
	bed, err := openBed(ctx, b.dir, n, objectSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	backups := &snapshot.Backups{Dir: filepath.Join(bed.dir, "backups"), Node: "bench", Ledger: bed.ledger, Log: slog.New(slog.DiscardHandler)}
	var made snapshot.BackupFile
	create := timed("backup", func() (err error) {
		made, err = backups.Create(ctx, "bench", false)
		return err
	})
	if err := interleave(ctx, 1, create); err != nil {
		return nil, err
	}
	raw := timed("raw", func() error { return bed.writeNew(made.Bytes) })
	verify := timed("verify", func() error {
		_, err := backups.Read(made.Name)
		return err
	})
	sum := timed("sum", func() error {
		f, err := os.Open(filepath.Join(backups.Dir, made.Name))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(sha256.New(), f)
		return err
	})
	if err := interleave(ctx, b.scale(10, 3), create, raw, verify, sum); err != nil {
		return nil, err
	}
	what := count(n) + " objects"
	rows = []row{
		row{Figure: "p  backup of " + what, Ours: span(create.median()), With: "its bytes written, and synced", Theirs: span(raw.median()), Ratio: create.over(raw)}.
			aim("< 1 s", create.median() < time.Second).note("%s; with its folding state and checksum", sizeOf(made.Bytes)),
		row{Figure: "p  verify of " + what, Ours: span(verify.median()), With: "SHA-256 of its bytes", Theirs: span(sum.median()), Ratio: verify.over(sum)}.
			aim("< 2 s", verify.median() < 2*time.Second),
	}
	more, err := b.beside(ctx, bed, backups)
	if rows = append(rows, more...); err != nil {
		return rows, err
	}
	r, err := b.dryRun(ctx, n)
	return append(rows, r...), err
}

// writeNew makes a new file of so many bytes, durable.
func (b *bed) writeNew(n int64) error {
	f, err := os.Create(filepath.Join(b.dir, "new"))
	if err != nil {
		return err
	}
	defer f.Close()
	for ; n > 0; n -= int64(len(b.block)) {
		if _, err := f.Write(b.block[:min(n, int64(len(b.block)))]); err != nil {
			return err
		}
	}
	return f.Sync()
}

// beside measures applies while one backup after the other is made, and while none is.
func (b *bench) beside(ctx context.Context, bed *bed, backups *snapshot.Backups) ([]row, error) {
	n := b.scale(4000, 50)
	alone := &series{name: "apply", once: func() (time.Duration, error) { return bed.apply(ctx) }}
	if err := interleave(ctx, n, alone); err != nil {
		return nil, err
	}
	making, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	count := 0
	go func() {
		for making.Err() == nil {
			if _, err := backups.Create(making, "bench", false); err != nil && making.Err() == nil {
				ended <- err
				return
			}
			count++
		}
		ended <- nil
	}()
	with := &series{name: "apply", once: alone.once}
	err := interleave(ctx, n, with)
	stop()
	if err = errors.Join(err, <-ended); err != nil {
		return nil, err
	}
	return []row{row{Figure: "p  apply while backups are made without a pause", Ours: span(with.median()), With: "apply while none is", Theirs: span(alone.median()), Ratio: with.over(alone)}.
		aim("<= 1.2", with.over(alone) <= 1.2).
		note("%d backups meanwhile, which take one of the two cores; p99 %s, alone %s", count, span(with.quantile(0.99)), span(alone.quantile(0.99)))}, nil
}

// dryRun measures how long an agent takes to say what a restore would change.
func (b *bench) dryRun(ctx context.Context, n int) (rows []row, err error) {
	dir, err := os.MkdirTemp(b.dir, "agent-")
	if err != nil {
		return nil, err
	}
	a := &trial.Agent{Bin: filepath.Join(b.bin, "podman-swarm-agent"), DataDir: filepath.Join(dir, "data"), Podman: "unix://" + filepath.Join(dir, "none"),
		Output: filepath.Join(dir, "agent.log"), Args: []string{"--backup-interval", "0", "--backup-increment-interval", "0", "--recovery-delay", "0"}}
	if err := a.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Kill(), os.RemoveAll(dir)) }()
	c := a.Client()
	all, err := newObjects(objectSize)
	if err != nil {
		return nil, err
	}
	for {
		// It is never ready, since it has no Podman, and takes changes all the same.
		if _, err := trial.Apply(ctx, c, a.URL(), string(all.of(0, 0))); err == nil {
			break
		} else if a.Ended() || ctx.Err() != nil {
			return nil, fmt.Errorf("the agent does not answer: %w; it wrote:\n%s", err, a.OutputTail())
		}
		time.Sleep(10 * time.Millisecond)
	}
	fill := func(from, to, version int) error {
		for ; from < to; from += 500 {
			var items []string
			for i := from; i < min(from+500, to); i++ {
				items = append(items, strings.Replace(string(all.of(i, version)), `"replicas":3`, `"replicas":0`, 1))
			}
			if _, err := trial.Apply(ctx, c, a.URL(), `{"apiVersion":"v1","kind":"List","items":[`+strings.Join(items, ",")+`]}`); err != nil {
				return err
			}
		}
		return nil
	}
	if err := fill(0, n, 0); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL()+"/swarm/v1/backups", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	var made struct{ Name string }
	err = errors.Join(json.NewDecoder(resp.Body).Decode(&made), resp.Body.Close())
	if err != nil {
		return nil, err
	}
	if err := fill(0, n/10, 1); err != nil { // a tenth differs
		return nil, err
	}
	var answer []byte
	dry := timed("dry run", func() (err error) {
		answer, err = trial.Do(ctx, c, http.MethodPost, a.URL()+"/swarm/v1/backups/"+url.PathEscape(made.Name)+"/restore?dry_run=true", "")
		return err
	})
	list := timed("list", func() error {
		_, err := trial.Do(ctx, c, http.MethodGet, a.URL()+"/apis/apps/v1/namespaces/default/deployments", "")
		return err
	})
	if err := interleave(ctx, b.scale(10, 2), dry, list); err != nil {
		return nil, err
	}
	return []row{row{Figure: "p  dry run of a restore of " + count(n) + " objects", Ours: span(dry.median()), With: "GET of all of them", Theirs: span(list.median()), Ratio: dry.over(list)}.
		aim("< 1 s", dry.median() < time.Second).note("a tenth of them differ; %s of answer", sizeOf(int64(len(answer))))}, nil
}

// moments measures (q): the state at random moments of a long log.
func (b *bench) moments(ctx context.Context) (rows []row, err error) {
	n, objects := b.scale(1_000_000, 20_000), b.scale(10_000, 500)
	bed, err := openBed(ctx, b.dir, objects, smallSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	folds := &snapshot.Folds{Dir: filepath.Join(bed.dir, "events"), Source: bed.log, Ledger: bed.ledger, Log: slog.New(slog.DiscardHandler)}
	const many = 100
	first := bed.ledger.View().At()
	for bed.made < n {
		var changes []projection.Change
		for range many {
			bed.made++
			changes = append(changes, bed.change(bed.made))
		}
		if err := bed.record(ctx, changes...); err != nil {
			return nil, err
		}
		if bed.made%50_000 == 0 { // as the agent does
			if err := folds.Save(ctx, bed.ledger.View().OnDisk()); err != nil {
				return nil, err
			}
		}
	}
	rnd := rand.New(rand.NewPCG(1, 0))
	long, asked := bed.ledger.View().At().Sub(first), 0
	at := timed("at", func() error {
		m := snapshot.Moment{Index: 1 + rnd.Uint64N(bed.log.End().Index)}
		if asked++; asked%2 == 0 {
			m = snapshot.Moment{Time: first.Add(time.Duration(rnd.Int64N(int64(long))))}
		}
		s, err := folds.At(ctx, m)
		if err == nil && s.Len() == 0 {
			err = errors.New("nothing was there")
		}
		return err
	})
	scan := timed("scan", func() error { return bed.log.Scan(1, func(events.Record) error { return nil }) })
	if err := interleave(ctx, 3, scan); err != nil {
		return nil, err
	}
	if err := interleave(ctx, b.scale(40, 5), at); err != nil {
		return nil, err
	}
	return []row{row{Figure: "q  the state at a random moment of " + count(n) + " events", Ours: span(at.median()), With: "all of the log read once", Theirs: span(scan.median()), Ratio: at.over(scan)}.
		aim("< 500 ms", at.median() < 500*time.Millisecond).note("%d moments, by index and by time in turn, the slowest %s", len(at.took), span(at.quantile(1)))}, nil
}
