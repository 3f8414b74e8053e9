package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/podman-swarm/podman-swarm/cmd/internal/sockets"
)

// wire leads to a host's cluster port, and can be cut: then nobody gets there, and who was there is thrown out.
type wire struct {
	net.Listener
	to string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

// newWire is a wire to where somebody listens, or will.
func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, to: to, conns: map[net.Conn]bool{}}
	w.all.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.set(true)
		w.all.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		in, err := w.Accept()
		if err != nil {
			return
		}
		if w.isCut() { // and the host is not bothered
			in.Close()
			continue
		}
		out, err := net.Dial("tcp", w.to)
		if err != nil {
			in.Close()
			continue
		}
		w.carry(in, out)
	}
}

func (w *wire) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

func (w *wire) carry(in, out net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		in.Close()
		out.Close()
		return
	}
	w.conns[in], w.conns[out] = true, true
	for from, to := range map[net.Conn]net.Conn{in: out, out: in} {
		w.all.Go(func() {
			_, _ = io.Copy(to, from)
			in.Close()
			out.Close()
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.conns, from)
		})
	}
}

// set cuts the wire, or makes it whole.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for c := range w.conns {
		if cut {
			c.Close()
		}
	}
}

// serveAt is what `podman-swarm-agent` does, on a host whose clock is wrong by some time: its exit code.
func serveAt(ctx context.Context, args []string, wrong time.Duration, stderr io.Writer) int {
	var c config
	fs := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	c.flags(fs)
	if err := errors.Join(fs.Parse(args), c.check(lookup(nil))); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	log := logger(&c, stderr)
	a := newAgent(&c, log)
	a.now = func() time.Time { return time.Now().Add(wrong) }
	var err error
	if a.services.sockets, err = sockets.Open(log); err == nil {
		err = a.open(ctx)
	}
	if err == nil {
		err = errors.Join(a.run(ctx), a.cluster.mesh.Close(), a.events.Close())
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
