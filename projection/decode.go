package projection

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// DecodeState reads what Encode wrote, to the end of r. It takes nothing else: what it returns encodes to the very
// bytes that were read. The error says what is wrong. Memory is bounded by a small multiple of the input.
func DecodeState(r io.Reader) (*State, error) {
	d := &decoder{r: bufio.NewReaderSize(r, 1<<16)}
	if v := d.uint(); d.err == nil && v != stateVersion {
		return nil, fmt.Errorf("state of form %d: this agent reads form %d", v, stateVersion)
	}
	s := NewState()
	s.index = d.uint()
	s.at = time.UnixMicro(int64(d.uint())).UTC()
	for range d.count() {
		d.head(s)
	}
	last := ""
	for range d.count() {
		en := d.entry()
		d.want(en.key > last, "keys out of order")
		if d.err != nil {
			break
		}
		last = en.key
		s.objects.Load(en.key, en)
	}
	if _, err := d.r.ReadByte(); err != io.EOF {
		d.want(false, "more than a state")
	}
	if d.err != nil {
		return nil, fmt.Errorf("state: %w", d.err)
	}
	return s, nil
}

type decoder struct {
	r   *bufio.Reader
	err error // the first
}

// want notes what is wrong unless ok.
func (d *decoder) want(ok bool, wrong string) {
	if !ok && d.err == nil {
		d.err = errors.New(wrong)
	}
}

func (d *decoder) uint() uint64 {
	var v uint64
	for shift := 0; d.err == nil; shift += 7 {
		b, err := d.r.ReadByte()
		if err != nil {
			d.fail(err)
			break
		}
		d.want(shift < 63 || shift == 63 && b <= 1, "a number too large")
		d.want(b != 0 || shift == 0, "a number longer than it need be")
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	return 0
}

func (d *decoder) fail(err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if d.err == nil {
		d.err = err
	}
}

// count reads how many follow. Reading stops at the first error, so a wrong count costs nothing.
func (d *decoder) count() func(func(uint64) bool) { return d.times(d.uint()) }

func (d *decoder) times(n uint64) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for i := uint64(0); i < n && d.err == nil; i++ {
			if !yield(i) {
				return
			}
		}
	}
}

// bytes reads a text in pieces, so that a wrong length cannot ask for memory that the input does not fill.
func (d *decoder) bytes() []byte {
	n := d.uint()
	var b []byte
	for d.err == nil && uint64(len(b)) < n {
		from := len(b)
		b = append(b, make([]byte, min(n-uint64(from), 1<<20))...)
		if _, err := io.ReadFull(d.r, b[from:]); err != nil {
			d.fail(err)
		}
	}
	return b
}

func (d *decoder) id() events.ID {
	return events.ID{Inc: events.Incarnation(d.uint()), Seq: d.uint()}
}

func (d *decoder) stamp() events.Stamp { return events.Stamp{Time: events.Time(d.uint()), ID: d.id()} }

func (d *decoder) head(s *State) {
	id := d.id()
	h := Head{Inc: id.Inc, Seq: id.Seq}
	b := d.bytes()
	d.want(len(b) == len(h.Hash), "a head without a hash")
	copy(h.Hash[:], b)
	i, there := s.find(h.Inc)
	d.want(!there && i == len(s.vector), "heads out of order")
	s.vector = append(s.vector, h)
}

func (d *decoder) entry() *entry {
	en := &entry{key: string(d.bytes())}
	n := d.uint()
	d.want(n > 0, "a key without an object")
	en.lives = en.first[:0]
	for i := range d.times(n) {
		l := d.life()
		d.want(i == 0 || en.lives[i-1].uid.Compare(l.uid) < 0, "objects of a key out of order")
		en.lives = append(en.lives, l)
	}
	return en
}

func (d *decoder) life() life {
	l := life{uid: d.id()}
	flags := d.uint()
	d.want(flags <= flagEnded|flagTop, "unknown flags")
	l.ended = flags&flagEnded != 0
	d.want(l.ended != (flags&flagTop != 0), "an object that neither shows a version nor has ended, or both")
	lost, missing := d.uint(), d.uint()
	for range d.times(lost) {
		v := d.version()
		d.want(branches(v.Kind), "a lost version of a kind that loses none")
		l.lost = append(l.lost, v)
	}
	if !l.ended {
		l.top = d.version()
	}
	for range d.times(missing) {
		l.missing = append(l.missing, d.stamp())
	}
	sorted := slices.IsSortedFunc(l.lost, (*Version).compare) && slices.IsSortedFunc(l.missing, events.Stamp.Compare)
	d.want(sorted && (l.top == nil || len(l.lost) == 0 || l.lost[len(l.lost)-1].less(l.top)), "versions out of order")
	return l
}

func (d *decoder) version() *Version {
	v := &Version{Kind: d.kind(), Stamp: d.stamp(), Base: d.stamp(), For: d.stamp(), Index: d.uint(), Object: d.bytes()}
	d.want(len(v.Object) > 0, "a version without an object")
	return v
}

// kind gives the constant, not a copy of the word, where there is one.
func (d *decoder) kind() events.Kind {
	word := d.bytes()
	for _, k := range Kinds() {
		if string(word) == string(k) {
			return k
		}
	}
	return events.Kind(word)
}
