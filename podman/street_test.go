package podman_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/podman/podmantest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/placement"
)

// silence is how long a host has to be missed before it counts as silent.
const silence = 6 * time.Second

// street is a cluster. Its hosts tell each other once a second what they have and whom they have heard.
type street struct {
	t     *testing.T
	began time.Time
	hosts []*resident
	deaf  map[[2]string]bool // the first does not hear the second

	mu    sync.Mutex
	lines []storyLine
}

type storyLine struct {
	at         time.Duration
	host, text string
}

// resident is a host of a street. Its log and its containers outlive its agent.
type resident struct {
	*street
	name   string
	fake   *podmantest.Fake
	log    *podmantest.Log
	seen   uint64               // of the log's records, what has been told
	last   map[string]time.Time // when somebody whom it hears has last heard of each
	direct map[string]time.Time // when it has itself
	since  map[string]time.Time // since when it has without a pause
	silent []string             // as it has said

	ledger  *projection.Ledger
	r       *podman.Reconciler
	stop    func()
	started time.Time

	ears sync.Mutex
	hear chan struct{}
	now  []placement.Peer
}

func (s *street) host(name string) *resident {
	if i := slices.IndexFunc(s.hosts, func(h *resident) bool { return h.name == name }); i >= 0 {
		return s.hosts[i]
	}
	return nil
}

func (s *street) add(name string) {
	h := &resident{street: s, name: name, fake: podmantest.New(image, "localhost/web:2")}
	s.hosts = append(s.hosts, h)
	h.fresh()
	h.start()
}

// fresh gives the host an empty log.
func (h *resident) fresh() { h.log, h.seen = podmantest.NewLog(), 0 }

func (h *resident) start() {
	if h.stop != nil {
		return
	}
	h.last, h.direct, h.since, h.silent, h.started = map[string]time.Time{}, map[string]time.Time{}, map[string]time.Time{}, nil, time.Now()
	var endLedger func()
	h.ledger, endLedger = podmantest.Ledger(h.t, h.log)
	h.listen()
	say := slog.New(&teller{h})
	h.r = &podman.Reconciler{Engine: h.fake, Ledger: h.ledger, Host: h.name, Settle: podman.Wait(5 * time.Second), Log: say}
	d := &placement.Decider{Ledger: h.ledger, Host: h.name, Log: say, Peers: h.heard}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, run := range []func(context.Context) error{h.r.Run, d.Run} {
		all.Go(func() {
			if err := run(ctx); err != nil {
				h.t.Errorf("%s: %v", h.name, err)
			}
		})
	}
	h.stop = func() { cancel(); all.Wait(); endLedger() }
	h.saysHost(func(f *projection.Host) {})
}

// end ends the agent, and no container.
func (h *resident) end() {
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

func (h *resident) record(changes ...projection.Change) {
	h.t.Helper()
	_, err := h.ledger.Record(context.Background(), projection.By{Actor: "story"},
		func(*projection.State) ([]projection.Change, error) { return changes, nil })
	if err != nil {
		h.t.Fatalf("%s: %v", h.name, err)
	}
}

// saysHost has the host say what it is.
func (h *resident) saysHost(edit func(*projection.Host)) {
	f := projection.Host{CPUs: 4, Memory: 8 << 30, Podman: "5.4.2", Started: h.started.UTC()}
	edit(&f)
	h.record(projection.Change{Kind: events.Observed, Key: projection.HostKey(h.name), Object: projection.Encode(f)})
}

// pass lets time pass.
func (s *street) pass(d time.Duration) {
	for end := time.Now().Add(d); ; time.Sleep(time.Second) {
		synctest.Wait()
		s.talk()
		synctest.Wait()
		s.talk() // of what that came to
		synctest.Wait()
		for _, h := range s.hosts {
			h.decisions()
		}
		if !time.Now().Before(end) {
			return
		}
	}
}

// talk has all hosts hear what those say that they hear.
func (s *street) talk() {
	now := time.Now()
	for _, h := range s.hosts {
		for _, o := range s.hosts {
			if h.stop == nil || o.stop == nil || s.deaf[[2]string{h.name, o.name}] {
				continue
			}
			if now.Sub(h.direct[o.name]) > silence {
				h.since[o.name] = now
			}
			h.direct[o.name], h.last[o.name] = now, now
			for name, at := range o.last {
				if at.After(h.last[name]) {
					h.last[name] = at
				}
			}
		}
		if h.stop != nil {
			h.listen() // as a beat does, it comes before what a host has recorded
			h.saySight()
		}
	}
	for _, h := range s.hosts {
		for _, o := range s.hosts {
			if h.stop != nil && o.stop != nil && !s.deaf[[2]string{h.name, o.name}] {
				h.take(o)
			}
		}
	}
}

// take takes what another has and this one lacks.
func (h *resident) take(o *resident) {
	var lacked [][]byte
	v := h.ledger.View()
	err := o.log.Scan(1, func(r events.Record) error {
		if r.Seq > v.Head(r.Inc).Seq {
			lacked = append(lacked, bytes.Clone(r.Payload))
		}
		return nil
	})
	if err == nil && len(lacked) > 0 {
		_, err = h.ledger.Admit(context.Background(), lacked)
	}
	if err != nil {
		h.t.Fatalf("%s, of %s: %v", h.name, o.name, err)
	}
}

// listen notes whom the host hears now.
func (h *resident) listen() {
	var all []placement.Peer
	now := time.Now()
	for _, o := range h.hosts {
		p := placement.Peer{Host: o.name, Writable: true, Ready: o == h || o.stop != nil && !o.r.Recovering(), Since: h.since[o.name]}
		if o == h {
			p.Ready, p.Since = h.r != nil && !h.r.Recovering(), time.Time{}
		}
		switch {
		case now.Sub(h.last[o.name]) <= silence || o == h:
			p.Hears = o.hears()
		case h.last[o.name].IsZero():
			p.Silent = h.started
		default:
			p.Silent = h.last[o.name]
		}
		all = append(all, p)
	}
	h.ears.Lock()
	defer h.ears.Unlock()
	same := slices.EqualFunc(all, h.now, func(a, b placement.Peer) bool {
		return a.Silent.Equal(b.Silent) && a.Ready == b.Ready && slices.Equal(a.Hears, b.Hears) && a.Since.Equal(b.Since)
	})
	if h.now = all; !same && h.hear != nil {
		close(h.hear)
		h.hear = nil
	}
}

// hears is whom the host hears itself, by its own word.
func (h *resident) hears() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(h.direct)) {
		if time.Since(h.direct[name]) <= silence {
			all = append(all, name)
		}
	}
	return all
}

// heard is what the Decider is told.
func (h *resident) heard() ([]placement.Peer, <-chan struct{}) {
	h.ears.Lock()
	defer h.ears.Unlock()
	if h.hear == nil {
		h.hear = make(chan struct{})
	}
	return h.now, h.hear
}

// saySight has the host say whom it does not hear, when that is no longer what it has said.
func (h *resident) saySight() {
	silent := map[string]time.Time{}
	for _, p := range h.now {
		if !p.Silent.IsZero() {
			silent[p.Host] = p.Silent.UTC()
		}
	}
	if names := slices.Sorted(maps.Keys(silent)); !slices.Equal(names, h.silent) {
		h.silent = names
		h.record(projection.Change{Kind: events.Observed, Key: projection.SightKey(h.name), Object: projection.Encode(projection.Sight{Silent: silent})})
		for _, name := range names {
			h.tell(h.name, "does not hear "+name)
		}
	}
}

// decisions tells what the host has decided since.
func (h *resident) decisions() {
	own := h.log.Incarnation()
	err := h.log.Scan(h.seen+1, func(r events.Record) error {
		h.seen = r.Number
		if r.Inc != own {
			return nil
		}
		c, err := events.ParseCommit(r.Payload)
		if err != nil {
			return err
		}
		for _, e := range c.Events {
			pod, host, ok := projection.PodOf(e.Key)
			if !ok || host != "" || e.Kind != events.Decided {
				continue
			}
			text := "decides: " + pod.Name() + " is over"
			if e.Object != nil {
				var p projection.Placement
				if err := json.Unmarshal(e.Object, &p); err != nil {
					return err
				}
				text = fmt.Sprintf("decides: %s on %s, %s", pod.Name(), cmp.Or(p.Host, "no host"), h.clockless(p.Why))
			}
			h.tellAt(c.Time.Wall(), h.name, text)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (s *street) tell(host, text string) { s.tellAt(time.Now(), host, text) }

func (s *street) tellAt(at time.Time, host, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, storyLine{at.Sub(s.began).Truncate(time.Second), host, text})
}

// told is what was told since; what was in one second, by host, and of one host what it decided first.
func (s *street) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := func(l storyLine) int {
		if strings.HasPrefix(l.text, "decides") {
			return 0
		}
		return 1
	}
	slices.SortFunc(s.lines, func(a, b storyLine) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.host, b.host), cmp.Compare(done(a), done(b)), strings.Compare(a.text, b.text))
	})
	var b strings.Builder
	for _, l := range s.lines {
		l.text = strings.TrimSpace(l.text)
		fmt.Fprintf(&b, "> %4d %s %s\n", int(l.at.Seconds()), l.host, l.text)
	}
	s.lines = nil
	return b.String()
}

// clockless puts the times in a text as seconds since the story began, and leaves out the ids of events, which are others each time.
func (s *street) clockless(text string) string {
	text = regexp.MustCompile(` ?\b[0-9a-f]{16}-\d+`).ReplaceAllString(text, "")
	return regexp.MustCompile(`\d\d:\d\d:\d\dZ`).ReplaceAllStringFunc(text, func(at string) string {
		t, err := time.Parse("15:04:05Z", at)
		if err != nil {
			s.t.Fatal(err)
		}
		return fmt.Sprint(int(t.Sub(t.Truncate(24 * time.Hour)).Seconds())) // a bubble begins at midnight
	})
}

func podOf(c podman.Container) string { return c.Labels[podman.LabelPod] }

// teller makes what an agent says part of the story.
type teller struct{ h *resident }

func (t *teller) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (t *teller) WithAttrs([]slog.Attr) slog.Handler           { return t }
func (t *teller) WithGroup(string) slog.Handler                { return t }

func (t *teller) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	switch text {
	case "starting recovery", "recovering deployment", "replica placed", "replica is not wanted any more", "the host that places replicas is another":
		return nil // what is decided is told of by itself
	}
	if strings.HasPrefix(text, "recovery completed") {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "pod" || a.Key == "why" || a.Key == "err" {
			text += " " + a.Value.String()
		}
		return true
	})
	t.h.tell(t.h.name, t.h.clockless(text))
	return nil
}
