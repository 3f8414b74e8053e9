package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// What is remembered of how far the others have said to be, beside the log: who cuts the end off the log of a host is found by it.

const (
	claimsName    = "claims.json"    // in the data dir
	claimsEvery   = 2 * time.Second  // how often it is written at most: as often as hosts beat
	claimsAgain   = 10 * time.Second // when it could not be
	findingStands = 24 * time.Hour   // how long psctl status tells of a finding
)

// claimsFile is what it holds.
type claimsFile struct {
	Version int              `json:"version"`
	Claims  []peersync.Claim `json:"claims"`
}

// recall reads what was remembered. Without it, nothing is known of before.
func (a *agent) recall() []peersync.Claim {
	path := filepath.Join(a.c.DataDir, claimsName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var f claimsFile
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err == nil && f.Version != 1 {
		err = fmt.Errorf("its form is version %d, and this agent reads version 1", f.Version)
	}
	if err != nil {
		a.log.Warn("how far other hosts have been is not known any more: what is taken off a log of theirs before they have spoken again is not noticed",
			"file", path, "err", err)
		return nil
	}
	return f.Claims
}

// keepClaims writes what is to be remembered, whole or not at all.
func (a *agent) keepClaims(all []peersync.Claim) error {
	path := filepath.Join(a.c.DataDir, claimsName)
	b, err := json.Marshal(claimsFile{1, all})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// remember keeps what others say of their logs until ctx ends, and records what is found of them.
func (a *agent) remember(ctx context.Context) error {
	var kept []peersync.Claim
	var next, failed time.Time
	var told uint64
	for {
		st, changed := a.cluster.sync.Status()
		ended := ctx.Err() != nil
		if now := time.Now(); !sameClaims(kept, st.Claims) && (ended || !now.Before(next)) {
			if err := a.keepClaims(st.Claims); err != nil {
				a.log.Warn("how far other hosts are cannot be put down; trying again", "err", err)
				next = now.Add(claimsAgain)
			} else {
				kept, next = st.Claims, now.Add(claimsEvery)
			}
		}
		if ended {
			return nil
		}
		select {
		case <-a.heard:
			if time.Since(failed) < recordAgain {
				break
			}
			var err error
			if told, err = a.tellFindings(ctx, st, told); err != nil && ctx.Err() == nil {
				failed = time.Now()
				a.log.Warn("what was found of the log of another host cannot be recorded; trying again", "err", err)
			}
		default:
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// sameClaims reports whether they are the very same: sync makes others whenever one changes.
func sameClaims(a, b []peersync.Claim) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// tellFindings records what was found since so many were told of, and says how many have been.
func (a *agent) tellFindings(ctx context.Context, st *peersync.Status, told uint64) (uint64, error) {
	for told < st.Counts.Findings {
		behind := st.Counts.Findings - told
		if n := uint64(len(st.Findings)); behind > n {
			told += behind - n // forgotten since; the log has a line
			continue
		}
		f := st.Findings[uint64(len(st.Findings))-behind]
		object := projection.Encode(projection.Finding{Incarnation: f.Inc, First: f.First, Had: f.Had, Has: f.Has, At: f.At.UTC().Truncate(time.Millisecond)})
		_, err := a.ledger.Record(ctx, projection.By{Actor: "agent", Cause: "the log of host " + f.Host + " is not what it was"},
			func(*projection.State) ([]projection.Change, error) {
				return []projection.Change{{Kind: events.Observed, Key: projection.FindingKey(a.c.NodeName, f.Host), Object: object}}, nil
			})
		if err != nil {
			return told, err
		}
		told++
	}
	return told, nil
}
