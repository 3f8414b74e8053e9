package api

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// hear has one host fold all that another has recorded.
func (a *agent) hear(b *agent) {
	a.t.Helper()
	var all [][]byte
	if err := b.log.Read(context.Background(), 0, func(r events.Record) error {
		all = append(all, bytes.Clone(r.Payload))
		return nil
	}); err != nil {
		a.t.Fatal(err)
	}
	got, err := a.ledger.Admit(context.Background(), all)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, x := range got {
		if x.Fate != projection.Taken && x.Fate != projection.Known {
			a.t.Fatalf("a commit was not folded: %+v", x)
		}
	}
}

// two are hosts that have declared one Service, each without knowing of the other's last change.
func two(t *testing.T, first, a2, b2 string) (a, b *agent) {
	a, b = start(t, t.TempDir()), start(t, t.TempDir())
	a.want(200, "POST", "/api/v1/manifests", first)
	b.hear(a)
	for _, x := range []struct {
		on   *agent
		what string
	}{{a, a2}, {b, b2}} {
		if name, ok := strings.CutPrefix(x.what, "delete "); ok {
			x.on.want(200, "DELETE", "/api/v1/manifests/default/"+name+"?kind=service", "")
			continue
		}
		x.on.want(200, "POST", "/api/v1/manifests?cause=because", x.what)
	}
	a.hear(b)
	b.hear(a)
	return a, b
}

func serviceAt(port string) string {
	return `{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"selector":{"app":"a"},"ports":[{"port":` + port + `}]}}`
}

func agreed(t *testing.T, a, b *agent) {
	t.Helper()
	a.hear(b)
	b.hear(a)
	if a.ledger.View().Digest() != b.ledger.View().Digest() {
		t.Error("the two hosts do not agree")
	}
	for _, x := range []*agent{a, b} {
		if c := x.ledger.View().Conflicts(); len(c) > 0 {
			t.Errorf("a conflict is left: %+v", c)
		}
	}
}

func TestConflicts_shownAndReapplied(t *testing.T) {
	a, b := two(t, serviceAt("80"), serviceAt("81"), serviceAt("82"))
	list := a.want(200, "GET", "/swarm/v1/conflicts", "")
	id := list.field("0.event")
	lost, shown := list.field("0.object.spec.ports.0.port"), a.want(200, "GET", "/api/v1/namespaces/default/services/a", "").field("spec.ports.0.port")
	if id == "" || list.field("1") != "" || lost == shown || lost == "" {
		t.Fatalf("listed are %s, and shown is port %s", list.body, shown)
	}
	got := b.want(200, "GET", "/swarm/v1/conflicts/"+id, "")
	if got.field("by.event") != id || got.field("by.node") != "h1" || got.field("by.cause") != "because" || !strings.HasPrefix(got.field("by.actor"), "local") ||
		got.field("shown_by.cause") != "because" || got.field("shown_by.event") == id || got.field("changes.0.field") == "" ||
		!strings.Contains(got.field("changes.0.new"), lost) {
		t.Errorf("shown is %s", got.body)
	}
	got = a.want(200, "POST", "/api/v1/manifests", serviceAt("90"))
	if w := got.header.Get("Warning"); got.field("results.0.conflicts.0") != id || !strings.Contains(w, "psctl conflicts show "+id) {
		t.Errorf("who applies it next is told %s, with the warning %q", got.body, w)
	}
	got = a.want(200, "POST", "/swarm/v1/conflicts/"+id+"/reapply", "")
	if got.field("action") != "reapplied" || got.field("commit") == "" || !strings.Contains(got.field("changes.0.new"), lost) {
		t.Errorf("reapply says %s", got.body)
	}
	agreed(t, a, b)
	if now := b.want(200, "GET", "/api/v1/namespaces/default/services/a", "").field("spec.ports.0.port"); now != lost {
		t.Errorf("shown is port %s, want %s, which had lost", now, lost)
	}
	if got := a.want(200, "POST", "/api/v1/manifests", serviceAt("91")); got.header.Get("Warning") != "" {
		t.Errorf("once it is ended, it still warns: %s", got.header.Get("Warning"))
	}
	b.want(404, "POST", "/swarm/v1/conflicts/"+id+"/dismiss", "")
	a.want(400, "GET", "/swarm/v1/conflicts/nonsense", "")
	a.want(404, "POST", "/swarm/v1/conflicts/"+id+"/forget", "")
}

// Who made the two is told also where the log begins later, and what was before cannot be read.
func TestConflicts_trimmed(t *testing.T) {
	a, _ := two(t, serviceAt("80"), serviceAt("81"), serviceAt("82"))
	read := a.Server.Events
	a.Server.Events = func(ctx context.Context, after uint64, fn func(events.Record) error) error {
		if after < 1 {
			return fmt.Errorf("record 1: %w", events.ErrTrimmed)
		}
		return read(ctx, after, fn)
	}
	a.Server.Tail = &tail.Tail{First: func() uint64 { return 2 }}
	got := a.want(200, "GET", "/swarm/v1/conflicts/"+a.want(200, "GET", "/swarm/v1/conflicts", "").field("0.event"), "")
	if got.field("by.cause") != "because" || got.field("shown_by.cause") != "because" {
		t.Errorf("got %s", got.body)
	}
	a.Server.Tail.First = func() uint64 { return 1 } // and it is trimmed once more meanwhile
	if got := a.want(200, "GET", "/swarm/v1/conflicts/"+got.field("event"), ""); got.field("key") != "service/default/a" || got.field("by") != "" {
		t.Errorf("once nothing tells: got %s", got.body)
	}
}

// What is shown stays as it is, down to the uid, and what was deleted stays deleted.
func TestConflicts_dismissed(t *testing.T) {
	for name, change := range map[string]string{"changed": serviceAt("82"), "deleted": "delete a"} {
		a, b := two(t, serviceAt("80"), serviceAt("81"), change)
		was, there := a.ledger.View().Lookup("service/default/a")
		id := a.want(200, "GET", "/swarm/v1/conflicts", "").field("0.event")
		got := b.want(200, "POST", "/swarm/v1/conflicts/"+id+"/dismiss?cause=agreed", "")
		if got.field("action") != "dismissed" || got.field("changes") != "" {
			t.Errorf("%s: dismiss says %s", name, got.body)
		}
		agreed(t, a, b)
		is, still := a.ledger.View().Lookup("service/default/a")
		if there != still || there && (was.UID != is.UID || !bytes.Equal(was.Version.Object, is.Version.Object)) {
			t.Errorf("%s: shown was %v, and is %v", name, was, is)
		}
		history := b.want(200, "GET", "/swarm/v1/history/service/default/a", "")
		last := ""
		for i := 0; history.field(strconv.Itoa(i)+".index") != ""; i++ {
			last = history.field(strconv.Itoa(i) + ".cause")
		}
		if last != "agreed" {
			t.Errorf("%s: who dismissed it, and why, is not told: %s", name, history.body)
		}
	}
}

// What was changed by one and deleted by the other can be had again.
func TestConflicts_deletedAndReapplied(t *testing.T) {
	a, b := two(t, serviceAt("80"), "delete a", serviceAt("82"))
	list := a.want(200, "GET", "/swarm/v1/conflicts", "")
	if list.field("0.ended") != "true" {
		t.Fatalf("listed are %s", list.body)
	}
	if got := a.want(200, "GET", "/swarm/v1/conflicts/"+list.field("0.event"), ""); got.field("shown_by.event") == "" || got.field("shown") != "" {
		t.Errorf("shown is %s", got.body)
	}
	a.want(200, "POST", "/swarm/v1/conflicts/"+list.field("0.event")+"/reapply", "")
	agreed(t, a, b)
	if _, ok := b.ledger.View().Lookup("service/default/a"); !ok {
		t.Error("it is not back")
	}
}

// What comes from another host and is older than what is shown is told of as lost: nothing is what it is because of it.
func TestHistory_whatWasLost(t *testing.T) {
	a, b := two(t, serviceAt("80"), serviceAt("81"), serviceAt("82"))
	shown := a.want(200, "GET", "/api/v1/namespaces/default/services/a", "").field("spec.ports.0.port")
	lost := 0
	for _, x := range []*agent{a, b} {
		all, last := x.want(200, "GET", "/swarm/v1/history/service/default/a", ""), ""
		for i := range 3 {
			at := strconv.Itoa(i)
			if all.field(at+".action") == "lost" {
				lost++
				continue
			}
			last = all.field(at + ".object.spec.ports.0.port")
		}
		if last != shown {
			t.Errorf("shown is port %s, and history ends with %s: %s", shown, last, all.body)
		}
		if blame := x.want(200, "GET", "/swarm/v1/blame/service/default/a", ""); !strings.Contains(string(blame.body), `.port","value":`+shown) {
			t.Errorf("shown is port %s, and blame says %s", shown, blame.body)
		}
	}
	if lost != 1 {
		t.Errorf("%d are lost, want that of the host which had the newer one first", lost)
	}
}
