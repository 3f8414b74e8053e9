package main

import (
	"context"
	"time"
)

// hearAll waits until this host has what the others that it hears have, for ten seconds at most, and names those whose
// it has not, and those that it does not hear.
func (a *agent) hearAll(ctx context.Context) (unheard []string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		unheard = nil
		coming := false
		st, changed := a.cluster.sync.Status()
		for _, p := range st.Peers {
			if a.welcome(p.Host) == nil && (!p.Alive || p.Unknown) {
				unheard = append(unheard, p.Host)
				coming = coming || p.Alive
			}
		}
		if !coming {
			return unheard
		}
		select {
		case <-ctx.Done():
			return unheard
		case <-changed:
		}
	}
}

// goOn goes on with a restore in which this host was interrupted.
func (a *agent) goOn(ctx context.Context) error {
	if a.settle(ctx) != nil {
		return nil
	}
	if err := a.restorer.Resume(ctx); err != nil && ctx.Err() == nil {
		a.log.Error("a restore is unfinished", "err", err, "do", "restore again, or take it back: psctl restores")
	}
	return nil
}
