package mesh

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Two hosts that know of each other only by gossip find each other again while the seed is dead.
func TestMesh_gossipedRouteComesBackWithoutTheSeed(t *testing.T) {
	a := newAuthority(t)
	seed := run(t, &Mesh{Node: "seed", TLS: a.node(t, "seed")})
	var hosts []*host
	var cables []*cable
	for _, name := range []string{"b", "c"} {
		c := newCable(t)
		h := run(t, &Mesh{Node: name, TLS: a.node(t, name), Peers: []string{seed.Advertised()}, Advertise: c.addr, Addr: "127.0.0.1:0"})
		c.leads(h)
		hosts, cables = append(hosts, h), append(cables, c)
	}
	meshed(t, append(hosts, seed)...)
	seed.stop()
	meshed(t, hosts...)
	for _, c := range cables {
		c.sever()
	}
	for _, h := range hosts {
		until(t, h.Node+" has lost the other", func() bool { return len(h.Routes()) == 0 })
	}
	// The first redial comes at once, and must fail: those after it are what has to be asked for.
	until(t, "a redial has failed", func() bool {
		return hosts[0].lines.has("dial tcp "+cables[1].addr) || hosts[1].lines.has("dial tcp "+cables[0].addr)
	})
	for _, c := range cables {
		c.mend()
	}
	meshed(t, hosts...)
}

// Hosts that are all restarted at once, none of them told of another, find each other by what they remember.
func TestMesh_allRestartedAtOnce(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	var hosts []*host
	for _, name := range []string{"a", "b", "c", "d"} {
		m := &Mesh{Node: name, TLS: a.node(t, name), Remember: filepath.Join(dir, name+".json")}
		if len(hosts) > 0 {
			m.Peers = []string{hosts[0].Advertised()}
		}
		hosts = append(hosts, run(t, m))
	}
	meshed(t, hosts...)
	for _, h := range hosts {
		until(t, h.Node+" remembers the others", func() bool {
			data, _ := os.ReadFile(h.Remember)
			return strings.Count(string(data), "127.0.0.1:") == len(hosts)-1
		})
		if info, err := os.Stat(h.Remember); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("got mode %v, %v, want 0640", info.Mode(), err)
		}
	}
	for _, h := range hosts {
		h.stop()
	}
	var again []*host
	for _, h := range hosts {
		again = append(again, run(t, &Mesh{Node: h.Node, TLS: h.TLS, Remember: h.Remember, Addr: h.Advertised()}))
	}
	meshed(t, again...)
}

// A host is restarted, whether it dialled or was dialled, and the log says once that it went, and once that it is back.
func TestMesh_peerComesBack(t *testing.T) {
	hosts := start(t, 3, nil)
	meshed(t, hosts...)
	gone := hosts[2]
	for _, h := range hosts[:2] {
		until(t, "the log says that it came", func() bool { return h.lines.has(`msg="connected to another host" node=host2`) })
	}
	gone.stop()
	for _, h := range hosts[:2] {
		until(t, "the log says that it went", func() bool { return h.lines.has(`msg="lost the connection to another host" node=host2`) })
	}
	back := run(t, &Mesh{Node: "host2", Addr: gone.Advertised(), Peers: gone.Peers})
	meshed(t, hosts[0], hosts[1], back)
	for _, h := range hosts[:2] {
		until(t, "the log says that it is back", func() bool {
			return strings.Count(h.lines.String(), `msg="connected to another host" node=host2`) == 2
		})
		if got := strings.Count(withLevel(h.lines.String(), "WARN"), "lost the connection"); got != 1 {
			t.Errorf("%s said %d times that a host is lost", h.Node, got)
		}
		if s := h.Stats(); s.Connects != 3 || s.Losses != 1 {
			t.Errorf("got %d connects and %d losses, want 3 and 1", s.Connects, s.Losses)
		}
	}
}

func TestMesh_addAndForgetPeers(t *testing.T) {
	a := newAuthority(t)
	x := run(t, &Mesh{Node: "x", TLS: a.node(t, "x")})
	y := run(t, &Mesh{Node: "y", TLS: a.node(t, "y")})
	z := run(t, &Mesh{Node: "z", TLS: a.node(t, "z")})
	if err := x.AddPeers(y.Advertised(), x.Advertised()); err != nil {
		t.Fatal(err)
	}
	meshed(t, x, y)
	since := x.Routes()[0].Since
	for range 2 {
		if err := x.AddPeers(z.Advertised(), y.Advertised()); err != nil {
			t.Fatal(err)
		}
	}
	meshed(t, x, y, z)
	if got := x.Routes()[0].Since; !got.Equal(since) {
		t.Error("to add a peer has cost the route to another")
	}
	if err := x.AddPeers("nonsense"); err == nil {
		t.Error("took nonsense for an address")
	}
	until(t, "all remember the others", func() bool { return len(x.known.dial(nil, "")) == 2 && len(y.known.dial(nil, "")) == 2 })
	if err := x.Forget("z"); err != nil {
		t.Fatal(err)
	}
	if got := x.known.dial(nil, ""); !slices.Equal(got, []string{y.Advertised()}) || len(x.options.Routes) != 1 {
		t.Errorf("still knows %v and dials %v", got, x.options.Routes)
	}
	until(t, "the route to z has ended", func() bool { return x.peers() == "y" })
	if err := y.Forget("z"); err != nil { // whom it found by gossip, or was found by
		t.Fatal(err)
	}
	until(t, "the route to z has ended at y", func() bool { return y.peers() == "x" })
}

// The address of a host that is gone is given to another, which keeps its route, and is dialled, when the one that is gone is forgotten.
func TestForget_addressOfAnotherNow(t *testing.T) {
	a := newAuthority(t)
	x := run(t, &Mesh{Node: "x", TLS: a.node(t, "x")})
	y := run(t, &Mesh{Node: "y", TLS: a.node(t, "y")})
	addr := y.Advertised()
	if err := x.AddPeers(addr); err != nil {
		t.Fatal(err)
	}
	meshed(t, x, y)
	until(t, "y is remembered", func() bool { return x.known.of("y") == addr })
	y.stop()
	z := run(t, &Mesh{Node: "z", TLS: a.node(t, "z"), Addr: addr})
	meshed(t, x, z)
	until(t, "z is remembered", func() bool { return x.known.of("z") == addr })
	since := x.Routes()[0].Since
	stays := func(why string) {
		t.Helper()
		if err := x.Forget("y"); err != nil {
			t.Fatal(err)
		}
		if r := x.Routes(); len(r) != 1 || r[0].Node != "z" || !r[0].Since.Equal(since) {
			t.Errorf("%s: got routes %v, want the one to z since %v", why, r, since)
		}
		if len(x.options.Routes) != 1 || x.options.Routes[0].Host != addr {
			t.Errorf("%s: dials %v, want %s", why, x.options.Routes, addr)
		}
	}
	stays("z is known to be there")
	if _, _, err := x.known.forget("z"); err != nil {
		t.Fatal(err)
	}
	if err := x.known.learn("y", addr); err != nil {
		t.Fatal(err)
	}
	stays("z is there, and has not said so yet")

	z.stop()
	until(t, "the route to z has ended", func() bool { return len(x.Routes()) == 0 })
	for _, node := range []string{"y", "z"} {
		if err := x.known.learn(node, addr); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Forget("y"); err != nil || len(x.options.Routes) != 1 {
		t.Errorf("z is known to be there, and away: dials %v, %v", x.options.Routes, err)
	}
	y = run(t, &Mesh{Node: "y", TLS: y.TLS, Addr: addr})
	meshed(t, x, y)
	until(t, "y is remembered", func() bool { return x.known.of("y") == addr })
	if err := x.Forget("y"); err != nil {
		t.Fatal(err)
	}
	until(t, "the route to y has ended, though z was there once", func() bool { return len(x.Routes()) == 0 })
}

// of is where a host is.
func (a *addresses) of(node string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byNode[node]
}

// A peer that stops reading holds up neither the publisher nor the other peers, and loses its route, and so does what
// the front has of it.
func TestMesh_frozenPeerHoldsNobodyUp(t *testing.T) {
	for _, c := range []struct {
		name            string
		secure, dialsUs bool
	}{{"dialledByUs", false, false}, {"dialledByUsTLS", true, false}, {"dialsUs", false, true}, {"dialsUsTLS", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			freezes(t, c.secure, c.dialsUs)
		})
	}
}

func freezes(t *testing.T, secure, dialsUs bool) {
	a := newAuthority(t)
	fresh := func(m *Mesh) *host {
		if secure {
			m.TLS = a.node(t, m.Node)
		}
		return run(t, m)
	}
	c := newCable(t)
	from := fresh(&Mesh{Node: "from"})
	to := fresh(&Mesh{Node: "to", Peers: []string{from.Advertised()}})
	meshed(t, from, to) // so the connection behind the cable, of which there is one, is not between these two
	var frozen *host
	if dialsUs {
		c.leads(from)
		frozen = fresh(&Mesh{Node: "frozen", Peers: []string{c.addr}})
	} else {
		frozen = fresh(&Mesh{Node: "frozen", Advertise: c.addr})
		c.leads(frozen)
		if err := from.AddPeers(c.addr); err != nil {
			t.Fatal(err)
		}
	}
	meshed(t, from, to, frozen)
	arrived := make(chan struct{}, 1_000_000)
	if _, err := to.Subscribe("t.x", func(string, []byte) { arrived <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if _, err := frozen.Subscribe("t.x", func(string, []byte) {}); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 10_000)
	publish := func() time.Duration {
		began := time.Now()
		if err := from.Publish("t.x", data); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	until(t, "a message arrives", func() bool {
		publish()
		return len(arrived) > 0
	})
	c.freeze()
	for range len(arrived) {
		<-arrived
	}
	var slowest time.Duration
	var sent, got int
	until(t, "the frozen peer has no route", func() bool {
		for range 10 {
			slowest = max(slowest, publish())
			sent++
		}
		<-arrived // each time: the others are not held up
		got++
		return !strings.Contains(from.peers(), "frozen")
	})
	for ; got < sent; got++ {
		<-arrived
	}
	if slowest > writeDeadline/3 { // the race detector and a busy machine take their part
		t.Errorf("the slowest of %d publishes took %v", sent, slowest)
	}
	t.Logf("the slowest of %d publishes took %v", sent, slowest)
	until(t, "the front has let go of it", func() bool {
		from.front.mu.Lock()
		defer from.front.mu.Unlock()
		return len(from.front.real) == 1
	})
}

// After Close, no port and no goroutine is left.
func TestClose_leavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	a := newAuthority(t)
	hosts := start(t, 3, func(node string) *tls.Config { return a.node(t, node) })
	meshed(t, hosts...)
	silent, err := net.Dial("tcp", hosts[0].Advertised()) // is with the front when it closes
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var ports []string
	for _, h := range hosts {
		if _, err := h.Subscribe("t.>", func(string, []byte) {}); err != nil {
			t.Fatal(err)
		}
		ports = append(ports, h.bound(), h.server.ClusterAddr().String(), h.server.Addr().String())
	}
	for _, h := range hosts {
		h.stop()
		if err := h.Close(); err != nil {
			t.Errorf("close once more: %v", err)
		}
		if err := h.Publish("t.x", nil); err == nil {
			t.Error("published after Close")
		}
		if _, err := h.Subscribe("t.x", func(string, []byte) {}); err == nil {
			t.Error("subscribed after Close")
		}
		if err := h.AddPeers("127.0.0.1:1"); err == nil {
			t.Error("took a peer after Close")
		}
		if got := h.Routes(); len(got) > 0 {
			t.Errorf("got routes %v after Close", got)
		}
		h.Stats()
	}
	for _, p := range ports {
		l, err := net.Listen("tcp", p)
		if err != nil {
			t.Errorf("port is not free: %v", err)
			continue
		}
		l.Close()
	}
	if _, err := silent.Read(make([]byte, 1)); err != io.EOF && !strings.Contains(err.Error(), "reset") {
		t.Errorf("a connection is still open: %v", err)
	}
	until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// A host that is shut out loses its route also where the disk does not take that its address is forgotten.
func TestMesh_forgetsOnAFullDisk(t *testing.T) {
	a := newAuthority(t)
	folder := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	x := run(t, &Mesh{Node: "x", TLS: a.node(t, "x"), Remember: filepath.Join(folder, "peers")})
	y := run(t, &Mesh{Node: "y", TLS: a.node(t, "y"), Peers: []string{x.Advertised()}})
	meshed(t, x, y)
	until(t, "y is remembered", func() bool { return len(x.known.dial(nil, "")) == 1 })
	since := x.Routes()[0].Since
	if err := os.RemoveAll(folder); err != nil { // as good as full
		t.Fatal(err)
	}
	if err := x.Forget("y"); err == nil {
		t.Error("does not say that the address is still in the file")
	}
	until(t, "the route has ended", func() bool { r := x.Routes(); return len(r) == 0 || !r[0].Since.Equal(since) })
}
