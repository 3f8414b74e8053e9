package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shows waits until a path answers with a text.
func (r *running) shows(t *testing.T, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got := r.ask(t, "GET", path, "", http.StatusOK)
		if strings.Contains(got, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never shows %q:\n%s\n%s", path, text, got, &r.said)
		}
	}
}

// incremented waits until all of the log is in increments; the agent goes on recording what it sees of itself.
func (r *running) incremented(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		end := r.index(t)
		if strings.Contains(r.ask(t, "GET", "/metrics", "", http.StatusOK), fmt.Sprintf("podman_swarm_backup_increment_index %d\n", end)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the increments do not reach the end of the log, which is at event %d:\n%s", end, &r.said)
		}
	}
}

// A backup that is damaged is found by the drill at the start, and said; it holds no change up, and the next backup ends it.
func TestDrill_damageIsSaid(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	r.backupOf(t, dir)
	r.shows(t, "/metrics", "podman_swarm_backup_drill_errors_total 0")
	r.end(t)
	for _, backup := range glob(t, dir, "state-backup-*.json") { // the agent makes one of its own as well
		if err := os.Truncate(backup, 1000); err != nil {
			t.Fatal(err)
		}
	}
	r = start(t, dir, "--backup-interval=0", "--backup-increment-interval=0")
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

// A folder of backups and increments is enough to have any moment back, on a host that has nothing else.
func TestIncrements_aNewHostFromTheFolder(t *testing.T) {
	dir, kept := t.TempDir(), filepath.Join(t.TempDir(), "kept")
	r := start(t, dir, "--backup-dir="+kept, "--backup-increment-interval=20ms")
	r.ask(t, "POST", "/api/v1/manifests", svc("first"), http.StatusOK)
	r.shows(t, "/swarm/v1/backups", ".json")
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	moment := r.index(t)
	r.ask(t, "DELETE", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.ask(t, "POST", "/api/v1/manifests", svc("new"), http.StatusOK)
	r.incremented(t)
	// On the host itself, by the log.
	if plan := r.ask(t, "POST", fmt.Sprintf("/swarm/v1/restores?dry_run=true&at=%d", moment), "", http.StatusOK); !strings.Contains(plan, `"restart":0`) || strings.Count(plan, "deleted") != 1 {
		t.Errorf("got %s", plan)
	}
	r.end(t)

	// What is elsewhere is as good.
	copied := filepath.Join(t.TempDir(), "copied")
	if err := os.CopyFS(copied, os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	var said lines
	if code := run(t.Context(), []string{"backup", "verify", copied}, nil, &said, &said); code != 0 || !strings.Contains(said.String(), "is whole, and goes on to event") {
		t.Errorf("ended with %d: %s", code, &said)
	}
	args := []string{"backup", "extract", copied, "--at", fmt.Sprint(moment), "-o", filepath.Join(other, "state.json")}
	if code := run(t.Context(), args, nil, &said, &said); code != 0 || !strings.Contains(said.String(), fmt.Sprintf("has the state of host a at event %d, ", moment)) {
		t.Fatalf("ended with %d: %s", code, &said)
	}
	if code := run(t.Context(), args, nil, &said, &said); code != 1 {
		t.Errorf("over a file that is there: ended with %d: %s", code, &said)
	}
	for _, wrong := range [][]string{{"--at", "noon", "-o", "x"}, {"--at", "5"}} {
		if code := run(t.Context(), append([]string{"backup", "extract", copied}, wrong...), nil, &said, &said); code != 2 {
			t.Errorf("%v: ended with %d", wrong, code)
		}
	}
	r = start(t, other)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/new", "", http.StatusNotFound)
	r.end(t)
}

// Where the log is lost, and nobody has put a backup there, the agent goes back to the last that the folder has, not to the last full hour; what of it
// cannot be read it names.
func TestRestore_fallsBackWithIncrements(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, "--backup-increment-interval=20ms", "--backup-interval=0")
	r.ask(t, "POST", "/api/v1/manifests", svc("first"), http.StatusOK)
	r.incremented(t) // from now on a backup says which increments are its own
	r.backupOf(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	r.incremented(t)
	r.end(t)
	for _, damaged := range []bool{false, true} {
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, "events")), os.WriteFile(filepath.Join(dir, "state.json"), []byte("{"), 0o640)); err != nil {
			t.Fatal(err)
		}
		says, web := "going back to the newest backup", http.StatusOK
		if damaged {
			says, web = "what was changed after that backup is lacking", http.StatusNotFound
		}
		copied := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if damaged {
			pieces, err := filepath.Glob(filepath.Join(copied, "increments", "*", "log-*"))
			if err != nil || len(pieces) == 0 {
				t.Fatalf("got %v, %v", pieces, err)
			}
			for _, p := range pieces {
				if err := os.WriteFile(p, []byte("("), 0o640); err != nil {
					t.Fatal(err)
				}
			}
		}
		r = start(t, copied)
		r.ask(t, "GET", "/api/v1/namespaces/default/services/first", "", http.StatusOK)
		r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", web)
		if !strings.Contains(r.said.String(), says) {
			t.Errorf("it does not say %q:\n%s", says, &r.said)
		}
		r.end(t)
	}
}

// A folder outside the data dir is made with a new log alone: else its disk is not mounted, it seems, and a person must say that it is a new one.
func TestBackup_folderApart(t *testing.T) {
	dir, mount := t.TempDir(), t.TempDir()
	r := start(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	r.end(t)
	kept := filepath.Join(mount, "kept")
	r = start(t, dir, "--backup-dir="+kept, "--backup-interval=0")
	r.shows(t, "/swarm/v1/status", "there is no folder "+kept+": mount its disk; on a new one, make it once")
	if _, err := os.Stat(kept); err == nil {
		t.Error("it is made")
	}
	if err := os.Mkdir(kept, 0o750); err != nil {
		t.Fatal(err)
	}
	r.ask(t, "POST", "/swarm/v1/backups", "", http.StatusCreated)
	r.end(t)
	r = start(t, dir, "--backup-dir="+filepath.Join(dir, "within"), "--backup-interval=0")
	r.ask(t, "POST", "/swarm/v1/backups", "", http.StatusCreated)
	r.end(t)
}

// index is that of the last event in the log.
func (r *running) index(t *testing.T) uint64 {
	t.Helper()
	var h struct{ Index uint64 }
	if err := json.Unmarshal([]byte(r.ask(t, "GET", "/api/v1/health", "", http.StatusOK)), &h); err != nil {
		t.Fatal(err)
	}
	return h.Index
}

// trims writes until something is trimmed off the log: first of all a Service, which is there after the event that it gives, and deleted in the end.
func (r *running) trims(t *testing.T) (first uint64) {
	t.Helper()
	r.ask(t, "POST", "/api/v1/manifests", svc("first"), http.StatusOK)
	first = r.index(t) // what an agent says of itself at its start comes before it, or after
	fill := strings.Repeat("x", 200_000)
	for i := range 24 { // a segment and more
		var items []string
		for j := range 2 {
			items = append(items, fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"name":"big%d","annotations":{"n":"%d","fill":%q}},"spec":{"ports":[{"port":80}]}}`, j, i, fill))
		}
		r.ask(t, "POST", "/api/v1/manifests", `{"apiVersion":"v1","kind":"List","items":[`+strings.Join(items, ",")+`]}`, http.StatusOK)
	}
	r.ask(t, "DELETE", "/api/v1/namespaces/default/services/first", "", http.StatusOK)
	trimmed := func() bool {
		return !strings.Contains(r.ask(t, "GET", "/metrics", "", http.StatusOK), "podman_swarm_log_first_index 1\n")
	}
	for deadline := time.Now().Add(time.Minute); !trimmed(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing is trimmed: %s\n%s", r.ask(t, "GET", "/swarm/v1/status", "", http.StatusOK), &r.said)
		}
	}
	return first
}

// What is trimmed off the log is still told of, and stays so over a start.
func TestLogKeep_historyIsStillTold(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--log-keep=1MiB", "--backup-increment-interval=300ms", "--backup-interval=1s"}
	r := start(t, dir, args...)
	first := r.trims(t)
	for range 2 {
		if told := r.ask(t, "GET", "/swarm/v1/events", "", http.StatusOK); !strings.HasPrefix(told, `{"index":1,`) || strings.Count(told, `"key":"service/default/big`) != 48 {
			t.Errorf("of what was trimmed %d events are told, from %.30s on", strings.Count(told, `"key":"service/default/big`), told)
		}
		if was := r.ask(t, "GET", fmt.Sprint("/api/v1/namespaces/default/services/first?at=", first), "", http.StatusOK); !strings.Contains(was, `"name":"first"`) {
			t.Errorf("got %s", was)
		}
		if told := r.ask(t, "GET", "/swarm/v1/history/service/default/first", "", http.StatusOK); strings.Count(told, `"action"`) != 2 {
			t.Errorf("its history is %s", told)
		}
		r.end(t)
		r = start(t, dir, args...)
	}
	r.end(t)
}

// That old backups are not removed is said, until they are. One of a time to come is not the newest.
func TestBackupKeep_someStay(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state-backup-21260101-000000.json"), []byte("{}"), 0o640); err != nil {
		t.Fatal(err)
	}
	r := start(t, dir, "--backup-keep-last=1", "--backup-keep-hourly=0", "--backup-keep-daily=0", "--backup-keep-weekly=0", "--backup-interval=0")
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	r.shows(t, "/metrics", "podman_swarm_backup_last_success_timestamp_seconds 0\n")
	r.ask(t, "POST", "/swarm/v1/backups", "", http.StatusCreated)
	for _, path := range glob(t, dir, "state-backup-202[0-9]*.json") { // an older one, which it did not have when it made this
		copyFile(t, path, filepath.Join(dir, "state-backup-20200121-120000.json"))
	}
	for _, path := range glob(t, dir, "state-backup-*.json") {
		if err := os.Truncate(path, 10); err != nil {
			t.Fatal(err)
		}
	}
	const problem = "old backups are not removed"
	r.ask(t, "POST", "/swarm/v1/backups/prune", "", http.StatusConflict)
	r.shows(t, "/swarm/v1/status", problem)
	r.shows(t, "/swarm/v1/status", "none of the backups is whole")
	r.shows(t, "/metrics", "podman_swarm_backup_prune_failing 1\n")
	r.ask(t, "POST", "/swarm/v1/backups", "", http.StatusCreated)
	r.ask(t, "POST", "/swarm/v1/backups/prune", "", http.StatusOK)
	if status := r.ask(t, "GET", "/swarm/v1/status", "", http.StatusOK); strings.Contains(status, problem) {
		t.Errorf("they are: %s", status)
	}
	r.shows(t, "/metrics", "podman_swarm_backup_prune_failing 0\n")
	r.end(t)
}

// Backups come to be elsewhere; where they cannot, that is said, and nothing waits for it.
func TestBackupTo_aFolder(t *testing.T) {
	dir, there := t.TempDir(), t.TempDir()
	r := start(t, dir, "--backup-to="+there)
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	name := filepath.Base(r.backupOf(t, dir))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(there, name)); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come there:\n%s", name, &r.said)
		}
	}
	r.end(t)
	r = start(t, dir, "--backup-to="+filepath.Join(there, "unmounted"))
	r.shows(t, "/swarm/v1/status", "backups are not copied elsewhere")
	r.shows(t, "/swarm/v1/status", "there is no folder "+filepath.Join(there, "unmounted"))
	r.ask(t, "POST", "/api/v1/manifests", svc("other"), http.StatusOK)
	r.backupOf(t, dir)
	if m := r.ask(t, "GET", "/metrics", "", http.StatusOK); !strings.Contains(m, "podman_swarm_backup_copy_last_success_timestamp_seconds 0\n") {
		t.Errorf("the metrics do not say so:\n%s", m)
	}
	r.end(t)
}
