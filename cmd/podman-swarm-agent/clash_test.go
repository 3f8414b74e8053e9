package main

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

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
