package ingress

import (
	"net/url"
	"path"
	"strings"
)

// hostOf is the host that a Host header, an authority or a server name in TLS is about: in small letters, without port, brackets
// and trailing dot. It is "" where there is none.
func hostOf(header string) string {
	h := header
	if strings.HasPrefix(h, "[") { // an IPv6 address, as in [::1]:80
		if end := strings.IndexByte(h, ']'); end >= 0 {
			h = h[1:end]
		}
	} else if i := strings.IndexByte(h, ':'); i >= 0 && i == strings.LastIndexByte(h, ':') {
		h = h[:i]
	}
	return strings.ToLower(strings.TrimSuffix(h, "."))
}

// wildcardOf is the wildcard that covers a host: *.example.com covers a.example.com, and neither example.com nor
// b.a.example.com. It is "" where none can.
func wildcardOf(host string) string {
	first, rest, ok := strings.Cut(host, ".")
	if !ok || first == "" || rest == "" || first == "*" {
		return ""
	}
	return "*." + rest
}

// clean is the path, percent-decoded already, that a request is routed by: absolute, without empty elements, "." and "..". Whether it
// ends in a slash is kept. No rule can be got around by writing a path in another way, and none that ends in ".." climbs out of a prefix.
func clean(p string) string {
	if p == "" || p[0] != '/' {
		p = "/" + p
	}
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	c := path.Clean(p)
	if c != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		c += "/"
	}
	return c
}

// meant is a rule's path as requests are compared with it: an Ingress may write a space as %20.
func meant(declared string) string {
	if p, err := url.PathUnescape(declared); err == nil {
		return clean(p)
	}
	return clean(declared)
}

// prefixOf is how a Prefix path is kept: without its trailing slash, so that the root is "".
func prefixOf(p string) string { return strings.TrimRight(p, "/") }
