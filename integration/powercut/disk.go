package main

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	pageSize   = 4096
	sectorSize = 512 // what a disk writes whole or not at all
)

// disk is a block device in memory that can record what reaches it, in order. Safe for concurrent use.
type disk struct {
	size int64

	mu     sync.Mutex
	pages  map[int64][]byte // by number; one that is missing is zero; shared with clones, so never changed in place
	record bool
	ops    []op
}

// op is one thing that reached a disk.
type op struct {
	off  int64
	data []byte // nil: a flush, which makes all writes before it durable
	at   time.Time
}

func newDisk(size int64) *disk { return &disk{size: size, pages: map[int64][]byte{}} }

// clone is a disk of the same content that records nothing.
func (d *disk) clone() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := newDisk(d.size)
	for n, p := range d.pages {
		c.pages[n] = p
	}
	return c
}

func (d *disk) read(b []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(b) > 0 {
		at := off % pageSize
		n := min(int64(len(b)), pageSize-at)
		if p := d.pages[off/pageSize]; p != nil {
			copy(b[:n], p[at:])
		} else {
			clear(b[:n])
		}
		b, off = b[n:], off+n
	}
}

func (d *disk) write(b []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.record {
		d.ops = append(d.ops, op{off, append([]byte{}, b...), time.Now()})
	}
	for len(b) > 0 {
		at := off % pageSize
		n := min(int64(len(b)), pageSize-at)
		p := make([]byte, pageSize)
		copy(p, d.pages[off/pageSize])
		copy(p[at:], b[:n])
		d.pages[off/pageSize] = p
		b, off = b[n:], off+n
	}
}

func (d *disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.record {
		d.ops = append(d.ops, op{at: time.Now()})
	}
}

// recorded is how many things have reached the disk since it records.
func (d *disk) recorded() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ops)
}

// apply does what was recorded of another disk.
func (d *disk) apply(ops []op) {
	for _, o := range ops {
		if o.data != nil {
			d.write(o.data, o.off)
		}
	}
}

// fault is what a disk makes of the writes that it was not told to flush when its power goes.
type fault int

// The faults, from the kindest on.
const (
	inOrder fault = iota // it has done all of them
	subset               // it has done some of them, in an order of its own
	torn                 // and of those, some sectors
	faults
)

func (f fault) String() string { return [faults]string{"in order", "subset", "torn"}[f] }

// lose applies what is left of writes that were under way when the power went.
func (d *disk) lose(ops []op, f fault, rnd *rand.Rand) {
	keep := []float64{0.1, 0.5, 0.9}[rnd.IntN(3)]
	for _, o := range ops {
		switch {
		case o.data == nil:
		case f == inOrder:
			d.write(o.data, o.off)
		case rnd.Float64() >= keep:
		case f == subset:
			d.write(o.data, o.off)
		default:
			for at := 0; at < len(o.data); at += sectorSize {
				if rnd.IntN(4) > 0 {
					d.write(o.data[at:min(at+sectorSize, len(o.data))], o.off+int64(at))
				}
			}
		}
	}
}
