package main

import (
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// A host with an empty disk that takes over a long log from others is not alone, however long that takes: it would act on a part of what they know. But what
// never comes whole, such as what cannot be read, must not keep it from starting for good.
func TestPatience_lastsWhileEventsCome(t *testing.T) {
	start := time.Now()
	p := patience{each: time.Minute, until: start.Add(catchingUp * time.Minute)}
	for i, c := range []struct {
		after time.Duration
		taken uint64
		left  bool
	}{
		{time.Minute, 60_000, true},
		{2 * time.Minute, 90_000, true},
		{3 * time.Minute, 90_000, false},
		{9 * time.Minute, 90_001, true},
		{10 * time.Minute, 90_002, false},
	} {
		if got := p.left(start.Add(c.after), c.taken); got != c.left {
			t.Errorf("%d: after %v and %d events there is patience left: %v, want %v", i, c.after, c.taken, got, c.left)
		}
	}
	if none := (&patience{until: start.Add(time.Hour)}); none.left(start.Add(time.Minute), 0) {
		t.Error("it waits on for others that have said nothing")
	}
}

// Who restores is told of each host that may know what this one does not, also of those that it has never heard.
func TestHearAll_namesWhomItHasNeverHeard(t *testing.T) {
	a := seeing(t, "b", "c")
	a.tell(t, projection.MemberKey("c"), projection.Member{Removed: true})
	a.cluster.sync = &peersync.Sync{Ledger: a.ledger, Log: a.events, Node: "a", Cluster: "default", Say: a.log}
	a.cluster.sync.Open()
	if got := a.hearAll(t.Context()); !slices.Equal(got, []string{"b"}) {
		t.Errorf("unheard are %q, want b, and not c, which was removed", got)
	}
	if got := a.neverHeard([]peersync.Peer{{Host: "b"}}); len(got) != 0 {
		t.Errorf("never heard are %q, want none", got)
	}
}
