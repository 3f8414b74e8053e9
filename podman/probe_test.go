package podman

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podman-swarm/podman-swarm/projection"
)

// at is a target whose program listens on the address.
func at(t *testing.T, address string) (*target, intstr.IntOrString) {
	t.Helper()
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return &target{prober: newProber(nil, nil), ip: a.Addr().String(), names: map[string]int{"http": int(a.Port())}}, intstr.FromInt(int(a.Port()))
}

func TestTarget_get(t *testing.T) {
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "example.com" || r.Header.Get("X-Probe") != "yes" || r.URL.RawQuery != "a=b" {
			http.Error(w, "got "+r.Host+" "+r.Header.Get("X-Probe")+" "+r.URL.RawQuery, http.StatusTeapot)
		}
	})
	mux.HandleFunc("/plain", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/there", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/bad", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
	})
	mux.HandleFunc("/hang", func(http.ResponseWriter, *http.Request) { <-release })
	plain, sealed := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	defer plain.Close()
	defer sealed.Close()
	defer close(release)
	here, port := at(t, plain.Listener.Addr().String())
	secure, securePort := at(t, sealed.Listener.Addr().String())
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody, nobodyPort := at(t, closed.Addr().String())
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	headers := []corev1.HTTPHeader{{Name: "Host", Value: "example.com"}, {Name: "x-probe", Value: "yes"}}
	for _, c := range []struct {
		target *target
		get    corev1.HTTPGetAction
		want   string
	}{
		{here, corev1.HTTPGetAction{Path: "/ok?a=b", Port: port, HTTPHeaders: headers}, ""},
		{here, corev1.HTTPGetAction{Path: "/plain", Port: intstr.FromString("http")}, ""},
		{here, corev1.HTTPGetAction{Path: "/plain", Port: intstr.FromString("none")}, `the container has no port named "none"`},
		{here, corev1.HTTPGetAction{Path: "/bad", Port: port}, "HTTP 503 from /bad"},
		{here, corev1.HTTPGetAction{Path: "/there", Port: port}, "HTTP 503 from /there"},
		{here, corev1.HTTPGetAction{Path: "/away", Port: port}, ""},
		{secure, corev1.HTTPGetAction{Path: "/plain", Port: securePort, Scheme: corev1.URISchemeHTTPS}, ""},
		{here, corev1.HTTPGetAction{Path: "/plain", Host: "127.0.0.1", Port: securePort, Scheme: corev1.URISchemeHTTPS}, ""},
		{nobody, corev1.HTTPGetAction{Path: "/plain", Port: nobodyPort}, "connection refused at " + closed.Addr().String()},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		got := ""
		if err := c.target.get(ctx, &c.get); err != nil {
			got = err.Error()
		}
		cancel()
		if got != c.want {
			t.Errorf("GET %s: got %q, want %q", c.get.Path, got, c.want)
		}
	}
	err = within(t.Context(), 50*time.Millisecond, func(ctx context.Context) error {
		return here.get(ctx, &corev1.HTTPGetAction{Path: "/hang", Port: port})
	})
	if err == nil || err.Error() != "no answer from /hang in time" {
		t.Errorf("who never answers: got %v", err)
	}
	if err := here.dial(t.Context(), &corev1.TCPSocketAction{Port: port}); err != nil {
		t.Errorf("connect: %v", err)
	}
	if err := nobody.dial(t.Context(), &corev1.TCPSocketAction{Port: nobodyPort}); err == nil || !strings.HasPrefix(err.Error(), "connection refused at ") {
		t.Errorf("connect to nobody: got %v", err)
	}
}

func TestTarget_address(t *testing.T) {
	p := &pod{one: &corev1.Container{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}}}
	published := []projection.Port{{Container: 53, Host: 20001, Protocol: "UDP"}, {Container: 80, Host: 20002, Protocol: "TCP"},
		{Container: 81, Host: 20003, HostIP: "192.0.2.7", Protocol: "TCP"}}
	for _, c := range []struct {
		ip, host    string
		hostNetwork bool
		port        intstr.IntOrString
		want        string
	}{
		{"10.88.0.2", "", false, intstr.FromInt(8080), "10.88.0.2:8080"},
		{"10.88.0.2", "", false, intstr.FromString("http"), "10.88.0.2:80"},
		{"10.88.0.2", "192.0.2.1", false, intstr.FromString("http"), "192.0.2.1:80"},
		{"", "", true, intstr.FromString("http"), "127.0.0.1:80"},
		{"", "", false, intstr.FromString("http"), "127.0.0.1:20002"}, // a Podman without root
		{"", "", false, intstr.FromInt(81), "192.0.2.7:20003"},
		{"", "", false, intstr.FromInt(53), ""},
		{"fd00::2", "", false, intstr.FromInt(80), "[fd00::2]:80"},
	} {
		p.spec.HostNetwork = c.hostNetwork
		r := &projection.Replica{IP: c.ip, Ports: published}
		target := newProber(nil, nil).targetOf(p, r, r)
		if got, err := target.address(c.host, c.port); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}

func TestTellable(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"as it is: é", "as it is: é"},
		{"two\nlines\x00\x1b[31m", "two lines  [31m"},
		{"\xff", "\ufffd"},
		{"123456789012345678é", "123456789012345678é"},
		{"1234567890123456789é", "1234567890123456789…"},
	} {
		if got := tellable(c.text, 20); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

// What is to be done before the stop is asked where it was meant, with nothing to go by but the container's label: of one that has its
// host's network, Podman knows neither address nor ports.
func TestPod_preStopOfHostNetwork(t *testing.T) {
	asked := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer srv.Close()
	_, port := at(t, srv.Listener.Addr().String())
	p := &pod{one: &corev1.Container{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: port.IntVal}},
		Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/leave", Port: intstr.FromString("http")}}}}}
	p.spec.HostNetwork = true
	text, err := p.preStop()
	if err != nil {
		t.Fatal(err)
	}
	stopping := &turn{crew: &crew{prober: newProber(nil, nil)}}
	if err := stopping.beforeStop(t.Context(), &Container{ID: "c"}, text, time.Minute); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if got := <-asked; got != "/leave" {
		t.Errorf("asked for %q", got)
	}
	if get := p.one.Lifecycle.PreStop.HTTPGet; get.Host != "" || get.Port.StrVal != "http" {
		t.Errorf("what is declared is %+v now", get)
	}
}
