package snapshot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// What an empty log goes back to is all that the folder has: the newest backup, and the increments after it; where these are damaged, or sealed, the backup
// alone, and it is said what is lacking.
func TestRestorer_newest(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	r := h.restorer(t)
	r.Backups = p.Backups
	of := p.Backups.Of
	made := func() []byte {
		t.Helper()
		f, err := p.Backups.Create(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		return read(t, filepath.Join(p.Backups.Dir, f.Name))
	}
	upToNow := func(what string) {
		t.Helper()
		n, err := r.Newest(t.Context())
		if err != nil || n.Lacks != nil || !n.Last.Equal(h.View().At()) {
			t.Fatalf("%s: got %s up to %v, lacking %v, %v; want %v", what, n.File, n.Last, n.Lacks, err, h.View().At())
		}
		if b, err := ReadBackup(n.Data); err != nil || b.State.Digest() != h.View().Digest() {
			t.Errorf("%s: it has another state: %v", what, err)
		}
	}
	alone := func(what string, want []byte, lacks error) {
		t.Helper()
		n, err := r.Newest(t.Context())
		if err != nil || !bytes.Equal(n.Data, want) || (n.Lacks == nil) != (lacks == nil) || lacks != errAny && !errors.Is(n.Lacks, lacks) {
			t.Errorf("%s: got %s, lacking %v, %v; want the backup alone, lacking %v", what, n.File, n.Lacks, err, lacks)
		}
	}
	if n, err := r.Newest(t.Context()); err != nil || n.File != "" {
		t.Errorf("of nothing: got %+v, %v", n, err)
	}
	h.changes(t, 3)
	p.turn(t)
	backup := made()
	alone("nothing after it", backup, nil)
	h.changes(t, 5)
	p.turn(t)
	upToNow("with increments")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if n, err := r.Newest(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: got %s, %v", n.File, err)
	}
	p.Backups.Of = nil // as at the start of an agent, before it knows
	loose := made()
	p.Backups.Of = of
	alone("nothing after one that does not say which increments are its own", loose, nil)
	h.changes(t, 2)
	p.turn(t)
	upToNow("with increments that go on from an older one")
	// Of the beginning of another log, which does not say so yet either, the index tells nothing.
	other := open(t, t.TempDir())
	other.changes(t, 1)
	if _, err := (&Backups{Dir: p.Backups.Dir, Node: "a", Ledger: other.Ledger, Log: r.Log}).Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Newest(t.Context()); err != nil || n.Lacks != nil || !n.Last.Equal(other.View().At()) {
		t.Errorf("the first of another log: got %s up to %v, lacking %v, %v", n.File, n.Last, n.Lacks, err)
	}

	backup = made()
	p.Backups.For, _, _ = pair(t)
	h.changes(t, 2)
	p.turn(t)
	alone("sealed increments", backup, seal.ErrNoKey)
	p.Backups.For = seal.For{}
	backup = made()
	h.changes(t, 2)
	pieces := p.turn(t)
	last := filepath.Join(p.Backups.Dir, IncrementsFolder, p.Of(), pieces[len(pieces)-1].Name)
	data := read(t, last)
	data[len(data)/2] ^= 1
	if err := os.WriteFile(last, data, 0o640); err != nil {
		t.Fatal(err)
	}
	alone("a damaged increment", backup, errAny)

	one := read(t, "testdata/version1/02-example-1node.json")
	r.Backups = &Backups{Dir: t.TempDir(), Log: r.Log}
	if err := os.WriteFile(filepath.Join(r.Backups.Dir, "state-backup-20260101-000000.json"), one, 0o640); err != nil {
		t.Fatal(err)
	}
	alone("version 1", one, nil)
}

var errAny = errors.New("any error")
