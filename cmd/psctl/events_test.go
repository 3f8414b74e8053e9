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

// Why a program was started again, or how it ended, is told with it.
func TestEvents_howContainersEnded(t *testing.T) {
	for object, want := range map[string]string{
		`{"phase":"Running","container":"abc","started":"2026-01-21T12:00:00Z"}`:                           "Running, container abc",
		`{"phase":"Running","container":"abc","restarts":1,"exit_code":3}`:                                 "Running, container abc, 1 restart, after exit code 3",
		`{"phase":"Running","container":"abc","restarts":1}`:                                               "Running, container abc, 1 restart, after exit code 0",
		`{"phase":"Running","container":"abc","restarts":2,"exit_code":137,"oom_killed":true}`:             "Running, container abc, 2 restarts, the last after it was killed for memory",
		`{"phase":"Exited","reason":"Error","container":"abc","exit_code":3}`:                              "Exited Error, container abc, exit code 3",
		`{"phase":"Exited","reason":"OOMKilled","container":"abc","exit_code":137,"oom_killed":true}`:      "Exited OOMKilled, container abc, killed for memory",
		`{"phase":"Exited","reason":"CrashLoopBackOff","container":"abc","exit_code":3,"message":"it is"}`: "Exited CrashLoopBackOff, container abc: it is",
	} {
		line, err := json.Marshal(map[string]any{"index": 1, "node": "h1", "kind": "observed", "key": "replica/default/web/0/h1", "actor": "podman", "object": json.RawMessage(object)})
		if err != nil {
			t.Fatal(err)
		}
		if got := printed(t, append(line, '\n')); !strings.Contains(got, "  "+want+"  [podman]") {
			t.Errorf("%s: got\n%swant %s", object, got, want)
		}
	}
}
