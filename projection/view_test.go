package projection

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

func TestSince_edges(t *testing.T) {
	log := newMemoryLog()
	l, _ := running(t, log)
	mustRecord(t, l, put("a/1", `{}`))                   // 1
	mustRecord(t, l, put("a/2", `{}`), put("a/3", `{}`)) // 2, 3
	mustRecord(t, l, put("a/4", `{}`))                   // 4
	old := l.View()                                      //
	mustRecord(t, l, put("a/1", `{"n":1}`))              // 5
	check := func(v *View, index uint64, want string) {
		t.Helper()
		steps, ok := v.Since(index)
		got := fmt.Sprint(ok)
		for i := range steps {
			s := &steps[i]
			got += fmt.Sprintf(" %d-%d", s.First(), s.After.Index())
			if i > 0 && s.Before != steps[i-1].After {
				t.Error("a step does not begin where the one before it ends")
			}
			if s.Commit.Seq != s.First() || s.Commit.Last() != s.After.Index() {
				t.Errorf("step %d-%d holds the commit of %d-%d", s.First(), s.After.Index(), s.Commit.Seq, s.Commit.Last())
			}
			for n, e := range s.Commit.Events {
				if o, ok := s.After.Lookup(e.Key); !ok || o.Stamp != s.Commit.Stamp(n) || string(o.Version.Object) != string(e.Object) {
					t.Errorf("step at %d tells of %s, which is %+v after it", s.First(), e.Key, o)
				}
			}
		}
		if got != want {
			t.Errorf("since %d of %d: %s, want %s", index, v.Index(), got, want)
		}
	}
	for _, v := range []*View{l.View(), mustOpen(t, log, nil, 0).View()} {
		check(v, 0, "true 1-1 2-3 4-4 5-5")
		check(v, 1, "true 2-3 4-4 5-5")
		check(v, 2, "true 2-3 4-4 5-5") // within a commit
		check(v, 3, "true 4-4 5-5")
		check(v, 5, "true")
		check(v, 6, "false") // the future
		check(v, 1<<63, "false")
	}
	check(old, 3, "true 4-4")
	check(old, 4, "true")
	check(old, 5, "false")
	check(mustOpen(t, newMemoryLog(), nil, 0).View(), 0, "true")
}

// Changed is closed when there is a newer view, and not before; whoever waits for it misses nothing.
func TestView_changed(t *testing.T) {
	log := newMemoryLog()
	l, _ := running(t, log)
	first := l.View()
	mustRecord(t, l) // nothing to do
	select {
	case <-first.Changed:
		t.Fatal("woken for nothing")
	default:
	}
	const n = 200
	told := make(chan uint64)
	go func() {
		defer close(told)
		for v := first; ; v = l.View() {
			select {
			case told <- v.Index():
			case <-time.After(10 * time.Second):
				return
			}
			if v.Index() == n {
				return
			}
			select {
			case <-v.Changed:
			case <-time.After(10 * time.Second):
				return
			}
		}
	}()
	go func() {
		for range n {
			if _, err := l.Record(context.Background(), By{}, set(put("a/x", `{}`))); err != nil {
				t.Error(err)
			}
		}
	}()
	last := uint64(0)
	for at := range told {
		if at < last {
			t.Errorf("told of %d after %d", at, last)
		}
		last = at
	}
	if last != n {
		t.Errorf("the last view that a waiter saw is at %d, want %d", last, n)
	}
}

func TestSince_remembersSoMuchAndNoMore(t *testing.T) {
	log := newMemoryLog()
	l, _ := running(t, log)
	views := []*View{}
	for i := range 5 * recent {
		mustRecord(t, l, put("a/x", fmt.Sprintf(`{"n":%d}`, i)))
		v := l.View()
		if i%700 == 0 {
			views = append(views, v)
		}
		if got, least := len(v.steps), min(i+1, recent); got < least || got > 2*recent {
			t.Fatalf("after %d commits the view remembers %d, want between %d and %d", i+1, got, least, 2*recent)
		}
		if got := cap(v.steps); got > 8*recent {
			t.Fatalf("after %d commits the view holds room for %d steps", i+1, got)
		}
	}
	end := l.View().Index()
	if steps, ok := l.View().Since(end - recent); !ok || len(steps) != recent {
		t.Errorf("%d steps since %d commits ago, want them all", len(steps), recent)
	}
	if _, ok := l.View().Since(1); ok {
		t.Error("the view says that it remembers everything")
	}
	if steps, ok := mustOpen(t, log, nil, 0).View().Since(end - recent); !ok || len(steps) != recent {
		t.Errorf("after a start: %d steps, want the last %d", len(steps), recent)
	}
	for _, v := range views { // older views are what they were
		for i, step := range v.steps {
			if got, want := step.After.Index(), v.Index()-uint64(len(v.steps)-1-i); got != want {
				t.Fatalf("a view at %d has step %d at %d, want %d", v.Index(), i, got, want)
			}
		}
	}
}

// What Since hands out must be safe to append to, since the ledger appends to the same array.
func TestSince_canBeAppendedTo(t *testing.T) {
	l, _ := running(t, newMemoryLog())
	for range 5 {
		mustRecord(t, l, put("a/x", `{}`))
	}
	steps, _ := l.View().Since(0)
	mustRecord(t, l, put("a/x", `{}`))
	_ = append(steps, Step{})
	if steps, _ := l.View().Since(5); len(steps) != 1 || steps[0].Commit == nil {
		t.Errorf("the ledger's own memory was overwritten: %+v", steps)
	}
}

// Writers and readers all at once, on a real log: nobody misses anything, nothing is told twice, no state changes
// once it was seen, and a start finds it all.
func TestLedger_soak(t *testing.T) {
	const writers, each, keys = 64, 20, 40
	dir := t.TempDir()
	log := realLog(t, dir)
	l, stop := running(t, log)
	var acked atomic.Uint64
	var writing, watching sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(*firstSeed, uint64(w)))
			for i := range each {
				key := fmt.Sprintf("a/%d", r.IntN(keys))
				_, err := l.Record(context.Background(), By{Actor: fmt.Sprint(w)}, func(s *State) ([]Change, error) {
					changes := []Change{put(fmt.Sprintf("w/%d-%d", w, i), `{}`), {Kind: events.Declared, Key: key}}
					if _, ok := s.Lookup(key); !ok || r.IntN(3) > 0 {
						changes[1].Object = []byte(`{"n":1}`)
					}
					return changes, nil
				})
				if err != nil {
					t.Error(err)
				}
				acked.Add(1)
			}
		})
	}
	over := make(chan struct{})
	for range 8 {
		watching.Go(func() {
			v := mustOpen(t, newMemoryLog(), nil, 0).View()
			v = &View{State: v.State, Changed: l.View().Changed}
			var at uint64
			told := 0
			for last := false; ; {
				v = l.View()
				steps, ok := v.Since(at)
				if !ok {
					t.Errorf("Since(%d) of %d is not known", at, v.Index())
					return
				}
				for i := range steps {
					if steps[i].First() != at+1 {
						t.Errorf("told of event %d after %d", steps[i].First(), at)
					}
					at = steps[i].After.Index()
					told++
				}
				if n := 0; told%7 == 0 {
					for range v.All("w/") {
						n++
					}
					if n != told {
						t.Errorf("state at %d shows %d objects, want %d", at, n, told)
					}
				}
				if last {
					if told != writers*each {
						t.Errorf("told of %d commits, want %d", told, writers*each)
					}
					return
				}
				select {
				case <-v.Changed:
					if l.View().Index() <= v.Index() {
						t.Error("woken, and there is nothing newer")
					}
				case <-over:
					last = true
				}
			}
		})
	}
	writing.Wait()
	close(over)
	watching.Wait()
	stop()
	if got := acked.Load(); got != writers*each {
		t.Fatalf("%d acknowledged, want %d", got, writers*each)
	}
	t.Logf("%d commits shared %d syncs; seed %d", l.Stats().Commits.Load(), l.Stats().Batches.Load(), *firstSeed)
	want := l.View()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	got := mustOpen(t, realLog(t, dir), nil, 0).View()
	if got.Digest() != want.Digest() || got.Index() != want.Index() || !got.At().Equal(want.At()) || vectorOf(got.State) != vectorOf(want.State) {
		t.Errorf("after a start the state is at %d (%v), want %d (%v)", got.Index(), got.At(), want.Index(), want.At())
	}
	if string(encoded(t, got.State)) != string(encoded(t, want.State)) {
		t.Error("after a start the state is not, byte for byte, what it was")
	}
}
