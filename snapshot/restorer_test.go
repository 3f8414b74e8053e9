package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func (h *host) restorer(t *testing.T) *Restorer {
	t.Helper()
	log := slog.New(slog.NewTextHandler(&h.said, nil))
	return &Restorer{Ledger: h.Ledger, Log: log, At: h.folds.At,
		Backups: &Backups{Dir: filepath.Join(h.dir, "backups"), Cluster: "default", Node: "a", Ledger: h.Ledger, Log: log}}
}

// backup makes one and gives it as what is restored from.
func (r *Restorer) backup(t *testing.T) Source {
	t.Helper()
	f, err := r.Backups.Create(t.Context(), "test", false)
	if err != nil {
		t.Fatal(err)
	}
	from, err := r.Source(f.Name)
	if err != nil {
		t.Fatal(err)
	}
	return from
}

func shows(s *projection.State) string { return declarations(s.Declarations()) }

func declarations(of projection.Declarations) string {
	var all []string
	for key, o := range of {
		all = append(all, key+" "+string(o))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// Failure A.18: the documented restore is half applied. Ours: what was changed is as it was, what was deleted is back, what
// is new has ended; what has not changed stays the same object, so that its containers run on; hosts, placements and trust are
// left alone. Taken back, it is all as before.
func TestRestorer_restoreAndUndo(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	h.apply(t, "deployment/default/same", `{"n":1}`)
	h.apply(t, "deployment/default/changed", `{"n":1}`)
	h.apply(t, "service/default/deleted", `{"n":1}`)
	h.apply(t, "node/a", `{"unschedulable":false}`)
	from := r.backup(t)
	was := shows(h.View().State)

	h.apply(t, "deployment/default/changed", `{"n":2}`)
	h.apply(t, "service/default/deleted", "")
	h.apply(t, "service/default/new", `{"n":2}`)
	h.apply(t, "node/a", `{"unschedulable":true}`)
	same, _ := h.View().Lookup("deployment/default/same")
	before := shows(h.View().State)

	got, err := r.Restore(t.Context(), projection.By{Actor: "test", Cause: "why not"}, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := h.View()
	if is := shows(v.State); is != was {
		t.Errorf("got\n%s\nwant\n%s", is, was)
	}
	if is, _ := v.Lookup("deployment/default/same"); is.UID != same.UID || !same.Stamp.Less(is.Stamp) {
		t.Errorf("what has not changed: got %v stamped %v, want %v stamped after %v", is.UID, is.Stamp, same.UID, same.Stamp)
	}
	if n, _ := v.Lookup("node/a"); string(n.Version.Object) != `{"unschedulable":true}` {
		t.Errorf("what people say of a host was restored: %s", n.Version.Object)
	}
	if got.Count != 4 || !slices.Equal(got.Ended, []string{"service/default/new"}) || got.Done.IsZero() {
		t.Errorf("got %+v", got)
	}
	steps, _ := v.Since(0)
	if c := steps[len(steps)-1].Commit; c.Cause != "restore of "+from.File+": why not" || c.Actor != "test" {
		t.Errorf("recorded as %q by %q", c.Cause, c.Actor)
	}
	if f, err := r.Backups.Stat(got.Before); err != nil || !f.Pinned {
		t.Errorf("the backup of what was there: %+v, %v", f, err)
	}

	h.apply(t, "deployment/default/same", `{"n":3}`) // changed since the restore: an undo leaves it alone
	taken, err := undo(t, r, projection.By{Actor: "test"}, got.ID)
	if err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != strings.Replace(before, `same {"n":1}`, `same {"n":3}`, 1) {
		t.Errorf("after the undo\n%s\nwant\n%s", is, before)
	}
	if all := Restores(h.View().State); len(all) != 2 || all[1].ID != taken.ID || all[1].Undoes != got.ID {
		t.Errorf("got %+v", all)
	}
	if _, err := undo(t, r, projection.By{}, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an undo of nothing: %v", err)
	}
}

func TestRestorer_only(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	for _, key := range []string{"deployment/default/web", "deployment/default/web2", "deployment/shop/web", "service/default/web"} {
		h.apply(t, key, `{"n":1}`)
	}
	from := r.backup(t)
	for _, key := range []string{"deployment/default/web", "deployment/default/web2", "deployment/shop/web", "service/default/web", "deployment/default/new"} {
		h.apply(t, key, `{"n":2}`)
	}
	if _, err := r.Restore(t.Context(), projection.By{}, from, []string{"deployment/default/web", "service/default"}); err != nil {
		t.Fatal(err)
	}
	want := `deployment/default/new {"n":2}
deployment/default/web {"n":1}
deployment/default/web2 {"n":2}
deployment/shop/web {"n":2}
service/default/web {"n":1}`
	if is := shows(h.View().State); is != want {
		t.Errorf("got\n%s\nwant\n%s", is, want)
	}
}

// Of a file of version 1 only what is in the part that is restored is listed as refused, too.
func TestRestorer_onlyOfVersion1(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	from := r.found(t, h, "29-doc-style-STORAGE.md")
	for _, c := range []struct {
		only []string
		want []string
	}{
		{[]string{"deployment/default/other"}, nil},
		{[]string{"ingress/default"}, []string{"ingress/default/nginx-ingress"}},
		{nil, []string{"deployment/default/nginx", "ingress/default/nginx-ingress", "service/default/nginx-service"}},
	} {
		if _, err := r.Restore(t.Context(), projection.By{}, from, c.only); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range Refused(h.View().State) {
			got = append(got, x.Key)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("only %v: got %v, want %v", c.only, got, c.want)
		}
	}
}

// What a file of version 1 cannot have, it says nothing of: a restore from it ends no Secrets and the like, whole or in part, nor does its undo.
func TestRestorer_version1EndsOnlyWhatItCanHave(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	const stays = `dnsallow/LIST {"enabled":true}
endpoints/default/db {}
namespace/shop {}
secret/default/key {}`
	for line := range strings.Lines(stays) {
		key, object, _ := strings.Cut(strings.TrimSpace(line), " ")
		h.apply(t, key, object)
	}
	h.apply(t, "service/default/new", `{"n":1}`)
	from := r.found(t, h, "01-empty")
	if _, err := r.Restore(t.Context(), projection.By{}, from, []string{"secret", "namespace/shop"}); err == nil || !strings.Contains(err.Error(), "says nothing of secret, namespace/shop") {
		t.Errorf("of Secrets alone: %v", err)
	}
	if _, err := r.Restore(t.Context(), projection.By{}, from, []string{"secret/default", "service/shop"}); err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != stays+"\nservice/default/new {\"n\":1}" {
		t.Errorf("of a part: got\n%s", is)
	}
	done, err := r.Restore(t.Context(), projection.By{}, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != stays {
		t.Errorf("of all: got\n%s\nwant\n%s", is, stays)
	}
	h.apply(t, "secret/default/later", `{}`)
	if _, err := undo(t, r, projection.By{}, done.ID); err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != stays+"\nsecret/default/later {}\nservice/default/new {\"n\":1}" {
		t.Errorf("taken back: got\n%s", is)
	}
}

// A section that a file of version 1 lacks says nothing, and ends nothing; one that is null, or empty, ends what is there of its type.
func TestRestorer_version1MissingSection(t *testing.T) {
	for _, c := range []struct{ file, stays, missing string }{
		{`{"version":1,"deployments":{},"ingresses":null}`, `service/default/s {}`, "[service]"},
		{`{"version":1,"Services":null}`, "deployment/default/d {}\ningress/default/i {}", "[deployment ingress]"},
		{`{"version":1,"deployments":{},"services":{},"ingresses":{}}`, "", "[]"},
		{`{"version":1}`, "none", ""},
	} {
		h := open(t, t.TempDir())
		r := h.restorer(t)
		for _, key := range []string{"deployment/default/d", "ingress/default/i", "service/default/s"} {
			h.apply(t, key, `{}`)
		}
		r.Opened = filepath.Join(h.dir, "opened")
		from, err := r.Brought("old", []byte(c.file))
		if c.stays == "none" {
			if err == nil || !strings.Contains(err.Error(), "says nothing of any object") {
				t.Errorf("%s: %v", c.file, err)
			}
			continue
		}
		if err == nil {
			_, err = r.Restore(t.Context(), projection.By{}, from, nil)
		}
		if err != nil || fmt.Sprint(from.Missing) != c.missing {
			t.Errorf("%s: missing %v, %v", c.file, from.Missing, err)
		}
		if is := shows(h.View().State); is != c.stays {
			t.Errorf("%s: got\n%s\nwant\n%s", c.file, is, c.stays)
		}
		if len(from.Missing) > 0 {
			if _, err := from.Scope(from.Missing); err == nil || !strings.Contains(err.Error(), "has no section of type "+strings.Join(from.Missing, ", ")) {
				t.Errorf("%s: of what it lacks: %v", c.file, err)
			}
		}
	}
}

// Fields of a file of version 1 that nobody knows are told of, once, by whom and in which part of it they are.
func TestRestorer_unknownFieldsOfVersion1(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	r.Opened = t.TempDir()
	from, err := r.Brought("old.json", []byte(`{"version":1,"services":{"default/a":{"Ports":[{"port":80}],"Sticky":true},"shop/b":{"Ports":[{"port":80}],"Odd":1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Restore(t.Context(), projection.By{}, from, []string{"service/default"}); err != nil {
		t.Fatal(err)
	}
	if said := h.said.String(); strings.Count(said, "not taken over") != 1 || !strings.Contains(said, "file=old.json key=service/default/a fields=[Sticky]") {
		t.Errorf("it says\n%s", said)
	}
}

// failing is a ledger that takes so many commits more, and then none.
type failing struct {
	*projection.Ledger
	left int
}

var errStopped = errors.New("stopped")

func (f *failing) Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	if f.left--; f.left < 0 {
		return projection.Receipt{}, errStopped
	}
	return f.Ledger.Record(ctx, by, decide)
}

// A restore of several commits, from a backup or from the log, and its undo, are interrupted after each of them: going on ends in the
// same state, and only once. One that had recorded nothing has not begun.
func TestRestorer_interrupted(t *testing.T) {
	for _, what := range []string{"backup", "moment", "undo"} {
		for after := range 4 {
			t.Run(fmt.Sprintf("%s/%d", what, after), func(t *testing.T) { interrupted(t, what, after) })
		}
	}
}

func interrupted(t *testing.T, what string, after int) {
	dir := t.TempDir()
	h := open(t, dir)
	r := h.restorer(t)
	r.Most = 60
	for i := range 6 {
		h.apply(t, fmt.Sprintf("deployment/default/d%d", i), `{"n":1}`)
	}
	from := r.backup(t)
	if what == "moment" {
		var err error
		if from, err = r.Moment(t.Context(), Moment{Index: h.View().Index()}); err != nil {
			t.Fatal(err)
		}
	}
	end := shows(h.View().State)
	for i := range 6 {
		h.apply(t, fmt.Sprintf("deployment/default/d%d", i), map[bool]string{true: `{"n":2}`}[i%2 == 0])
		h.apply(t, fmt.Sprintf("service/default/s%d", i), `{"n":2}`)
	}
	do := func() error {
		_, err := r.Restore(t.Context(), projection.By{}, from, nil)
		return err
	}
	if what == "undo" {
		end = shows(h.View().State)
		done, err := r.Restore(t.Context(), projection.By{}, from, nil)
		if err != nil {
			t.Fatal(err)
		}
		do = func() error {
			_, err := undo(t, r, projection.By{}, done.ID)
			return err
		}
	}
	if after == 0 {
		end = shows(h.View().State)
	}
	r.Ledger = &failing{h.Ledger, after}
	if err := do(); !errors.Is(err, errStopped) {
		t.Fatalf("got %v, want it stopped", err)
	}
	h.close()
	h = open(t, dir) // from the log
	r = h.restorer(t)
	r.Most = 60
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != end {
		t.Errorf("got\n%s\nwant\n%s", is, end)
	}
	index := h.View().Index()
	if err := r.Resume(t.Context()); err != nil || h.View().Index() != index {
		t.Errorf("gone on with twice: %v", err)
	}
}

// What a restore that was interrupted needs is gone, or another: it is said, and nothing is changed.
func TestRestorer_resumeWithoutItsBackup(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	r.Most = 1
	h.apply(t, "deployment/default/a", `{"n":1}`)
	h.apply(t, "deployment/default/b", `{"n":1}`)
	from := r.backup(t)
	h.apply(t, "deployment/default/b", `{"n":2}`)
	r.Ledger = &failing{h.Ledger, 1}
	if _, err := r.Restore(t.Context(), projection.By{}, from, nil); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	r.Ledger = h.Ledger
	other := r.backup(t)
	for _, spoil := range []func() error{
		func() error {
			return os.Rename(filepath.Join(r.Backups.Dir, other.File), filepath.Join(r.Backups.Dir, from.File))
		},
		func() error { return os.Remove(filepath.Join(r.Backups.Dir, from.File)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		index := h.View().Index()
		if err := r.Resume(t.Context()); err == nil || !strings.Contains(err.Error(), "was interrupted after 1 objects and cannot go on") {
			t.Errorf("got %v", err)
		}
		if h.View().Index() != index {
			t.Error("something was recorded")
		}
	}
}

// exchange has each of two hosts fold what the other has.
func exchange(t *testing.T, a, b *host) {
	t.Helper()
	for _, way := range [][2]*host{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		var commits [][]byte
		if _, err := from.log.Missing(t.Context(), func(inc events.Incarnation) uint64 { return to.View().Head(inc).Seq }, 0, func(r events.Record) error {
			commits = append(commits, slices.Clone(r.Payload))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(commits) == 0 {
			continue
		}
		if _, err := to.Admit(t.Context(), commits); err != nil {
			t.Fatal(err)
		}
	}
	if a.View().Digest() != b.View().Digest() {
		t.Fatal("the two do not agree")
	}
}

// A restore wins over what a host that was away did before it, and that is listed; what such a host made anew survives, and is
// named; what anybody does afterwards stands.
func TestRestorer_hostsThatAreAway(t *testing.T) {
	a, b := open(t, t.TempDir()), open(t, t.TempDir())
	r := a.restorer(t)
	for _, key := range []string{"deployment/default/web", "deployment/default/db", "deployment/default/idle"} {
		a.apply(t, key, `{"n":1}`)
	}
	from := r.backup(t)
	exchange(t, a, b)
	b.apply(t, "deployment/default/web", `{"n":"away"}`)
	b.apply(t, "deployment/default/idle", `{"n":"away"}`) // which here is as it was at the backup
	b.apply(t, "deployment/default/new", `{"n":"away"}`)
	a.apply(t, "deployment/default/web", `{"n":2}`)
	got, err := r.Restore(t.Context(), projection.By{}, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, a, b)
	want := `deployment/default/db {"n":1}
deployment/default/idle {"n":1}
deployment/default/new {"n":"away"}
deployment/default/web {"n":1}`
	if is := shows(b.View().State); is != want {
		t.Errorf("got\n%s\nwant\n%s", is, want)
	}
	var lost []string
	for _, c := range b.View().Conflicts() {
		lost = append(lost, c.Key)
	}
	if !slices.Equal(lost, []string{"deployment/default/idle", "deployment/default/web"}) {
		t.Errorf("listed as lost: %v", lost)
	}
	if unseen := got.Unseen(a.View().State); len(unseen) != 1 || unseen[0].Key != "deployment/default/new" {
		t.Errorf("unseen: %+v", unseen)
	}
	b.apply(t, "deployment/default/web", `{"n":"later"}`)
	exchange(t, a, b)
	if o, _ := a.View().Lookup("deployment/default/web"); string(o.Version.Object) != `{"n":"later"}` {
		t.Errorf("what was done after the restore: %s", o.Version.Object)
	}
}

// undo takes a restore back by what this host knows of what was before it.
func undo(t *testing.T, r *Restorer, by projection.By, id string) (*Restored, error) {
	t.Helper()
	was := Source{}
	if done, ok := r.Ledger.View().LookupRestore(id); ok {
		var err error
		if was, err = r.Before(t.Context(), done); err != nil {
			return nil, err
		}
	}
	return r.Undo(t.Context(), by, id, was)
}
