package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/events"
)

// us is the host whose log it is; the others hold what it has, and some more.
const us = "h1"

// base is a log that nobody has touched, and all that is known of it.
type base struct {
	dir     string // of the log
	sealed  string // and of the same, sealed
	key     *events.Key
	secret  []byte
	then    []string // the log at some moments before, each as it was on the disk
	records []record
	sealing []record // where they are in the sealed one
	events  int
	hosts   map[events.Incarnation]string
	ends    map[events.Incarnation][]events.Known // of each commit of each chain, also of those that the log jumped over
	heads   [][]events.Known                      // as psctl audit head printed them, at moments and in the end
}

// record is where one record of a log is.
type record struct {
	segment  string
	from, to int // in the file, with its length
	frame    int // where the frame begins, after the length
	inc      events.Incarnation
	seq      uint64
	count    int
}

// segmentBytes are few, so that a copy needs little, and so that there are some in a short log, of which then one can be trimmed off.
const segmentBytes = 128 << 10

func logOptions(key *events.Key) events.Options {
	return events.Options{SegmentBytes: segmentBytes, MinFree: 1, Reserve: -1, Key: key}
}

// author writes the commits of one host.
type author struct {
	host string
	inc  events.Incarnation
	last uint64
	hash events.Hash
	time events.Time
}

func (a *author) next(rnd *rand.Rand) (events.Entry, error) {
	a.time += 1 << 16
	c := events.Commit{Inc: a.inc, Seq: a.last + 1, Time: a.time, Prev: a.hash, Node: a.host, Actor: "local:root", Cause: "audit"}
	for i := range 1 + rnd.IntN(3) {
		key := fmt.Sprintf("service/default/s%d", rnd.IntN(500))
		c.Events = append(c.Events, events.Event{Kind: events.Declared, Key: key, UID: c.ID(i),
			Object: fmt.Appendf(nil, `{"kind":"Service","fill":"%s","port":%d}`, strings.Repeat("x", rnd.IntN(200)), 1024+rnd.IntN(60000))})
	}
	return a.add(&c)
}

// add makes the commit the author's next.
func (a *author) add(c *events.Commit) (events.Entry, error) {
	b, err := c.Append(nil)
	if err != nil {
		return events.Entry{}, err
	}
	a.last, a.hash = c.Last(), events.HashOf(b)
	return events.Entry{Payload: b, Count: uint32(len(c.Events)), Hash: a.hash, Inc: c.Inc, Seq: c.Seq}, nil
}

// moments is how many times the log is put aside as it is.
const moments = 12

// makeBase writes the log: its host's own events and those of two others, in commits of one to three, and in the middle of it a jump over a
// hundredth of what one of these had to say.
func makeBase(dir string, n int, rnd *rand.Rand) (b *base, err error) {
	b = &base{dir: filepath.Join(dir, "events"), sealed: filepath.Join(dir, "sealed"), ends: map[events.Incarnation][]events.Known{},
		hosts: map[events.Incarnation]string{}, secret: events.NewSecret()}
	if b.key, err = events.NewKey(b.secret); err != nil {
		return nil, err
	}
	authors := []*author{{host: us, inc: events.Incarnation(rnd.Uint64())}, {host: "h2", inc: events.Incarnation(rnd.Uint64())}, {host: "h3", inc: events.Incarnation(rnd.Uint64())}}
	for _, a := range authors {
		b.hosts[a.inc] = a.host
	}
	o := logOptions(nil)
	o.Draw = func() events.Incarnation { return authors[0].inc }
	for part := range moments {
		log, err := events.Open(b.dir, o)
		if err != nil {
			return nil, err
		}
		if part == moments/2 {
			err = b.jump(log, authors, n/100, rnd)
		}
		for err == nil && b.events < n*(part+1)/moments {
			err = b.batch(log, authors, min(1000, n*(part+1)/moments-b.events), rnd)
		}
		if part == moments-1 && err == nil {
			err = log.Copy(b.sealed, b.key, nil)
		}
		if err := errors.Join(err, log.Close()); err != nil {
			return nil, err
		}
		b.noteHeads(authors)
		if part < moments-1 {
			then := filepath.Join(dir, fmt.Sprintf("then-%d", part))
			if err := copyLog(b.dir, then, "00000000000000000001"); err != nil { // in full: it goes on
				return nil, err
			}
			b.then = append(b.then, then)
		}
	}
	if b.records, err = recordsIn(b.dir); err == nil {
		b.sealing, err = recordsIn(b.sealed)
	}
	return b, err
}

func (b *base) batch(log *events.Log, authors []*author, n int, rnd *rand.Rand) error {
	var all []events.Entry
	for n > 0 {
		e, err := b.says(authors[rnd.IntN(len(authors))], rnd)
		if err != nil {
			return err
		}
		all = append(all, e)
		n -= int(e.Count)
		b.events += int(e.Count)
	}
	return log.Append(all)
}

func (b *base) says(a *author, rnd *rand.Rand) (events.Entry, error) {
	e, err := a.next(rnd)
	b.ends[a.inc] = append(b.ends[a.inc], events.Known{Inc: a.inc, Seq: a.last, Hash: a.hash.String(), Host: a.host})
	return e, err
}

// jump has the last author say something that the log only hears the outcome of.
func (b *base) jump(log *events.Log, authors []*author, n int, rnd *rand.Rand) error {
	a := authors[len(authors)-1]
	for to := a.last + uint64(n); a.last < to; {
		if _, err := b.says(a, rnd); err != nil {
			return err
		}
	}
	j := events.Jump{Cause: "audit", State: []byte("the state")}
	for _, a := range authors {
		j.Heads = append(j.Heads, events.JumpHead{Inc: a.inc, Seq: a.last, Hash: a.hash})
	}
	slices.SortFunc(j.Heads, func(x, y events.JumpHead) int { return events.ID{Inc: x.Inc}.Compare(events.ID{Inc: y.Inc}) })
	e, err := j.Entry()
	if err != nil {
		return err
	}
	return log.Append([]events.Entry{e})
}

// noteHeads writes down where the chains end.
func (b *base) noteHeads(authors []*author) {
	var all []events.Known
	for _, a := range authors {
		all = append(all, events.Known{Inc: a.inc, Seq: a.last, Hash: a.hash.String()[:events.KnownDigits], Host: a.host, From: "a head that was written down"})
	}
	b.heads = append(b.heads, all)
}

// written are the heads of all moments.
func (b *base) written() []events.Known { return slices.Concat(b.heads...) }

// headLines are the heads as psctl audit head prints them.
func (b *base) headLines() []byte {
	var all []byte
	for _, k := range b.written() {
		all = fmt.Appendf(all, "%s %v %s\n", k.Host, events.ID{Inc: k.Inc, Seq: k.Seq}, k.Hash)
	}
	return all
}

// recordsIn finds the records of a log, by DESIGN.md of package events.
func recordsIn(dir string) (all []record, err error) {
	names, err := segments(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		for off := 0; off < len(b); {
			size, n := binary.Uvarint(b[off:])
			if n <= 0 || off+n+int(size) > len(b) {
				return nil, fmt.Errorf("%s at byte %d: no record", name, off)
			}
			f := b[off+n:]
			all = append(all, record{segment: name, from: off, to: off + n + int(size), frame: off + n, count: int(binary.LittleEndian.Uint32(f[24:])),
				inc: events.Incarnation(binary.LittleEndian.Uint64(f[40:])), seq: binary.LittleEndian.Uint64(f[48:])})
			off += n + int(size)
		}
	}
	return all, nil
}

// segments are the names of a log's segments, in order.
func segments(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if len(e.Name()) == 20 && strings.Trim(e.Name(), "0123456789") == "" {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// copyLog makes to a copy of a log. Segments before the one of that name are linked, since nobody is to write to them.
func copyLog(from, to, changed string) error {
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	// MANIFEST goes first: what it says is durable is in the segments that are copied after it.
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(b.Name(), a.Name()) })
	for _, e := range entries {
		name := e.Name()
		if isSegment := strings.HasPrefix(name, "0"); isSegment && name < changed {
			err = os.Link(filepath.Join(from, name), filepath.Join(to, name))
		} else if name != "RESERVE" && name != "LOCK" {
			var b []byte
			if b, err = os.ReadFile(filepath.Join(from, name)); err == nil {
				err = os.WriteFile(filepath.Join(to, name), b, 0o640)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// layKey puts the key of the sealed log where an agent looks for it.
func (b *base) layKey(dataDir string) error {
	return os.WriteFile(filepath.Join(dataDir, "encryption.key"), []byte(hex.EncodeToString(b.secret)+"\n"), 0o600)
}
