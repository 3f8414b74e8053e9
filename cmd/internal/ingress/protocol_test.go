package ingress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// echoes takes the connection over, as a WebSocket server does, and sends back what comes.
func echoes(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" || r.ProtoMajor != 1 {
		http.Error(w, fmt.Sprintf("not an upgrade: %s %v", r.Proto, r.Header), http.StatusBadRequest)
		return
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(c, rw)
}

// A WebSocket goes through, over TLS too and to a backend that speaks TLS, and is ended when the agent is.
func TestServer_webSocket(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(echoes))
	t.Cleanup(secure.Close)
	for what, s := range map[string]*discovery.Service{
		"plain":              service("web", serving(t, echoes)),
		"kubernetes.io/ws":   speaking("kubernetes.io/ws", service("web", serving(t, echoes))),
		"a backend with TLS": speaking("https", service("web", secure.Listener.Addr().String())),
	} {
		t.Run(what, func(t *testing.T) {
			r, _ := one(t, s, nil)
			plain, err := net.Dial("tcp", r.http)
			if err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			over, err := tls.Dial("tcp", r.tls, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer over.Close()
			for _, c := range []net.Conn{plain, over} {
				from := bufio.NewReader(c)
				if _, err := io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(from, nil)
				if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
					t.Fatalf("got %v, %v, want the protocol switched", resp, err)
				}
				for _, line := range []string{"one\n", "two\n"} {
					if _, err := io.WriteString(c, line); err != nil {
						t.Fatal(err)
					}
					if got, err := from.ReadString('\n'); got != line {
						t.Fatalf("got %q, %v, want %q back", got, err, line)
					}
				}
			}
			if got := r.Metrics.of(in("all"), place{path: "/"}).inFlight.Load(); got != 2 {
				t.Errorf("got %d in flight, want the two connections", got)
			}
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			if got := r.Metrics.of(in("all"), place{path: "/"}).codes[1].Load(); got != 2 {
				t.Errorf("got %d answers of class 1xx, want the two connections", got)
			}
			if _, err := io.ReadAll(plain); err != nil {
				t.Errorf("the connection did not end: %v", err)
			}
		})
	}
}

// A client that stays on a connection whose backend has gone does not hold up the agent's end.
func TestServer_webSocketHalfClosed(t *testing.T) {
	r, _ := one(t, service("web", serving(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbye")
		_ = c.Close()
	})), nil)
	// Over TLS, as only such a connection can be closed one way.
	c, err := tls.Dial("tcp", r.tls, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(all), "bye") {
		t.Fatalf("got %q, %v, want what the backend said", all, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the end waits for a client that has nobody to talk to")
	}
}

// over2 is a client that speaks HTTP/2 and nothing else: over TLS, or without.
func (r *running) over2(t *testing.T, secure bool) *http.Client {
	c := r.client(t)
	tr := c.Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP2(secure)
	tr.Protocols.SetUnencryptedHTTP2(!secure)
	return c
}

func urlOf(secure bool) string {
	if secure {
		return "https://grpc.example.com/"
	}
	return "http://grpc.example.com/"
}

// What gRPC needs, from clients with TLS and without: HTTP/2 to the backend, messages both ways as they come, and trailers.
func TestServer_gRPC(t *testing.T) {
	back := h2cServing(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" {
			t.Errorf("the backend got %s with TE %q", r.Proto, r.Header.Get("Te"))
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		c := http.NewResponseController(w)
		_ = c.Flush()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			fmt.Fprintln(w, "got", lines.Text())
			_ = c.Flush()
		}
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", "unannounced")
	})
	for _, app := range []string{"grpc", "kubernetes.io/h2c"} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprint(app, secure), func(t *testing.T) {
				r, _ := one(t, speaking(app, service("web", back)), func(s *Server) { s.Answer = time.Nanosecond }) // a stream may be silent for long
				body, send := io.Pipe()
				req := request(t, "POST", urlOf(secure), body)
				req.Header.Set("Te", "trailers")
				req.Header.Set("Content-Type", "application/grpc")
				resp, err := r.over2(t, secure).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				from := bufio.NewReader(resp.Body)
				for _, message := range []string{"one", "two"} {
					fmt.Fprintln(send, message)
					if got, err := from.ReadString('\n'); got != "got "+message+"\n" {
						t.Fatalf("got %q, %v, want each message answered before the next is sent", got, err)
					}
				}
				send.Close()
				if _, err := io.ReadAll(from); err != nil {
					t.Fatal(err)
				}
				if resp.ProtoMajor != 2 || resp.Trailer.Get("Grpc-Status") != "0" || resp.Trailer.Get("Grpc-Message") != "unannounced" {
					t.Errorf("got %s and trailers %v, want HTTP/2 and both", resp.Proto, resp.Trailer)
				}
			})
		}
	}
}

// HTTP/2 from clients goes to backends that speak HTTP/1 only, and the other way round, and to those with TLS.
func TestServer_protocolsMix(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }
	secure := httptest.NewUnstartedServer(http.HandlerFunc(h))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for app, c := range map[string]struct{ at, want string }{
		"":                  {serving(t, h), "HTTP/1.1"},
		"http":              {serving(t, h), "HTTP/1.1"},
		"kubernetes.io/h2c": {h2cServing(t, h), "HTTP/2.0"},
		"https":             {secure.Listener.Addr().String(), "HTTP/2.0"},
	} {
		r, one := one(t, speaking(app, service("web", c.at)), nil)
		for what, client := range map[string]*http.Client{"HTTP/1": one, "h2": r.over2(t, true), "h2c": r.over2(t, false)} {
			if got := get(t, client, urlOf(what == "h2")); got.body != c.want {
				t.Errorf("%s to a backend with %q: got %q, want %q there", what, app, got.body, c.want)
			}
		}
	}
}

// What a backend says comes at once, be it little, and so do trailers and what is said before an answer.
func TestServer_streams(t *testing.T) {
	next := make(chan struct{})
	_, c := one(t, service("web", serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", "4")
		}
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "a\n")
		_ = http.NewResponseController(w).Flush()
		<-next
		_, _ = io.WriteString(w, "b\n")
	})), nil)
	for _, path := range []string{"events", "known"} {
		resp, err := c.Do(request(t, "GET", "http://h/"+path, nil))
		if err != nil {
			t.Fatal(err)
		}
		from := bufio.NewReader(resp.Body)
		for _, want := range []string{"a\n", "b\n"} {
			if got, err := from.ReadString('\n'); got != want {
				t.Fatalf("%s: got %q, %v, want %q before anything more is sent", path, got, err, want)
			}
			if want == "a\n" {
				next <- struct{}{}
			}
		}
		resp.Body.Close()
	}
}

// A backend may answer before it has read everything: both go on, and no byte of the request is lost.
func TestServer_bothWaysAtOnce(t *testing.T) {
	r, c := one(t, service("web", serving(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		_ = rc.Flush()
		for from := bufio.NewReader(r.Body); ; _ = rc.Flush() {
			line, err := from.ReadString('\n')
			if _, werr := io.WriteString(w, line); err != nil || werr != nil {
				return
			}
		}
	})), nil)
	talk := func(t *testing.T, c *http.Client, url string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		body, to := io.Pipe()
		defer to.Close()
		resp, err := c.Do(request(t, "POST", url, body).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		from := bufio.NewReader(resp.Body)
		for i := range 100 {
			line := strings.Repeat(strconv.Itoa(i), 100) + "\n"
			if _, err := io.WriteString(to, line); err != nil {
				t.Fatalf("line %d: %v", i, err)
			}
			if got, err := from.ReadString('\n'); got != line {
				t.Fatalf("line %d: got %q, %v, want it back", i, got, err)
			}
		}
		to.Close()
		if rest, err := io.ReadAll(from); len(rest) > 0 || err != nil {
			t.Errorf("then got %q, %v, want the end", rest, err)
		}
	}
	t.Run("HTTP/1", func(t *testing.T) { talk(t, c, "http://h/") })
	t.Run("HTTP/1 over TLS", func(t *testing.T) { talk(t, c, "https://h/") })
	t.Run("HTTP/2", func(t *testing.T) { // where a connection is not one request's, and goes on
		c := r.over2(t, true)
		var conns []net.Conn
		c.Transport = traced{c.Transport, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { conns = append(conns, i.Conn) }}}
		for range 2 {
			talk(t, c, urlOf(true))
		}
		if len(conns) != 2 || conns[0] != conns[1] {
			t.Errorf("got %d connections, not the same one twice", len(conns))
		}
	})
}

// traced is a transport whose requests are looked at.
type traced struct {
	http.RoundTripper
	by *httptrace.ClientTrace
}

func (r traced) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.RoundTripper.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), r.by)))
}

// A connection goes on being used where nothing of a request is left to come: whether the backend has read it, or there was none.
func TestServer_connectionsAreKept(t *testing.T) {
	r, _ := one(t, service("web", replica(t, "a")), nil)
	r.put(t, []*discovery.Service{service("web", replica(t, "a")), service("gone", nobody(t))},
		declared("all", 1, rule{"web/", "Prefix", "web"}, rule{"gone/", "Prefix", "gone"}))
	c, err := net.Dial("tcp", r.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(c)
	for host, want := range map[string]int{"web": http.StatusOK, "gone": http.StatusBadGateway} {
		for _, body := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "\r\n"} {
			if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+host+"\r\n"+body); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(from, nil)
			if err != nil || resp.StatusCode != want || resp.Close {
				t.Fatalf("%s, %q: got %v, %v, want %d and the connection kept", host, body, resp, err, want)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
	}
}

// A request's trailers reach the backend.
func TestServer_requestTrailers(t *testing.T) {
	_, c := one(t, service("web", serving(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Trailer.Get("Sum"))
	})), nil)
	req := request(t, "POST", "http://h/", io.MultiReader(strings.NewReader("body")))
	req.Trailer = http.Header{"Sum": {"42"}}
	if got := ask(t, c, req); got.body != "42" {
		t.Errorf("the backend got the trailer %q, want 42", got.body)
	}
}

// Of a Service's ports it is the one that the rule names, and of an endpoint's addresses the one that this host reaches it by.
func TestServer_portsAndAddresses(t *testing.T) {
	named, numbered := replica(t, "named"), replica(t, "numbered")
	s := service("web", numbered)
	there := endpoint(nobody(t))
	there.Host, there.Local = "here", endpoint(named).Address
	s.Ports = append(s.Ports, discovery.Port{Name: "admin", Protocol: corev1.ProtocolTCP, Port: 9090, Endpoints: []discovery.Endpoint{there}})
	r := start(t, nil)
	i := declared("a", 1, rule{"number/", "Prefix", "web"}, rule{"name/", "Prefix", "web"}, rule{"no-port/", "Prefix", "web"}, rule{"external/", "Prefix", "external"})
	port := func(n int) *string { return &i.Spec.Rules[n].HTTP.Paths[0].Backend.Service.Port.Name }
	number := func(n int) *int32 { return &i.Spec.Rules[n].HTTP.Paths[0].Backend.Service.Port.Number }
	*port(1), *number(1) = "admin", 0
	*number(2) = 1
	external := &discovery.Service{Name: in("external"), Spec: &corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"}}
	*number(3) = int32(endpoint(numbered).Address.Port())
	r.put(t, []*discovery.Service{s, external}, i)
	c := r.client(t)
	for host, want := range map[string]string{"number": "numbered", "name": "named", "no-port": "", "external": ""} {
		if got := get(t, c, "http://"+host+"/").Header.Get("X-Served-By"); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

// A name outside of the cluster leads nowhere that only this host may go, whatever it resolves to.
func TestDial_externalNames(t *testing.T) {
	at := replica(t, "here")
	port := strconv.Itoa(int(endpoint(at).Address.Port()))
	names := map[string][]netip.Addr{"localhost": {netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}}
	s := &Server{Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
		if all := names[name]; len(all) > 0 {
			return all, nil
		}
		return nil, errors.New("not on the list")
	}}
	if c, err := s.dial(t.Context(), "tcp", at); err != nil {
		t.Errorf("a replica on the loopback: %v", err)
	} else {
		c.Close()
	}
	if c, err := s.dial(t.Context(), "tcp", net.JoinHostPort("localhost", port)); err == nil {
		c.Close()
		t.Error("the loopback is reached by a name")
	} else if !errors.As(err, new(dialError)) || !strings.Contains(err.Error(), "for this host alone") {
		t.Errorf("got %v", err)
	}
	for address, want := range map[string]bool{"192.0.2.1:80": true, "[2001:db8::1]:80": true, "127.0.0.9:80": false, "[::1]:80": false,
		"[::ffff:127.0.0.1]:80": false, "0.0.0.0:80": false, "169.254.169.254:80": false, "[fe80::1]:80": false, "224.0.0.1:80": false} {
		if err := outside("tcp", address, nil); (err == nil) != want {
			t.Errorf("%s: got %v", address, err)
		}
	}
	web := &discovery.Service{Name: in("web"), Spec: &corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "127.0.0.1"}}
	r := Route{Service: web.Name, PortNumber: 80}
	if why := r.why(discovery.NewTable([]*discovery.Service{web}, nil)); !strings.Contains(why, "Endpoints") {
		t.Errorf("of an address that is no name it is said %q", why)
	}
}

// The name of an ExternalName Service is looked up as containers look it up, and never by the host itself, which knows more names. Of its addresses the first that
// answers is taken.
func TestServer_externalNameIsLookedUp(t *testing.T) {
	l, err := net.Listen("tcp", net.JoinHostPort(address(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "there") })}
	served := make(chan error, 1)
	go func() { served <- backend.Serve(l) }()
	defer func() { backend.Close(); <-served }()
	here := netip.MustParseAddrPort(l.Addr().String())

	r := start(t, func(s *Server) {
		s.Lookup = func(_ context.Context, name string) ([]netip.Addr, error) {
			if name == "web.default.svc.cluster.local" {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1"), here.Addr()}, nil
			}
			return nil, errors.New("not on the list")
		}
	})
	external := func(name, to string) *discovery.Service {
		return &discovery.Service{Name: in(name), Spec: &corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: to}}
	}
	i := declared("a", 1, rule{"known/", "Prefix", "known"}, rule{"unknown/", "Prefix", "unknown"})
	for n := range i.Spec.Rules {
		i.Spec.Rules[n].HTTP.Paths[0].Backend.Service.Port.Number = int32(here.Port())
	}
	r.put(t, []*discovery.Service{external("known", "web.default.svc.cluster.local"), external("unknown", "elsewhere.example.com")}, i)
	c := r.client(t)
	if got := get(t, c, "http://known/"); got.body != "there" {
		t.Errorf("a name that is known: got %d %q", got.StatusCode, got.body)
	}
	if got := get(t, c, "http://unknown/"); got.StatusCode != http.StatusBadGateway {
		t.Errorf("a name that is not: got %d %q", got.StatusCode, got.body)
	}
	if _, err := new(Server).dial(t.Context(), "tcp", net.JoinHostPort("localhost", "80")); !errors.As(err, new(dialError)) || !strings.Contains(err.Error(), "nobody is there to ask") {
		t.Errorf("without anybody who looks up names: got %v", err)
	}
}

// address is one of this machine that is not its loopback's.
func address(t testing.TB) string {
	t.Helper()
	c, err := net.Dial("udp", "192.0.2.1:9") // which sends nothing
	if err != nil {
		t.Fatalf("an address of this machine that is not its loopback's: %v", err)
	}
	defer c.Close()
	return netip.MustParseAddrPort(c.LocalAddr().String()).Addr().String()
}
