package main

import (
	"context"
	"net"
	"strings"
	"time"
)

// answerMeanwhile has the API answer while this host looks for a member to join by, which can take for ever: that it does, and
// what it knows by itself. Changes are refused. over ends that, and leaves the listener as it was.
func (a *agent) answerMeanwhile(ctx context.Context) (over func() error) {
	if len(a.c.Join) == 0 {
		return func() error { return nil }
	}
	a.waiting.Store("looking for a member to join by at " + strings.Join(a.c.Join, ", ") + "; the agent's log says what is in the way")
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	l := lent{a.listener}
	server := a.server() // before anything of the agent changes
	go func() { served <- server.Serve(ctx, l) }()
	return func() error {
		stop()
		err := <-served
		l.wake(time.Time{})
		a.waiting.Store("")
		return err
	}
}

// lent is a listener that goes on after who has it is done with it.
type lent struct{ net.Listener }

// Close ends Accept, and does not close what was lent.
func (l lent) Close() error {
	l.wake(time.Now())
	return nil
}

// wake has Accept end at that time; zero: never.
func (l lent) wake(at time.Time) {
	if tcp, ok := l.Listener.(*net.TCPListener); ok {
		_ = tcp.SetDeadline(at) // of one that is closed, nobody waits for
	}
}
