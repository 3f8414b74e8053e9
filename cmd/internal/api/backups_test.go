package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// What a backup on demand leaves behind is what the rules keep, also where none is made unasked, as here. That an old one cannot be removed is
// for the status, and no reason to say that there is no backup.
func TestBackups_onDemandTidies(t *testing.T) {
	a := restoring(t, func(s *Server) { s.Backups.Keep = snapshot.Keep{Last: 2} })
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	pinned := a.want(201, "POST", "/swarm/v1/backups?pin=true", "").field("name")
	var made []string
	for range 4 {
		made = append(made, a.want(201, "POST", "/swarm/v1/backups", "").field("name"))
	}
	all, err := a.Backups.List()
	if err != nil || len(all) != 3 || all[0].Name != pinned || all[1].Name != made[2] || all[2].Name != made[3] {
		t.Errorf("got %+v, %v, want %s and the last two of %v", all, err, pinned, made)
	}
	left := filepath.Join(a.Backups.Dir, "state-backup-20250101-000000.json.age.about", "x") // which is to be swept, and cannot be
	if err := os.MkdirAll(left, 0o750); err != nil {
		t.Fatal(err)
	}
	if last := a.want(201, "POST", "/swarm/v1/backups", "").field("name"); last == "" || a.Backups.Made().Stays == nil {
		t.Errorf("made %q, and of what stays it says %v", last, a.Backups.Made().Stays)
	}
}

// backupsEvent is an event that tells of the backups.
type backupsEvent struct {
	Kind   string             `json:"kind"`
	Key    string             `json:"key"`
	Actor  string             `json:"actor"`
	Cause  string             `json:"cause"`
	Agent  string             `json:"user_agent"`
	Object projection.Backups `json:"object"`
}

// toldOfBackups are the events that tell of the backups.
func (a *agent) toldOfBackups() (all []backupsEvent) {
	a.t.Helper()
	for line := range strings.Lines(string(a.want(200, "GET", "/swarm/v1/events?key=backup", "").body)) {
		var e backupsEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			a.t.Fatalf("%s: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// Who asked for a backup, brought one, and had old ones removed stands in one event each; and in none where nothing was done.
func TestBackups_whoAsked(t *testing.T) {
	a := restoring(t, func(s *Server) { s.Backups.Keep = snapshot.Keep{Last: 3} })
	const program = "User-Agent: cron/7"
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	first := a.want(201, "POST", "/swarm/v1/backups?cause=before+the+upgrade", "", program).field("name")
	all := a.toldOfBackups()
	if len(all) != 1 || all[0].Kind != "observed" || all[0].Key != "backup/h1" || !strings.HasPrefix(all[0].Actor, "local") || all[0].Agent != "cron/7" ||
		all[0].Cause != "before the upgrade" || all[0].Object.Name != first || all[0].Object.Bytes == 0 {
		t.Errorf("a backup: got %+v, want %s", all, first)
	}
	if m := a.Backups.Made(); m.Count != 1 || m.Told != 1 || m.Untold != nil {
		t.Errorf("the agent would tell of it again: %+v", m)
	}
	left, leave := context.WithCancel(t.Context())
	leave() // what was done was done, though whoever asked has left since
	q := &request{Request: httptest.NewRequestWithContext(left, "POST", "/swarm/v1/backups/prune", nil), s: a.Server}
	if err := q.tellOfBackup(projection.By{Actor: "gone"}, projection.Backups{Removed: []string{"one"}}); err != nil {
		t.Error(err)
	}
	if all = a.toldOfBackups(); len(all) != 2 || all[1].Actor != "gone" {
		t.Errorf("of who has left: %+v", all)
	}
	for range 9 {
		a.want(201, "POST", "/swarm/v1/backups", "")
	}
	if all = slices.Delete(a.toldOfBackups(), 1, 2); len(all) != 10 {
		t.Fatalf("of ten backups tell %d events", len(all))
	}

	index, backup := a.index(), string(a.want(200, "GET", "/swarm/v1/backups/"+all[9].Object.Name, "").body)
	a.want(200, "POST", "/swarm/v1/backups/prune?cause=none", "", program)
	a.want(201, "POST", "/swarm/v1/backups/upload?cause=it+is+there", backup, program)
	a.Backups.Keep.Last = 1
	a.want(200, "POST", "/swarm/v1/backups/prune?dry_run=true&cause=dry", "", program)
	if now := a.index(); now != index {
		t.Errorf("of what was not done %d events tell", now-index)
	}
	a.want(200, "POST", "/swarm/v1/backups/prune?cause=room", "", program)
	if got := a.toldOfBackups()[11:]; len(got) != 1 || got[0].Agent != "cron/7" || got[0].Cause != "room" || got[0].Object.Name != "" ||
		!slices.Equal(got[0].Object.Removed, []string{all[7].Object.Name, all[8].Object.Name}) {
		t.Errorf("pruned: got %+v", got)
	}
	if err := os.Remove(filepath.Join(a.Backups.Dir, all[9].Object.Name)); err != nil {
		t.Fatal(err)
	}
	name := a.want(201, "POST", "/swarm/v1/backups/upload?cause=from+afar", backup, program).field("name")
	if got := a.toldOfBackups()[12:]; len(got) != 1 || got[0].Cause != "from afar" || got[0].Object.Name != name || !got[0].Object.Brought {
		t.Errorf("brought: got %+v, want %s", got, name)
	}
}

// Where nothing can be recorded backups are made and removed all the same: that is what a full disk wants. The agent tells of them later.
func TestBackups_whoAskedIsNotRecorded(t *testing.T) {
	a, disk, _ := onFullDisk(t)
	refusing := ""
	a.Refusing = func() string { return refusing }
	a.Backups = &snapshot.Backups{Dir: t.TempDir(), Node: "h1", Ledger: a.Server.Ledger, Keep: snapshot.Keep{Last: 2}, Log: slog.New(slog.DiscardHandler)}
	index := a.Server.Ledger.View().Index()
	for n, stop := range []func(){func() { disk.full.Store(true) }, func() { disk.full.Store(false); refusing = "hearing the peers" }} {
		stop()
		a.Backups.Keep.Last = 2
		for range 2 {
			a.want(201, "POST", "/swarm/v1/backups?cause=now", "")
		}
		a.Backups.Keep.Last = 1
		a.want(200, "POST", "/swarm/v1/backups/prune?cause=room", "")
		if all, err := a.Backups.List(); err != nil || len(all) != 1 {
			t.Errorf("got %v, %v, want the newest", all, err)
		}
		if m := a.Backups.Made(); m.Told != 0 || m.Untold == nil || m.Untold.Name != m.Last.Name {
			t.Errorf("the agent would not tell of it: %+v", m)
		}
		if now := a.Server.Ledger.View().Index(); now != index {
			t.Errorf("%d events were recorded", now-index)
		}
		if said := strings.Count(a.said.String(), "nor who asked"); said != 3*(n+1) {
			t.Errorf("it is said %d times:\n%s", said, a.said)
		}
	}
}

// What an event tells of those that were removed is bounded.
func TestBackups_manyRemoved(t *testing.T) {
	a := restoring(t, func(s *Server) { s.Backups.Keep = snapshot.Keep{Last: 1} })
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	for n := range 250 {
		if err := os.WriteFile(filepath.Join(a.Backups.Dir, fmt.Sprintf("state-backup-20250101-%06d.json", n/60*100+n%60)), nil, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Backups.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	a.want(200, "POST", "/swarm/v1/backups/prune", "")
	if all := a.toldOfBackups(); len(all) != 1 || len(all[0].Object.Removed) != 100 || all[0].Object.More != 150 {
		t.Errorf("got %d events: %.300v", len(all), all)
	}
}
