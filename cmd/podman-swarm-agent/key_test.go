package main

import (
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// files are all files below a folder, but for who holds its lock.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "LOCK" || d.Name() == "RESERVE" {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir+"/")] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fails starts an agent that must refuse to, naming what is wanted, and touch nothing.
func fails(t *testing.T, dir, want string, args ...string) {
	t.Helper()
	before := files(t, dir)
	r := start(t, dir, args...)
	select {
	case code := <-r.code:
		if code == 0 || !strings.Contains(r.said.String(), want) {
			t.Errorf("%v: ended with %d, want %q in:\n%s", args, code, want, &r.said)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%v: it starts:\n%s", args, &r.said)
	}
	after := files(t, dir)
	for name, was := range before {
		if is, ok := after[name]; !ok || is != was {
			t.Errorf("%v: %s was changed", args, name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%v: %s was made", args, name)
		}
	}
}

func dump(t *testing.T, dir string) (int, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(context.Background(), []string{"log", "dump", "--data-dir=" + dir}, func(string) string { return "" }, &out, &errs)
	return code, out.String() + errs.String()
}

// Log and state.json of a host whose state is sealed tell nothing to whoever takes the disk without the key; with it all is as ever: restarts, the API,
// the dump, a restore by cp. The wrong key, none, or the other choice, is a clear error, and nothing is touched.
func TestEncryptState(t *testing.T) {
	dir := t.TempDir()
	key, state := filepath.Join(dir, keyName), filepath.Join(dir, "state.json")
	r := start(t, dir, "--encrypt-state")
	r.ask(t, "POST", "/api/v1/manifests", svc("precious"), http.StatusOK)
	r.end(t)
	if !strings.Contains(r.said.String(), "backups are not") {
		t.Error("nobody says that backups are plain")
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
	for name, text := range files(t, dir) {
		if strings.Contains(text, "precious") && !strings.HasPrefix(name, "state-backup-") {
			t.Errorf("%s tells what is in it", name)
		}
	}
	if b, err := os.ReadFile(state); err != nil || !strings.HasPrefix(string(b), "podman-swarm sealed 1: ") {
		t.Errorf("state.json does not say what it is: %.80q, %v", b, err)
	}
	if code, out := dump(t, dir); code != 0 || !strings.Contains(out, `"key":"service/default/precious"`) {
		t.Errorf("log dump: %d, %s", code, out)
	}

	r = start(t, dir, "--encrypt-state")
	r.ask(t, "GET", "/api/v1/namespaces/default/services/precious", "", http.StatusOK)
	if text := r.ask(t, "GET", "/swarm/v1/state", "", http.StatusOK); !strings.Contains(text, "precious") {
		t.Errorf("the state is not shown: %s", text)
	}
	backup := r.backupOf(t, dir)
	r.ask(t, "DELETE", "/api/v1/namespaces/default/services/precious", "", http.StatusOK)
	r.end(t)
	if set, err := filepath.Glob(state + ".set-aside-*"); err != nil || len(set) > 0 {
		t.Errorf("its own state.json was set aside: %v, %v", set, err)
	}
	copyFile(t, backup, state)
	r = start(t, dir, "--encrypt-state")
	r.ask(t, "GET", "/api/v1/namespaces/default/services/precious", "", http.StatusOK)
	r.end(t)

	fails(t, dir, "podman-swarm-agent reseal --plain")
	secret, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	fails(t, dir, "chmod 600", "--encrypt-state")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	fails(t, dir, "there is no key. Put it back as "+key, "--encrypt-state")
	if err := os.WriteFile(key, bytes.Repeat([]byte("ab"), events.KeyBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, dir, "another key", "--encrypt-state")
	if code, out := dump(t, dir); code != 1 || !strings.Contains(out, "another key") {
		t.Errorf("log dump with another key: %d, %s", code, out)
	}
	// As systemd hands it over, which goes first.
	credentials := t.TempDir()
	if err := os.WriteFile(filepath.Join(credentials, keyName), secret, 0o400); err != nil {
		t.Fatal(err)
	}
	ring := keyring{dir, credentials}
	if k, err := ring.choose(true); err != nil || k == nil {
		t.Errorf("the credential: %v, %v", k, err)
	}

	plain := t.TempDir()
	r = start(t, plain)
	r.end(t)
	fails(t, plain, "podman-swarm-agent reseal --data-dir", "--encrypt-state")
}
