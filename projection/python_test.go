package projection

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// The model of the rule that was written first, in Python, told these histories and what each host showed in them.
func TestFold_historiesOfThePythonModel(t *testing.T) {
	data, err := os.ReadFile("testdata/histories.txt")
	if err != nil {
		t.Fatal(err)
	}
	states, history, shown := map[string]*State{}, "", 0
	of := func(host string) *State {
		if s := states[host]; s != nil {
			return s
		}
		return NewState()
	}
	for line := range strings.Lines(string(data)) {
		switch w := strings.Fields(line); w[0] { // lines of comment begin with #
		case "H":
			history = w[1]
			clear(states)
		case "E":
			s, c := of(w[1]), pythonCommit(t, w[2:])
			if s.Head(c.Inc).Seq+1 != c.Seq {
				t.Fatalf("history %s: %s does not follow", history, line)
			}
			states[w[1]] = s.Fold(c, hashOf(c), s.Index()+1, s.At())
		case "J":
			states[w[1]] = Join(of(w[1]), of(w[2]))
		case "S":
			for _, kv := range w[2:] {
				key, want, _ := strings.Cut(kv, "=")
				got := "-"
				if o, ok := of(w[1]).Lookup("key/" + key); ok {
					got = string(o.Version.Object)
				}
				if got != want {
					t.Fatalf("history %s: host %s shows %s of %s, want %s", history, w[1], got, key, want)
				}
				shown++
			}
		}
	}
	if shown < 1000 {
		t.Errorf("%d comparisons: the histories are not all there", shown)
	}
}

// pythonCommit is the commit of an event: INCARNATION SEQ TIME KEY UID BASE ENDS OBJECT.
func pythonCommit(t *testing.T, w []string) *events.Commit {
	t.Helper()
	id := func(text string) events.ID {
		inc, seq, ok := strings.Cut(text, ".")
		if !ok {
			t.Fatalf("id %s", text)
		}
		return events.ID{Inc: events.Incarnation(number(t, inc) + 1), Seq: uint64(number(t, seq))} // its hosts count from 0
	}
	stamp := func(text string) events.Stamp {
		if text == "-" {
			return events.Stamp{}
		}
		of, at, _ := strings.Cut(text, "@")
		return events.Stamp{Time: events.Time(number(t, at) + 100_000), ID: id(of)} // its clocks are behind 0 at first
	}
	mine := stamp(w[0] + "." + w[1] + "@" + w[2])
	e := events.Event{Kind: events.Declared, Key: "key/" + w[3], UID: id(w[4]), Base: stamp(w[5])}
	if w[6] != "-" {
		for _, end := range strings.Split(w[6], ",") {
			uid, base, _ := strings.Cut(end, "/")
			e.Ends = append(e.Ends, events.End{UID: id(uid), Base: stamp(base)})
		}
	}
	if w[7] != "-" {
		e.Object = []byte(w[7])
	}
	return &events.Commit{Inc: mine.Inc, Seq: mine.Seq, Time: mine.Time, Events: []events.Event{e}}
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
