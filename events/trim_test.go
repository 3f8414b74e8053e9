package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// grow appends until the log has so many segments.
func grow(t testing.TB, l *Log, a *author, segments int) (all []Entry) {
	t.Helper()
	for l.Stats().Segments < segments {
		e := a.entry(t, 1+len(all)%3, 300)
		mustAppend(t, l, e)
		all = append(all, e)
	}
	return all
}

// holdsFrom checks that the log has the last of these entries, from the one with its first event on, and nothing of those before.
func holdsFrom(t testing.TB, l *Log, all []Entry) {
	t.Helper()
	i, index := 0, uint64(1)
	for index < l.First() {
		index += uint64(all[i].Count)
		i++
	}
	if index != l.First() {
		t.Fatalf("the log begins with event %d, within a record", l.First())
	}
	if i > 0 {
		for what, err := range map[string]error{
			"Replay": l.Replay(1, func(Record) error { return nil }), "Scan": l.Scan(uint64(i), func(Record) error { return nil }),
			"Read": l.Read(t.Context(), 0, func(Record) error { return nil })} {
			if !errors.Is(err, ErrTrimmed) {
				t.Fatalf("%s of what was trimmed: got %v", what, err)
			}
		}
	}
	first := i
	err := l.Read(t.Context(), l.First()-1, func(r Record) error {
		if e := all[i]; r.Number != uint64(i+1) || r.Index != index || r.Hash != e.Hash || !bytes.Equal(r.Payload, e.Payload) {
			t.Fatalf("record %d: got %d, index %d, want index %d", i+1, r.Number, r.Index, index)
		}
		index += uint64(r.Count)
		i++
		return nil
	})
	if err != nil || i != len(all) || l.End().Index != index-1 {
		t.Fatalf("got %d records from %d on, and the end %+v, %v; want %d", i, first, l.End(), err, len(all))
	}
}

func TestTrim_wholeSegmentsAtTheFront(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	all := grow(t, l, a, 6)
	if err := l.Trim(1); err != nil || l.First() != 1 {
		t.Fatalf("nothing is before event 1: %v, first %d", err, l.First())
	}
	segs, bytes := imageOf(t, dir).segments(), l.Stats().Bytes
	if err := l.Trim(l.Excess(time.Time{}, bytes-1)); err != nil {
		t.Fatal(err)
	}
	if got := imageOf(t, dir).segments(); !slices.Equal(got, segs[1:]) || l.Stats().Segments != 5 || l.Stats().Bytes >= bytes {
		t.Errorf("a byte too much: got %v of %v, %+v", got, segs, l.Stats())
	}
	holdsFrom(t, l, all)
	if err := l.Trim(math.MaxUint64); err != nil { // all but the segment of the last record
		t.Fatal(err)
	}
	if l.Stats().Segments > 2 || l.First() > l.End().Index {
		t.Errorf("got %+v, first %d", l.Stats(), l.First())
	}
	holdsFrom(t, l, all)
	e := a.entry(t, 2, 10)
	mustAppend(t, l, e)
	all = append(all, e)
	first := l.First()
	for range 2 {
		mustClose(t, l)
		l = mustOpen(t, dir, small())
		if l.First() != first {
			t.Errorf("opened, it begins with event %d, want %d", l.First(), first)
		}
		holdsFrom(t, l, all)
		all = append(all, grow(t, l, a, l.Stats().Segments+1)...) // the chain goes on
	}
	if chains, err := Verify(t.Context(), dir, testKey(), nil); err != nil || len(chains) != 1 || chains[0].Head != a.hash {
		t.Errorf("verify: %+v, %v", chains, err)
	}
	n := 0
	if err := Dump(dir, testKey(), 0, func(Record, *Commit) error { n++; return nil }); err != nil || n == 0 || n >= len(all) {
		t.Errorf("dump: %d records, %v", n, err)
	}
	gone, err := l.Missing(t.Context(), func(Incarnation) uint64 { return 3 }, 0, func(Record) error { return errors.New("given") })
	if err != nil || !slices.Equal(gone, []Incarnation{a.inc}) {
		t.Errorf("what was trimmed is missed: got %v, %v", gone, err)
	}
	var last []Record
	gone, err = l.Missing(t.Context(), func(Incarnation) uint64 { return a.last - 1 }, 0, func(r Record) error { last = append(last, r); return nil })
	if err != nil || gone != nil || len(last) != 1 {
		t.Errorf("what is there is missed: got %v, %v, %v", gone, last, err)
	}
}

// asked calls a function when it is asked for the first time whether it has ended.
type asked struct {
	context.Context
	once *sync.Once
	call func()
}

func (a asked) Err() error {
	a.once.Do(a.call)
	return a.Context.Err()
}

// Who reads the folder beside the log's owner takes no trim for damage: all is verified from where the log begins then, and of what is dumped nothing is
// left out between two records, or said twice.
func TestTrim_besideReaders(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a := &author{inc: l.Incarnation()}
	all := grow(t, l, a, 6)
	trim := func() {
		if err := l.Trim(math.MaxUint64); err != nil {
			t.Error(err)
		}
	}
	known := Known{Inc: a.inc, Seq: a.last, Hash: a.hash.String(), From: "paper"}
	chains, err := Verify(asked{t.Context(), new(sync.Once), trim}, l.dir, testKey(), nil, known)
	if err != nil || l.First() == 1 || len(chains) != 1 || chains[0].Head != a.hash || chains[0].First != chains[0].Trimmed+1 || chains[0].Agreed != 1 ||
		chains[0].Holds() != a.last-chains[0].Trimmed {
		t.Errorf("verify: %v, %+v", err, chains)
	}
	holdsFrom(t, l, all)
	grow(t, l, a, 6)
	first, seen := l.First(), []Record(nil)
	err = Dump(l.dir, testKey(), 0, func(r Record, _ *Commit) error {
		if seen = append(seen, r); len(seen) == 1 {
			trim()
		}
		return nil
	})
	if !errors.Is(err, ErrTrimmed) || seen[0].Index != first || seen[len(seen)-1].Last() >= l.First() {
		t.Errorf("dump: %d records of a log that began with event %d, and begins with %d: %v", len(seen), first, l.First(), err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, read := range []func() error{
		func() error {
			chains, err := Verify(t.Context(), l.dir, testKey(), nil)
			if err == nil && (len(chains) != 1 || chains[0].First != chains[0].Trimmed+1) {
				t.Errorf("verify: %+v", chains)
			}
			return err
		},
		func() error {
			seen, _, err := dumped(l.dir, 0)
			for i := range seen[min(1, len(seen)):] {
				if seen[i].Number+1 != seen[i+1].Number {
					t.Errorf("dump: record %d comes after %d", seen[i+1].Number, seen[i].Number)
				}
			}
			if errors.Is(err, ErrTrimmed) && len(seen) > 0 {
				return nil
			}
			return err
		},
	} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := read(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 100 {
		grow(t, l, a, 4)
		trim()
	}
	close(stop)
	wg.Wait()
}

func TestExcess(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := small()
	o.Now = func() time.Time { now = now.Add(time.Second); return now }
	l := mustOpen(t, ram(t), o)
	begun := now
	grow(t, l, &author{inc: l.Incarnation()}, 5)
	if got := l.Excess(time.Time{}, 0); got != 1 {
		t.Errorf("without a limit: got %d", got)
	}
	if got := l.Excess(begun, math.MaxInt64); got != 1 {
		t.Errorf("nothing is so old or too much: got %d", got)
	}
	if got := l.Excess(now.Add(time.Hour), 0); got <= l.End().Index/2 || got > l.End().Index {
		t.Errorf("all is too old: got %d of %d", got, l.End().Index)
	}
	half := begun.Add(now.Sub(begun) / 2)
	old := l.Excess(half, 0)
	if old <= 1 || old >= l.End().Index {
		t.Fatalf("got %d", old)
	}
	err := l.Read(t.Context(), 0, func(r Record) error {
		if r.Index < old && !r.At.Before(half) {
			t.Errorf("event %d of %v would go, and is not older than %v", r.Index, r.At, half)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Excess(half, 1); got < old {
		t.Errorf("either limit: got %d", got)
	}
}

// Whatever of a trim was done when the power went: the log is all there or begins where it was to, and no more is left over after the next Open.
func TestTrim_crash(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	all := grow(t, l, a, 5)
	if err := l.Trim(l.Excess(time.Time{}, l.Stats().Bytes-1)); err != nil { // so that there is a floor already
		t.Fatal(err)
	}
	all = append(all, grow(t, l, a, 6)...)
	l.keep()
	was, before := l.First(), imageOf(t, dir)
	mid := l.Excess(time.Time{}, l.Stats().Bytes-8192)
	if err := l.Trim(mid); err != nil {
		t.Fatal(err)
	}
	die(l)
	after := imageOf(t, dir)
	var floor, oldFloor string
	for name := range after {
		if filepath.Ext(name) == floorEnd {
			floor = name
		}
	}
	for name := range before {
		if filepath.Ext(name) == floorEnd {
			oldFloor = name
		}
	}
	if floor == oldFloor || floor == "" || oldFloor == "" {
		t.Fatalf("floors %q, %q", oldFloor, floor)
	}
	slots := func(first, second image) []byte {
		b := bytes.Clone(second[manifestName])
		copy(b, first[manifestName][:slotSize])
		return b
	}
	steps := map[string]image{
		"within the file of the heads":   before.with("floor.tmp", after[floor][:10]),
		"after it, before MANIFEST":      before.with(floor, after[floor]),
		"after the first of its parts":   before.with(floor, after[floor]).with(manifestName, slots(after, before)),
		"after the other of them":        before.with(floor, after[floor]).with(manifestName, slots(before, after)),
		"after both":                     before.with(floor, after[floor]).with(manifestName, after[manifestName]),
		"after a segment was removed":    before.with(floor, after[floor]).with(manifestName, after[manifestName]).with(before.segments()[0], nil),
		"after another but the first":    before.with(floor, after[floor]).with(manifestName, after[manifestName]).with(before.segments()[1], nil),
		"before the old floor was":       after.with(oldFloor, before[oldFloor]),
		"after all of it":                after,
		"after, with one part torn":      after.with(manifestName, append(make([]byte, slotSize), after[manifestName][slotSize:]...)),
		"after, with the other torn":     after.with(manifestName, append(bytes.Clone(after[manifestName][:slotAt]), make([]byte, slotSize)...)),
		"before any of it, for the test": before,
	}
	for what, im := range steps {
		d := ram(t)
		im.put(t, d)
		l, err := Open(d, small())
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if first := l.First(); first != was && first != mid {
			t.Errorf("%s: it begins with event %d, want %d or %d", what, first, was, mid)
		}
		holdsFrom(t, l, all)
		if segs := imageOf(t, d).segments(); segs[0] != segmentName(l.tail.Load().markAt(0).number) {
			t.Errorf("%s: opened, there is still %s", what, segs[0])
		}
		b := *a
		mustAppend(t, l, b.entry(t, 1, 10))
		if err := l.Trim(mid); err != nil || l.First() != mid { // once more, to its end
			t.Errorf("%s: trimmed again: %v", what, err)
		}
		got := imageOf(t, d)
		delete(got, "floor.tmp")
		if !slices.Equal(got.segments(), after.segments()) || got[oldFloor] != nil || got[floor] == nil {
			t.Errorf("%s: left over: %v", what, slices.Sorted(maps.Keys(got)))
		}
		mustClose(t, l)
	}
}

// Damage of what says where the log was trimmed is refused, by name, and so is a segment that is missing although no trim took it.
func TestTrim_damage(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	grow(t, l, &author{inc: l.Incarnation()}, 5)
	if err := l.Trim(l.Excess(time.Time{}, l.Stats().Bytes-1)); err != nil {
		t.Fatal(err)
	}
	name := floorName(l.tail.Load().markAt(0).number)
	mustClose(t, l)
	whole := imageOf(t, dir)
	for i := range whole[name] {
		bad := bytes.Clone(whole[name])
		bad[i] ^= 1 << (i % 8)
		whole.with(name, bad).put(t, dir)
		mustRefuse(t, dir, "floor flipped")
	}
	whole.with(name, nil).put(t, dir)
	if _, err := Open(dir, small()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without it: got %v", err)
	}
	whole.with(whole.segments()[0], nil).put(t, dir)
	mustRefuse(t, dir, "the first segment is missing")
}

// Trimmed at random, with jumps and several authors in between: heads and what is missed are those of the log that was not trimmed, as far as they go.
func TestTrim_random(t *testing.T) {
	rnd := random(t)
	for range 8 {
		dir := ram(t)
		l, ref := mustOpen(t, dir, small()), mustOpen(t, ram(t), small())
		authors := []*author{{inc: 1}, {inc: 2}, {inc: 3}}
		for range 120 {
			a := authors[rnd.IntN(len(authors))]
			e := a.entry(t, 1+rnd.IntN(3), rnd.IntN(600))
			switch {
			case rnd.IntN(12) == 0: // this host is told the state: some are further on, some back
				j := Jump{Cause: "test", State: []byte("x")}
				for _, a := range authors {
					if rnd.IntN(3) == 0 {
						a.entry(t, 1, 1) // is not here
					}
					if a.last > 0 {
						j.Heads = append(j.Heads, JumpHead{Inc: a.inc, Seq: a.last, Hash: a.hash})
					}
				}
				var err error
				if e, err = j.Entry(); err != nil {
					t.Fatal(err)
				}
			}
			mustAppend(t, l, e)
			mustAppend(t, ref, e)
			if rnd.IntN(10) == 0 {
				if err := l.Trim(1 + rnd.Uint64N(l.End().Index)); err != nil {
					t.Fatal(err)
				}
			}
			if rnd.IntN(20) == 0 {
				if rnd.IntN(2) == 0 {
					mustClose(t, l)
				} else {
					die(l)
				}
				l = mustOpen(t, dir, small())
			}
		}
		for _, a := range authors {
			last, hash := l.Head(a.inc)
			if wantLast, wantHash := ref.Head(a.inc); last != wantLast || hash != wantHash {
				t.Fatalf("head of %v: got %d, want %d", a.inc, last, wantLast)
			}
			for had := range a.last {
				got, gone := missed(t, l, a.inc, had)
				want, refGone := missed(t, ref, a.inc, had)
				if refGone && !gone || !gone && !slices.Equal(got, want) {
					t.Fatalf("who has %d of %v lacks %v (gone: %v), want %v (gone: %v)", had, a.inc, got, gone, want, refGone)
				}
			}
		}
	}
}

// missed are the seqs that are given to who has so many of one incarnation, and all of the others.
func missed(t *testing.T, l *Log, inc Incarnation, had uint64) (seqs []uint64, gone bool) {
	t.Helper()
	lacks, err := l.Missing(context.Background(), func(i Incarnation) uint64 {
		if i == inc {
			return had
		}
		return math.MaxUint64
	}, 0, func(r Record) error { seqs = append(seqs, r.Seq); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return seqs, lacks != nil
}

// What was trimmed off is held to the log as if it still stood there: whatever was changed, left out or put in is found, and whose it is, also where whoever
// did it has made the hashes anew.
func TestVerify_trimmed(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a, b := &author{inc: 10}, &author{inc: 20}
	var gone []Record
	for l.Stats().Segments < 6 {
		mustAppend(t, l, a.entry(t, 1, 300), b.entry(t, 2, 100))
	}
	if err := l.Replay(1, func(r Record) error {
		gone = append(gone, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	early := Known{Inc: 10, Seq: 2, Hash: gone[2].Hash.String(), From: "paper"}
	if err := l.Trim(math.MaxUint64); err != nil || l.First() < 10 {
		t.Fatalf("the log begins with event %d, %v", l.First(), err)
	}
	verify := func(all []Record) ([]Chain, error) {
		return Verify(t.Context(), l.dir, testKey(), func(_ context.Context, before uint64, fn func(Record) error) error {
			for _, r := range all {
				if r.Index >= before {
					break
				}
				if err := fn(r); err != nil {
					return err
				}
			}
			return nil
		}, early)
	}
	chains, err := verify(gone)
	if err != nil || len(chains) != 2 || chains[0].Trimmed != 0 || chains[0].Last != a.last || chains[0].Holds() != a.last || chains[0].Agreed != 1 || chains[1].Holds() != b.last {
		t.Fatalf("as it was: %v, %+v", err, chains)
	}
	if chains, err := verify(nil); err != nil || chains[0].Trimmed == 0 || chains[0].Unheld != 1 {
		t.Errorf("where it is not to be had: %v, %+v", err, chains)
	}
	if chains, err := verify(gone[4:]); err != nil || chains[0].Trimmed != 2 || chains[1].Trimmed != 4 || chains[0].Unheld+chains[0].Agreed != 1 {
		t.Errorf("without its beginning: %v, %+v", err, chains)
	}
	other := &author{inc: 10, last: gone[4].Seq - 1, hash: gone[2].Hash}
	forged := other.entry(t, 1, 280)
	changed := slices.Clone(gone)
	changed[4].Payload, changed[4].Hash = forged.Payload, forged.Hash
	foreign := (&author{inc: 30}).entry(t, 1, 50)
	last := slices.IndexFunc(gone, func(r Record) bool { return r.Last() >= l.First()-1 })
	put := slices.Clone(gone)
	put[last] = Record{Number: put[last].Number, Index: put[last].Index, Count: 1, Inc: 30, Seq: 1, Hash: foreign.Hash, Payload: foreign.Payload}
	for what, c := range map[string]struct {
		all []Record
		inc Incarnation
	}{
		"changed, with its hash": {changed, 10}, "left out": {slices.Delete(slices.Clone(gone), 6, 7), gone[6].Inc},
		"its end left out": {gone[:last], gone[last].Inc}, "put in": {put, 30},
		"nothing left of it": {gone[:1], 20},
	} {
		chains, err := verify(c.all)
		i := slices.IndexFunc(chains, func(x Chain) bool { return x.Inc == c.inc })
		if err == nil || i < 0 || chains[i].Bad == nil || !strings.Contains(err.Error(), fmt.Sprintf("host \"alpha\", incarnation %v, ", c.inc)) {
			t.Errorf("%s: of %v nothing is found, or not whose it is: %v", what, c.inc, err)
		}
	}
	wrong := errors.New("damaged")
	if _, err := Verify(t.Context(), l.dir, testKey(), func(context.Context, uint64, func(Record) error) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("what cannot be read: %v", err)
	}
}

// A trim at any moment of a Missing makes no gap: what is trimmed off before anything has been given is gone, and what is lacked of it elsewhere is
// given all the same; once something has been given, either all of it is, or ErrTrimmed says that it is not.
func TestMissing_besideATrim(t *testing.T) {
	ctx := context.Background()
	trim := func(l *Log) {
		if err := l.Trim(math.MaxUint64); err != nil {
			t.Fatal(err)
		}
	}
	for _, had := range []uint64{0, math.MaxUint64} { // of the incarnation that begins in what is trimmed off
		l := mustOpen(t, ram(t), small())
		old, young := &author{inc: 10}, &author{inc: 20}
		mustAppend(t, l, old.entry(t, 1, 100))
		grow(t, l, old, 4)
		mustAppend(t, l, young.entry(t, 2, 100), young.entry(t, 1, 100))
		seen := uint64(0)
		gone, err := l.Missing(ctx, func(inc Incarnation) uint64 { // which is asked once it is known what there is
			if l.First() == 1 {
				trim(l)
			}
			if inc == old.inc {
				return had
			}
			return 0
		}, 0, func(r Record) error {
			if r.Inc == young.inc {
				seen = r.Seq + uint64(r.Count) - 1
			}
			return nil
		})
		if err != nil || had == 0 != slices.Equal(gone, []Incarnation{old.inc}) || seen != young.last {
			t.Errorf("who has %d of what is trimmed off before the first is given: gone %v, of the other up to %d, want %d, %v", had, gone, seen, young.last, err)
		}
	}

	l := mustOpen(t, ram(t), small())
	a := &author{inc: l.Incarnation()}
	grow(t, l, a, 6)
	seen := uint64(0)
	gone, err := l.Missing(ctx, func(Incarnation) uint64 { return 0 }, 0, func(r Record) error {
		if r.Seq == 1 {
			trim(l)
		}
		if r.Seq != seen+1 {
			t.Errorf("event %d comes after %d", r.Seq, seen)
		}
		seen = r.Seq + uint64(r.Count) - 1
		return nil
	})
	if gone != nil || !errors.Is(err, ErrTrimmed) || seen == 0 || seen >= a.last {
		t.Errorf("of what is trimmed off while it is given: gone %v, up to %d of %d, %v, want ErrTrimmed", gone, seen, a.last, err)
	}
}

// TestMissing_besideTrims reads again and again while a log is written and trimmed.
func TestMissing_besideTrims(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a := &author{inc: l.Incarnation()}
	grow(t, l, a, 4)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				had := l.Floor(a.inc) // what is trimmed off next is behind it
				last := l.End().Index // what is durable, and of one incarnation alone
				seen := had
				gone, err := l.Missing(context.Background(), func(Incarnation) uint64 { return had }, 0, func(r Record) error {
					if r.Seq > seen+1 {
						t.Errorf("event %d comes after %d", r.Seq, seen)
					}
					seen = r.Seq + uint64(r.Count) - 1
					return nil
				})
				switch {
				case errors.Is(err, ErrTrimmed) && seen > had, err == nil && gone != nil && seen == had, err == nil && gone == nil && seen >= last:
				default:
					t.Errorf("who has %d of %d: given up to %d, gone %v, %v", had, last, seen, gone, err)
					return
				}
			}
		})
	}
	for range 200 {
		grow(t, l, a, 4)
		if err := l.Trim(math.MaxUint64); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
