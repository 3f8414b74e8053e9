package mesh

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Publish is Bus.Publish. It waits for no peer, and takes some microseconds whatever state they are in. data may have
// up to 1 MiB less some header; more is an error, as is a mesh that is closed.
func (m *Mesh) Publish(subject string, data []byte) error {
	if err := m.client.Publish(subject, data); err != nil {
		return fmt.Errorf("publish %d bytes to %s: %w", len(data), subject, err)
	}
	return nil
}

type subscription struct {
	*nats.Subscription
	stopped atomic.Bool
}

// Subscribe is Bus.Subscribe. When it returns, this host's server knows of it; the others do as soon as they are told.
// What deliver has not taken is queued, up to 64 MiB. stop does not wait for a deliver that is under way, so it may be
// called from within.
func (m *Mesh) Subscribe(pattern string, deliver func(subject string, data []byte)) (stop func(), err error) {
	s := &subscription{}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Subscription, err = m.client.Subscribe(pattern, func(msg *nats.Msg) {
		if !s.stopped.Load() {
			deliver(msg.Subject, msg.Data)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", pattern, err)
	}
	if err := errors.Join(s.SetPendingLimits(-1, nats.DefaultSubPendingBytesLimit), m.client.FlushTimeout(5*time.Second)); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to %s: %w", pattern, err), s.Unsubscribe())
	}
	m.subscribed[s] = true
	return func() { m.unsubscribe(s) }, nil
}

func (m *Mesh) unsubscribe(s *subscription) {
	if s.stopped.Swap(true) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dropped, _ := s.Dropped()
	m.counters.Dropped += uint64(dropped)
	delete(m.subscribed, s)
	if err := s.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		m.Log.Warn("unsubscribe", "subject", s.Subject, "err", err)
	}
}

func (m *Mesh) clientError(_ *nats.Conn, s *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer): // once each time that it begins
		m.log.say(warn, "messages are lost, since they are not taken fast enough", "", "subject", s.Subject)
	case m.ctx.Err() == nil:
		m.log.say(warn, "local NATS client", err.Error(), "err", err)
	}
}

func (m *Mesh) clientLost(_ *nats.Conn, err error) {
	if m.ctx.Err() == nil {
		m.Log.Error("the connection to embedded NATS is lost and made anew", "err", err)
	}
}
