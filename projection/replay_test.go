package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

func TestOpenLedger_fromASnapshot(t *testing.T) {
	log := newMemoryLog()
	l, stop := running(t, log)
	for i := range 3 * recent {
		if mustRecord(t, l, put(fmt.Sprintf("a/%d", i%300), fmt.Sprintf(`{"n":%d}`, i))); i%250 == 0 {
			start := l.View().State
			was := encoded(t, start)
			from := log.End().Record + 1
			for range 5 {
				mustRecord(t, l, put("a/x", `{}`), put("a/y", `{}`))
			}
			got := mustOpen(t, log, start, from).View()
			if string(encoded(t, got.State)) != string(encoded(t, l.View().State)) {
				t.Fatalf("from a snapshot at %d, the state is another", start.Index())
			}
			if string(encoded(t, start)) != string(was) {
				t.Fatal("the snapshot was changed")
			}
		}
	}
	stop()
}

// Replay of a long log uses maps and memory of its own; what comes of it is what Fold gives, commit by commit.
func TestOpenLedger_foldsAsFoldDoes(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		w := newWorld(t, r)
		w.run(60, true)
		log := newMemoryLog()
		chain := map[events.Incarnation]events.Hash{}
		want, at := NewState(), 0
		var start *State
		from := uint64(0)
		write := func(c events.Commit) {
			c.Prev = chain[c.Inc]
			payload, err := c.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			e := events.Entry{Payload: payload, Count: uint32(len(c.Events)), Hash: events.HashOf(payload), Inc: c.Inc, Seq: c.Seq}
			chain[c.Inc] = e.Hash
			if err := log.Append([]events.Entry{e}); err != nil {
				t.Fatal(err)
			}
			want = want.Fold(&c, e.Hash, want.Index()+1, log.End().At)
			if at++; at == len(w.commits)/3 {
				start, from = want, log.End().Record+1
			}
		}
		for _, c := range w.commits {
			c := *c
			c.Events = slices.Clone(c.Events)
			for i := range c.Events { // of many lengths, so that memory that is used again fits or does not
				if c.Events[i].Object != nil {
					c.Events[i].Object = fmt.Appendf(nil, `{"n":"%s"}`, strings.Repeat("x", r.IntN(40)))
				}
			}
			write(c)
		}
		inc := events.Incarnation(5) // so many more that the others are not among those that are folded one by one
		for i := range recent {
			write(events.Commit{Inc: inc, Seq: uint64(i + 1), Events: []events.Event{{Kind: events.Observed, Key: "a/pad",
				UID: events.ID{Inc: inc, Seq: 1}, Object: []byte(`{}`)}}})
		}
		was := encoded(t, want)
		if got := mustOpen(t, log, nil, 0).View().State; string(encoded(t, got)) != string(was) {
			t.Fatalf("replay gives\n%s\nwant\n%s", picture(got), picture(want))
		}
		if start == nil {
			return
		}
		frozen := encoded(t, start)
		if got := mustOpen(t, log, start, from).View().State; string(encoded(t, got)) != string(was) {
			t.Fatalf("replay from event %d gives\n%s\nwant\n%s", start.Index()+1, picture(got), picture(want))
		}
		if string(encoded(t, start)) != string(frozen) {
			t.Fatal("the state that replay began with was changed")
		}
	})
}

func TestOpenLedger_refusesAGap(t *testing.T) {
	log := newMemoryLog()
	l, stop := running(t, log)
	for i := range 10 {
		mustRecord(t, l, put("a/x", fmt.Sprintf(`{"n":%d}`, i)))
	}
	s5 := l.View().steps[4].After
	stop()
	for name, c := range map[string]struct {
		start *State
		from  uint64
		spoil func([]events.Record) []events.Record
		want  string
	}{
		"missing":   {spoil: func(r []events.Record) []events.Record { return append(r[:4:4], r[5:]...) }, want: "event 6: the fold before it ends at event 4"},
		"other seq": {spoil: func(r []events.Record) []events.Record { r[5].Payload = r[4].Payload; return r }, want: "event 6: seq 5 of incarnation 0000000000000007 does not follow its seq 5"},
		"seq left out": {spoil: func(r []events.Record) []events.Record {
			r[5].Payload = bytes.Replace(r[5].Payload, []byte(`"seq":6`), []byte(`"seq":7`), 1)
			return r
		}, want: "event 6: seq 7 of incarnation 0000000000000007 does not follow its seq 5"},
		"other hash": {spoil: func(r []events.Record) []events.Record { r[4].Hash[0]++; return r }, want: "event 6: seq 6"},
		"unreadable": {spoil: func(r []events.Record) []events.Record { r[5].Payload = []byte("{}"); return r }, want: "event 6: commit"},
		"later":      {spoil: func(r []events.Record) []events.Record { r[5].Payload = []byte(`{"v":9}`); return r }, want: "event 6: commit of format 9"},
		"too late":   {start: s5, from: 7, want: "event 7: the fold before it ends at event 5"},
		"too early":  {start: s5, from: 5, want: "event 5: the fold before it ends at event 5"},
		"cut":        {start: l.View().State, from: 11, spoil: func(r []events.Record) []events.Record { return r[:8] }, want: "it ends at event 8, and its fold at 10"},
	} {
		spoilt := newMemoryLog()
		spoilt.records = append(spoilt.records, log.records...)
		if c.spoil != nil {
			spoilt.records = c.spoil(spoilt.records)
		}
		_, err := OpenLedger(spoilt, c.start, c.from, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one that says %q", name, err, c.want)
		}
	}
	later := newMemoryLog()
	later.records = append(later.records, log.records...)
	later.records[9].Payload = []byte(`{"v":9}`)
	if _, err := OpenLedger(later, nil, 0, nil); !errors.Is(err, events.ErrVersion) {
		t.Errorf("error is %v, want %v", err, events.ErrVersion)
	}
}

// What is written after a start comes after what was written before it, also when the wall clock has gone back a bit.
func TestOpenLedger_clockDoesNotGoBack(t *testing.T) {
	log := newMemoryLog()
	at := func(d time.Duration) func() time.Time {
		return func() time.Time { return time.UnixMilli(1_700_000_000_000).Add(d) }
	}
	write := func(d time.Duration, key string) events.Stamp {
		l, err := OpenLedger(log, nil, 0, at(d))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); l.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		return mustRecord(t, l, put(key, `{}`)).Stamp
	}
	first := write(0, "a/1")
	if second := write(-5*time.Second, "a/2"); !first.Less(second) {
		t.Errorf("five seconds back: %v comes before %v", second, first)
	}
	third := write(-time.Hour, "a/3")
	if most := events.TimeOf(at(-time.Hour)().Add(maxAhead + time.Second)); third.Time > most {
		t.Errorf("an hour back: stamped %v, want at most %v: the clock that was wrong is not followed", third.Time.Wall(), most.Wall())
	}
	if fourth := write(-time.Hour, "a/1"); !first.Less(fourth) {
		t.Errorf("a new version %v of what was stamped %v does not win over it", fourth, first)
	}
}
