package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
)

// forged is a log that is written anew: what each chain has become.
type forged struct {
	log    *events.Log // nil: all of it is batch
	chains map[events.Incarnation]*author
	was    map[events.Incarnation]uint64 // and its last event in the log that nobody has touched
	batch  []events.Entry
}

// forge writes the log anew: as it is, but with others in the place of some records, and with no more than upTo of them. Every hash and checksum is
// as if it had never been otherwise.
func (b *base) forge(c *touched, upTo int, instead map[int][]*events.Commit) (err error) {
	o := logOptions(b.keyOf(c))
	o.Draw = b.own
	f := newForged()
	if f.log, err = events.Open(c.dir, o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.log.Close()) }()
	n := -1
	enough := errors.New("enough")
	err = events.Dump(b.dir, nil, 1, func(r events.Record, m *events.Commit) error {
		if n++; n == upTo {
			return enough
		}
		others, so := instead[n]
		return f.take(&r, m, others, so)
	})
	if errors.Is(err, enough) {
		err = nil
	}
	if err == nil && len(f.batch) > 0 {
		err = f.log.Append(f.batch)
	}
	return err
}

func newForged() *forged {
	return &forged{chains: map[events.Incarnation]*author{}, was: map[events.Incarnation]uint64{}}
}

// take takes the next record of the log that nobody has touched, or others in its place, if so. Where its chain is not what it was, it is written anew.
func (f *forged) take(r *events.Record, m *events.Commit, others []*events.Commit, so bool) error {
	if r.Inc == 0 {
		return f.jump(r.Payload)
	}
	f.was[r.Inc] = m.Last()
	if so {
		for _, o := range others {
			if err := f.anew(o); err != nil {
				return err
			}
		}
		return nil
	}
	a := f.chain(r.Inc)
	if m.Prev != a.hash || m.Seq != a.last+1 {
		return f.anew(m)
	}
	a.last, a.hash = m.Last(), r.Hash
	return f.put(events.Entry{Payload: r.Payload, Count: r.Count, Hash: r.Hash, Inc: r.Inc, Seq: r.Seq})
}

func (f *forged) chain(inc events.Incarnation) *author {
	if f.chains[inc] == nil {
		f.chains[inc] = &author{inc: inc}
	}
	return f.chains[inc]
}

// anew puts a commit where its chain is now.
func (f *forged) anew(m *events.Commit) error {
	c, a := *m, f.chain(m.Inc)
	c.Seq, c.Prev = a.last+1, a.hash
	e, err := a.add(&c)
	if err != nil {
		return err
	}
	return f.put(e)
}

// jump has the chains that it does not move stand where they are now.
func (f *forged) jump(payload []byte) error {
	j, err := events.ParseJump(payload)
	if err != nil {
		return err
	}
	for i := range j.Heads {
		h := &j.Heads[i]
		a := f.chain(h.Inc)
		if h.Seq == f.was[h.Inc] {
			h.Seq, h.Hash = a.last, a.hash
		}
		a.last, a.hash = h.Seq, h.Hash
	}
	e, err := j.Entry()
	if err != nil {
		return err
	}
	return f.put(e)
}

func (f *forged) put(e events.Entry) error {
	if f.batch = append(f.batch, e); f.log == nil || len(f.batch) < 2000 {
		return nil
	}
	err := f.log.Append(f.batch)
	f.batch = f.batch[:0]
	return err
}

// commit reads one of the records of the plain log.
func (b *base) commit(k int) (*events.Commit, error) {
	r := b.records[k]
	file, err := os.ReadFile(filepath.Join(b.dir, r.segment))
	if err != nil {
		return nil, err
	}
	c, err := events.ParseCommit(file[r.frame+96 : r.to])
	return &c, err
}

// other is a commit with something else in it.
func other(c *events.Commit, rnd *rand.Rand) *events.Commit {
	o := *c
	o.Events = slices.Clone(c.Events)
	e := &o.Events[rnd.IntN(len(o.Events))]
	e.Object = bytes.Clone(e.Object)
	at := bytes.Index(e.Object, []byte(`"port":`)) + len(`"port":`)
	if e.Object[at]++; e.Object[at] > '9' { // a digit, which is one bit or some of them
		e.Object[at] = '1'
	}
	return &o
}

// touch notes what is done to record k, and gives the commit in it.
func (b *base) touch(c *touched, k int, what string) (*events.Commit, error) {
	m, err := b.commit(k)
	c.what, c.first = fmt.Sprintf("record %d%s", k+1, what), []events.ID{{Inc: b.records[k].inc, Seq: b.records[k].seq}}
	return m, err
}

func change(b *base, c *touched, rnd *rand.Rand) error {
	k := anyRecord(b.records, rnd, 0, 0)
	m, err := b.touch(c, k, "")
	if err != nil {
		return err
	}
	return b.forge(c, len(b.records), map[int][]*events.Commit{k: {other(m, rnd)}})
}

func removeEvent(b *base, c *touched, rnd *rand.Rand) error {
	k := 0
	for b.records[k].count < 2 {
		k = anyRecord(b.records, rnd, 0, 0)
	}
	m, err := b.touch(c, k, "")
	if err != nil {
		return err
	}
	i := rnd.IntN(len(m.Events))
	c.what += fmt.Sprintf(", event %d of %d", i+1, len(m.Events))
	m.Events = slices.Delete(slices.Clone(m.Events), i, i+1)
	return b.forge(c, len(b.records), map[int][]*events.Commit{k: {m}})
}

func removeCommit(b *base, c *touched, rnd *rand.Rand) error {
	k := anyRecord(b.records, rnd, 0, 0)
	if _, err := b.touch(c, k, ""); err != nil {
		return err
	}
	return b.forge(c, len(b.records), map[int][]*events.Commit{k: {}})
}

func insertCommit(b *base, c *touched, rnd *rand.Rand) error {
	k := anyRecord(b.records, rnd, 0, 0)
	m, err := b.touch(c, k, ": one before it")
	if err != nil {
		return err
	}
	return b.forge(c, len(b.records), map[int][]*events.Commit{k: {other(m, rnd), m}})
}

// swapCommits has two of one chain stand in each other's place.
func swapCommits(b *base, c *touched, rnd *rand.Rand) error {
	for {
		k := anyRecord(b.records, rnd, 0, 20)
		for n := k + 1; n < k+20; n++ {
			if b.records[n].inc != b.records[k].inc {
				continue
			}
			one, err := b.touch(c, k, fmt.Sprintf(" and %d", n+1))
			if err != nil {
				return err
			}
			two, err := b.commit(n)
			if err != nil {
				return err
			}
			return b.forge(c, len(b.records), map[int][]*events.Commit{k: {two}, n: {one}})
		}
	}
}

func truncateCommits(b *base, c *touched, rnd *rand.Rand) error {
	k := atEnd(b.records, b.own(), rnd)
	c.what, c.first = fmt.Sprintf("from record %d of %d", k+1, len(b.records)), missing(b.records, k)
	return b.forge(c, k, nil)
}
