package mesh

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// maxHello is how long a TLS hello may be, in bytes; those of Go have some 300, with everything 2,000.
const maxHello = 16 << 10

var (
	errSilent = fmt.Errorf("it did not say within %v what it wants", helloTimeout)
	errGone   = errors.New("it went without saying anything")
	errPeeked = errors.New("peeked")
)

// peek reads how a TLS connection begins. It returns what it has read, for whoever speaks TLS, and which of the protocols
// that are not NATS's the other side asks for; "" for none.
func peek(conn net.Conn, timeout time.Duration) (hello []byte, asked string, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, "", errGone
	}
	reading := &recorder{Conn: conn}
	err = tls.Server(reading, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, p := range []string{Protocol, Talk} {
			if slices.Contains(h.SupportedProtos, p) {
				asked = p
			}
		}
		return nil, errPeeked
	}}).HandshakeContext(context.Background())
	var netErr net.Error
	switch {
	case errors.Is(err, errPeeked):
		return reading.bytes, asked, conn.SetReadDeadline(time.Time{})
	case errors.As(err, &netErr) && netErr.Timeout():
		return nil, "", errSilent
	case len(reading.bytes) == 0:
		return nil, "", errGone
	}
	return nil, "", err
}

// recorder keeps what is read, and sends nothing.
type recorder struct {
	net.Conn
	bytes []byte
}

// Read is Conn.Read, until it is too much.
func (r *recorder) Read(p []byte) (int, error) {
	if len(r.bytes) >= maxHello {
		return 0, fmt.Errorf("its TLS hello is longer than %d bytes", maxHello)
	}
	n, err := r.Conn.Read(p)
	r.bytes = append(r.bytes, p[:n]...)
	return n, err
}

// Write takes the alert by which peek's handshake ends.
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

// SetDeadline and its kin are the caller's.
func (r *recorder) SetDeadline(time.Time) error      { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

// begun is a connection of which something has been read already.
type begun struct {
	*net.TCPConn
	begin []byte
}

// Read returns what has been read already first.
func (b *begun) Read(p []byte) (int, error) {
	if len(b.begin) > 0 {
		n := copy(p, b.begin)
		b.begin = b.begin[n:]
		return n, nil
	}
	return b.TCPConn.Read(p)
}

// WriteTo would go past Read.
func (b *begun) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, bytes.NewReader(b.begin))
	if err != nil {
		return n, err
	}
	b.begin = nil
	m, err := io.Copy(w, b.TCPConn)
	return n + m, err
}

// relay carries bytes between a connection and embedded NATS until either ends.
func (f *front) relay(conn *net.TCPConn, begin []byte) {
	if err := errors.Join(bound(conn), conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})); err != nil {
		f.log.out.Debug("set up a connection", "from", conn.RemoteAddr(), "err", err)
		return // it is gone
	}
	nats, err := net.DialTCP("tcp", nil, f.backend.Load())
	if err != nil {
		f.log.say(warn, "embedded NATS does not take a connection", "", "from", conn.RemoteAddr(), "err", err)
		return
	}
	f.track(nats, hostOf(conn.RemoteAddr().String()))
	defer f.drop(nats)
	name := nats.LocalAddr().String()
	f.mu.Lock()
	f.real[name] = conn.RemoteAddr().String()
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.real, name)
	}()
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() {
		if _, err := nats.Write(begin); err == nil {
			_, _ = io.Copy(nats, conn)
		}
		nats.CloseWrite() // NATS ends its side then
	})
	_, _ = io.Copy(conn, nats)
	// NATS is done. What it said last must arrive, which it might not if we closed with something unread.
	conn.CloseWrite()
	conn.SetReadDeadline(time.Now().Add(time.Second))
}
