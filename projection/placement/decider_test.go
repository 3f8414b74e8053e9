package placement

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// counted counts the calls that a Decider makes.
type counted struct {
	*projection.Ledger
	records atomic.Int64
	refuse  string // whatever is changed under this prefix
}

func (c *counted) Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	c.records.Add(1)
	return c.Ledger.Record(ctx, by, func(s *projection.State) ([]projection.Change, error) {
		changes, err := decide(s)
		for _, ch := range changes {
			if c.refuse != "" && strings.HasPrefix(ch.Key, c.refuse) {
				return nil, fmt.Errorf("refused: %s", ch.Key)
			}
		}
		return changes, err
	})
}

// deciding runs a Decider on a house until the test's bubble ends.
func deciding(t *testing.T, h *house) (c *counted, said *bytes.Buffer) {
	c, said = &counted{Ledger: h.Ledger}, &bytes.Buffer{}
	start(t, h, c, said)
	return c, said
}

func start(t *testing.T, h *house, c *counted, said *bytes.Buffer) {
	run(t, &Decider{Ledger: c, Host: "h", Log: slog.New(slog.NewTextHandler(said, nil))})
}

func run(t *testing.T, d *Decider) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestRun_rollsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.deploy("early", 1)
		deciding(t, h)
		slow := func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 30 }
		until := func(name, want string) {
			t.Helper()
			for range 100 {
				synctest.Wait()
				h.now = time.Now()
				h.work()
				synctest.Wait()
				if h.shape(name) == want {
					return
				}
				time.Sleep(10 * time.Second)
			}
			t.Errorf("%s is %s, want %s", name, h.shape(name), want)
		}
		until("early", "map[v1:1] 1")
		h.deploy("web", 3, slow)
		until("web", "map[v1:3] 3")
		h.deploy("web", 3, slow, image("v2"))
		until("web", "map[v2:3] 3")
		h.remove("web")
		synctest.Wait()
		for p := range h.View().Placements("default/web/") {
			t.Errorf("%s is still placed", p.Key)
		}
	})
}

func TestRun_triesAgainWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.deploy("web", 2)
		h.log.fail(events.ErrFull)
		c, said := deciding(t, h)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := c.records.Load(); got < 10 || got > 14 {
			t.Errorf("tried %d times in a minute, want one in 5 s", got)
		}
		h.log.fail(nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got, want := h.shape("web"), "map[v1:2] 0"; got != want {
			t.Errorf("there is room again: %s, want %s", got, want)
		}
		if !strings.Contains(said.String(), "disk is full") {
			t.Errorf("log says %q, want why", said)
		}
		tries := c.records.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := c.records.Load(); got != tries {
			t.Errorf("%d more tries with nothing to do", got-tries)
		}
	})
}

// One Deployment that cannot be decided, or whose decision is refused, is said, holds nobody up and keeps nobody busy.
func TestRun_oneThatCannotBeDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.record(projection.Change{Kind: events.Declared, Key: "deployment/default/unreadable", Object: []byte(`{"spec":5}`)})
		for _, name := range []string{"a", "refused", "z"} {
			h.deploy(name, 1)
		}
		c, said := &counted{Ledger: h.Ledger, refuse: "placement/default/refused/"}, &bytes.Buffer{}
		start(t, h, c, said)
		synctest.Wait()
		for name, want := range map[string]string{"a": "map[v1:1] 0", "z": "map[v1:1] 0", "refused": "map[] 0"} {
			if got := h.shape(name); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		before := c.records.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := c.records.Load() - before; got > 13 {
			t.Errorf("tried %d times in a minute, want one in 5 s at most", got)
		}
		for _, want := range []string{"deployment/default/unreadable", "refused: placement/default/refused/0"} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("log says nothing of %s:\n%s", want, said)
			}
		}
		if got := strings.Count(said.String(), "unreadable"); got > 2 {
			t.Errorf("the unreadable one is said %d times", got)
		}
	})
}

// What could not be placed is placed when another Deployment makes room, or the host's labels change.
func TestRun_placesWhatWaitedForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		deciding(t, h)
		h.deploy("a", 1, port(80, ""))
		synctest.Wait()
		h.deploy("b", 1, port(80, ""))
		h.deploy("c", 1, func(d *appsv1.Deployment) { d.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"} })
		synctest.Wait()
		host := func(name string) string {
			p, err := h.View().Placement(projection.Pod{Namespace: "default", Deployment: name})
			if err != nil || p == nil {
				t.Fatalf("%s is not placed at all: %v", name, err)
			}
			return p.Host
		}
		if host("b") != "" || host("c") != "" {
			t.Fatalf("b is on %q and c on %q, want neither anywhere yet", host("b"), host("c"))
		}
		h.remove("a")
		synctest.Wait()
		if host("b") != "h" {
			t.Error("b is not placed although its port is free")
		}
		h.label("disk", "ssd")
		synctest.Wait()
		if host("c") != "h" {
			t.Error("c is not placed although its host fits")
		}
	})
}

func TestRun_endsWithItsLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		l, err := projection.OpenLedger(&nowhere{}, nil, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); l.Run(ctx) }()
		_, err = l.Record(ctx, projection.By{}, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{declare(h.t, "default", "web", 1)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-ended
		d := &Decider{Ledger: l, Host: "h", Log: slog.New(slog.DiscardHandler)}
		if err := d.Run(t.Context()); err != projection.ErrClosed {
			t.Errorf("Run returned %v, want %v", err, projection.ErrClosed)
		}
	})
}

// BenchmarkDecider_start is how long it takes to find out that nothing is to be decided for 10,000 Deployments.
func BenchmarkDecider_start(b *testing.B) {
	h := newHouse(b)
	const n = 10_000
	var all []projection.Change
	for i := range n {
		all = append(all, declare(b, "default", fmt.Sprintf("app-%d", i), 1, port(int32(i+1), "")))
	}
	h.record(all...)
	l := newLoop(&Decider{Ledger: h.Ledger, Host: "h", Log: slog.New(slog.DiscardHandler)})
	decide := func() time.Duration {
		l.follow()
		l.addAll(h.View().State)
		begun := time.Now()
		if err := l.decide(b.Context()); err != nil {
			b.Fatal(err)
		}
		return time.Since(begun)
	}
	placing := decide()
	h.work()
	for b.Loop() {
		decide()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/start")
	b.ReportMetric(float64(placing.Milliseconds()), "ms/placing")
}
