package ingress

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// fresh is the connections of which no request has been read yet. Once http.Server shuts down it closes those, however much they have sent
// meanwhile: so it must not before they have been heard.
type fresh struct {
	mu  sync.Mutex
	all map[net.Conn]struct{}
}

// state is told of each connection's state.
func (f *fresh) state(c net.Conn, s http.ConnState) {
	if s == http.StateIdle {
		return // it was active
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s == http.StateNew {
		f.all[c] = struct{}{}
	} else {
		delete(f.all, c)
	}
}

// wait waits until there is none, or for as long as that may take.
func (f *fresh) wait(most time.Duration) {
	over := time.NewTimer(most)
	defer over.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		f.mu.Lock()
		n := len(f.all)
		f.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-over.C:
			return // they may be of those who connect in advance, and say nothing
		case <-again.C:
		}
	}
}
