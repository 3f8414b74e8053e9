package events

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// forged is a log that says what the given commits say, with every hash, checksum and watermark as if it had never been otherwise: all that
// somebody can do who may write to the disk.
func forged(t *testing.T, inc Incarnation, commits []*Commit) string {
	t.Helper()
	o := small()
	o.Draw = func() Incarnation { return inc }
	l := mustOpen(t, ram(t), o)
	seq, prev := uint64(1), Hash{}
	for _, c := range commits {
		c := *c
		c.Seq, c.Prev = seq, prev
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		seq, prev = c.Last()+1, HashOf(b)
		mustAppend(t, l, Entry{Payload: b, Count: uint32(len(c.Events)), Hash: prev, Inc: inc, Seq: c.Seq})
	}
	mustClose(t, l)
	return l.dir
}

// place is where a log's commit ends, as somebody has written it down.
func placeOf(inc Incarnation, r *Record) Known {
	return Known{Inc: inc, Seq: r.Seq + uint64(r.Count) - 1, Hash: hex.EncodeToString(r.Hash[:])[:KnownDigits], Host: "alpha", From: "host h2"}
}

func TestVerify_whatIsKnownElsewhere(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	inc := l.Incarnation()
	a := &author{inc: inc}
	for i := range 40 {
		mustAppend(t, l, a.entry(t, 1+i%3, 100))
	}
	mustClose(t, l)
	records, commits, err := dumped(l.dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []Known
	for i := range records {
		all = append(all, placeOf(inc, &records[i]))
	}
	head := all[len(all)-1:]
	if chains, err := Verify(t.Context(), l.dir, testKey(), nil, all...); err != nil || chains[0].Agreed != len(all) || chains[0].Unheld+len(chains[0].Differs) > 0 {
		t.Fatalf("a log that nobody has touched: %v, %+v", err, chains)
	}

	other := *commits[20]
	other.Events = append([]Event(nil), other.Events...)
	other.Events[0].Object = json.RawMessage(`{"fill":"another"}`)
	const lost = 20 // of the commits
	bad := commits[lost].Seq
	for _, c := range []struct {
		what    string
		commits []*Commit
		first   uint64 // event that is named
	}{
		{"the end is cut off", commits[:37], commits[37].Seq},
		{"one is left out", append(append([]*Commit(nil), commits[:lost]...), commits[lost+1:]...), bad},
		{"one says something else", append(append(append([]*Commit(nil), commits[:lost]...), &other), commits[lost+1:]...), bad},
		{"one is put in", append(append(append([]*Commit(nil), commits[:lost]...), &other), commits[lost:]...), bad},
		{"two have changed places", append(append(append([]*Commit(nil), commits[:lost]...), commits[lost+1], commits[lost]), commits[lost+2:]...), bad},
		{"another log", nil, 1},
	} {
		dir := forged(t, inc, c.commits)
		if _, err := Verify(t.Context(), dir, testKey(), nil); err != nil {
			t.Errorf("%s: by itself the log shows it, which it cannot: %v", c.what, err)
		}
		want := fmt.Sprintf("host \"alpha\", incarnation %v, event %d: ", inc, c.first)
		chains, err := Verify(t.Context(), dir, testKey(), nil, all...)
		if err == nil || !strings.Contains(strings.Split(err.Error(), "\n")[0], want) {
			t.Errorf("%s: held to all that is known, Verify says %v, want %s…", c.what, err, want)
		}
		if len(chains) != 1 || len(chains[0].Differs) == 0 {
			t.Errorf("%s: got %+v", c.what, chains)
		}
		if _, err := Verify(t.Context(), dir, testKey(), nil, head...); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("incarnation %v", inc)) {
			t.Errorf("%s: held to one head, Verify says %v", c.what, err)
		}
	}
	later := head[0]
	later.Seq, later.May = later.Seq+5, true
	if _, err := Verify(t.Context(), l.dir, testKey(), nil, later); err != nil {
		t.Errorf("what has not come yet is no damage: %v", err)
	}
	short := head[0]
	short.Hash = short.Hash[:KnownDigits-1]
	if _, err := Verify(t.Context(), l.dir, testKey(), nil, short); err == nil {
		t.Error("a hash that is too short to tell is taken for proof")
	}
}

// What was given up, or jumped over, is neither damage nor proof of anything.
func TestVerify_knownAcrossJumps(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	b := &author{inc: 77}
	mustAppend(t, l, b.entry(t, 1, 10), b.entry(t, 1, 10))
	two := Known{Inc: 77, Seq: 2, Hash: b.hash.String(), From: "paper"}
	b.last, b.hash = b.last-1, Hash{}
	if err := Dump(l.dir, testKey(), 1, func(r Record, _ *Commit) error {
		if r.Seq == 1 {
			b.hash = r.Hash
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, jump(t, JumpHead{Inc: 77, Seq: 1, Hash: b.hash}), b.entry(t, 1, 20))
	again := Known{Inc: 77, Seq: 2, Hash: b.hash.String(), From: "paper"}
	b.last += 6
	mustAppend(t, l, jump(t, JumpHead{Inc: 77, Seq: 8, Hash: b.hash}))
	over := Known{Inc: 77, Seq: 5, Hash: two.Hash, From: "paper"}
	at := Known{Inc: 77, Seq: 8, Hash: b.hash.String(), From: "paper"}
	chains, err := Verify(t.Context(), l.dir, testKey(), nil, two, again, over, at)
	if err != nil || len(chains) != 1 || chains[0].Agreed != 3 || chains[0].Unheld != 1 || chains[0].Holds() != 2 {
		t.Errorf("got %+v, %v", chains, err)
	}
	at.Hash = two.Hash
	if _, err := Verify(t.Context(), l.dir, testKey(), nil, at); err == nil {
		t.Error("a jump to another chain than is known passes")
	}
}

// Who does not want to know any more has the log read no further.
func TestVerify_endsWithItsContext(t *testing.T) {
	l := mustOpen(t, ram(t), small())
	mustAppend(t, l, (&author{inc: l.Incarnation()}).entry(t, 1, 100))
	mustClose(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, l.dir, testKey(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it is not read", err)
	}
}
