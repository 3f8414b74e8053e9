package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
)

// Reader says who may be told of all events elsewhere than over HTTP, by the secret of a token of scope read in all namespaces, or by a
// certificate that has been verified. The error is why not. lapsed reports whether they may no longer.
func (s *Server) Reader(secret string, cert *x509.Certificate) (name string, lapsed func() bool, err error) {
	r := &http.Request{Header: http.Header{}}
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	if cert != nil {
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}
	}
	c, err := s.identify(r)
	if err != nil {
		return "", nil, err
	}
	if !c.has(ScopeRead, "") {
		return "", nil, fmt.Errorf("%s may see the namespaces %s, and this is of all", c.name, strings.Join(c.namespaces, ", "))
	}
	return c.name, func() bool { return s.lapsed(c) }, nil
}
