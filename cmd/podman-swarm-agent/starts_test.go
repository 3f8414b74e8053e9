package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// lived is a life of an agent of that length: whether it may have told that it was started, and how many it had to say were told of in no event.
func lived(t *testing.T, dir string, life time.Duration) (told bool, more int) {
	t.Helper()
	s := openStarts(dir, time.Now, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), life)
	defer cancel()
	s.run(ctx)
	more, told = s.tell(ctx)
	if told != s.may() {
		t.Errorf("it may be told of: %v, and %v", told, s.may())
	}
	<-ctx.Done()
	return told, more
}

// An agent that ends again and again is told of for ever, but not each time, and what is not told of is counted.
func TestStarts_crashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		starts, tellings, counted, last := 0, 0, 0, 0
		for began := time.Now(); time.Since(began) < 3*time.Hour; time.Sleep(5 * time.Second) { // as systemd waits
			starts++
			if told, more := lived(t, dir, 7*time.Second); told {
				tellings++
				counted += more + 1
				last = starts
			}
			if starts == startsBurst && tellings != startsBurst {
				t.Errorf("of the first %d starts %d are told of", starts, tellings)
			}
		}
		if hours := 3; tellings > startsBurst+hours*10 || tellings < startsBurst+hours*9 {
			t.Errorf("%d starts in %d hours are told of %d times", starts, hours, tellings)
		}
		if counted != last {
			t.Errorf("by the %dth start %d were counted", last, counted)
		}
		// One that stays is told of after some minutes, with all before it; and after a quiet time all is as at first.
		if told, more := lived(t, dir, time.Hour); !told || more != starts-last {
			t.Errorf("told: %v, with %d more, want %d", told, more, starts-last)
		}
		for range startsBurst {
			time.Sleep(time.Second)
			if told, more := lived(t, dir, time.Second); !told || more != 0 {
				t.Errorf("after a quiet hour: told: %v, with %d more", told, more)
			}
		}
	})
}

// A file that cannot be read, or that was written by a clock that was ahead by years, keeps nothing from being told for long.
func TestStarts_wrongFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, text := range []string{"{", `{"version":1,"full":"2999-01-01T00:00:00Z","untold":4}`} {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, startsName), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if told, _ := lived(t, dir, 10*time.Minute); !told {
				t.Errorf("%s: it was not told of within ten minutes", text)
			}
		}
	})
}

// What a host says of itself is not said again for a start that may not be told of; for anything else it is.
func TestStarts_hostIsSaidOnce(t *testing.T) {
	a := seeing(t)
	facts := podman.Facts{Engine: &podman.Client{URL: "unix://" + filepath.Join(t.TempDir(), "none.sock")}}
	a.starts = openStarts(t.TempDir(), time.Now, a.log)
	say := func(want uint64, about string) {
		t.Helper()
		before := a.ledger.View().Index()
		a.started = a.started.Add(time.Second)
		if err := a.speakOnce(t.Context(), a.host(facts.Host(t.Context(), true))); err != nil {
			t.Fatal(err)
		}
		if got := a.ledger.View().Index() - before; got != want {
			t.Errorf("%s: %d events, want %d", about, got, want)
		}
	}
	a.started = time.Now()
	say(1, "what the host is was not said before")
	say(0, "it was merely started")
	a.c.NodeLabels = map[string]string{"disk": "fast"}
	say(1, "a label")
	a.boot = "another"
	say(1, "it was booted")
	a.tell(t, projection.HostKey("a"), func() projection.Host { h, _ := a.saidHost(); h.Left = time.Now(); return h }())
	say(1, "it had said that it stops")
	a.tell(t, projection.NodeKey("a"), projection.Node{Down: a.started.Add(1500 * time.Millisecond)})
	say(1, "it was said to be dead")
	say(0, "once more merely started")
	close(a.starts.told)
	say(1, "it may be told of")
}

// A host whose agent ends again and again is silent and back for ever, which those who hear it tell of, but not each time.
func TestSight_flaps(t *testing.T) {
	a := seeing(t, "b")
	s, before, at := a.cluster.sight, a.ledger.View().Index(), time.Now()
	s.since = at.Add(-time.Minute)
	for end := at.Add(3 * time.Hour); at.Before(end); at = at.Add(6 * time.Second) {
		for _, p := range []peersync.Peer{{Host: "b", Alive: true, Heard: at, Since: at}, {Host: "b", Heard: at.Add(-6 * time.Second)}} {
			st := &peersync.Status{At: at, Peers: []peersync.Peer{p}}
			if err := s.record(t.Context(), at, false, s.look(st)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := a.ledger.View().Index() - before; n < sightBurst || n > sightBurst+3*240+1 {
		t.Errorf("%d events of 3,600 changes in three hours", n)
	}
	// The last word is said, once there may be one.
	at = at.Add(time.Minute)
	st := &peersync.Status{At: at, Peers: []peersync.Peer{{Host: "b", Heard: at.Add(-time.Minute)}}}
	if err := s.record(t.Context(), at, false, s.look(st)); err != nil {
		t.Fatal(err)
	}
	if said := a.ledger.View().HeardBy("a"); said.Silent["b"].IsZero() {
		t.Errorf("b is silent, and there stands %+v", said)
	}
}
