package events

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func dumped(dir string, from uint64) ([]Record, []*Commit, error) {
	var records []Record
	var commits []*Commit
	err := Dump(dir, testKey(), from, func(r Record, c *Commit) error {
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
	if err := Dump(l.dir, testKey(), 0, func(Record, *Commit) error { return stop }); !errors.Is(err, stop) {
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

// TestDump_ownerWritesOn has the owner of the log in the middle of a write when Dump lists the segments, and a batch
// further when Dump comes to that place. Nothing of that is damage.
func TestDump_ownerWritesOn(t *testing.T) {
	im, all := crashed(t, 1, 1)
	name := segmentName(1)
	file := im[name]
	dir := ram(t)
	im.with(name, file[:len(file)-diskSize(all[3])-7]).put(t, dir) // record 3 is being written
	n := 0
	err := Dump(dir, testKey(), 0, func(Record, *Commit) error {
		n++
		return os.WriteFile(filepath.Join(dir, name), file, 0o640)
	})
	if err != nil || n != 2 {
		t.Errorf("got %d records and %v, want the 2 that were whole at first", n, err)
	}
}

// TestDump_findsWhatOpenRefuses damages logs whose records are each whole.
func TestDump_findsWhatOpenRefuses(t *testing.T) {
	dir := ram(t)
	l := mustOpen(t, dir, small())
	a := author{inc: l.Incarnation()}
	mustAppend(t, l, a.entry(t, 1, 20))
	mustClose(t, l)
	old := imageOf(t, dir)
	var futures [2]image
	for i := range futures {
		old.put(t, dir)
		b := a
		l := mustOpen(t, dir, small())
		mustAppend(t, l, b.entry(t, 1, 20+i))
		mustClose(t, l)
		futures[i] = imageOf(t, dir)
	}
	for what, im := range map[string]image{
		"MANIFEST of before the last record": futures[0].with(manifestName, old[manifestName]),
		"MANIFEST of another future":         futures[0].with(manifestName, futures[1][manifestName]),
		"a chain that breaks":                brokenChain(t),
	} {
		im.put(t, dir)
		var c *CorruptError
		if _, _, err := dumped(dir, 0); !errors.As(err, &c) {
			t.Errorf("%s: Dump finds %v", what, err)
		}
		if _, err := Verify(t.Context(), dir, testKey(), nil); !errors.As(err, &c) {
			t.Errorf("%s: Verify finds %v", what, err)
		}
		mustRefuse(t, dir, what)
	}
}

// brokenChain is a log in which a commit of another host does not follow on its commit before.
func brokenChain(t *testing.T) image {
	t.Helper()
	l := mustOpen(t, ram(t), small())
	b := &author{inc: 77}
	mustAppend(t, l, b.entry(t, 1, 10))
	b.hash = HashOf([]byte("of another future"))
	l.heads[b.inc] = head{last: 1, hash: b.hash} // the log believes something else, and takes what it would have refused
	mustAppend(t, l, b.entry(t, 1, 10))
	mustClose(t, l)
	return imageOf(t, l.dir)
}

func TestVerify_chains(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	a, b := &author{inc: l.Incarnation()}, &author{inc: 77}
	mustAppend(t, l, a.entry(t, 2, 10), b.entry(t, 1, 10), a.entry(t, 1, 10))
	b.last += 4
	mustAppend(t, l, jump(t, JumpHead{Inc: 77, Seq: 5, Hash: b.hash}, JumpHead{Inc: a.inc, Seq: 3, Hash: a.hash}), b.entry(t, 1, 10))
	chains, err := Verify(t.Context(), l.dir, testKey(), nil)
	want := []Chain{{Inc: a.inc, Node: "alpha", First: 1, Last: 3, Records: 2, Head: a.hash},
		{Inc: 77, Node: "alpha", First: 1, Last: 6, Records: 2, Lacks: []Range{{2, 5}}, Head: b.hash}}
	if err != nil || !reflect.DeepEqual(chains, want) || chains[1].Holds() != 2 {
		t.Fatalf("got %+v, %v, want %+v", chains, err, want)
	}
	wrong := b.entry(t, 1, 10) // the log takes a hash on trust; Verify does not
	wrong.Hash[0]++
	b.hash = wrong.Hash
	mustAppend(t, l, wrong, b.entry(t, 1, 10), a.entry(t, 1, 10))
	chains, err = Verify(t.Context(), l.dir, testKey(), nil)
	if err == nil || !strings.Contains(err.Error(), `host "alpha", incarnation 000000000000004d, event 7`) {
		t.Errorf("got %v, want the host, the incarnation and the event", err)
	}
	if chains[0].Bad != nil || chains[0].Last != 4 || chains[1].Bad == nil || chains[1].Last != 6 {
		t.Errorf("got %+v", chains)
	}
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

// TestVerify_anotherNumberOfEvents has a commit put down with more events than it has, which the log takes on trust.
func TestVerify_anotherNumberOfEvents(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	e := (&author{inc: l.Incarnation()}).entry(t, 1, 10)
	e.Count = 2
	mustAppend(t, l, e)
	if chains, err := Verify(t.Context(), l.dir, testKey(), nil); err == nil || len(chains) != 1 || chains[0].Bad == nil {
		t.Errorf("got %+v, %v", chains, err)
	}
}
