package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tidwall/wal"
)

func TestRead_fromEveryEvent(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, ram(t), Options{SegmentBytes: 200 << 10, MinFree: 1, Reserve: -1})
	a := &author{inc: l.Incarnation()}
	var all []Entry
	for i := range 600 {
		e := a.entry(t, 1+i%3, 10+i*7%900)
		all = append(all, e)
		mustAppend(t, l, e)
	}
	if s := l.Stats(); s.Segments < 3 || len(l.tail.Load().marks) < 6 {
		t.Fatalf("%d segments, %d marks: too few to be a test", s.Segments, len(l.tail.Load().marks))
	}
	check := func(l *Log) {
		first, index := 0, uint64(1) // the record that holds event after+1
		for after := range l.End().Index + 2 {
			for first < len(all) && index+uint64(all[first].Count) <= after+1 {
				index += uint64(all[first].Count)
				first++
			}
			n, stop := first, errors.New("stop")
			err := l.Read(t.Context(), after, func(r Record) error {
				if r.Number != uint64(n+1) || !bytes.Equal(r.Payload, all[n].Payload) {
					return fmt.Errorf("got record %d, want %d", r.Number, n+1)
				}
				if n++; n == first+3 {
					return stop
				}
				return nil
			})
			if want := first+3 <= len(all); want != (err == stop) || err != stop && (err != nil || n != len(all)) {
				t.Fatalf("after %d: stopped at record %d of %d with %v", after, n, len(all), err)
			}
		}
		for from := range l.End().Record + 3 {
			want, stop := max(1, from), errors.New("stop")
			err := l.Replay(from, func(r Record) error {
				if r.Number != want {
					return fmt.Errorf("got record %d, want %d", r.Number, want)
				}
				return stop
			})
			if err != stop && !(err == nil && from > l.End().Record) {
				t.Fatalf("replay from %d: %v", from, err)
			}
		}
	}
	check(l)
	mustClose(t, l)
	check(mustOpen(t, l.dir, l.o)) // the marks of the scan are as good as those of the appends
}

func TestRead_endsWithItsContext(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a := &author{inc: l.Incarnation()}
	mustAppend(t, l, a.entry(t, 1, 10), a.entry(t, 1, 10))
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := l.Read(ctx, 0, func(Record) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("got %d records and %v, want 1 and that the context is over", n, err)
	}
}

// TestRead_besideAppends has readers follow a log that grows through many segments, each seeing every record once,
// while payloads that were read before are kept and must not change.
func TestRead_besideAppends(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	const records = 1500
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var after uint64
			kept := map[Hash][]byte{}
			for after < records {
				end := l.End()
				err := l.Read(t.Context(), after, func(r Record) error {
					if r.Index != after+1 {
						return fmt.Errorf("after event %d came %d", after, r.Index)
					}
					after = r.Last()
					kept[r.Hash] = r.Payload
					return nil
				})
				if err == nil && after < end.Index {
					err = fmt.Errorf("read up to %d, and %d was durable before", after, end.Index)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
			for h, b := range kept {
				if HashOf(b) != h {
					t.Errorf("a payload has changed after it was read: %.60s", b)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for !t.Failed() && l.End().Index < records {
			l.Stats()
			if err := l.Writable(); err != nil {
				t.Error(err)
			}
		}
	})
	a := &author{inc: l.Incarnation()}
	for range records / 5 {
		mustAppend(t, l, a.entry(t, 1, 50), a.entry(t, 3, 100), a.entry(t, 1, 10))
	}
	wg.Wait()
}

func TestReplay_damageSinceOpen(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := &author{inc: l.Incarnation()}
	mustAppend(t, l, a.entry(t, 1, 10), a.entry(t, 1, 10))
	name := filepath.Join(dir, segmentName(1))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-3] ^= 4
	if err := os.WriteFile(name, b, 0o640); err != nil {
		t.Fatal(err)
	}
	n := 0
	err = l.Replay(0, func(Record) error { n++; return nil })
	var c *CorruptError
	if !errors.As(err, &c) || c.Segment != segmentName(1) || c.Index != 2 || n != 1 {
		t.Errorf("got %d records and %v, want 1 and the damage in event 2", n, err)
	}
}

func TestAppend_refusesWhatDoesNotFollow(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a := &author{inc: l.Incarnation()}
	other := &author{inc: 77}
	all := []Entry{a.entry(t, 1, 10), other.entry(t, 2, 10)}
	mustAppend(t, l, all...)
	good := a.entry(t, 1, 10)
	forked := good
	fork := author{inc: a.inc, last: 1, hash: HashOf([]byte("another"))}
	forked = fork.entry(t, 1, 10)
	gap := author{inc: a.inc, last: 5, hash: all[0].Hash}
	most := author{inc: 99, last: 1<<64 - 3, hash: good.Hash}
	overflows := most.entry(t, 1, 10)
	overflows.Count = 3
	ahead := author{inc: 77, last: 9, hash: HashOf([]byte("seen elsewhere"))}
	bad := map[string]Entry{
		"no payload":        {Count: 1, Inc: a.inc, Seq: 2},
		"no events":         {Payload: good.Payload, Inc: a.inc, Seq: 2, Hash: good.Hash},
		"not a commit":      {Payload: []byte("{}"), Count: 1, Inc: a.inc, Seq: 2},
		"another number":    {Payload: good.Payload, Count: 1, Inc: a.inc, Seq: 3, Hash: good.Hash},
		"another's":         {Payload: good.Payload, Count: 1, Inc: 77, Seq: 3, Hash: good.Hash},
		"not this one's":    {Payload: good.Payload, Count: 1, Inc: 99, Seq: 2, Hash: good.Hash},
		"known":             all[0],
		"known of a peer":   all[1],
		"off the chain":     forked,
		"overflow":          overflows,
		"gap in the own":    gap.entry(t, 1, 10),
		"gap in another's":  ahead.entry(t, 1, 10),
		"good one, then it": {Payload: good.Payload, Count: 1, Inc: a.inc, Seq: 4},
	}
	before := imageOf(t, l.dir).data()
	for what, e := range bad {
		if err := l.Append([]Entry{e}); err == nil || errors.Is(err, ErrFailed) {
			t.Errorf("%s: got %v, want it refused", what, err)
		}
	}
	if err := l.Append([]Entry{good, good}); err == nil {
		t.Error("the same twice: appended")
	}
	if err := l.Append(nil); err == nil {
		t.Error("nothing: appended")
	}
	if !same(before, imageOf(t, l.dir).data()) {
		t.Error("something was written of what was refused")
	}
	all = append(all, good)
	mustAppend(t, l, good)
	mustHold(t, l, all)
	mustClose(t, l)
	mustHold(t, mustOpen(t, l.dir, small()), all)
}

// TestRead_onlyWhatIsDurable reads while an append is written and not yet synced.
func TestRead_onlyWhatIsDurable(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a := &author{inc: l.Incarnation()}
	all := []Entry{a.entry(t, 1, 10)}
	mustAppend(t, l, all...)
	l.sync = func(w *wal.Log) error {
		mustHold(t, l, all)
		if last, _ := l.Head(a.inc); last != 1 {
			t.Errorf("head: got %d before the sync, want 1", last)
		}
		return w.Sync()
	}
	next := a.entry(t, 1, 10)
	mustAppend(t, l, next)
	all = append(all, next)
	mustHold(t, l, all)
}
