package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// shows waits until a path answers with a text.
func (r *running) shows(t *testing.T, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got := r.ask(t, "GET", path, "", http.StatusOK)
		if strings.Contains(got, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never shows %q:\n%s\n%s", path, text, got, &r.said)
		}
	}
}

// A backup that is damaged is found by the drill at the start, and said; it holds no change up, and the next backup ends it.
func TestDrill_damageIsSaid(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	backup := r.backupOf(t, dir)
	r.shows(t, "/metrics", "podman_swarm_backup_drill_errors_total 0")
	r.end(t)
	if err := os.Truncate(backup, 1000); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, "--backup-interval=0")
	r.shows(t, "/swarm/v1/status", "the newest backup cannot be restored from")
	r.ask(t, "POST", "/api/v1/manifests", svc("other"), http.StatusOK)
	if m := r.ask(t, "GET", "/metrics", "", http.StatusOK); !strings.Contains(m, "podman_swarm_backup_last_verified_timestamp_seconds 0\n") ||
		!strings.Contains(m, "podman_swarm_backup_drill_errors_total 1\n") {
		t.Errorf("the metrics do not say so:\n%s", m)
	}
	r.backupOf(t, dir)
	r.shows(t, "/metrics", "podman_swarm_backup_drills_total 2\n")
	if st := r.ask(t, "GET", "/swarm/v1/status", "", http.StatusOK); strings.Contains(st, "cannot be restored from") {
		t.Errorf("after a whole one it is still said: %s", st)
	}
	if m := r.ask(t, "GET", "/metrics", "", http.StatusOK); strings.Contains(m, "podman_swarm_backup_last_verified_timestamp_seconds 0\n") {
		t.Errorf("the metrics do not say when it was verified:\n%s", m)
	}
	r.end(t)
}
