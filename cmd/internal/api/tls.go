package api

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// ServeTLS is Serve for requests from beyond this host: over TLS, each of them with a token or a client certificate, and
// by what that allows. c has the server's certificate, and in ClientCAs who signs those of clients (nil: then there are
// only tokens); the rest of it that matters here is set.
func (s *Server) ServeTLS(ctx context.Context, l net.Listener, c *tls.Config) error {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.NextProtos = []string{"h2", "http/1.1"}
	c.ClientAuth = tls.NoClientCert
	if c.ClientCAs != nil {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return s.serve(ctx, tls.NewListener(l, c), s.handler(ctx.Done(), true))
}

// known lets through who says who they are, and ends what goes on when they may no longer ask.
func (s *Server) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.identify(r)
		if err != nil {
			s.log().Info("a request was refused", "remote", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "error", err)
			w.Header().Set("WWW-Authenticate", `Bearer realm="podman-swarm"`)
			(&request{Request: r, w: w, s: s}).fail(err)
			return
		}
		ctx, cancel := context.WithCancel(context.WithValue(r.Context(), callerKey{}, c))
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			s.watchOver(ctx, c, cancel)
		}()
		defer func() { cancel(); <-watched }()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// callerKey is the key of a request's caller.
type callerKey struct{}

// watchOver ends a request whose token is revoked, or it or the certificate expires, while it goes on.
func (s *Server) watchOver(ctx context.Context, c *caller, end func()) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		if s.lapsed(c) {
			end()
			return
		}
	}
}
