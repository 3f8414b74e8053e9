package sync

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/podman-swarm/podman-swarm/events"
)

// sender sends messages, in pieces where they are too large for one. It is safe for concurrent use.
type sender struct {
	node  string
	send  func(subject string, data []byte)
	parts atomic.Uint64
	bytes atomic.Uint64
}

// wireMost is how large a message may be. NATS takes a megabyte.
const wireMost = 512 << 10

func (s *sender) publish(subject string, b []byte) {
	if len(b) <= wireMost {
		s.bytes.Add(uint64(len(b)))
		s.send(subject, b)
		return
	}
	id, of := s.parts.Add(1), (len(b)+wireMost-1)/wireMost
	for i := range of {
		piece := headed(&part{id, s.node, i, of}, b[i*wireMost:min(len(b), (i+1)*wireMost)])
		s.bytes.Add(uint64(len(piece)))
		s.send(subject, piece)
	}
}

// publisher sends the own commits to all other hosts once they are on disk. It reads them from the log: so it sends
// nothing that is not there, as it is there, and holds up nobody.
type publisher struct {
	ledger  Ledger
	log     Log
	out     *sender
	subject string
	say     *slog.Logger
	sent    events.ID // the last own event that was sent
	events  atomic.Uint64
}

// begin goes on from what is there now: what is older, others ask for.
func (p *publisher) begin() {
	inc := p.log.Incarnation()
	p.sent = events.ID{Inc: inc, Seq: p.ledger.View().OnDisk().Head(inc).Seq}
}

// publish sends what has not been sent yet.
func (p *publisher) publish(ctx context.Context) {
	inc := p.log.Incarnation()
	if p.sent.Inc != inc {
		p.sent = events.ID{Inc: inc}
	}
	if p.ledger.View().OnDisk().Head(inc).Seq <= p.sent.Seq {
		return
	}
	var b []byte
	flush := func() {
		if len(b) > 0 {
			p.out.publish(p.subject, b)
		}
		b = nil
	}
	gone, err := p.log.Missing(ctx, only(inc, p.sent.Seq), 0, func(r events.Record) error {
		if len(b) > 0 && len(b)+len(r.Payload) > pageBytes {
			flush()
		}
		b = append(append(b, r.Payload...), '\n')
		p.sent.Seq = r.Seq + uint64(r.Count) - 1
		p.events.Add(uint64(r.Count))
		return nil
	})
	flush()
	if len(gone) > 0 { // the log jumped over what is between: that others have, or ask for
		p.sent.Seq = p.ledger.View().OnDisk().Head(inc).Seq
	}
	if err != nil && ctx.Err() == nil {
		p.say.Error("the own log cannot be read; other hosts will ask for what they lack", "err", err)
	}
}
