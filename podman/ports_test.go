package podman

import (
	"net"
	"testing"

	"github.com/podman-swarm/podman-swarm/projection"
)

func TestPortBook(t *testing.T) {
	b := newPortBook()
	b.free = func(_, _ string, port int) bool { return port%2 == 0 }
	p := parsed(t, templateOf(t, `[ports: [{containerPort: 80, name: http}, {containerPort: 53, protocol: UDP}, {containerPort: 443, hostPort: 8443, hostIP: 127.0.0.1}]]`))
	ports, err := b.choose(p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(ports) != 3 || ports[0].Name != "http" || ports[0].Protocol != "TCP" || ports[1].Protocol != "UDP" ||
		ports[2].Host != 8443 || ports[2].HostIP != "127.0.0.1" {
		t.Errorf("got %+v", ports)
	}
	for _, port := range ports[:2] {
		if port.Host < firstPort || port.Host > lastPort || port.Host%2 != 0 {
			t.Errorf("got host port %d, want one that is free", port.Host)
		}
	}
	if again, err := b.choose(p, ports, nil); err != nil || again[0].Host != ports[0].Host || again[1].Host != ports[1].Host {
		t.Errorf("again: got %+v, %v; want %+v", again, err, ports)
	}
	if other, err := b.choose(p, ports, map[int]bool{ports[0].Host: true}); err != nil || other[0].Host == ports[0].Host {
		t.Errorf("without %d: got %+v, %v", ports[0].Host, other, err)
	}
	another := projection.Pod{Namespace: "default", Deployment: "other"}
	b.keep(web0, nil)
	b.keep(another, ports)
	if third, err := b.choose(p, ports, nil); err != nil || third[0].Host == ports[0].Host || third[1].Host == ports[1].Host {
		t.Errorf("while another pod has them: got %+v, %v", third, err)
	}
	b.free = func(string, string, int) bool { return false }
	if _, err := b.choose(p, nil, nil); err == nil {
		t.Error("all ports are in use, and one was chosen")
	}
}

func TestPortBook_others(t *testing.T) {
	b := newPortBook()
	b.free = func(_, _ string, port int) bool { return port != 8080 }
	for spec, want := range map[string]bool{
		`[ports: [{containerPort: 80}]]`:                                         true,
		`[ports: [{containerPort: 80, hostPort: 8081}, {containerPort: 9100}]]`:  true,
		`[ports: [{containerPort: 80, hostPort: 8080}, {containerPort: 9100}]]`:  false,
		`[ports: [{containerPort: 80, hostPort: 8081}]]`:                         false,
		`{spec: {hostNetwork: true}, container: {ports: [{containerPort: 80}]}}`: false,
		`[image: it-has-none]`: false,
	} {
		if got := b.others(parsed(t, templateOf(t, spec))); got != want {
			t.Errorf("%s: got %v, want %v", spec, got, want)
		}
	}
}

func TestFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if free("TCP", "", port) || free("TCP", "127.0.0.1", port) {
		t.Error("a port that somebody listens on counts as free")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !free("TCP", "", port) {
		t.Error("a port that nobody listens on counts as taken")
	}
}
