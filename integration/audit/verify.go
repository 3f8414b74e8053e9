package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
)

// verdict is what is said of a log.
type verdict struct {
	bad  bool
	said string
}

// found holds a copy to itself, to what two other hosts have, and to the heads that were written down; dir is its data dir.
func (t *trying) found(ctx context.Context, dir string, c *touched) (alone, peers, heads verdict, err error) {
	key := t.base.keyOf(c)
	trimmed, closed, err := t.base.openTrimmed(c)
	if err != nil {
		return alone, peers, heads, err
	}
	alone = t.verify(ctx, c.dir, key, trimmed, nil)
	peers = t.askPeers(ctx, c.dir, key, trimmed)
	heads = t.verify(ctx, c.dir, key, trimmed, t.base.written())
	if err := closed(); err != nil || t.bin == "" || c.unread {
		return alone, peers, heads, err
	}
	asked, err := t.askAgent(ctx, dir, c.sealed)
	if err == nil && asked.bad != heads.bad {
		err = fmt.Errorf("podman-swarm-agent log verify says %v where Verify says %v: %s", asked.bad, heads.bad, asked.said)
	}
	heads.said += asked.said
	return alone, peers, heads, err
}

func (t *trying) verify(ctx context.Context, dir string, key *events.Key, trimmed events.Trimmed, known []events.Known) verdict {
	_, err := events.Verify(ctx, dir, key, trimmed, known...)
	return verdict{err != nil, fmt.Sprint(err)}
}

// askPeers is psctl audit verify --peer all, where two other hosts have all that there is: first they say how far, and then they are asked what
// events.Asks wants to know.
func (t *trying) askPeers(ctx context.Context, dir string, key *events.Key, trimmed events.Trimmed) verdict {
	holds := map[string][]events.Known{}
	var known []events.Known
	for _, peer := range []string{"host h2", "host h3"} {
		for _, ends := range t.base.ends {
			k := ends[len(ends)-1]
			k.From, k.May = peer, k.Host != us
			known = append(known, k)
			holds[peer] = append(holds[peer], k)
		}
	}
	for asked := map[events.Ask]bool{}; ; {
		chains, err := events.Verify(ctx, dir, key, trimmed, known...)
		more := false
		for _, ask := range events.Asks(chains, holds) {
			if asked[ask] {
				continue
			}
			asked[ask], more = true, true
			ends := t.base.ends[ask.Inc]
			from := slices.IndexFunc(ends, func(k events.Known) bool { return k.Seq > ask.After })
			to := slices.IndexFunc(ends, func(k events.Known) bool { return k.Seq >= ask.UpTo })
			if ends[to].Seq == ask.UpTo {
				to++
			}
			known = append(known, ask.Answer(t.base.hosts[ask.Inc], ends[from:to], &ends[min(to, len(ends)-1)])...)
		}
		if !more {
			return verdict{err != nil, fmt.Sprint(err)}
		}
	}
}

// askAgent is podman-swarm-agent log verify --head.
func (t *trying) askAgent(ctx context.Context, dir string, sealed bool) (verdict, error) {
	heads := filepath.Join(dir, "heads.txt")
	if err := os.WriteFile(heads, t.base.headLines(), 0o600); err != nil {
		return verdict{}, err
	}
	if sealed {
		if err := t.base.layKey(dir); err != nil {
			return verdict{}, err
		}
	}
	out, err := exec.CommandContext(ctx, filepath.Join(t.bin, "podman-swarm-agent"), "log", "verify", "--data-dir", dir, "--head", heads).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return verdict{true, string(out)}, nil
	}
	return verdict{false, string(out)}, err
}
