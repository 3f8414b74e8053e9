package ingress

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// patience is how long tests wait for what must come.
const patience = time.Minute

// source is a discovery.Source whose table a test sets.
type source struct {
	mu      sync.Mutex
	table   *discovery.Table
	changed chan struct{}
}

func newSource() *source { return &source{changed: make(chan struct{})} }

func (s *source) set(services []*discovery.Service, ingresses []*discovery.Ingress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = discovery.NewTable(services, ingresses)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *source) Table() *discovery.Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table
}

func (s *source) Next(ctx context.Context, after *discovery.Table) (discovery.News, error) {
	for {
		s.mu.Lock()
		t, changed := s.table, s.changed
		s.mu.Unlock()
		if t != after && t != nil {
			return newsOf(t, after), nil
		}
		select {
		case <-ctx.Done():
			return discovery.News{}, ctx.Err()
		case <-changed:
		}
	}
}

func newsOf(t, after *discovery.Table) discovery.News {
	n := discovery.News{Table: t, Whole: after == nil}
	if after == nil {
		return n
	}
	for _, two := range [][2]*discovery.Table{{t, after}, {after, t}} {
		for i := range two[0].Ingresses() {
			if two[1].Ingress(i.Name) != i {
				n.Ingresses = append(n.Ingresses, i.Name)
			}
		}
		for s := range two[0].Services() {
			if two[1].Service(s.Name) != s {
				n.Services = append(n.Services, s.Name)
			}
		}
	}
	return n
}

// running is a Server that runs.
type running struct {
	*server
	source    *source
	http, tls string // where it listens
	stop      func() error
}

// start runs a Server on two ports of the loopback until the test ends.
func start(t testing.TB, configure func(*Server)) *running {
	t.Helper()
	return startIn(t, 20*time.Millisecond, configure)
}

// startIn is start for who says how long requests wait for the first table.
func startIn(t testing.TB, tableIn time.Duration, configure func(*Server)) *running {
	t.Helper()
	src := newSource()
	s := &Server{Source: src, Host: "here", HTTP: listen(t), HTTPS: listen(t), Metrics: NewMetrics()}
	if configure != nil {
		configure(s)
	}
	r := &running{server: s.server(), source: src, http: s.HTTP.Addr().String(), tls: s.HTTPS.Addr().String()}
	r.notice, r.secretAge, r.tableIn = 5*time.Millisecond, 20*time.Millisecond, tableIn
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// client asks the Server whatever host a URL has, and keeps no connection for another test.
func (r *running) client(t testing.TB) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			to := r.http
			if strings.HasSuffix(addr, ":443") {
				to = r.tls
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		},
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// reply is an answer, read to its end.
type reply struct {
	*http.Response
	body string
}

func ask(t testing.TB, c *http.Client, req *http.Request) reply {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return reply{resp, string(b)}
}

func get(t testing.TB, c *http.Client, url string) reply {
	t.Helper()
	return ask(t, c, request(t, "GET", url, nil))
}

func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func eventually(t testing.TB, ok func() bool, format string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf(format, args...)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// replica is a backend that says its name and what it was asked.
func replica(t testing.TB, name string) string {
	return serving(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Served-By", name)
		w.Header().Set("X-Got", r.Method+" "+r.Host+" "+r.RequestURI)
		_, _ = io.Copy(w, r.Body)
	})
}

// serving is where a backend that answers so is reached.
func serving(t testing.TB, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// h2cServing is the same over HTTP/2 without TLS, and nothing else.
func h2cServing(t testing.TB, h http.HandlerFunc) string {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// nobody is an address where nothing listens.
func nobody(t testing.TB) string {
	l := listen(t)
	defer l.Close()
	return l.Addr().String()
}

func endpoint(at string) discovery.Endpoint {
	return discovery.Endpoint{Address: netip.MustParseAddrPort(at), Ready: true}
}

// service is a Service at port 8080, called http, with ready endpoints.
func service(name string, at ...string) *discovery.Service {
	p := discovery.Port{Name: "http", Protocol: corev1.ProtocolTCP, Port: 8080}
	for _, a := range at {
		p.Endpoints = append(p.Endpoints, endpoint(a))
	}
	return &discovery.Service{Name: in(name), Spec: &corev1.ServiceSpec{}, Ports: []discovery.Port{p}}
}

// speaking is a Service whose port says what it speaks.
func speaking(app string, s *discovery.Service) *discovery.Service {
	s.Ports[0].AppProtocol = app
	return s
}

// one starts a Server with one Service, called web, behind every host.
func one(t testing.TB, s *discovery.Service, configure func(*Server)) (*running, *http.Client) {
	t.Helper()
	r := start(t, configure)
	r.put(t, []*discovery.Service{s}, declared("all", 1, rule{"/", "Prefix", s.Name.Name}))
	return r, r.client(t)
}

// settled waits until the Server goes by the newest table.
func (r *running) settled(t testing.TB) {
	t.Helper()
	eventually(t, func() bool { v := r.server.view.Load(); return v != nil && v.table == r.source.Table() }, "the newest table was never taken")
}

// put sets what there is, and waits until the Server goes by it.
func (r *running) put(t testing.TB, services []*discovery.Service, ingresses ...*discovery.Ingress) {
	t.Helper()
	r.source.set(services, ingresses)
	r.settled(t)
}
