package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// printed is what psctl events prints of the lines that an agent tells, behind the header.
func printed(t *testing.T, told []byte, args ...string) string {
	t.Helper()
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(told) }))
	t.Cleanup(agent.Close)
	var out, errs strings.Builder
	if code := run(t.Context(), append([]string{"events"}, args...), strings.NewReader(""), &out, &errs, func(name string) string {
		return map[string]string{"PSCTL_SERVER": agent.URL}[name]
	}); code != exitDone {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	_, lines, _ := strings.Cut(out.String(), "\n")
	return lines
}

// What is no event, and has no key and no actor, is told as what it is: not as a deletion of nothing by nobody.
func TestEvents_whatIsNone(t *testing.T) {
	jump := events.Jump{Cause: "events of h2 are nowhere to be had any more", State: []byte("{}")}
	e, err := jump.Entry()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	told := events.AppendLines(nil, events.Record{Index: 7, At: at, Count: 1, Payload: e.Payload}, nil)
	told = events.AppendLines(told, events.Record{Index: 8, At: at, Inc: 15, Seq: 3, Count: 1, Payload: []byte(`{"v":99}`)}, nil)
	for _, args := range [][]string{nil, {"-o", "wide"}} {
		lines := strings.Split(printed(t, told, args...), "\n")
		if len(lines) != 3 || !strings.HasSuffix(lines[0], "  the state was taken over: events of h2 are nowhere to be had any more") ||
			!strings.HasSuffix(lines[1], "  of a later version, not understood") {
			t.Errorf("psctl events %q: got\n%s", args, strings.Join(lines, "\n"))
		}
	}
}

// An event is told in the words that summary has for it.
func TestEvents_inWords(t *testing.T) {
	for key, want := range map[string]string{
		"clash/h1":                "changes that were made here lost against others that had not seen them: deployment/default/web; psctl conflicts",
		"deployment/default/web":  "changed",
		"placement/default/web/0": "no longer wanted",
	} {
		e := map[string]any{"index": 1, "node": "h1", "kind": "observed", "key": key, "actor": "agent", "base": "1"}
		if !strings.HasPrefix(key, "placement/") {
			e["object"] = json.RawMessage(`{"lost":[{"key":"deployment/default/web"}]}`)
		}
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := printed(t, append(line, '\n')); !strings.Contains(got, "  "+want+"  [agent]") {
			t.Errorf("%s: got\n%swant %s", key, got, want)
		}
	}
}
