package tail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// logged is a tail of a real log.
type logged struct {
	*Tail
	t      *testing.T
	ledger *projection.Ledger
}

func open(t *testing.T) *logged {
	t.Helper()
	l, err := events.Open(filepath.Join(t.TempDir(), "events"), events.Options{MinFree: 1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(l, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ledger.Node = "h1"
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- ledger.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ran, l.Close()); err != nil {
			t.Error(err)
		}
	})
	return &logged{t: t, ledger: ledger, Tail: &Tail{ID: l.ID(), Read: l.Read, First: l.First,
		View: func() (uint64, <-chan struct{}) { v := ledger.View(); return v.Index(), v.Changed }}}
}

// record records so many commits of two events each.
func (l *logged) record(n, size int) {
	l.t.Helper()
	object, err := json.Marshal(map[string]string{"x": strings.Repeat("x", size)})
	if err != nil {
		l.t.Fatal(err)
	}
	for range n {
		_, err := l.ledger.Record(l.t.Context(), projection.By{Actor: "local test/1 (alice)", Cause: "a\nb"}, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Declared, Key: "service/default/a", Object: object}, {Kind: events.Observed, Key: "host/h1", Object: object}}, nil
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

// follow reads until an index, and checks that each event comes once and in order.
func (l *logged) follow(ctx context.Context, after, until uint64) error {
	defer l.Join()()
	for after < until {
		err := l.Each(ctx, after, func(items []*Item) error {
			for _, it := range items {
				if it.Index > after+1 || it.Last() <= after {
					return fmt.Errorf("got %d to %d after %d", it.Index, it.Last(), after)
				}
				after = it.Last()
			}
			return nil
		})
		if err == nil && after < until {
			err = l.Wait(ctx, after)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// All who follow are given all of it, once and in order, from wherever they begin and however many come and go.
func TestTail_manyFollow(t *testing.T) {
	l := open(t)
	l.record(20, 10)
	for _, c := range []struct{ followers, commits, size int }{{1000, 20, 10}, {20, 40, 60 << 10}} { // of the latter more than is kept in memory
		var all sync.WaitGroup
		end := l.ledger.View().Index()
		for i := range c.followers {
			all.Go(func() {
				if err := l.follow(t.Context(), end-uint64(i%40), end+uint64(2*(1+i%c.commits))); err != nil {
					t.Error(err)
				}
			})
		}
		for range c.commits {
			l.record(1, c.size)
		}
		all.Wait()
	}
	if s := l.Stats(); s.Followers != 0 {
		t.Errorf("got %+v", s)
	}
}

// However much is written and however few read it, what is kept in memory is bounded.
func TestTail_memory(t *testing.T) {
	l := open(t)
	defer l.Join()()
	l.record(40, 100<<10)
	if err := l.follow(t.Context(), 0, 80); err != nil {
		t.Fatal(err)
	}
	h := l.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bytes > recentBytes+(201<<10) || len(h.recent) > 10 {
		t.Errorf("got %d records of %d bytes", len(h.recent), h.bytes)
	}
}

// Those who wait and leave are forgotten.
func TestTail_waitEnds(t *testing.T) {
	l := open(t)
	l.record(1, 1)
	defer l.Join()()
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		if err := l.Wait(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
	}
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	if n := len(l.hub.waiting); n != 0 {
		t.Errorf("%d are waited for who have left", n)
	}
}

func TestKey(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"deployment", "deployment/default/web", true}, {"deployment/", "deployment/default/web", true}, {"deploy", "deployment/default/web", false},
		{"deployment/default/web", "deployment/default/web", true}, {"deployment/default/web", "deployment/default/web2", false},
		{"replica/default/web", "replica/default/web/0/h1", true}, {"*/shop", "service/shop/a", true}, {"*/shop", "service/default/shop", false},
		{"*", "host/h1", true}, {"deployment/*/w*", "deployment/a/web", true}, {"host/h1/x", "host/h1", false},
	} {
		k, err := ParseKey(c.pattern)
		if err != nil || k.covers(c.key) != c.want {
			t.Errorf("%s covers %s: got %v, %v, want %v", c.pattern, c.key, !c.want, err, c.want)
		}
	}
	for _, bad := range []string{"", "/", "a//b", "[", "/a"} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestPosition(t *testing.T) {
	for text, want := range map[string]Position{"57": {Index: 57}, "57@5f3a9c0e-a1b2c3d4e5f6": {57, "5f3a9c0e", "a1b2c3d4e5f6"}, "0@5f3a9c0e": {0, "5f3a9c0e", ""},
		"3@-a1b2c3d4e5f6": {3, "", "a1b2c3d4e5f6"}} {
		got, err := ParsePosition(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "x", "-1", "57@5F3A9C0E", "57@5f3a9c0e-a1", "99999999999999999999", "1@5f3a9c0e-a1b2c3d4e5f6 "} {
		if _, err := ParsePosition(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// The required attributes, and of all attributes what the specification says of names and texts.
func TestCloudEvent(t *testing.T) {
	l := open(t)
	l.record(2, 1)
	var got []map[string]any
	err := l.Each(t.Context(), 0, func(items []*Item) error {
		for _, it := range items {
			for i := range it.Len() {
				var e map[string]any
				if err := json.Unmarshal(it.CloudEvent(i, true), &e); err != nil {
					return err
				}
				got = append(got, e)
			}
		}
		return nil
	})
	if err != nil || len(got) != 4 {
		t.Fatalf("got %v, %v", got, err)
	}
	seen := map[string]bool{}
	for _, e := range got {
		for name, value := range e {
			text, ok := value.(string)
			if name == "data" {
				continue
			}
			if !ok || text == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || len(name) > 20 || strings.ContainsAny(text, "\n\x00\x7f") {
				t.Errorf("attribute %q: %q", name, value)
			}
		}
		if e["specversion"] != "1.0" || e["source"] != "/podman-swarm/hosts/h1" || e["datacontenttype"] != "application/json" || e["data"] == nil {
			t.Errorf("got %v", e)
		}
		if _, err := time.Parse(time.RFC3339Nano, e["time"].(string)); err != nil {
			t.Error(err)
		}
		seen[fmt.Sprint(e["id"], e["source"])] = true
	}
	if len(seen) != 4 {
		t.Errorf("source and id are not of one event each: %v", seen)
	}
	if e := got[2]; e["type"] != "com.github.podman-swarm.declared" || e["subject"] != "service/default/a" || e["action"] != "changed" || e["cause"] != "a b" ||
		e["useragent"] != "test/1 (alice)" || got[0]["action"] != "created" {
		t.Errorf("got %v", e)
	}
}

// What is no event of a host is told in words as well, and stays one line of JSON.
func TestItem_summarized(t *testing.T) {
	jump := events.Jump{Cause: "events of h2 are nowhere to be had any more", State: []byte("{}")}
	e, err := jump.Entry()
	if err != nil {
		t.Fatal(err)
	}
	var log Tail
	for want, r := range map[string]events.Record{
		"the state was taken over: " + jump.Cause: {Index: 7, Count: 1, Payload: e.Payload},
		"of a later version, not understood":      {Index: 8, Inc: 15, Seq: 3, Count: 1, Payload: []byte(`{"v":99}`)},
	} {
		line := log.item(r).Summarized(0)
		var got struct{ Summary, Position string }
		if err := json.Unmarshal(line, &got); err != nil || got.Summary != want || got.Position == "" {
			t.Errorf("%v: got %s, want %q", err, line, want)
		}
	}
}
