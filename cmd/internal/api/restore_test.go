package api

import (
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// A host that dies in the middle of a restore leaves the others with a part of it: that is a problem, until it goes on with it, or another restore takes its place.
func TestStatus_unfinishedRestore(t *testing.T) {
	var ahead time.Duration
	a := start(t, t.TempDir(), func(s *Server) { s.Now = func() time.Time { return time.Now().Add(ahead) } })
	fact := func(id string, r projection.Restore) {
		t.Helper()
		a.record(projection.Change{Kind: events.Observed, Key: projection.RestoreKey(id), Object: projection.Encode(r)})
	}
	problems := func() string {
		t.Helper()
		return a.want(200, "GET", "/swarm/v1/status", "").field("problems")
	}
	begun := projection.Restore{Host: "h2", From: "a backup", Asked: time.Now(), Count: 7}
	fact("theirs", begun)
	if got := problems(); got != "" {
		t.Errorf("while it is being done: %s", got)
	}
	ahead = 2 * time.Minute
	own := begun
	own.Host, own.Only = "h1", []string{"service"}
	fact("ours", own) // of which the agent itself says what keeps it
	got := problems()
	if strings.Count(got, `"what"`) != 1 || !strings.Contains(got, "restore of a backup is unfinished") || !strings.Contains(got, "host h2, which does it") || !strings.Contains(got, "after 7 objects") ||
		!strings.Contains(got, "psctl undo theirs") {
		t.Errorf("got %s", got)
	}
	later := begun
	later.Asked, later.Done = begun.Asked.Add(time.Second), begun.Asked.Add(time.Second)
	fact("later", later)
	if got := problems(); got != "" {
		t.Errorf("another has taken its place: %s", got)
	}
	if got := a.want(200, "GET", "/swarm/v1/restores", "").body; !strings.Contains(string(got), `"over":"later"`) {
		t.Errorf("it is not listed as over: %s", got)
	}
}
