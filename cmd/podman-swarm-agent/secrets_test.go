package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/projection/secret"
)

const openSesame = "open-sesame-4711"

func secretOf(value string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: " + value + "}\n"
}

// password is what an agent shows of it.
func password(t *testing.T, r *running) string {
	t.Helper()
	var s struct{ Data map[string][]byte }
	if err := json.Unmarshal([]byte(r.ask(t, "GET", "/api/v1/namespaces/default/secrets/db", "", http.StatusOK)), &s); err != nil {
		t.Fatal(err)
	}
	return string(s.Data["password"])
}

// nowhere checks that no file of a folder holds a text, in clear or in base64.
func nowhere(t *testing.T, text, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		for shift := range 3 {
			in := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
			if bytes.Contains(b, []byte(text)) || bytes.Contains(b, []byte(in[4:len(in)-4])) {
				t.Errorf("%s holds the value of a Secret", path)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

// A host that was alone, with a Secret, makes a cluster: its key is the cluster's, who joins is given it, and in no file of either stands
// the value. A backup of theirs is restored by a host of nobody, which says that it cannot open what is in it.
func TestSecrets_theKeyIsTheClusters(t *testing.T) {
	a := newHost(t, "a", "--audit-file="+filepath.Join(t.TempDir(), "audit.jsonl"))
	audit := filepath.Dir(strings.TrimPrefix(a.args[0], "--audit-file="))
	alone := start(t, a.dir, a.args[0])
	if _, err := os.Stat(filepath.Join(a.dir, secretsName)); err == nil {
		t.Error("a host that has no Secrets has a key for them")
	}
	alone.ask(t, "POST", "/api/v1/manifests", secretOf("first"), http.StatusOK)
	alone.ask(t, "POST", "/api/v1/manifests", secretOf(openSesame), http.StatusOK)
	if info, err := os.Stat(filepath.Join(a.dir, secretsName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	alone.end(t)

	a.start(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	if got := password(t, b.running); got != openSesame {
		t.Errorf("who joined is shown %q", got)
	}
	if got := b.ask(t, "POST", "/api/v1/manifests", secretOf(openSesame), http.StatusOK); !strings.Contains(got, `"unchanged"`) {
		t.Errorf("applied again on another host: %s", got)
	}
	a.ask(t, "POST", "/swarm/v1/undo?event=2", "", http.StatusOK)
	if got := password(t, a.running); got != "first" {
		t.Errorf("undone: %q", got)
	}
	a.ask(t, "POST", "/swarm/v1/restores?at=2", "", http.StatusOK)
	name := a.ask(t, "POST", "/swarm/v1/backups?pin=true", "", http.StatusCreated)
	if got := password(t, a.running); got != openSesame {
		t.Errorf("restored: %q", got)
	}
	var made struct{ Name string }
	if err := json.Unmarshal([]byte(name), &made); err != nil {
		t.Fatal(err)
	}
	backup, err := os.ReadFile(filepath.Join(a.dir, made.Name))
	if err != nil {
		t.Fatal(err)
	}
	b.end(t)
	a.end(t)
	for _, dir := range []string{a.dir, b.dir, audit} {
		nowhere(t, openSesame, dir)
	}
	if strings.Contains(alone.said.String()+a.said.String()+b.said.String(), openSesame) {
		t.Error("the value was logged")
	}

	c := newHost(t, "c").start(t)
	c.ask(t, "POST", "/api/v1/manifests", svc("web"), http.StatusOK)
	c.ask(t, "POST", "/swarm/v1/backups/theirs.json/restore", string(backup), http.StatusOK)
	if got := c.ask(t, "GET", "/swarm/v1/status", "", http.StatusOK); !strings.Contains(got, "Secrets that this host cannot open: default/db (key ") {
		t.Errorf("a host of another cluster says nothing of what it cannot open: %s", got)
	}
	if got := password(t, c.running); got != "" {
		t.Errorf("a host of another cluster is shown %q", got)
	}
	c.ask(t, "POST", "/api/v1/manifests", secretOf("anew"), http.StatusOK)
	if got := password(t, c.running); got != "anew" {
		t.Errorf("applied again: %q", got)
	}
	c.end(t)
}

func TestSecretKeys_file(t *testing.T) {
	k := secretKeys{t.TempDir()}
	if err := os.WriteFile(k.path()+".tmp", bytes.Repeat([]byte("x"), 100), 0o644); err != nil { // a crash left it
		t.Fatal(err)
	}
	one, err := k.draw()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(k.path()); err != nil || info.Size() != 2*secret.KeyBytes+1 || info.Mode().Perm() != 0o600 {
		t.Errorf("what was written: %v, %v", info, err)
	}
	if again, err := k.draw(); err != nil || !bytes.Equal(again, one) {
		t.Errorf("drawn again: %v", err)
	}
	cluster := secret.NewSecret()
	for range 2 { // a host that crashed before it was a member joins again
		if err := k.adopt([][]byte{cluster}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := k.read()
	if err != nil || len(all) != 2 || !bytes.Equal(all[0], cluster) || !bytes.Equal(all[1], one) {
		t.Errorf("got %d keys, %v, want the cluster's and then the own", len(all), err)
	}
	if err := os.Chmod(k.path(), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := k.open(nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: got %v", err)
	}
	for _, bad := range []string{"", "sesame", strings.Repeat("z", 64)} {
		if err := os.Remove(k.path()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(k.path(), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := k.open(nil); err == nil || !strings.Contains(err.Error(), "line 1") || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}
