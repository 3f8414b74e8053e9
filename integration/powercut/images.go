package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// images cuts the power of a disk whose every write and flush is known, at random points afterwards, and looks at what
// may be left on it then.
type images struct {
	kind
	dir   string
	count int
	liars int // of a disk that ignores flushes
	seed  uint64
	// work writes on the disk mounted at mount.
	work func(ctx context.Context, d *disk, mount string) (*trace, error)

	shelf *shelf
	rnd   *rand.Rand
}

// trace is what somebody wrote on a disk.
type trace struct {
	ops          []op
	from         int // before it there was nothing
	acknowledged int
	// check looks at what is left of it when so much had reached the disk.
	check func(ctx context.Context, mount string, at int) finding
	// doings are what it did and when, and claims what of that the power is to go in the middle of.
	doings []doing
	claims []string
}

// imageSize is as small as XFS lets it be.
const imageSize = 320 << 20

// documented is of how many images of each kind of file system a run is that is to come upon all that it is for.
const documented = 67

// tally is what came of many images.
type tally struct {
	images, lost, wrong, unopenable, unmountable, resumed int
	first                                                 error // what was wrong first

	within trial.Situations // each claim, and of how many the power went in the middle of it
}

func (t *tally) bad() int { return t.lost + t.wrong + t.unopenable + t.unmountable }

func (t *tally) String() string {
	says := fmt.Sprintf("images %d  lost %d  wrong %d  unopenable %d  unmountable %d", t.images, t.lost, t.wrong, t.unopenable, t.unmountable)
	if t.resumed > 0 {
		says += fmt.Sprintf("  in the middle of a restore %d", t.resumed)
	}
	return says
}

// try has work done, builds the images and looks at them: first those of an honest disk, which must all hold what was
// acknowledged, then some of a disk that ignores flushes, which must not, or else nothing is shown by the others.
func (i *images) try(ctx context.Context) (err error) {
	began := time.Now()
	i.rnd = rand.New(rand.NewPCG(i.seed, 3))
	for _, dir := range []string{i.shelfDir(), i.place()} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	}
	if i.shelf, err = openShelf(i.shelfDir()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.shelf.close()) }()
	base, h, err := i.record(ctx)
	if err != nil {
		return err
	}
	honest, err := i.all(ctx, base.clone(), h, i.count, true)
	if err != nil {
		return err
	}
	liar, err := i.all(ctx, base, h, i.liars, false)
	if err != nil {
		return err
	}
	flushes := 0
	for _, o := range h.ops[h.from:] {
		if o.data == nil {
			flushes++
		}
	}
	fmt.Printf("%s, disk of %d writes and %d flushes: %v  acknowledged %d  seed %d  seconds %.0f\n", i.name,
		len(h.ops)-h.from-flushes, flushes, &honest, h.acknowledged, i.seed, time.Since(began).Seconds())
	if len(honest.within) > 0 {
		fmt.Printf("%s, the power went in the middle of: %v\n", i.name, honest.within)
	}
	fmt.Printf("%s, the same disk without heeding flushes (must lose): %v\n", i.name, &liar)
	switch {
	case honest.bad() > 0:
		return fmt.Errorf("%s: an honest disk lost something: %w", i.name, honest.first)
	case liar.bad() == 0:
		return fmt.Errorf("%s: nothing is lost on a disk that ignores flushes, so this trial would not see a loss", i.name)
	case i.count >= documented:
		if err := honest.within.Missed(); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
	}
	return nil
}

func (i *images) shelfDir() string { return filepath.Join(i.dir, "shelf") }
func (i *images) place() string    { return filepath.Join(i.dir, "mnt") }

// record makes a file system on a disk, and has work done in it. It returns the disk as it was before, and what reached
// it since.
func (i *images) record(ctx context.Context) (base *disk, h *trace, err error) {
	d := newDisk(imageSize)
	file := i.shelf.put(d)
	if err := i.make(ctx, file); err != nil {
		return nil, nil, err
	}
	base = d.clone()
	d.mu.Lock()
	d.record = true
	d.mu.Unlock()
	if err := i.mount(ctx, file, i.place()); err != nil {
		return nil, nil, err
	}
	h, err = i.work(ctx, d, i.place())
	if err := errors.Join(err, unmount(i.place())); err != nil {
		return nil, nil, err
	}
	i.shelf.take(file)
	return base, h, nil
}

// all builds so many images and looks at each. base is used up.
func (i *images) all(ctx context.Context, base *disk, h *trace, count int, honest bool) (tally, error) {
	cuts := make([]int, count)
	for n := range cuts {
		cuts[n] = h.from + i.rnd.IntN(len(h.ops)-h.from+1)
		if honest && n%3 == 0 { // what is done seldom, few would be in the middle of
			cuts[n] = h.aim(i.rnd, n/3, cuts[n])
		}
	}
	slices.Sort(cuts)
	var t tally
	for _, what := range h.claims {
		t.within = append(t.within, trial.Situation{What: what})
	}
	done := 0 // of h.ops, in base
	for n, at := range cuts {
		if err := ctx.Err(); err != nil {
			return t, err
		}
		durable := at
		if honest {
			for durable > done && h.ops[durable-1].data != nil {
				durable--
			}
		} else {
			durable = max(done, at-i.rnd.IntN(400))
		}
		base.apply(h.ops[done:durable])
		done = durable
		image := base.clone()
		kindly := fault(i.rnd.IntN(int(faults)))
		image.lose(h.ops[durable:at], kindly, i.rnd)
		f, err := i.look(ctx, image, h, at)
		if err != nil {
			return t, err
		}
		h.count(at, t.within)
		t.add(f, fmt.Errorf("image %d, cut after %d of %d, %d of them flushed, the others %v", n, at, len(h.ops), durable, kindly))
	}
	return t, nil
}

// add counts a finding.
func (t *tally) add(f finding, which error) {
	t.images++
	t.lost += f.lost
	if f.resumed {
		t.resumed++
	}
	t.wrong += f.wrong
	if f.unopenable != nil {
		t.unopenable++
	}
	if f.unmountable != nil {
		t.unmountable++
	}
	if t.first == nil && t.bad() > 0 {
		t.first = errors.Join(which, fmt.Errorf("%d lost, %d wrong", f.lost, f.wrong), f.says, f.unopenable, f.unmountable)
	}
}

// look mounts an image and checks what is on it.
func (i *images) look(ctx context.Context, image *disk, h *trace, at int) (f finding, err error) {
	file := i.shelf.put(image)
	defer i.shelf.take(file)
	if err := i.mount(ctx, file, i.place()); err != nil {
		return finding{unmountable: err}, nil
	}
	f = h.check(ctx, i.place(), at)
	return f, unmount(i.place())
}
