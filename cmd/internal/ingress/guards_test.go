package ingress

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// Who asks is whom the last proxy that is trusted names, as far as that can be read; what others name counts for nothing.
func TestServer_clientOf(t *testing.T) {
	s := &Server{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, c := range []struct {
		peer, via, want string
	}{
		{"192.0.2.1:1", "6.6.6.6", "192.0.2.1"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "6.6.6.6", "6.6.6.6"},
		{"10.0.0.1:1", "6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7"},
		{"10.0.0.1:1", "6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"},
		{"10.0.0.1:1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"[::ffff:10.0.0.1]:1", "::ffff:6.6.6.6", "6.6.6.6"},
		{"a folder's socket", "6.6.6.6", "0.0.0.0"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": {c.via}}}
		if got := s.clientOf(r).String(); got != c.want {
			t.Errorf("from %s, via %q: got %s, want %s", c.peer, c.via, got, c.want)
		}
	}
}

// Each header by which a backend may believe a stranger is known for that, however it is written.
func TestAbout(t *testing.T) {
	for name, want := range map[string]bool{"Forwarded": true, "X-Real-Ip": true, "X_real_ip": true, "X-Original-Url": true, "X-Original-Uri": true, "X-Rewrite-Url": true,
		"X-Scheme": true, "Front-End-Https": true, "X-Forwarded-Anything": true, "X_forwarded_for": true, "X-Mine": false, "X_mine": false, "Forwarded-By": false} {
		if got := about(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// A listener has its limits, so that nobody holds what others need.
func TestServer_limits(t *testing.T) {
	srv := (&Server{Source: newSource()}).server().http(t.Context())
	if srv.ReadHeaderTimeout <= 0 || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes <= 0 || srv.MaxHeaderBytes > 1<<20 {
		t.Errorf("header %v and %d bytes, idle %v: want a limit to each", srv.ReadHeaderTimeout, srv.MaxHeaderBytes, srv.IdleTimeout)
	}
	if srv.ReadTimeout != 0 || srv.WriteTimeout != 0 {
		t.Error("streams end with a time-out")
	}
}

// Who connects when as many are connected as may be waits, and is answered once there is room.
func TestServer_boundsConnections(t *testing.T) {
	var under, most atomic.Int32
	two := make(chan struct{}, 2)
	r, c := one(t, service("web", serving(t, func(w http.ResponseWriter, r *http.Request) {
		if n := under.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer under.Add(-1)
		two <- struct{}{}
		for end := time.After(200 * time.Millisecond); len(two) < 2; { // time enough for the other to come, if it may
			select {
			case <-end:
				<-two
				return
			case <-time.After(time.Millisecond):
			}
		}
	})), func(s *Server) { s.Connections = 1 })
	c.Transport.(*http.Transport).DisableKeepAlives = true
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if got := get(t, c, "http://h/"); got.StatusCode != 200 {
				t.Errorf("got %d", got.StatusCode)
			}
		})
	}
	both.Wait()
	if n := most.Load(); n != 1 || r.Connections != 1 {
		t.Errorf("%d connections at once, want no more than one", n)
	}
}

// An endpoint that could not be reached is passed over for longer each time, up to a limit; and when that is over one request tries, not all.
func TestEndpointState_pauses(t *testing.T) {
	e := &endpointState{}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 16} {
		began := time.Now()
		if got, first := e.unreachable(began); got != want*time.Second || first != (i == 0) {
			t.Errorf("got %v, the first: %v; want %d s", got, first, want)
		}
		if got, first := e.unreachable(began); got != want*time.Second || first { // another that tried at the same time
			t.Errorf("once more at the same time: got %v, the first: %v; want %d s still", got, first, want)
		}
	}
	e.failed.Store(1 << 30)
	if got := e.pause(); got != passedOverAtMost {
		t.Errorf("after many times: got %v, want %v", got, passedOverAtMost)
	}
	now := time.Now().UnixNano()
	e.dead.Store(now)
	if !e.alive(now) || e.alive(now) {
		t.Error("when the time was over none tried, or more than one")
	}
	if e.reached(); !e.alive(now) || e.pause() != time.Second {
		t.Error("one that was reached is still passed over")
	}
}

// A name outside of the cluster without a port leads nowhere, and nor does an address that is no name.
func TestNewPool_externalName(t *testing.T) {
	for _, c := range []struct {
		name string
		port int32
		want bool
	}{{"example.com", 80, true}, {"example.com", 0, false}, {"127.0.0.1", 80, false}, {"169.254.169.254", 80, false}} {
		s := &discovery.Service{Name: in("web"), Spec: &corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: c.name}}
		if p := newPool(s, poolKey{service: s.Name, number: c.port}, "here", nil); (p != nil) != c.want {
			t.Errorf("%s port %d: got %v", c.name, c.port, p)
		}
	}
}

// A Secret is asked for once in a while, and not with each client; a version that is known is not read anew.
func TestCertificate_isNotAskedForEachClient(t *testing.T) {
	certPEM, keyPEM := pair(t, "a.com")
	asked, version, wrong := 0, "1", error(nil)
	secret := func(string, string) ([]byte, []byte, string, error) { asked++; return certPEM, keyPEM, version, wrong }
	c := &certificate{of: declared("a", 1)}
	log := slog.New(slog.DiscardHandler)
	first := c.current(secret, time.Hour, log)
	if first == nil || c.current(secret, time.Hour, log) != first || asked != 1 {
		t.Errorf("asked %d times by two clients, want once", asked)
	}
	if c.current(secret, 0, log) != first || asked != 2 {
		t.Errorf("a version that is known was read anew, or not asked for (%d times)", asked)
	}
	version, wrong = "2", errors.New("away")
	if c.current(secret, 0, log) != first {
		t.Error("the certificate is gone with its Secret")
	}
}
