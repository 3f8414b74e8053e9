package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// The newest backup is read at the start, after each that is made, and once a day; and one that is damaged since is found.
func TestDrill_schedule(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	view := h.backups(t).Ledger
	synctest.Test(t, func(t *testing.T) {
		b := &Backups{Dir: filepath.Join(dir, "kept"), Node: "a", Ledger: view, Log: h.view.Log}
		d := &Drill{Backups: b, Log: h.view.Log}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		if got := d.Said(); got != (Drilled{}) {
			t.Errorf("without a backup: got %+v", got)
		}
		f, err := b.Create(ctx, "", false)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := d.Said(); got.File != f.Name || !got.At.Equal(time.Now()) || got.Failed != nil || got.Count != 1 {
			t.Errorf("after a backup: got %+v, want that %s was found whole now", got, f.Name)
		}
		verified := time.Now()
		if err := os.Truncate(filepath.Join(b.Dir, f.Name), f.Bytes/2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24*time.Hour + time.Minute)
		synctest.Wait()
		got := d.Said()
		if got.Failed == nil || got.Errors != 1 || !got.At.Equal(verified) || got.File != f.Name {
			t.Errorf("a day later, with half of it gone: got %+v", got)
		}
		if !strings.Contains(h.said.String(), "the newest backup cannot be restored from") {
			t.Errorf("nobody warns: %s", &h.said)
		}
		if _, err := b.Create(ctx, "", false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := d.Said(); got.Failed != nil || !got.At.Equal(time.Now()) || got.Count != 3 {
			t.Errorf("after another: got %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The increments are drilled with it: those after the newest backup, and those that lead to it.
func TestDrill_increments(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	d := &Drill{Backups: p.Backups, Log: h.view.Log}
	for range 2 {
		h.changes(t, 4)
		p.turn(t)
		h.changes(t, 3)
		p.turn(t)
		if _, err := p.Backups.Create(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
	}
	h.changes(t, 2)
	all := p.turn(t)
	if _, err := d.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{len(all) - 1, len(all) - 2} {
		name := filepath.Join(p.folder, all[i].Name)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, 100); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Once(t.Context()); err == nil || !strings.Contains(err.Error(), all[i].Name) {
			t.Errorf("increment %d of %d is damaged: got %v", i+1, len(all), err)
		}
		if err := os.WriteFile(name, data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	// Increments that say another digest than they lead to.
	piece, err := readPieceFile(p.folder, all[len(all)-1], seal.Keys{})
	if err != nil {
		t.Fatal(err)
	}
	var lines []byte
	for i := range piece.Records {
		lines = appendRecord(lines, &piece.Records[i])
	}
	last := piece.Records[len(piece.Records)-1]
	data, err := appendPiece(nil, piece.PieceHead, lines, pieceEnd{Records: len(piece.Records), Hash: last.Hash, Digest: "0123"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.folder, all[len(all)-1].Name), data, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "another digest") {
		t.Errorf("got %v", err)
	}
}

// What is pruned while it is read is no damage: what there is then is read. What fails with all of them there is.
func TestDrill_prunedMeanwhile(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	for range 3 {
		h.changes(t, 1)
		if _, err := b.Create(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
	}
	damaged := errors.New("damaged")
	times := 0
	_, err := b.standing(func(all []BackupFile) (BackupFile, error) {
		if times++; len(all) == 1 {
			return all[0], nil
		}
		if err := os.Remove(filepath.Join(b.Dir, all[0].Name)); err != nil {
			t.Fatal(err)
		}
		return BackupFile{}, damaged
	})
	if err != nil || times != 3 {
		t.Errorf("read %d times: %v, want it whole the third time", times, err)
	}
	times = 0
	if _, err := b.standing(func([]BackupFile) (BackupFile, error) { times++; return BackupFile{}, damaged }); !errors.Is(err, damaged) || times != 1 {
		t.Errorf("with all of them there: read %d times: %v, want that it is damaged", times, err)
	}
}

// askedMeanwhile is a context in which something happens once when it is asked whether it has ended.
type askedMeanwhile struct {
	context.Context
	do func()
}

func (m *askedMeanwhile) Err() error {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return m.Context.Err()
}

// No rule removes a backup while it is read, nor the newest that was found whole, behind which the log is trimmed: not where more are made meanwhile than stay.
func TestDrill_holdsWhatItReads(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	b.Keep = Keep{Last: 1}
	var made []string
	more := func() {
		h.changes(t, 1)
		f, err := b.Create(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, f.Name)
		if _, err := b.Prune(false); err != nil {
			t.Fatal(err)
		}
	}
	stay := func(when string, want ...int) {
		t.Helper()
		var names []string
		for _, i := range want {
			names = append(names, made[i])
		}
		if got := b.names(t); !slices.Equal(got, names) {
			t.Errorf("%s: got %v, want %v", when, got, names)
		}
	}
	more()
	d := &Drill{Backups: b, Log: h.view.Log}
	if f, err := d.Once(&askedMeanwhile{t.Context(), func() { more(); more() }}); err != nil || f.Name != made[0] || len(made) != 3 {
		t.Fatalf("read %s: %v; made are %v", f.Name, err, made)
	}
	stay("read while two were made", 0, 2)
	more()
	stay("found whole", 0, 3)
	for _, k := range mustPlan(t, b) {
		if k.Name == made[0] && !slices.Equal(k.Why, []string{"newest that was verified"}) {
			t.Errorf("it stays because of %q", k.Why)
		}
	}
	if f, err := d.Once(t.Context()); err != nil || f.Name != made[3] {
		t.Fatalf("read %s: %v", f.Name, err)
	}
	more()
	stay("a newer one found whole", 3, 4)
}

// A backup that is whole in itself, and of another state than the log had by then, is found by the increments that lead there.
func TestDrill_backupOfAnotherState(t *testing.T) {
	h, other := open(t, t.TempDir()), open(t, t.TempDir())
	p := h.increments(t)
	d := &Drill{Backups: p.Backups, Log: h.view.Log}
	for _, same := range []*host{h, other} {
		same.apply(t, "deployment/default/web", `{"n":0}`)
	}
	p.turn(t) // so that it is known which log that is
	if _, err := p.Backups.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	h.apply(t, "deployment/default/web", `{"n":1}`)
	other.apply(t, "deployment/default/web", `{"n":2}`)
	p.turn(t)
	wrong := &Backups{Dir: p.Backups.Dir, Cluster: "default", Node: "a", Ledger: other.Ledger, Log: h.view.Log, Of: p.Find}
	f, err := wrong.Create(t.Context(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "comes another state than "+f.Name+" has") {
		t.Errorf("got %v", err)
	}
}
