package sync

import (
	"context"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// hold answers those who asked to be told when an event is on this host's disk.
func (c *core) hold() {
	if len(c.holding) == 0 {
		return
	}
	s := c.ledger.View().OnDisk()
	c.holding = slices.DeleteFunc(c.holding, func(q ask) bool {
		if s.Covers(q.Event) {
			c.out.publish(c.subject.host(q.From), headed(&answer{Answer: askHolds, From: c.node, ID: q.ID, Holds: true}, nil))
			return true
		}
		return c.now.UnixNano() > int64(q.Within)
	})
}

// Spread waits until the event is on the disk of so many hosts, this one included, of those named; zero means all of them.
// have and missing are who has it by then and who is not known to; the error is nil, or that of ctx, when the time is over.
// The event stands in either case.
func (s *Sync) Spread(ctx context.Context, event events.ID, hosts []string, enough int) (have, missing []string, err error) {
	if enough <= 0 || enough > len(hosts) {
		enough = len(hosts)
	}
	answered := make(chan string, len(hosts))
	within := 5 * time.Minute
	if d, ok := ctx.Deadline(); ok {
		within = time.Until(d)
	}
	missing = slices.Clone(hosts)
	asked := map[uint64]bool{}
	ask1 := func() {
		s.core.ask(ctx, s, event, missing, within, answered, asked)
	}
	again := time.NewTicker(time.Second) // an ask, or its answer, may be lost
	defer again.Stop()
	defer func() {
		go s.do(context.WithoutCancel(ctx), func() { // which a core that is busy comes to later, and nobody waits for that
			for id := range asked {
				delete(s.core.held, id)
			}
		})
	}()
	note := func(host string) {
		if i := slices.Index(missing, host); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			have = append(have, host)
		}
	}
	for ask1(); ; {
		if s.Ledger.View().OnDisk().Covers(event) {
			note(s.Node)
		}
		if len(have) >= enough {
			slices.Sort(have)
			return have, missing, nil
		}
		select {
		case host := <-answered:
			note(host)
		case <-again.C:
			ask1()
		case <-ctx.Done():
			slices.Sort(have)
			return have, missing, ctx.Err()
		}
	}
}

// ask asks hosts to say so once they hold the event.
func (c *core) ask(ctx context.Context, s *Sync, event events.ID, hosts []string, within time.Duration, answered chan<- string, asked map[uint64]bool) {
	for _, host := range hosts {
		if host == c.node {
			continue
		}
		s.do(ctx, func() {
			id := c.question(host, &ask{Ask: askHolds, Event: event, Within: within})
			asked[id] = true
			c.held[id] = func() {
				select {
				case answered <- host:
				default: // it was told already
				}
			}
		})
	}
}
