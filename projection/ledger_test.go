package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

func TestRecord_receiptSaysWhatIsOnDisk(t *testing.T) {
	log := realLog(t, t.TempDir())
	l, _ := running(t, log)
	first := mustRecord(t, l, put("deployment/default/a", `{"n":1}`))
	r := mustRecord(t, l, put("deployment/default/b", `{"n":2}`), put("deployment/default/a", `{"n":3}`))
	if got, want := []uint64{first.First, r.First, r.State.Index(), log.End().Index}, []uint64{1, 2, 3, 3}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("first, second, state and log are at %d, want %d", got, want)
	}
	a, _ := r.State.Lookup("deployment/default/a")
	if a.UID != first.Stamp.ID || a.Base != first.Stamp || string(a.Version.Object) != `{"n":3}` || a.Index != 3 {
		t.Errorf("a is %+v, want another version of what %v made", a, first.Stamp)
	}
	if !r.State.At().Equal(log.End().At) || l.View().State != r.State {
		t.Errorf("state is of %v and not the one published; the log's end is of %v", r.State.At(), log.End().At)
	}
	if got := r.Stamp.ID; got != (events.ID{Inc: log.Incarnation(), Seq: 2}) || r.Stamp.Time <= first.Stamp.Time {
		t.Errorf("receipt names %v after %v", r.Stamp, first.Stamp)
	}
	if got := l.Stats().Events[0].Load(); got != 3 {
		t.Errorf("%d declared events counted, want 3", got)
	}
}

func TestRecord_deleteEndsEveryObjectOfTheKey(t *testing.T) {
	s, ahead := NewState(), events.TimeOf(time.Now().Add(time.Hour))
	for inc := events.Incarnation(1); inc <= 2; inc++ { // two hosts create it at once, by a clock that is fast
		c := &events.Commit{Inc: inc, Seq: 1, Time: ahead, Events: []events.Event{
			{Kind: events.Declared, Key: "deployment/default/a", UID: events.ID{Inc: inc, Seq: 1}, Object: []byte(`{}`)}}}
		s = s.Fold(c, hashOf(c), s.Index()+1, time.Time{})
	}
	l := mustOpen(t, newMemoryLog(), nil, 0)
	c, err := l.stamp(s, By{}, []Change{{Kind: events.Declared, Key: "deployment/default/a"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Events[0].Ends) != 2 || c.Time <= ahead {
		t.Errorf("delete ends %v at %v, want both, later than their stamps", c.Events[0].Ends, c.Time.Wall())
	}
	if s = s.Fold(c, hashOf(c), s.Index()+1, time.Time{}); s.Len() != 0 {
		t.Errorf("%d keys are left, want none", s.Len())
	}
	c, err = l.stamp(s, By{}, []Change{put("deployment/default/a", `{}`)})
	if err != nil {
		t.Fatal(err)
	}
	if c.Events[0].UID != c.ID(0) {
		t.Errorf("created again, it has uid %v, want its own %v", c.Events[0].UID, c.ID(0))
	}
}

func TestRecord_refusesWhatCouldNotBeReadBack(t *testing.T) {
	log := realLog(t, t.TempDir())
	l, _ := running(t, log)
	for name, changes := range map[string][]Change{
		"changed twice":     {put("deployment/default/a", `{}`), put("deployment/default/a", `{"n":1}`)},
		"there is none":     {{Kind: events.Declared, Key: "deployment/default/gone"}},
		"want a kind":       {{Key: "deployment/default/a", Object: []byte(`{}`)}},
		"key like type":     {put("nowhere", `{}`)},
		"not a JSON object": {put("deployment/default/ok", `{}`), put("deployment/default/a", ``)},
		"want UTF-8":        {put("deployment/default/\xff", `{}`)},
		"cannot be read":    {put("deployment/default/<", `{no}`)},
	} {
		_, err := l.Record(context.Background(), By{Actor: "someone"}, set(changes...))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error is %v, want one that says %q", err, name)
		}
	}
	if got := log.End().Index; got != 0 || l.View().Index() != 0 || l.View().Len() != 0 {
		t.Errorf("log ends at %d, want 0: nothing may be recorded in part", got)
	}
}

// What would not be shown would be decided again and again.
func TestRecord_refusesADecisionForAnOlderDeclaration(t *testing.T) {
	l, _ := running(t, newMemoryLog())
	old := mustRecord(t, l, put("deployment/default/web", `{"n":1}`)).Stamp
	now := mustRecord(t, l, put("deployment/default/web", `{"n":2}`)).Stamp
	decide := func(declared events.Stamp, object []byte) error {
		_, err := l.Record(context.Background(), By{}, set(Change{Kind: events.Decided, Key: "placement/default/web/0", For: declared, Object: object}))
		return err
	}
	if err := errors.Join(decide(old, []byte(`{"n":1}`)), decide(now, []byte(`{"n":2}`)), decide(now, []byte(`{"n":3}`))); err != nil {
		t.Fatal(err)
	}
	index := l.View().Index()
	if err := decide(old, []byte(`{"n":4}`)); err == nil || !strings.Contains(err.Error(), "placement/default/web/0") || l.View().Index() != index {
		t.Errorf("got %v, and %d events more", err, l.View().Index()-index)
	}
	if err := decide(old, nil); err != nil { // an end is one whatever it is for
		t.Error(err)
	}
	if _, ok := l.View().Lookup("placement/default/web/0"); ok {
		t.Error("it has not ended")
	}
}

func TestRecord_nothingToDoIsNoError(t *testing.T) {
	log := newMemoryLog()
	l, _ := running(t, log)
	before := mustRecord(t, l, put("deployment/default/a", `{}`))
	r := mustRecord(t, l)
	if r.State != before.State || r.First != 0 || log.appends != 1 {
		t.Errorf("receipt %+v after %d appends, want the state as it was and one append", r, log.appends)
	}
	mine := errors.New("mine")
	if _, err := l.Record(context.Background(), By{}, func(*State) ([]Change, error) { return nil, mine }); err != mine {
		t.Errorf("error is %v, want decide's own", err)
	}
}

func TestRecord_panicHurtsItsCallerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		log.enter, log.leave = make(chan struct{}), make(chan struct{})
		l, stop := running(t, log)
		defer stop()
		errs := make(chan error, 3)
		record := func(decide func(*State) ([]Change, error)) {
			_, err := l.Record(t.Context(), By{Actor: "someone"}, decide)
			errs <- err
		}
		go record(set(put("a/1", `{}`)))
		<-log.enter
		go record(func(*State) ([]Change, error) { panic("oh") })
		go record(set(put("a/2", `{}`)))
		synctest.Wait()
		log.leave <- struct{}{}
		<-log.enter
		log.leave <- struct{}{}
		var said []string
		for range 3 {
			if err := <-errs; err != nil {
				said = append(said, err.Error())
			}
		}
		if len(said) != 1 || !strings.Contains(said[0], "someone: oh") {
			t.Errorf("errors are %q, want one that names who panicked, and why", said)
		}
		if got := l.View().Index(); got != 2 {
			t.Errorf("state is at %d, want 2: the others' commits", got)
		}
	})
}

// While one batch is on its way to disk, callers gather; they share the next sync, and each sees what those before
// it decided.
func TestRecord_callersShareOneSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		log.enter, log.leave = make(chan struct{}), make(chan struct{})
		l, stop := running(t, log)
		defer stop()
		count := func(s *State) ([]Change, error) {
			n := 0
			if o, ok := s.Lookup("count/er"); ok {
				fmt.Sscanf(string(o.Version.Object), `{"n":%d}`, &n)
			}
			return []Change{put("count/er", fmt.Sprintf(`{"n":%d}`, n+1))}, nil
		}
		indexes := make(chan uint64, 10)
		for range 10 {
			go func() {
				r, err := l.Record(t.Context(), By{}, count)
				if err != nil {
					t.Error(err)
				}
				indexes <- r.First
			}()
		}
		for released := false; !released; {
			<-log.enter
			synctest.Wait() // all others wait for the ledger now
			if got := l.View().Index(); got != uint64(len(log.records)) {
				t.Errorf("state is at %d while the log ends at %d: it was shown before it was on disk", got, len(log.records))
			}
			log.leave <- struct{}{}
			synctest.Wait()
			released = len(log.records) == 10
		}
		o, _ := l.View().Lookup("count/er")
		if string(o.Version.Object) != `{"n":10}` || log.appends > 2 {
			t.Errorf("counted to %s in %d appends, want 10 in at most 2", o.Version.Object, log.appends)
		}
		seen := map[uint64]bool{}
		for range 10 {
			seen[<-indexes] = true
		}
		if len(seen) != 10 {
			t.Errorf("receipts name %d different events, want 10", len(seen))
		}
	})
}

func TestRecord_failedAppendChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		l, stop := running(t, log)
		defer stop()
		mustRecord(t, l, put("a/0", `{}`))
		view, was := l.View(), encoded(t, l.View().State)

		log.enter, log.leave = make(chan struct{}), make(chan struct{})
		errs := make(chan error, 4)
		record := func(decide func(*State) ([]Change, error)) {
			_, err := l.Record(t.Context(), By{}, decide)
			errs <- err
		}
		log.err = events.ErrFull
		go record(set(put("a/1", `{}`)))
		<-log.enter
		for i := range 3 { // these gather meanwhile; the last two find that there is nothing to do, or refuse
			go record(func(s *State) ([]Change, error) {
				if _, ok := s.Lookup("a/2"); ok && i == 1 {
					return nil, nil
				} else if ok {
					return nil, errors.New("there is one already")
				}
				return []Change{put("a/2", `{}`)}, nil
			})
			synctest.Wait()
		}
		log.leave <- struct{}{}
		<-log.enter
		log.leave <- struct{}{}
		for range 4 {
			if err := <-errs; !errors.Is(err, events.ErrFull) {
				t.Errorf("error is %v, want %v: what it looked at did not happen", err, events.ErrFull)
			}
		}
		if l.View() != view || !bytes.Equal(encoded(t, l.View().State), was) {
			t.Error("the state changed all the same")
		}
		select {
		case <-view.Changed:
			t.Error("waiters were woken for nothing")
		default:
		}

		log.err, log.leave = nil, nil // there is room again
		mustRecord(t, l, put("a/3", `{}`), put("a/4", `{}`))
		r := mustRecord(t, l, put("a/5", `{}`))
		if r.First != 4 || r.Stamp.Seq != 4 {
			t.Errorf("after the failure the log goes on with event %d, seq %d, want 4 and 4", r.First, r.Stamp.Seq)
		}
		if got := mustOpen(t, log, nil, 0).View(); got.Digest() != r.State.Digest() {
			t.Error("replay gives another state: seq or hash chain went on from what did not happen")
		}
		steps, ok := l.View().Since(1)
		if !ok || len(steps) != 2 || steps[0].Before.Digest() != view.Digest() {
			t.Errorf("%d steps since the failure, want the 2 that happened", len(steps))
		}
	})
}

func TestRecord_ctx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		log.enter, log.leave = make(chan struct{}), make(chan struct{})
		l, stop := running(t, log)
		defer stop()
		over, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		record := func(ctx context.Context) {
			_, err := l.Record(ctx, By{}, set(put("a/1", `{}`)))
			errs <- err
		}
		go record(over) // taken on: waits for the disk
		<-log.enter
		go record(over) // not taken on yet
		synctest.Wait()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("error of who was not taken on is %v, want %v", err, context.Canceled)
		}
		synctest.Wait()
		if len(errs) != 0 {
			t.Error("who was taken on came back before the disk did")
		}
		log.leave <- struct{}{}
		if err := <-errs; err != nil {
			t.Errorf("error of who was taken on is %v, want none: it is on disk", err)
		}
		for range 50 { // the ledger is idle, so that a select alone would take it on half of the time
			if _, err := l.Record(over, By{}, set(put("a/2", `{}`))); !errors.Is(err, context.Canceled) {
				t.Fatalf("error is %v, want %v", err, context.Canceled)
			}
		}
	})
}

func TestRun_endsCleanly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		log.enter, log.leave = make(chan struct{}), make(chan struct{})
		l := mustOpen(t, log, nil, 0)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		errs := make(chan error, 1)
		go func() {
			_, err := l.Record(t.Context(), By{}, set(put("a/1", `{}`)))
			errs <- err
		}()
		<-log.enter
		cancel()
		synctest.Wait()
		if len(ended) != 0 {
			t.Error("Run returned with a commit under way")
		}
		log.leave <- struct{}{}
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
		if err := <-errs; err != nil {
			t.Errorf("the commit under way got %v, want none", err)
		}
		if _, err := l.Record(t.Context(), By{}, set(put("a/2", `{}`))); !errors.Is(err, ErrClosed) {
			t.Errorf("error is %v, want %v", err, ErrClosed)
		}
		if got := l.View().Index(); got != 1 {
			t.Errorf("state is at %d, want 1: it can still be read", got)
		}
	})
}
