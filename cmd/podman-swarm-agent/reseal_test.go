package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// life is a data dir with some history, a snapshot of the fold beside it, and a torn end set aside.
func life(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	r := start(t, dir, args...)
	for i := range 5 {
		r.ask(t, "POST", "/api/v1/manifests", svc(fmt.Sprintf("precious%d", i)), http.StatusOK)
	}
	r.end(t)
	for name, text := range map[string]string{"fold-00000000000000000003.snap": "precious fold", "00000000000000000001.torn-7": "precious torn"} {
		key, err := keyring{dir, ""}.logKey()
		if err != nil {
			t.Fatal(err)
		}
		data := []byte(text)
		if key != nil {
			data = key.SealFile(name, data)
		}
		if err := os.WriteFile(filepath.Join(dir, "events", name), data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// image is the data dir as a crash at this moment leaves it.
func image(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{keyName, keyNext} { // CopyFS gives them the mode of the rest
		if err := os.Chmod(filepath.Join(to, name), 0o600); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return to
}

// records is what log dump says of a data dir.
func records(t *testing.T, dir string) string {
	t.Helper()
	code, out := dump(t, dir)
	if code != 0 {
		t.Fatalf("log dump of %s: %d, %s", dir, code, out)
	}
	return out
}

// resealed checks that a data dir is what it was to be, with nothing left of the way there.
func resealed(t *testing.T, what, dir, log string, plain bool) {
	t.Helper()
	if got := records(t, dir); got != log {
		t.Errorf("%s: the log says\n%s\nwant\n%s", what, got, log)
	}
	for name, text := range files(t, dir) {
		if strings.Contains(name, "reseal") || strings.Contains(name, keyNext) || strings.HasSuffix(name, ".tmp") {
			t.Errorf("%s: %s is left", what, name)
		}
		if strings.Contains(text, "precious") != plain && (name == "state.json" || strings.Contains(name, ".snap") || strings.Contains(name, ".torn-") || name == "events/00000000000000000001") {
			t.Errorf("%s: %s is plain: %v, want %v", what, name, !plain, plain)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "state.json")); err != nil && !strings.Contains(what, "again") { // which makes it anew at the next start
		t.Errorf("%s: %v", what, err)
	}
}

// Plain to sealed, sealed to plain, and a new key: whole or not at all. Whatever the moment of a crash, the log is there, all of it, and with a key that is there;
// doing it again ends it, and so does an agent that is started, kept as the log then is.
func TestReseal_crashAtEveryStep(t *testing.T) {
	for _, c := range []struct {
		name  string
		from  []string
		plain bool
		key   bool
	}{{"seal", nil, false, false}, {"plain", []string{"--encrypt-state"}, true, false}, {"new key", []string{"--encrypt-state"}, false, true}, {"seal with a new key", nil, false, true}} {
		dir := life(t, c.from...)
		log := records(t, dir)
		was, err := keyring{dir, ""}.logKey()
		if err != nil {
			t.Fatal(err)
		}
		images := map[string]string{}
		var steps []string
		var said bytes.Buffer
		r := resealer{ring: keyring{dir, ""}, plain: c.plain, newKey: c.key, out: &said}
		r.step = func(step string) error {
			steps = append(steps, step)
			images[step] = image(t, dir)
			if _, err := os.Stat(filepath.Join(dir, resealFolder)); err == nil { // cut off while that was written, or removed
				for _, name := range []string{"MANIFEST", "00000000000000000001", "state.sum"} {
					part := image(t, dir)
					if os.Remove(filepath.Join(part, resealFolder, name)) == nil {
						images[step+" without "+name] = part
					}
				}
			}
			return nil
		}
		if err := r.run(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if want := []string{"key", "log", "beside", "exchange", "view", "finish", "end"}; !slices.Equal(steps, want) {
			t.Errorf("%s: steps %v", c.name, steps)
		}
		resealed(t, c.name, dir, log, c.plain)
		now, err := keyring{dir, ""}.logKey()
		if err != nil || c.key && now.ID() == was.ID() || (now == nil) != c.plain {
			t.Errorf("%s: sealed with %v, %v, before with %v", c.name, now.ID(), err, was.ID())
		}
		for step, img := range images {
			what := c.name + ", cut off before " + step
			if got := records(t, img); got != log {
				t.Errorf("%s: the log says\n%s", what, got)
			}
			// An agent, started on it as it then is.
			agent := image(t, img)
			key, err := keyring{agent, ""}.logKey()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			a := start(t, agent, map[bool][]string{true: {"--encrypt-state"}}[key != nil]...)
			a.ask(t, "GET", "/api/v1/namespaces/default/services/precious4", "", http.StatusOK)
			a.end(t)
			for name, text := range files(t, agent) {
				if strings.Contains(name, "reseal") || name == keyNext || name == "state.json" && strings.Contains(text, "precious") != (key == nil) || strings.Contains(name, "set-aside") {
					t.Errorf("%s: the agent leaves %s", what, name)
				}
			}
			// Once more; what is sealed with the new key already gets a newer one.
			again := resealer{ring: keyring{img, ""}, plain: c.plain, newKey: c.key, out: &said, step: func(string) error { return nil }}
			if err := again.run(); err != nil {
				t.Errorf("%s: again: %v", what, err)
				continue
			}
			resealed(t, what+", again", img, log, c.plain)
		}
	}
}

// While an agent runs, without a log, without the key, in a folder that is so already: nothing is done, and it is said.
func TestReseal_refused(t *testing.T) {
	reseal := func(dir string, args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := run(context.Background(), append([]string{"reseal", "--data-dir=" + dir}, args...), nil, &out, &errs)
		return code, out.String() + errs.String()
	}
	dir := life(t)
	if code, said := reseal(dir, "--plain"); code != 0 || !strings.Contains(said, "is plain already") {
		t.Errorf("plain already: %d, %s", code, said)
	}
	if code, said := reseal(dir, "--plain", "--new-key"); code != 2 {
		t.Errorf("--plain --new-key: %d, %s", code, said)
	}
	if code, said := reseal(t.TempDir()); code != 1 || !strings.Contains(said, "there is no log") {
		t.Errorf("no log: %d, %s", code, said)
	}
	r := start(t, dir)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/precious4", "", http.StatusOK)
	if code, said := reseal(dir); code != 1 || !strings.Contains(said, "stop the agent first") {
		t.Errorf("beside an agent: %d, %s", code, said)
	}
	r.end(t)
	if _, err := os.Stat(filepath.Join(dir, keyName)); err == nil {
		t.Error("a key was made")
	}
	if err := os.Mkdir(filepath.Join(dir, "opened"), 0o700); err != nil {
		t.Fatal(err)
	}
	if code, said := reseal(dir); code != 1 || !strings.Contains(said, "a restore is unfinished") {
		t.Errorf("with a restore that is unfinished: %d, %s", code, said)
	}
	if err := os.Remove(filepath.Join(dir, "opened")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "increments"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"state.json.set-aside-1": "", "increments/some": "", "state-backup-20260101-000000.json.age": "age-encryption.org/v1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if code, said := reseal(dir); code != 0 || !strings.Contains(said, "is sealed with key ") || !strings.Contains(said, "with --encrypt-state") || !strings.Contains(said, "left as it is: "+dir+"/state.json.set-aside-1") ||
		!strings.Contains(said, "left as it is: "+dir+"/increments") || strings.Contains(said, ".age") {
		t.Errorf("%d, %s", code, said)
	}
	plain := image(t, dir)
	if code, said := reseal(plain, "--plain"); code != 0 || strings.Contains(said, "left as it is") {
		t.Errorf("made plain: %d, %s", code, said)
	}
	if err := os.WriteFile(filepath.Join(dir, keyName), bytes.Repeat([]byte("cd"), events.KeyBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	if code, said := reseal(dir, "--plain"); code != 1 || !strings.Contains(said, "another key") {
		t.Errorf("another key: %d, %s", code, said)
	}
	for name, is := range files(t, dir) {
		if before[name] != is {
			t.Errorf("%s was changed", name)
		}
	}
}

// What a reseal does not seal, and lies open, is named: backups, increments and what was set aside, but not those that are sealed for somebody or by a key.
func TestReseal_saysWhatLiesOpen(t *testing.T) {
	dir := life(t, "--encrypt-state")
	key, err := keyring{dir, ""}.logKey()
	if err != nil {
		t.Fatal(err)
	}
	const age = "age-encryption.org/v1\n-> X25519 "
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(text), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	left := func() string {
		t.Helper()
		var said bytes.Buffer
		if err := (&resealer{ring: keyring{dir, ""}, out: &said, to: key}).left(); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(said.String(), "not sealed, and left as it is: "+dir+"/", "")
	}
	was := left() // with the backup of its start, if there is one
	for _, name := range []string{"state-backup-20260121-120000.json.age", "increments/log-1/log-00000000000000000001-00000000000000000002.jsonl.zst.age"} {
		put(name, age)
		put(name+".about", "{")
	}
	put("state.json.set-aside-1", string(key.SealFile("state.json", []byte("precious"))))
	put("other", "not ours")
	if got := left(); got != was {
		t.Errorf("all is sealed, and it says %q, before %q", got, was)
	}
	for _, name := range []string{"increments/log-1/log-00000000000000000003-00000000000000000004.jsonl.zst", "state-backup-20260121-130000.json.zst", "state.json.set-aside-2"} {
		put(name, "")
		want, _, _ := strings.Cut(name, "/")
		if got := left(); !strings.Contains(got, want+"\n") {
			t.Errorf("%s lies open, and it says %q", name, got)
		}
	}
}
