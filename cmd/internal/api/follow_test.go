package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
	"github.com/podman-swarm/podman-swarm/events"
)

func TestEvents_lines(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply+"?cause=first", docs(deployment("a", 1, "w"), service("a"), anIngress("a")))
	a.want(200, "DELETE", deploymentsPath+"/a", "")
	all := strings.Split(strings.TrimSpace(string(a.want(200, "GET", "/swarm/v1/events", "").body)), "\n")
	if len(all) != 4 {
		t.Fatalf("got %d lines, want 4: %q", len(all), all)
	}
	first := answer{body: []byte(all[0])}
	for field, want := range map[string]string{"index": "1", "node": "h1", "kind": "declared", "key": "deployment/default/a", "cause": "first",
		"commit.first": "1", "commit.events": "3", "object.spec.replicas": "1", "base": ""} {
		if got := first.field(field); got != want {
			t.Errorf("%s: got %s, want %s", field, got, want)
		}
	}
	last := answer{body: []byte(all[3])}
	if last.field("ends.0.uid") != first.field("uid") || last.field("object") != "" || last.field("index") != "4" {
		t.Errorf("the deletion: got %s", last.body)
	}
	for after := range 5 {
		got := string(a.want(200, "GET", fmt.Sprintf("/swarm/v1/events?after=%d", after), "").body)
		if want := strings.Join(all[after:], "\n"); strings.TrimSpace(got) != want {
			t.Errorf("after %d: got %s, want %s", after, got, want)
		}
	}
	for _, query := range []string{"?after=x", "?after=-1", "?after=5", "?after=99999999999999999999"} {
		if got := a.do("GET", "/swarm/v1/events"+query, ""); got.code != 400 {
			t.Errorf("%s: got %d %s", query, got.code, got.body)
		}
	}
	w := a.follow("/swarm/v1/events?after=2&follow=true")
	for _, want := range all[2:] {
		if got := w.next(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for i := range 5 {
		a.want(200, "POST", apply, deployment("b", i, "w"))
		if got := (answer{body: []byte(w.next())}).field("index"); got != fmt.Sprint(5+i) {
			t.Errorf("got index %s, want %d", got, 5+i)
		}
	}
	a.stop()
	if got := w.next(); got != "" {
		t.Errorf("after the agent has stopped: %s", got)
	}
}

// Who asks for it is told in words what happened, in each form but CloudEvents, which have no place for it.
func TestEvents_summary(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	a.want(200, "POST", apply, deployment("a", 2, "w"))
	a.want(200, "DELETE", deploymentsPath+"/a", "")
	plain := strings.Split(strings.TrimSpace(string(a.want(200, "GET", "/swarm/v1/events", "").body)), "\n")
	w := a.follow("/swarm/v1/events?summary=true&follow=true")
	for i, want := range []string{"created", "changed", "deleted"} {
		line := w.next()
		if got := (answer{body: []byte(line)}).field("summary"); got != want {
			t.Errorf("event %d: got %q, want %q: %s", i+1, got, want, line)
		}
		if got := strings.Replace(line, fmt.Sprintf(`,"summary":%q`, want), "", 1); got != plain[i] {
			t.Errorf("event %d: beside the summary got %s, want %s", i+1, got, plain[i])
		}
	}
	for _, query := range []string{"?summary=yes", "?summary=true&format=cloudevents"} {
		if got := a.do("GET", "/swarm/v1/events"+query, ""); got.code != 400 || !strings.Contains(string(got.body), "summary") {
			t.Errorf("%s: got %d %s", query, got.code, got.body)
		}
	}
}

// Every event is there once and in order, however many write while somebody reads.
func TestEvents_linesWhileManyWrite(t *testing.T) {
	a := start(t, t.TempDir())
	w := a.follow("/swarm/v1/events?follow=true")
	var wg sync.WaitGroup
	const writers, each = 8, 20
	for n := range writers {
		wg.Go(func() {
			for i := range each {
				a.do("POST", apply, docs(deployment(fmt.Sprintf("a%d", n), i, "w"), deployment(fmt.Sprintf("b%d", n), i, "w")))
			}
		})
	}
	for i := range writers * each * 2 {
		if got := (answer{body: []byte(w.next())}).field("index"); got != fmt.Sprint(i+1) {
			t.Fatalf("got index %s, want %d", got, i+1)
		}
	}
	wg.Wait()
}

// Who follows until a moment to come is told of what was acknowledged before it, also where those who follow are yet to be told of that.
func TestEvents_untilAMomentToCome(t *testing.T) {
	tt := &tail.Tail{}
	goOn := make(chan struct{})
	a := start(t, t.TempDir(), func(s *Server) {
		withTail(tt)(s)
		read := tt.Read
		tt.Read = func(ctx context.Context, after uint64, fn func(events.Record) error) error {
			if after == 0 { // what the followers share reads from the beginning; the one here does not
				select {
				case <-goOn:
				case <-ctx.Done():
				}
			}
			return read(ctx, after, fn)
		}
	})
	defer close(goOn)
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	w := a.follow("/swarm/v1/events?follow=true&after=1&until=" + time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano))
	a.want(200, "POST", apply, deployment("b", 1, "w"))
	for line, told := w.next(), false; ; line = w.next() {
		o := answer{body: []byte(line)}
		if told = told || o.field("index") == "2"; o.field("end.reason") != "" || line == "" {
			if !told || o.field("end.reason") != "Until" {
				t.Errorf("got %s, told of the second event: %v", line, told)
			}
			return
		}
	}
}

// tailed has a server follow a log with an id.
func withTail(t *tail.Tail) func(*Server) {
	return func(s *Server) {
		*t = tail.Tail{ID: "5f3a9c0e11223344", Read: s.Events, View: func() (uint64, <-chan struct{}) {
			v := s.Ledger.View()
			return v.OnDisk().Index(), v.Changed
		}}
		s.Tail = t
	}
}

// Who follows goes on from the position that it was told last, and is refused a position that is none of this log.
func TestEvents_positions(t *testing.T) {
	dir, tt := t.TempDir(), &tail.Tail{}
	a := start(t, dir, withTail(tt))
	for i := range 3 {
		a.want(200, "POST", apply, docs(deployment("a", i, "w"), deployment("b", i, "w")))
	}
	all := strings.Split(strings.TrimSpace(string(a.want(200, "GET", "/swarm/v1/events", "").body)), "\n")
	var positions []string
	for _, line := range all {
		positions = append(positions, answer{body: []byte(line)}.field("position"))
	}
	if !strings.HasPrefix(positions[2], "3@5f3a9c0e-") || len(positions[2]) != len("3@5f3a9c0e-a1b2c3d4e5f6") {
		t.Errorf("got position %q", positions[2])
	}
	a.stop()
	a = start(t, dir, withTail(tt))
	for i, p := range positions {
		got := string(a.want(200, "GET", "/swarm/v1/events?after="+p, "").body)
		if want := strings.Join(all[i+1:], "\n"); strings.TrimSpace(got) != want {
			t.Errorf("after %s: got %s, want %s", p, got, want)
		}
	}
	for _, c := range []struct{ after, want string }{
		{"3@00000000-" + positions[2][len("3@5f3a9c0e-"):], "is of another log than this one, which is 5f3a9c0e"},
		{"3@5f3a9c0e-000000000000", "event 3 of this log is another one"},
		{"7", "the log ends at 6"},
		{"7@5f3a9c0e-000000000000", "the log ends at 6"},
		{"x", `after "x": want a position like`},
		{"3@", ""},
		{"3@xyz", "want a position"},
		{"99999999999999999999", "no log has so many events"},
	} {
		code := 400
		if c.want == "" {
			code = 200
		}
		for _, header := range []string{"X: ", "Last-Event-ID: " + c.after} {
			query := ""
			if header == "X: " {
				query = "?after=" + c.after
			}
			if got := a.want(code, "GET", "/swarm/v1/events"+query, "", header); code == 400 && !strings.Contains(strings.Replace(got.field("message"), "Last-Event-ID", "after", 1), c.want) {
				t.Errorf("%s: got %s, want %q", c.after, got.body, c.want)
			}
		}
	}
}

// What was trimmed off the log, and is nowhere else, is said, and from where one can go on.
func TestEvents_trimmed(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) {
		read := s.Events
		s.Tail = &tail.Tail{ID: "5f3a9c0e11223344", First: func() uint64 { return 4 },
			View: func() (uint64, <-chan struct{}) { v := s.Ledger.View(); return v.Index(), v.Changed },
			Read: func(ctx context.Context, after uint64, fn func(events.Record) error) error {
				if after < 3 {
					return fmt.Errorf("record 1: %w: it begins with record 4, event 4", events.ErrTrimmed)
				}
				return read(ctx, after, fn)
			}}
	})
	for i := range 5 {
		a.want(200, "POST", apply, deployment("a", i, "w"))
	}
	got := a.want(410, "GET", "/swarm/v1/events", "")
	if m := got.field("message"); !strings.Contains(m, "it begins with record 4, event 4: one can go on from 3@5f3a9c0e (psctl events --since 3)") ||
		got.field("details.causes.0.message") != "3@5f3a9c0e" {
		t.Errorf("got %s", got.body)
	}
	if got := a.want(200, "GET", "/swarm/v1/events?after=3@5f3a9c0e", ""); got.field("index") != "4" {
		t.Errorf("got %s", got.body)
	}
	if got := a.want(200, "GET", "/swarm/v1/events?since=1h", ""); got.field("index") != "4" {
		t.Errorf("since a time before what is left: got %s", got.body)
	}
}

func TestEvents_filters(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", apply, docs(deployment("web", 1, "w"), service("web")), "User-Agent: curl/8 (alice)")
	a.want(200, "POST", apply+"?cause=why", strings.Replace(deployment("web", 1, "w"), "metadata:\n  name:", "metadata:\n  namespace: shop\n  name:", 1), "User-Agent: psctl")
	a.want(200, "DELETE", deploymentsPath+"/web", "")
	third := answer{body: a.want(200, "GET", "/swarm/v1/events?after=2&until=3", "").body}
	if third.field("user_agent") != "psctl" || third.field("actor") != "local psctl" || third.field("cause") != "why" || third.field("time") == "" || third.field("at") == "" {
		t.Errorf("who, with what, why and when: got %s", third.body)
	}
	time.Sleep(time.Millisecond) // so that what comes is of another time
	after := time.Now().UTC().Format(time.RFC3339Nano)
	time.Sleep(time.Millisecond)
	a.want(200, "POST", apply, service("late"))
	for query, want := range map[string]string{
		"":                                      "1 2 3 4 5",
		"kind=declared":                         "1 2 3 4 5",
		"kind=observed,trust":                   "",
		"key=deployment":                        "1 3 4",
		"key=deployment/default/web":            "1 4",
		"key=deployment/default/we":             "",
		"key=*/shop":                            "3",
		"key=service/*/l*&key=deployment/shop/": "3 5",
		"namespace=shop":                        "3",
		"node=h1":                               "1 2 3 4 5",
		"node=h2":                               "",
		"actor=ALICE":                           "1 2",
		"actor=psctl&key=service":               "",
		"since=3":                               "4 5",
		"since=1h":                              "1 2 3 4 5",
		"since=" + after:                        "5",
		"until=" + after:                        "1 2 3 4",
		"until=2":                               "1 2",
		"until=0":                               "",
		"since=1&until=3":                       "2 3",
		"until=2099-01-01T00:00:00Z":            "1 2 3 4 5",
	} {
		var got []string
		for line := range strings.Lines(string(a.want(200, "GET", "/swarm/v1/events?"+query, "").body)) {
			got = append(got, answer{body: []byte(line)}.field("index"))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", query, got, want)
		}
	}
	for query, want := range map[string]string{
		"kind=Deployment&key=/x&since=tomorrow&follow=perhaps&kinds=x&format=xml": `there is no parameter "kinds"|` +
			`follow "perhaps": want true or false|format "xml": want json or cloudevents|kind "Deployment": want declared, decided, observed, trust|` +
			`key "/x": want a key like|since "tomorrow": want the index of an event`,
		"after=1&since=2": "after and since: want one of them",
		"key=[":           `key "[": want a key like`,
		"node=":           `node "": want something`,
		"until=-2h":       `until "-2h"`,
	} {
		got := a.want(400, "GET", "/swarm/v1/events?"+query, "").field("message")
		for part := range strings.SplitSeq(want, "|") {
			if !strings.Contains(got, part) {
				t.Errorf("%s: got %s, want %s", query, got, part)
			}
		}
	}
}

// Server-sent events say their position, also where nothing of it was wanted, so that one can go on from there.
func TestEvents_serverSent(t *testing.T) {
	tt := &tail.Tail{}
	a := start(t, t.TempDir(), withTail(tt), func(s *Server) { s.Bookmarks = 5 * time.Millisecond })
	a.want(200, "POST", apply, docs(deployment("a", 1, "w"), service("a")))
	w := a.follow("/swarm/v1/events?follow=true&key=service", "Accept: text/event-stream", "Last-Event-ID: 1")
	w.want("retry: 1000", "")
	id := w.next()
	data, ok := strings.CutPrefix(w.next(), "data: ")
	if line := (answer{body: []byte(data)}); !ok || id != "id: "+line.field("position") || line.field("index") != "2" {
		t.Errorf("got %s and %s", id, data)
	}
	w.want("")
	a.want(200, "POST", apply, deployment("a", 2, "w"))
	for !strings.HasPrefix(id, "id: 3@5f3a9c0e-") {
		if id = w.next(); id == "" {
			id = w.next()
		}
	}
	w.want("")
	w.close()
	got := a.do("GET", "/swarm/v1/events?follow=true&until=3&since=0", "", "Accept: text/event-stream", "Last-Event-ID: "+strings.TrimPrefix(id, "id: "))
	if got.code != 204 {
		t.Errorf("once all that was wanted was told: got %d %s, want 204", got.code, got.body)
	}
	got = a.want(200, "GET", "/swarm/v1/events?follow=true&until=3", "", "Accept: text/event-stream")
	if !strings.Contains(string(got.body), "event: end\ndata: {\"end\":{\"reason\":\"Until\"") {
		t.Errorf("got %s", got.body)
	}
	if got := a.want(200, "GET", "/swarm/v1/events?bookmarks=true&node=h9", ""); !strings.HasPrefix(got.field("bookmark"), "3@5f3a9c0e-") {
		t.Errorf("got %s, want a bookmark alone", got.body)
	}
}

// narrowed is a server of which little fits between it and who does not read.
func narrowed(t *testing.T, s *Server) *httptest.Server {
	t.Helper()
	h := httptest.NewUnstartedServer(s.Handler())
	h.Listener = narrow{h.Listener}
	h.Start()
	t.Cleanup(h.Close)
	return h
}

// following opens connections that follow the log.
func following(t *testing.T, h *httptest.Server) (open func() net.Conn) {
	return func() net.Conn {
		c, err := net.Dial("tcp", h.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprint(c, "GET /swarm/v1/events?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return c
	}
}

// until waits until something is so.
func until(t *testing.T, tt *tail.Tail, so func(tail.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(tt.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come; now: %+v", tt.Stats())
		}
	}
}

// Many follow, and some of them do not read (a thousand, and a hundred, in task bench, part r): changes go on, and all others are told all of it, once.
func TestEvents_manyFollow(t *testing.T) {
	const readers, stalled, changes = 60, 10, 5
	tt := &tail.Tail{}
	a := start(t, t.TempDir(), withTail(tt))
	open, silent := following(t, a.http), following(t, narrowed(t, a.Server))
	var idle []net.Conn
	for range stalled {
		c := silent()
		if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	var all sync.WaitGroup
	for range readers {
		c := open()
		all.Go(func() {
			defer c.Close()
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Minute))
			if err := countTo(c, changes); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, tt, func(s tail.Stats) bool { return s.Followers == readers+stalled })
	large := strings.Repeat("x", 8<<10)
	for i := range changes {
		a.want(200, "POST", apply, deployment("a", i, large))
	}
	all.Wait()
	until(t, tt, func(s tail.Stats) bool { return s.Followers == stalled })
	for _, c := range idle {
		c.Close()
	}
	until(t, tt, func(s tail.Stats) bool { return s.Followers == 0 })
}

// Who takes nothing for too long is dropped, and that is said.
func TestEvents_stalled(t *testing.T) {
	tt := &tail.Tail{}
	a := start(t, t.TempDir(), withTail(tt))
	impatient := *a.Server // with others it has patience, however slow this machine is
	impatient.Patience = time.Second
	c := following(t, narrowed(t, &impatient))()
	if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil { // who does not even get the head is gone, and not one who follows
		t.Fatal(err)
	}
	for i := range 4 {
		a.want(200, "POST", apply, deployment("a", i, strings.Repeat("x", 200<<10)))
	}
	until(t, tt, func(s tail.Stats) bool { return s.Dropped == 1 && s.Followers == 0 })
	if s := a.said.String(); !strings.Contains(s, "too slow, and was dropped") || !strings.Contains(s, "it took nothing for 1s") {
		t.Errorf("the agent does not say whom it dropped: %.300s", s)
	}
}

// The same over HTTP/2, where the deadline ends a stream and not its connection.
func TestEvents_stalledOverHTTP2(t *testing.T) {
	tt := &tail.Tail{}
	a := start(t, t.TempDir(), withTail(tt))
	impatient := *a.Server
	impatient.Patience = time.Second
	server := httptest.NewUnstartedServer(impatient.Handler())
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig, ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}}}
	resp, err := client.Get(server.URL + "/swarm/v1/events?follow=true")
	if err != nil || resp.ProtoMajor != 2 {
		t.Fatalf("%v, HTTP/%d", err, resp.ProtoMajor)
	}
	defer resp.Body.Close() // of which nothing is read
	for i := range 4 {
		a.want(200, "POST", apply, deployment("a", i, strings.Repeat("x", 200<<10)))
	}
	until(t, tt, func(s tail.Stats) bool { return s.Dropped == 1 && s.Followers == 0 })
}

// narrow has little fit between a server and who does not read. Who reads has room enough for all of it.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

// countTo reads lines whose indexes go from 1 to n, each once.
func countTo(c net.Conn, n int) error {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	d := json.NewDecoder(resp.Body)
	for i := 1; i <= n; i++ {
		var line struct{ Index int }
		if err := d.Decode(&line); err != nil {
			return fmt.Errorf("after %d: %w", i-1, err)
		}
		if line.Index != i {
			return fmt.Errorf("got index %d, want %d", line.Index, i)
		}
	}
	return nil
}

// Who reads, but falls behind by too much, is told so, and from where to go on.
func TestEvents_tooSlow(t *testing.T) {
	tt := &tail.Tail{}
	var mu sync.Mutex
	var ahead time.Duration
	a := start(t, t.TempDir(), withTail(tt), func(s *Server) {
		s.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
	})
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	w := a.follow("/swarm/v1/events?follow=true")
	first := answer{body: []byte(w.next())}
	mu.Lock()
	ahead = 11 * time.Minute // as if it had taken so long to come to what is next
	mu.Unlock()
	a.want(200, "POST", apply, deployment("a", 2, "w"))
	last := answer{body: []byte(w.next())}
	if last.field("end.reason") != "TooSlow" || last.field("end.position") != first.field("position") || w.next() != "" {
		t.Errorf("got %s", last.body)
	}
	if tt.Stats().Dropped != 1 {
		t.Errorf("got %+v", tt.Stats())
	}
	if got := a.want(200, "GET", "/swarm/v1/events?after="+last.field("end.position"), ""); got.field("index") != "2" {
		t.Errorf("going on: got %s", got.body)
	}
}

// Who has followed from a moment on knows from the beginning where to go on: "since 1ms" would be of another moment after a break.
func TestEvents_bookmarkAtOnce(t *testing.T) {
	tt := &tail.Tail{}
	a := start(t, t.TempDir(), withTail(tt), func(s *Server) { s.Bookmarks = time.Hour })
	until, quiet := time.Now().UTC().Add(time.Hour).Format(time.RFC3339Nano), "/swarm/v1/events?follow=true&bookmarks=true&since="
	w := a.follow(quiet + "1ms")
	w.want(`{"bookmark":"0"}`)
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	if got := (answer{body: []byte(w.next())}); got.field("index") != "1" {
		t.Errorf("got %s", got.body)
	}
	w = a.follow(quiet + until)
	if got := (answer{body: []byte(w.next())}); !strings.HasPrefix(got.field("bookmark"), "1@5f3a9c0e") {
		t.Errorf("got %s, want a bookmark at 1", got.body)
	}
	w = a.follow(quiet+until, "Accept: text/event-stream")
	w.want("retry: 1000", "")
	if got := w.next(); !strings.HasPrefix(got, "id: 1@5f3a9c0e") {
		t.Errorf("got %s, want the id of 1", got)
	}
}

// Who wants little of a log in which much happens is told how far it is no less often.
func TestEvents_bookmarksOfABusyLog(t *testing.T) {
	const every = time.Second // many changes come in one
	a := start(t, t.TempDir(), func(s *Server) { s.Bookmarks = every })
	path := "/swarm/v1/events?follow=true&bookmarks=true&key=service"
	lines, sse := a.follow(path), a.follow(path, "Accept: text/event-stream")
	lines.want(`{"bookmark":"0"}`)
	sse.want("retry: 1000", "", "id: 0", "")
	told := make(chan string)
	for _, w := range []*watcher{lines, sse} {
		go func() { told <- <-w.lines }()
	}
	for i, n, deadline := 0, 0, time.Now().Add(20*every); n < 2; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("after %d changes within %v, %d of two have been told anything", i, 20*every, n)
		}
		a.want(200, "POST", apply, deployment("a", i%2, "w"))
		select {
		case line := <-told:
			if n++; !strings.HasPrefix(line, `{"bookmark":"`) && !strings.HasPrefix(line, "id: ") {
				t.Errorf("got %s", line)
			}
		default:
		}
	}
}
