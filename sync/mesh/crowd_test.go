package mesh

import (
	"net"
	"strings"
	"testing"
)

// dialFrom is dial from one of this machine's own addresses.
func dialFrom(t *testing.T, f *front, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", f.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Who gets past the hello on ever more connections, and stays in the handshake behind the front, keeps nobody out who comes from another
// address; and once those are gone it is let in again itself.
func TestFront_oneAddressLeavesRoomForOthers(t *testing.T) {
	f, text := fronted(t, true, nil)
	begins := hello(t)
	held := func(from string) int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.held[from]
	}
	const crowd, other = "127.0.0.2", "127.0.0.3"
	var all []net.Conn
	for i := range maxConnsOf / 2 { // each is carried to NATS, which is another
		conn := dialFrom(t, f, crowd)
		if _, err := conn.Write(begins); err != nil {
			t.Fatal(err)
		}
		until(t, "it is carried to NATS", func() bool { return held(crowd) == 2*(i+1) })
		all = append(all, conn)
	}
	refused := dialFrom(t, f, crowd)
	if n, err := refused.Read(make([]byte, 1)); err == nil {
		t.Errorf("one more was answered %d bytes", n)
	}
	if got := f.log.refusals(); got[refusedOne] != 1 || got[refusedCrowd] != 0 {
		t.Errorf("refused were %v, want one for its address", got)
	}
	if !text.has(refusedOne) || !text.has("384 are held for it already") {
		t.Errorf("the log does not say why: %s", withLevel(text.String(), "WARN"))
	}
	for _, from := range []string{other, crowd} {
		if from == crowd {
			for _, conn := range all {
				conn.Close()
			}
			until(t, "all are gone", func() bool { return held(crowd) == 0 })
		}
		conn := dialFrom(t, f, from)
		if _, err := conn.Write(begins); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(begins))
		if n, err := conn.Read(got); err != nil || !strings.HasPrefix(string(begins), string(got[:n])) {
			t.Errorf("%s reaches NATS with %v", from, err)
		}
	}
}
