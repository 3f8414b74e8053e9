package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// ack is one commit that was acknowledged, and how much had reached the disk when it was.
type ack struct {
	first uint64 // index of its first event
	hash  events.Hash
	at    int // number of things that had reached the disk
}

// history is what a log wrote on a disk, and what it said of it.
type history struct {
	ops  []op
	from int // before it there was no log
	acks []ack
	hash map[uint64]events.Hash // of every commit, by the index of its first event
}

const (
	writers       = 8
	commitsEach   = 120
	largestFiller = 3000
)

// logOptions keep segments small, so that many are begun.
func logOptions() events.Options {
	return events.Options{SegmentBytes: 192 << 10, MinFree: 1 << 20, Reserve: 256 << 10}
}

func logDir(mount string) string { return filepath.Join(mount, "events") }

// writing has a log be written.
func writing(seed uint64) func(context.Context, *disk, string) (*trace, error) {
	return func(ctx context.Context, d *disk, mount string) (*trace, error) {
		h, err := write(ctx, d, mount, seed)
		if err != nil {
			return nil, err
		}
		check := func(_ context.Context, mount string, at int) finding { return h.check(mount, at) }
		return &trace{ops: h.ops, from: h.from, acknowledged: len(h.acks), check: check}, nil
	}
}

// write has several writers commit through a ledger whose log is on the disk mounted at mount, and gives what reached
// the disk.
func write(ctx context.Context, d *disk, mount string, seed uint64) (h *history, err error) {
	log, err := events.Open(logDir(mount), logOptions())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	ledger, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		return nil, err
	}
	h = &history{from: d.recorded(), hash: map[uint64]events.Hash{}}
	run, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- ledger.Run(run) }()
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(w)))
			for n := range commitsEach {
				r, err := ledger.Record(ctx, projection.By{Actor: "powercut"}, changes(rnd, w, n))
				if err != nil {
					errs[w] = err
					return
				}
				a := ack{r.First, r.State.Head(log.Incarnation()).Hash, d.recorded()}
				mu.Lock()
				h.acks = append(h.acks, a)
				h.hash[a.first] = a.hash
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	stop()
	err = errors.Join(append(errs, <-ran)...)
	d.mu.Lock()
	h.ops = d.ops[:len(d.ops):len(d.ops)]
	d.mu.Unlock()
	return h, err
}

// changes is a commit of one to four objects.
func changes(rnd *rand.Rand, writer, n int) func(*projection.State) ([]projection.Change, error) {
	return func(*projection.State) ([]projection.Change, error) {
		var all []projection.Change
		for i := range 1 + rnd.IntN(4) {
			filler := make([]byte, rnd.IntN(largestFiller))
			for j := range filler {
				filler[j] = byte('a' + rnd.IntN(26))
			}
			all = append(all, projection.Change{Kind: events.Declared, Key: fmt.Sprintf("thing/%d/%d", writer, i),
				Object: fmt.Appendf(nil, `{"n":%d,"filler":"%s"}`, n, filler)})
		}
		return all, nil
	}
}

// finding is what came of one image.
type finding struct {
	unmountable error // by the kernel
	unopenable  error // by the log
	lost        int   // commits acknowledged before the cut, and not there
	wrong       int   // commits that are not those that were written
	says        error // more of that
	resumed     bool  // a restore was gone on with
}

// check opens the log at mount and compares it with what had been acknowledged when so much had reached the disk.
func (h *history) check(mount string, at int) (f finding) {
	log, err := events.Open(logDir(mount), logOptions())
	if err != nil {
		f.unopenable = err
		return f
	}
	there := map[uint64]bool{}
	err = log.Replay(1, func(r events.Record) error {
		there[r.Index] = true
		if want, ok := h.hash[r.Index]; !ok || want != r.Hash || events.HashOf(r.Payload) != want {
			f.wrong++
		}
		return nil
	})
	if err == nil {
		_, err = projection.OpenLedger(log, nil, 1, nil)
	}
	f.unopenable = errors.Join(err, log.Close())
	for _, a := range h.acks {
		if a.at <= at && !there[a.first] {
			f.lost++
		}
	}
	return f
}
