package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Access is what an agent beyond this host wants to see of who asks, and how it is known for the right one. All of it may
// be empty; certificates and keys are PEM.
type Access struct {
	Token     string
	CA        []byte // who signs the agent's certificate; empty: one of the system's authorities
	Cert, Key []byte // of the client
}

// With is a client that shows that. A token is only ever sent over TLS, or to this host, where none is wanted: over plain
// HTTP to another host it is refused.
func (c *Client) With(a Access) (*Client, error) {
	with := *c
	if c.server.Scheme != "https" {
		switch {
		case isLoopback(c.server):
			return &with, nil
		case a.Token != "" || len(a.Cert) > 0:
			return nil, fmt.Errorf("server %s: a token or certificate is shown over TLS only: want https://", c.Server())
		}
		return &with, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(a.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(a.CA) {
			return nil, errors.New("the CA holds no certificate in PEM")
		}
	}
	if (len(a.Cert) > 0) != (len(a.Key) > 0) {
		return nil, errors.New("a client certificate and its key are wanted together")
	}
	if len(a.Cert) > 0 {
		pair, err := tls.X509KeyPair(a.Cert, a.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		config.Certificates, with.ends = []tls.Certificate{pair}, pair.Leaf.NotAfter
	}
	transport := newTransport()
	transport.TLSClientConfig, transport.ForceAttemptHTTP2 = config, true
	with.http, with.token = newHTTP(transport), strings.TrimSpace(a.Token)
	return &with, nil
}

func newTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // an agent's API is on this host or on the next one
	return transport
}

// newHTTP follows no redirects: an agent has none, and what is shown to it is for nobody else.
func newHTTP(transport *http.Transport) *http.Client {
	return &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// untrusted reports whether no connection came about because the agent's certificate is not one to be trusted.
func untrusted(err error) bool {
	var bad *tls.CertificateVerificationError
	return errors.As(err, &bad)
}

func isLoopback(u *url.URL) bool {
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
