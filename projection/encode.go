package projection

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/podman-swarm/podman-swarm/events"
)

// stateVersion is the version of the form that Encode writes.
const stateVersion = 1

// Encode writes the whole state in a compact binary form for Decode to read: every number as a varint, every text
// with its length before it. It is for a snapshot beside the log, not for people. Equal states have equal bytes. It
// carries no checksum of its own.
func (s *State) Encode(w io.Writer) error {
	e := newEncoder(w)
	e.uint(stateVersion)
	e.uint(s.index)
	e.uint(uint64(s.at.UnixMicro()))
	e.uint(uint64(len(s.vector)))
	for _, h := range s.vector {
		e.id(events.ID{Inc: h.Inc, Seq: h.Seq})
		e.bytes(h.Hash[:])
	}
	e.uint(uint64(s.objects.Len()))
	s.objects.Scan(func(key string, en *entry) bool {
		e.text(key)
		e.uint(uint64(len(en.lives)))
		for i := range en.lives {
			e.life(&en.lives[i])
		}
		return e.err == nil
	})
	return e.flush()
}

type encoder struct {
	w   *bufio.Writer
	b   []byte
	err error
}

func newEncoder(w io.Writer) *encoder { return &encoder{w: bufio.NewWriterSize(w, 1<<16)} }

func (e *encoder) flush() error {
	if e.err == nil {
		e.err = e.w.Flush()
	}
	return e.err
}

func (e *encoder) write(b []byte) {
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
}

func (e *encoder) uint(v uint64) {
	e.b = binary.AppendUvarint(e.b[:0], v)
	e.write(e.b)
}

func (e *encoder) bytes(b []byte) {
	e.uint(uint64(len(b)))
	e.write(b)
}

func (e *encoder) text(s string) {
	e.uint(uint64(len(s)))
	if e.err == nil {
		_, e.err = e.w.WriteString(s)
	}
}

func (e *encoder) id(id events.ID) {
	e.uint(uint64(id.Inc))
	e.uint(id.Seq)
}

func (e *encoder) stamp(s events.Stamp) {
	e.uint(uint64(s.Time))
	e.id(s.ID)
}

// shape writes everything of a life but its versions.
func (e *encoder) shape(l *life) {
	e.id(l.uid)
	flags := uint64(0)
	if l.ended {
		flags |= flagEnded
	}
	if l.top != nil {
		flags |= flagTop
	}
	e.uint(flags)
	e.uint(uint64(len(l.lost)))
	e.uint(uint64(len(l.missing)))
}

const (
	flagEnded = 1 << iota
	flagTop
)

func (e *encoder) life(l *life) {
	e.shape(l)
	for _, v := range l.leaves() {
		e.text(string(v.Kind))
		e.stamp(v.Stamp)
		e.stamp(v.Base)
		e.stamp(v.For)
		e.uint(v.Index)
		e.bytes(v.Object)
	}
	for _, m := range l.missing {
		e.stamp(m)
	}
}
