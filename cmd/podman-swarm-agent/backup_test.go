package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/snapshot"
)

// Failure A.22: backups are not atomic, names collide within a second, the first comes after an hour, none is pruned. Ours:
// one soon after the start where none is young, unique names, and the rules are kept.
func TestBackup_atTheStartAndOnDemand(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, "--backup-dir="+filepath.Join(dir, "kept"), "--backup-interval=1s", "--backup-keep-last=2", "--backup-keep-hourly=0",
		"--backup-keep-daily=0", "--backup-keep-weekly=0")
	r.ask(t, "POST", "/api/v1/manifests", service, http.StatusOK)
	first := r.ask(t, "POST", "/swarm/v1/backups?pin=true", "", http.StatusCreated)
	second := r.ask(t, "POST", "/swarm/v1/backups", "", http.StatusCreated)
	if first == second {
		t.Errorf("two backups of one name: %s", first)
	}
	var made []snapshot.Kept
	scheduled := func() (n int) { // of those that were made unasked
		made = nil
		if err := json.Unmarshal([]byte(r.ask(t, "GET", "/swarm/v1/backups", "", http.StatusOK)), &made); err != nil {
			t.Fatal(err)
		}
		return strings.Count(r.said.String(), "a backup was made")
	}
	for deadline := time.Now().Add(20 * time.Second); scheduled() < 3; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no backups are made unasked:\n%s", &r.said)
		}
	}
	pinned, others := 0, 0
	for _, b := range made {
		if b.Pinned {
			pinned++
		} else {
			others++
		}
		if b.Why == nil {
			continue // it may be gone by now
		}
		data, err := os.ReadFile(filepath.Join(dir, "kept", b.Name))
		if err != nil {
			continue
		}
		backup, err := snapshot.ReadBackup(data)
		if err != nil {
			t.Errorf("%s: %v", b.Name, err)
		} else if _, ok := backup.State.Lookup("service/default/web"); !ok && b.Pinned {
			t.Errorf("%s does not have what was applied before", b.Name)
		}
	}
	if pinned != 1 || others > 3 { // two that stay, and one that was just made
		t.Errorf("got %d pinned and %d others: %+v", pinned, others, made)
	}
	if m := r.ask(t, "GET", "/metrics", "", http.StatusOK); !strings.Contains(m, "podman_swarm_backups_total ") || strings.Contains(m, "podman_swarm_backup_last_success_timestamp_seconds 0\n") {
		t.Errorf("the metrics say nothing of backups:\n%s", m)
	}
	r.end(t)
}
