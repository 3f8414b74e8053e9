package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// chronicled is a chronicle, and a function that gives how many events it has written since it was asked before, and the last as it stands.
func chronicled(t *testing.T) (*chronicle, func(key string, into any) uint64) {
	t.Helper()
	a := seeing(t, "b")
	a.c.MaxClockSkew = 10 * time.Second
	before := a.ledger.View().Index()
	return &chronicle{a: a}, func(key string, into any) uint64 {
		t.Helper()
		v := a.ledger.View()
		n := v.Index() - before
		before = v.Index()
		if o, ok := v.Lookup(key); ok {
			if err := json.Unmarshal(o.Version.Object, into); err != nil {
				t.Error(err)
			}
		}
		return n
	}
}

func TestChronicle_clocks(t *testing.T) {
	c, wrote := chronicled(t)
	now := time.Now()
	for _, step := range []struct {
		offset time.Duration
		alive  bool
		off    string
		events uint64
	}{
		{time.Second, true, "", 0},
		{-7230 * time.Millisecond, true, "-7.2s", 1},
		{-8 * time.Second, true, "-7.2s", 0},
		{-4 * time.Second, true, "-7.2s", 0}, // not yet well within
		{0, false, "-7.2s", 0},               // not known
		{2 * time.Second, true, "", 1},
		{4 * time.Second, true, "", 0},
	} {
		now = now.Add(2 * time.Minute)
		c.clocks(t.Context(), now, []peersync.Peer{{Host: "b", Alive: step.alive, Offset: step.offset}})
		var got projection.Clocks
		if n := wrote(projection.ClockKey("a"), &got); n != step.events || got.Off["b"] != step.off {
			t.Errorf("a clock that is off by %s: %d events, %+v; want %d, %q", step.offset, n, got, step.events, step.off)
		}
	}
	// One that jumps to and fro is told of once a minute.
	end := now.Add(time.Hour)
	for n := 0; now.Before(end); n++ {
		now = now.Add(lookEvery)
		c.clocks(t.Context(), now, []peersync.Peer{{Host: "b", Alive: true, Offset: time.Duration(n%2) * 8 * time.Second}})
	}
	var got projection.Clocks
	if n := wrote(projection.ClockKey("a"), &got); n == 0 || n > 61 {
		t.Errorf("%d events in an hour of a clock that jumps", n)
	}
}

func TestChronicle_backups(t *testing.T) {
	c, wrote := chronicled(t)
	now := time.Now()
	m := snapshot.Made{}
	c.backups(t.Context(), now, m)
	total := uint64(0)
	for n := range 720 { // one each five seconds, for an hour
		m.Count++
		m.Untold = &snapshot.BackupFile{Name: "state-backup-20260121-120000.json", Made: now, Bytes: int64(n)}
		c.backups(t.Context(), now, m)
		var got projection.Backups
		if wrote(projection.BackupKey("a"), &got) > 0 {
			total++
			if want := uint64(0); n > 0 {
				if want = 11; got.More != want || got.Bytes != int64(n) {
					t.Errorf("backup %d: got %+v, want %d more", n, got, want)
				}
			}
		}
		now = now.Add(lookEvery)
	}
	if total != 60 {
		t.Errorf("%d events of 720 backups in an hour, want one a minute", total)
	}
	c.backups(t.Context(), now.Add(time.Hour), m) // those that none has told of
	c.backups(t.Context(), now.Add(2*time.Hour), m)
	var got projection.Backups
	if n := wrote(projection.BackupKey("a"), &got); n != 1 || got.More != 10 {
		t.Errorf("of the last of them: %d events, %+v", n, got)
	}
	m.Count, m.Told = m.Count+3, m.Told+3 // of which events tell with who asked
	m.Last = &snapshot.BackupFile{Name: "state-backup-20260121-130000.json"}
	c.backups(t.Context(), now.Add(3*time.Hour), m)
	if n := wrote(projection.BackupKey("a"), &got); n != 0 {
		t.Errorf("of those that were asked for: %d events, %+v", n, got)
	}
	m.Count, got = m.Count+1, projection.Backups{}
	c.backups(t.Context(), now.Add(4*time.Hour), m)
	if n := wrote(projection.BackupKey("a"), &got); n != 1 || got.Name != m.Untold.Name || got.More != 0 {
		t.Errorf("of one after them: %d events, %+v", n, got)
	}
}

func TestChronicle_readOnly(t *testing.T) {
	c, wrote := chronicled(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	full := errors.Join(events.ErrFull)
	var got projection.ReadOnly
	if !c.writable(t.Context(), now, nil) || c.writable(t.Context(), now, full) || c.writable(t.Context(), now.Add(time.Minute), errors.New("still")) {
		t.Error("it is not said whether the host can write")
	}
	if n := wrote(projection.ReadOnlyKey("a"), &got); n != 0 {
		t.Errorf("%d events of a host that cannot write", n)
	}
	c.writable(t.Context(), now.Add(time.Hour), nil)
	c.writable(t.Context(), now.Add(2*time.Hour), nil)
	n := wrote(projection.ReadOnlyKey("a"), &got)
	if n != 1 || !got.Since.Equal(now) || !got.Until.Equal(now.Add(time.Hour)) || !strings.Contains(got.Why, "disk is full") {
		t.Errorf("%d events, %+v", n, got)
	}
}
