package snapshot

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// of has a restorer be that of another host.
func (r *Restorer) of(host string) *Restorer {
	r.Backups.Node = host
	return r
}

// A restore is taken back on any host that has what the one that restored had seen, whatever else it had seen by then, and from whichever snapshot of the fold. What was
// changed since stays there too. A host that has that only within a state that it took over says who can.
func TestRestorer_undoOnAnotherHost(t *testing.T) {
	a, b, c := open(t, t.TempDir()), open(t, t.TempDir()), open(t, t.TempDir())
	r, by := a.restorer(t), projection.By{Actor: "anna"}
	for _, key := range []string{"deployment/default/web", "deployment/default/db", "deployment/default/idle"} {
		a.apply(t, key, `{"n":1}`)
	}
	from := r.backup(t)
	exchange(t, a, b)
	if err := b.folds.Save(t.Context(), b.View().State); err != nil { // of what a has seen
		t.Fatal(err)
	}
	b.apply(t, "deployment/default/web", `{"n":"unseen"}`)
	b.apply(t, "deployment/default/new", `{"n":"unseen"}`)
	if err := b.folds.Save(t.Context(), b.View().State); err != nil { // of more than that
		t.Fatal(err)
	}
	a.apply(t, "deployment/default/web", `{"n":2}`)
	a.apply(t, "deployment/default/db", `{"n":2}`)
	a.apply(t, "deployment/default/made", `{"n":2}`)
	before := shows(a.View().State)
	got, err := r.Restore(t.Context(), by, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, a, b)
	if err := c.Join(t.Context(), b.View().State, "told by another"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // with the snapshots of the fold, and without
		s, err := b.folds.At(t.Context(), Moment{Seen: got.Seen})
		if err != nil {
			t.Fatal(err)
		}
		if is := shows(s); is != before {
			t.Errorf("what a had seen, by b: got\n%s\nwant\n%s", is, before)
		}
		b.folds.Dir = t.TempDir()
	}
	if _, err := undo(t, c.restorer(t).of("c"), by, got.ID); !errors.Is(err, ErrNoMoment) || !strings.Contains(err.Error(), "Host a did it, and has the backup of that, "+got.Before) {
		t.Errorf("where the state was taken over: %v", err)
	}
	b.apply(t, "deployment/default/db", `{"n":"later"}`)
	if _, err := undo(t, b.restorer(t).of("b"), by, got.ID); err != nil {
		t.Fatal(err)
	}
	exchange(t, a, b)
	if is, want := shows(a.View().State), `deployment/default/db {"n":"later"}
deployment/default/idle {"n":1}
deployment/default/made {"n":2}
deployment/default/new {"n":"unseen"}
deployment/default/web {"n":2}`; is != want {
		t.Errorf("taken back: got\n%s\nwant\n%s", is, want)
	}
}

// A restore that another host takes back while it is being done goes on no more.
func TestRestorer_takenBackMeanwhile(t *testing.T) {
	a := open(t, t.TempDir())
	r := a.restorer(t)
	for _, key := range []string{"deployment/default/a", "deployment/default/b", "deployment/default/c"} {
		a.apply(t, key, `{"n":1}`)
	}
	from := r.backup(t)
	for _, key := range []string{"deployment/default/a", "deployment/default/b", "deployment/default/c"} {
		a.apply(t, key, `{"n":2}`)
	}
	r.Most = 1
	r.Ledger = takenBackAfter{Recorder: r.Ledger, first: new(bool)}
	res, err := r.Restore(t.Context(), projection.By{}, from, nil)
	if err == nil || !strings.Contains(err.Error(), "it was taken back meanwhile, by restore theirs") {
		t.Fatalf("got %+v, %v", res, err)
	}
	if is, want := shows(a.View().State), `deployment/default/a {"n":1}
deployment/default/b {"n":2}
deployment/default/c {"n":2}`; is != want {
		t.Errorf("got\n%s\nwant\n%s", is, want)
	}
	if err := r.Resume(t.Context()); err != nil || len(r.Unfinished()) > 0 {
		t.Errorf("it goes on: %v, %+v", err, r.Unfinished())
	}
}

// takenBackAfter has the restore that is recorded first be taken back by another right after.
type takenBackAfter struct {
	Recorder
	first *bool
}

func (l takenBackAfter) Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	done, err := l.Recorder.Record(ctx, by, decide)
	if err != nil || *l.first {
		return done, err
	}
	*l.first = true
	for _, x := range Restores(done.State) {
		theirs := projection.Restore{Host: "b", Undoes: x.ID, Asked: x.Asked, Done: x.Asked}
		if _, err := l.Recorder.Record(ctx, by, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Observed, Key: projection.RestoreKey("theirs"), Object: projection.Encode(theirs)}}, nil
		}); err != nil {
			return done, err
		}
	}
	return done, nil
}
