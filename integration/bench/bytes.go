package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/snapshot"
)

// written measures (c): how many bytes are written for each apply, by the log and by everything.
func (b *bench) written(ctx context.Context) (rows []row, err error) {
	const objects = 1000
	bed, err := openBed(ctx, b.dir, objects, objectSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	n := b.scale(5000, 200)
	grown, ours, err := bed.appliesWritten(ctx, n)
	if err != nil {
		return nil, err
	}
	each := int(grown) / n
	raw, err := wrote(func() error {
		for range n {
			if _, err := bed.write(each); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	perApply := func(v int64) float64 { return float64(v) / float64(n) }
	inLog, all := float64(each)/objectSize, perApply(ours.asked)/objectSize
	rows = append(rows,
		row{Figure: "c  bytes that the log grows by per apply", Ours: size(float64(each)), With: "the object applied",
			Theirs: size(objectSize), Ratio: inLog}.aim("<= 1.5", inLog <= 1.5),
		row{Figure: "c  bytes that the process writes per apply", Ours: size(perApply(ours.asked)), With: "the object applied",
			Theirs: size(objectSize), Ratio: all}.aim("<= 1.5", all <= 1.5),
		row{Figure: "c  bytes of the pages it makes dirty", Ours: size(perApply(ours.pages)), With: "raw appends of as many bytes",
			Theirs: size(perApply(raw.pages)), Ratio: float64(ours.pages) / float64(raw.pages)}.
			note("from /proc/self/io, over %s applies at %s objects: what it asked the kernel to write, MANIFEST included, and the "+
				"pages that the kernel will write for it", count(n), count(objects)))
	more, err := bed.viewWritten(ctx, b)
	return append(rows, more...), err
}

// output is what a process has written.
type output struct {
	asked int64 // bytes in calls of write
	pages int64 // bytes of the pages that became dirty
}

// wrote is what this process writes while do runs.
func wrote(do func() error) (output, error) {
	was, err := numbers("/proc/self/io")
	if err != nil {
		return output{}, err
	}
	if err := do(); err != nil {
		return output{}, err
	}
	is, err := numbers("/proc/self/io")
	return output{is["wchar"] - was["wchar"], is["write_bytes"] - was["write_bytes"]}, err
}

// appliesWritten is how much the log grew by n applies, and what the process wrote meanwhile.
func (b *bed) appliesWritten(ctx context.Context, n int) (int64, output, error) {
	was := b.log.Stats().Bytes
	all, err := wrote(func() error {
		for range n {
			if _, err := b.apply(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	return b.log.Stats().Bytes - was, all, err
}

// viewWritten is what state.json costs beside: it follows the log at its own pace, at most once a second.
func (b *bed) viewWritten(ctx context.Context, bench *bench) (rows []row, err error) {
	view := &snapshot.View{Path: filepath.Join(b.dir, "state.json"), Sums: filepath.Join(b.dir, "state.json.sums"), Node: "bench",
		Ledger: b.ledger, Log: slog.New(slog.DiscardHandler)}
	run, stop := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error { return view.Run(run) })
	defer func() {
		stop()
		err = errors.Join(err, group.Wait())
	}()
	if err := b.caughtUp(ctx, view); err != nil {
		return nil, err
	}
	for _, every := range []time.Duration{time.Millisecond, 100 * time.Millisecond} {
		lasts := time.Duration(bench.scale(int(10*time.Second), int(2*time.Second)))
		var applied int
		began := time.Now()
		all, err := wrote(func() error {
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			for ; time.Since(began) < lasts; applied++ {
				if _, err := b.apply(ctx); err != nil {
					return err
				}
				<-ticker.C
			}
			return b.caughtUp(ctx, view)
		})
		if err != nil {
			return nil, err
		}
		each := float64(all.asked) / float64(applied)
		rows = append(rows, row{
			Figure: fmt.Sprintf("c  with state.json, %d applies/s", int(float64(applied)/lasts.Seconds())),
			Ours:   size(each), With: "the object applied", Theirs: size(objectSize), Ratio: each / objectSize,
		}.note("state.json has %s (%s objects) and is written at most once a second, off the path of the applies: %s a second in all",
			size(float64(view.Written().Bytes)), count(b.n), size(float64(all.asked)/time.Since(began).Seconds())))
	}
	const quiet = 3 * time.Second
	if err := idle(ctx, quiet/2); err != nil { // the log notes down how far it is durable up to a second later
		return nil, err
	}
	none, err := wrote(func() error { return idle(ctx, quiet) })
	if err != nil {
		return nil, err
	}
	rows = append(rows, row{Figure: "c  bytes written in " + span(quiet) + " without applies", Ours: size(float64(none.asked))}.
		aim("0 B", none.asked == 0))
	began := time.Now()
	if _, err := b.apply(ctx); err != nil {
		return nil, err
	}
	if err := b.caughtUp(ctx, view); err != nil {
		return nil, err
	}
	behind := time.Since(began)
	return append(rows, row{Figure: "c  state.json behind the log when quiet", Ours: span(behind)}.aim("<= 1 s", behind <= time.Second)),
		nil
}

// caughtUp returns when state.json has everything that the ledger has.
func (b *bed) caughtUp(ctx context.Context, view *snapshot.View) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return until(ctx, time.Millisecond, func() error {
		w := view.Written()
		switch {
		case w == nil:
			return errors.New("state.json has not been written")
		case w.Err != nil:
			return w.Err
		case w.Index != b.ledger.View().Index():
			return fmt.Errorf("state.json is at event %d, the ledger at %d", w.Index, b.ledger.View().Index())
		}
		return nil
	})
}

// until calls try again and again, so often, until it returns nil. When ctx ends first, it returns try's last error.
func until(ctx context.Context, every time.Duration, try func() error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-ticker.C:
		}
	}
}
