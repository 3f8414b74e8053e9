package mesh

import (
	"net"
	"sync"
	"testing"
)

// cable is what stands between a host and the others that connect to it: it can be cut, and frozen.
type cable struct {
	t       *testing.T
	addr    string // to be advertised
	running sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	conns    []*net.TCPConn
	to       string        // empty: nowhere yet
	frozen   chan struct{} // closed: what comes from the front of the host is not read any longer
}

// newCable returns a cable, before the host behind it is there.
func newCable(t *testing.T) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{t: t, addr: l.Addr().String(), listener: l, frozen: make(chan struct{})}
	c.running.Go(func() { c.serve(l) })
	t.Cleanup(func() {
		c.sever()
		c.running.Wait()
	})
	return c
}

func (c *cable) serve(l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			c.mu.Unlock()
			in.Close()
			continue
		}
		a, b := in.(*net.TCPConn), out.(*net.TCPConn)
		c.conns = append(c.conns, a, b)
		c.running.Go(func() { c.carry(b, a) })
		c.running.Go(func() { c.carry(a, b) })
		c.mu.Unlock()
	}
}

func (c *cable) carry(to, from *net.TCPConn) {
	buf := make([]byte, 4096)
	for {
		select {
		case <-c.frozen:
			return // and leave both open, and from unread
		default:
		}
		n, err := from.Read(buf)
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			to.Close()
			from.Close()
			return
		}
	}
}

func (c *cable) leads(to *host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = to.bound()
}

// freeze lets nothing through any longer, and tells nobody.
func (c *cable) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listener.Close()
	close(c.frozen)
}

// sever cuts the cable.
func (c *cable) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listener.Close()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := net.Listen("tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.listener = l
	c.running.Go(func() { c.serve(l) })
}
