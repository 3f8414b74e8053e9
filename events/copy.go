package events

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Copy writes the log anew into dir, which is made, sealed by key or, where that is nil, plain: the same records, under the same numbers, of the same
// incarnations, in the same segments. On nil all of it is on disk, closed, and has been read again from there and found the same. said, unless nil, is told
// of the bytes read so far, and of all. Nothing may be appended meanwhile. A crash leaves in dir what is no log, or the whole one.
func (l *Log) Copy(dir string, key *Key, said func(done, all int64)) error {
	if err := l.copy(dir, key, said); err != nil {
		return fmt.Errorf("copy log %s to %s: %w", l.dir, dir, err)
	}
	return nil
}

func (l *Log) copy(dir string, key *Key, said func(done, all int64)) (err error) {
	if err := MakeDir(dir); err != nil {
		return err
	}
	t := l.tail.Load()
	l.notes.io.Lock()
	m := l.notes.m
	l.notes.io.Unlock()
	m.gen, m.clean, m.sealed, m.key = 1, true, key != nil, key.ID()
	c := copier{dir: dir, key: key, next: m.start()}
	was := sha256.New()
	done, last := int64(0), mark{}
	spans := t.spans(m.first.number)
	for _, s := range spans {
		if err := c.begin(s.first); err != nil {
			return err
		}
		from := m.start()
		if s.first != m.first.number {
			from = last
			from.seg, from.off, from.pos = s.first, 0, 0
		}
		last, err = walk(l.dir, l.o.Key, []span{s}, from, true, func(f *frame, at *mark) error {
			fmt.Fprint(was, f.number, f.index, f.count, f.pos, f.at, f.inc, f.seq, f.hash)
			was.Write(f.payload)
			if said != nil {
				said(done+at.off, t.bytes)
			}
			return c.add(*f)
		})
		if err = errors.Join(err, c.end()); err != nil {
			return err
		}
		done += s.size
	}
	if last.number != t.next.number {
		return fmt.Errorf("it has %d records, want %d", last.number-1, t.next.number-1)
	}
	if m.next = c.next; m.first.number > 1 { // it has been trimmed
		at, err := readFloor(l.dir, m.first.number)
		if err == nil {
			err = writeFloor(dir, m.first.number, at)
		}
		if err != nil {
			return err
		}
	}
	if err := createManifest(dir, m); err != nil {
		return err
	}
	is := sha256.New()
	err = whole(dir, key, nil, func(f *frame, _ *mark) error {
		fmt.Fprint(is, f.number, f.index, f.count, f.pos, f.at, f.inc, f.seq, f.hash)
		is.Write(f.payload)
		return nil
	})
	if err == nil && string(is.Sum(nil)) != string(was.Sum(nil)) {
		err = errors.New("what was written is not what was read")
	}
	return err
}

// copier writes the segments of a log.
type copier struct {
	dir  string
	key  *Key
	next mark
	f    *os.File
	w    *bufio.Writer
	b    []byte
}

func (c *copier) begin(first uint64) (err error) {
	c.next.seg, c.next.off = first, 0
	c.f, err = os.OpenFile(filepath.Join(c.dir, segmentName(first)), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	c.w = bufio.NewWriterSize(c.f, 1<<20)
	return err
}

func (c *copier) add(f frame) error {
	f.prev = c.next.crc
	if c.b = c.b[:0]; c.key == nil {
		c.b = f.append(c.b)
	} else {
		c.b = f.appendSealed(c.b, c.key)
	}
	if err := c.next.follow(&f); err != nil {
		return err
	}
	length := binary.AppendUvarint(nil, uint64(len(c.b)))
	c.next.off += int64(len(length) + len(c.b))
	_, err := c.w.Write(length)
	if err == nil {
		_, err = c.w.Write(c.b)
	}
	return err
}

func (c *copier) end() error {
	return errors.Join(c.w.Flush(), c.f.Sync(), c.f.Close())
}
