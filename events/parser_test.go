package events

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
)

// One Parser for many commits gives what ParseCommit gives for each.
func TestParser_isParseCommit(t *testing.T) {
	var p Parser
	for n := range 200 {
		c := Commit{Inc: 7, Seq: uint64(n + 1), Time: Time(n), Node: "a", Actor: fmt.Sprint("actor ", n%3), Cause: fmt.Sprint("cause ", n)}
		if n > 0 {
			c.Prev = HashOf([]byte{byte(n)})
		}
		for i := range 1 + n%4 {
			e := Event{Kind: Declared, Key: fmt.Sprintf("a/%d", n%7), UID: c.ID(i), Object: fmt.Appendf(nil, `{"n":%d}`, n)}
			if n%5 == 4 { // what came before in the same place must not show through
				e.Object, e.Ends = nil, []End{{UID: ID{7, 1}}}
			}
			if n%11 == 3 {
				e.Key = "a/<" // read by encoding/json
			}
			if n%3 == 1 {
				e.Base, e.For = Stamp{1, ID{7, 1}}, Stamp{2, ID{7, 2}}
			}
			c.Events = append(c.Events, e)
		}
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Parse(b)
		want, errWant := ParseCommit(b)
		if err != nil || errWant != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(want, c) {
			t.Fatalf("Parse gives\n%+v, %v, want\n%+v, %v", got, err, c, errWant)
		}
		if _, err := p.Parse(b[:len(b)-1]); err == nil {
			t.Fatal("a part was taken for a commit")
		}
	}
}

func TestScan_isReplay(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{SegmentBytes: 300 << 10})
	a := &author{inc: l.Incarnation()}
	for range 100 {
		mustAppend(t, l, a.entry(t, 1, 10_000), a.entry(t, 3, 50))
	}
	for _, from := range []uint64{0, 1, 17, 200, 201} {
		var want []Record
		if err := l.Replay(from, func(r Record) error { want = append(want, r); return nil }); err != nil {
			t.Fatal(err)
		}
		n := 0
		err := l.Scan(from, func(r Record) error {
			if !bytes.Equal(r.Payload, want[n].Payload) || r.Number != want[n].Number || r.Hash != want[n].Hash {
				t.Fatalf("from %d: record %d is %+v, want %+v", from, n, r, want[n])
			}
			n++
			return nil
		})
		if err != nil || n != len(want) {
			t.Errorf("from %d: %d records, %v, want %d", from, n, err, len(want))
		}
	}
}
