package placement

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// ears are what one host hears, and changes.
type ears struct {
	mu      sync.Mutex
	peers   []Peer
	changed chan struct{}
}

func (e *ears) now() ([]Peer, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.peers, e.changed
}

// hear has these be heard, and hear each other, from now on, and the others not. If there are none, the host itself is
// not ready either.
func (e *ears) hear(all []string, heard ...string) {
	peers := []Peer{}
	for _, name := range all {
		p := Peer{Host: name, Silent: time.Now(), Ready: len(heard) > 0, Writable: true}
		for _, other := range heard {
			if other == name {
				p.Silent, p.Hears = time.Time{}, heard
			}
		}
		peers = append(peers, p)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.peers = peers
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// decidingAs runs the Decider of one host of a cluster until the test's bubble ends.
func decidingAs(t *testing.T, h *house, host string, e *ears) (*counted, *bytes.Buffer) {
	c, said := &counted{Ledger: h.Ledger}, &bytes.Buffer{}
	run(t, &Decider{Ledger: c, Host: host, Peers: e.now, Log: slog.New(slog.NewTextHandler(said, nil))})
	return c, said
}

// work has the living hosts do what was decided, as it comes.
func (h *house) working(host ...string) {
	h.t.Helper()
	h.now = time.Now()
	h.hear(host...)
	for range 20 {
		synctest.Wait()
		if !h.work() {
			return
		}
	}
}

func TestRun_decidesForACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "c"}
		h := newCluster(t, names...)
		one, two := &ears{}, &ears{}
		one.hear(names, names...)
		two.hear(names, names...)
		h.node("a", func(n *projection.Node) { n.Unschedulable = true }) // it decides all the same
		a, _ := decidingAs(t, h, "a", one)
		b, said := decidingAs(t, h, "b", two)
		h.deploy("web", 4)
		h.working(names...)
		if got, want := h.where("web"), "web-0:b web-1:c web-2:b web-3:c"; got != want || a.records.Load() == 0 || b.records.Load() != 0 {
			t.Errorf("placed %s by %d commits of a and %d of b, want %s by a", got, a.records.Load(), b.records.Load(), want)
		}
		if !strings.Contains(said.String(), "host=a") {
			t.Errorf("b says %q, want who decides", said)
		}

		h.node("a", func(n *projection.Node) { n.Unschedulable = false })
		one.hear(names, "a", "b")
		two.hear(names, "a", "b")
		time.Sleep(rescheduleAfter - time.Second)
		h.working("a", "b")
		if got, want := h.where("web"), "web-0:b web-1:c web-2:b web-3:c"; got != want {
			t.Errorf("placed %s too early", got)
		}
		time.Sleep(time.Second)
		h.working("a", "b")
		if got, want := h.where("web"), "web-0:b web-1:a web-2:b web-3:a"; got != want {
			t.Errorf("placed %s, want %s: c is gone", got, want)
		}

		one.hear(names)
		two.hear(names, "b", "c") // a is dead; b takes over
		h.deploy("web", 5)
		h.working("b", "c")
		if got, want := h.where("web"), "web-0:b web-1:a web-2:b web-3:a web-4:c"; got != want {
			t.Errorf("placed %s, want %s", got, want)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		before := b.records.Load()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got := b.records.Load(); got != before {
			t.Errorf("%d more commits with nothing to do", got-before)
		}
		if got := h.where("web"); strings.Contains(got, ":a") {
			t.Errorf("placed %s, want nothing on a", got)
		}
	})
}

// One that hears nobody decides for what it sees, moves nothing, and leaves it to the first when it hears it again.
func TestRun_minority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "c"}
		h := newCluster(t, names...)
		e := &ears{}
		e.hear(names, "c")
		c, _ := decidingAs(t, h, "c", e)
		h.deploy("web", 2)
		h.working("c")
		if got, want := h.where("web"), "web-0:c web-1:c"; got != want {
			t.Errorf("placed %s, want %s: nobody else is there", got, want)
		}
		e.hear(names, names...)
		synctest.Wait()
		before := c.records.Load()
		h.deploy("web", 4)
		synctest.Wait()
		if got := c.records.Load(); got != before {
			t.Errorf("decided %d times although a is there", got-before)
		}
	})
}

func TestRun_noteHostsThatChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b"}
		h := newCluster(t, names...)
		e := &ears{}
		e.hear(names, names...)
		decidingAs(t, h, "a", e)
		h.deploy("web", 2)
		h.working(names...)
		h.node("b", func(n *projection.Node) { n.Draining = true })
		h.working(names...)
		time.Sleep(time.Minute)
		h.working(names...)
		if got := h.where("web"); strings.Contains(got, ":b") {
			t.Errorf("placed %s, want nothing on b", got)
		}
		h.deploy("big", 1, requests("5", "1Mi"))
		h.working(names...)
		if got := h.where("big"); got != "big-0:" {
			t.Errorf("placed %s, want it nowhere", got)
		}
		h.host("a", func(f *projection.Host) { f.CPUs = 8 })
		h.working(names...)
		if got := h.where("big"); got != "big-0:a" {
			t.Errorf("placed %s, want it on a, which has grown", got)
		}
	})
}

// The decision of one who had not heard of the newer declaration does no harm, although it is recorded later.
func TestDecide_staleDecider(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.deploy("web", 2)
	stale, _, err := Decide(h.View().State, h.cluster(), "default", "web")
	if err != nil || len(stale) != 2 {
		t.Fatalf("%d changes, %v", len(stale), err)
	}
	h.deploy("web", 2, image("v2"))
	h.settle("web")
	before := h.where("web")
	c := events.Commit{Inc: 9, Seq: 1, Time: events.TimeOf(time.Now().Add(time.Second)), Node: "b"}
	for _, ch := range stale {
		is, _ := h.View().Lookup(ch.Key)
		c.Events = append(c.Events, events.Event{Kind: ch.Kind, Key: ch.Key, UID: is.UID, Base: is.Stamp, For: ch.For, Object: ch.Object})
	}
	b, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := h.Admit(t.Context(), [][]byte{b}); err != nil || all[0].Fate != projection.Taken {
		t.Fatalf("admitted: %v, %v", all, err)
	}
	if got := h.shape("web"); got != "map[v2:2] 2" || h.where("web") != before {
		t.Errorf("%s, placed %s, want what was decided for the newer one: %s", got, h.where("web"), before)
	}
	if got := h.settle("web"); got != "" {
		t.Errorf("decided %s after that, want nothing", got)
	}
}

// A host that was removed while it was away is not asked.
func TestDecide_removedHostDecidesNothing(t *testing.T) {
	h := newCluster(t, "a", "b")
	h.record(projection.Change{Kind: events.Trust, Key: projection.MemberKey("a"), Object: projection.Encode(projection.Member{Removed: true})})
	if got := h.cluster().hosts(h.View().State, register{}).decider; got != "b" {
		t.Errorf("%q decides, want b", got)
	}
	h.peer("b", func(p *Peer) { p.Writable = false })
	if got := h.cluster().hosts(h.View().State, register{}).decider; got != "" {
		t.Errorf("%q decides, want nobody: b cannot write", got)
	}
}
