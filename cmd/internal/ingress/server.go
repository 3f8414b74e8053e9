package ingress

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

const (
	// drain is how long requests may take that are under way when the server is to end.
	drain = 10 * time.Second
	// notice is for how long before that the answers tell their clients to send no more on the same connection.
	notice = 300 * time.Millisecond
	// unheardFor is how long a connection that was taken may still have for its request to come, after that.
	unheardFor = 2 * time.Second
	// secretAge is how old what is known of a Secret may be: one that has changed is served after at most that.
	secretAge = time.Second
	// tableIn is how long a request waits for the first table, after the start.
	tableIn = 5 * time.Second
)

// Server is the ingress of one host. Its fields are its configuration and must not be changed once it runs; Source and Host are needed.
//
// Every request is answered from the newest table: one that comes before there is a table waits for it, and gets 503 after 5 s; and when the rules change, those that
// are under way go on by the ones that they began with.
type Server struct {
	Source discovery.Source
	Host   string // this one's name
	// HTTP and HTTPS are where requests come in; nil: none do. They are closed when Run returns.
	HTTP, HTTPS net.Listener
	// Secret gives the certificates that Ingresses name. It is asked at most once a second for each, from many goroutines. Nil: there are none.
	Secret SecretFunc
	// Lookup gives the addresses of the name that an ExternalName Service stands for, as containers are told them; an error where there are none. Nil: such
	// Services lead nowhere.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	// Recovering reports whether this host may not know all Ingresses yet: then what has no rule gets 503 and not 404,
	// and so does what no replica can be reached for, instead of 502 or 504. Nil: it does.
	Recovering func() bool
	// Trusted are the proxies whose word of a client (X-Forwarded-For and its like) is believed and handed on.
	Trusted []netip.Prefix
	// AccessLog has each request logged, without its query, headers and body.
	AccessLog bool
	// Answer is how long a backend that has the whole request may take until its answer begins; zero: a minute. There is no
	// limit to how long an answer goes on.
	Answer time.Duration
	// Connections is how many clients may be connected to each listener at once; zero: 8,192. More wait.
	Connections int
	Log         *slog.Logger // nil: silent
	Metrics     *Metrics     // nil: nothing is counted
}

// server is a Server that runs.
type server struct {
	*Server
	log      *slog.Logger
	view     atomic.Pointer[view] // nil: there is no table yet
	known    chan struct{}        // closed once there is
	pools    pools
	proxy    *httputil.ReverseProxy
	balance  balance
	fallback *tls.Certificate
	unrouted *series
	draining atomic.Bool
	under    sync.WaitGroup // requests
	buffers  sync.Pool

	notice, secretAge, tableIn time.Duration // as above; tests have less of it
}

// view is a table and the routes that go with it.
type view struct {
	table  *discovery.Table
	routes *Routes
}

// Run answers requests until ctx ends. Then it takes no more, gives those that are under way ten seconds, ends what is left, upgraded connections
// among it, and returns nil. It returns an error only when it cannot serve.
func (s *Server) Run(ctx context.Context) error { return s.server().run(ctx) }

func (s *server) run(ctx context.Context) error {
	config, err := s.tlsConfig()
	if err != nil {
		return err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx)) // of the requests
	defer end()
	// A group's context ends with its first error: if one listener cannot go on, the other does not either.
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return s.follow(running) })
	for _, l := range []struct {
		net.Listener
		secure bool
	}{{s.HTTP, false}, {s.HTTPS, true}} {
		if l.Listener == nil {
			continue
		}
		srv := s.http(life)
		if l.secure {
			srv.TLSConfig = config.Clone()
		}
		group.Go(func() error { return s.serve(running, srv, l.Listener, l.secure, end) })
	}
	err = group.Wait()
	end()
	s.under.Wait()
	for _, t := range s.balance.transports {
		t.CloseIdleConnections()
	}
	return err
}

func (s *Server) server() *server {
	r := &server{Server: s, known: make(chan struct{}), notice: notice, secretAge: secretAge, tableIn: tableIn, log: s.Log, pools: pools{host: s.Host, all: map[poolKey]*pool{}}, unrouted: s.Metrics.of(discovery.Name{}, place{})}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.buffers.New = func() any { b := make([]byte, 32<<10); return &b }
	r.balance = balance{transports: s.newTransports(), log: r.log}
	r.proxy = &httputil.ReverseProxy{
		Rewrite:       r.rewrite,
		Transport:     &r.balance,
		FlushInterval: -1, // what has come is handed on, be it little
		BufferPool:    r,
		ErrorHandler:  r.failed,
		ModifyResponse: func(resp *http.Response) error {
			c := callOf(resp.Request.Context())
			c.upgraded = resp.StatusCode == http.StatusSwitchingProtocols
			// A backend may answer before it has read everything. Over HTTP/1 net/http would take the rest of the request away once the answer
			// begins, or wait for it, so that the connection can be used again: hence it is not.
			if c.body != nil && !c.body.ended.Load() {
				resp.Header.Set("Connection", "close")
			}
			return nil
		},
		ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	return r
}

// http is a server for one listener. No ReadTimeout and no WriteTimeout: both would end streams.
func (s *server) http(life context.Context) *http.Server {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return life },
		Protocols:         new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	return srv
}

// serve answers what comes in at l until ctx ends, and then what is under way. It ends the life of all requests if some take too long.
func (s *server) serve(ctx context.Context, srv *http.Server, l net.Listener, secure bool, end func()) error {
	unheard := &fresh{all: map[net.Conn]struct{}{}}
	srv.ConnState = unheard.state
	served := make(chan error, 1)
	limited := netutil.LimitListener(l, cmp.Or(s.Connections, 8192))
	go func() {
		if secure {
			served <- srv.ServeTLS(limited, "", "")
			return
		}
		served <- srv.Serve(limited)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve Ingresses on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	// First no new connections, which then wait for the agent's next life if its listeners are kept for it. Then whoever is busy on
	// an open one is told to close it: a client whose connection is closed just when it sends something cannot know whether that was heard.
	s.draining.Store(true)
	if err := limited.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Warn("closing a listener", "address", l.Addr().String(), "error", err)
	}
	<-served
	pause := time.NewTimer(s.notice)
	<-pause.C
	unheard.wait(unheardFor)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := srv.Shutdown(last); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Warn("requests were cut off at the end", "address", l.Addr().String(), "error", err)
		end()
		if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Debug("closing connections", "error", err)
		}
	}
	return nil
}

// follow keeps the view that requests are answered from.
func (s *server) follow(ctx context.Context) error {
	var last *discovery.Table
	if t := s.Source.Table(); t != nil {
		s.take(discovery.News{Table: t, Whole: true})
		last = t
	}
	for {
		news, err := s.Source.Next(ctx, last)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("follow the table of Services and Ingresses: %w", err)
		}
		last = news.Table
		s.take(news)
	}
}

// take makes a table the one that requests are answered from.
func (s *server) take(news discovery.News) {
	routes := &Routes{series: s.Metrics.of}
	if v := s.view.Load(); v != nil {
		routes = v.routes
	}
	if news.Whole {
		routes = routes.whole(news.Table)
	} else if len(news.Ingresses) > 0 {
		routes = routes.With(news.Ingresses, news.Ingress)
	}
	if s.view.Swap(&view{news.Table, routes}) == nil {
		close(s.known)
	}
	changed := news.Ingresses
	if news.Whole {
		changed = s.Metrics.names()
	}
	for _, n := range changed {
		i := news.Ingress(n)
		if i != nil && !Ours(i.Spec) {
			i = nil
		}
		s.Metrics.keep(n, i)
	}
	if news.Whole {
		s.pools.keep(news.Table)
		return
	}
	for _, n := range news.Services {
		if news.Service(n) == nil {
			s.pools.keep(news.Table)
			break
		}
	}
}
