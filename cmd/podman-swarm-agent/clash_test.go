package main

import (
	"bytes"
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// keeper is a ledger on a log of its own.
type keeper struct {
	*projection.Ledger
	t   *testing.T
	log *events.Log
}

func newKeeper(t *testing.T, name string) *keeper {
	t.Helper()
	log, err := events.Open(filepath.Join(t.TempDir(), "events"), events.Options{MinFree: 1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Node = name
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		log.Close()
	})
	return &keeper{l, t, log}
}

func (k *keeper) declare(objects ...string) {
	k.t.Helper()
	_, err := k.Record(k.t.Context(), projection.By{Actor: "a test"}, func(*projection.State) (all []projection.Change, err error) {
		for i, o := range objects {
			all = append(all, projection.Change{Kind: events.Declared, Key: "service/default/" + string(rune('a'+i)), Object: []byte(o)})
		}
		return all, nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *keeper) hear(o *keeper) {
	k.t.Helper()
	var all [][]byte
	err := o.log.Replay(1, func(r events.Record) error {
		all = append(all, bytes.Clone(r.Payload))
		return nil
	})
	if err == nil {
		_, err = k.Admit(k.t.Context(), all)
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// tells is what the host would tell of what it has folded since.
func (k *keeper) tells(since *projection.View) projection.Clash {
	steps, ok := k.View().Since(since.Index())
	if !ok {
		k.t.Fatal("the view remembers no steps")
	}
	return clashed(steps, map[events.Incarnation]bool{k.log.Incarnation(): true})
}

// Of changes that did not know of each other one host tells: the one whose change was lost, whichever of the two came first, and once.
func TestClashed_whoLostTells(t *testing.T) {
	a, b := newKeeper(t, "a"), newKeeper(t, "b")
	a.declare(`{"v":0}`, `{"v":0}`)
	b.hear(a)
	a.declare(`{"v":1}`, `{"v":1}`)
	b.declare(`{"v":2}`, `{"v":1}`) // of the second both say the same
	was, before := a.View(), b.View()
	a.hear(b)
	b.hear(a)
	of, other := a.tells(was), b.tells(before)
	if len(of.Lost)+len(other.Lost) != 1 {
		t.Fatalf("a tells of %+v, b of %+v, want one change by one of them", of, other)
	}
	lost, by := of, a
	if len(other.Lost) > 0 {
		lost, by = other, b
	}
	shown, _ := a.View().Lookup("service/default/a")
	if x := lost.Lost[0]; x.Key != "service/default/a" || x.Event.Inc != by.log.Incarnation() || x.Shown != shown.Stamp {
		t.Errorf("told is %+v, and %v is shown", x, shown.Stamp)
	}
	was = by.View()
	by.declare(`{"v":3}`)
	if again := by.tells(was); len(again.Lost) > 0 {
		t.Errorf("it is told of again: %+v", again)
	}
}

// What a host finds lost at its start is told of once, and so is what it had told of one by one.
func TestUntold(t *testing.T) {
	a, b := newKeeper(t, "a"), newKeeper(t, "b")
	a.declare(`{"v":0}`, `{"v":0}`)
	b.hear(a)
	a.declare(`{"v":1}`, `{"v":1}`)
	b.declare(`{"v":2}`, `{"v":2}`)
	a.hear(b)
	own := map[events.Incarnation]bool{a.log.Incarnation(): true, b.log.Incarnation(): true} // whichever lost
	is := func(want int) projection.Clash {
		t.Helper()
		c := untold(a.View().State, "a", own)
		if len(c.Lost) != want {
			t.Fatalf("%d are told of, want %d: %+v", len(c.Lost), want, c)
		}
		return c
	}
	tell := func(c projection.Clash) {
		t.Helper()
		_, err := a.Record(t.Context(), projection.By{Actor: "agent"}, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Observed, Key: projection.ClashKey("a"), Object: projection.Encode(c)}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c := is(2)
	if x := c.Lost[0]; x.Key != "service/default/a" || x.Shown.IsZero() {
		t.Errorf("told is %+v, want what was lost and what is shown", x)
	}
	if c := untold(a.View().State, "a", nil); len(c.Lost) > 0 {
		t.Errorf("it tells of what others have lost: %+v", c)
	}
	tell(projection.Clash{Lost: c.Lost[1:]})
	is(2)
	tell(c)
	is(0)
	tell(projection.Clash{Lost: c.Lost[:1], More: 1})
	is(0)
}

// Failure B.11: a host that changes something alone, and ends before any other has heard of it, hears at its next start that the other's later change
// won. The host that lost tells of it, as an event that all have.
func TestAgent_clashHeardAtTheStart(t *testing.T) {
	a := newHost(t, "a", "--recover-alone-after=1s").start(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t), "--recover-alone-after=1s").start(t)
	a.status(t, "two alive and agreeing", alive(2))
	a.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	a.status(t, "two alive and agreeing", alive(2))
	a.end(t)
	change := func(h *host, port string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // until it has waited for the other
			r, err := http.Post("http://"+h.api+"/api/v1/manifests", "application/yaml", strings.NewReader(strings.Replace(svc("web"), "port: 80", "port: "+port, 1)))
			if err == nil && r.Body.Close() == nil && r.StatusCode == http.StatusOK {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s takes no change: %v\n%s", h.name, err, &h.said)
			}
		}
	}
	change(b, "81")
	b.end(t)
	a.start(t)
	change(a, "82")
	b.start(t)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got := a.ask(t, "GET", "/swarm/v1/events?key=clash/b", "", http.StatusOK)
		if strings.Contains(got, "service/default/web") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no event tells that a change was lost: %s\n%s", got, &b.said)
		}
	}
	b.end(t)
	a.end(t)
}
