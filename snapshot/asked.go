package snapshot

import (
	"context"

	"github.com/podman-swarm/podman-swarm/projection"
)

// CreateAsked is Create for somebody who has asked for it, which tell records, once the backup is whole. Where it cannot, as on a full disk, the
// backup is made all the same, and counts as one that no event tells of yet (Made).
func (b *Backups) CreateAsked(ctx context.Context, why string, pinned bool, tell func(BackupFile) error) (BackupFile, error) {
	f, _, err := b.createOf(ctx, why, pinned, tell)
	return f, err
}

// Fact is what an event tells of the backup.
func (f *BackupFile) Fact() projection.Backups {
	return projection.Backups{Name: f.Name, Made: f.Made.UTC(), Bytes: f.Bytes, Sealed: f.Sealed, Pinned: f.Pinned}
}

// removedNames is how many names an event has of those that were removed, at most.
const removedNames = 100

// RemovedFact is what an event tells of those that were removed by a plan, which was carried out; false: none was.
func RemovedFact(plan []Kept) (fact projection.Backups, removed bool) {
	for _, k := range plan {
		switch {
		case k.Why != nil:
		case len(fact.Removed) < removedNames:
			fact.Removed = append(fact.Removed, k.Name)
		default:
			fact.More++
		}
	}
	return fact, fact.Removed != nil
}
