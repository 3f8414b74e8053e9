package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Nobody but this host's own people may speak to the agent: no page in a browser, also not by a name that was made to
// point here.
func TestGuard(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) { s.Hosts = []string{"swarm.example:8080"} })
	addr := strings.TrimPrefix(a.http.URL, "http://")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		header string
		code   int
	}{
		{"Host: localhost", 200},
		{"Host: LOCALHOST:" + port, 200},
		{"Host: localhost.:1", 200},
		{"Host: 127.0.0.1", 200},
		{"Host: [::1]:" + port, 200},
		{"Host: [::1]", 200},
		{"Host: " + addr, 200},
		{"Host: h1:8080", 200},
		{"Host: H1", 200},
		{"Host: swarm.example", 200},
		{"Host: swarm.example:1", 200},
		{"Host: evil.example", 421},
		{"Host: evil.example:" + port, 421},
		{"Host: localhost.evil.example", 421},
		{"Host: 10.1.2.3", 421},
		{"Host: xh1", 421},
		{"Origin: http://localhost:8080", 403},
		{"Origin: null", 403},
		{"Sec-Fetch-Site: cross-site", 403},
		{"Sec-Fetch-Site: same-site", 403},
		{"Sec-Fetch-Site: none", 200}, // typed into a browser by hand
		{"Impersonate-User: bob", 400},
		{"Impersonate-Extra-scopes: all", 400},
	} {
		for _, path := range []string{"/api/v1/namespaces", "/healthz", "/version"} {
			if got := a.do("GET", path, "", c.header); got.code != c.code {
				t.Errorf("%s, %s: got %d, want %d", c.header, path, got.code, c.code)
			}
		}
	}
	a.want(403, "POST", apply, deployment("web", 1, "w"), "Origin: http://evil.example", "Content-Type: text/plain")
	if a.index() != 0 {
		t.Error("a page's request was carried out")
	}
}

func TestGuard_bodies(t *testing.T) {
	a := start(t, t.TempDir())
	filler := strings.Repeat("#", 80) + "\n"
	of := func(size int, text string) string {
		return text + strings.Repeat(filler, (size-len(text))/len(filler)+1)
	}
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{"POST", apply, of(maxManifest, deployment("a", 1, "w")), 413},
		{"POST", deploymentsPath, of(maxObject, deployment("a", 1, "w")), 413},
		{"POST", deploymentsPath, of(maxObject-len(filler)-1000, deployment("a", 1, "w")), 201},
		{"PUT", deploymentsPath + "/a", of(maxObject, deployment("a", 2, "w")), 413},
		{"DELETE", deploymentsPath + "/a", of(maxObject, "{}"), 413},
		{"POST", deploymentsPath, strings.Replace(deployment("b", 1, "w"), "metadata:", "metadata:\n  annotations: {x: "+strings.Repeat("x", 200<<10)+"}", 1), 201},
		{"POST", deploymentsPath, strings.Replace(deployment("c", 1, "w"), "containers:", "hostAliases: [{ip: 1.2.3.4, hostnames: ["+strings.Repeat("abcdefgh,", manifest.MaxObjectBytes/9)+"x]}]\n      containers:", 1), 413},
	} {
		if got := a.do(c.method, c.path, c.body); got.code != c.code || c.code == 413 && got.field("reason") != "RequestEntityTooLarge" {
			t.Errorf("%s %s with %d bytes: got %d %.200s, want %d", c.method, c.path, len(c.body), got.code, got.body, c.code)
		}
	}
	if got := a.do("PATCH", deploymentsPath+"/a", of(maxObject, "{}"), asMerge); got.code != 413 {
		t.Errorf("a large patch: got %d", got.code)
	}
	if got := a.want(415, "POST", deploymentsPath, "x", "Content-Type: application/cbor"); got.field("reason") != "UnsupportedMediaType" {
		t.Errorf("got %s", got.body)
	}
}

func TestStatusOf(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   int32
		reason string
	}{
		{fmt.Errorf("append: %w", events.ErrFull), 507, "InsufficientStorage"},
		{fmt.Errorf("append: %w", events.ErrFailed), 500, "InternalError"},
		{projection.ErrClosed, 503, "ServiceUnavailable"},
		{context.Canceled, 503, "ServiceUnavailable"},
		{fmt.Errorf("orphan x: %w", fs.ErrNotExist), 404, "NotFound"},
		{errors.New("other"), 500, "InternalError"},
		{fmt.Errorf("list: %w", badRequest("x")), 400, "BadRequest"},
	} {
		got := statusOf(c.err)
		if got.Code != c.code || string(got.Reason) != c.reason || got.Kind != "Status" || got.Message == "" {
			t.Errorf("%v: got %+v, want %d %s", c.err, got, c.code, c.reason)
		}
	}
}

// A full disk refuses with a clear error what would be recorded, and nothing else.
func TestWrite_fullDisk(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir)
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	a.stop()
	l, err := events.Open(dir, events.Options{MinFree: 1 << 60, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(l, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- ledger.Run(ctx) }()
	b := start(t, t.TempDir(), func(s *Server) { s.Ledger = ledger })
	got := b.want(507, "POST", apply, deployment("web", 2, "w"))
	if !strings.Contains(got.field("message"), "disk is full") {
		t.Errorf("got %s", got.body)
	}
	b.want(200, "POST", apply, deployment("web", 1, "w")) // nothing to record
	b.want(200, "GET", webPath, "")
	cancel()
	<-ran
	b.want(503, "POST", apply, deployment("web", 2, "w"))
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestRecovering(t *testing.T) {
	recovering := true
	a := start(t, t.TempDir(), func(s *Server) {
		s.Recovering = func() (bool, string) { return recovering, "hearing the peers" }
		s.Refusing = func() string {
			if recovering {
				return "hearing the peers"
			}
			return ""
		}
	})
	if got := a.do("GET", "/readyz", ""); got.code != 503 || string(got.body) != "recovering: hearing the peers\n" {
		t.Errorf("readyz: got %d %q", got.code, got.body)
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", apply, deployment("web", 1, "w")}, {"POST", deploymentsPath, deployment("web", 1, "w")},
		{"PUT", webPath, deployment("web", 1, "w")}, {"PATCH", webPath, "{}"}, {"DELETE", webPath, ""}, {"DELETE", deploymentsPath, ""},
		{"DELETE", apply + "/default/web?kind=deployment", ""}, {"PUT", webPath + "/scale", "{}"},
	} {
		got := a.want(503, c.method, c.path, c.body)
		if got.header.Get("Retry-After") != "1" || !strings.Contains(got.field("message"), "recovering") {
			t.Errorf("%s %s: got %s, Retry-After %q", c.method, c.path, got.body, got.header.Get("Retry-After"))
		}
	}
	for _, path := range []string{"/healthz", "/livez", deploymentsPath, "/api", "/swarm/v1/status"} {
		a.want(200, "GET", path, "")
	}
	if got := a.want(200, "GET", "/api/v1/health", ""); got.field("status") != "recovering" || got.field("why") != "hearing the peers" {
		t.Errorf("health: got %s", got.body)
	}
	recovering = false
	a.want(200, "GET", "/readyz", "")
	a.want(200, "POST", apply, deployment("web", 1, "w"))
}

func TestServe(t *testing.T) {
	a := start(t, t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx, l) }()
	resp, err := http.Get("http://" + l.Addr().String() + allDeployments)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	began := time.Now()
	cancel()
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) > 0 {
		t.Errorf("the watch: got %q, %v, want its end", b, err)
	}
	if err := <-served; err != nil || time.Since(began) > 3*time.Second {
		t.Errorf("Serve: got %v after %v", err, time.Since(began))
	}
	if _, err := http.Get("http://" + l.Addr().String() + "/healthz"); err == nil {
		t.Error("it answers after Serve has returned")
	}
	if err := a.Serve(context.Background(), l); err == nil {
		t.Error("Serve on a closed listener: got nil")
	}
}

func TestPanics(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) { s.Document = func(*projection.State) any { panic("oops") } })
	if got := a.want(500, "GET", "/swarm/v1/state", ""); got.field("reason") != "InternalError" {
		t.Errorf("got %s", got.body)
	}
	if !strings.Contains(a.said.String(), "oops") {
		t.Errorf("said: %s", a.said)
	}
	a.want(200, "GET", "/healthz", "")
}

// pipes is a network within this process, so that time on it is a test's own.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// dial is a new connection, and a reader of what comes back on it.
func (p pipes) dial() (net.Conn, *bufio.Reader) {
	here, there := net.Pipe()
	p <- there
	return here, bufio.NewReader(here)
}

// serving runs a test of a server whose state is empty and does not change.
func serving(t *testing.T, s *Server, test func(*testing.T, pipes)) {
	synctest.Test(t, func(t *testing.T) {
		s.Ledger, s.Node = still{&projection.View{State: projection.NewState(), Changed: make(chan struct{})}}, "h1"
		p, served := make(pipes), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { served <- s.Serve(ctx, p) }()
		test(t, p)
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// Whoever promises a body and does not send it is given up, also where nobody wants to read it.
func TestServe_bodyThatDoesNotCome(t *testing.T) {
	serving(t, &Server{}, func(t *testing.T, p pipes) {
		for _, path := range []string{apply, "/api/v1/nodes", "/none"} {
			c, answers := p.dial()
			began := time.Now()
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc", path)
			if _, err := http.ReadResponse(answers, nil); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v", path, err)
			}
			if took := time.Since(began); took > bodyTime {
				t.Errorf("%s: answered after %v, want at most %v", path, took, bodyTime)
			}
			c.Close()
		}
	})
}

// A large body over a slow link comes whole; one that stalls in its middle is given up, and whoever sent it is told why.
func TestServe_bodyThatComesSlowly(t *testing.T) {
	serving(t, &Server{}, func(t *testing.T, p pipes) {
		for _, x := range []struct{ pieces, code int }{{3, 400}, {2, 408}} { // three are all of it, which is no manifest
			c, answers := p.dial()
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", apply, 3*bodyPiece)
			for range x.pieces {
				time.Sleep(bodyTime - time.Second)
				if _, err := c.Write(bytes.Repeat([]byte("x"), bodyPiece)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := http.ReadResponse(answers, nil)
			if err != nil || got.StatusCode != x.code {
				t.Errorf("after %d of 3 pieces: got %v, %v, want %d", x.pieces, got, err, x.code)
			}
			c.Close()
		}
	})
}

// Nor does an answer wait for ever for whoever does not read it.
func TestServe_answerThatIsNotRead(t *testing.T) {
	serving(t, &Server{}, func(t *testing.T, p pipes) {
		c, _ := p.dial()
		defer c.Close()
		fmt.Fprintf(c, "GET /api/v1/namespaces HTTP/1.1\r\nHost: localhost\r\n\r\n")
		time.Sleep(5 * time.Minute)
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("after 5 minutes: got %d bytes, %v, want the connection's end", len(b), err)
		}
	})
}

// Why something was changed is what the client says of it, kubectl by a header; of one that says nothing, what it asked for.
func TestCause(t *testing.T) {
	a := start(t, t.TempDir())
	last := func(want string) {
		t.Helper()
		steps := remembered(a.ledger.View())
		if got := steps[len(steps)-1].Commit.Cause; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	const kubectl = "Kubectl-Command: kubectl apply"
	a.want(200, "POST", apply, deployment("web", 1, "web:1"))
	last("apply")
	a.want(200, "PATCH", webPath, `{"spec":{"replicas":2}}`, asMerge)
	last("patch deployment")
	a.want(200, "PATCH", webPath, `{"spec":{"replicas":3}}`, asMerge, kubectl)
	last("kubectl apply")
	a.want(200, "PATCH", webPath+"?cause=ticket+7", `{"spec":{"replicas":4}}`, asMerge, kubectl)
	last("ticket 7")
	a.want(200, "DELETE", webPath, "")
	last("delete deployment")
}
