package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
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
	for deadline := time.Now().Add(time.Minute); scheduled() < 3; time.Sleep(50 * time.Millisecond) {
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
	if pinned != 1 || others > 5 { // two that stay, one that was just made, the newest that was verified, and one that is being
		t.Errorf("got %d pinned and %d others: %+v", pinned, others, made)
	}
	if m := r.ask(t, "GET", "/metrics", "", http.StatusOK); !strings.Contains(m, "podman_swarm_backups_total ") || strings.Contains(m, "podman_swarm_backup_last_success_timestamp_seconds 0\n") {
		t.Errorf("the metrics say nothing of backups:\n%s", m)
	}
	r.end(t)
}

// backupOf makes a backup, pinned, and gives where it is.
func (r *running) backupOf(t *testing.T, dir string) string {
	t.Helper()
	var f snapshot.BackupFile
	if err := json.Unmarshal([]byte(r.ask(t, "POST", "/swarm/v1/backups?pin=true", "", http.StatusCreated)), &f); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, f.Name)
}

func fileOf(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(to, fileOf(t, from), 0o640); err != nil {
		t.Fatal(err)
	}
}

// Failure A.18: the documented restore (cp a backup over state.json, start) is undone or half applied. Ours is recognised, done
// once, in the history, and not repeated by further starts, whenever they come. Failure B.6: it needs nothing but the file.
func TestRestore_copiedOverStateJSON(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state.json")
	r := start(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	backup := r.backupOf(t, dir)
	r.ask(t, "DELETE", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.ask(t, "POST", "/api/v1/manifests", svc("new"), http.StatusOK)
	r.end(t)
	copyFile(t, backup, state)

	r = start(t, dir)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/new", "", http.StatusNotFound)
	ours := func() bool {
		b, err := os.ReadFile(state)
		return err == nil && strings.HasPrefix(string(b), "{\n  \"deployments\"")
	}
	for deadline := time.Now().Add(time.Minute); !ours(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("state.json is not written again:\n%s", &r.said)
		}
	}
	if events := r.ask(t, "GET", "/swarm/v1/events", "", http.StatusOK); strings.Count(events, "it stood as state.json") != 3 { // the fact, web and new
		t.Errorf("the log does not tell of one restore:\n%s", events)
	}
	if said := r.said.String(); !strings.Contains(said, "what stood as state.json has been restored, and is set aside") || strings.Contains(said, "changes nothing") {
		t.Errorf("it is not said that it was restored:\n%s", said)
	}
	r.ask(t, "DELETE", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.end(t)
	for range 2 {
		r = start(t, dir)
		r.ask(t, "GET", "/readyz", "", http.StatusServiceUnavailable) // there is no Podman
		r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusNotFound)
		r.end(t)
	}
	// The very file that was restored comes back with its old time, as by cp -p: it was done already.
	aside, err := filepath.Glob(state + ".set-aside-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("got %v, %v", aside, err)
	}
	if err := os.Rename(aside[0], state); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", svc("later"), http.StatusOK)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusNotFound)
	r.end(t)
	again, err := filepath.Glob(state + ".set-aside-*")
	if err != nil || len(again) != 1 {
		t.Fatalf("got %v, %v", again, err)
	}
	for _, want := range []string{"has been restored already", "touch it", `to_apply_it="psctl restore ` + again[0] + `"`} {
		if !strings.Contains(r.said.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &r.said)
		}
	}

	// A new host, with nothing but the backup.
	other := t.TempDir()
	copyFile(t, backup, filepath.Join(other, "state.json"))
	r = start(t, other)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.end(t)

	// One that is damaged changes nothing, and is set aside.
	data, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(state, data, 0o640); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/later", "", http.StatusOK)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusNotFound)
	if !strings.Contains(r.said.String(), "what stands as state.json cannot be restored from") || !strings.Contains(r.said.String(), "set aside") {
		t.Errorf("nobody says so:\n%s", &r.said)
	}
	r.end(t)
}

// A state.json that was edited by hand is not obeyed: it is set aside, and the log names the command that would apply it. That does.
func TestRestore_editedByHand(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state.json")
	r := start(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	r.end(t)
	edit := func() {
		t.Helper()
		was, err := os.ReadFile(state)
		if err != nil {
			t.Fatal(err)
		}
		is := bytes.ReplaceAll(was, []byte(`"port":80`), []byte(`"port":81`))
		if bytes.Equal(is, was) {
			t.Fatalf("there is no port in %s", was)
		}
		if err := os.WriteFile(state, is, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	edit()
	r = start(t, dir)
	if web := r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK); !strings.Contains(web, `"port":80`) {
		t.Errorf("it was obeyed: %s", web)
	}
	aside, err := filepath.Glob(state + ".set-aside-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("got %v, %v", aside, err)
	}
	if want := `to_apply_it="psctl restore ` + aside[0] + `"`; !strings.Contains(r.said.String(), want) {
		t.Errorf("the log does not say %s:\n%s", want, &r.said)
	}
	edited, err := os.ReadFile(aside[0])
	if err != nil {
		t.Fatal(err)
	}
	r.ask(t, "POST", "/swarm/v1/backups/edited/restore", string(edited), http.StatusOK)
	if web := r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK); !strings.Contains(web, `"port":81`) {
		t.Errorf("it was not applied: %s", web)
	}
	r.ask(t, "POST", "/swarm/v1/backups/upload", string(edited), http.StatusBadRequest) // it is no backup
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if b, err := os.ReadFile(state); err == nil && bytes.Contains(b, []byte(`"port":81`)) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("state.json is not written")
		}
	}
	r.end(t)

	// Nothing is said of how to apply what is no such file.
	if err := os.WriteFile(state, []byte("{}"), 0o640); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	if strings.Contains(r.said.String(), "psctl restore") {
		t.Errorf("how is this to be applied?\n%s", &r.said)
	}
	r.end(t)
}

// Failure A.18, in a cluster: the documented restore, by cp on one host while another is away, that has changed things meanwhile: when it
// is back, all hosts show what was restored. What it changed is listed, and what it made anew stands and is named.
func (s *trio) restore(t *testing.T) {
	s.a.apply(t, "kept", "then")
	backup := s.a.backupOf(t, s.a.dir)
	s.a.apply(t, "kept", "now")
	s.a.apply(t, "extra", "now")
	s.c.shows(t, "extra", "now")
	s.split()
	s.c.apply(t, "kept", "away")
	s.c.apply(t, "anew", "away")
	s.c.end(t)
	s.a.wire.set(false)
	s.b.wire.set(false)
	s.a.end(t)
	copyFile(t, backup, filepath.Join(s.a.dir, "state.json"))
	s.a.start()
	for _, h := range []*far{s.a, s.b} {
		h.shows(t, "kept", "then")
		h.ask(t, "GET", path("extra"), "", http.StatusNotFound)
	}
	s.c.start()
	s.heal(t)
	for _, h := range s.all() {
		h.shows(t, "kept", "then")
		h.shows(t, "anew", "away")
		h.ask(t, "GET", path("extra"), "", http.StatusNotFound)
		if lost := h.lost(t)["kept"]; !slices.Equal(lost, []string{"away"}) {
			t.Errorf("host %s lists as lost of kept: %v", h.name, lost)
		}
		if r := h.ask(t, "GET", "/swarm/v1/restores", "", http.StatusOK); !strings.Contains(r, `"unseen":[{"key":"service/default/anew"`) {
			t.Errorf("host %s does not name what the restore had not seen: %s", h.name, r)
		}
	}
	s.b.apply(t, "kept", "later")
	s.c.shows(t, "kept", "later")
}

// A backup that stands as state.json of a host with no log is restored by itself only where nobody else has what is newer: one that joins others, or that they
// know already, sets it aside and says how to restore it.
func TestRestore_notWhereOthersAre(t *testing.T) {
	a := newHost(t, "a").start(t)
	a.ask(t, "POST", "/api/v1/manifests", svc("then"), http.StatusOK)
	backup := a.backupOf(t, a.dir)
	a.ask(t, "DELETE", "/api/v1/namespaces/default/services/then", "", http.StatusOK)
	a.ask(t, "POST", "/api/v1/manifests", svc("now"), http.StatusOK)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t))
	for _, how := range []string{"told to join", "with the peers of before"} {
		if err := os.MkdirAll(b.dir, 0o750); err != nil {
			t.Fatal(err)
		}
		copyFile(t, backup, filepath.Join(b.dir, "state.json"))
		b.start(t)
		b.ask(t, "GET", "/api/v1/namespaces/default/services/now", "", http.StatusOK)
		for _, h := range []*host{a, b} {
			h.status(t, "two that agree", alive(2))
			h.ask(t, "GET", "/api/v1/namespaces/default/services/then", "", http.StatusNotFound)
			if got := strings.TrimSpace(h.ask(t, "GET", "/swarm/v1/restores", "", http.StatusOK)); got != "[]" {
				t.Errorf("%s: host %s restored: %s", how, h.name, got)
			}
		}
		aside := setAside(t, b.dir)
		want, got := fileOf(t, backup), fileOf(t, aside)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %s is not the backup", how, aside)
		}
		_, said, _ := strings.Cut(b.said.String(), `to_restore_it="psctl restore `)
		name, _, _ := strings.Cut(said, `"`)
		if name == "" || !bytes.Equal(fileOf(t, filepath.Join(b.dir, name)), want) {
			t.Errorf("%s: what restores it is not said:\n%s", how, &b.said)
		}
		b.end(t)
		for _, lost := range []string{aside, filepath.Join(b.dir, "state.json"), filepath.Join(b.dir, "events")} {
			if err := os.RemoveAll(lost); err != nil {
				t.Fatal(err)
			}
		}
		b.args = nil
		if _, err := os.Stat(filepath.Join(b.dir, "peers")); err != nil {
			t.Error(err)
		}
	}
	a.end(t)
}

// Failure A.4: an unreadable state.json is warned of, the agent starts empty, and overwrites it; backups are never tried. Ours: where there
// is no log, it goes back to the newest backup that is whole, or does not start, this time and the next.
func TestRestore_nothingIsBegunOverDamage(t *testing.T) {
	for _, content := range []string{"", "null", `{"deployments": {"default/x": nu`} {
		dir := filepath.Join(t.TempDir(), "of[a]") // which filepath.Glob takes for a pattern
		if err := os.Mkdir(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		state := filepath.Join(dir, "state.json")
		if err := os.WriteFile(state, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r := start(t, dir)
			select {
			case code := <-r.code:
				if code == 0 || !strings.Contains(r.said.String(), "state.json") || !strings.Contains(r.said.String(), "cp BACKUP") {
					t.Errorf("%q: ended with %d:\n%s", content, code, &r.said)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%q: it starts:\n%s", content, &r.said)
			}
		}
		if b, err := os.ReadFile(setAside(t, dir)); err != nil || string(b) != content {
			t.Errorf("what was set aside is %q, %v; want %q", b, err, content)
		}
		// What it says to do.
		copyFile(t, "../../snapshot/testdata/version1/02-example-1node.json", state)
		r := start(t, dir)
		r.ask(t, "GET", "/api/v1/namespaces/default/services/nginx-service", "", http.StatusOK)
		r.end(t)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte("{"), 0o640); err != nil {
		t.Fatal(err)
	}
	copyFile(t, "../../snapshot/testdata/version1/02-example-1node.json", filepath.Join(dir, "state-backup-20260121-120000.json"))
	copyFile(t, "../../snapshot/testdata/version1/20-torn-half.json", filepath.Join(dir, "state-backup-20260121-130000.json"))
	r := start(t, dir)
	r.ask(t, "GET", "/apis/apps/v1/namespaces/default/deployments/nginx-deployment", "", http.StatusOK)
	if !strings.Contains(r.said.String(), "going back to the newest backup") {
		t.Errorf("it does not say so:\n%s", &r.said)
	}
	r.end(t)
}

// A state.json that a newer agent wrote is no damage, in whose place an older backup would be put, nor a reason to begin with nothing: the agent does not start, says of
// which version it is, and leaves it as it is.
func TestRestore_newerStateJSON(t *testing.T) {
	const newer = `{"deployments":{},"version":9}`
	dir := t.TempDir()
	state := filepath.Join(dir, "state.json")
	if err := os.WriteFile(state, []byte(newer), 0o640); err != nil {
		t.Fatal(err)
	}
	copyFile(t, "../../snapshot/testdata/version1/02-example-1node.json", filepath.Join(dir, "state-backup-20260121-120000.json"))
	for range 2 {
		r := start(t, dir)
		if said, ended := r.refuses(t); !ended || !strings.Contains(said, "state.json of version 9; this agent reads up to 2: a newer agent is needed") {
			t.Errorf("it starts: %v; it says:\n%s", !ended, said)
		}
		if b, err := os.ReadFile(state); err != nil || string(b) != newer {
			t.Errorf("it is now %q, %v", b, err)
		}
	}
}

// What an agent left that had no log is taken over at the first start, as its README says of each file; what cannot be declared is kept and listed.
func TestRestore_version1(t *testing.T) {
	for name, want := range map[string]struct{ deployments, services, ingresses, refused int }{
		"01-empty": {}, "02-example-1node": {1, 1, 1, 0}, "03-deployment-only-pods-empty": {1, 0, 0, 0},
		"04-rich-3nodes-pods-map": {5, 4, 2, 0}, "10-agent-failed-apply-3-replicas": {1, 0, 0, 0}, "29-doc-style-STORAGE.md": {0, 0, 0, 3},
	} {
		dir := t.TempDir()
		copyFile(t, "../../snapshot/testdata/version1/"+name+".json", filepath.Join(dir, "state.json"))
		for range 2 { // and once only
			r := start(t, dir)
			for deadline := time.Now().Add(time.Minute); strings.Contains(r.ask(t, "GET", "/swarm/v1/restores", "", http.StatusOK), "[]"); {
				if time.Now().After(deadline) {
					t.Fatalf("%s: nothing is restored:\n%s", name, &r.said)
				}
			}
			r.ask(t, "POST", "/api/v1/manifests", svc("ours"), http.StatusOK)
			var st struct {
				Refused []snapshot.Refusal
			}
			if err := json.Unmarshal([]byte(r.ask(t, "GET", "/swarm/v1/status", "", http.StatusOK)), &st); err != nil {
				t.Fatal(err)
			}
			count := func(path string) int {
				var list struct{ Items []json.RawMessage }
				if err := json.Unmarshal([]byte(r.ask(t, "GET", path, "", http.StatusOK)), &list); err != nil {
					t.Fatal(err)
				}
				return len(list.Items)
			}
			got := want
			got.deployments, got.services, got.ingresses, got.refused = count("/apis/apps/v1/deployments"), count("/api/v1/services")-1,
				count("/apis/networking.k8s.io/v1/ingresses"), len(st.Refused)
			if got != want {
				t.Errorf("%s: got %+v, want %+v", name, got, want)
			}
			var kept []snapshot.Kept // the file, and the backup before it was restored, and at the start
			if err := json.Unmarshal([]byte(r.ask(t, "GET", "/swarm/v1/backups", "", http.StatusOK)), &kept); err != nil {
				t.Fatal(err)
			}
			originals := 0
			for _, b := range kept {
				is := r.ask(t, "GET", "/swarm/v1/backups/"+b.Name+"/verify", "", http.StatusOK)
				originals += strings.Count(is, `"recorded":true`)
				if strings.Contains(is, "damage") {
					t.Errorf("%s: %s", name, is)
				}
			}
			if originals != 1 {
				t.Errorf("%s: %d of %+v are known to be of version 1", name, originals, kept)
			}
			r.end(t)
		}
	}
}

// A host that is stopped at its first start, before it has taken over what an agent left that had no log, but has recorded something else, takes it over at
// the next; put there later, it is older than the log, and is set aside.
func TestRestore_version1Interrupted(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state.json")
	copyFile(t, "../../snapshot/testdata/version1/02-example-1node.json", state)
	r := start(t, dir, "--recovery-delay=1h") // it looks at what is there, and does nothing yet
	r.ask(t, "GET", "/swarm/v1/restores", "", http.StatusOK)
	r.end(t)
	log, err := events.Open(filepath.Join(dir, "events"), events.Options{Machine: machineID()})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ledger.Run(ctx) }()
	_, err = ledger.Record(t.Context(), projection.By{Actor: "agent"}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: events.Observed, Key: projection.HostKey("a"), Object: projection.Encode(projection.Host{})}}, nil
	})
	stop()
	if err := errors.Join(err, <-done, log.Close()); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir)
	r.ask(t, "GET", "/apis/apps/v1/namespaces/default/deployments/nginx-deployment", "", http.StatusOK)
	r.ask(t, "DELETE", "/apis/apps/v1/namespaces/default/deployments/nginx-deployment", "", http.StatusOK)
	r.end(t)
	if _, err := os.Stat(filepath.Join(dir, "state.json.stood")); err == nil {
		t.Error("it still remembers that something is to be taken over")
	}
	copyFile(t, "../../snapshot/testdata/version1/02-example-1node.json", state)
	r = start(t, dir)
	r.ask(t, "POST", "/api/v1/manifests", svc("later"), http.StatusOK)
	r.ask(t, "GET", "/apis/apps/v1/namespaces/default/deployments/nginx-deployment", "", http.StatusNotFound)
	if !strings.Contains(r.said.String(), "older than the log") {
		t.Errorf("it does not say why nothing is taken over:\n%s", &r.said)
	}
	r.end(t)
}
