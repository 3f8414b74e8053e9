package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/projection"
)

// crowded is a ledger before whose commits others have theirs: one of them before each.
type crowded struct {
	Recorder
	others []func()
	asked  int
}

func (c *crowded) Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	if c.asked++; c.asked <= len(c.others) {
		c.others[c.asked-1]()
	}
	return c.Recorder.Record(ctx, by, decide)
}

// What is changed between the backup of what is there and the restore's first commit is in the backup that the undo goes by, whether it was declared
// otherwise, ended or made; and in no other.
func TestRestorer_changedWhileItWasBackedUp(t *testing.T) {
	for what, change := range map[string]map[string]string{
		"changed":         {"deployment/default/web": `{"n":"meanwhile"}`},
		"ended":           {"deployment/default/db": ""},
		"made":            {"deployment/default/new": `{"n":"meanwhile"}`},
		"one for another": {"deployment/default/db": "", "deployment/default/new": `{"n":"meanwhile"}`},
	} {
		h := open(t, t.TempDir())
		r := h.restorer(t)
		h.apply(t, "deployment/default/web", `{"n":1}`)
		h.apply(t, "deployment/default/db", `{"n":1}`)
		from := r.backup(t)
		h.apply(t, "deployment/default/web", `{"n":2}`)
		crowd := &crowded{Recorder: h.Ledger, others: []func(){func() {
			for key, o := range change {
				h.apply(t, key, o)
			}
		}}}
		r.Ledger = crowd
		got, err := r.Restore(t.Context(), projection.By{}, from, nil)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if is := shows(h.View().State); is != declarations(from.Want) {
			t.Errorf("%s: restored\n%s\nwant\n%s", what, is, declarations(from.Want))
		}
		if all := r.Backups.names(t); len(all) != 2 || crowd.asked != 2 {
			t.Errorf("%s: %d commits were tried, and there are %v", what, crowd.asked, all)
		}
		if _, err := undo(t, r, projection.By{}, got.ID); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		want := projection.Declarations{"deployment/default/web": []byte(`{"n":2}`), "deployment/default/db": []byte(`{"n":1}`)}
		for key, o := range change {
			if want[key] = []byte(o); o == "" {
				delete(want, key)
			}
		}
		if is := shows(h.View().State); is != declarations(want) {
			t.Errorf("%s: after the undo\n%s\nwant\n%s", what, is, declarations(want))
		}
	}
}

// A restore that goes on after a crash restores what somebody had deleted between the backup and the first commit: it was deleted before the restore.
func TestRestorer_deletedWhileItWasBackedUp(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	for _, name := range []string{"a", "b", "c"} {
		h.apply(t, "deployment/default/"+name, `{"n":1}`)
	}
	from := r.backup(t)
	r.Most = 1
	r.Ledger = &crowded{Recorder: &failing{h.Ledger, 2}, others: []func(){func() { h.apply(t, "deployment/default/c", "") }}}
	if _, err := r.Restore(t.Context(), projection.By{}, from, nil); !errors.Is(err, errStopped) {
		t.Fatalf("got %v, want it stopped", err)
	}
	r.Ledger = h.Ledger
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != declarations(from.Want) {
		t.Errorf("got\n%s\nwant\n%s", is, declarations(from.Want))
	}
}

// Where something is changed without end nothing is restored, and no backup stays; what the restore is not of holds it up no more than what hosts observe.
func TestRestorer_changedAllTheTime(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	h.apply(t, "deployment/default/web", `{"n":1}`)
	h.apply(t, "service/default/web", `{"n":1}`)
	from := r.backup(t)
	h.apply(t, "deployment/default/web", `{"n":2}`)
	n := 0
	other := func() { n++; h.apply(t, "service/default/web", fmt.Sprintf(`{"n":"more %d"}`, n)) }
	crowd := &crowded{Recorder: h.Ledger, others: []func(){other, other, other, other, other}}
	r.Ledger = crowd
	index := h.View().Index()
	if _, err := r.Restore(t.Context(), projection.By{}, from, nil); !errors.Is(err, errMoved) || !strings.Contains(err.Error(), "try again") {
		t.Errorf("got %v", err)
	}
	if h.View().Index() != index+5 || crowd.asked != 5 || len(r.Backups.names(t)) != 1 || len(Restores(h.View().State)) != 0 {
		t.Errorf("%d events more, %d commits tried, %v", h.View().Index()-index, crowd.asked, r.Backups.names(t))
	}
	crowd.asked = 0
	crowd.others = []func(){func() { other(); h.place(t, projection.Pod{Namespace: "default", Deployment: "web"}) }}
	if _, err := r.Restore(t.Context(), projection.By{}, from, []string{"deployment/default"}); err != nil || crowd.asked != 1 {
		t.Errorf("got %v, %d commits tried", err, crowd.asked)
	}
}
