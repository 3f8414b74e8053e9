package api

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// replica is what a container listens with: it hears out, and then says how much it has heard; "drop" makes it break off.
type replica struct {
	net.Listener
	gone chan struct{} // gets one for each connection that is over
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{l, make(chan struct{}, 100)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { c.Close(); r.gone <- struct{}{} }()
				fmt.Fprint(c, "hello\n")
				b, err := io.ReadAll(io.TeeReader(c, dropper{c}))
				if err == nil {
					fmt.Fprintf(c, "heard %d", len(b))
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return r
}

// dropper closes a connection once it is told to.
type dropper struct{ net.Conn }

func (d dropper) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "drop") {
		d.Conn.Close()
	}
	return len(b), nil
}

func (r *replica) addr() netip.AddrPort { return r.Listener.Addr().(*net.TCPAddr).AddrPort() }

// run makes it the container of pod web-N on a host.
func (r *replica) run(a *agent, n int, host, ip string) {
	p := projection.Pod{Namespace: "default", Deployment: "web", Ordinal: n}
	port := int(r.addr().Port())
	a.observe(p, host, &projection.Replica{Placement: a.place(p, host, "test"), Phase: projection.Running, Container: "c0ffee", IP: ip,
		Ports: []projection.Port{{Name: "http", Container: port, Host: port, HostIP: "127.0.0.1", Protocol: "TCP"}}})
}

// tables has one table, whatever the state.
type tables struct{ one *discovery.Table }

func (t tables) Of(*projection.State) *discovery.Table { return t.one }
func (t tables) Changes(_, _ *discovery.Table) (services, ingresses []discovery.Name) {
	return nil, nil
}

func connect(t *testing.T, a *agent, ctx context.Context, what string) (*client.Stream, error) {
	t.Helper()
	c, err := client.New(a.http.URL, "test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Connect(ctx, "/swarm/v1/forward/default/"+what, ForwardProtocol)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// The end of what a client sends reaches the replica, whose answer still comes; by pod, Deployment and Service, by name and by number.
func TestForward_bytesBothWaysAndTheirEnds(t *testing.T) {
	r := newReplica(t)
	a := start(t, t.TempDir())
	a.join("h1", "h2")
	a.want(200, "POST", apply, deployment("web", 2, "w"))
	r.run(a, 0, "h1", "127.0.0.1")
	r.run(a, 1, "h2", "10.88.0.9") // not to be reached from here but by its host's port
	port := r.addr().Port()
	a.Server.Discovery = tables{discovery.NewTable([]*discovery.Service{{Name: discovery.Name{Namespace: "default", Name: "web"}, Spec: &corev1.ServiceSpec{},
		Ports: []discovery.Port{{Name: "http", Protocol: "TCP", Port: 80, Endpoints: []discovery.Endpoint{
			{Address: netip.MustParseAddrPort("127.0.0.1:1"), Host: "h2"},
			{Address: r.addr(), Host: "h2", Pod: projection.Pod{Namespace: "default", Deployment: "web", Ordinal: 1}, Ready: true}}}}}}, nil)}
	for _, what := range []string{fmt.Sprintf("pod/web-0/%d", port), "pod/web-1/http", "deployment/web/http", "service/web/80", "service/web/http"} {
		s, err := connect(t, a, t.Context(), what)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		_, err1 := fmt.Fprint(s, strings.Repeat("x", 100_000))
		b, err2 := []byte(nil), s.CloseWrite()
		if err := errors.Join(err1, err2); err == nil {
			b, err2 = io.ReadAll(s)
		}
		if string(b) != "hello\nheard 100000" || err1 != nil || err2 != nil {
			t.Errorf("%s: got %q, %v, %v", what, b, err1, err2)
		}
		<-r.gone
	}
	if got := a.want(200, "GET", "/swarm/v1/forward/default/pod/web-1/http", ""); got.field("pod") != "web-1" || got.field("host") != "h2" || got.field("address") != r.addr().String() {
		t.Errorf("got %s", got.body)
	}
}

func TestForward_saysWhyNot(t *testing.T) {
	r := newReplica(t)
	a := start(t, t.TempDir())
	a.join("h1", "h2")
	a.want(200, "POST", apply, deployment("web", 3, "w"))
	r.run(a, 0, "h1", "127.0.0.1")
	r.run(a, 1, "h2", "10.88.0.9")
	for _, c := range []struct {
		code      int
		what, why string
	}{
		{404, "pod/web-7/80", "not found"}, {404, "deployment/none/80", "not found"}, {404, "service/web/80", "not found"}, {400, "node/h1/80", "want service, pod or deployment"},
		{400, "pod/web-1/81", "host h2, which publishes port 81 nowhere: it declares"}, {400, "pod/web-0/metrics", `no TCP port "metrics"`}, {400, "pod/web-0/70000", "no TCP port"},
		{502, "pod/web-0/1", "port 1 of web-0 on host h1 cannot be reached at 127.0.0.1:1"},
	} {
		_, err := connect(t, a, t.Context(), c.what)
		var status *client.StatusError
		if !errors.As(err, &status) || status.Code != c.code || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got %v, want %d %q", c.what, err, c.code, c.why)
		}
	}
	a.observe(projection.Pod{Namespace: "default", Deployment: "web", Ordinal: 0}, "h1", nil)
	a.observe(projection.Pod{Namespace: "default", Deployment: "web", Ordinal: 1}, "h2", nil)
	if _, err := connect(t, a, t.Context(), "deployment/web/http"); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("got %v", err)
	}
	if got := a.want(426, "POST", "/swarm/v1/forward/default/pod/web-0/80", ""); !strings.Contains(string(got.body), ForwardProtocol) {
		t.Errorf("got %s", got.body)
	}
	hand := discovery.Port{Protocol: "TCP", Port: 80, Endpoints: []discovery.Endpoint{{Address: r.addr(), Ready: true}}}
	a.Server.Discovery = tables{discovery.NewTable([]*discovery.Service{{Name: discovery.Name{Namespace: "default", Name: "web"}, Spec: &corev1.ServiceSpec{}, Ports: []discovery.Port{hand}}}, nil)}
	if _, err := connect(t, a, t.Context(), "service/web/80"); err == nil || !strings.Contains(err.Error(), "no ready endpoint") {
		t.Errorf("an endpoint by hand that is the agent's own host: got %v", err)
	}
}

// Whoever goes away first, the other end is told, and nothing of the agent is left.
func TestForward_eitherEndGoes(t *testing.T) {
	r := newReplica(t)
	a := start(t, t.TempDir())
	a.join("h1")
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	r.run(a, 0, "h1", "127.0.0.1")
	open := func() *client.Stream {
		s, err := connect(t, a, t.Context(), "pod/web-0/http")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	s.Close()
	<-r.gone
	s = open()
	fmt.Fprint(s, "drop")
	if b, err := io.ReadAll(s); len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
	<-r.gone
	s = open()
	a.stop() // with the connection open
	if b, err := io.ReadAll(s); len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
	<-r.gone
}

func TestForward_takesScopeWrite(t *testing.T) {
	a := start(t, t.TempDir())
	read, team := a.token(`{"name":"r","scope":"read"}`), a.token(`{"name":"t","scope":"write","namespaces":["team"]}`)
	o := a.listen()
	for _, c := range []struct {
		token, path string
		want        int
	}{{read, "team/pod/web-0/80", 403}, {team, "default/pod/web-0/80", 403}, {team, "team/pod/web-0/80", 404}} {
		if got := o.ask(nil, c.token, "GET", "/swarm/v1/forward/"+c.path, ""); got.code != c.want {
			t.Errorf("%s: got %d %s, want %d", c.path, got.code, got.body, c.want)
		}
	}
}

// From another host it goes over TLS, as HTTP/1.1, also where there is HTTP/2; and it ends with the token that it was asked by.
func TestForward_overTLS(t *testing.T) {
	r := newReplica(t)
	a := start(t, t.TempDir())
	a.join("h1")
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	r.run(a, 0, "h1", "127.0.0.1")
	o := a.listen()
	c, err := client.New(o.url, "test")
	if err == nil {
		c, err = c.With(client.Access{Token: a.token(`{"name":"w","scope":"write"}`), CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.ca.cert.Raw})})
	}
	if err != nil {
		t.Fatal(err)
	}
	open := func() *client.Stream {
		s, err := c.Connect(t.Context(), "/swarm/v1/forward/default/pod/web-0/http", ForwardProtocol)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	s := open()
	_, err1 := fmt.Fprint(s, "abc")
	err2 := s.CloseWrite()
	if b, err := io.ReadAll(s); string(b) != "hello\nheard 3" || errors.Join(err, err1, err2) != nil {
		t.Errorf("got %q, %v", b, errors.Join(err, err1, err2))
	}
	<-r.gone
	s = open()
	a.want(200, "DELETE", "/swarm/v1/tokens/w", "")
	if b, _ := io.ReadAll(s); string(b) != "hello\n" {
		t.Errorf("got %q", b)
	}
	<-r.gone
	if _, err := c.Connect(t.Context(), "/swarm/v1/forward/default/pod/web-0/http", ForwardProtocol); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("got %v", err)
	}
}

// A replica in the network of its host is reached at the host's address, and never at its loopback: there the agent's own API listens, which
// trusts whoever comes from there with everything.
func TestForward_hostNetwork(t *testing.T) {
	r := newReplica(t)
	a := start(t, t.TempDir())
	a.join("h1", "h2")
	a.want(200, "POST", apply, strings.Replace(deployment("web", 3, "w"), "    spec:\n", "    spec:\n      hostNetwork: true\n", 1))
	r.run(a, 0, "h1", "")
	r.run(a, 1, "h2", "")
	port := int(r.addr().Port())
	hand := func(n int, host string) discovery.Endpoint {
		return discovery.Endpoint{Address: r.addr(), Local: r.addr(), Host: host, Pod: projection.Pod{Namespace: "default", Deployment: "web", Ordinal: n}, Ready: true}
	}
	a.Server.Discovery = tables{discovery.NewTable([]*discovery.Service{{Name: discovery.Name{Namespace: "default", Name: "web"}, Spec: &corev1.ServiceSpec{},
		Ports: []discovery.Port{{Protocol: "TCP", Port: 80, Endpoints: []discovery.Endpoint{hand(0, "h1"), hand(7, "h1")}}}}}, nil)}
	for _, what := range []string{"pod/web-0/http", "pod/web-1/http", "deployment/web/http"} {
		if got := a.want(200, "GET", "/swarm/v1/forward/default/"+what, "").field("address"); got != fmt.Sprintf("10.0.0.1:%d", port) {
			t.Errorf("%s: got %s, want the host's address", what, got)
		}
	}
	a.want(503, "GET", "/swarm/v1/forward/default/service/web/80", "")
	for _, address := range []string{"", "127.0.0.1", "::1", "0.0.0.0", "169.254.1.1", "::ffff:127.0.0.1"} {
		a.say("h1", projection.Host{Address: address})
		if got := a.want(503, "GET", "/swarm/v1/forward/default/pod/web-0/http", ""); !strings.Contains(got.field("message"), "address") {
			t.Errorf("%s: got %s", address, got.body)
		}
	}
}
