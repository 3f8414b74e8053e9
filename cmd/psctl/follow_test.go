package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/apitest"
)

// session is a psctl that runs, and what it has said so far.
type session struct {
	t         *testing.T
	lines     chan string
	stderr    *locked
	interrupt context.CancelFunc
	code      chan int
}

// locked is a buffer that is written and read at once.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, a *apitest.Agent, stdin io.Reader, args ...string) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	s := &session{t: t, lines: make(chan string, 1000), stderr: &locked{}, interrupt: cancel, code: make(chan int, 1)}
	go func() {
		code := run(ctx, args, stdin, w, s.stderr, environ(a))
		w.Close()
		s.code <- code
	}()
	go func() {
		defer close(s.lines)
		for in := bufio.NewScanner(r); in.Scan(); {
			s.lines <- in.Text()
		}
	}()
	return s
}

func environ(a *apitest.Agent) func(string) string {
	all := map[string]string{"PSCTL_SERVER": a.URL(), "USER": "alice"}
	return func(name string) string {
		return all[name]
	}
}

// saw waits for a line that has all of the words in it.
func (s *session) saw(words ...string) string {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
next:
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				s.t.Fatalf("ended, want a line with %q; stderr: %s", words, s.stderr)
			}
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue next
				}
			}
			return line
		case <-deadline:
			s.t.Fatalf("no line with %q; stderr: %s", words, s.stderr)
		}
	}
}

// ends waits for the exit code.
func (s *session) ends(want int) {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case got := <-s.code:
			if got != want {
				s.t.Errorf("exit code: got %d, want %d; stderr: %s", got, want, s.stderr)
			}
			return
		case <-s.lines:
		case <-deadline:
			s.t.Fatal("does not end")
		}
	}
}

func startAgent(t *testing.T) *apitest.Agent {
	t.Helper()
	a, err := apitest.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// do runs psctl to its end, which must be 0, and returns what it says.
func do(t *testing.T, a *apitest.Agent, stdin string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, strings.NewReader(stdin), &out, &errs, environ(a)); code != exitDone {
		t.Fatalf("psctl %q: exit code %d; stderr: %s", args, code, &errs)
	}
	return out.String()
}

const web = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 1, selector: {matchLabels: {app: web}},
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: "localhost/web:1"}]}}}}
`

const svc = `{apiVersion: v1, kind: Service, metadata: {name: svc}, spec: {selector: {app: web}, ports: [{port: 80}]}}
`

// What is followed goes on when the agent restarts, and nothing is missed or told twice.
func TestEvents_followOverRestart(t *testing.T) {
	a := startAgent(t)
	s := start(t, a, nil, "events", "--follow", "-o", "json")
	do(t, a, svc, "apply", "-f", "-")
	s.saw(`"key":"service/default/svc"`)
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	do(t, a, web, "apply", "-f", "-")
	for line := range s.lines {
		if strings.Contains(line, `"key":"service/default/svc"`) {
			t.Errorf("told twice: %s", line)
		}
		if strings.Contains(line, `"key":"deployment/default/web"`) {
			break
		}
	}
	s.interrupt()
	s.ends(exitInterrupted)
}

func TestGet_watch(t *testing.T) {
	a := startAgent(t)
	do(t, a, web, "apply", "-f", "-", "--wait")
	table := start(t, a, nil, "get", "pods", "-w")
	lines := start(t, a, nil, "get", "pods", "-w", "-o", "json")
	names := start(t, a, nil, "get", "deployment", "web", "-w", "-o", "name")
	table.saw("NAME", "MESSAGE")
	table.saw("web-0", "Running")
	lines.saw(`"type":"ADDED"`, `"kind":"Pod"`, `"name":"web-0"`)
	names.saw("deployment.apps/web")
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	do(t, a, "", "scale", "web", "--replicas", "2")
	table.saw("web-1", "Running")
	lines.saw(`"type":"ADDED"`, `"name":"web-1"`)
	lines.saw(`"type":"MODIFIED"`, `"name":"web-1"`)
	names.saw("deployment.apps/web")
	do(t, a, "", "delete", "deploy", "web")
	table.saw("web-1", "(deleted)")
	lines.saw(`"type":"DELETED"`)
	for _, s := range []*session{table, lines, names} {
		s.interrupt()
		s.ends(exitInterrupted)
	}
}

func TestLogs_followAll(t *testing.T) {
	a := startAgent(t)
	do(t, a, web, "apply", "-f", "-", "--wait")
	do(t, a, "", "scale", "web", "--replicas", "2", "--wait")
	s := start(t, a, nil, "logs", "-f", "deployment/web", "--tail", "1")
	seen := map[string]bool{}
	for !seen["web-0"] || !seen["web-1"] {
		line := s.saw("written later")
		seen[line[:5]] = true
	}
	s.interrupt()
	s.ends(exitInterrupted)
}

// Of several replicas one whose log cannot be followed, or has ended, is told at once: nobody knows when the others end.
func TestLogs_followSome(t *testing.T) {
	go3 := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pod := func(name string) string {
			return `{"metadata":{"name":"` + name + `","namespace":"default","ownerReferences":[{"kind":"Deployment","name":"web"}]}}`
		}
		switch parts := strings.Split(r.URL.Path, "/"); {
		case strings.HasSuffix(r.URL.Path, "/deployments/web"):
			io.WriteString(w, `{"metadata":{"name":"web","namespace":"default"}}`)
		case strings.HasSuffix(r.URL.Path, "/pods"):
			io.WriteString(w, `{"items":[`+pod("web-0")+","+pod("web-1")+","+pod("web-2")+`]}`)
		case parts[len(parts)-2] == "web-0":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"host h2 is away","reason":"ServiceUnavailable","code":503}`)
		case parts[len(parts)-2] == "web-1":
			io.WriteString(w, "the last line\n")
		default:
			<-go3
			io.WriteString(w, "of web-2\n")
		}
	}))
	defer s.Close()
	var errs locked
	code := make(chan int)
	go func() {
		code <- run(t.Context(), []string{"logs", "-f", "deployment/web"}, nil, io.Discard, &errs, func(name string) string { return map[string]string{"PSCTL_SERVER": s.URL}[name] })
	}()
	wants := []string{"psctl: log of pod default/web-0: host h2 is away", "Try again in some seconds", "the log of pod default/web-1 has ended"}
	deadline := time.Now().Add(20 * time.Second)
	for slices.ContainsFunc(wants, func(want string) bool { return !strings.Contains(errs.String(), want) }) {
		if time.Now().After(deadline) {
			t.Fatalf("while web-2 goes on: got %q, want %q in it", errs.String(), wants)
		}
		time.Sleep(time.Millisecond)
	}
	close(go3)
	if got := <-code; got != exitRefused || strings.Count(errs.String(), "h2 is away") != 1 {
		t.Errorf("got exit code %d, %q; want %d, and each told once", got, errs.String(), exitRefused)
	}
}

// An interrupt ends whatever waits: for the agent, or for standard input.
func TestInterrupt(t *testing.T) {
	a := startAgent(t)
	silent, _ := io.Pipe()
	for _, args := range [][]string{
		{"apply", "-f", "-"},
		{"delete", "-f", "-"},
		{"restore", "-"},
		{"audit", "verify", "--head", "-"},
	} {
		s := start(t, a, silent, args...)
		s.interrupt()
		s.ends(exitInterrupted)
	}
	do(t, a, svc, "apply", "-f", "-")
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0) // at which nobody types
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	asked := start(t, a, terminal, "restore", "--at", "1")
	asked.saw("Containers: 0 to replace")
	asked.interrupt()
	asked.ends(exitInterrupted)
	if got := asked.stderr.String(); got != "Go on? [y/N] psctl: \ninterrupted: nothing was changed\n" {
		t.Errorf("after an interrupt: got %q", got)
	}
	nobody, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	start(t, a, nobody, "restore", "--at", "1").ends(exitRefused)
	slow := strings.Replace(web, "web:1", "slow:1", 1)
	s := start(t, a, strings.NewReader(slow), "apply", "-f", "-", "--wait")
	s.saw("deployment default/web: 0 of 1")
	s.interrupt()
	s.ends(exitInterrupted)
	if got, want := s.stderr.String(), "To go on waiting: psctl rollout status deployment/web\n"; !strings.HasSuffix(got, want) {
		t.Errorf("after an interrupt: got %q, want %q at its end", got, want)
	}
}

// A wait outlives the agent: it goes on when that is back.
func TestApply_waitOverRestart(t *testing.T) {
	a := startAgent(t)
	slow := strings.Replace(web, "web:1", "slow:1", 1)
	s := start(t, a, strings.NewReader(slow), "apply", "-f", "-", "--wait", "--timeout", "1m")
	s.saw("deployment default/web: 0 of 1")
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	s.saw("waiting for it to come back")
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	s.saw("the agent is back")
	do(t, a, web, "apply", "-f", "-")
	s.saw("1 of 1 replicas ready: done")
	s.ends(exitDone)

	do(t, a, slow, "apply", "-f", "-")
	s = start(t, a, nil, "rollout", "status", "web")
	s.saw("deployment default/web: ")
	do(t, a, "", "delete", "deploy", "web")
	s.ends(exitNotFound)
}

// "--since 1h" means the same moment after a break as before it; and what the agent has said of how far that is, goes before it.
func TestEvents_sinceOverABreak(t *testing.T) {
	asked := make(chan url.Values, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Query()
		w.Header().Set("Content-Type", "application/x-ndjson")
		if r.URL.Query().Get("after") == "" && len(asked) == 2 {
			fmt.Fprintln(w, `{"bookmark":"7@5f3a9c0e"}`)
		}
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{"events", "-f", "--since", "1h", "--until", "0"}, nil, io.Discard, io.Discard, func(name string) string {
			return map[string]string{"PSCTL_SERVER": server.URL}[name]
		})
	}()
	for len(asked) < 3 {
		select {
		case code := <-done:
			t.Fatalf("it has ended with %d, after %d requests", code, len(asked))
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	<-done
	first, second, third := <-asked, <-asked, <-asked
	was, err1 := time.ParseDuration(first.Get("since"))
	is, err2 := time.ParseDuration(second.Get("since"))
	if err1 != nil || err2 != nil || was < time.Hour || was > time.Hour+time.Minute || is <= was {
		t.Errorf("asked since %q, and after the break since %q", first.Get("since"), second.Get("since"))
	}
	if third.Get("after") != "7@5f3a9c0e" || third.Has("since") || third.Get("until") != "0" {
		t.Errorf("once it knows how far it is: got %v", third)
	}
}

// What happened to a host is told under all the names that tell of it, also that it was read-only, that its clock was off or its log was cut.
func TestEvents_ofAHost(t *testing.T) {
	e := &eventReader{program: &program{getenv: func(string) string { return "" }}, query: url.Values{}}
	if err := e.only([]string{"node/h1"}); err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{"host", "node", "member", "recovery", "sight", "readonly", "clock", "backup", "finding", "clash"} {
		if !slices.Contains(e.query["key"], typ+"/h1") {
			t.Errorf("it does not ask for %s/h1: %q", typ, e.query["key"])
		}
	}
}
