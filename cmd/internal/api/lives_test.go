package api

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/projection"
)

// taken is a copy of a host's state, as another is told it.
func (a *agent) taken() *projection.State {
	a.t.Helper()
	var raw bytes.Buffer
	if err := a.ledger.View().Encode(&raw); err != nil {
		a.t.Fatal(err)
	}
	s, err := projection.DecodeState(&raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

// What was given up is recorded again under another uid, and what was taken over as state may have ended what the log has the creation of: in either case
// nothing in the log ends the first, and who deletes the object has deleted it.
func TestHistory_afterJumps(t *testing.T) {
	ctx := context.Background()
	const history, blame = "/swarm/v1/history/service/default/a", "/swarm/v1/blame/service/default/a"
	for name, c := range map[string]struct {
		jump    func(a, b *agent) error
		actions string
	}{
		"given up": {func(a, b *agent) error { return b.ledger.GiveUp(ctx, a.log.Incarnation(), 0, "a fork") }, "created configured created configured deleted"},
		"ended elsewhere": {func(a, b *agent) error {
			a.want(200, "DELETE", "/api/v1/manifests/default/a?kind=service", "")
			if err := b.ledger.Join(ctx, a.taken(), "a test"); err != nil {
				return err
			}
			b.want(200, "POST", "/api/v1/manifests", serviceAt("81"))
			return nil
		}, "created configured " + notHeld + " created deleted"},
	} {
		a, b := start(t, t.TempDir()), start(t, t.TempDir())
		a.want(200, "POST", "/api/v1/manifests", serviceAt("80"))
		a.want(200, "POST", "/api/v1/manifests", serviceAt("81"))
		b.hear(a)
		was := a.taken()
		if err := c.jump(a, b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := b.want(200, "GET", blame, ""); !strings.Contains(string(got.body), `.port","value":81`) {
			t.Errorf("%s: blame says %s", name, got.body)
		}
		b.want(200, "DELETE", "/api/v1/manifests/default/a?kind=service", "")
		if _, ok := b.ledger.View().Lookup("service/default/a"); ok {
			t.Fatalf("%s: it is not deleted", name)
		}
		all, actions := b.want(200, "GET", history, ""), ""
		for i := 0; all.field(strconv.Itoa(i)+".action") != ""; i++ {
			actions += " " + all.field(strconv.Itoa(i)+".action")
		}
		if actions != " "+c.actions {
			t.Errorf("%s: got%s, want %s: %s", name, actions, c.actions, all.body)
		}
		if got := strings.TrimSpace(string(b.want(200, "GET", blame, "").body)); got != "[]" {
			t.Errorf("%s: it is deleted, and blame says %s", name, got)
		}
		if name != "given up" {
			continue
		}
		// Of the incarnation nothing counts any more: what is taken over of it later is lacked from its first event on.
		if err := b.ledger.Join(ctx, was, "a test"); err != nil {
			t.Fatal(err)
		}
		if got := b.want(200, "GET", history, ""); got.field("5.action") != notHeld || got.field("5.not_held.0.from") != "1" {
			t.Errorf("%s, and taken over: %s", name, got.body)
		}
	}
}
