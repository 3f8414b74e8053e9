// Package pipe hands bytes on between two connections.
package pipe

import (
	"io"
	"net"
	"time"
)

// halfCloser is a connection of which one half can be ended.
type halfCloser interface{ CloseWrite() error }

// Join hands on what comes from either of two connections to the other, the end of what is sent included, until both have ended or one has
// broken. from is what a is read by. Neither is closed.
func Join(a net.Conn, from io.Reader, b net.Conn) {
	done := make(chan bool, 2)
	pass := func(to net.Conn, from io.Reader) {
		_, err := io.Copy(to, from)
		if c, ok := to.(halfCloser); ok && err == nil {
			err = c.CloseWrite()
		}
		done <- err == nil
	}
	go pass(b, from)
	go pass(a, b)
	if !<-done { // then nothing that the other still hands on gets anywhere
		_ = a.SetDeadline(time.Unix(1, 0))
		_ = b.SetDeadline(time.Unix(1, 0))
	}
	<-done
}
