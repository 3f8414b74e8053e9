package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Resume goes on with what this host has begun to restore and could not end, since it was stopped or its disk was full, unless another restore has that over. What was
// changed since stands. While one is being done it does nothing.
func (r *Restorer) Resume(ctx context.Context) error {
	if !r.mu.TryLock() {
		return nil
	}
	defer r.mu.Unlock()
	var errs []error
	for _, x := range r.Unfinished() {
		err := r.resume(ctx, x)
		if err != nil {
			errs = append(errs, fmt.Errorf("restore %s was interrupted after %d objects and cannot go on: %w", x.ID, x.Count, err))
		}
	}
	if len(errs) == 0 {
		r.letGo()
	}
	return errors.Join(errs...)
}

// resume goes on with a restore that was interrupted.
func (r *Restorer) resume(ctx context.Context, x Restored) error {
	from, err := r.again(ctx, x.Restore)
	if err != nil {
		return err
	}
	var was projection.Declarations
	if x.Undoes == "" { // one that takes another back finds only what that one left
		before, err := r.Before(ctx, x.Restore)
		if err != nil {
			return err
		}
		was = before.Want
	}
	r.Log.Warn("going on with a restore that was interrupted", "id", x.ID, "objects", x.Count)
	_, err = r.act(ctx, projection.By{Actor: "agent", Cause: "resumed"}, x.ID, x.Restore, from.Want, nil, was)
	return err
}

// Unfinished are the restores of this host that are to be gone on with, the oldest first; one that is being done is among them.
func (r *Restorer) Unfinished() []Restored {
	return unfinished(r.Ledger.View().State, r.Backups.Node)
}

func unfinished(s *projection.State, host string) []Restored {
	return slices.DeleteFunc(Restores(s), func(x Restored) bool { return x.Host != host || !x.Done.IsZero() || x.Over != "" })
}

// Restores are those that the state knows of, the oldest first.
func Restores(s *projection.State) (all []Restored) {
	for o := range s.All(projection.RestoreType + "/") {
		id := strings.TrimPrefix(o.Key, projection.RestoreType+"/")
		if x, ok := s.LookupRestore(id); ok {
			all = append(all, Restored{ID: id, Restore: x})
		}
	}
	slices.SortStableFunc(all, func(a, b Restored) int { return a.Asked.Compare(b.Asked) })
	for i := range all {
		x := &all[i]
		if !x.Done.IsZero() {
			continue
		}
		if at := slices.IndexFunc(all, func(o Restored) bool { return o.ID != x.ID && o.Overrides(x.ID, &x.Restore) }); at >= 0 {
			x.Over = all[at].ID
		}
	}
	return all
}

// takenBack is the restore that takes back the one of that id, or "". Another host may have begun it while this one was still at it.
func takenBack(s *projection.State, id string) string {
	for o := range s.All(projection.RestoreType + "/") {
		by := strings.TrimPrefix(o.Key, projection.RestoreType+"/")
		if x, ok := s.LookupRestore(by); ok && x.Undoes == id {
			return by
		}
	}
	return ""
}

// drop removes a backup that turned out not to be needed, and what stands beside it.
func (b *Backups) drop(name string) error {
	b.busy.Lock()
	defer b.busy.Unlock()
	if err := os.Remove(filepath.Join(b.Dir, name)); err != nil {
		return err
	}
	return errors.Join(b.sweep(), SyncFolder(b.Dir))
}
