package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
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

// recall reads what was remembered. What cannot be read is set aside: without it, nothing is known of before.
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
		aside := path + time.Now().UTC().Format(".set-aside-20060102-150405.000000")
		a.log.Warn("how far other hosts have been is not known any more: what is taken off a log of theirs before they have spoken again is not noticed",
			"file", path, "err", err, "set aside", aside)
		if err := os.Rename(path, aside); err != nil {
			a.log.Warn("it cannot be set aside", "file", path, "err", err)
		}
		return nil
	}
	return f.Claims
}

// keepClaims writes what is to be remembered, whole or not at all.
func (a *agent) keepClaims(all []peersync.Claim) error {
	path := filepath.Join(a.c.DataDir, claimsName)
	return snapshot.WriteFile(path, path+".tmp", 0o640, func(w io.Writer) error { return json.NewEncoder(w).Encode(claimsFile{1, all}) })
}

// remember keeps what others say of their logs until ctx ends, and records what is found of them.
func (a *agent) remember(ctx context.Context) error {
	var kept []peersync.Claim
	var next, failed time.Time
	var told uint64
	for {
		st, changed := a.cluster.sync.Status()
		ended := ctx.Err() != nil
		select {
		case <-a.heard:
			if ended || time.Since(failed) < recordAgain {
				break
			}
			var err error
			if told, err = a.tellFindings(ctx, st, told); err != nil && ctx.Err() == nil {
				failed = time.Now()
				a.log.Warn("what was found of the log of another host cannot be recorded; trying again", "err", err)
			}
		default:
		}
		if now := time.Now(); toKeep(kept, st, told) && (ended || !now.Before(next)) {
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
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// toKeep reports whether what is remembered is to be written, when so many findings are in the log. What a host said to have is forgotten only once it is in the
// log that it does not have it any more: a kill between the two would hide it for good.
func toKeep(kept []peersync.Claim, st *peersync.Status, told uint64) bool {
	return told == st.Counts.Findings && !sameClaims(kept, st.Claims)
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
