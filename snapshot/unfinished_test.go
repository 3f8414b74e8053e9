package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// stopped begins a restore of one object a commit, which ends after so many.
func (r *Restorer) stopped(t *testing.T, h *host, from Source, only []string, after int) {
	t.Helper()
	r.Most = 1
	r.Ledger = &failing{h.Ledger, after}
	if _, err := r.Restore(t.Context(), projection.By{}, from, only); !errors.Is(err, errStopped) {
		t.Fatalf("got %v, want it stopped", err)
	}
	r.Ledger = h.Ledger
}

// A restore that is gone on with much later leaves alone what has been done since: what was changed, made and deleted. The rest it ends as it was begun, also over what
// a host had changed before, of which it is heard only now.
func TestRestorer_goesOnOverNothingNew(t *testing.T) {
	dir := t.TempDir()
	h, away := open(t, dir), open(t, t.TempDir())
	r := h.restorer(t)
	for _, name := range []string{"a", "b", "changed", "deleted", "heard", "lost", "same"} {
		h.apply(t, "deployment/default/"+name, `{"n":1}`)
	}
	from := r.backup(t)
	for _, name := range []string{"a", "b", "changed", "deleted", "more"} {
		h.apply(t, "deployment/default/"+name, `{"n":2}`)
	}
	h.apply(t, "deployment/default/lost", "")
	exchange(t, h, away)
	away.apply(t, "deployment/default/heard", `{"n":"before"}`)
	r.stopped(t, h, from, nil, 1)
	exchange(t, h, away)
	h.apply(t, "deployment/default/b", `{"n":1}`)
	h.apply(t, "deployment/default/changed", `{"n":"since"}`)
	h.apply(t, "deployment/default/deleted", "")
	h.apply(t, "deployment/default/made", `{"n":"since"}`)
	away.apply(t, "deployment/default/also", `{"n":"since"}`)
	exchange(t, h, away)
	kept, _ := h.View().Lookup("deployment/default/b")
	h.close()
	h = open(t, dir)
	r = h.restorer(t)
	r.Most = 1
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := `deployment/default/a {"n":1}
deployment/default/also {"n":"since"}
deployment/default/b {"n":1}
deployment/default/changed {"n":"since"}
deployment/default/heard {"n":1}
deployment/default/lost {"n":1}
deployment/default/made {"n":"since"}
deployment/default/same {"n":1}`
	if is := shows(h.View().State); is != want {
		t.Errorf("got\n%s\nwant\n%s", is, want)
	}
	if is, _ := h.View().Lookup("deployment/default/b"); is.Stamp != kept.Stamp {
		t.Error("what was changed since, to the same, was declared once more")
	}
	all := Restores(h.View().State)
	if len(all) != 1 || all[0].Done.IsZero() || all[0].Count != 5 || !slices.Equal(all[0].Ended, []string{"deployment/default/more"}) {
		t.Errorf("got %+v", all)
	}
}

// Where the clock of the host that restores is ahead, what others change while it is interrupted seems to have been changed before. Of a host that was heard when the restore
// began it is known all the same that it was not: it stands. Of one that was not, its clock alone tells.
func TestRestorer_clockAhead(t *testing.T) {
	for _, heard := range []bool{true, false} {
		h, other := open(t, t.TempDir()), open(t, t.TempDir())
		r := h.restorer(t)
		r.Backups.Now = func() time.Time { return time.Now().Add(time.Hour) }
		r.Hear = func(context.Context) (all, none []string) {
			if heard {
				return []string{"other"}, nil
			}
			return nil, []string{"other"}
		}
		for _, name := range []string{"a", "b", "c"} {
			h.apply(t, "deployment/default/"+name, `{"n":1}`)
		}
		from := r.backup(t)
		if _, err := other.Record(t.Context(), projection.By{}, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Observed, Key: projection.HostKey("other"), Object: []byte(`{}`)}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		exchange(t, h, other)
		r.stopped(t, h, from, nil, 1)
		exchange(t, h, other)
		other.apply(t, "deployment/default/b", `{"n":"since"}`)
		other.apply(t, "deployment/default/new", `{"n":"since"}`)
		exchange(t, h, other)
		if err := r.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := "deployment/default/a {\"n\":1}\ndeployment/default/b {\"n\":\"since\"}\ndeployment/default/c {\"n\":1}\ndeployment/default/new {\"n\":\"since\"}"
		if !heard {
			want = "deployment/default/a {\"n\":1}\ndeployment/default/b {\"n\":1}\ndeployment/default/c {\"n\":1}"
		}
		if is := shows(h.View().State); is != want {
			t.Errorf("heard: %v: got\n%s\nwant\n%s", heard, is, want)
		}
	}
}

// What is changed between two commits of a restore that is not interrupted stands as well, also where the time of neither tells which came first: stamps have milliseconds.
func TestRestorer_changedMeanwhile(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	r.Backups.Now = func() time.Time { return time.Now().Add(time.Second) }
	for _, name := range []string{"a", "b", "c", "d"} {
		h.apply(t, "deployment/default/"+name, `{"n":1}`)
	}
	from := r.backup(t)
	r.Most = 1
	r.Ledger = &meanwhile{h.Ledger, func() {
		h.apply(t, "deployment/default/b", `{"n":"since"}`)
		h.apply(t, "deployment/default/c", "")
	}}
	if _, err := r.Restore(t.Context(), projection.By{}, from, nil); err != nil {
		t.Fatal(err)
	}
	want := "deployment/default/a {\"n\":1}\ndeployment/default/b {\"n\":\"since\"}\ndeployment/default/d {\"n\":1}"
	if is := shows(h.View().State); is != want {
		t.Errorf("got\n%s\nwant\n%s", is, want)
	}
	for _, x := range Restores(h.View().State) {
		if unseen := x.Unseen(h.View().State); len(unseen) > 0 {
			t.Errorf("%d objects are said to have been changed elsewhere, and unseen", len(unseen))
		}
	}
}

// meanwhile is a ledger where something happens once, after the first commit.
type meanwhile struct {
	*projection.Ledger
	then func()
}

func (m *meanwhile) Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	receipt, err := m.Ledger.Record(ctx, by, decide)
	if m.then != nil {
		m.then()
		m.then = nil
	}
	return receipt, err
}

// Another restore that was asked for later, of all that an unfinished one is of, takes its place: that is not gone on with, since it would bring back what the later
// one knows nothing of. One of less does not.
func TestRestorer_overridden(t *testing.T) {
	for _, c := range []struct {
		first, second []string
		on            bool // the first goes on
	}{
		{nil, nil, false},
		{nil, []string{"deployment"}, true},
		{[]string{"deployment/default"}, nil, false},
		{[]string{"deployment/default"}, []string{"deployment/default"}, false},
		{[]string{"deployment/default"}, []string{"service", "deployment"}, false},
		{[]string{"deployment"}, []string{"deployment/default"}, true},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			h := open(t, t.TempDir())
			r := h.restorer(t)
			empty := r.backup(t)
			for _, name := range []string{"a", "b", "c"} {
				h.apply(t, "deployment/default/"+name, `{"n":1}`)
			}
			from := r.backup(t)
			for _, name := range []string{"a", "b", "c"} {
				h.apply(t, "deployment/default/"+name, "")
			}
			r.stopped(t, h, from, c.first, 1)
			later, err := r.Restore(t.Context(), projection.By{}, empty, c.second)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			first := Restores(h.View().State)[0]
			over, want := later.ID, ""
			if c.on {
				over, want = "", "deployment/default/b {\"n\":1}\ndeployment/default/c {\"n\":1}"
			}
			if is := shows(h.View().State); is != want || first.Over != over || first.Done.IsZero() == c.on {
				t.Errorf("got\n%s\nand %+v, want\n%s", is, first, want)
			}
		})
	}
}

// The backup that an unfinished restore is from stays whatever the rules say, until it is done: without it it could never go on.
func TestRestorer_itsBackupStays(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	h.apply(t, "deployment/default/a", `{"n":1}`)
	h.apply(t, "deployment/default/b", `{"n":1}`)
	from := r.backup(t)
	h.apply(t, "deployment/default/b", `{"n":2}`)
	r.stopped(t, h, from, nil, 1)
	r.Backups.Keep = Keep{Last: 1}
	r.backup(t)
	if plan := mustPlan(t, r.Backups); plan[0].Name != from.File || !slices.Equal(plan[0].Why, []string{"an unfinished restore is from it"}) {
		t.Errorf("got %+v", plan)
	}
	if plan, err := r.Backups.Prune(true); err != nil || plan[0].Why == nil {
		t.Errorf("got %+v, %v", plan, err)
	}
	if _, err := r.Backups.Prune(false); err != nil {
		t.Fatal(err)
	}
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != "deployment/default/a {\"n\":1}\ndeployment/default/b {\"n\":1}" {
		t.Errorf("got %s", is)
	}
	if _, err := r.Backups.Prune(false); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Backups.Stat(from.File); err == nil {
		t.Error("it is done, and its backup stays")
	}
}

// So does it before the first commit says that there is a restore; one that was removed before that is missed at once, and not after a crash.
func TestRestorer_itsBackupStaysFromTheStart(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	h.apply(t, "deployment/default/a", `{"n":1}`)
	from := r.backup(t)
	h.apply(t, "deployment/default/a", `{"n":2}`)
	r.Backups.Keep = Keep{Last: 1}
	r.backup(t)
	prune := func() {
		if _, err := r.Backups.Prune(false); err != nil {
			t.Error(err)
		}
	}
	r.Hear = func(context.Context) (_, _ []string) { prune(); return nil, nil }
	if _, err := r.Restore(t.Context(), projection.By{}, from, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Backups.Stat(from.File); err != nil {
		t.Errorf("while it was restored from it was removed: %v", err)
	}
	prune()
	there := names(t, r.Backups.Dir)
	if _, err := r.Restore(t.Context(), projection.By{}, from, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "nothing is restored") {
		t.Errorf("got %v, want that it has been removed", err)
	}
	if now := names(t, r.Backups.Dir); now != there {
		t.Errorf("got %s, want %s", now, there)
	}
}

// refusing is a ledger that takes nothing.
type refusing struct {
	*projection.Ledger
	err error
}

func (f *refusing) Record(context.Context, projection.By, func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	return projection.Receipt{}, f.err
}

// A restore that could not be begun leaves nothing: else each try leaves one more backup that no rule removes, and what was brought along lies open. Where it is not known
// whether it was begun, both stay: it may have to be gone on with, or be taken back.
func TestRestorer_notBegun(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		h := open(t, t.TempDir())
		r := h.restorer(t)
		r.Opened = filepath.Join(h.dir, "opened")
		h.apply(t, "deployment/default/a", `{"n":1}`)
		from := r.backup(t)
		data, err := os.ReadFile(filepath.Join(r.Backups.Dir, from.File))
		if err != nil {
			t.Fatal(err)
		}
		if from, err = r.Brought(from.File, data); err != nil {
			t.Fatal(err)
		}
		if sealed {
			r.Backups.For, _, _ = pair(t)
		}
		there := names(t, r.Backups.Dir)
		r.Ledger = &refusing{h.Ledger, fmt.Errorf("append: %w", events.ErrFull)}
		for range 2 {
			if _, err := r.Restore(t.Context(), projection.By{}, from, nil); !errors.Is(err, events.ErrFull) || !strings.Contains(err.Error(), "nothing is restored") {
				t.Errorf("got %v", err)
			}
		}
		if now := names(t, r.Backups.Dir); now != there {
			t.Errorf("got %s, want %s", now, there)
		}
		if _, err := os.Stat(r.Opened); err == nil {
			t.Error("what was brought along lies open")
		}
		opened := r.Opened
		r.Opened = filepath.Join(r.Backups.Dir, from.File, "no-folder")
		if _, err := r.Restore(t.Context(), projection.By{}, from, nil); err == nil || names(t, r.Backups.Dir) != there {
			t.Errorf("where it cannot be kept open: %v, and %s, want %s", err, names(t, r.Backups.Dir), there)
		}
		r.Opened = opened
		r.Ledger = &refusing{h.Ledger, fmt.Errorf("append: %w", events.ErrFailed)}
		if _, err := r.Restore(t.Context(), projection.By{}, from, nil); !errors.Is(err, events.ErrFailed) || strings.Contains(err.Error(), "nothing is restored") {
			t.Errorf("got %v", err)
		}
		if now := names(t, r.Backups.Dir); now == there {
			t.Error("it may have been begun, and what was before is gone")
		}
		if _, err := os.Stat(r.Opened); err != nil {
			t.Errorf("it may have been begun, and what it is from is gone: %v", err)
		}
	}
}
