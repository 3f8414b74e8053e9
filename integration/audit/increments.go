package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// lost is a record that was trimmed off a log.
type lost struct {
	events.Record
	commit *events.Commit // nil: it is a jump
}

// shorten makes a copy of which a part is trimmed off, as an agent does behind its increments (--log-keep), and gives what went.
func (b *base) shorten(c *touched, rnd *rand.Rand) (gone []lost, err error) {
	from, _ := b.of(c)
	names, err := segments(from)
	if err != nil {
		return nil, err
	}
	if err := copyLog(from, c.dir, names[len(names)-1]); err != nil { // the last one goes on
		return nil, err
	}
	first, err := b.trim(c, func(end uint64) uint64 { return end/2 + rnd.Uint64N(end/2) })
	if err != nil {
		return nil, err
	}
	enough := errors.New("enough")
	err = events.Dump(b.dir, nil, 1, func(r events.Record, m *events.Commit) error {
		if r.Index >= first {
			return enough
		}
		if r.Inc == 0 {
			m = nil
		}
		gone = append(gone, lost{r, m})
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return gone, err
}

// trim trims the log of a copy of what is before an event, as far as that is whole segments, and gives the first event that is left.
func (b *base) trim(c *touched, before func(end uint64) uint64) (first uint64, err error) {
	log, err := events.Open(c.dir, logOptions(b.keyOf(c)))
	if err != nil {
		return 0, err
	}
	err = log.Trim(before(log.End().Index))
	first, c.trimmed = log.First(), log.ID()
	if err == nil && first == 1 {
		err = errors.New("the log has too few events for any to be trimmed off")
	}
	return first, errors.Join(err, log.Close())
}

// increment writes beside a log what was trimmed off it: with others in the place of some records, and with no more than upTo of them. Every number, hash
// and checksum there is as if it had never been otherwise.
func (c *touched) increment(gone []lost, upTo int, instead map[int][]*events.Commit) (*forged, error) {
	f := newForged()
	for n := range gone[:upTo] {
		others, so := instead[n]
		if err := f.take(&gone[n].Record, gone[n].commit, others, so); err != nil {
			return nil, err
		}
	}
	var all []events.Record
	next := uint64(1)
	for i, e := range f.batch {
		all = append(all, events.Record{Number: uint64(i) + 1, Index: next, Count: e.Count, At: gone[0].At, Inc: e.Inc, Seq: e.Seq, Hash: e.Hash, Payload: e.Payload})
		next += uint64(e.Count)
	}
	return f, c.writeIncrements(all)
}

// perIncrement is how many records are in one increment.
const perIncrement = 250

// folder is where the increments are.
func (c *touched) folder() string {
	return filepath.Join(filepath.Dir(c.dir), snapshot.IncrementsFolder, "log-"+c.trimmed)
}

func (c *touched) writeIncrements(all []events.Record) error {
	if err := os.MkdirAll(c.folder(), 0o750); err != nil {
		return err
	}
	for len(all) > 0 {
		some := all[:min(perIncrement, len(all))]
		all = all[len(some):]
		name := fmt.Sprintf("log-%020d-%020d.jsonl.zst", some[0].Index, some[len(some)-1].Last())
		if err := os.WriteFile(filepath.Join(c.folder(), name), incrementOf(c.trimmed, some), 0o640); err != nil {
			return err
		}
	}
	return nil
}

// incrementOf is an increment by DESIGN.md of package snapshot, but for that it is not compressed: whoever reads it takes it so as well.
func incrementOf(id string, of []events.Record) []byte {
	last := &of[len(of)-1]
	b := fmt.Appendf(nil, "{\"log\":{\"version\":%d,\"cluster\":\"audit\",\"node\":%q,\"agent\":\"audit\",\"id\":%q,\"first\":%d,\"last\":%d}}\n",
		snapshot.PieceVersion, us, id, of[0].Index, last.Last())
	for _, r := range of {
		b = fmt.Appendf(b, `{"index":%d,"count":%d,"record":%d,"at":%d,"inc":"%v","seq":%d,"hash":"%v","commit":%s}`+"\n",
			r.Index, r.Count, r.Number, r.At.UnixMicro(), r.Inc, r.Seq, r.Hash, r.Payload)
	}
	b = fmt.Appendf(b, `{"end":{"records":%d,"hash":"%v"},`, len(of), last.Hash)
	return fmt.Appendf(b, "\"checksum\":\"sha256:%x\"}\n", sha256.Sum256(b))
}

// openTrimmed gives what was trimmed off a copy, as an agent reads it that has the log open; close ends that. Of a log that was not trimmed, or whose increments are not
// to be looked at, it is nil.
func (b *base) openTrimmed(c *touched) (read events.Trimmed, closed func() error, err error) {
	if c.trimmed == "" {
		return nil, func() error { return nil }, nil
	}
	log, err := events.Open(c.dir, logOptions(b.keyOf(c)))
	if err != nil {
		return nil, nil, err
	}
	h := &snapshot.History{Log: log, Dir: filepath.Dir(c.dir)}
	return h.Trimmed, log.Close, nil
}

// beside tampers with the increments alone. Of a chain that somebody has made fit there, the log says all the same where it goes on: there, or at the first event that is
// another, it has to be named.
func (b *base) beside(c *touched, rnd *rand.Rand, how func(gone []lost, k int) (upTo int, instead map[int][]*events.Commit)) error {
	gone, err := b.shorten(c, rnd)
	if err != nil {
		return err
	}
	k := 0
	for k == 0 || gone[k].commit == nil {
		k = rnd.IntN(len(gone))
	}
	upTo, instead := how(gone, k)
	f, err := c.increment(gone, upTo, instead)
	if err != nil {
		return err
	}
	inc := gone[k].Inc
	c.unread, c.what = true, fmt.Sprintf("record %d of %d that were trimmed off", k+1, len(gone))
	c.first = []events.ID{{Inc: inc, Seq: gone[k].Seq}, {Inc: inc, Seq: f.chain(inc).last + 1}}
	return nil
}

func changeIncrement(b *base, c *touched, rnd *rand.Rand) error {
	return b.beside(c, rnd, func(gone []lost, k int) (int, map[int][]*events.Commit) {
		return len(gone), map[int][]*events.Commit{k: {other(gone[k].commit, rnd)}}
	})
}

func removeFromIncrement(b *base, c *touched, rnd *rand.Rand) error {
	return b.beside(c, rnd, func(gone []lost, k int) (int, map[int][]*events.Commit) {
		return len(gone), map[int][]*events.Commit{k: {}}
	})
}

func truncateIncrements(b *base, c *touched, rnd *rand.Rand) error {
	return b.beside(c, rnd, func(_ []lost, k int) (int, map[int][]*events.Commit) { return k, nil })
}

// insertIntoIncrement puts what a host has said that is none into the place of something, so that all that follows has the number that it had.
func insertIntoIncrement(b *base, c *touched, rnd *rand.Rand) error {
	const nobody = "h4"
	inc := events.Incarnation(rnd.Uint64())
	err := b.beside(c, rnd, func(gone []lost, k int) (int, map[int][]*events.Commit) {
		o := other(gone[k].commit, rnd)
		o.Inc, o.Node = inc, nobody
		return len(gone), map[int][]*events.Commit{k: {o}}
	})
	c.said = fmt.Sprintf("host %q, incarnation %v, event 1: ", nobody, inc)
	return err
}

// flipIncrement flips a bit of one of the files. Which event it is in nobody can tell of one that is packed: the file has to be named, which is called by its events.
func flipIncrement(b *base, c *touched, rnd *rand.Rand) error {
	gone, err := b.shorten(c, rnd)
	if err != nil {
		return err
	}
	if _, err := c.increment(gone, len(gone), nil); err != nil {
		return err
	}
	files, err := os.ReadDir(c.folder())
	if err != nil {
		return err
	}
	c.unread, c.said = true, files[rnd.IntN(len(files))].Name()
	path := filepath.Join(c.folder(), c.said)
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	bit := rnd.IntN(8 * len(file))
	c.what = fmt.Sprintf("bit %d of %s", bit, c.said)
	file[bit/8] ^= 1 << (bit % 8)
	return os.WriteFile(path, file, 0o640)
}

// changeAll changes an event and writes anew all that is there: the log, and the increments with what was then trimmed off it.
func changeAll(b *base, c *touched, rnd *rand.Rand) error {
	k := anyRecord(b.records, rnd, 0, len(b.records)/2)
	m, err := b.touch(c, k, "")
	if err != nil {
		return err
	}
	if err := b.forge(c, len(b.records), map[int][]*events.Commit{k: {other(m, rnd)}}); err != nil {
		return err
	}
	var all []events.Record
	err = events.Dump(c.dir, b.keyOf(c), 1, func(r events.Record, _ *events.Commit) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := b.trim(c, func(uint64) uint64 { return math.MaxUint64 }); err != nil {
		return err
	}
	c.unread = true // of a chain that a jump moved since, what is left is as it was
	return c.writeIncrements(all)
}

// forget removes the first of the increments, so many that some are left, as somebody does who needs the room.
func (c *touched) forget(rnd *rand.Rand) error {
	files, err := os.ReadDir(c.folder())
	if err != nil {
		return err
	}
	for _, f := range files[:rnd.IntN(len(files))] {
		if err := os.Remove(filepath.Join(c.folder(), f.Name())); err != nil {
			return err
		}
	}
	return nil
}
