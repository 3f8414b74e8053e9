package events

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
)

// jump is a jump to the given heads.
func jump(t testing.TB, heads ...JumpHead) Entry {
	t.Helper()
	slices.SortFunc(heads, func(a, b JumpHead) int { return cmp.Compare(a.Inc, b.Inc) })
	j := Jump{Cause: "test", Heads: heads, State: []byte("the state")}
	e, err := j.Entry()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// lacking is what the log gives to somebody who has so much, by incarnation, from record number from on.
func lacking(t *testing.T, l *Log, have map[Incarnation]uint64, from uint64) (ids []ID, gone []Incarnation) {
	t.Helper()
	gone, err := l.Missing(context.Background(), func(inc Incarnation) uint64 { return have[inc] }, from, func(r Record) error {
		ids = append(ids, ID{r.Inc, r.Seq})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids, gone
}

func TestJump_roundTrip(t *testing.T) {
	want := Jump{Cause: "history was trimmed", Heads: []JumpHead{{Inc: 1, Seq: 2, Hash: HashOf([]byte("a"))}, {Inc: 5, Seq: 1, Hash: HashOf([]byte("b"))}}, State: bytes.Repeat([]byte("state"), 1000)}
	e, err := want.Entry()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseJump(e.Payload)
	if err != nil || got.Cause != want.Cause || !slices.Equal(got.Heads, want.Heads) || !bytes.Equal(got.State, want.State) {
		t.Errorf("got %+v, %v", got, err)
	}
	if len(e.Payload) > 1000 {
		t.Errorf("%d bytes of payload: the state is not packed", len(e.Payload))
	}
	for what, b := range map[string]string{
		"no JSON": "x", "another version": `{"v":2,"jump":{"cause":"","heads":[]},"state":""}`,
		"no head":       `{"v":1,"jump":{"cause":"","heads":[{"inc":"0000000000000000","seq":1,"hash":""}]},"state":""}`,
		"out of order":  `{"v":1,"jump":{"cause":"","heads":[{"inc":"0000000000000002","seq":1,"hash":""},{"inc":"0000000000000001","seq":1,"hash":""}]},"state":""}`,
		"unknown field": `{"v":1,"jump":{"cause":"","heads":[],"more":1},"state":""}`,
	} {
		if _, err := ParseJump([]byte(b)); err == nil || errors.Is(err, ErrVersion) != (what == "another version") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// TestMissing_afterJumps has a log jump over events of one incarnation and back from those of another, and asks it for
// what others lack, before and after it is opened again.
func TestMissing_afterJumps(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a, b := &author{inc: 10}, &author{inc: 20}
	var b2 author
	for n := range 6 {
		mustAppend(t, l, a.entry(t, 1, 10), b.entry(t, 2, 10))
		if n == 1 {
			b2 = *b // has 4 events
		}
	}
	ahead := author{inc: 10, last: 100, hash: HashOf([]byte("elsewhere"))}
	mustAppend(t, l, jump(t, JumpHead{Inc: 10, Seq: 100, Hash: ahead.hash}, JumpHead{Inc: 20, Seq: 4, Hash: b2.hash}))
	mustAppend(t, l, b2.entry(t, 3, 10), ahead.entry(t, 1, 10))
	check := func(l *Log) {
		t.Helper()
		ids, gone := lacking(t, l, map[Incarnation]uint64{10: 100}, 0)
		if want := []ID{{20, 1}, {20, 3}, {20, 5}, {10, 101}}; !slices.Equal(ids, want) || gone != nil {
			t.Errorf("who lacks all of 20: got %v, %v, want %v", ids, gone, want)
		}
		ids, gone = lacking(t, l, map[Incarnation]uint64{10: 7, 20: 4}, 0)
		if want := []ID{{20, 5}}; !slices.Equal(ids, want) || !slices.Equal(gone, []Incarnation{10}) {
			t.Errorf("who lacks what was jumped over: got %v, %v, want %v", ids, gone, want)
		}
		if ids, gone = lacking(t, l, map[Incarnation]uint64{10: 101, 20: 7}, 0); ids != nil || gone != nil {
			t.Errorf("who lacks nothing: got %v, %v", ids, gone)
		}
	}
	check(l)
	mustClose(t, l)
	l = mustOpen(t, l.dir, small())
	check(l)
	if last, hash := l.Head(10); last != 101 || hash != ahead.hash {
		t.Errorf("head of 10: got %d", last)
	}
	var lines []byte
	if err := Dump(l.dir, testKey(), 0, func(r Record, c *Commit) error {
		if r.Inc == 0 {
			lines = AppendLines(lines, r, c)
		}
		return nil
	}); err != nil || !bytes.Contains(lines, []byte(`"jump":{"cause":"test","heads":[{"inc":"000000000000000a","seq":100`)) {
		t.Errorf("dump: %v\n%s", err, lines)
	}
}

// What a log has of an incarnation that went another way is void, however far both go.
func TestMissing_afterAJumpToAnotherChain(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	given := &author{inc: 10}
	mustAppend(t, l, given.entry(t, 2, 10), given.entry(t, 2, 10), given.entry(t, 2, 10))
	stands := author{inc: 10, last: 4, hash: HashOf([]byte("elsewhere"))}
	mustAppend(t, l, jump(t, JumpHead{Inc: 10, Seq: 4, Hash: stands.hash, Anew: true}))
	mustAppend(t, l, stands.entry(t, 1, 10))
	for range 2 {
		if ids, gone := lacking(t, l, map[Incarnation]uint64{10: 2}, 0); ids != nil || !slices.Equal(gone, []Incarnation{10}) {
			t.Errorf("who lacks what stands before the jump is given %v and told that %v is gone", ids, gone)
		}
		if ids, gone := lacking(t, l, map[Incarnation]uint64{10: 4}, 0); !slices.Equal(ids, []ID{{10, 5}}) || gone != nil {
			t.Errorf("who lacks what came after it: got %v, %v", ids, gone)
		}
		mustClose(t, l)
		l = mustOpen(t, l.dir, small())
	}
}

// TestMissing_fromMarks asks a long log for its end, and for a piece from a record on.
func TestMissing_fromMarks(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a, b := &author{inc: 10}, &author{inc: 20}
	for range 300 {
		mustAppend(t, l, a.entry(t, 3, 1), b.entry(t, 1, 1))
	}
	if h := l.heads[10]; len(h.marks) < 3 || h.from(890) < 500 {
		t.Errorf("marks %v: the end is sought from record %d on", h.marks, h.from(890))
	}
	ids, _ := lacking(t, l, map[Incarnation]uint64{10: 894, 20: 298}, 0)
	if want := []ID{{10, 895}, {20, 299}, {10, 898}, {20, 300}}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
	if ids, _ = lacking(t, l, nil, 599); !slices.Equal(ids, []ID{{10, 898}, {20, 300}}) {
		t.Errorf("from record 599 on: got %v", ids)
	}
}

// Who writes seldom has few marks by its own events: what others wrote in between must not all be read again for its next.
func TestMissing_ofWhoWritesSeldom(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	often, seldom := &author{inc: 10}, &author{inc: 20}
	for range 4 {
		others := make([]Entry, 1500)
		for i := range others {
			others[i] = often.entry(t, 1, 1)
		}
		mustAppend(t, l, seldom.entry(t, 1, 1))
		mustAppend(t, l, others...)
	}
	mustAppend(t, l, seldom.entry(t, 1, 1))
	for range 2 {
		for had := range seldom.last {
			ids, _ := lacking(t, l, map[Incarnation]uint64{10: often.last, 20: had}, 0)
			if len(ids) != int(seldom.last-had) {
				t.Errorf("who has %d of %d is given %v", had, seldom.last, ids)
			}
			h, end := l.heads[20], l.tail.Load()
			next := had*1501 + 1 // its next commit
			// As many records may be read before it as are between two places in the log.
			if from := end.markOf(h.from(had)).number; from > next || next-from > 300 {
				t.Errorf("event %d is in record %d, and is sought from record %d on", had+1, next, from)
			}
		}
		mustClose(t, l)
		l = mustOpen(t, l.dir, small())
	}
}

func TestRenew_countsAnew(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	was := l.Incarnation()
	a := &author{inc: was}
	mustAppend(t, l, a.entry(t, 1, 10))
	inc, err := l.Renew()
	if err != nil || inc == was || l.Incarnation() != inc {
		t.Fatalf("got %v, %v; was %v", inc, err, was)
	}
	b := &author{inc: inc}
	mustAppend(t, l, b.entry(t, 1, 10))
	for _, slot := range []int64{0, slotAt} { // whichever slot is lost, the old one does not come back
		mustClose(t, l)
		im := imageOf(t, l.dir)
		spoilt := im.with(manifestName, slices.Concat(im[manifestName][:slot], make([]byte, slotSize), im[manifestName][slot+slotSize:]))
		spoilt.put(t, l.dir)
		l = mustOpen(t, l.dir, small())
		if l.Incarnation() != inc {
			t.Errorf("slot at %d lost: got %v, want %v", slot, l.Incarnation(), inc)
		}
	}
}
