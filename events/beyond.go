package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// beyond looks at what stands after the damage that has ended the reading of a log, to say whose event it is that is damaged, missing, or not in
// its place. Nothing there is proof of anything, since it does not follow on what is whole; so it is only said of it what is not there.
type beyond struct {
	first  map[Incarnation]uint64 // number that the first whole record of each says of itself
	last   map[Incarnation]uint64 // and the greatest
	there  *frame                 // the record at the damage, if that is whole by itself
	jumped bool                   // something was taken over as state, and what follows need not follow on what was before
}

// read reads all whole records from the damage on.
func (y *beyond) read(dir string, at *CorruptError) error {
	spans, err := listSegments(dir)
	if err != nil {
		return err
	}
	for _, s := range spans {
		name, from := segmentName(s.first), int64(0)
		if name < at.Segment {
			continue
		}
		if name == at.Segment {
			from = min(at.Offset, s.size)
		}
		b, err := readPart(filepath.Join(dir, name), from, s.size)
		if err != nil {
			return err
		}
		y.segment(b, name == at.Segment)
	}
	return nil
}

// segment takes in what a segment has; broken says that the damage is at its beginning.
func (y *beyond) segment(b []byte, broken bool) {
	for i := 0; ; {
		n := bytes.Index(b[i:], []byte(magic[:len(magic)-1])) // of either form
		if n < 0 {
			return
		}
		i += n
		var f frame
		size, err := parseFrame(b[i:], &f)
		if err != nil {
			i += len(magic) - 1
			continue
		}
		if broken && i <= binary.MaxVarintLen64 { // behind its length, which may be what is damaged
			f.payload = nil
			y.there = &f
		}
		y.take(&f)
		i += size
	}
}

func (y *beyond) take(f *frame) {
	if f.inc == 0 {
		y.jumped = true
		return
	}
	if _, ok := y.first[f.inc]; !ok && !y.jumped {
		y.first[f.inc] = f.seq
	}
	y.last[f.inc] = max(y.last[f.inc], f.seq+uint64(f.count)-1)
}

// damaged says of the chains what can be told of the damage: whose event it is.
func (v *verifying) damaged(dir string, at *CorruptError) error {
	y := beyond{first: map[Incarnation]uint64{}, last: map[Incarnation]uint64{}}
	if err := y.read(dir, at); err != nil {
		return fmt.Errorf("what stands after the damage cannot be read: %w", err)
	}
	found := false
	for _, inc := range slices.Sorted(maps.Keys(y.first)) {
		seq := y.first[inc]
		if c := v.chain(inc); c.Bad == nil && seq > c.Last+1 {
			c.Bad, found = v.breaks(c, c.Last+1, at), true
		}
	}
	if !found && y.there != nil && y.there.inc != 0 {
		c := v.chain(y.there.inc)
		c.Bad, found = v.breaks(c, y.there.seq, at), true
	}
	if !found {
		if c := v.guess(dir, at); c != nil {
			c.Bad = v.breaks(c, c.Last+1, at)
		}
	}
	for i := range v.chains {
		c := &v.chains[i]
		c.beyond = y.last[c.Inc]
		if y.jumped {
			c.beyond = 1<<64 - 1
		}
	}
	return nil
}

func (v *verifying) breaks(c *Chain, seq uint64, at *CorruptError) error {
	node := c.Node
	for _, h := range v.held[c.Inc] {
		if node == "" {
			node = h.Host
		}
	}
	return fmt.Errorf("host %q, incarnation %v, event %d: it is damaged, missing, or not in its place: segment %s at byte %d",
		node, c.Inc, seq, at.Segment, at.Offset)
}

// guess reads of a record that is not whole, and after which none of its incarnation comes, whose it says it is. It is believed only where that
// is what comes next of a chain, in both respects, or in one where the damage may be in the other.
func (v *verifying) guess(dir string, at *CorruptError) (found *Chain) {
	f, err := os.Open(filepath.Join(dir, at.Segment))
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, 10+headerSize)
	have, _ := f.ReadAt(b, at.Offset) // as far as it goes
	b = b[:have]
	prefix, _, err := recordLen(b)
	if errors.Is(err, errLength) {
		prefix = max(bytes.Index(b, []byte(magic[:len(magic)-1])), 0)
	}
	if b = b[prefix:]; len(b) < headerSize {
		return nil
	}
	inc, seq := Incarnation(binary.LittleEndian.Uint64(b[40:])), binary.LittleEndian.Uint64(b[48:])
	both := 0
	for i := range v.chains {
		c := &v.chains[i]
		n := 0
		if c.Inc == inc {
			n++
		}
		if c.Last+1 == seq {
			n++
		}
		switch {
		case n > both:
			found, both = c, n
		case n == both && n > 0:
			found = nil // either may be meant
		}
	}
	return found
}
