package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/podman"
	peersync "github.com/podman-swarm/podman-swarm/sync"
	"github.com/podman-swarm/podman-swarm/sync/mesh"
)

// What members ask each other beside what sync does, over HTTP on the cluster port, as members only: the log of a container that
// runs on the other, and what the other knows of the logs of all.

// talk serves what other members ask. It is a net.Listener for connections that the mesh hands over.
type talk struct {
	tls   *tls.Config
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// newTalk has who connects show a certificate that holds, by c.
func newTalk(c *tls.Config) *talk {
	c = c.Clone()
	c.NextProtos = []string{mesh.Talk}
	return &talk{tls: c, conns: make(chan net.Conn), done: make(chan struct{})}
}

// serve takes a connection, and returns when it is over.
func (t *talk) serve(conn net.Conn) {
	c := &handed{Conn: conn, over: make(chan struct{})}
	select {
	case t.conns <- tls.Server(c, t.tls):
		<-c.over
	case <-t.done:
	}
}

// handed is a connection that says when it has been closed.
type handed struct {
	net.Conn
	over chan struct{}
	once sync.Once
}

// Close closes it.
func (h *handed) Close() error {
	defer h.once.Do(func() { close(h.over) })
	return h.Conn.Close()
}

// Accept gives the next connection.
func (t *talk) Accept() (net.Conn, error) {
	select {
	case c := <-t.conns:
		return c, nil
	case <-t.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (t *talk) Close() error {
	t.once.Do(func() { close(t.done) })
	return nil
}

// Addr is of no use to anybody.
func (t *talk) Addr() net.Addr { return &net.TCPAddr{} }

// answer answers the other members until ctx ends.
func (a *agent) answer(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/containers/{id}/log", a.ownLog)
	mux.HandleFunc("GET /v1/audit/heads", a.ownHeads)
	mux.HandleFunc("GET /v1/audit/points", a.ownPoints)
	mux.HandleFunc("GET /v1/audit/commits", a.ownCommits)
	srv := &http.Server{Handler: a.whileWelcome(mux), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(a.part("talk").Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(a.cluster.talk) }()
	<-ctx.Done()
	err := srv.Close()
	if serr := <-served; !errors.Is(serr, http.ErrServerClosed) && !errors.Is(serr, net.ErrClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// whileWelcome answers members only for as long as they are: a connection may be older than the removal of the host at its other end, and a
// log can be followed for days.
func (a *agent) whileWelcome(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.TLS.PeerCertificates[0].Subject.CommonName // it has one: see newTalk
		ctx, cancel := context.WithCancel(r.Context())
		var beside sync.WaitGroup
		defer func() { cancel(); beside.Wait() }()
		v := a.ledger.View()
		if err := a.welcome(host); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		beside.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-v.Changed:
				}
				if v = a.ledger.View(); a.welcome(host) != nil {
					cancel()
				}
			}
		})
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// ownLog answers with the log of a container of this host.
func (a *agent) ownLog(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	since, _ := time.Parse(time.RFC3339Nano, q.Get("since")) // zero when there is none
	tail, err := strconv.ParseInt(q.Get("tail"), 10, 32)
	if err != nil {
		http.Error(w, "tail: want a number", http.StatusBadRequest)
		return
	}
	log, err := a.engine.Logs(r.Context(), r.PathValue("id"), podman.LogOptions{
		Follow: q.Get("follow") == "true", Timestamps: q.Get("timestamps") == "true", Since: since, Tail: int(max(0, tail)), Limit: tail >= 0})
	switch {
	case errors.Is(err, podman.ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer log.Close()
	out := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = out.Flush() // one that has left is not told
	b := make([]byte, 32<<10)
	for {
		n, err := log.Read(b)
		if n > 0 {
			_ = out.SetWriteDeadline(time.Now().Add(time.Minute))
			if _, werr := w.Write(b[:n]); werr != nil || out.Flush() != nil {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil { // an answer that ends whole would say that this was all
			panic(http.ErrAbortHandler)
		}
	}
}

// otherLog opens the log of a container of another host.
func (a *agent) otherLog(ctx context.Context, host, container string, o api.LogOptions) (io.ReadCloser, error) {
	q := url.Values{"tail": {strconv.FormatInt(o.Tail, 10)}, "follow": {strconv.FormatBool(o.Follow)}, "timestamps": {strconv.FormatBool(o.Timestamps)}}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.Format(time.RFC3339Nano))
	}
	return a.askMember(ctx, host, "/v1/containers/"+url.PathEscape(container)+"/log?"+q.Encode())
}

// askMember asks another member for what is at a path, which the caller closes.
func (a *agent) askMember(ctx context.Context, host, path string) (io.ReadCloser, error) {
	if !a.many() {
		return nil, fmt.Errorf("this host is a cluster of its own: it knows no host %s", host)
	}
	st, _ := a.cluster.sync.Status()
	var peer *peersync.Peer
	for i := range st.Peers {
		if st.Peers[i].Host == host {
			peer = &st.Peers[i]
		}
	}
	if peer == nil || peer.Address == "" {
		return nil, fmt.Errorf("host %s is not heard", host)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://host"+path, nil)
	if err != nil {
		return nil, err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 30 * time.Second,
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return a.dial(ctx, host, peer.Address) }}}
	resp, err := c.Do(req)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the URL tells nobody anything
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	err = fmt.Errorf("host %s says: %s", host, bytes.TrimSpace(b))
	if resp.StatusCode == http.StatusNotFound {
		return nil, classed{err, fs.ErrNotExist}
	}
	return nil, err
}

// dial connects to another member, and makes sure that it is the one that is meant.
func (a *agent) dial(ctx context.Context, host, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: a.cluster.talk.tls}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := conn.(*tls.Conn) // by the Dialer's word
	if who := c.ConnectionState().PeerCertificates[0].Subject.CommonName; who != host {
		return nil, errors.Join(fmt.Errorf("at %s there is host %s", addr, who), c.Close())
	}
	return c, nil
}
