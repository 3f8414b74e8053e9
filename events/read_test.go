package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
		"gap in the own":    gap.entry(t, 1, 10),
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
	all = append(all, good, ahead.entry(t, 1, 10))
	mustAppend(t, l, all[2:]...) // a gap in another's events is one that was transferred as state
	mustHold(t, l, all)
	mustClose(t, l)
	mustHold(t, mustOpen(t, l.dir, small()), all)
}

func dumped(dir string, from uint64) ([]Record, []*Commit, error) {
	var records []Record
	var commits []*Commit
	err := Dump(dir, from, func(r Record, c *Commit) error {
		records, commits = append(records, r), append(commits, c)
		return nil
	})
	return records, commits, err
}

func TestDump_besideItsOwner(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a := &author{inc: l.Incarnation()}
	for i := range 30 {
		mustAppend(t, l, a.entry(t, 2, 200))
		rs, cs, err := dumped(l.dir, 0)
		if err != nil || len(rs) != i+1 || cs[i].Seq != uint64(2*i+1) || len(cs[i].Events) != 2 || rs[i].Last() != l.End().Index {
			t.Fatalf("after %d records: got %d, %v", i+1, len(rs), err)
		}
	}
	rs, _, err := dumped(l.dir, 20)
	if err != nil || len(rs) != 21 || rs[0].Index != 19 {
		t.Errorf("from event 20: got %d records, %v; want 21 from the one that holds it", len(rs), err)
	}
	stop := errors.New("stop")
	if err := Dump(l.dir, 0, func(Record, *Commit) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of the function", err)
	}
	if rs, _, err := dumped(t.TempDir(), 0); err == nil || len(rs) > 0 {
		t.Errorf("no log: got %d records, %v", len(rs), err)
	}
}

func TestDump_appendsUnderWay(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			before := l.End()
			if rs, _, err := dumped(l.dir, 0); err != nil || uint64(len(rs)) < before.Record {
				t.Errorf("got %d records and %v, want %d or more", len(rs), err, before.Record)
				return
			}
		}
	})
	a := &author{inc: l.Incarnation()}
	for range 150 {
		mustAppend(t, l, a.entry(t, 1, 500), a.entry(t, 1, 100))
	}
	close(done)
	wg.Wait()
}

func TestDump_damaged(t *testing.T) {
	im, all := manySegments(t)
	segs := im.segments()
	dir := ram(t)
	for i, s := range segs {
		if len(im[s]) == 0 {
			continue
		}
		b := bytes.Clone(im[s])
		b[len(b)/2] ^= 1
		broken := im.with(s, b)
		broken.put(t, dir)
		rs, _, err := dumped(dir, 0)
		var c *CorruptError
		if !errors.As(err, &c) || c.Segment != s || uint64(len(rs)) != c.Index-1 || i == 0 && len(rs) == 0 {
			t.Errorf("damage in segment %s: got %d records and %v", s, len(rs), err)
		}
		if !same(broken, imageOf(t, dir)) {
			t.Errorf("damage in segment %s: Dump has changed the folder", s)
		}
	}
	im.with(manifestName, nil).put(t, dir)
	if rs, _, err := dumped(dir, 0); err == nil || len(rs) != len(all) {
		t.Errorf("without MANIFEST: got %d records and %v, want %d and an error", len(rs), err, len(all))
	}
	im.with(segs[len(segs)-1], nil).put(t, dir)
	if _, _, err := dumped(dir, 0); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("without the last segment: got %v", err)
	}
}

func TestDump_unfinishedEnd(t *testing.T) {
	im, all := crashed(t, 1)
	dir := ram(t)
	name := segmentName(1)
	torn := im.with(name, im[name][:len(im[name])-5])
	torn.put(t, dir)
	if rs, _, err := dumped(dir, 0); err != nil || len(rs) != len(all)-1 {
		t.Errorf("got %d records and %v, want %d", len(rs), err, len(all)-1)
	}
	if !same(torn, imageOf(t, dir)) {
		t.Error("Dump has changed the folder")
	}
}

func TestVerify_chains(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a, b := &author{inc: l.Incarnation()}, &author{inc: 77}
	mustAppend(t, l, a.entry(t, 2, 10), b.entry(t, 1, 10), a.entry(t, 1, 10))
	b.last += 4
	mustAppend(t, l, b.entry(t, 1, 10))
	chains, err := Verify(l.dir)
	want := []Chain{{Inc: a.inc, Node: "alpha", First: 1, Last: 3, Records: 2, Head: a.hash},
		{Inc: 77, Node: "alpha", First: 1, Last: 6, Records: 2, Gaps: 1, Head: b.hash}}
	if err != nil || len(chains) != 2 || chains[0] != want[0] || chains[1] != want[1] {
		t.Fatalf("got %+v, %v, want %+v", chains, err, want)
	}
	wrong := b.entry(t, 1, 10) // the log takes a hash on trust; Verify does not
	wrong.Hash[0]++
	b.hash = wrong.Hash
	mustAppend(t, l, wrong, b.entry(t, 1, 10), a.entry(t, 1, 10))
	chains, err = Verify(l.dir)
	if err == nil || !strings.Contains(err.Error(), `host "alpha", incarnation 000000000000004d, event 7`) {
		t.Errorf("got %v, want the host, the incarnation and the event", err)
	}
	if chains[0].Bad != nil || chains[0].Last != 4 || chains[1].Bad == nil || chains[1].Last != 6 {
		t.Errorf("got %+v", chains)
	}
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

// TestDump_damageAboveTheWatermark has a whole batch after the damage, so it is none that a crash leaves.
func TestDump_damageAboveTheWatermark(t *testing.T) {
	im, all := crashed(t, 1, 1)
	name := segmentName(1)
	b := bytes.Clone(im[name])
	b[len(b)-diskSize(all[3])-3] ^= 1
	dir := ram(t)
	im.with(name, b).put(t, dir)
	rs, _, err := dumped(dir, 0)
	var c *CorruptError
	if !errors.As(err, &c) || c.Index != 3 || len(rs) != 2 {
		t.Errorf("got %d records and %v, want 2 and the damage in event 3", len(rs), err)
	}
}
