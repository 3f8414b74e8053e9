package events

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func TestAppendLines(t *testing.T) {
	inc := Incarnation(0xabc)
	c := &Commit{Inc: inc, Seq: 7, Time: TimeOf(time.UnixMilli(1_700_000_000_000)), Prev: Hash{1}, Node: "h1", Actor: "a <b>", Cause: "line\nbreak",
		Events: []Event{
			{Kind: Declared, Key: "service/default/a", UID: ID{inc, 3}, Base: Stamp{1, ID{inc, 3}}, Object: json.RawMessage(`{"a":"<é>"}`)},
			{Kind: Decided, Key: "placement/default/a/0", UID: ID{inc, 8}, For: Stamp{2, ID{inc, 4}}, Object: json.RawMessage("{\"a\":\n1}")},
			{Kind: Declared, Key: "service/default/b", UID: ID{inc, 4}, Base: Stamp{2, ID{inc, 4}},
				Ends: []End{{UID: ID{inc, 4}, Base: Stamp{2, ID{inc, 4}}}, {UID: ID{inc, 5}}}},
		}}
	r := Record{Number: 2, Index: 11, Count: 3, At: time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600)), Inc: inc, Seq: 7, Hash: Hash{0xfe}}
	const hash = "fe00000000000000000000000000000000000000000000000000000000000000"
	const want = `{"index":11,"at":"2026-01-02T02:04:05.000000Z","node":"h1","stamp":"018bcfe568000000-0000000000000abc-7","kind":"declared","key":"service/default/a","uid":"0000000000000abc-3","base":"0000000000000001-0000000000000abc-3","actor":"a \u003cb\u003e","cause":"line\nbreak","commit":{"first":11,"events":3,"hash":"` + hash + `"},"object":{"a":"<é>"}}
{"index":12,"at":"2026-01-02T02:04:05.000000Z","node":"h1","stamp":"018bcfe568000000-0000000000000abc-8","kind":"decided","key":"placement/default/a/0","uid":"0000000000000abc-8","for":"0000000000000002-0000000000000abc-4","actor":"a \u003cb\u003e","cause":"line\nbreak","commit":{"first":11,"events":3,"hash":"` + hash + `"},"object":{"a":1}}
{"index":13,"at":"2026-01-02T02:04:05.000000Z","node":"h1","stamp":"018bcfe568000000-0000000000000abc-9","kind":"declared","key":"service/default/b","uid":"0000000000000abc-4","base":"0000000000000002-0000000000000abc-4","ends":[{"uid":"0000000000000abc-4","base":"0000000000000002-0000000000000abc-4"},{"uid":"0000000000000abc-5"}],"actor":"a \u003cb\u003e","cause":"line\nbreak","commit":{"first":11,"events":3,"hash":"` + hash + `"}}
`
	got := AppendLines([]byte("before\n"), r, c)
	if string(got) != "before\n"+want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for line := range bytes.Lines(got[len("before\n"):]) {
		if !json.Valid(line) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// A commit of a later version is still shown, as it is.
func TestAppendLines_notUnderstood(t *testing.T) {
	for _, c := range []struct{ payload, want string }{
		{`{"v":2}`, `"payload":{"v":2}}`}, {"{\n\"v\":2}", `"payload":{"v":2}}`}, {"\x00x", `"payload":"\u0000x"}`},
	} {
		got := AppendLines(nil, Record{Index: 5, Count: 2, Inc: 1, Seq: 9, Payload: []byte(c.payload)}, nil)
		if !json.Valid(got) || !bytes.HasSuffix(got, []byte(c.want+"\n")) || bytes.Count(got, []byte("\n")) != 1 ||
			!bytes.Contains(got, []byte(`"id":"0000000000000001-9"`)) {
			t.Errorf("%q: got %s, want …%s", c.payload, got, c.want)
		}
	}
}
