package main

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// clashMost bounds how many changes one event tells of that were lost.
const clashMost = 20

// tellClashes records it when changes that were made on this host turn out to be lost against others that had not seen them. One host tells of each,
// the one whose change lost, so that there is one event and not one from every host. It is recorded once for all that came together: a split that is
// healed is one event, and so is what a host finds lost at its start.
func (a *agent) tellClashes(ctx context.Context) error {
	if a.settle(ctx) != nil {
		return nil
	}
	v := a.ledger.View()
	own := map[events.Incarnation]bool{}
	for _, key := range []string{projection.HostKey(a.c.NodeName), projection.SightKey(a.c.NodeName)} {
		if o, ok := v.Lookup(key); ok {
			own[o.Stamp.Inc] = true // that of before the last start
		}
	}
	own[a.events.Incarnation()] = true
	for c := untold(v.State, a.c.NodeName, own); ; {
		if len(c.Lost) > 0 {
			if err := a.sayClash(ctx, c); err != nil && ctx.Err() == nil {
				a.log.Warn("that changes were lost against others cannot be recorded; psctl conflicts lists them", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-v.Changed:
		}
		own[a.events.Incarnation()] = true
		now := a.ledger.View()
		if steps, ok := now.Since(v.Index()); ok {
			c = clashed(steps, own)
		} else { // it has gone further than views remember, or a state was taken over
			c = untold(now.State, a.c.NodeName, own)
		}
		v = now
	}
}

// untold are the changes of some incarnations that are lost unseen, unless the newest of the host's facts names them all: what it heard while it started, or
// had folded before it ended and not told of yet.
func untold(s *projection.State, host string, own map[events.Incarnation]bool) (c projection.Clash) {
	var newest projection.Clash
	if o, ok := s.Lookup(projection.ClashKey(host)); ok && (json.Unmarshal(o.Version.Object, &newest) != nil || newest.More > 0) {
		return c
	}
	all := true
	for _, x := range s.Conflicts() {
		if own[x.Stamp.Inc] {
			all = all && slices.ContainsFunc(newest.Lost, func(l projection.LostChange) bool { return l.Event == x.Stamp.ID })
			add(&c, s, x)
		}
	}
	if all {
		return projection.Clash{}
	}
	return c
}

// add names one more.
func add(c *projection.Clash, s *projection.State, x projection.Conflict) {
	if len(c.Lost) >= clashMost {
		c.More++
		return
	}
	lost := projection.LostChange{Key: x.Key, Event: x.Stamp.ID}
	if shown, ok := s.Lookup(x.Key); ok {
		lost.Shown = shown.Stamp
	}
	c.Lost = append(c.Lost, lost)
}

// clashed are the changes of some incarnations that were lost unseen in these steps, and still are.
func clashed(steps []projection.Step, own map[events.Incarnation]bool) (c projection.Clash) {
	if len(steps) == 0 {
		return c
	}
	told := map[events.ID]bool{}
	last := steps[len(steps)-1].After
	for _, st := range steps {
		for i := range st.Commit.Events {
			e := &st.Commit.Events[i]
			if e.Kind != events.Declared {
				continue
			}
			before := st.Before.ConflictsOf(e.Key)
			for _, x := range last.ConflictsOf(e.Key) {
				was := slices.ContainsFunc(before, func(o projection.Conflict) bool { return o.Stamp == x.Stamp })
				if was || told[x.Stamp.ID] || !own[x.Stamp.Inc] {
					continue
				}
				told[x.Stamp.ID] = true
				add(&c, last, x)
			}
		}
	}
	return c
}

func (a *agent) sayClash(ctx context.Context, c projection.Clash) error {
	for _, x := range c.Lost {
		a.log.Warn("a change made on this host was lost against one that had not seen it: psctl conflicts", "key", x.Key, "event", x.Event)
	}
	_, err := a.ledger.Record(ctx, projection.By{Actor: "agent", Cause: "changes that did not know of each other"},
		func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Observed, Key: projection.ClashKey(a.c.NodeName), Object: projection.Encode(c)}}, nil
		})
	return err
}
