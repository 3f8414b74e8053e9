package ingress

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
)

// rewrite makes of a client's request what the backend is sent. Its host, path and query stay as they came, and what it says of how
// it got here is replaced by what is so: a backend may believe it.
func (s *server) rewrite(r *httputil.ProxyRequest) {
	in, out := r.In, r.Out
	out.URL.RawQuery = in.URL.RawQuery // nothing here reads it, so nothing need be taken out of it
	out.Trailer = in.Trailer           // filled in once the body has been read
	peer := peerOf(in)
	trusted := s.trusts(peer)
	for name := range out.Header {
		if about(name) {
			delete(out.Header, name)
		}
	}
	proto, port := "http", "80"
	if in.TLS != nil {
		proto, port = "https", "443"
	}
	if local, ok := in.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		port = strconv.Itoa(local.Port)
	}
	say := func(name, value string) {
		if given := in.Header.Values(name); trusted && len(given) > 0 {
			value = given[0]
		}
		out.Header.Set(name, value)
	}
	say("X-Forwarded-Host", in.Host)
	say("X-Forwarded-Proto", proto)
	say("X-Forwarded-Port", port)
	via, element := peer.String(), "for="+node(peer)+";proto="+proto
	if given := in.Header.Values("X-Forwarded-For"); trusted && len(given) > 0 {
		via = strings.Join(given, ", ") + ", " + via
	}
	if given := in.Header.Values("Forwarded"); trusted && len(given) > 0 {
		out.Header.Set("Forwarded", strings.Join(given, ", ")+", "+element)
	}
	out.Header.Set("X-Forwarded-For", via)
	out.Header.Set("X-Real-Ip", callOf(in.Context()).client.String())
}

// about reports whether a header says how a request came here, or for what it really is: no stranger's word is handed on as that. Backends
// that know headers as variables of the environment cannot tell X_Real_IP from X-Real-IP.
func about(name string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	switch name {
	case "Forwarded", "X-Real-Ip", "X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Scheme", "Front-End-Https":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// node is an address as the Forwarded header has it.
func node(a netip.Addr) string {
	if a.Is6() {
		return `"[` + a.String() + `]"`
	}
	return a.String()
}

// peerOf is who is at the other end of the connection.
func peerOf(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv4Unspecified() // a connection that is not over TCP
	}
	return a.Addr().Unmap().WithZone("")
}

func (s *Server) trusts(a netip.Addr) bool {
	for _, p := range s.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// clientOf is who asks: the peer, or, where that is a proxy that is trusted, the last that it names and that is not.
func (s *Server) clientOf(r *http.Request) netip.Addr {
	client := peerOf(r)
	if !s.trusts(client) {
		return client
	}
	via := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(via) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(via[i]))
		if err != nil {
			return client
		}
		if client = a.Unmap().WithZone(""); !s.trusts(client) {
			return client
		}
	}
	return client
}
