package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// identity makes a key with the age tool, and gives its file and its public half.
func identity(t *testing.T) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key.txt")
	if out, err := exec.Command("age-keygen", "-o", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s; integration/setup.sh tests installs age", err, out)
	}
	out, err := exec.Command("age-keygen", "-y", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(out))
}

// The documented restore, by cp, of a sealed backup: where the key is, it is restored; where it is not, it is set aside with the reason, and
// nothing changes; and a new host does not begin with nothing, or another backup, in its place, but waits for the key.
func TestRestore_sealedCopiedOverStateJSON(t *testing.T) {
	key, public := identity(t)
	dir := t.TempDir()
	state := filepath.Join(dir, "state.json")
	r := start(t, dir, "--backup-recipient="+public)
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	backup := r.backupOf(t, dir)
	r.ask(t, "DELETE", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.end(t)
	if !strings.HasSuffix(backup, "-pinned.json.age") {
		t.Fatalf("made %s", backup)
	}

	copyFile(t, backup, state)
	r = start(t, dir, "--backup-recipient="+public)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusNotFound)
	if said := r.said.String(); !strings.Contains(said, "no key here that opens it") || !strings.Contains(said, "psctl restore "+setAside(t, dir)+" --identity FILE") {
		t.Errorf("nobody says so:\n%s", said)
	}
	r.end(t)

	copyFile(t, backup, state)
	r = start(t, dir, "--backup-recipient="+public, "--backup-identity-file="+key)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.end(t)

	// A new host, to whom the folder of backups has come with an old one that is plain: that is not what was asked for.
	other := t.TempDir()
	copyFile(t, "../../snapshot/testdata/version1/02-example-1node.json", filepath.Join(other, "state-backup-20200121-120000-pinned.json"))
	copyFile(t, backup, filepath.Join(other, "state.json"))
	for range 2 {
		r = start(t, other)
		if said, ended := r.refuses(t); !ended || !strings.Contains(said, "no key here that opens it") || !strings.Contains(said, "--backup-identity-file") {
			t.Fatalf("a new host without the key, ended %v:\n%s", ended, said)
		}
	}
	if is, err := os.ReadFile(filepath.Join(other, "state.json")); err != nil || !strings.HasPrefix(string(is), "age-encryption.org/") {
		t.Errorf("the backup is gone: %v", err)
	}
	r = start(t, other, "--backup-identity-file="+key)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.end(t)
}

// refuses waits for the end of an agent that is not to start, and gives what it said.
func (r *running) refuses(t *testing.T) (said string, ended bool) {
	t.Helper()
	select {
	case code := <-r.code:
		return r.said.String(), code != 0
	case <-time.After(20 * time.Second):
		return r.said.String(), false
	}
}

// Where the log is lost, a host that seals its backups and cannot open them does not go back to an older one that is plain: it says which is sealed, and
// what to do, and does that of itself once it has the key.
func TestRestore_sealedNewest(t *testing.T) {
	key, public := identity(t)
	dir := t.TempDir()
	copyFile(t, "../../snapshot/testdata/version1/02-example-1node.json", filepath.Join(dir, "state-backup-20200121-120000-pinned.json"))
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte("{"), 0o640); err != nil {
		t.Fatal(err)
	}
	sealed := t.TempDir()
	r := start(t, sealed, "--backup-recipient="+public)
	r.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	backup := r.backupOf(t, sealed)
	r.end(t)
	for _, end := range []string{"", ".about"} {
		copyFile(t, backup+end, filepath.Join(dir, filepath.Base(backup)+end))
	}
	for range 2 {
		r = start(t, dir)
		said, ended := r.refuses(t)
		if !ended {
			t.Fatalf("it starts:\n%s", said)
		}
		for _, want := range []string{filepath.Base(backup), "--backup-identity-file FILE", "podman-swarm-agent backup extract " + dir + " --identity FILE"} {
			if !strings.Contains(said, want) {
				t.Errorf("it does not say %q:\n%s", want, said)
			}
		}
	}
	r = start(t, dir, "--backup-identity-file="+key)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.end(t)
}

// A host that seals for others makes increments and trims its log. What was trimmed it tells of once it has the key, and says so without; whoever has
// the key has every moment out of the folder.
func TestLogKeep_sealed(t *testing.T) {
	key, public := identity(t)
	dir := t.TempDir()
	args := []string{"--backup-recipient=" + public, "--log-keep=1MiB", "--backup-increment-interval=300ms", "--backup-interval=1s"}
	r := start(t, dir, args...)
	at := strconv.FormatUint(r.trims(t), 10)
	last := r.index(t)
	for range 2 {
		for _, path := range []string{"/swarm/v1/events", "/api/v1/namespaces/default/services/first?at=" + at, "/swarm/v1/history/service/default/first", "/swarm/v1/diff?from=" + at} {
			if told := r.ask(t, "GET", path, "", http.StatusGone); !strings.Contains(told, "--backup-identity-file") {
				t.Errorf("%s: %s", path, told)
			}
		}
		if told := r.ask(t, "POST", "/swarm/v1/undo?event="+at, "", http.StatusGone); !strings.Contains(told, "--backup-identity-file") {
			t.Errorf("undo: %s", told)
		}
		r.ask(t, "GET", fmt.Sprintf("/api/v1/namespaces/default/services?at=%d", last), "", http.StatusOK)
		if is := r.ask(t, "GET", "/swarm/v1/increments/verify", "", http.StatusOK); !strings.Contains(is, `"unread":`) || strings.Contains(is, "damage") {
			t.Errorf("its increments: %s", is)
		}
		r.end(t)
		r = start(t, dir, args...)
	}
	r.index(t)
	r.end(t)

	out := filepath.Join(t.TempDir(), "state.json")
	var said lines
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"verify", dir}, 0, "were not opened"},
		{[]string{"verify", dir, "--identity", key}, 0, "is whole: events 1 to"},
		{[]string{"verify", dir, "--identity", "/nothing"}, 2, "identity file /nothing"},
		{[]string{"extract", dir, "--at", at, "-o", out}, 1, "--identity FILE"},
		{[]string{"extract", dir, "--at", at, "-o", out, "--identity", key}, 0, " at event "}, // with the whole of its commit,
	} {
		before := len(said.String())
		if code := run(t.Context(), append([]string{"backup"}, c.args...), nil, &said, &said); code != c.code || !strings.Contains(said.String()[before:], c.says) {
			has, err := filepath.Glob(filepath.Join(dir, "state-backup*"))
			more, err2 := filepath.Glob(filepath.Join(dir, "increments/*/*"))
			t.Errorf("%v ends with %d, want %d and %q:\n%s\nthere are %q %v", c.args, code, c.code, c.says, said.String()[before:], append(has, more...), errors.Join(err, err2))
		}
	}
	if is, err := os.ReadFile(out); err != nil || !strings.Contains(string(is), `"default/first"`) {
		t.Errorf("what was extracted has not what was trimmed: %v", err)
	}

	r = start(t, dir, append(args, "--backup-identity-file="+key)...)
	if told := r.ask(t, "GET", "/swarm/v1/events", "", http.StatusOK); !strings.HasPrefix(told, `{"index":1,`) {
		t.Errorf("with the key it is told from %.30s on", told)
	}
	if was := r.ask(t, "GET", "/api/v1/namespaces/default/services/first?at="+at, "", http.StatusOK); !strings.Contains(was, `"name":"first"`) {
		t.Errorf("got %s", was)
	}
	r.end(t)
}
