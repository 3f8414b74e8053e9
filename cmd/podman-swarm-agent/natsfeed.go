package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
	"github.com/podman-swarm/podman-swarm/sync/feed"
)

// natsUnder begins all subjects on which events are published.
const natsUnder = "swarm"

// told publishes each event of the log, as a CloudEvent, to who subscribes by NATS: from its opening on. It holds up nobody.
type told struct {
	feed  *feed.Feed
	tail  *tail.Tail
	after uint64 // the index of the last event that was published, or was there before
	log   *slog.Logger
}

// openFeed listens on --nats-addr.
func (a *agent) openFeed() error {
	if a.c.NATSAddr == "" {
		return nil
	}
	server := &api.Server{Ledger: a.ledger, User: a.user, Now: a.now}
	a.told = &told{tail: a.tail, log: a.part("nats"), feed: &feed.Feed{Addr: a.c.NATSAddr, Under: natsUnder, TLS: a.apiTLS(), Log: a.part("nats"),
		Admit: func(token string, cert *x509.Certificate) (feed.Subscriber, error) {
			name, lapsed, err := server.Reader(token, cert)
			return feed.Subscriber{Name: name, Lapsed: lapsed}, err
		}}}
	a.told.after, _ = a.tail.View()
	if err := a.told.feed.Open(); err != nil {
		return fmt.Errorf("--nats-addr: %w", err)
	}
	a.log.Info("the events are published by NATS, on TLS", "address", a.told.feed.At(), "subjects", natsUnder+".events.>")
	return nil
}

// Run publishes until ctx ends, and then nobody is connected any more.
func (p *told) Run(ctx context.Context) error {
	defer p.feed.Close()
	defer p.tail.Join()()
	for ctx.Err() == nil {
		err := p.tail.Each(ctx, p.after, func(items []*tail.Item) error { return p.publish(ctx, items) })
		var gone *tail.GoneError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &gone):
			p.log.Error("some events were not published, as they are gone", "err", err)
			p.after = gone.Resume.Index
		case err != nil:
			p.log.Warn("events cannot be published; trying again", "after", p.after, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		default:
			_ = p.tail.Wait(ctx, p.after) // that ctx has ended is seen above
		}
	}
	return nil
}

func (p *told) publish(ctx context.Context, items []*tail.Item) error {
	for _, it := range items {
		for i := range it.Len() {
			index := it.Position(i).Index
			if index <= p.after {
				continue
			}
			line := it.CloudEvent(i, true)
			if len(line) > feed.MaxMessage { // the object is to be had at its position, over HTTP
				line = it.CloudEvent(i, false)
			}
			if err := p.feed.Publish(subjectOf(it, i), line); err != nil {
				return err
			}
			p.after = index
		}
	}
	return p.feed.Flush(ctx)
}

// subjectOf is events, the kind of fact, and the parts of the key: swarm.events.declared.deployment.default.web.
func subjectOf(it *tail.Item, i int) []string {
	if it.Commit == nil {
		return []string{"events", "record"}
	}
	e := &it.Commit.Events[i]
	return append([]string{"events", string(e.Kind)}, strings.Split(e.Key, "/")...)
}
