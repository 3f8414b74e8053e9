package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/events"
)

// way is one way to tamper with a log.
type way struct {
	name string
	do   func(b *base, c *touched, rnd *rand.Rand) error
}

// touched is a copy that somebody has been at.
type touched struct {
	dir    string // of the log
	sealed bool
	what   string      // was done
	first  []events.ID // the first events that are not as they were: one of them has to be named
	said   string      // or this, unless it is ""

	trimmed string // the log's id, where a part was trimmed off it and stands in increments beside it
	unread  bool   // what was touched need not be in the log, where alone podman-swarm-agent log verify looks
}

// ways are those that are tried in turn. By bytes: whatever has a checksum is not made to fit. Anew: all that follows is written anew, with every
// hash, checksum and watermark, by who has the key where there is one.
func ways() []way {
	return []way{
		{"a bit, by bytes", flip},
		{"removal, by bytes", remove},
		{"insertion, by bytes", insert},
		{"swap, by bytes", swap},
		{"truncation, by bytes", truncate},
		{"a bit, anew", change},
		{"removal of an event, anew", removeEvent},
		{"removal of a commit, anew", removeCommit},
		{"insertion, anew", insertCommit},
		{"swap, anew", swapCommits},
		{"truncation, anew", truncateCommits},
		{"rollback of the disk", rollBack},
		{"increments: a bit, by bytes", flipIncrement},
		{"increments: a bit, anew", changeIncrement},
		{"increments: removal, anew", removeFromIncrement},
		{"increments: insertion, anew", insertIntoIncrement},
		{"increments: truncation, anew", truncateIncrements},
		{"increments and log: a bit, anew", changeAll},
	}
}

func (t *trying) tamper(ctx context.Context, i int, dir string, rnd *rand.Rand) (func(*figures), error) {
	way := ways()[i%len(ways())]
	c := &touched{dir: filepath.Join(dir, "events"), sealed: rnd.IntN(3) == 0 && way.name != "rollback of the disk"}
	if err := way.do(t.base, c, rnd); err != nil {
		return nil, fmt.Errorf("%s: %w", way.name, err)
	}
	alone, peers, heads, err := t.found(ctx, dir, c)
	if err != nil {
		return nil, err
	}
	return func(f *figures) {
		n := f.Tampered[way.name]
		if n == nil {
			n = &tally{}
			f.Tampered[way.name] = n
		}
		n.Tried++
		count := func(to *int, is bool) bool {
			if is {
				*to++
			}
			return is
		}
		count(&n.Alone, alone.bad)
		count(&n.Peers, peers.bad)
		count(&n.Heads, heads.bad)
		what := fmt.Sprintf("copy %d, %s: %s (sealed %v)", i, way.name, c.what, c.sealed)
		if !count(&n.Found, peers.bad || heads.bad) {
			f.Missed = append(f.Missed, what)
		} else if !count(&n.Named, t.base.names(c, peers.said) || t.base.names(c, heads.said)) {
			f.Unnamed = append(f.Unnamed, fmt.Sprintf("%s, of which is said:\n%s\n%s", what, peers.said, heads.said))
		}
	}, nil
}

// names reports whether the first event that is not as it was is named, with its host.
func (b *base) names(c *touched, said string) bool {
	return c.said != "" && strings.Contains(said, c.said) || slices.ContainsFunc(c.first, func(id events.ID) bool {
		return bytes.Contains([]byte(said), fmt.Appendf(nil, "host %q, incarnation %v, event %d: ", b.hosts[id.Inc], id.Inc, id.Seq))
	})
}

// of is the log that the copy is of, and its records.
func (b *base) of(c *touched) (string, []record) {
	if c.sealed {
		return b.sealed, b.sealing
	}
	return b.dir, b.records
}

// keyOf is the key of the copy; nil: it is plain.
func (b *base) keyOf(c *touched) *events.Key {
	if c.sealed {
		return b.key
	}
	return nil
}

// any draws one of the records that is a commit, with so many of the log's before it and after it.
func anyRecord(all []record, rnd *rand.Rand, before, after int) int {
	for {
		if k := before + rnd.IntN(len(all)-before-after); all[k].inc != 0 {
			return k
		}
	}
}

// missing are the first events of each chain from record k on.
func missing(all []record, k int) (ids []events.ID) {
	seen := map[events.Incarnation]bool{}
	for _, r := range all[k:] {
		if r.inc != 0 && !seen[r.inc] {
			seen[r.inc] = true
			ids = append(ids, events.ID{Inc: r.inc, Seq: r.seq})
		}
	}
	return ids
}

// edit copies the log, and has a segment of the copy be another.
func (b *base) edit(c *touched, segment string, fn func(file []byte) []byte) error {
	from, _ := b.of(c)
	file, err := os.ReadFile(filepath.Join(from, segment))
	if err != nil {
		return err
	}
	if err := copyLog(from, c.dir, "1"); err != nil { // all segments are linked
		return err
	}
	path := filepath.Join(c.dir, segment)
	return errors.Join(os.Remove(path), os.WriteFile(path, fn(file), 0o640))
}

func flip(b *base, c *touched, rnd *rand.Rand) error {
	_, all := b.of(c)
	k := anyRecord(all, rnd, 0, 0)
	r := all[k]
	bit := rnd.IntN(8 * (r.to - r.from))
	c.what, c.first = fmt.Sprintf("bit %d of record %d", bit, k+1), []events.ID{{Inc: r.inc, Seq: r.seq}}
	return b.edit(c, r.segment, func(file []byte) []byte {
		file[r.from+bit/8] ^= 1 << (bit % 8)
		return file
	})
}

func remove(b *base, c *touched, rnd *rand.Rand) error {
	_, all := b.of(c)
	k := anyRecord(all, rnd, 0, 0)
	r := all[k]
	c.what, c.first = fmt.Sprintf("record %d", k+1), []events.ID{{Inc: r.inc, Seq: r.seq}}
	next := slices.IndexFunc(all[k+1:], func(o record) bool { return o.inc == r.inc || o.inc == 0 })
	if next >= 0 && all[k+1+next].inc == 0 { // a jump may have gone over it as well: whose it was cannot be told, but what now stands in its place can
		if o := all[k+1]; o.inc != 0 {
			c.first = append(c.first, events.ID{Inc: o.inc, Seq: o.seq})
		} else {
			c.said = fmt.Sprintf("segment %s at byte %d is damaged", r.segment, r.from)
		}
	}
	return b.edit(c, r.segment, func(file []byte) []byte { return slices.Delete(file, r.from, r.to) })
}

// insert has a record stand before another once more.
func insert(b *base, c *touched, rnd *rand.Rand) error {
	dir, all := b.of(c)
	k, j := anyRecord(all, rnd, 1, 0), anyRecord(all, rnd, 0, 0)
	r, put := all[k], all[j]
	source, err := os.ReadFile(filepath.Join(dir, put.segment))
	if err != nil {
		return err
	}
	c.what, c.first = fmt.Sprintf("record %d before %d", j+1, k+1), []events.ID{{Inc: put.inc, Seq: put.seq}}
	if j > k { // then the one in whose place it stands is the first of its host that is not where it was
		c.first = missing(all, k)
	}
	return b.edit(c, r.segment, func(file []byte) []byte { return slices.Insert(file, r.from, source[put.from:put.to]...) })
}

func swap(b *base, c *touched, rnd *rand.Rand) error {
	_, all := b.of(c)
	k := 0
	for {
		if k = anyRecord(all, rnd, 0, 1); all[k].segment == all[k+1].segment && all[k+1].inc != 0 {
			break
		}
	}
	r, s := all[k], all[k+1]
	c.what, c.first = fmt.Sprintf("records %d and %d", k+1, k+2), []events.ID{{Inc: r.inc, Seq: r.seq}}
	if r.inc != s.inc { // each is the first of its chain that is not where it was
		c.first = append(c.first, events.ID{Inc: s.inc, Seq: s.seq})
	}
	return b.edit(c, r.segment, func(file []byte) []byte {
		return slices.Concat(file[:r.from], file[s.from:s.to], file[r.from:r.to], file[s.to:])
	})
}

// atEnd draws a record of the last twentieth, from which on one of the host's own is missing.
func atEnd(all []record, own events.Incarnation, rnd *rand.Rand) int {
	for {
		k := anyRecord(all, rnd, len(all)-max(len(all)/20, 2), 0)
		if slices.ContainsFunc(all[k:], func(r record) bool { return r.inc == own }) {
			return k
		}
	}
}

// own is the incarnation of the host whose log it is.
func (b *base) own() (inc events.Incarnation) {
	for i, host := range b.hosts {
		if host == us {
			inc = i
		}
	}
	return inc
}

// truncate cuts the log off, somewhere in a record.
func truncate(b *base, c *touched, rnd *rand.Rand) error {
	_, all := b.of(c)
	k := atEnd(all, b.own(), rnd)
	r := all[k]
	at := r.from + rnd.IntN(r.to-r.from)
	c.what, c.first = fmt.Sprintf("at byte %d of record %d of %d", at-r.from, k+1, len(all)), missing(all, k)
	if err := b.edit(c, r.segment, func(file []byte) []byte { return file[:at] }); err != nil {
		return err
	}
	names, err := segments(c.dir)
	for _, name := range names {
		if name > r.segment {
			err = errors.Join(err, os.Remove(filepath.Join(c.dir, name)))
		}
	}
	return err
}

// rollBack puts back the disk as it was at an earlier moment.
func rollBack(b *base, c *touched, rnd *rand.Rand) error {
	n := rnd.IntN(len(b.then))
	c.what = fmt.Sprintf("to moment %d of %d", n+1, moments)
	for _, k := range b.heads[n] {
		c.first = append(c.first, events.ID{Inc: k.Inc, Seq: k.Seq + 1})
	}
	return copyLog(b.then[n], c.dir, "1")
}
