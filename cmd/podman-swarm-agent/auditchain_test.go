package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// A host that has trimmed its log tells others what went from its increments: who took over its state has the history of what was before. Where the
// increments are lost, it says so, and not that there is nothing.
func TestAuditChain_trimmed(t *testing.T) {
	b := newHost(t, "b", "--log-keep=1MiB", "--backup-increment-interval=300ms", "--backup-interval=1s").start(t)
	token := b.token(t)
	b.trims(t)
	c := newHost(t, "c", "--join="+b.cluster, "--join-token="+token).start(t)
	c.status(t, "two alive and agreeing", alive(2))
	told := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) { // b may not have said yet where it can be asked
		if told = c.ask(t, "GET", "/swarm/v1/history/service/default/first", "", http.StatusOK); !strings.Contains(told, "not_held") {
			break
		}
	}
	if strings.Count(told, `"from":"b"`) != 2 || strings.Contains(told, "not_held") {
		t.Errorf("what b has trimmed, asked of c: %s", told)
	}
	c.end(t)
	b.end(t)

	log, err := events.Open(filepath.Join(b.dir, "events"), events.Options{MinFree: 1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	a := &agent{events: log, history: &snapshot.History{Log: log, Dir: b.dir}}
	var inc events.Incarnation
	err = a.history.Read(t.Context(), 0, func(r events.Record) error {
		inc = r.Inc
		return errWriter
	})
	if !errors.Is(err, errWriter) || log.Floor(inc) == 0 {
		t.Fatalf("nothing was trimmed: %v", err)
	}
	ask := func(handler http.HandlerFunc, after string) (int, string) {
		w := httptest.NewRecorder()
		q := url.Values{"incarnation": {inc.String()}, "after": {after}, "up_to": {"20"}}
		handler(w, httptest.NewRequest("GET", "/?"+q.Encode(), nil))
		return w.Code, w.Body.String()
	}
	for after, first := range map[string]string{"0": `"seq":[1-9],`, "10": `"seq":1[1-9]`} {
		code, points := ask(a.ownPoints, after)
		line, _, _ := strings.Cut(points, "\n")
		if code != http.StatusOK || !regexp.MustCompile(first).MatchString(line) || strings.Count(points, "\n") < 3 {
			t.Errorf("points after event %s: got %d %s", after, code, points)
		}
	}
	next := uint64(1)
	code, commits := ask(a.ownCommits, "0")
	for line := range strings.Lines(commits) {
		c, err := events.ParseCommit([]byte(strings.TrimSpace(line)))
		if err != nil || c.Inc != inc || c.Seq != next {
			t.Fatalf("want event %d: %+v, %v", next, c, err)
		}
		next = c.Last() + 1
	}
	if code != http.StatusOK || next <= 20 {
		t.Errorf("got %d, and commits up to event %d", code, next-1)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, snapshot.IncrementsFolder)); err != nil {
		t.Fatal(err)
	}
	for name, handler := range map[string]http.HandlerFunc{"points": a.ownPoints, "commits": a.ownCommits} {
		if code, said := ask(handler, "0"); code != http.StatusGone || !strings.Contains(said, "trimmed off the log") {
			t.Errorf("%s, without the increments: got %d %s", name, code, said)
		}
	}
}

// What a jump says is not on the chain is not given, and what it went over is lacking.
func TestHeldChain_jumps(t *testing.T) {
	const inc = events.Incarnation(7)
	var number uint64
	record := func(c *heldChain, seq uint64) {
		number++
		if err := c.pass(events.Record{Number: number, Index: number, Inc: inc, Seq: seq, Count: 1}); err != nil {
			t.Fatal(err)
		}
	}
	jump := func(c *heldChain, heads ...events.JumpHead) {
		number++
		e, err := (&events.Jump{Heads: heads}).Entry()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.pass(events.Record{Number: number, Index: number, Count: 1, Payload: e.Payload}); err != nil {
			t.Fatal(err)
		}
	}
	c := &heldChain{inc: inc, upTo: 100}
	for seq := range uint64(5) {
		record(c, seq+1)
	}
	jump(c, events.JumpHead{Inc: inc, Seq: 3}) // 4 and 5 are void
	record(c, 4)
	if err := c.whole(); err != nil || len(c.runs) != 2 {
		t.Errorf("after a jump back: %v, %+v", err, c.runs)
	}
	for n, want := range []bool{true, true, true, false, false, false, true} { // by number; 6 is the jump
		seq := uint64(min(n+1, 5))
		if n == 6 {
			seq = 4
		}
		if got := c.has(&events.Record{Number: uint64(n + 1), Inc: inc, Seq: seq, Count: 1}); got != want && n != 5 {
			t.Errorf("record %d, event %d: given %t, want %t", n+1, seq, got, want)
		}
	}
	jump(c, events.JumpHead{Inc: inc, Seq: 9})
	record(c, 10)
	if err := c.whole(); !errors.Is(err, errLacked) || !strings.Contains(err.Error(), "event 5 ") {
		t.Errorf("after a jump forth: %v", err)
	}
	c.after = 9
	if err := c.whole(); err != nil {
		t.Errorf("behind it: %v", err)
	}
	jump(c, events.JumpHead{Inc: inc, Seq: 12, Anew: true})
	if err := c.whole(); !errors.Is(err, errLacked) || len(c.runs) != 0 {
		t.Errorf("after a jump to another chain: %v, %+v", err, c.runs)
	}
	jump(c) // it has not been heard of
	if err := c.whole(); err != nil {
		t.Errorf("of what nobody has heard of: %v", err)
	}
}
