package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// patience is how long tests wait for what must come.
const patience = time.Minute

// agent is a server on a real ledger on a real log.
type agent struct {
	*Server
	t      *testing.T
	log    *events.Log
	ledger *projection.Ledger
	http   *httptest.Server
	said   *logBuffer
	stop   func()
}

// logBuffer holds what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts an agent on a folder, which may hold the log of an earlier one. It ends with the test, or at stop, and
// then no goroutine of it may be left.
func start(t *testing.T, dir string, change ...func(*Server)) *agent {
	t.Helper()
	l, err := events.Open(dir, events.Options{MinFree: 1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(l, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ledger.Node = "h1"
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- ledger.Run(ctx) }()
	a := &agent{t: t, log: l, ledger: ledger, said: &logBuffer{}}
	a.Server = &Server{Ledger: ledger, Node: "h1", Epoch: func() uint64 { return EpochOf(l.Incarnation()) }, Version: "v1.2.3", Events: l.Read,
		Discovery: &discovery.Catalog{Ledger: ledger, Host: "h1"},
		Log:       slog.New(slog.NewTextHandler(a.said, nil))}
	for _, f := range change {
		f(a.Server)
	}
	stopping := make(chan struct{})
	a.http = httptest.NewServer(a.Server.handler(stopping, false))
	a.http.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 100
	var once sync.Once
	a.stop = func() {
		once.Do(func() {
			close(stopping)
			a.http.CloseClientConnections()
			a.http.Close()
			cancel()
			if err := errors.Join(<-ran, l.Close()); err != nil {
				t.Error(err)
			}
			noGoroutines(t)
		})
	}
	t.Cleanup(a.stop)
	return a
}

// noGoroutines waits until none runs code of this package's handlers.
func noGoroutines(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		b := make([]byte, 1<<20)
		b = b[:runtime.Stack(b, true)]
		left := ""
		for _, g := range strings.Split(string(b), "\n\n") {
			if strings.Contains(g, "api.(*Server)") || strings.Contains(g, "api.(*request)") {
				left = g
			}
		}
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("a goroutine is left:\n%s", left)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// field is the value at a path like "metadata.name" or "items.0.kind", as text; "" when there is none.
func (a answer) field(path string) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "not JSON: " + string(a.body)
	}
	for _, key := range strings.Split(path, ".") {
		switch m := v.(type) {
		case map[string]any:
			v = m[strings.ReplaceAll(key, "~", ".")]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(m) {
				return ""
			}
			v = m[i]
		default:
			return ""
		}
	}
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case map[string]any, []any:
		b, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

// do sends a request. A body that begins like JSON is said to be JSON, another YAML, unless a header ("Name: value")
// says otherwise.
func (a *agent) do(method, path, body string, headers ...string) answer {
	a.t.Helper()
	req, err := http.NewRequest(method, a.http.URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/yaml")
		if body[0] == '{' || body[0] == '[' {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		if req.Header.Set(key, value); key == "Host" {
			req.Host = value
		}
	}
	resp, err := a.http.Client().Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// want does a request and checks its code.
func (a *agent) want(code int, method, path, body string, headers ...string) answer {
	a.t.Helper()
	got := a.do(method, path, body, headers...)
	if got.code != code {
		a.t.Fatalf("%s %s: got %d %s, want %d", method, path, got.code, got.body, code)
	}
	if code >= 400 && got.field("kind") != "Status" && strings.HasPrefix(path, "/api") {
		a.t.Fatalf("%s %s: got %s, want a Status", method, path, got.body)
	}
	return got
}

// index is that of the newest event.
func (a *agent) index() uint64 { return a.ledger.View().Index() }

// record records facts as the agent's other parts do: each key with its kind of fact and its object, nil to end it.
func (a *agent) record(facts ...projection.Change) projection.Receipt {
	a.t.Helper()
	r, err := a.ledger.Record(context.Background(), projection.By{Actor: "test"},
		func(*projection.State) ([]projection.Change, error) { return facts, nil })
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

// place records that a pod of a Deployment runs on a host, and returns the decision's id.
func (a *agent) place(p projection.Pod, host, why string) events.ID {
	a.t.Helper()
	st := a.ledger.View().State
	d, ok := st.Lookup("deployment/" + p.Namespace + "/" + p.Deployment)
	if !ok {
		a.t.Fatalf("there is no Deployment of pod %v", p)
	}
	from, to, ok := valueAt(d.Version.Object, "spec", "template")
	if !ok {
		a.t.Fatalf("no template in %s", d.Version.Object)
	}
	r := a.record(projection.Change{Kind: events.Decided, Key: p.PlacementKey(), For: d.Stamp, Object: projection.Encode(projection.Placement{
		Host: host, Owner: d.UID, SpecHash: "abc", Template: d.Version.Object[from:to], Why: why})})
	return r.Stamp.ID
}

// observe records what a host says of a pod; nil: nothing any more.
func (a *agent) observe(p projection.Pod, host string, r *projection.Replica) {
	a.t.Helper()
	c := projection.Change{Kind: events.Observed, Key: p.ReplicaKey(host)}
	if r != nil {
		c.Object = projection.Encode(r)
	}
	a.record(c)
}

// watcher reads a watch, or another stream of lines.
type watcher struct {
	t     *testing.T
	close func()
	lines chan string // closed at the end of the stream
}

// follow opens a stream.
func (a *agent) follow(path string, headers ...string) *watcher {
	a.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.http.URL+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		req.Header.Set(key, value)
	}
	resp, err := a.http.Client().Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		a.t.Fatalf("GET %s: got %s %s", path, resp.Status, b)
	}
	w := &watcher{t: a.t, lines: make(chan string)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(w.lines)
		defer resp.Body.Close()
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			select {
			case w.lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	w.close = func() { cancel(); <-done }
	a.t.Cleanup(w.close)
	return w
}

// next is the next line; the end of the stream is "".
func (w *watcher) next() string {
	w.t.Helper()
	select {
	case line := <-w.lines:
		return line
	case <-time.After(patience):
		w.t.Fatal("nothing comes")
		return ""
	}
}

// want checks the next lines.
func (w *watcher) want(lines ...string) {
	w.t.Helper()
	for _, want := range lines {
		if got := w.next(); got != want {
			w.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// event is the next change: "ADDED name", and its object.
func (w *watcher) event() (string, answer) {
	w.t.Helper()
	line := w.next()
	if line == "" {
		return "END", answer{}
	}
	var e struct {
		Type   string
		Object json.RawMessage
	}
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		w.t.Fatalf("%.200q: %v", line, err)
	}
	o := answer{body: e.Object}
	return strings.TrimSpace(e.Type + " " + o.field("metadata.name")), o
}

// wantEvents checks the next changes and returns the last one's object.
func (w *watcher) wantEvents(want ...string) (o answer) {
	w.t.Helper()
	for _, want := range want {
		var got string
		if got, o = w.event(); got != want {
			w.t.Fatalf("got %s, want %s\n%s", got, want, o.body)
		}
	}
	return o
}
