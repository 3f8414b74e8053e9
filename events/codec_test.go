package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// samples are commits that between them have every field, and every field empty that may be.
func samples() []Commit {
	stamp := Stamp{Time: 0x0001020304050607, ID: ID{Inc: 0xfedcba9876543210, Seq: 41}}
	return []Commit{
		{Inc: 1, Seq: 1, Time: 1 << 16, Events: []Event{{Kind: Declared, Key: "a/b", UID: ID{1, 1}, Object: json.RawMessage("{}")}}},
		{Inc: 0x5f3a9c0e11223344, Seq: 42, Time: 0x019b000000000000, Prev: HashOf([]byte("x")), Node: "alpha", Actor: "root", Cause: "psctl apply",
			Events: []Event{
				{Kind: Declared, Key: "deployment/default/nginx", UID: ID{0x5f3a9c0e11223344, 42}, Base: stamp, Object: json.RawMessage(`{"a":["}]"]}`)},
				{Kind: Decided, Key: "placement/default/nginx/0", UID: ID{7, 8}, For: stamp, Object: json.RawMessage(`null`)},
				{Kind: Trust, Key: "member/b", UID: ID{7, 9}, Ends: []End{{UID: ID{7, 9}, Base: stamp}, {UID: ID{8, 9}}}},
				{Kind: "later", Key: "x/ü", UID: ID{7, 10}, Ends: []End{{UID: ID{7, 1}}}, Object: json.RawMessage(`"\u003c"`)},
			}},
		{Inc: 2, Seq: 1<<64 - 3, Time: 1<<64 - 1, Prev: HashOf(nil), Node: `"\ <&> ü`, Actor: "\x7f\n", Cause: "\u2028",
			Events: []Event{{Kind: Observed, Key: "pod/é", UID: ID{2, 1}, Base: stamp, For: stamp, Object: json.RawMessage(`[1,2]`)}}},
	}
}

func TestCommit_roundTrip(t *testing.T) {
	for i, want := range samples() {
		b, err := want.Append([]byte("before"))
		if err != nil {
			t.Fatalf("commit %d: %v", i, err)
		}
		b = b[len("before"):]
		if !json.Valid(b) {
			t.Errorf("commit %d is no JSON: %s", i, b)
		}
		got, err := ParseCommit(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("commit %d: got  %+v, %v\nwant %+v", i, got, err, want)
		}
		slow, err := parseSlow(b)
		if err != nil || !reflect.DeepEqual(slow, want) {
			t.Errorf("commit %d by encoding/json: got  %+v, %v\nwant %+v", i, slow, err, want)
		}
		again, err := got.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("commit %d: parsed and encoded is %s, was %s", i, again, b)
		}
	}
}

// TestCommit_canonical holds the encoding to the bytes that DESIGN.md gives: they are hashed, so they are for ever.
func TestCommit_canonical(t *testing.T) {
	c := samples()[1]
	c.Events = c.Events[:3]
	got, err := c.Append(nil)
	want := `{"v":1,"inc":"5f3a9c0e11223344","seq":42,"time":"019b000000000000",` +
		`"prev":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","node":"alpha","actor":"root","cause":"psctl apply",` +
		`"events":[{"kind":"declared","key":"deployment/default/nginx","uid":"5f3a9c0e11223344-42","base":"0001020304050607-fedcba9876543210-41","size":12,"object":{"a":["}]"]}},` +
		`{"kind":"decided","key":"placement/default/nginx/0","uid":"0000000000000007-8","for":"0001020304050607-fedcba9876543210-41","size":4,"object":null},` +
		`{"kind":"trust","key":"member/b","uid":"0000000000000007-9","ends":[{"uid":"0000000000000007-9","base":"0001020304050607-fedcba9876543210-41"},{"uid":"0000000000000008-9"}]}]}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestParseCommit_otherJSON(t *testing.T) {
	c := samples()[1]
	b, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	spaced := bytes.Replace(b, []byte(`,"seq":`), []byte(` , "unknown":{"x":[1]}, "seq":`), 1)
	got, err := ParseCommit(spaced)
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := ParseCommit(bytes.Replace(b, []byte(`"v":1`), []byte(`"v":2`), 1)); !errors.Is(err, ErrVersion) {
		t.Errorf("version 2: got %v, want ErrVersion", err)
	}
	for _, bad := range []string{"", "{}", "null", `{"v":1}`, string(b[:len(b)-1]), string(b) + " x",
		strings.Replace(string(b), `"size":12`, `"size":11`, 1), strings.Replace(string(b), `"seq":42`, `"seq":0`, 1),
		strings.Replace(string(b), `"inc":"5f`, `"inc":"5F`, 1)} {
		if c, err := ParseCommit([]byte(bad)); err == nil {
			t.Errorf("%.60s…: parsed as %+v", bad, c)
		}
	}
}

// TestCommit_appendTakesOnlyWhatParses gives Append commits that could not be read again.
func TestCommit_appendTakesOnlyWhatParses(t *testing.T) {
	half := Stamp{Time: 5}
	for what, change := range map[string]func(*Commit){
		"no incarnation":        func(c *Commit) { c.Inc = 0 },
		"no seq":                func(c *Commit) { c.Seq = 0 },
		"no events":             func(c *Commit) { c.Events = nil },
		"first with a previous": func(c *Commit) { c.Seq = 1 },
		"later without":         func(c *Commit) { c.Prev = Hash{} },
		"numbers overflow":      func(c *Commit) { c.Seq = 1<<64 - 1 },
		"no kind":               func(c *Commit) { c.Events[0].Kind = "" },
		"no key":                func(c *Commit) { c.Events[0].Key = "x" },
		"no uid":                func(c *Commit) { c.Events[0].UID = ID{} },
		"half a uid":            func(c *Commit) { c.Events[0].UID = ID{Inc: 1} },
		"half a base":           func(c *Commit) { c.Events[0].Base = half },
		"half a for":            func(c *Commit) { c.Events[0].For = half },
		"end of nothing":        func(c *Commit) { c.Events[2].Ends[0].UID = ID{} },
		"end with half a base":  func(c *Commit) { c.Events[2].Ends[0].Base = half },
		"neither object nor end": func(c *Commit) {
			c.Events[0].Object = nil
		},
		"empty object":     func(c *Commit) { c.Events[0].Object = json.RawMessage{} },
		"key not UTF-8":    func(c *Commit) { c.Events[0].Key = "a/\xff" },
		"kind not UTF-8":   func(c *Commit) { c.Events[0].Kind = "\xff" },
		"node not UTF-8":   func(c *Commit) { c.Node = "\xff" },
		"actor not UTF-8":  func(c *Commit) { c.Actor = "a\xc0b" },
		"cause not UTF-8":  func(c *Commit) { c.Cause = "\xed\xa0\x80" },
		"two events, none": func(c *Commit) { c.Events[1] = Event{} },
	} {
		c := samples()[1]
		change(&c)
		if b, err := c.Append([]byte("as it was")); err == nil || string(b) != "as it was" {
			t.Errorf("%s: got %.80s, %v; want it refused", what, b, err)
		}
	}
}

// FuzzParseCommit holds the small parser to two things: what it takes is what Append writes, and encoding/json reads
// the same from it.
func FuzzParseCommit(f *testing.F) {
	for _, c := range samples() {
		b, err := c.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	c := samples()[1]
	b, err := c.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Replace(b, []byte("2d711642b7"), []byte("2D711642B7"), 1))
	f.Add(bytes.Replace(b, []byte(`"seq":42`), []byte(`"seq":042`), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Commit
		if !(&parser{b: b}).commit(&c) || c.check() != nil {
			if c, err := parseSlow(b); err == nil {
				sameAgain(t, c)
			}
			return
		}
		if again, err := c.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("taken for canonical: %q\nwritten again: %q, %v", b, again, err)
		}
		slow, err := parseSlow(b)
		for _, e := range c.Events {
			if !compact(e.Object) {
				return // the small parser does not look into objects
			}
		}
		if err != nil || !reflect.DeepEqual(slow, c) {
			t.Fatalf("%q\nsmall parser:  %+v\nencoding/json: %+v, %v", b, c, slow, err)
		}
	})
}

// sameAgain checks that a commit that was read is the same when it has been written and read once more.
func sameAgain(t *testing.T, c Commit) {
	t.Helper()
	b, err := c.Append(nil)
	if err != nil {
		t.Fatalf("%+v was read and cannot be written: %v", c, err)
	}
	if again, err := ParseCommit(b); err != nil || !reflect.DeepEqual(again, c) {
		t.Fatalf("read %+v\nwritten and read %+v, %v", c, again, err)
	}
}

func compact(object json.RawMessage) bool {
	return object == nil || json.Valid(object) && len(bytes.TrimSpace(object)) == len(object)
}

func TestText_roundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		s := Stamp{Time: Time(rnd.Uint64()), ID: ID{Incarnation(rnd.Uint64() | 1), rnd.Uint64() | 1}}
		var got Stamp
		if err := got.UnmarshalText([]byte(s.String())); err != nil || got != s {
			t.Fatalf("%v: got %v, %v", s, got, err)
		}
		if id, err := ParseID(s.ID.String()); err != nil || id != s.ID {
			t.Fatalf("%v: got %v, %v", s.ID, id, err)
		}
		h := HashOf([]byte(s.String()))
		var again Hash
		if err := again.UnmarshalText([]byte(h.String())); err != nil || again != h {
			t.Fatalf("%v: got %v, %v", h, again, err)
		}
	}
	for _, bad := range []string{"x", "5f3a9c0e11223344", "5f3a9c0e11223344-", "5f3a9c0e11223344-0", "5f3a9c0e11223344-01",
		"5F3a9c0e11223344-1", "0000000000000000-1", "5f3a9c0e11223344-18446744073709551616", "5f3a9c0e11223344--1"} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("%s: got %v", bad, id)
		}
	}
}

func TestParseHex_everyByte(t *testing.T) {
	for i := range 16 {
		for c := range 256 {
			b := []byte("0123456789abcdef")
			b[i] = byte(c)
			want, err := strconv.ParseUint(string(b), 16, 64)
			lower := err == nil && !bytes.ContainsAny(b, "ABCDEF_")
			if got, ok := parseHex(b); ok != lower || ok && got != want {
				t.Errorf("%q: got %x, %v, want %x, %v", b, got, ok, want, lower)
			}
		}
	}
}

func TestClock_neverGoesBack(t *testing.T) {
	wall := time.UnixMilli(1_000_000)
	c := NewClock(func() time.Time { return wall })
	last := c.After(0)
	if got := last.Wall(); !got.Equal(wall) {
		t.Errorf("got %v, want %v", got, wall)
	}
	for _, step := range []time.Duration{0, 0, time.Millisecond, -time.Hour, 0, time.Hour} {
		wall = wall.Add(step)
		next := c.After(0)
		if next <= last {
			t.Fatalf("%v after a step of %v: want more than %v", next, step, last)
		}
		last = next
	}
}

// Where a disk was put back, one version can be replaced twice by a clock that is behind it.
func TestClock_behindAVersionStampsDifferently(t *testing.T) {
	wall := time.UnixMilli(1_000_000)
	ahead := TimeOf(wall.Add(time.Hour))
	given := map[Time]time.Duration{}
	for ms := range 200 {
		d := time.Duration(ms) * time.Millisecond
		got := NewClock(func() time.Time { return wall.Add(d) }).After(ahead)
		if got > TimeOf(ahead.Wall().Add(2*time.Millisecond)) {
			t.Fatalf("got %v, want within 2ms after %v", got.Wall(), ahead.Wall())
		}
		if at, ok := given[got]; ok {
			t.Fatalf("clocks that show %v and %v give the same time after %v", at, d, ahead.Wall())
		}
		given[got] = d
	}
	if got := NewClock(func() time.Time { return wall }).After(LastTime - 1); got != LastTime {
		t.Errorf("got %v, want the last time there is", got)
	}
	if got := NewClock(func() time.Time { return wall }).After(LastTime); got <= LastTime {
		t.Errorf("got %v, want it seen that nothing is left", got)
	}
}

func TestClock_isAfterWhatItHasSeen(t *testing.T) {
	wall := time.UnixMilli(1_000_000)
	c := NewClock(func() time.Time { return wall })
	ahead := TimeOf(wall.Add(time.Hour))
	if got := c.After(ahead); got <= ahead {
		t.Errorf("got %v, want more than the version replaced, %v", got, ahead)
	}
	if got := c.After(0); got >= ahead {
		t.Errorf("got %v: one version of the future has moved the clock", got)
	}
	near := TimeOf(wall.Add(5 * time.Second))
	if !c.Witness(near, 10*time.Second) {
		t.Error("5s ahead of 10s allowed: refused")
	}
	if got := c.After(0); got <= near {
		t.Errorf("got %v, want more than what was witnessed, %v", got, near)
	}
	if c.Witness(ahead, 10*time.Second) {
		t.Error("an hour ahead of 10s allowed: taken")
	}
	if got, most := c.After(0), TimeOf(wall.Add(10*time.Second)); got <= most || got > most+10 {
		t.Errorf("got %v, want just above the limit, %v", got, most)
	}
}
