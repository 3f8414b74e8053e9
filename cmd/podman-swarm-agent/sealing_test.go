package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
// nothing changes; and a new host does not begin with nothing in its place.
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
	if said := r.said.String(); !strings.Contains(said, "no key here that opens it") || !strings.Contains(said, "set aside") {
		t.Errorf("nobody says so:\n%s", said)
	}
	r.end(t)

	copyFile(t, backup, state)
	r = start(t, dir, "--backup-recipient="+public, "--backup-identity-file="+key)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.end(t)

	other := t.TempDir()
	copyFile(t, backup, filepath.Join(other, "state.json"))
	r = start(t, other)
	if code := <-r.code; code == 0 || !strings.Contains(r.said.String(), "no key here that opens it") {
		t.Errorf("a new host without the key ends with %d:\n%s", code, &r.said)
	}
	if is, err := os.ReadFile(setAside(t, other)); err != nil || !strings.HasPrefix(string(is), "age-encryption.org/") {
		t.Errorf("the backup is lost: %v", err)
	}
	copyFile(t, backup, filepath.Join(other, "state.json"))
	r = start(t, other, "--backup-identity-file="+key)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.end(t)
}
