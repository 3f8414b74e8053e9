package ingress

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// Kubernetes' ingress conformance, feature host_rules, by what clients see: over HTTP and TLS, the request's host kept, and no redirect
// from one to the other.
func TestServer_conformanceHostRules(t *testing.T) {
	certPEM, keyPEM := pair(t, "foo.bar.com")
	r := start(t, func(s *Server) {
		s.Secret = func(namespace, name string) ([]byte, []byte, string, error) {
			if namespace != "default" || name != "conformance-tls" {
				return nil, nil, "", fmt.Errorf("there is no Secret %s/%s", namespace, name)
			}
			return certPEM, keyPEM, "1", nil
		}
	})
	i := declared("host-rules", 1, rule{"*.foo.com/", "Prefix", "wildcard-foo-com"}, rule{"foo.bar.com/", "Prefix", "foo-bar-com"})
	i.Spec.Rules[1].HTTP.Paths[0].Backend.Service.Port = networkingv1.ServiceBackendPort{Name: "http"}
	i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{"foo.bar.com"}, SecretName: "conformance-tls"}}
	r.put(t, []*discovery.Service{service("wildcard-foo-com", replica(t, "wildcard-foo-com")), service("foo-bar-com", replica(t, "foo-bar-com"))}, i)
	c := r.client(t)
	for _, want := range []struct {
		url  string
		code int
		by   string
	}{
		{"https://foo.bar.com", 200, "foo-bar-com"},
		{"http://foo.bar.com", 200, "foo-bar-com"},
		{"http://subdomain.bar.com", 404, ""},
		{"http://bar.foo.com", 200, "wildcard-foo-com"},
		{"http://baz.bar.foo.com", 404, ""},
		{"http://foo.com", 404, ""},
	} {
		got := get(t, c, want.url)
		if got.StatusCode != want.code || got.Header.Get("X-Served-By") != want.by {
			t.Errorf("%s: got %d by %q, want %d by %q", want.url, got.StatusCode, got.Header.Get("X-Served-By"), want.code, want.by)
		}
		_, host, _ := strings.Cut(want.url, "//")
		if gave := got.Header.Get("X-Got"); want.code == 200 && gave != "GET "+host+" /" {
			t.Errorf("%s: the replica got %q, want the host kept", want.url, gave)
		}
		if got.TLS != nil {
			if err := got.TLS.PeerCertificates[0].VerifyHostname("foo.bar.com"); err != nil {
				t.Errorf("%s: %v", want.url, err)
			}
		}
	}
}

// Feature default_backend.
func TestServer_conformanceDefaultBackend(t *testing.T) {
	r := start(t, nil)
	r.put(t, []*discovery.Service{service("echo-service", replica(t, "echo-service"))}, declared("default-backend", 1, rule{"default", "", "echo-service"}))
	c := r.client(t)
	for _, a := range []struct{ method, host, path string }{
		{"GET", "my-host", ""}, {"GET", "my-host", "sub-path"}, {"POST", "some-host", ""}, {"PUT", "", "resource"},
		{"DELETE", "some-host", "resource"}, {"PATCH", "my-host", "resource"},
	} {
		req := request(t, a.method, "http://"+r.http+"/"+a.path, nil)
		if a.host != "" {
			req.Host = a.host
		}
		got := ask(t, c, req)
		if want := a.method + " " + req.Host + " /" + a.path; got.StatusCode != 200 || got.Proto != "HTTP/1.1" || a.host != "" && got.Header.Get("X-Got") != want {
			t.Errorf("%s %s/%s: got %d, %s, and the replica %q, want %q", a.method, a.host, a.path, got.StatusCode, got.Proto, got.Header.Get("X-Got"), want)
		}
		for _, h := range []string{"Content-Length", "Date"} {
			if got.Header.Get(h) == "" {
				t.Errorf("%s %s/%s: the answer has no %s", a.method, a.host, a.path, h)
			}
		}
	}
}

// Feature load_balancing: a hundred requests to ten replicas reach each.
func TestServer_conformanceLoadBalancing(t *testing.T) {
	var at []string
	for n := range 10 {
		at = append(at, replica(t, fmt.Sprint("replica-", n)))
	}
	_, c := one(t, service("echo-service", at...), nil)
	seen := map[string]int{}
	for range 100 {
		got := get(t, c, "http://load-balancing")
		if got.StatusCode != 200 {
			t.Fatalf("got %d: %s", got.StatusCode, got.body)
		}
		seen[got.Header.Get("X-Served-By")]++
	}
	if len(seen) != 10 {
		t.Errorf("got answers of %d replicas, want of 10: %v", len(seen), seen)
	}
}

// Feature ingress_class.
func TestServer_conformanceIngressClass(t *testing.T) {
	r := start(t, nil)
	other, ours := "some-invalid-class-name", Class
	a, b := declared("other", 1, rule{"other.com/", "Prefix", "web"}), declared("ours", 2, rule{"ours.com/", "Prefix", "web"})
	a.Spec.IngressClassName, b.Spec.IngressClassName = &other, &ours
	r.put(t, []*discovery.Service{service("web", replica(t, "web"))}, a, b)
	c := r.client(t)
	for url, want := range map[string]int{"http://other.com": 404, "http://ours.com": 200} {
		if got := get(t, c, url).StatusCode; got != want {
			t.Errorf("%s: got %d, want %d", url, got, want)
		}
	}
}

// What a client sees of the routes is by the cleaned path, and what the replica gets is as the client wrote it.
func TestServer_routesTheCleanedPathAndForwardsTheRaw(t *testing.T) {
	r := start(t, nil)
	r.put(t, []*discovery.Service{service("public", replica(t, "public")), service("admin", replica(t, "admin"))},
		declared("a", 1, rule{"h/public", "Prefix", "public"}, rule{"h/admin", "Exact", "admin"}, rule{"h/admin/", "Prefix", "admin"}))
	for target, want := range map[string]string{
		"/public/x%20y?a=b;c&%zz":  "public",
		"/public/../admin":         "admin",
		"/public/..%2fadmin":       "admin",
		"/public/%2e%2e/admin":     "admin",
		"/public/%2E%2e%2Fadmin/x": "admin",
		"/admin/../public":         "public",
		"//public//x":              "public",
		"/%70ublic":                "public",
		"/public/..":               "",
		"/public%2f..%2fsecret":    "",
		"/publicx":                 "",
		"/PUBLIC":                  "",
		"http://h/public?x":        "public",
	} {
		got := raw(t, r.http, "GET "+target+" HTTP/1.1\r\nHost: H.:80\r\nConnection: close\r\n\r\n")
		by := between(got, "X-Served-By: ", "\r\n")
		if by != want || want == "" && !strings.HasPrefix(got, "HTTP/1.1 404 ") {
			t.Errorf("%s: got it served by %q, want %q: %.200q", target, by, want, got)
		}
		if _, sent, _ := strings.Cut(between(got, "X-Got: ", "\r\n"), " "); want != "" {
			_, sent, _ = strings.Cut(sent, " ")
			if sent != strings.TrimPrefix(target, "http://h") {
				t.Errorf("%s: the replica got %q", target, sent)
			}
		}
	}
}

// What has two meanings is refused, or handed on with one: nobody smuggles a request past the rules in another's.
func TestServer_noRequestIsSmuggled(t *testing.T) {
	r := start(t, nil)
	r.put(t, []*discovery.Service{service("public", serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/public" {
			t.Errorf("the replica got %s %s", r.Method, r.URL)
		}
		w.Header().Set("X-Served-By", "public")
	}))}, declared("a", 1, rule{"h/public", "Prefix", "public"}))
	const hidden = "GET /secret HTTP/1.1\r\nHost: h\r\n\r\n"
	for what, c := range map[string]struct {
		request string
		codes   string // of the answers, in turn
	}{
		"chunks and a length":    {"POST /public HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, "200 404 404"},
		"a length and no chunks": {"POST /public HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + hidden, "501"},
		"two lengths":            {"POST /public HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 35\r\n\r\n" + hidden, "400"},
		"a length with a sign":   {"POST /public HTTP/1.1\r\nHost: h\r\nContent-Length: +0\r\n\r\n" + hidden, "400"},
		"a space before a colon": {"POST /public HTTP/1.1\r\nHost: h\r\nContent-Length : 35\r\n\r\n" + hidden, "400"},
		"two hosts":              {"GET /public HTTP/1.1\r\nHost: h\r\nHost: x\r\n\r\n", "400"},
		"no host":                {"GET /public HTTP/1.1\r\n\r\n", "400"},
		"no host, HTTP/1.0":      {"GET /public HTTP/1.0\r\n\r\n", "404"},
		"hosts of two opinions":  {"GET http://x/public HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "404"},
		"a tunnel":               {"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "405"},
		"an echo":                {"TRACE /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "405"},
		"a body that a GET has":  {"GET /public HTTP/1.1\r\nHost: h\r\nContent-Length: 35\r\n\r\n" + hidden, "200 404"},
	} {
		t.Run(what, func(t *testing.T) {
			got := raw(t, r.http, c.request+"GET /end HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			var codes []string
			for _, line := range strings.Split(got, "\n") {
				if strings.HasPrefix(line, "HTTP/1.") {
					codes = append(codes, strings.Fields(line)[1])
				}
			}
			if s := strings.Join(codes, " "); s != c.codes {
				t.Errorf("got answers %s, want %s:\n%s", s, c.codes, got)
			}
		})
	}
}
