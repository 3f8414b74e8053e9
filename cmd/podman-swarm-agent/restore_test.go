package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// fullAfter is a ledger on a disk that takes so many commits more, and then none until it has room again.
type fullAfter struct {
	*keeper
	left atomic.Int64
}

func (f *fullAfter) Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	if f.left.Add(-1) < 0 {
		return projection.Receipt{}, fmt.Errorf("append: %w", events.ErrFull)
	}
	return f.keeper.Record(ctx, by, decide)
}

// A restore that a full disk has interrupted is gone on with once there is room, and not at the next start only; until then the status says so.
func TestRestore_goesOnWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t, "a")
		disk := &fullAfter{keeper: k}
		var said lines
		log := slog.New(slog.NewTextHandler(&said, nil))
		dir := t.TempDir()
		a := &agent{c: &config{}, log: log, events: k.log, ledger: k.Ledger, heard: make(chan struct{})}
		a.c.NodeName = "a"
		close(a.heard)
		a.backups = &snapshot.Backups{Dir: filepath.Join(dir, "backups"), Node: "a", Ledger: k.Ledger, Log: log}
		a.restorer = &snapshot.Restorer{Ledger: disk, Backups: a.backups, Log: log, Most: 1}
		k.declare(`{"n":1}`, `{"n":1}`, `{"n":1}`)
		f, err := a.backups.Create(t.Context(), "test", false)
		if err != nil {
			t.Fatal(err)
		}
		from, err := a.restorer.Source(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		k.declare(`{"n":2}`, `{"n":2}`, `{"n":2}`)

		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.restore(ctx) }()
		time.Sleep(time.Minute)
		disk.left.Store(1)
		if _, err := a.restorer.Restore(t.Context(), projection.By{}, from, nil); err == nil || !strings.Contains(err.Error(), "goes on with it once it can; psctl undo ") {
			t.Fatalf("got %v", err)
		}
		if p := a.unfinished(); len(p) != 0 {
			t.Errorf("before it was tried again: %+v", p)
		}
		time.Sleep(2 * tryAgain)
		if p := a.unfinished(); len(p) != 1 || !strings.Contains(p[0].Why, "disk is full") {
			t.Errorf("got %+v", p)
		}
		disk.left.Store(1000)
		time.Sleep(3 * tryAgain)
		if left := a.restorer.Unfinished(); len(left) > 0 {
			t.Errorf("there is room, and unfinished are %+v\n%s", left, &said)
		}
		if o, _ := k.View().Lookup("service/default/c"); string(o.Version.Object) != `{"n":1}` {
			t.Errorf("got %s", o.Version.Object)
		}
		if p := a.unfinished(); len(p) != 0 {
			t.Errorf("got %+v", p)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// While the log cannot be written nothing is tried: no backup of what was before is made again and again.
func TestRestore_waitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t, "a")
		var said lines
		log := slog.New(slog.NewTextHandler(&said, nil))
		a := &agent{c: &config{}, log: log, events: k.log, ledger: k.Ledger, heard: make(chan struct{}), found: true}
		close(a.heard)
		a.backups = &snapshot.Backups{Dir: filepath.Join(t.TempDir(), "backups"), Node: "a", Ledger: k.Ledger, Log: log}
		a.view = &snapshot.View{Path: filepath.Join(t.TempDir(), "state.json")}
		a.restorer = &snapshot.Restorer{Ledger: k.Ledger, Backups: a.backups, Log: log}
		k.declare(`{"n":1}`)
		f, err := a.backups.Create(t.Context(), "test", false)
		if err != nil {
			t.Fatal(err)
		}
		copyFile(t, filepath.Join(a.backups.Dir, f.Name), a.view.Path)
		if err := k.log.Close(); err != nil { // which cannot be written then
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.restore(ctx) }()
		time.Sleep(time.Hour)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if p := a.unfinished(); len(p) != 1 || !strings.Contains(p[0].Why, "the log cannot be written") {
			t.Errorf("got %+v", p)
		}
		if n := a.backups.Made().Count; n != 1 {
			t.Errorf("%d backups of what was before were made for a restore that cannot be begun", n-1)
		}
		if n := strings.Count(said.String(), "a restore is unfinished"); n != 1 {
			t.Errorf("it is said %d times:\n%s", n, &said)
		}
	})
}

// A backup that somebody has put over state.json is restored once it can be taken among the backups, and no other in its place, be the log empty or not;
// until then it stays where it is, and the status says why.
func TestFind_triesAgain(t *testing.T) {
	for _, empty := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			k := newKeeper(t, "a")
			var said lines
			log := slog.New(slog.NewTextHandler(&said, nil))
			dir := t.TempDir()
			a := &agent{c: &config{}, log: log, events: k.log, ledger: k.Ledger, heard: make(chan struct{}), restored: make(chan struct{}), empty: empty}
			a.c.NodeName, a.c.DataDir = "a", dir
			close(a.heard)
			a.backups = &snapshot.Backups{Dir: filepath.Join(dir, "backups"), Node: "a", Ledger: k.Ledger, Log: log}
			a.view = &snapshot.View{Path: filepath.Join(dir, "state.json"), Sums: filepath.Join(dir, "state.sum"), Log: log}
			a.restorer = &snapshot.Restorer{Ledger: k.Ledger, Backups: a.backups, Log: log, Stood: filepath.Join(dir, "stood")}
			for _, n := range []string{`{"n":1}`, `{"n":2}`} {
				k.declare(n)
				f, err := a.backups.Create(t.Context(), "test", false)
				if err != nil {
					t.Fatal(err)
				}
				if n == `{"n":1}` { // it comes from elsewhere, and the other one is there
					if err := os.Rename(filepath.Join(a.backups.Dir, f.Name), a.view.Path); err != nil {
						t.Fatal(err)
					}
				}
			}
			wants, err := os.ReadFile(a.view.Path)
			if err != nil {
				t.Fatal(err)
			}
			full := filepath.Join(a.backups.Dir, "state-backup.tmp") // where each is written first
			if err := os.Mkdir(full, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := a.find(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- a.restore(ctx) }()
			time.Sleep(time.Minute)
			if p := a.unfinished(); len(p) != 1 || !strings.Contains(p[0].Why, "among the backups") {
				t.Errorf("log empty %v: got %+v", empty, p)
			}
			if is, err := os.ReadFile(a.view.Path); err != nil || !bytes.Equal(is, wants) {
				t.Errorf("log empty %v: what is to be restored does not stand there any more: %v", empty, err)
			}
			if err := os.Remove(full); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			select {
			case <-a.restored:
			default:
				t.Errorf("log empty %v: it is not restored:\n%s", empty, &said)
			}
			if o, _ := k.View().Lookup("service/default/a"); string(o.Version.Object) != `{"n":1}` {
				t.Errorf("log empty %v: got %s", empty, o.Version.Object)
			}
			if p := a.unfinished(); len(p) != 0 {
				t.Errorf("log empty %v: got %+v", empty, p)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
