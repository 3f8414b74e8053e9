package main

import (
	"context"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// clashMost bounds how many changes one event tells of that were lost.
const clashMost = 20

// tellClashes records it when changes that were made on this host turn out to be lost against others that had not seen them. One host tells of each,
// the one whose change lost, so that there is one event and not one from every host. It is recorded once for all that came together: a split that is
// healed is one event.
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
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.Changed:
		}
		own[a.events.Incarnation()] = true
		now := a.ledger.View()
		steps, ok := now.Since(v.Index())
		v = now
		if !ok {
			continue // psctl conflicts lists them all the same
		}
		if c := clashed(steps, own); len(c.Lost) > 0 {
			if err := a.sayClash(ctx, c); err != nil && ctx.Err() == nil {
				a.log.Warn("that changes were lost against others cannot be recorded; psctl conflicts lists them", "err", err)
			}
		}
	}
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
				if len(c.Lost) >= clashMost {
					c.More++
					continue
				}
				lost := projection.LostChange{Key: x.Key, Event: x.Stamp.ID}
				if shown, ok := last.Lookup(x.Key); ok {
					lost.Shown = shown.Stamp
				}
				c.Lost = append(c.Lost, lost)
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
