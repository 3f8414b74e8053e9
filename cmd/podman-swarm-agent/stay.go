package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
	peersync "github.com/podman-swarm/podman-swarm/sync"
	"github.com/podman-swarm/podman-swarm/sync/authority"
)

// stay asks the members whether this host is still one of them, at first and whenever none is heard. What they say when it
// is not is something that a refused handshake cannot; and the event that says so may never come to who is shut out by it.
func (a *agent) stay(ctx context.Context) error {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		var refusal error
		welcome := false
		addrs := slices.Concat(a.c.Join, a.cluster.mesh.Remembered())
		slices.Sort(addrs)
		for _, addr := range slices.Compact(addrs) {
			more, err := a.cluster.member.Hello(ctx, addr, a.request("hello"))
			var refused *authority.RefusedError
			switch {
			case err == nil:
				welcome = true
				if err := a.cluster.mesh.AddPeers(more...); err != nil {
					a.log.Warn("not all of the other hosts' addresses are good", "err", err)
				}
			case errors.Is(err, authority.ErrStranger):
				a.log.Warn("what answers at a member's address has not shown to be one: what it says counts for nothing", "err", err)
			case errors.As(err, &refused) && refused.Again:
				a.log.Warn("a member does not take this host for one", "err", err)
			case errors.As(err, &refused):
				refusal = fmt.Errorf("this host is no member of the cluster whose other hosts it knows: %w. If %s is of another cluster, move it away and join "+
					"with a token%s", err, filepath.Join(a.c.DataDir, "authority"), a.unshared())
			}
			if welcome {
				break
			}
		}
		if refusal != nil && !welcome {
			return refusal
		}
		for heard := true; heard; {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			st, _ := a.cluster.sync.Status()
			heard = slices.ContainsFunc(st.Peers, func(p peersync.Peer) bool { return p.Alive })
		}
	}
}

// expel keeps out who is removed, this host included.
func (a *agent) expel(ctx context.Context) error {
	gone := map[string]bool{}
	for {
		v := a.ledger.View()
		for o := range v.All(projection.MemberType + "/") {
			name := strings.TrimPrefix(o.Key, projection.MemberType+"/")
			if gone[name] || a.welcome(name) == nil {
				continue
			}
			if name == a.c.NodeName {
				a.lastWord(ctx, o.Stamp.ID)
				return fmt.Errorf("the agent ends, and its containers run on: %w", a.welcome(name))
			}
			gone[name] = true
			select { // it is to hear of it itself; no new connection is let in meanwhile
			case <-ctx.Done():
				return nil
			case <-time.After(2 * time.Second):
			}
			if err := a.cluster.mesh.Forget(name); err != nil {
				a.log.Warn("the address of a host that was removed is still remembered", "host", name, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-v.Changed:
		}
	}
}
