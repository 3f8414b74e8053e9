package main

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	peersync "github.com/podman-swarm/podman-swarm/sync"
	"github.com/podman-swarm/podman-swarm/sync/peertest"
)

// runs runs something until the test is over.
func runs(t *testing.T, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// near is a network of the other hosts named, and of the agent a, which does not sync yet.
func near(t *testing.T, a *agent, others ...string) {
	net := peertest.NewNet(1)
	runs(t, func(ctx context.Context) error { net.Run(ctx); return nil })
	on := func(name string, l peersync.Ledger, log *events.Log) *peersync.Sync {
		s := &peersync.Sync{Bus: net.End(name), Ledger: l, Log: log, Node: name, Cluster: "default", Say: slog.New(slog.DiscardHandler),
			Ready: func() (bool, bool) { return false, false }}
		s.Open()
		return s
	}
	a.cluster.sync = on("a", a.ledger, a.events)
	for _, name := range others {
		k := newKeeper(t, name)
		runs(t, on(name, k.Ledger, k.log).Run)
	}
}

// Of five hosts three are a majority: what two of them know is not enough.
func TestHearOthers_aMajorityOfFive(t *testing.T) {
	for _, others := range [][]string{{"b"}, {"b", "c"}} {
		synctest.Test(t, func(t *testing.T) {
			a := seeing(t, "b", "c", "d", "e")
			a.c.RecoverAloneAfter = time.Minute
			near(t, a, others...)
			runs(t, a.cluster.sync.Run)
			began := time.Now()
			if err := a.hearOthers(t.Context()); err != nil {
				t.Fatal(err)
			}
			if alone := time.Since(began) >= a.c.RecoverAloneAfter; alone != (len(others) < 2) {
				t.Errorf("with what %q had it goes on after %v", others, time.Since(began))
			}
		})
	}
}

// While the log is read for what others have given up, nothing is begun on what is shown, and that is nobody's silence. The rest is heard meanwhile.
func TestHearOthers_notWhileItIsLookedForWhatWasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := seeing(t, "b")
		a.c.RecoverAloneAfter = time.Minute
		read := make(chan struct{})
		near(t, a, "b")
		a.cluster.sync.Ledger = &lengthy{a.ledger, read}
		a.cluster.sync.Open()
		runs(t, a.cluster.sync.Run)
		heard := make(chan error, 1)
		go func() { heard <- a.hearOthers(t.Context()) }()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(heard) > 0 {
			t.Fatalf("it goes on before it is known what was given up: %v", <-heard)
		}
		if st, _ := a.cluster.sync.Status(); len(st.Peers) != 1 || !st.Peers[0].Folded {
			t.Errorf("meanwhile %+v was heard", st.Peers)
		}
		close(read)
		began := time.Now()
		if err := <-heard; err != nil || time.Since(began) >= time.Second {
			t.Errorf("once it is, it goes on after %v, %v", time.Since(began), err)
		}
	})
}

// lengthy is a ledger that reads its log for what was given up until a channel is closed.
type lengthy struct {
	*projection.Ledger
	read chan struct{}
}

func (l *lengthy) Forgone(ctx context.Context) (events.Incarnation, uint64, bool, error) {
	select {
	case <-l.read:
	case <-ctx.Done():
	}
	return l.Ledger.Forgone(ctx)
}

// The patience with others begins once they can be heard.
func TestHearOthers_isNotOutOfPatienceBeforeItCanHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := seeing(t, "b")
		a.c.RecoverAloneAfter = time.Minute
		near(t, a, "b")
		heard := make(chan error, 1)
		go func() { heard <- a.hearOthers(t.Context()) }()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(heard) > 0 {
			t.Fatalf("it goes on alone, and could hear nobody yet: %v", <-heard)
		}
		runs(t, a.cluster.sync.Run)
		began := time.Now()
		if err := <-heard; err != nil || time.Since(began) >= time.Minute {
			t.Errorf("once it can, it goes on after %v, %v", time.Since(began), err)
		}
	})
}

// A host with an empty disk that takes over a long log from others is not alone, however long that takes: it would act on a part of what they know. But what
// never comes whole, such as what cannot be read, must not keep it from starting for good.
func TestPatience_lastsWhileEventsCome(t *testing.T) {
	start := time.Now()
	p := patience{each: time.Minute, until: start.Add(catchingUp * time.Minute)}
	for i, c := range []struct {
		after time.Duration
		came  peersync.Counts
		left  bool
	}{
		{time.Minute, peersync.Counts{Taken: 60_000}, true},
		{2 * time.Minute, peersync.Counts{Taken: 90_000}, true},
		{3 * time.Minute, peersync.Counts{Taken: 90_000}, false},
		{4 * time.Minute, peersync.Counts{Taken: 90_000, Pieces: 5}, true}, // their logs no longer hold what this host lacks
		{5 * time.Minute, peersync.Counts{Taken: 90_000, Pieces: 5}, false},
		{6 * time.Minute, peersync.Counts{Taken: 90_000, Pieces: 5, Transfers: 1}, true}, // to fold it can take a while
		{9 * time.Minute, peersync.Counts{Taken: 90_001, Pieces: 5, Transfers: 1}, true},
		{10 * time.Minute, peersync.Counts{Taken: 90_002, Pieces: 5, Transfers: 1}, false},
	} {
		if got := p.left(start.Add(c.after), &c.came); got != c.left {
			t.Errorf("%d: after %v and %+v there is patience left: %v, want %v", i, c.after, c.came, got, c.left)
		}
	}
	if none := (&patience{until: start.Add(time.Hour)}); none.left(start.Add(time.Minute), &peersync.Counts{}) {
		t.Error("it waits on for others that have said nothing")
	}
}

// Who restores is told of each host that may know what this one does not, also of those that it has never heard.
func TestHearAll_namesWhomItHasNeverHeard(t *testing.T) {
	a := seeing(t, "b", "c")
	a.tell(t, projection.MemberKey("c"), projection.Member{Removed: true})
	a.cluster.sync = &peersync.Sync{Ledger: a.ledger, Log: a.events, Node: "a", Cluster: "default", Say: a.log}
	a.cluster.sync.Open()
	if heard, got := a.hearAll(t.Context()); len(heard) > 0 || !slices.Equal(got, []string{"b"}) {
		t.Errorf("heard are %q, want none; unheard are %q, want b, and not c, which was removed", heard, got)
	}
	if got := a.neverHeard([]peersync.Peer{{Host: "b"}}); len(got) != 0 {
		t.Errorf("never heard are %q, want none", got)
	}
}

// The name of a host is in use while anybody hears it: whoever is asked may have no route to it.
func TestLives(t *testing.T) {
	now := time.Now()
	st := &peersync.Status{At: now, Peers: []peersync.Peer{
		{Host: "b", Alive: true},
		{Host: "c", Heard: now.Add(-silence + 1), Direct: now.Add(-time.Hour)},
		{Host: "d", Heard: now.Add(-silence), Direct: now.Add(-silence)},
		{Host: "e"},
	}}
	for host, want := range map[string]bool{"b": true, "c": true, "d": false, "e": false, "f": false} {
		if got := lives(st, host); got != want {
			t.Errorf("%s lives: %v, want %v", host, got, want)
		}
	}
}
