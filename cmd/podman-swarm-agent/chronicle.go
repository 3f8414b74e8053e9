package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

const (
	// lookEvery is how often the chronicle looks at what has become of the agent.
	lookEvery = 5 * time.Second
	// tellEvery is the least time between two events of one kind: whatever happens more often is told of together.
	tellEvery = time.Minute
)

// chronicle tells in events what becomes of this agent, beside what its other parts record: that it has made a backup, that a clock is off, that it
// was read-only. Its zero value but for a is ready.
type chronicle struct {
	a      *agent
	next   map[string]time.Time // no other event of a key before
	told   uint64               // backups, of those made since the start of which no event tells with who asked
	failed projection.ReadOnly  // what it could not write to tell of; Since zero: it could
}

// chronicle runs until ctx ends. What happened in the last minute may be told of no more: a backup is known by its file, the rest is seen anew.
func (a *agent) chronicle(ctx context.Context) error {
	c := chronicle{a: a}
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		select {
		case <-a.heard: // until then a log that was set back would tell of it under numbers that others know
		default:
			continue
		}
		now := a.now()
		if !c.writable(ctx, now, a.events.Writable()) {
			continue
		}
		c.backups(ctx, now, a.backups.Made())
		if a.many() {
			st, _ := a.cluster.sync.Status()
			c.clocks(ctx, now, st.Peers)
		}
	}
}

// writable tells, once this host can write again, that it could not; and reports whether it can.
func (c *chronicle) writable(ctx context.Context, now time.Time, err error) bool {
	switch {
	case err != nil && c.failed.Since.IsZero():
		c.failed = projection.ReadOnly{Since: now.UTC().Truncate(time.Millisecond), Why: err.Error()}
	case err == nil && !c.failed.Since.IsZero():
		c.failed.Until = now.UTC().Truncate(time.Millisecond)
		if c.tell(ctx, now, projection.ReadOnlyKey(c.a.c.NodeName), "this host could not write, and can again", c.failed) {
			c.failed = projection.ReadOnly{}
		}
	}
	return err == nil
}

// backups tells of the newest backup, if it has not been told of.
func (c *chronicle) backups(ctx context.Context, now time.Time, m snapshot.Made) {
	untold := m.Count - m.Told
	if m.Untold == nil || untold <= c.told {
		return
	}
	made := m.Untold.Fact()
	made.More = untold - c.told - 1
	if c.tell(ctx, now, projection.BackupKey(c.a.c.NodeName), "a backup was made", made) {
		c.told = untold
	}
}

// clocks tells whose clocks differ much from this host's, when that begins and when it ends.
func (c *chronicle) clocks(ctx context.Context, now time.Time, peers []peersync.Peer) {
	key := projection.ClockKey(c.a.c.NodeName)
	var was projection.Clocks
	if o, ok := c.a.ledger.View().Lookup(key); ok && json.Unmarshal(o.Version.Object, &was) != nil {
		was.Off = nil // nothing that can be read: then it is told anew
	}
	off := clocksOff(was.Off, peers, c.a.c.MaxClockSkew/2)
	hosts := slices.Sorted(maps.Keys(off))
	if slices.Equal(hosts, slices.Sorted(maps.Keys(was.Off))) {
		return
	}
	cause := "all clocks are right again"
	if len(hosts) > 0 {
		cause = fmt.Sprintf("clocks differ from this host's by more than %s: %s", c.a.c.MaxClockSkew/2, strings.Join(hosts, ", "))
	}
	c.tell(ctx, now, key, cause, projection.Clocks{Off: off})
}

// clocksOff are the hosts whose clocks are off by more than limit, and those that were and are not yet well within it. Of who is not heard it is not
// known.
func clocksOff(was map[string]string, peers []peersync.Peer, limit time.Duration) map[string]string {
	off := map[string]string{}
	for _, p := range peers {
		before, known := was[p.Host]
		switch {
		case known && (!p.Alive || p.Offset.Abs() > limit/2):
			off[p.Host] = before
		case p.Alive && p.Offset.Abs() > limit:
			off[p.Host] = p.Offset.Round(100 * time.Millisecond).String()
		}
	}
	return off
}

// tell records a fact, unless one of its key was, or could not be, within the minute; and reports whether it is recorded.
func (c *chronicle) tell(ctx context.Context, now time.Time, key, cause string, fact any) bool {
	if now.Before(c.next[key]) {
		return false
	}
	if c.next == nil {
		c.next = map[string]time.Time{}
	}
	c.next[key] = now.Add(tellEvery)
	_, err := c.a.ledger.Record(ctx, projection.By{Actor: "agent", Cause: cause}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: events.Observed, Key: key, Object: projection.Encode(fact)}}, nil
	})
	if err != nil && ctx.Err() == nil {
		c.a.log.Warn("what becomes of this host cannot be recorded; trying again", "key", key, "err", err)
	}
	return err == nil
}
