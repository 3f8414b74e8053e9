package mesh

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Whoever must not get in gets no route, and both sides are told why.
func TestMesh_refuses(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	both := newAuthority(t) // the stranger trusts us, and we do not trust it: that shows only after its handshake
	both.pool = ours.pool
	for _, c := range []struct {
		name         string
		stranger     *Mesh
		here, there  string // what the logs say
		reason       string
		alsoByDialer bool // we learn of it as well when it is we who dial
	}{
		{"certificateOfAnotherAuthority", &Mesh{Node: "x", TLS: theirs.node(t, "x")},
			"remote error: tls: bad certificate", "certificate signed by unknown authority", refusedTLS, true},
		{"certificateThatOnlyWeDoNotTrust", &Mesh{Node: "x", TLS: both.node(t, "x")},
			"certificate signed by unknown authority", "remote error: tls: unknown certificate authority", refusedTLS, false},
		{"otherCluster", &Mesh{Node: "x", Cluster: "other", TLS: ours.node(t, "x")},
			`cluster name \"other\" does not match \"test\"`, `its cluster is \"test\", ours is \"other\"`, refusedCluster, true},
		{"noTLS", &Mesh{Node: "x"}, "tls: first record does not look like a TLS handshake", "", refusedHello, true},
		{"sameName", &Mesh{Node: "host0", TLS: ours.node(t, "host0")},
			"it has the name of this host", "another host has the name of this one", refusedName, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := run(t, &Mesh{Node: "host0", TLS: ours.node(t, "host0")})
			c.stranger.Peers = []string{h.Advertised()}
			x := run(t, c.stranger)
			until(t, "our log says why", func() bool { return h.lines.has(c.here) })
			until(t, "its log says why", func() bool { return x.lines.has(c.there) })
			until(t, "it is counted", func() bool { return h.Stats().Refused[c.reason] > 0 })
			friend := run(t, &Mesh{Node: "host1", TLS: ours.node(t, "host1"), Peers: []string{h.Advertised()}})
			meshed(t, h, friend)
			for _, host := range []*host{h, friend} {
				if got := host.peers(); strings.Contains(got, "x") {
					t.Errorf("%s has a route to the stranger", host.Node)
				}
			}
			if n := strings.Count(withLevel(h.lines.String(), "WARN"), c.reason); n > 1 {
				t.Errorf("said %d times at level WARN, want once", n)
			}
		})
	}
}

func withLevel(text, level string) string {
	var with []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "level="+level) {
			with = append(with, line)
		}
	}
	return strings.Join(with, "")
}

// A host whose name is taken, and which meets a third one first.
func TestMesh_twinsSeenByAThird(t *testing.T) {
	a := newAuthority(t)
	first := run(t, &Mesh{Node: "twin", TLS: a.node(t, "twin")})
	third := run(t, &Mesh{Node: "third", TLS: a.node(t, "third"), Peers: []string{first.Advertised()}})
	meshed(t, first, third)
	second := run(t, &Mesh{Node: "twin", TLS: a.node(t, "twin"), Peers: []string{third.Advertised()}})
	for _, h := range []*host{first, second, third} {
		until(t, h.Node+" says so", func() bool {
			errors := withLevel(h.lines.String(), "ERROR")
			return strings.Contains(errors, "name")
		})
	}
	if got := third.Stats().Connects; got > 2 {
		t.Errorf("the third counts %d connects for its two routes", got)
	}
}

// The listener behind the front is NATS's own: who finds it on this machine has won nothing.
func TestMesh_backDoorsAreShut(t *testing.T) {
	a := newAuthority(t)
	h := run(t, &Mesh{Node: "host0", TLS: a.node(t, "host0")})
	for _, c := range []struct{ name, addr, says, want string }{
		{"route", h.server.ClusterAddr().String(), "INFO {\"server_id\":\"x\",\"cluster\":\"test\"}\r\nCONNECT {\"cluster\":\"test\"}\r\nPING\r\n", ""},
		{"client", h.server.Addr().String(), "CONNECT {}\r\nPING\r\n", "Authorization Violation"},
		{"clientWithAKeyOfItsOwn", h.server.Addr().String(), "CONNECT {\"nkey\":\"UAEX\",\"sig\":\"x\"}\r\nPING\r\n", "Authorization Violation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", c.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, c.says); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(conn) // until it is closed
			if !strings.Contains(string(got), c.want) || strings.Contains(string(got), "PONG") || c.want == "" && strings.Contains(string(got), "INFO") {
				t.Errorf("got %q, want it to end with %q", got, c.want)
			}
		})
	}
	without := a.node(t, "x")
	without.GetClientCertificate = nil
	conn, err := tls.Dial("tcp", h.server.ClusterAddr().String(), without)
	if err == nil {
		defer conn.Close()
		_, err = bufio.NewReader(conn).ReadString('\n')
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: got %v, want that one is required", err)
	}
	if len(h.Routes()) > 0 {
		t.Errorf("a stranger has a route: %+v", h.Routes())
	}
}

func TestOpen_refusesWhatCannotWork(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		mesh *Mesh
		want string
	}{
		{&Mesh{Cluster: "test", Node: "a", Addr: "0.0.0.0:0"}, "no TLS, but 0.0.0.0:0 is not a loopback address"},
		{&Mesh{Cluster: "test", Node: "a", Addr: ":0"}, "is not a loopback address"},
		{&Mesh{Cluster: "a.b", Node: "a"}, `cluster name "a.b"`},
		{&Mesh{Cluster: "test"}, "the host has no name"},
		{&Mesh{Cluster: "test", Node: "a", Peers: []string{"x:1"}}, "no address of our own"},
		{&Mesh{Cluster: "test", Node: "a", Addr: "127.0.0.1:0", Peers: []string{"x"}}, `peer "x": want HOST:PORT`},
		{&Mesh{Cluster: "test", Node: "a", Addr: "127.0.0.1:0", Advertise: "x:0"}, "advertise to"},
		{&Mesh{Cluster: "test", Node: "a", Addr: taken.Addr().String()}, "address already in use"},
		{&Mesh{Cluster: "test", Node: "a", Addr: "127.0.0.1:0", TLS: &tls.Config{NextProtos: []string{Protocol}}}, "must not ask for"},
	} {
		if err := c.mesh.Open(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.mesh.Addr, err, c.want)
			c.mesh.Close()
		}
	}
}

// A cluster of one has no port at all, and its Bus works.
func TestMesh_alone(t *testing.T) {
	m := &Mesh{Cluster: "test", Node: "a"}
	if err := m.Open(); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.server.Addr() != nil && m.server.Addr().(*net.TCPAddr).Port != 0 || m.server.ClusterAddr() != nil {
		t.Errorf("listens on %v and %v", m.server.Addr(), m.server.ClusterAddr())
	}
	if err := m.Publish("t.x", []byte("x")); err != nil {
		t.Error(err)
	}
	if err := m.AddPeers("127.0.0.1:1"); err == nil {
		t.Error("took a peer that it cannot have")
	}
	if got := m.Routes(); len(got) > 0 {
		t.Errorf("got routes %v", got)
	}
}
