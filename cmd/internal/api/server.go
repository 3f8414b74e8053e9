package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
	"github.com/podman-swarm/podman-swarm/cmd/internal/ui"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/secret"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// Ledger is what the API needs of a projection.Ledger.
type Ledger interface {
	View() *projection.View
	Record(context.Context, projection.By, func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error)
}

// Orphans are the containers of ours on this host that nothing explains. An unknown id is an error that wraps
// fs.ErrNotExist; one that cannot be adopted as things are, ErrMisfit.
type Orphans interface {
	// List gives all of them, as of the last look at what runs.
	List(ctx context.Context) ([]Orphan, error)
	// Adopt makes the container again what it once was: when it returns nil, that is recorded.
	Adopt(ctx context.Context, by projection.By, id string) error
	// Remove stops and deletes the container: when it returns nil, it is gone.
	Remove(ctx context.Context, by projection.By, id string) error
}

// ErrMisfit says that an orphan fits nothing that is wanted here; the text around it says what to do.
var ErrMisfit = errors.New("the orphan cannot be adopted")

// LogOptions say which part of a container's log is wanted.
type LogOptions struct {
	Follow     bool
	Timestamps bool
	Tail       int64     // lines from the end; -1: all
	Since      time.Time // zero: from the start
}

// Health is what the agent knows of itself beside its state.
type Health struct {
	ReadOnly  string    // why nothing can be recorded; "" when it can
	Podman    string    // why Podman cannot be reached; "" when it can
	Snapshot  time.Time // when state.json was last written; zero: not yet
	Snapshots string    // what is wrong with writing it; "" when nothing is
	Backups   string    // why the newest try made no backup; "" when it did
	Problems  []Problem // whatever else needs a look
}

// Server is the HTTP API of one agent. Its fields are its configuration and must not be changed once it serves;
// Ledger, Node and Epoch are needed, and what is nil of the rest is answered with 501 or left out.
//
// It holds nothing: every request is answered from the ledger's newest view.
type Server struct {
	Ledger  Ledger
	Node    string           // name of this host
	Epoch   func() uint64    // as EpochOf gives it of the log's incarnation, which can change
	Version string           // of the agent
	Log     *slog.Logger     // nil: silent
	Now     func() time.Time // nil: time.Now
	// Hosts are names, beside localhost, the loopback addresses, Node and the address that was connected to, by
	// which a request may call this server. With or without a port.
	Hosts []string

	// Recovering says whether the agent still recovers, and what it waits for: then it is not ready.
	Recovering func() (bool, string)
	// Refusing says why changes are refused for now; "" when they are taken. Containers may be slow to come up, and
	// Podman away: that is no reason.
	Refusing func() string
	// Recovery is the report of the last recovery, or of the one under way.
	Recovery func() projection.Recovery
	// Document is the state as it is written to state.json.
	Document func(*projection.State) any
	// Events calls fn with each record of the log from the one that holds the event after the given index on, up to
	// its durable end, and returns nil there.
	Events func(ctx context.Context, after uint64, fn func(events.Record) error) error
	// Tail gives the same to those who follow; nil: one that this server makes of Events.
	Tail *tail.Tail
	// At gives the state at a moment of the log.
	At func(ctx context.Context, m snapshot.Moment) (*projection.State, error)
	// Logs opens the log of a container on a host: plain lines, to be closed by the caller.
	Logs     func(ctx context.Context, host, container string, o LogOptions) (io.ReadCloser, error)
	Orphans  Orphans
	Secrets  *secret.Keys      // by which Secrets are sealed and opened
	Backups  *snapshot.Backups // of this host
	Restorer *snapshot.Restorer
	Trail    Trail
	Health   func() Health
	Metrics  http.Handler

	// Discovery is where Services are found; nil: with the default addresses, and worked out anew for each request.
	Discovery Discovery
	// Cluster is what is known of the other hosts at this moment, beside what is recorded of them.
	Cluster func() Cluster
	// Spread waits until other hosts have a commit on disk.
	Spread SpreadFunc
	// User is who a client certificate is, and what scope they have (read, write, admin); an error refuses them.
	User func(*x509.Certificate) (name, scope string, err error)
	// JoinToken gives the token by which a host joins, or, with rotate, a new one that ends the earlier ones; it is valid
	// for ttl, or, when that is zero, until it is rotated; but of those there are, all may end, at expires (zero: none does).
	JoinToken func(ctx context.Context, by projection.By, rotate bool, ttl time.Duration) (token string, expires time.Time, err error)

	// Observe, unless nil, is told of each request once it is answered, and Streams of each stream that begins (1) and ends (-1). They are
	// called from many goroutines.
	Observe func(Answered)
	Streams func(more int)

	// Bookmarks is how often a watch that asked for it is told how far it has come; zero: a minute.
	Bookmarks time.Duration
	// Patience is for how long a client may not read what it is sent before it is cut off; zero: a minute.
	Patience time.Duration
	// Late is how old what comes next may be for who follows the log, and had caught up with it, before it is told that it is
	// too slow and dropped; zero: ten minutes.
	Late time.Duration
}

// Handler answers all of the API's paths, to anybody who may connect: on the loopback. What follows something (watches, logs, events) ends when its client
// leaves; see Serve for ending it otherwise.
func (s *Server) Handler() http.Handler { return s.handler(nil, false) }

// Serve answers requests on l until ctx ends, then ends all streams, lets other requests finish for up to five
// seconds, and returns nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, s.handler(ctx.Done(), false))
}

func (s *Server) serve(ctx context.Context, l net.Listener, h http.Handler) error {
	// No ReadTimeout and no WriteTimeout: both would end watches. Bodies are read against a deadline of their own.
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext:       withLocalUser,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log().Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the API on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(last); err != nil {
		s.log().Warn("API requests were cut off at shutdown", "error", err)
		if err := srv.Close(); err != nil {
			s.log().Warn("closing the API's connections", "error", err)
		}
	}
	<-served
	return nil
}

// handler is Handler; streams also end when stop is closed. Where the API listens to strangers, it wants to know who they
// are, and may do less for them.
func (s *Server) handler(stop <-chan struct{}, strangers bool) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(*request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			q := &request{Request: r, w: w, s: s, stop: stop}
			q.answered().Route = routeOf(pattern)
			q.caller, _ = r.Context().Value(callerKey{}).(*caller)
			if r.Method == http.MethodHead { // nobody reads a body, so what would go on ends at once
				q.stop = closed()
			}
			if err := q.do(h); err != nil {
				q.fail(err)
			}
			// For the end of an answer, which is still to be sent: a stream's last deadline may be long over.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.patience()))
		})
	}
	handle("/", func(q *request) error { return elsewhere(mux, q) })
	s.discoveryRoutes(handle)
	s.openAPIRoutes(handle)
	for _, path := range []string{"/api/", "/apis/"} {
		handle(path, func(q *request) error {
			t, ok := parsePath(q.URL)
			if !ok {
				return elsewhere(mux, q)
			}
			q.answered().Route = t.route()
			return s.kubernetes(q, t)
		})
	}
	s.manifestRoutes(handle)
	s.foundRoutes(handle)
	s.swarmRoutes(handle)
	s.nodeRoutes(handle)
	s.tokenRoutes(handle)
	s.backupRoutes(handle)
	s.auditRoutes(handle)
	s.restoreRoutes(handle)
	s.dnsRoutes(handle)
	s.forwardRoutes(handle)
	for _, path := range []string{"/healthz", "/livez"} {
		handle("GET "+path, func(q *request) error { return q.text(http.StatusOK, "ok") })
	}
	handle("GET /readyz", s.ready)
	handle("GET /api/v1/health", s.health)
	if s.Metrics != nil {
		handle("GET /metrics", func(q *request) error {
			_ = http.NewResponseController(q.w).SetWriteDeadline(time.Now().Add(s.patience()))
			s.Metrics.ServeHTTP(q.w, q.Request)
			return nil
		})
	}
	var api http.Handler = mux
	if strangers {
		api = s.known(mux)
	}
	// The page itself is for everybody: it asks the API, as whoever sees it.
	all := http.NewServeMux()
	all.Handle("/", api)
	all.Handle("GET /ui", noted("/ui", http.RedirectHandler("/ui/", http.StatusPermanentRedirect)))
	page := noted("/ui/", ui.Handler())
	all.HandleFunc("GET /ui/", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.patience()))
		page.ServeHTTP(w, r)
	})
	return s.observed(s.guard(all, strangers))
}

// do does what a route does, if the caller may have it.
func (q *request) do(h func(*request) error) (err error) {
	if q.caller != nil {
		err = q.permitted()
	}
	if err == nil {
		err = q.notDry()
	}
	if err == nil {
		q.wait, err = q.waitFor()
	}
	if err != nil {
		return err
	}
	return h(q)
}

// elsewhere answers what no route is for: by the methods that there are for the path, if any.
func elsewhere(mux *http.ServeMux, q *request) error {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		r := q.WithContext(q.Context())
		r.Method = method
		if _, pattern := mux.Handler(r); strings.HasPrefix(pattern, method+" ") {
			allowed = append(allowed, method)
		}
	}
	if allowed == nil {
		return unknownPath(q.URL.Path)
	}
	q.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return refused(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed,
		"the server does not allow this method on the requested resource")
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (s *Server) ready(q *request) error {
	if yes, why := s.recovering(); yes {
		q.w.Header().Set("Retry-After", "1")
		return q.text(http.StatusServiceUnavailable, "recovering: "+why)
	}
	return q.text(http.StatusOK, "ok")
}

func (s *Server) health(q *request) error {
	answer := struct {
		Status  string `json:"status"` // healthy, recovering
		Why     string `json:"why,omitempty"`
		Node    string `json:"node"`
		Version string `json:"version"`
		Index   uint64 `json:"index"`
	}{"healthy", "", s.Node, s.Version, s.Ledger.View().Durable().Index()}
	if yes, why := s.recovering(); yes {
		answer.Status, answer.Why = "recovering", why
	}
	return q.json(http.StatusOK, answer)
}

func (s *Server) recovering() (bool, string) {
	if s.Recovering == nil {
		return false, ""
	}
	return s.Recovering()
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

func (s *Server) patience() time.Duration { return cmp.Or(s.Patience, time.Minute) }

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// request is one request and what answering it takes.
type request struct {
	*http.Request
	w    http.ResponseWriter
	s    *Server
	stop <-chan struct{} // closed when streams must end; may be nil

	caller  *caller     // who asks; nil: somebody on this host
	wait    *durability // what the answer waits for; nil: nothing
	commits []events.ID // what the request has recorded, and what is waited for
	onDisk  *OnDisk     // what came of waiting
}

// answer is a whole answer. A client that does not read it for too long is given up.
func (q *request) answer(code int, mediaType string, b []byte) error {
	if code/100 == 2 {
		q.spread()
	}
	q.answered().Code = code
	q.w.Header().Set("Content-Type", mediaType)
	q.w.WriteHeader(code)
	_ = write(q.w, b, q.s.patience()) // a client that has left is not told that it has
	return nil
}

func (q *request) text(code int, text string) error {
	return q.answer(code, "text/plain; charset=utf-8", []byte(text+"\n"))
}

func (q *request) json(code int, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // people read it
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("answer %s %s: %w", q.Method, q.URL.Path, err)
	}
	return q.answer(code, "application/json", b.Bytes())
}

// recovered turns a panic of a handler into a 500 and a log line: one request's mistake must not end the agent.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.log().Error("a request ended in a panic", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	(&request{Request: r, w: w, s: s}).fail(fmt.Errorf("%s %s: internal error, see the agent's log", r.Method, r.URL.Path))
}
