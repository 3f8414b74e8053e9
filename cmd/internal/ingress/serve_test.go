package ingress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// raw sends bytes, and gives all that comes back until the other side closes.
func raw(t *testing.T, at, bytes string) string {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		t.Fatalf("%.60q: %v", bytes, err)
	}
	return string(b)
}

func between(s, before, after string) string {
	_, s, ok := strings.Cut(s, before)
	if !ok {
		return ""
	}
	s, _, _ = strings.Cut(s, after)
	return s
}

// Failure A.28: the first ingress request deadlocks. Ours is answered, as all that come with it are: before there is a table, while nothing is
// ready, and as soon as something is, without a restart. Failure B.4: after a reboot containers stay down; the ingress says so until one is up.
func TestFailure_A28_B4_theFirstRequestIsAnswered(t *testing.T) {
	var recovering atomic.Bool
	recovering.Store(true)
	r := start(t, func(s *Server) { s.Recovering = recovering.Load })
	c := r.client(t)
	all := func(what string, code int, again bool) {
		t.Helper()
		var g sync.WaitGroup
		for range 20 {
			g.Go(func() {
				got := get(t, c, "http://web.example.com/")
				if got.StatusCode != code || (got.Header.Get("Retry-After") != "") != again {
					t.Errorf("%s: got %d with Retry-After %q, want %d: %s", what, got.StatusCode, got.Header.Get("Retry-After"), code, got.body)
				}
			})
		}
		g.Wait()
	}
	all("before there is a table", 503, true)
	r.put(t, nil)
	all("before the other hosts were heard", 503, true)
	ing := declared("web", 1, rule{"web.example.com/", "Prefix", "web"})
	r.put(t, nil, ing)
	all("without the Service", 503, true)
	down := service("web", replica(t, "web"))
	down.Ports[0].Endpoints[0].Ready = false
	r.put(t, []*discovery.Service{down}, ing)
	all("before a replica is ready", 503, true)
	r.put(t, []*discovery.Service{service("web", "127.83.46.211:8083")}, ing)
	all("while what was said of a replica before a reboot stands", 503, true)
	up := service("web", down.Ports[0].Endpoints[0].Address.String())
	r.put(t, []*discovery.Service{up}, ing)
	all("once one is", 200, false)
	recovering.Store(false)
	r.put(t, []*discovery.Service{up})
	all("without a rule", 404, false)
}

// Who connected while the agent was restarted is answered as soon as it knows what it serves, and is not told 503 for the last moment of that.
func TestServer_firstTableIsWaitedFor(t *testing.T) {
	r := startIn(t, patience, nil)
	c, err := net.Dial("tcp", r.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: web.example.com\r\n\r\n")
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if line, err := answers.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("before there is a table: got %q, %v", line, err)
	}
	r.put(t, []*discovery.Service{service("web", replica(t, "web"))}, declared("web", 1, rule{"web.example.com/", "Prefix", "web"}))
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if line, err := answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Errorf("got %q, %v, want 200", line, err)
	}
}

// Failure B.12: after a partition the view lies. A replica that is in the table and cannot be reached costs a request no more than the time to
// find that out, and the next one not even that; it is sent to again once it can be.
func TestFailure_B12_whatCannotBeReachedIsPassedOver(t *testing.T) {
	const away = "127.83.46.211:8083" // where nobody else has any business
	r, c := one(t, service("web", away, replica(t, "here")), nil)
	for n := range 20 {
		if got := ask(t, c, request(t, "POST", "http://h/", strings.NewReader("what was sent"))); got.StatusCode != 200 || got.body != "what was sent" {
			t.Fatalf("request %d: got %d %q, want its body back", n, got.StatusCode, got.body)
		}
	}
	if n := retriesOf(r); n < 1 || n > 8 {
		t.Errorf("got %d tries at the replica that is away, want one now and then", n)
	}
	r.put(t, []*discovery.Service{service("web", away)}, declared("all", 1, rule{"/", "Prefix", "web"}))
	if got := get(t, c, "http://h/"); got.StatusCode != 502 || !strings.Contains(got.body, "could not be reached") {
		t.Errorf("with no other: got %d %q, want 502", got.StatusCode, got.body)
	}
	back, err := net.Listen("tcp", away)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler()}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(back) }()
	defer func() { srv.Close(); <-done }()
	if got := get(t, c, "http://h/"); got.StatusCode != 404 { // passed over, but all are
		t.Errorf("once it can be reached: got %d %q, want its 404", got.StatusCode, got.body)
	}
}

func retriesOf(r *running) (n uint64) {
	for name, routes := range r.Metrics.all {
		for _, s := range routes {
			if name.Name != "" {
				n += s.retries.Load()
			}
		}
	}
	return n
}

// A connection that breaks before any answer is tried again elsewhere only if the request can do no harm twice.
func TestServer_retriesOnlyWhereSafe(t *testing.T) {
	var broken atomic.Int32
	breaks := serving(t, func(w http.ResponseWriter, r *http.Request) {
		broken.Add(1)
		panic(http.ErrAbortHandler)
	})
	half := serving(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	r := start(t, nil)
	ings := []*discovery.Ingress{declared("a", 1, rule{"breaks/", "Prefix", "breaks"}, rule{"half/", "Prefix", "half"})}
	r.put(t, []*discovery.Service{service("breaks", breaks, replica(t, "good")), service("half", half)}, ings...)
	c := r.client(t)
	for range 4 {
		for method, safe := range map[string]bool{"GET": true, "OPTIONS": true, "HEAD": true, "POST": false, "DELETE": false, "PUT": false} {
			before := broken.Load()
			got := ask(t, c, request(t, method, "http://breaks/", nil))
			switch n := broken.Load() - before; {
			case safe && got.StatusCode != 200:
				t.Errorf("%s: got %d, want another replica's answer", method, got.StatusCode)
			case !safe && n > 0 && got.StatusCode != 502, n > 1:
				t.Errorf("%s: got %d after %d broken connections, want 502 after the first", method, got.StatusCode, n)
			}
		}
	}
	if broken.Load() == 0 {
		t.Error("no request went to the replica that breaks off")
	}
	resp, err := c.Do(request(t, "GET", "http://half/", nil))
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("an answer that broke off came as if it were whole")
	}
}

// Who closes his half of a connection is not told that all is well, which he would take for an empty answer.
func TestServer_halfClosed(t *testing.T) {
	begun := make(chan struct{}, 1)
	r, _ := one(t, service("web", serving(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	})), nil)
	c, err := net.Dial("tcp", r.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("got %q, want no answer", b)
	}
}

func TestServer_saysWhatIsWrong(t *testing.T) {
	hangs := make(chan struct{})
	defer close(hangs)
	slow := serving(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hangs:
		case <-r.Context().Done():
		}
	})
	garbage := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
			c.Close()
		}
	}()
	defer func() { garbage.Close(); <-done }()
	_, impatient := one(t, service("web", slow), func(s *Server) { s.Answer = 20 * time.Millisecond })
	r := start(t, nil)
	r.put(t, []*discovery.Service{service("garbage", garbage.Addr().String()), service("gone", nobody(t)), service("web", replica(t, "web"))},
		declared("a", 1, rule{"garbage/", "Prefix", "garbage"}, rule{"gone/", "Prefix", "gone"}, rule{"web/", "Prefix", "web"}, rule{"none/", "Prefix", "absent"}))
	c := r.client(t)
	for url, want := range map[string]int{"http://slow/": 504, "http://garbage/": 502, "http://gone/": 502, "http://none/": 503, "http://elsewhere/": 404, "http://web/": 200} {
		who := c
		if want == 504 {
			who = impatient
		}
		got := get(t, who, url)
		if got.StatusCode != want {
			t.Errorf("%s: got %d, want %d", url, got.StatusCode, want)
		}
		if want == 200 {
			continue
		}
		if !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") || strings.Count(got.body, "\n") != 1 || strings.Contains(got.body, "127.0.0.1") || strings.Contains(got.body, "default/") {
			t.Errorf("%s: got %q, want one line that gives nothing away", url, got.body)
		}
	}
}

// Rules and endpoints change under load, and no request fails.
func TestServer_changesDropNoRequest(t *testing.T) {
	a, b := replica(t, "a"), replica(t, "b")
	r, _ := one(t, service("web", a), nil)
	c := r.client(t)
	ctx, stop := context.WithCancel(t.Context())
	var g sync.WaitGroup
	var asked atomic.Int64
	for n := range 4 {
		g.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				method, body := "GET", ""
				if k%2 == 0 {
					method, body = "POST", "body"
				}
				got := ask(t, c, request(t, method, fmt.Sprintf("http://host-%d.com/x", n), strings.NewReader(body)))
				if got.StatusCode != 200 || got.body != body {
					t.Errorf("got %d %q, want 200 %q", got.StatusCode, got.body, body)
				}
				asked.Add(1)
			}
		})
	}
	for n := range 30 {
		ings := []*discovery.Ingress{declared("all", uint64(n+1), rule{"/", "Prefix", "web"})}
		for k := range n % 7 {
			ings = append(ings, declared(fmt.Sprint("i", k), uint64(n), rule{fmt.Sprintf("host-%d.com/x", k), "Prefix", "web"}))
		}
		at := []string{a, b}
		if n%3 > 0 {
			at = at[n%3-1 : n%3]
		}
		r.put(t, []*discovery.Service{service("web", at...)}, ings...)
		before := asked.Load()
		eventually(t, func() bool { return asked.Load() > before+3 }, "requests no longer are answered")
	}
	stop()
	g.Wait()
	t.Logf("%d requests during 30 changes", asked.Load())
}

// What is under way when the agent ends is answered, and then Run returns.
func TestServer_drainsWhenItEnds(t *testing.T) {
	begun, finish := make(chan struct{}, 1), make(chan struct{})
	r, c := one(t, service("web", serving(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-finish
		_, _ = io.WriteString(w, "whole")
	})), nil)
	answered := make(chan string, 1)
	go func() {
		got := get(t, c, "http://h/")
		answered <- fmt.Sprint(got.StatusCode, " ", got.body, " ", got.Close)
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", r.http)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, "connections are still taken")
	select {
	case err := <-ended:
		t.Fatalf("Run returned %v while a request was under way", err)
	default:
	}
	close(finish)
	if got := <-answered; got != "200 whole true" {
		t.Errorf("got %s, want it answered, and its client told to send no more on that connection", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A connection that was taken before the end is answered, though its request comes only then.
func TestServer_hearsWhoHasConnected(t *testing.T) {
	r, _ := one(t, service("web", replica(t, "web")), nil)
	c, err := net.Dial("tcp", r.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw(t, r.http, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n") // connections are taken in turn: so the first has been
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	eventually(t, r.draining.Load, "it does not end")
	eventually(t, func() bool { _, err := net.Dial("tcp", r.http); return err != nil }, "connections are still taken")
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
		t.Errorf("got %q, %v, want an answer", b, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A client keeps to one replica, the same on every host, and moves only if that goes.
func TestServer_sessionAffinity(t *testing.T) {
	at := []string{replica(t, "a"), replica(t, "b"), replica(t, "c")}
	s := service("web", at...)
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	trust := func(s *Server) { s.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	r, c := one(t, s, trust)
	_, other := one(t, s, trust)
	by := func(c *http.Client, client int) string {
		req := request(t, "GET", "http://h/", nil)
		req.Header.Set("X-Forwarded-For", fmt.Sprintf("10.0.0.%d", client))
		return ask(t, c, req).Header.Get("X-Served-By")
	}
	first, seen := map[int]string{}, map[string]int{}
	for n := range 30 {
		first[n] = by(c, n)
		seen[first[n]]++
		if again, there := by(c, n), by(other, n); again != first[n] || there != first[n] {
			t.Errorf("client %d: got %s, then %s, and %s at another host", n, first[n], again, there)
		}
	}
	if len(seen) != 3 {
		t.Errorf("30 clients are at %v, want at all three replicas", seen)
	}
	less := service("web", at[:2]...)
	less.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	r.put(t, []*discovery.Service{less}, declared("all", 1, rule{"/", "Prefix", "web"}))
	for n, was := range first {
		if now := by(c, n); was != "c" && now != was || now == "c" {
			t.Errorf("client %d: was at %s, and is at %s now that c has gone", n, was, now)
		}
	}
}

func TestServer_accessLogHasNoSecrets(t *testing.T) {
	var said lockedBuffer
	r, c := one(t, service("web", replica(t, "web")), func(s *Server) {
		s.AccessLog, s.Log = true, slog.New(slog.NewTextHandler(&said, nil))
	})
	req := request(t, "POST", "http://user:hidden@h/path?token=hidden", strings.NewReader("hidden"))
	req.Header.Set("Cookie", "hidden")
	req.Header.Set("Authorization", "hidden")
	ask(t, c, req)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	got := said.String()
	if strings.Contains(got, "hidden") {
		t.Errorf("a secret was logged: %s", got)
	}
	for _, want := range []string{"method=POST", "path=/path", "status=200", "bytes=6", "ingress=default/all", "service=default/web", "client=127.0.0.1", "host=h"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What others say of a client is believed of nobody but those who are trusted.
func TestServer_forwardedHeaders(t *testing.T) {
	headers := serving(t, func(w http.ResponseWriter, r *http.Request) { _ = r.Header.Write(w) })
	spoof := http.Header{
		"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Proto": {"gopher"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Port": {"6"}, "Forwarded": {"for=6.6.6.6"},
		"X-Real-Ip": {"6.6.6.6"}, "X_forwarded_for": {"6.6.6.6"}, "X_real_ip": {"6.6.6.6"}, "X-Original-Url": {"/evil"}, "X-Forwarded-Prefix": {"/evil"}, "X-Mine": {"kept"},
		"Connection": {"X-Real-Ip, X-Forwarded-For"},
	}
	for _, c := range []struct {
		what    string
		trusted []netip.Prefix
		want    []string
		not     []string
	}{
		{"a stranger", nil,
			[]string{"X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Proto: http\r\n", "X-Forwarded-Host: h.com:81\r\n", "X-Real-Ip: 127.0.0.1\r\n", "X-Mine: kept\r\n", "X-Forwarded-Port: "},
			[]string{"6.6.6.6", "gopher", "evil", "X-Forwarded-Port: 6\r\n"}},
		{"a trusted proxy", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			[]string{"X-Forwarded-For: 6.6.6.6, 127.0.0.1\r\n", "X-Forwarded-Proto: gopher\r\n", "X-Forwarded-Host: evil\r\n", "X-Real-Ip: 6.6.6.6\r\n", "X-Forwarded-Port: 6\r\n",
				"Forwarded: for=6.6.6.6, for=127.0.0.1;proto=http\r\n"},
			[]string{"/evil", "X_"}},
	} {
		_, client := one(t, service("web", headers), func(s *Server) { s.Trusted = c.trusted })
		req := request(t, "GET", "http://h.com:81/", nil)
		req.Header = spoof.Clone()
		got := ask(t, client, req).body
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: want %q in\n%s", c.what, w, got)
			}
		}
		for _, w := range c.not {
			if strings.Contains(got, w) {
				t.Errorf("%s: want no %q in\n%s", c.what, w, got)
			}
		}
	}
}
