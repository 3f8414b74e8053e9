package client

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// Stream is a connection that an agent leads on.
type Stream struct {
	net.Conn
	r *bufio.Reader

	To string // where it leads, for people
}

// Read reads what comes from there.
func (s *Stream) Read(b []byte) (int, error) { return s.r.Read(b) }

// CloseWrite ends what is sent there; what comes from there goes on.
func (s *Stream) CloseWrite() error {
	c, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return c.CloseWrite()
}

// connectTime is for how long an agent is waited for until a connection is led on, what it tries itself included.
const connectTime = 30 * time.Second

// Connect asks the agent, at a path, to make the connection one of a protocol that is no HTTP. The errors are those of Open.
func (c *Client) Connect(ctx context.Context, path, protocol string) (*Stream, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, c.unreachable(ctx, http.MethodPost, err)
	}
	s, err := c.upgrade(ctx, conn, path, protocol)
	if err != nil {
		return nil, errors.Join(err, ignoreClosed(conn.Close()))
	}
	return s, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// dial connects to the agent, over HTTP/1.1, which alone has upgrades.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	secure := c.server.Scheme == "https"
	port := "80"
	if secure {
		port = "443"
	}
	addr := net.JoinHostPort(c.server.Hostname(), cmp.Or(c.server.Port(), port))
	if !secure {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	config := &tls.Config{}
	if t, ok := c.http.Transport.(*http.Transport); ok && t.TLSClientConfig != nil {
		config = t.TLSClientConfig.Clone()
	}
	config.NextProtos = []string{"http/1.1"}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
}

// upgrade sends the request on a new connection, and reads the answer.
func (c *Client) upgrade(ctx context.Context, conn net.Conn, path, protocol string) (*Stream, error) {
	u := *c.server
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if err := setPath(req.URL, u.Path, path); err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", protocol)
	req.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(connectTime)); err != nil {
		return nil, err
	}
	if err := req.Write(conn); err != nil {
		return nil, c.unreachable(ctx, req.Method, err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, c.unreachable(ctx, req.Method, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return nil, statusError(req, resp)
	}
	return &Stream{Conn: conn, r: r, To: resp.Header.Get("Forwarded-To")}, conn.SetDeadline(time.Time{})
}

// Proxy answers requests by what the agent answers to them, asked as whoever the client is. It is for programs of this host alone: a
// request that calls it by another name than the loopback's, or that a web page of another origin makes, is refused.
func (c *Client) Proxy(lost func(error)) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport:     c.http.Transport,
		FlushInterval: -1, // what is followed is to be seen as it comes
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(c.server)
			r.Out.Host = c.server.Host
			r.Out.Header.Del("Authorization") // of somebody else, for somebody else
			if c.token != "" {
				r.Out.Header.Set("Authorization", "Bearer "+c.token)
			}
			if agent := r.In.UserAgent(); agent != "" {
				r.Out.Header.Set("User-Agent", c.agent+" for "+agent)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			err = c.unreachable(r.Context(), r.Method, &url.Error{Err: err})
			lost(err)
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			r.Body = http.NoBody
		}
		name, site := hostOf(r.Host), r.Header.Get("Sec-Fetch-Site")
		ip := net.ParseIP(name)
		switch {
		case name != "localhost" && (ip == nil || !ip.IsLoopback()):
			http.Error(w, fmt.Sprintf("this is not %q: call it localhost", r.Host), http.StatusMisdirectedRequest)
		case r.Header.Get("Origin") != "" || site != "" && site != "none" && site != "same-origin":
			http.Error(w, "requests of web pages are refused", http.StatusForbidden)
		default:
			proxy.ServeHTTP(w, r)
		}
	})
}

// hostOf is a host without its port, in lower case.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
