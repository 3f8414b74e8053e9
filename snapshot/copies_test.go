package snapshot

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (c *Copies) turn(t testing.TB) {
	t.Helper()
	if err := c.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// All that is here comes to be there, once, and gives any moment there; what is removed here stays there.
func TestCopies_all(t *testing.T) {
	h := open(t, t.TempDir())
	p := h.increments(t)
	h.changes(t, 3)
	p.turn(t)
	h.changes(t, 3)
	p.turn(t)
	there := elsewhere(t)
	c := &Copies{Backups: p.Backups, To: there, Log: h.view.Log}
	c.turn(t)
	first := c.Said()
	if first.Count != 2 || first.Missing != 0 || first.At.IsZero() || first.Failed != nil {
		t.Errorf("got %+v, want a backup and an increment copied", first)
	}
	h.changes(t, 3)
	p.turn(t)
	c.turn(t)
	c.turn(t)
	if said := c.Said(); said.Count != 3 {
		t.Errorf("got %+v, want only what was new copied", said)
	}
	if s, _, err := (Folder{Dir: string(there)}).At(t.Context(), "", Moment{Index: h.View().Index()}); err != nil || s.Digest() != h.View().Digest() {
		t.Errorf("from what is there: %v", err)
	}
	was, err := there.Sizes(t.Context())
	if err != nil || len(was) != 3 {
		t.Fatal(was, err)
	}
	if err := os.RemoveAll(p.Backups.Dir); err != nil {
		t.Fatal(err)
	}
	c.turn(t)
	if is, err := there.Sizes(t.Context()); err != nil || !maps.Equal(is, was) {
		t.Errorf("what was lost here is no more there: %v, %v", is, err)
	}
}

// flaky is a folder behind a network that fails, or spoils what comes through.
type flaky struct {
	FolderStore
	fail  error
	spoil bool
	tries []time.Time
}

func (f *flaky) Sizes(ctx context.Context) (map[string]int64, error) {
	f.tries = append(f.tries, time.Now())
	if f.fail != nil {
		return nil, f.fail
	}
	return f.FolderStore.Sizes(ctx)
}

func (f *flaky) Put(ctx context.Context, name string, data []byte) error {
	if f.spoil {
		data = append(slices.Clone(data[:len(data)-1]), data[len(data)-1]^1)
	}
	return f.FolderStore.Put(ctx, name, data)
}

// What cannot be copied is tried again, ever more seldom, and said; a backup waits for none of it.
func TestCopies_triedAgain(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	view := h.backups(t).Ledger
	synctest.Test(t, func(t *testing.T) {
		b := &Backups{Dir: filepath.Join(dir, "kept"), Node: "a", Ledger: view, Log: h.view.Log}
		to := &flaky{FolderStore: elsewhere(t), fail: errors.New("no route to host")}
		c := &Copies{Backups: b, To: to, Log: h.view.Log}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(to.tries); n < 10 || n > 20 || to.tries[1].Sub(to.tries[0]) != time.Second || to.tries[n-1].Sub(to.tries[n-2]) != longest {
			t.Errorf("tried at %v", to.tries)
		}
		if said := c.Said(); said.Failed == nil || said.Errors == 0 {
			t.Errorf("it says %+v", said)
		}
		if n := strings.Count(h.said.String(), "no route to host"); n != 1 {
			t.Errorf("it was said %d times", n)
		}
		to.fail, to.spoil = nil, true
		if _, err := b.Create(ctx, "", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * longest)
		synctest.Wait()
		if said := c.Said(); said.Failed == nil || !strings.Contains(said.Failed.Error(), "what is read back") || said.Missing != 1 {
			t.Errorf("spoilt on the way: %+v", said)
		}
		to.spoil = false
		if _, err := b.Create(ctx, "", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * longest)
		synctest.Wait()
		if said := c.Said(); said.Failed != nil || said.Missing != 0 {
			t.Errorf("in the end: %+v", said)
		}
		n := len(to.tries)
		if _, err := b.Create(ctx, "", false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(to.tries) != n+1 {
			t.Error("a new backup waits")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// elsewhere is a folder that copies may go to.
func elsewhere(t testing.TB) FolderStore {
	t.Helper()
	there := filepath.Join(t.TempDir(), "there")
	if err := os.Mkdir(there, 0o750); err != nil {
		t.Fatal(err)
	}
	return FolderStore(there)
}

// A folder on a disk that is not mounted is not made in the mount point's place: the copies would be on this disk, and count as being elsewhere.
func TestFolderStore_notMounted(t *testing.T) {
	mount := t.TempDir()
	d := FolderStore(filepath.Join(mount, "backups"))
	says := func(err error) {
		t.Helper()
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "there is no folder "+string(d)) {
			t.Errorf("got %v", err)
		}
	}
	for _, name := range []string{"x", IncrementsFolder + "/log-1/x"} {
		says(d.Put(t.Context(), name, nil))
	}
	_, err := d.Sizes(t.Context())
	says(err)
	h := open(t, t.TempDir())
	b := h.backups(t)
	if _, err := b.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	c := &Copies{Backups: b, To: d, Log: h.view.Log}
	says(c.Once(t.Context()))
	if all, err := os.ReadDir(mount); err != nil || len(all) != 0 {
		t.Errorf("where the disk would be mounted there are %v, %v", all, err)
	}
	if err := os.Mkdir(string(d), 0o750); err != nil {
		t.Fatal(err)
	}
	if c.turn(t); c.Said().Count != 1 {
		t.Errorf("once it is mounted: %+v", c.Said())
	}
}
