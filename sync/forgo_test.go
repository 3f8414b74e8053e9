package sync

import (
	"bytes"
	"context"
	"slices"
	gosync "sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// long is a ledger that reads its log for one purpose until a channel is closed, or its reader ends.
type long struct {
	*projection.Ledger
	what    string // it is read for so long
	read    chan struct{}
	began   map[string]*atomic.Int32 // how often it was read for what
	reading atomic.Int32             // how many do
	most    atomic.Int32             // at once
}

func (l *long) reads(ctx context.Context, what string) error {
	l.began[what].Add(1)
	l.most.Store(max(l.most.Load(), l.reading.Add(1)))
	defer l.reading.Add(-1)
	if what == l.what {
		select {
		case <-l.read:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (l *long) Forgone(ctx context.Context) (inc events.Incarnation, after uint64, found bool, err error) {
	inc, after, found, err = l.Ledger.Forgone(ctx)
	if ended := l.reads(ctx, "what is given up"); ended != nil {
		return 0, 0, false, ended
	}
	return inc, after, found, err
}

func (l *long) Late(ctx context.Context) (int, error) {
	if err := l.reads(ctx, "what was said of it"); err != nil {
		return 0, err
	}
	return l.Ledger.Late(ctx)
}

// While its log is read a host goes on: it is heard and hears, takes what others record and says so, and takes changes. The log is read once at a time, and
// looked at again for what came meanwhile. A host that is to end leaves off.
func TestRun_whoReadsItsLogGoesOn(t *testing.T) {
	for _, what := range []string{"what is given up", "what was said of it"} {
		for name, ends := range map[string]bool{"read to its end": false, "left off": true} {
			t.Run(what+", "+name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { readsItsLog(t, what, ends) }) })
		}
	}
}

func readsItsLog(t *testing.T, what string, ends bool) {
	bus := &air{cut: map[string]bool{}}
	log := &long{what: what, read: make(chan struct{}), began: map[string]*atomic.Int32{"what is given up": {}, "what was said of it": {}}}
	a, la := live(t, bus, "a")
	mustApply(t, la, "first")
	b, lb := liveOn(t, antenna{bus, "b"}, "b", func(l *projection.Ledger) Ledger {
		log.Ledger = l
		return log
	})
	read := gosync.OnceFunc(func() { close(log.read) })
	if !ends { // else it is for the end of Run to end it, or the bubble finds that it waits for ever
		t.Cleanup(read)
	}
	time.Sleep(20 * time.Second)
	began := log.began[what].Load()
	id := mustApply(t, la, "x")
	mustApply(t, lb, "y") // of an incarnation that was not there yet
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if have, _, err := a.Spread(ctx, id, []string{"a", "b"}, 0); err != nil || !slices.Contains(have, "b") {
		t.Errorf("within a second %q are known to have what was recorded: %v", have, err)
	}
	for i := range 100 {
		time.Sleep(100 * time.Millisecond)
		p := a.peer("b")
		if !p.Alive || p.ReadOnly || time.Since(p.Heard) > time.Second || !slices.Contains(p.Hears, "a") || i >= 10 && p.Behind > 0 {
			t.Fatalf("a sees of b %+v", p)
		}
	}
	if st, _ := b.Status(); len(st.Problems) > 0 || !b.peer("a").Alive {
		t.Errorf("b says of itself %+v", st)
	}
	if now := log.began[what].Load(); log.reading.Load() != 1 || now != 1 || began != 1 {
		t.Errorf("it reads the log %d times at once, for the %d. time, and before another incarnation came for the %d.", log.reading.Load(), now, began)
	}
	if ends {
		return
	}
	read()
	time.Sleep(time.Second)
	for what, began := range log.began {
		if began.Load() == 0 {
			t.Errorf("it never looks for %s", what)
		}
	}
	if log.reading.Load() != 0 || log.most.Load() != 1 || what == "what is given up" && log.began[what].Load() != 2 {
		t.Errorf("then it reads the log %d times at once, %d did, and for %s it did so %d times", log.reading.Load(), log.most.Load(), what, log.began[what].Load())
	}
}

// What was found is of the commits that were held then. Where others have taken their numbers meanwhile, those stand.
func TestForgo_whatStandsByNowIsNotGivenUp(t *testing.T) {
	commits := chain(t, 9, 4)
	again := recordedAgain(t, commits, 9, 1)
	n := hostOf(t, commits)
	var jobs []func(context.Context) func()
	n.core.beside = func(job func(context.Context) func()) { jobs = append(jobs, job) }
	n.step(func() { n.core.take(arrivals(again, "", false)) })
	if len(jobs) != 1 || n.ledger.View().Head(9).Seq != 4 {
		t.Fatalf("%d looks, and it holds event %d", len(jobs), n.ledger.View().Head(9).Seq)
	}
	found := jobs[0](t.Context())

	stands := inPlaceOf(t, commits[1])
	n.step(func() {
		n.core.part(&search{peer: "b", inc: 9, common: 1}, events.Hash{2}, events.Hash{1})
		n.core.take(arrivals([][]byte{stands}, "", false))
	})
	if len(jobs) != 1 {
		t.Errorf("%d looks at once", len(jobs))
	}
	if n.step(found); n.ledger.View().Head(9).Hash != events.HashOf(stands) {
		t.Errorf("what stands is given up for what was found before: it holds %s", heads(n.ledger.View().State))
	}
	if len(jobs) != 2 {
		t.Fatalf("it is not looked for anew")
	}
	if n.step(jobs[1](t.Context())); n.ledger.View().Head(9).Hash != events.HashOf(stands) || n.core.counts.Forks != 1 || n.problems() != nil {
		t.Errorf("it holds %s, after %d forks: %q", heads(n.ledger.View().State), n.core.counts.Forks, n.problems())
	}
}

// Nor is what was found in a state given up in one that was taken over meanwhile.
func TestForgo_aStateThatWasTakenOverIsLookedAtAnew(t *testing.T) {
	n, other := hostOf(t, chain(t, 9, 4)), hostOf(t, chain(t, 7, 2))
	again := recordedAgain(t, chain(t, 9, 4), 9, 1)
	var state bytes.Buffer
	if err := other.ledger.View().Encode(&state); err != nil {
		t.Fatal(err)
	}
	var jobs []func(context.Context) func()
	n.core.beside = func(job func(context.Context) func()) { jobs = append(jobs, job) }
	n.step(func() { n.core.take(arrivals(again, "", false)) })
	found := jobs[0](t.Context())
	n.core.transfer = &transfer{peer: "b", id: 1}
	n.step(func() {
		n.core.onState(&answer{Answer: askState, From: "b", ID: 1, Whole: 7, Size: state.Len(), body: state.Bytes()})
	})
	if n.step(found); n.ledger.View().Head(7).Seq != 2 || n.ledger.View().Head(9).Seq != 4 || len(jobs) != 2 {
		t.Errorf("it holds %s, after %d looks", heads(n.ledger.View().State), len(jobs))
	}
}

// hostOf is a host that holds commits.
func hostOf(t *testing.T, commits [][]byte) *node {
	n, _ := lone(t)
	n.step(func() { n.core.take(arrivals(commits, "", false)) })
	return n
}

// What comes while it is looked for what others have said of what was given up is looked for once more: it may have come too late for that.
func TestSayAgain_whatComesMeanwhileIsLookedForAgain(t *testing.T) {
	n, _ := lone(t)
	ledger := &sick{Ledger: n.ledger}
	n.core.ledger = ledger
	var jobs []func(context.Context) func()
	n.core.beside = func(job func(context.Context) func()) { jobs = append(jobs, job) }
	n.core.lateSaid = true
	n.step(func() {})
	if len(jobs) != 1 {
		t.Fatalf("%d looks", len(jobs))
	}
	then := jobs[0](t.Context())
	n.step(n.core.gaveUp)
	n.step(then)
	if len(jobs) != 2 || ledger.again != 1 {
		t.Fatalf("%d looks, %d of them done", len(jobs), ledger.again)
	}
	if n.step(jobs[1](t.Context())); len(jobs) != 2 || ledger.again != 2 {
		t.Errorf("%d looks, %d of them done", len(jobs), ledger.again)
	}
}
