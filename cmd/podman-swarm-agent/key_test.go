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
	code := run(context.Background(), []string{"log", "dump", "--data-dir=" + dir}, nil, &out, &errs)
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

// A key that is there is taken and never drawn again, from systemd first, whoever may read that; one is written whole, for its owner alone; and none is made
// beside a log of which nobody knows how it is kept.
func TestKeyring(t *testing.T) {
	dir, credentials := t.TempDir(), t.TempDir()
	ring := keyring{dir, credentials}
	if key, err := ring.logKey(); key != nil || err != nil {
		t.Errorf("without a log and a key: %v, %v", key, err)
	}
	path := filepath.Join(dir, keyName)
	if err := os.WriteFile(path+".tmp", bytes.Repeat([]byte("x"), 100), 0o644); err != nil { // a crash left it
		t.Fatal(err)
	}
	first, err := ring.make()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 2*events.KeyBytes+1 || info.Mode().Perm() != 0o600 {
		t.Errorf("what was written: %v, %v", info, err)
	}
	if other, err := (keyring{t.TempDir(), ""}).make(); err != nil || other.ID() == first.ID() {
		t.Errorf("another data dir has key %v too, %v: it is not drawn", other.ID(), err)
	}
	if again, err := ring.make(); err != nil || again.ID() != first.ID() {
		t.Errorf("made again: %v, %v, want key %v", again.ID(), err, first.ID())
	}
	if err := os.WriteFile(filepath.Join(credentials, keyName), bytes.Repeat([]byte{7}, events.KeyBytes), 0o444); err != nil {
		t.Fatal(err)
	}
	if handed, err := ring.make(); err != nil || handed.ID() == first.ID() {
		t.Errorf("what systemd hands over: %v, %v", handed.ID(), err)
	}
	if _, err := (keyring{filepath.Join(path, "below"), ""}).make(); err == nil {
		t.Error("a key was made where no folder can be")
	}
	lost := t.TempDir()
	if err := os.Mkdir(filepath.Join(lost, "events"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(lost, "events", "MANIFEST"), []byte("damaged"), 0o640); err != nil {
		t.Fatal(err)
	}
	if key, err := (keyring{lost, ""}).choose(true); err == nil {
		t.Errorf("over damage: key %v", key.ID())
	}
	if _, err := os.Stat(filepath.Join(lost, keyName)); err == nil {
		t.Error("a key was made over damage")
	}
}

// The key that a reseal had drawn becomes the one only if the log is sealed with it by now.
func TestFinishReseal_keys(t *testing.T) {
	for _, done := range []bool{true, false} {
		dir := t.TempDir()
		ring := keyring{dir, ""}
		was, err := writeKey(filepath.Join(dir, keyName))
		if err != nil {
			t.Fatal(err)
		}
		next, err := writeKey(filepath.Join(dir, keyNext))
		if err != nil {
			t.Fatal(err)
		}
		want := was
		if done {
			want = next
		}
		if err := finishReseal(ring, want); err != nil {
			t.Fatal(err)
		}
		if is, err := ring.there(); err != nil || is.ID() != want.ID() {
			t.Errorf("done %v: the key is %v, %v, want %v", done, is.ID(), err, want.ID())
		}
		if _, err := os.Stat(filepath.Join(dir, keyNext)); err == nil {
			t.Errorf("done %v: the other is left", done)
		}
	}
}
