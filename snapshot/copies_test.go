package snapshot

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
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
		n := c.Said().Count
		if _, err := b.Create(ctx, "", false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if c.Said().Count != n+1 {
			t.Error("a new backup waits")
		}
		// One that is damaged here is said as well, and makes no other wait.
		first := mustList(t, b)[0].Name
		if err := os.Truncate(filepath.Join(b.Dir, first), 10); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * longest)
		synctest.Wait()
		count := c.Said().Count
		if said := c.Said(); said.Failed == nil || said.Missing != 1 || strings.Count(h.said.String(), "cannot be found whole") != 1 {
			t.Errorf("damaged here: %+v, %s", said, h.said.String())
		}
		if _, err := b.Create(ctx, "", false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if said := c.Said(); said.Count != count+1 {
			t.Errorf("a new backup waits for what is damaged: %+v after %d", said, count)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// stuck is a folder on a file server that is away: what is put there does not come back.
type stuck struct {
	FolderStore
	begun chan struct{}
	back  chan struct{} // closed when the server is there again
}

func (s *stuck) Put(context.Context, string, []byte) error {
	close(s.begun)
	<-s.back
	return errors.New("too late")
}

// A file server that is away holds up no agent that is to end: it would be killed then, and have told nobody that it leaves. Nor is it silent meanwhile.
func TestCopies_serverIsAway(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	if _, err := b.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64
	b.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	to := &stuck{elsewhere(t), make(chan struct{}), make(chan struct{})}
	c := &Copies{Backups: b, To: to, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-to.begun
	if err := c.Said().Failed; err != nil {
		t.Errorf("as it has just begun: %v", err)
	}
	ahead.Store(int64(longest + time.Minute))
	if err := c.Said().Failed; err == nil || !strings.Contains(err.Error(), "copy state-backup-") {
		t.Errorf("got %v, want that the copy has no answer", err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
	close(to.back)
	if err := c.Once(ctx); !errors.Is(err, context.Canceled) { // once the round that was left has ended
		t.Errorf("got %v", err)
	}
	ahead.Store(int64(2 * longest))
	if err := c.Said().Failed; err == nil || strings.Contains(err.Error(), "no answer") {
		t.Errorf("got %v, want how the last round ended alone", err)
	}
}

// What is damaged here takes no whole one's place there, and what cannot be copied holds up nothing else.
func TestCopies_damagedHere(t *testing.T) {
	h := open(t, t.TempDir())
	p, _ := h.sealedIncrements(t)
	b := p.Backups
	h.changes(t, 2)
	p.turn(t) // with a sealed backup
	h.changes(t, 2)
	p.turn(t) // and a sealed increment
	b.For = seal.For{}
	if _, err := b.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	h.changes(t, 2)
	p.turn(t) // and one that is not
	there := elsewhere(t)
	c := &Copies{Backups: b, To: there, Log: h.view.Log}
	c.turn(t)
	was, err := there.Sizes(t.Context())
	if err != nil || len(was) != 6 {
		t.Fatal(was, err)
	}
	whole := map[string][]byte{}
	for name := range was {
		whole[name] = read(t, filepath.Join(string(there), name))
	}
	// spoilt says what Once does when a file here is so, with another that is new.
	spoilt := func(name string, lost ...string) {
		t.Helper()
		c := &Copies{Backups: b, To: there, Log: h.view.Log}
		for _, name := range lost {
			if err := os.Remove(filepath.Join(string(there), name)); err != nil {
				t.Fatal(err)
			}
		}
		f, err := b.Create(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Once(t.Context()); err == nil || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("%s: got %v", name, err)
		}
		if said := c.Said(); said.Missing == 0 || said.Missing > 2 || said.Failed == nil || !said.At.IsZero() {
			t.Errorf("%s: it says %+v", name, said)
		}
		if got := read(t, filepath.Join(string(there), name)); !bytes.Equal(got, whole[name]) {
			t.Errorf("%s: what was whole there has %d bytes of what is damaged here", name, len(got))
		}
		if _, err := there.Get(t.Context(), f.Name); err != nil {
			t.Errorf("%s holds up another: %v", name, err)
		}
		write(t, filepath.Join(b.Dir, name), whole[name])
		if err := c.Once(t.Context()); err != nil || c.Said().Missing != 0 {
			t.Errorf("once %s is whole again: %v, %+v", name, err, c.Said())
		}
		for name := range was {
			if got := read(t, filepath.Join(string(there), name)); !bytes.Equal(got, whole[name]) {
				t.Errorf("in the end %s there is not what is here", name)
			}
		}
	}
	kinds := map[bool]bool{}
	for name, data := range whole {
		path := filepath.Join(b.Dir, name)
		write(t, path, data[:len(data)/2])
		spoilt(name)
		if base, ok := strings.CutSuffix(name, besideEnd); ok {
			for what, err := range map[string]func() error{
				"read":      func() error { return os.Mkdir(path, 0o750) },
				"looked at": func() error { return os.Symlink(path, path) },
			} {
				if err := errors.Join(os.Remove(path), err()); err != nil {
					t.Fatal(err)
				}
				c := &Copies{Backups: b, To: there, Log: h.view.Log}
				f, err := b.Create(t.Context(), "", false)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Once(t.Context()); err == nil || !strings.Contains(err.Error(), filepath.Base(name)) {
					t.Errorf("%s cannot be %s: got %v", name, what, err)
				}
				if _, err := there.Get(t.Context(), f.Name); err != nil {
					t.Errorf("%s cannot be %s and holds up another: %v", name, what, err)
				}
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			write(t, path, data)
			// As large as what is there, of which a part is lost.
			bad := bytes.Clone(whole[base])
			bad[len(bad)/2] ^= 1
			write(t, filepath.Join(b.Dir, base), bad)
			spoilt(base, name)
		}
		kinds[strings.HasPrefix(name, IncrementsFolder)] = true
	}
	if len(kinds) != 2 {
		t.Errorf("only %v", was)
	}
}

// What is there is listed at the start, after an error and once a day: it only grows, and a listing of all of it is asked for in pages, which are paid for.
func TestCopies_seldomListed(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	now := time.Now()
	b.Now = func() time.Time { return now }
	to := &flaky{FolderStore: elsewhere(t)}
	c := &Copies{Backups: b, To: to, Log: h.view.Log}
	turn := func(listings, files int) {
		t.Helper()
		c.turn(t)
		if said := c.Said(); len(to.tries) != listings || said.Count != uint64(files) || said.Missing != 0 {
			t.Errorf("listed %d times, want %d; %+v, want %d files copied", len(to.tries), listings, said, files)
		}
	}
	for i := range 3 {
		if _, err := b.Create(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
		turn(1, i+1)
		now = now.Add(time.Minute)
		turn(1, i+1)
	}
	if err := os.Remove(filepath.Join(string(to.FolderStore), b.names(t)[0])); err != nil {
		t.Fatal(err)
	}
	turn(1, 3)
	now = now.Add(24 * time.Hour)
	turn(2, 4) // what somebody has removed there is found
	turn(2, 4)
	if _, err := b.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	to.spoil = true
	if err := c.Once(t.Context()); err == nil {
		t.Error("what is spoilt on the way is not found")
	}
	to.spoil = false
	turn(3, 5)
	to.fail, now = errors.New("no route to host"), now.Add(24*time.Hour)
	for range 2 {
		if err := c.Once(t.Context()); !errors.Is(err, to.fail) {
			t.Errorf("got %v", err)
		}
	}
	to.fail = nil
	turn(6, 5)
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
