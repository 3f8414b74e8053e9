package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/placement"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// seeing is an agent that has a log and nothing else, and knows of some hosts.
func seeing(t *testing.T, others ...string) *agent {
	t.Helper()
	l, err := events.Open(filepath.Join(t.TempDir(), "events"), events.Options{MinFree: 1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(l, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- ledger.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, l.Close()); err != nil {
			t.Error(err)
		}
	})
	ledger.Node = "a"
	a := &agent{c: &config{NodeName: "a"}, log: slog.New(slog.DiscardHandler), events: l, ledger: ledger, reconciler: &podman.Reconciler{}, now: time.Now}
	a.cluster.sight = newSight(a)
	for _, name := range append([]string{"a"}, others...) {
		a.tell(t, projection.HostKey(name), projection.Host{Started: time.Now()})
	}
	return a
}

// tell records what a host says.
func (a *agent) tell(t *testing.T, key string, object any) {
	t.Helper()
	kind := events.Observed
	if _, ok := object.(projection.Member); ok {
		kind = events.Trust
	}
	_, err := a.ledger.Record(t.Context(), projection.By{Actor: "test"}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: kind, Key: key, Object: projection.Encode(object)}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func peerNamed(t *testing.T, all []placement.Peer, name string) placement.Peer {
	t.Helper()
	i := slices.IndexFunc(all, func(p placement.Peer) bool { return p.Host == name })
	if i < 0 {
		t.Fatalf("no host %s in %v", name, all)
	}
	return all[i]
}

// A host whose beats come no more, and of which others tell, is not to be taken at the word of its last beat on whom it hears:
// what it has recorded since is newer, and comes by way of the others, too.
func TestSight_toldOf(t *testing.T) {
	a := seeing(t, "b", "c")
	at := time.Now()
	st := &peersync.Status{At: at, Peers: []peersync.Peer{
		{Host: "b", Alive: true, Heard: at, Hears: []string{"a", "b", "c"}},
		{Host: "c", Heard: at, Hears: []string{"a", "b", "c"}},
	}}
	hears := func() []string {
		return slices.Sorted(slices.Values(peerNamed(t, a.cluster.sight.look(st), "c").Hears))
	}
	if got := hears(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("c hears %v", got)
	}
	a.tell(t, projection.SightKey("c"), projection.Sight{Silent: map[string]time.Time{"a": at, "b": at}})
	if got := hears(); !slices.Equal(got, []string{"c"}) {
		t.Errorf("c hears %v, and has recorded that it hears neither a nor b", got)
	}
	if got := peerNamed(t, a.cluster.sight.look(st), "b").Hears; len(got) != 3 {
		t.Errorf("b, whose beats come, hears %v", got)
	}
}

// A host that was cut off does not move a third one's replicas as soon as it hears a second again: first it has what that one knows, such as that
// the third was stopped and means to come back.
func TestSight_catchesUpBeforeItDecides(t *testing.T) {
	a := seeing(t, "b", "c")
	at := time.Now()
	b := peersync.Peer{Host: "b", Alive: true, Heard: at, Since: at.Add(-time.Second), Hears: []string{"a", "b"}}
	decides := func() bool {
		t.Helper()
		self := placement.Peer{Host: "a", Ready: true, Writable: true, Hears: []string{"a"}}
		st := &peersync.Status{At: at, Peers: []peersync.Peer{b, {Host: "c", Heard: at.Add(-time.Minute)}}}
		seen := a.cluster.sight.see(st, self)
		if got := peerNamed(t, seen, "b").Since; !got.Equal(b.Since) {
			t.Errorf("b is heard since %v, and seen since %v", b.Since, got)
		}
		return peerNamed(t, seen, "a").Ready
	}
	if decides() {
		t.Error("it decides, and lacks what b knows, which it hears for a second")
	}
	b.Folded = true
	if !decides() {
		t.Error("it has all that b had, and does not decide")
	}
	b.Folded, b.Since = false, at.Add(-catchUp)
	if !decides() {
		t.Error("what cannot be had of b keeps it from deciding for good")
	}
}

// A host that was removed is seen no more, though its last beat was just now.
func TestSight_removed(t *testing.T) {
	a := seeing(t, "b")
	st := &peersync.Status{At: time.Now(), Peers: []peersync.Peer{{Host: "b", Alive: true, Heard: time.Now()}}}
	if got := a.cluster.sight.look(st); len(got) != 2 || len(a.members(st)) != 1 {
		t.Fatalf("sees %v", got)
	}
	a.tell(t, projection.MemberKey("b"), projection.Member{Removed: true})
	if got := a.cluster.sight.look(st); len(got) != 1 || len(peerNamed(t, got, "a").Hears) != 1 || len(a.members(st)) != 0 {
		t.Errorf("sees %v", got)
	}
}

// A host that said that it stops and is heard on is back, though it takes nothing back: that is recorded once.
func TestSight_back(t *testing.T) {
	a := seeing(t, "b")
	s, at := a.cluster.sight, time.Now()
	recorded := func(after time.Duration, silent time.Time) (index uint64) {
		t.Helper()
		if err := s.record(t.Context(), at.Add(after), false, []placement.Peer{{Host: "a"}, {Host: "b", Silent: silent}}); err != nil {
			t.Fatal(err)
		}
		o, ok := a.ledger.View().Lookup(projection.SightKey("a"))
		if !ok {
			return 0
		}
		return o.Version.Index
	}
	if got := recorded(0, time.Time{}); got != 0 {
		t.Errorf("recorded at %d, and nothing is to be said", got)
	}
	a.tell(t, projection.HostKey("b"), projection.Host{Left: at})
	for _, early := range []time.Duration{0, silence, backAfter - 1} {
		if got := recorded(early, time.Time{}); got != 0 {
			t.Errorf("recorded at %d, %v after it left", got, early)
		}
	}
	first := recorded(backAfter, time.Time{})
	if first == 0 {
		t.Fatal("not recorded")
	}
	if again := recorded(2*backAfter, time.Time{}); again != first {
		t.Errorf("recorded again, at %d", again)
	}
	// It leaves once more, this time for good; and the first word of that begins the wait anew.
	a.tell(t, projection.HostKey("b"), projection.Host{Left: at.Add(time.Second)})
	if got := recorded(3*backAfter, time.Time{}); got != first {
		t.Errorf("recorded at %d", got)
	}
	silent := recorded(3*backAfter+silence, at)
	if got := recorded(9*backAfter, at); got != silent || silent == first {
		t.Errorf("recorded at %d, and then %d", silent, got)
	}
	var sight projection.Sight
	o, _ := a.ledger.View().Lookup(projection.SightKey("a"))
	if err := json.Unmarshal(o.Version.Object, &sight); err != nil || len(sight.Silent) != 1 {
		t.Errorf("%s: %v", o.Version.Object, err)
	}
}

// Who recovers after it was silent is recorded as such until it has recovered: what it said of its containers is of before
// that. One that was heard all along, as when only its agent was started anew, has its containers still.
func TestSight_recovering(t *testing.T) {
	a := seeing(t, "b", "c")
	recovering := func(first bool, b placement.Peer) []string {
		t.Helper()
		b.Host = "b"
		if err := a.cluster.sight.record(t.Context(), time.Now(), first, []placement.Peer{{Host: "a"}, b, {Host: "c", Ready: true}}); err != nil {
			t.Fatal(err)
		}
		return a.ledger.View().HeardBy("a").Recovering
	}
	for i, c := range []struct {
		first bool
		b     placement.Peer
		want  []string
	}{
		{b: placement.Peer{Ready: true}},
		{b: placement.Peer{}},
		{b: placement.Peer{Silent: time.Now()}},
		{b: placement.Peer{}, want: []string{"b"}},
		{b: placement.Peer{}, want: []string{"b"}},
		{b: placement.Peer{Ready: true}},
		{b: placement.Peer{}},
		{first: true, b: placement.Peer{}, want: []string{"b"}},
		{b: placement.Peer{Silent: time.Now()}},
	} {
		if got := recovering(c.first, c.b); !slices.Equal(got, c.want) {
			t.Errorf("%d: got %v, want %v", i, got, c.want)
		}
	}
}

// A host whose beats come to others only is told from one that nobody hears.
func TestAsPeer_heardByOthers(t *testing.T) {
	now := time.Now()
	since := now.Add(-time.Hour)
	for _, c := range []struct {
		name string
		peer peersync.Peer
		want time.Time
	}{
		{"heard", peersync.Peer{Alive: true, Heard: now, Direct: now}, time.Time{}},
		{"heard by nobody", peersync.Peer{Heard: now.Add(-time.Minute), Direct: now.Add(-time.Minute - 2*time.Second)}, time.Time{}},
		{"heard by others", peersync.Peer{Heard: now, Direct: now.Add(-time.Minute)}, now.Add(-time.Minute)},
		{"never heard but by others", peersync.Peer{Heard: now}, since},
		{"never heard", peersync.Peer{}, time.Time{}},
	} {
		if got := asPeer(c.peer, since, now).Elsewhere; !got.Equal(c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// For how long a host and this one have not all of each other's events is told in seconds whichever of the two lacks them.
func TestAsPeer_lag(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name    string
		peer    peersync.Peer
		events  uint64
		seconds float64
	}{
		{"even", peersync.Peer{Alive: true}, 0, 0},
		{"behind", peersync.Peer{Alive: true, Behind: 3, For: 2 * time.Second}, 3, 2},
		{"ahead, with its own", peersync.Peer{Alive: true, Unknown: true, Lacked: 4, Ahead: now.Add(-7 * time.Second)}, 4, 7},
		{"ahead, with those of a third", peersync.Peer{Alive: true, Unknown: true, Ahead: now.Add(-7 * time.Second)}, 0, 7},
		{"silent, and ahead with its own", peersync.Peer{Unknown: true, Lacked: 4, Ahead: now.Add(-9 * time.Second)}, 4, 9},
		{"silent, and was ahead with those of a third", peersync.Peer{Unknown: true, Ahead: now.Add(-9 * time.Second)}, 0, 0},
	} {
		if got := asPeer(c.peer, now, now); got.Lag != c.events || got.Behind != c.seconds {
			t.Errorf("%s: got %d events for %v s, want %d for %v s", c.name, got.Lag, got.Behind, c.events, c.seconds)
		}
	}
	events, seconds := lacks([]peersync.Peer{{Alive: true, Behind: 9, For: time.Minute}, {Alive: true, Lacked: 2, Ahead: now.Add(-time.Second)},
		{Alive: true, Lacked: 3, Ahead: now.Add(-5 * time.Second)}}, now)
	if events != 5 || seconds != 5 {
		t.Errorf("this host: got %d events for %v s, want the 5 that it lacks, for 5 s", events, seconds)
	}
}

// What a replica waits for that will move by itself is told as well, and apart from why one cannot move.
func TestUnmoved(t *testing.T) {
	pod := func(n int) projection.Pod { return projection.Pod{Namespace: "default", Deployment: "web", Ordinal: n} }
	cannot, waiting := unmoved(map[projection.Pod]string{
		pod(0): "not moved: 1 of 3 hosts in sight", pod(1): "stays on b, which is drained: has a writable hostPath /d",
		pod(2): "waiting until 12:00:00Z (host b silent since 11:59:00Z)", pod(3): "leaves b, which is drained, once another runs in its place"})
	if want := map[string]string{"default/web-0": "1 of 3 hosts in sight", "default/web-1": "stays on b, which is drained: has a writable hostPath /d"}; !maps.Equal(cannot, want) {
		t.Errorf("cannot: got %v", cannot)
	}
	if want := map[string]string{"default/web-2": "waiting until 12:00:00Z (host b silent since 11:59:00Z)",
		"default/web-3": "leaves b, which is drained, once another runs in its place"}; !maps.Equal(waiting, want) {
		t.Errorf("waiting: got %v", waiting)
	}
}

// What is said to be on no other host is what the one lacked that had most.
func TestAlone(t *testing.T) {
	for _, c := range []struct {
		peers []peersync.Peer
		want  uint64
	}{
		{nil, 0},
		{[]peersync.Peer{{Behind: 4}}, 4},
		{[]peersync.Peer{{Behind: 4}, {Behind: 2}, {Behind: 9}}, 2},
		{[]peersync.Peer{{Behind: 4}, {}}, 0},
		{[]peersync.Peer{{Behind: 4}, {Unknown: true, Behind: 7}}, 0},
	} {
		if got := alone(c.peers); got != c.want {
			t.Errorf("%+v: got %d, want %d", c.peers, got, c.want)
		}
	}
}

// A host that is alone says why nothing leaves it that should.
func TestStatus_drainedAndAlone(t *testing.T) {
	h := newHost(t, "a", "--cluster-addr=")
	h.start(t)
	h.ask(t, "POST", "/api/v1/manifests", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"app":"web"}},`+
		`"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"web"}]}}}}`, http.StatusOK)
	h.status(t, "placed", func(st *api.Status) bool {
		return len(st.NotRunning) == 1 && st.NotRunning[0].Host == "a" && !st.NotRunning[0].Stays
	})
	h.ask(t, "POST", "/swarm/v1/nodes/a/drain", "", http.StatusOK)
	h.status(t, "it stays", func(st *api.Status) bool { return len(st.NotRunning) == 1 && st.NotRunning[0].Stays })
}

// For how long a host is silent is measured, whatever the wall clock is set to meanwhile; recorded is since when that is by the clock as it is then.
func TestSight_clockIsSet(t *testing.T) {
	for _, set := range []time.Duration{0, time.Hour, -time.Hour, 490_003 * time.Hour} {
		a := seeing(t, "b", "c")
		begun := time.Now()
		st := &peersync.Status{At: stepped(t, begun.Add(20*time.Second), set), Peers: []peersync.Peer{{Host: "c", Heard: begun.Add(time.Second)}}}
		a.cluster.sight.since = begun // b is not heard since
		peers := a.cluster.sight.look(st)
		for host, want := range map[string]time.Duration{"b": 20 * time.Second, "c": 19 * time.Second} {
			if got := st.At.Sub(peerNamed(t, peers, host).Silent); got != want {
				t.Errorf("set by %v: %s is silent for %v, want %v", set, host, got, want)
			}
		}
		if err := a.cluster.sight.record(t.Context(), st.At, true, peers); err != nil {
			t.Fatal(err)
		}
		if got, want := a.ledger.View().HeardBy("a").Silent["b"], begun.Add(set).UTC().Truncate(time.Millisecond); !got.Equal(want) {
			t.Errorf("set by %v: recorded is %v, want %v", set, got, want)
		}
	}
}

// stepped is the moment at as a wall clock has it that was set by d before: as long after every other moment as it was.
func stepped(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	read := at
	*(*uint64)(unsafe.Pointer(&read)) += uint64(d/time.Second) << 30 // package time gives no way to do that
	if read.Sub(at) != 0 || read.Round(0).Sub(at.Round(0)) != d {
		t.Fatalf("%v, set by %v, is %v", at, d, read)
	}
	return read
}
