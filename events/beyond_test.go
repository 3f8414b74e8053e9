package events

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// written is one record of an image: where it is.
type written struct {
	segment  string
	from, to int // in the file, with its length
	Entry
}

// threeChains is a closed log of several segments in which three hosts' commits alternate, and its records in order.
func threeChains(t *testing.T) (image, []written) {
	t.Helper()
	l := mustOpen(t, ram(t), small())
	rnd := random(t)
	all := []*author{{inc: l.Incarnation()}, {inc: 0xb}, {inc: 0xc}}
	var entries []Entry
	for range 40 {
		e := all[rnd.IntN(3)].entry(t, 1+rnd.IntN(3), 100)
		entries = append(entries, e)
		mustAppend(t, l, e)
	}
	mustClose(t, l)
	im := imageOf(t, l.dir)
	var records []written
	for _, name := range im.segments() {
		for off := 0; off < len(im[name]); {
			prefix, size, err := recordLen(im[name][off:])
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, written{name, off, off + prefix + size, entries[len(records)]})
			off += prefix + size
		}
	}
	if len(records) != len(entries) || len(im.segments()) < 3 {
		t.Fatalf("%d records in %d segments", len(records), len(im.segments()))
	}
	return im, records
}

// verified is what Verify says of an image that is held to nothing.
func verified(t *testing.T, im image, known ...Known) string {
	t.Helper()
	dir := ram(t)
	im.put(t, dir)
	_, err := Verify(t.Context(), dir, testKey(), nil, known...)
	return fmt.Sprint(err)
}

// Whatever bit of whatever record is damaged, it is said whose event it is, and by what number.
func TestVerify_namesWhoseEventIsDamaged(t *testing.T) {
	im, records := threeChains(t)
	rnd := random(t)
	for n, r := range records {
		last := !slices.ContainsFunc(records[n+1:], func(o written) bool { return o.Inc == r.Inc })
		bits := []int{7, 15} // where the length would go on, or end, one byte sooner or later
		for range 3 {
			bits = append(bits, rnd.IntN(8*(r.to-r.from)))
		}
		for _, bit := range bits {
			file := bytes.Clone(im[r.segment])
			file[r.from+bit/8] ^= 1 << (bit % 8)
			said := verified(t, im.with(r.segment, file))
			want := fmt.Sprintf("incarnation %v, event %d: it is damaged, missing, or not in its place: segment %s at byte %d", r.Inc, r.Seq, r.segment, r.from)
			// Of the last one of a chain only its own header tells, which may be what is damaged.
			inHeader := bit/8 < 10+headerSize
			if !strings.Contains(said, want) && !(last && inHeader) || strings.Count(said, "not in its place") > 1 {
				t.Errorf("record %d, bit %d: got %s\nwant %s", n+1, bit, said, want)
			}
		}
	}
}

func TestVerify_namesWhoseEventIsOutOfPlace(t *testing.T) {
	im, records := threeChains(t)
	var ends []Known
	for i := range records {
		r := &records[i]
		ends = append(ends, Known{Inc: r.Inc, Seq: r.Seq + uint64(r.Count) - 1, Hash: r.Hash.String(), Host: "alpha", From: "host h2"})
	}
	for n := 1; n+1 < len(records); n += 2 {
		p, a, b := &records[n-1], &records[n], &records[n+1]
		if p.segment != a.segment || a.segment != b.segment || !slices.ContainsFunc(records[n+1:], func(o written) bool { return o.Inc == a.Inc }) {
			continue
		}
		file := im[a.segment]
		before, after := file[:a.from:a.from], file[b.to:]
		one, two := file[a.from:a.to], file[b.from:b.to]
		named := func(r *written) string { return fmt.Sprintf("incarnation %v, event %d: ", r.Inc, r.Seq) }
		for what, c := range map[string]struct {
			file []byte
			want string
		}{
			"removed":       {slices.Concat(before, two, after), named(a)},
			"again":         {slices.Concat(before, one, one, two, after), named(a)},
			"one of before": {slices.Concat(before, file[p.from:p.to], one, two, after), named(p)},
			"swapped":       {slices.Concat(before, two, one, after), named(map[bool]*written{true: a, false: b}[a.Inc == b.Inc])},
		} {
			for _, known := range [][]Known{nil, ends} {
				said := verified(t, im.with(a.segment, c.file), known...)
				if !strings.Contains(said, c.want) || strings.Contains(said, "host h2 knows") {
					t.Errorf("record %d %s: got %s\nwant %s", n+1, what, said, c.want)
				}
			}
		}
	}
	// What is cut off the end is known elsewhere, and nowhere else.
	r := &records[len(records)-2]
	file := im[r.segment][:r.from]
	if last := records[len(records)-1].segment; last != r.segment { // it has a segment to itself, which is cut off as well
		delete(im, last)
	}
	if said := verified(t, im.with(r.segment, file), ends...); !strings.Contains(said, fmt.Sprintf("event %d: the log ends with event", r.Seq)) {
		t.Errorf("cut off at record %d: got %s", len(records)-1, said)
	}
}

// Behind a jump nothing need follow on what was before: no chain is blamed for that.
func TestVerify_damageBeforeAJump(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a, b := &author{inc: l.Incarnation()}, &author{inc: 77}
	mustAppend(t, l, a.entry(t, 1, 10), b.entry(t, 1, 10))
	hurt := int(l.tail.Load().next.off)
	mustAppend(t, l, a.entry(t, 1, 10))
	b.last += 6
	mustAppend(t, l, jump(t, JumpHead{Inc: a.inc, Seq: a.last, Hash: a.hash}, JumpHead{Inc: 77, Seq: b.last, Hash: b.hash}), b.entry(t, 1, 10))
	mustClose(t, l)
	im := imageOf(t, l.dir)
	file := bytes.Clone(im[segmentName(1)])
	file[hurt+120] ^= 4
	ahead := Known{Inc: 77, Seq: b.last, Hash: b.hash.String(), Host: "beta", From: "host h2"}
	said := verified(t, im.with(segmentName(1), file), ahead)
	if want := fmt.Sprintf("incarnation %v, event 2: it is damaged", a.inc); !strings.Contains(said, want) || strings.Contains(said, "beta") || strings.Count(said, "event ") != 2 {
		t.Errorf("got %s\nwant %s, and nothing of the other", said, want)
	}
}
