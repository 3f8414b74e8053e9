package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/events"
)

// What a log took over as state it does not hold as events. Others may.

// NotHeld are events that this host does not hold, since it took over the state that they came to.
type NotHeld struct {
	Host        string             `json:"host,omitempty"` // whose they are; "" when that is not known
	Incarnation events.Incarnation `json:"incarnation"`
	From        uint64             `json:"from"`
	To          uint64             `json:"to"`

	after, at events.Hash // of what the first follows on, and of the last
}

// notHeld is said of a version that may be among what is not held.
const notHeld = "not held"

// chainEnds are where each chain stands, as far as a log has been read.
type chainEnds map[events.Incarnation]Mark

// pass takes in a record, and gives what a jump went over.
func (c chainEnds) pass(r *events.Record) (lacked []NotHeld, cause string, err error) {
	if r.Inc != 0 {
		c[r.Inc] = Mark{Seq: r.Seq + uint64(r.Count) - 1, Hash: r.Hash}
		return nil, "", nil
	}
	cause, heads, err := events.JumpHeads(r.Payload)
	if err != nil {
		return nil, "", err
	}
	was := maps.Clone(c)
	clear(c) // what is not named counts as not heard of
	for _, to := range heads {
		had := was[to.Inc]
		if to.Anew {
			had = Mark{}
		}
		if to.Seq > had.Seq {
			lacked = append(lacked, NotHeld{Incarnation: to.Inc, From: had.Seq + 1, To: to.Seq, after: had.Hash, at: to.Hash})
		}
		c[to.Inc] = Mark{Seq: to.Seq, Hash: to.Hash}
	}
	return lacked, cause, nil
}

// lacked gives of what a jump went over the versions that an object had there, as far as another host still has them: what it sends must
// be on the chain that the jump ends at. What nobody has is one version that says so.
func (s *Server) lacked(ctx context.Context, key string, r *events.Record, all []NotHeld, cause string) (versions []Was) {
	var nowhere []NotHeld
	for _, n := range all {
		found, err := s.fetched(ctx, key, &n)
		if err != nil {
			if s.Trail != nil {
				n.Host = s.Trail.Host(n.Incarnation)
			}
			nowhere = append(nowhere, n)
			continue
		}
		versions = append(versions, found...)
	}
	slices.SortStableFunc(versions, func(a, b Was) int { return a.At.Compare(b.At) })
	if nowhere != nil {
		versions = append(versions, Was{Index: r.Index, At: r.At, Node: s.Node, Cause: cause, Action: notHeld, NotHeld: nowhere})
	}
	return versions
}

var errNotHeld = errors.New("no host holds it")

// fetched asks the other hosts, one after the other.
func (s *Server) fetched(ctx context.Context, key string, n *NotHeld) ([]Was, error) {
	if s.Trail == nil {
		return nil, errNotHeld
	}
	for _, host := range s.auditPeers([]string{"all"}) {
		var all []Was
		prev, seq := n.after, n.From
		err := s.Trail.Commits(ctx, host, n.Incarnation, n.From-1, n.To, func(payload []byte) error {
			c, err := events.ParseCommit(payload)
			if err != nil {
				return err
			}
			if c.Inc != n.Incarnation || c.Seq != seq || c.Prev != prev {
				return fmt.Errorf("event %d of incarnation %v does not follow on what is known here", c.Seq, c.Inc)
			}
			prev, seq = events.HashOf(payload), c.Last()+1
			for i, e := range c.Events {
				if e.Key == key {
					all = append(all, Was{At: c.Time.Wall(), Event: c.ID(i), Node: strings.Clone(c.Node), Actor: strings.Clone(c.Actor), Cause: strings.Clone(c.Cause),
						Object: json.RawMessage(bytes.Clone(e.Object)), From: host})
				}
			}
			return nil
		})
		if err == nil && prev == n.at {
			return all, nil
		}
	}
	return nil, errNotHeld
}
