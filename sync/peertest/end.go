package peertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// queued is how many messages wait for a slow subscription before the newest are lost, with Run.
const queued = 4096

// End is the Bus of one host on a Net.
type End struct {
	net           *Net
	name          string
	gone          bool
	subscriptions []*subscription
}

type subscription struct {
	pattern string
	deliver func(subject string, data []byte)
	stopped atomic.Bool
	mu      sync.Mutex
	queue   []*Packet
	filled  chan struct{}
	running bool
}

// Name is the name that End was given.
func (e *End) Name() string { return e.name }

// Publish is Bus.Publish.
func (e *End) Publish(subject string, data []byte) error {
	if !valid(subject, false) {
		return errors.New("publish to " + subject + ": not a subject")
	}
	e.net.publish(e, subject, data)
	return nil
}

// Subscribe is Bus.Subscribe. Stepped, deliver is called by whoever steps.
func (e *End) Subscribe(pattern string, deliver func(subject string, data []byte)) (stop func(), err error) {
	if !valid(pattern, true) {
		return nil, errors.New("subscribe to " + pattern + ": not a pattern")
	}
	s := &subscription{pattern: pattern, deliver: deliver, filled: make(chan struct{}, 1)}
	e.net.mu.Lock()
	e.subscriptions = append(e.subscriptions, s)
	e.net.mu.Unlock()
	return func() {
		s.stopped.Store(true)
		e.net.mu.Lock()
		defer e.net.mu.Unlock()
		if i := slices.Index(e.subscriptions, s); i >= 0 {
			e.subscriptions = slices.Delete(slices.Clone(e.subscriptions), i, i+1)
		}
		s.wake()
	}, nil
}

// Run delivers by itself, each subscription from a goroutine of its own, until ctx is done; then it waits for them.
func (n *Net) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		n.mu.Lock()
		p, wait := n.arrived()
		var to []*subscription
		if p != nil {
			to = n.reached(p)
		}
		n.mu.Unlock()
		for _, s := range to {
			if !s.push(p) {
				n.mu.Lock()
				n.lost++
				n.mu.Unlock()
			}
			if !s.running { // only this goroutine reads and writes it
				s.running = true
				running.Go(func() { s.run(ctx) })
			}
		}
		if p != nil {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-n.woken:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// arrived takes the packet that is due first, if it is due; else it says how long to wait.
func (n *Net) arrived() (*Packet, time.Duration) {
	if len(n.flight) == 0 {
		return nil, time.Hour
	}
	first := 0
	for i, p := range n.flight {
		if p.Due.Before(n.flight[first].Due) {
			first = i
		}
	}
	if wait := time.Until(n.flight[first].Due); wait > 0 {
		return nil, wait
	}
	return n.take(first), 0
}

func (s *subscription) push(p *Packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= queued {
		return false
	}
	s.queue = append(s.queue, p)
	s.wake()
	return true
}

func (s *subscription) wake() {
	select {
	case s.filled <- struct{}{}:
	default:
	}
}

func (s *subscription) run(ctx context.Context) {
	for {
		s.mu.Lock()
		queue := s.queue
		s.queue = nil
		s.mu.Unlock()
		for _, p := range queue {
			if s.stopped.Load() {
				return
			}
			s.deliver(p.Subject, slices.Clone(p.Data))
		}
		if len(queue) > 0 {
			continue
		}
		if s.stopped.Load() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-s.filled:
		}
	}
}

// valid reports whether each token of a subject, or of a pattern, is one.
func valid(subject string, pattern bool) bool {
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		switch {
		case token == "" || strings.ContainsAny(token, " \t\r\n"):
			return false
		case token == "*" || token == ">":
			if !pattern || token == ">" && i != len(tokens)-1 {
				return false
			}
		}
	}
	return true
}

// matches reports whether a pattern of NATS matches a subject: * is one token, > at the end is one or more.
func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}
