package ingress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// retryAfter is when a client that was told 503 may ask again, in seconds.
const retryAfter = "2"

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.under.Add(1)
	defer s.under.Done()
	began := time.Now()
	a := &answer{ResponseWriter: w, life: r.Context(), draining: &s.draining}
	c := &call{client: s.clientOf(r)}
	v := s.firstView(r.Context())
	if v != nil {
		c.route = v.routes.Find(hostOf(r.Host), clean(r.URL.Path))
	}
	counted := s.unrouted
	if c.route != nil {
		counted = c.route.series
	}
	counted.began()
	defer func() { // also when the proxy panics, which is how it ends an answer that broke off
		took := time.Since(began)
		if c.upgraded {
			a.code = http.StatusSwitchingProtocols
		}
		counted.ended(a.code, took, c.upgraded)
		if s.AccessLog {
			s.logAccess(r, a, c, took)
		}
	}()
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		a.say(http.StatusMethodNotAllowed, "this method is not forwarded")
	case v == nil:
		a.unavailable("what is served here is not known yet")
	case c.route == nil && s.Recovering != nil && s.Recovering():
		a.unavailable("this host has just started, and may not know all rules yet")
	case c.route == nil:
		a.say(http.StatusNotFound, "no Ingress has a rule for this host and path")
	default:
		s.forward(a, r, v, c)
	}
}

// firstView is what requests are answered from. Just after the start, before there is anything, it waits a little: who connected while the agent
// was restarted, and was not refused since the listener was kept, is not to be told 503 for the last moment of it.
func (s *server) firstView(ctx context.Context) *view {
	if v := s.view.Load(); v != nil {
		return v
	}
	enough := time.NewTimer(s.tableIn)
	defer enough.Stop()
	select {
	case <-s.known:
	case <-ctx.Done():
	case <-enough.C:
	}
	return s.view.Load()
}

func (s *server) forward(a *answer, r *http.Request, v *view, c *call) {
	if c.route.Service.Name == "" {
		a.say(http.StatusNotImplemented, "the rule for this host and path has a resource as its backend; only Services are served")
		return
	}
	c.pool = s.pools.of(v.table, c.route)
	if c.pool == nil {
		a.unavailable("the rule for this host and path names a Service, or a port of one, that does not exist")
		return
	}
	if len(c.pool.endpoints) == 0 {
		a.unavailable("what serves this host and path has no replica that is ready")
		return
	}
	s.proxy.ServeHTTP(a, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
}

// failed answers a request that no backend has answered.
func (s *server) failed(w http.ResponseWriter, r *http.Request, err error) {
	a, c := w.(*answer), callOf(r.Context())
	if a.code != 0 {
		return // what has been begun cannot be taken back
	}
	unreachable := dialError{}
	switch {
	case r.Context().Err() != nil: // the client has left, or the server ends
		if a.left = !s.draining.Load(); a.left {
			panic(http.ErrAbortHandler) // otherwise the server would say 200 to who has only closed his half
		}
		a.unavailable("this host is about to restart")
		return
	case errors.Is(err, errNoneLeft):
		a.unavailable("what serves this host and path has no replica that is ready")
	case errors.As(err, &unreachable) && s.Recovering != nil && s.Recovering(): // what the table says of replicas may be from before a reboot
		a.unavailable("what serves this host and path cannot be reached yet: this host has just started")
	case timedOut(err) && errors.As(err, &unreachable):
		a.say(http.StatusGatewayTimeout, "what serves this host and path could not be reached in time")
	case timedOut(err):
		a.say(http.StatusGatewayTimeout, "what serves this host and path did not answer in time")
	case errors.As(err, &unreachable):
		a.say(http.StatusBadGateway, "what serves this host and path could not be reached")
	default:
		a.say(http.StatusBadGateway, "what serves this host and path broke off, or its answer is not HTTP")
	}
	s.log.Debug("a request failed", "ingress", c.route.Ingress.String(), "service", c.route.Service.String(), "endpoint", c.endpoint,
		"tried", len(c.tried), "status", a.code, "error", err)
}

// answer is what a client is told, and what is counted of it.
type answer struct {
	http.ResponseWriter
	life     context.Context // of the request
	draining *atomic.Bool    // then the connection is closed once the answer has been given
	code     int             // 0: nothing yet
	bytes    int64
	left     bool // the client has
}

// Unwrap gives what else the writer can.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Hijack takes the connection over, until the request's life ends. The proxy by itself ends the backend's side alone then: where the backend has had
// its say before, it would go on waiting for a client that stays.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err == nil {
		context.AfterFunc(a.life, func() { _ = c.Close() }) // it may be closed already
	}
	return c, rw, err
}

// WriteHeader notes the code.
func (a *answer) WriteHeader(code int) {
	if a.code == 0 && code >= 200 {
		a.code = code
		if a.draining.Load() {
			a.Header().Set("Connection", "close")
		}
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write counts the bytes.
func (a *answer) Write(p []byte) (int, error) {
	if a.code == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// say answers with a line of text.
func (a *answer) say(code int, text string) {
	h := a.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	a.WriteHeader(code)
	_, _ = fmt.Fprintln(a, text) // who has left is not told
}

func (a *answer) unavailable(text string) {
	a.Header().Set("Retry-After", retryAfter)
	a.say(http.StatusServiceUnavailable, text)
}

// logAccess logs a request. What may be a secret is not: its query, its headers, its body.
func (s *server) logAccess(r *http.Request, a *answer, c *call, took time.Duration) {
	at := []slog.Attr{slog.String("client", c.client.String()), slog.String("method", r.Method), slog.String("host", hostOf(r.Host)), slog.String("path", r.URL.EscapedPath()),
		slog.String("proto", r.Proto), slog.Int("status", a.code), slog.Int64("bytes", a.bytes), slog.Float64("seconds", took.Seconds())}
	if c.route != nil {
		at = append(at, slog.String("ingress", c.route.Ingress.String()), slog.String("service", c.route.Service.String()), slog.String("endpoint", c.endpoint), slog.Int("retries", c.retries))
	}
	if a.left {
		at = append(at, slog.Bool("left", true))
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "request", at...)
}

// Get gives a buffer to copy with.
func (s *server) Get() []byte { return *s.buffers.Get().(*[]byte) }

// Put takes it back.
func (s *server) Put(b []byte) { s.buffers.Put(&b) }
