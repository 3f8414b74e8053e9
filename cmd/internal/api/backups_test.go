package api

import (
	"os"
	"path/filepath"
	"testing"

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
