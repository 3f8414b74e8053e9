package ingress

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// dialTimeout is how long it may take to connect to a replica: a lost packet is sent again after one second, and after three.
	dialTimeout = 5 * time.Second
	// dialsWithin is how long the replicas of a Service are tried one after the other before the client is told.
	dialsWithin = 15 * time.Second
	// idleTimeout is how long a connection to a replica is kept that nobody uses: less than servers do, so that they do not
	// close it just when a request goes out on it.
	idleTimeout = 4 * time.Second
)

// protocol is what a backend speaks.
type protocol int

const (
	http1     protocol = iota
	h2c                // HTTP/2 without TLS, as gRPC does
	https              // over TLS, HTTP/2 or 1; nobody asks who signed the certificate
	protocols          // how many there are
)

// protocolOf is what a Service port's appProtocol says. What is not known is HTTP/1.
func protocolOf(app string) protocol {
	switch app {
	case "kubernetes.io/h2c", "h2c", "grpc", "kubernetes.io/grpc":
		return h2c
	case "https", "kubernetes.io/wss", "grpcs":
		return https
	}
	return http1
}

func (p protocol) scheme() string {
	if p == https {
		return "https"
	}
	return "http"
}

// newTransports makes what speaks to the backends. Answer is how long one may take until its answer begins, once it has the
// whole request; over h2c, where an answer begins with its first message, as long as it wants.
func (s *Server) newTransports() (all [protocols]*http.Transport) {
	// A host that has gone without a word is not noticed otherwise.
	pinged := &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second}
	for p := range all {
		t := &http.Transport{
			DialContext:           s.dial,
			DisableCompression:    true, // what a backend says is handed on as it is
			MaxIdleConns:          2048,
			MaxIdleConnsPerHost:   128,
			IdleConnTimeout:       idleTimeout,
			ExpectContinueTimeout: time.Second,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: cmp.Or(s.Answer, time.Minute),
			Protocols:             new(http.Protocols),
		}
		switch protocol(p) {
		case http1:
			t.Protocols.SetHTTP1(true)
		case h2c:
			t.Protocols.SetUnencryptedHTTP2(true)
			t.ResponseHeaderTimeout = 0
			t.HTTP2 = pinged
		case https:
			t.Protocols.SetHTTP1(true)
			t.Protocols.SetHTTP2(true)
			// A replica's certificate cannot be for its address, which is drawn when it starts.
			t.HTTP2 = pinged
			t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
		}
		all[p] = t
	}
	return all
}

// call is one request on its way.
type call struct {
	route  *Route
	pool   *pool
	client netip.Addr // who asks

	body     *heldBody // of the request; nil over HTTP/2
	tried    []*endpointState
	endpoint string // where it went
	retries  int
	upgraded bool // the connection has become one of another protocol
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// balance sends each request to one endpoint of its pool, and to another one where that is safe.
type balance struct {
	transports [protocols]*http.Transport
	log        *slog.Logger
}

// errNoneLeft says that there was no endpoint to send a request to.
var errNoneLeft = errors.New("no endpoint is ready")

// RoundTrip hands a request on. One that could not be connected to is another's turn, always: it has seen nothing of the request. So it
// is where a connection broke before anything came back, but only for a request that may be made twice and has no body.
func (b *balance) RoundTrip(req *http.Request) (*http.Response, error) {
	c := callOf(req.Context())
	body := &heldBody{ReadCloser: req.Body}
	if req.ProtoMajor == 1 && req.Body != nil {
		c.body = body
	}
	began := time.Now()
	err := error(nil)
	for {
		e := c.pool.pick(c.client, c.tried)
		if e == nil {
			if err == nil {
				err = errNoneLeft
			}
			return nil, err
		}
		if len(c.tried) > 0 {
			c.retries++
			c.route.series.retried()
		}
		c.tried, c.endpoint = append(c.tried, e), e.address
		var resp *http.Response
		var again bool
		if resp, again, err = b.try(req, c.pool.protocol, e, body); err == nil {
			return resp, nil
		}
		if !again || req.Context().Err() != nil || time.Since(began) > dialsWithin-dialTimeout {
			return nil, err
		}
	}
}

// try sends the request to one endpoint, and says whether it may be sent to another if that fails.
func (b *balance) try(req *http.Request, p protocol, e *endpointState, body *heldBody) (resp *http.Response, again bool, err error) {
	var answered atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotFirstResponseByte: func() { answered.Store(true) }})
	out := req.WithContext(ctx)
	to := *req.URL
	to.Scheme, to.Host = p.scheme(), e.address
	out.URL = &to
	if req.Body != nil {
		out.Body = body
	}
	e.outstanding.Add(1)
	began := time.Now()
	resp, err = b.transports[p].RoundTrip(out)
	if err == nil {
		e.reached()
		resp.Body = counted(resp.Body, e)
		return resp, false, nil
	}
	e.outstanding.Add(-1)
	if req.Context().Err() != nil {
		return nil, false, err
	}
	if unreachable := (dialError{}); errors.As(err, &unreachable) {
		d, first := e.unreachable(began)
		level := slog.LevelDebug
		if first {
			level = slog.LevelInfo
		}
		b.log.Log(req.Context(), level, "a replica cannot be reached and is passed over", "endpoint", e.address, "for", d, "error", err)
		return nil, !body.read.Load(), err
	}
	return nil, repeatable(req) && !answered.Load() && !timedOut(err), err
}

// repeatable reports whether a request may be made twice, and can be.
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return (r.Body == nil || r.Body == http.NoBody) && r.Header.Get("Upgrade") == ""
	}
	return false
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// heldBody is a request's body that a failed dial leaves open for the next.
type heldBody struct {
	io.ReadCloser
	read, ended atomic.Bool
}

// Read reads on.
func (b *heldBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// Close closes what has been begun; what has not, whoever handed it in closes.
func (b *heldBody) Close() error {
	if b.read.Load() {
		return b.ReadCloser.Close()
	}
	return nil
}

// counted is an answer's body whose end takes the request off the endpoint's account.
func counted(b io.ReadCloser, e *endpointState) io.ReadCloser {
	c := &countedBody{ReadCloser: b, e: e}
	if w, ok := b.(io.Writer); ok { // of a connection that was upgraded
		return struct {
			*countedBody
			io.Writer
		}{c, w}
	}
	return c
}

type countedBody struct {
	io.ReadCloser
	e    *endpointState
	done atomic.Bool
}

// Close closes the body.
func (b *countedBody) Close() error {
	if b.done.CompareAndSwap(false, true) {
		b.e.outstanding.Add(-1)
	}
	return b.ReadCloser.Close()
}
