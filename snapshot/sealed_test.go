package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// pair is a public key, and what opens what is sealed for it.
func pair(t testing.TB) (seal.For, seal.Keys, string) {
	t.Helper()
	const secret = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX" // of the tests of age
	var f seal.For
	var k seal.Keys
	if err := errors.Join(f.Add("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"), k.AddFile([]byte(secret))); err != nil {
		t.Fatal(err)
	}
	return f, k, secret
}

// A flipped byte anywhere in a sealed backup, or in what stands beside it, is found also where nobody can open it; and the keeping of
// backups needs no key.
func TestBackups_sealedForOthers(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	var keys seal.Keys
	var secret string
	b.For, keys, secret = pair(t)
	f, err := b.Create(t.Context(), "on demand", true)
	if err != nil || !f.Sealed || !f.Pinned || !strings.HasSuffix(f.Name, "-pinned.json.age") {
		t.Fatalf("got %+v, %v", f, err)
	}
	path := filepath.Join(b.Dir, f.Name)
	if info, err := os.Stat(path); err != nil || info.Size() != f.Bytes || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v; want a file of %d bytes and mode 0640", info, err, f.Bytes)
	}
	c, err := b.Check(f.Name)
	if err != nil || c.Opened || c.About.Index != h.View().Index() || c.About.Node != "a" || c.About.Why != "on demand" {
		t.Errorf("without the key: got %+v, %v", c, err)
	}
	if _, err := b.Read(f.Name); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("read without the key: %v", err)
	}
	for _, name := range []string{path, path + besideEnd} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("replicas")) || bytes.Contains(data, []byte(h.View().Digest())) {
			t.Errorf("%s tells of the state:\n%s", name, data)
		}
		for i := range data {
			bad := bytes.Clone(data)
			bad[i] ^= 1 << (i % 8)
			if err := os.WriteFile(name, bad, 0o640); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Check(f.Name); err == nil {
				t.Fatalf("byte %d of %d of %s is flipped, and nobody says so", i, len(data), name)
			}
		}
		if err := os.WriteFile(name, data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	mine := b.with(keys)
	if c, err := mine.Check(f.Name); err != nil || !c.Opened || c.About.Digest != h.View().Digest() {
		t.Errorf("with the key: got %+v, %v", c, err)
	}
	if err := os.Remove(path + besideEnd); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Check(f.Name); err == nil || !strings.Contains(err.Error(), "nor is there a") {
		t.Errorf("nothing beside it, and no key: %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := mine.Check(f.Name); err != nil || !c.Opened {
		t.Errorf("nothing beside it, and the key: %+v, %v", c, err)
	}
	for i := range data { // of its head, where a flipped bit may look like another's key
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, bad, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := mine.Check(f.Name); err == nil {
			t.Fatalf("byte %d of %d is flipped, and who opens it does not say so", i, len(data))
		}
	}
	if strings.Contains(h.said.String(), secret) {
		t.Error("the secret key stands in the log")
	}
}

// with are the same backups, seen by who holds keys.
func (b *Backups) with(keys seal.Keys) *Backups {
	return &Backups{Dir: b.Dir, Cluster: b.Cluster, Node: b.Node, Ledger: b.Ledger, Keep: b.Keep, Log: b.Log, For: b.For, Keys: keys, Compress: b.Compress}
}

// Old ones go without a key, with what stands beside them; the newest whose bytes are whole stays.
func TestPrune_sealed(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	b.For, _, _ = pair(t)
	b.Keep = Keep{Last: 1}
	now := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	b.Now = func() time.Time { now = now.Add(time.Second); return now }
	var made []string
	for range 4 {
		f, err := b.Create(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, f.Name)
	}
	data, err := os.ReadFile(filepath.Join(b.Dir, made[3]))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(filepath.Join(b.Dir, made[3]), data, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(b.Dir, made[0])); err != nil { // by hand
		t.Fatal(err)
	}
	if _, err := b.Prune(true); err != nil {
		t.Fatal(err)
	}
	if names(t, b.Dir) != strings.Join([]string{made[0] + besideEnd, made[1], made[1] + besideEnd, made[2], made[2] + besideEnd, made[3], made[3] + besideEnd}, " ") {
		t.Errorf("a dry run leaves %s", names(t, b.Dir))
	}
	if _, err := b.Prune(false); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, b.Dir), strings.Join([]string{made[2], made[2] + besideEnd, made[3], made[3] + besideEnd}, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// A host that cannot open its backups restores what it is brought, goes on with that after a crash, and takes it back by its log. What
// it was brought does not stay.
func TestRestorer_sealed(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	var keys seal.Keys
	r.Backups.For, keys, _ = pair(t)
	r.Opened, r.At, r.Most = filepath.Join(h.dir, "opened"), h.folds.At, 1
	for _, key := range []string{"deployment/default/a", "deployment/default/b", "deployment/default/c"} {
		h.apply(t, key, `{"n":1}`)
	}
	f, err := r.Backups.Create(t.Context(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	was := shows(h.View().State)
	for _, key := range []string{"deployment/default/a", "deployment/default/b"} {
		h.apply(t, key, `{"n":2}`)
	}
	before := shows(h.View().State)
	if _, err := r.Source(f.Name); !errors.Is(err, seal.ErrNoKey) {
		t.Fatalf("got %v, want that it cannot be opened", err)
	}
	sealedBytes, err := os.ReadFile(filepath.Join(r.Backups.Dir, f.Name))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := keys.Open(sealedBytes)
	if err != nil {
		t.Fatal(err)
	}
	from, err := r.Brought(f.Name, plain)
	if err != nil {
		t.Fatal(err)
	}
	cut := r.with(&failing{h.Ledger, 2})
	if _, err := cut.Restore(t.Context(), projection.By{Actor: "test"}, from, nil); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	if info, err := os.Stat(r.held(from.Hash)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what is restored from is not kept: %v, %v", info, err)
	}
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != was {
		t.Errorf("got\n%s\nwant\n%s", is, was)
	}
	if _, err := os.Stat(r.Opened); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was restored from lies open still: %v", err)
	}
	done := Restores(h.View().State)[0]
	cut = r.with(&failing{h.Ledger, 1})
	if _, err := undo(t, cut, projection.By{Actor: "test"}, done.ID); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != before {
		t.Errorf("taken back: got\n%s\nwant\n%s", is, before)
	}
	without := r.with(h.Ledger)
	without.At = func(context.Context, Moment) (*projection.State, error) { return nil, ErrNoMoment }
	if _, err := without.Before(t.Context(), done.Restore); !errors.Is(err, ErrNoMoment) || !strings.Contains(err.Error(), "--identity FILE") {
		t.Errorf("the log does not tell: %v", err)
	}
}

// Where the log does not tell any more what was before a restore, who has the key brings the backup of that along, and no other; a crash does not end it.
func TestRestorer_undoIsBrought(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	var keys seal.Keys
	r.Backups.For, keys, _ = pair(t)
	r.Opened, r.Most = filepath.Join(h.dir, "opened"), 1
	r.At = func(context.Context, Moment) (*projection.State, error) { return nil, events.ErrTrimmed }
	opened := func(name string) []byte {
		plain, err := keys.Open(read(t, filepath.Join(r.Backups.Dir, name)))
		if err != nil {
			t.Fatal(err)
		}
		return plain
	}
	h.apply(t, "deployment/default/a", `{"n":1}`)
	f, err := r.Backups.Create(t.Context(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"deployment/default/a", "deployment/default/b"} {
		h.apply(t, key, `{"n":2}`)
	}
	before := shows(h.View().State)
	from, err := r.Brought(f.Name, opened(f.Name))
	if err != nil {
		t.Fatal(err)
	}
	done, err := r.Restore(t.Context(), projection.By{Actor: "test"}, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := undo(t, r, projection.By{}, done.ID); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := r.BroughtBefore(done.Restore, opened(f.Name)); err == nil || !strings.Contains(err.Error(), "not what was brought") {
		t.Errorf("another backup: %v", err)
	}
	was, err := r.BroughtBefore(done.Restore, opened(done.Before))
	if err != nil {
		t.Fatal(err)
	}
	cut := r.with(&failing{h.Ledger, 1})
	if _, err := cut.Undo(t.Context(), projection.By{Actor: "test"}, done.ID, was); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != before {
		t.Errorf("taken back: got\n%s\nwant\n%s", is, before)
	}
	if _, err := os.Stat(r.Opened); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was restored from lies open still: %v", err)
	}
}

func (r *Restorer) with(l Recorder) *Restorer {
	return &Restorer{Ledger: l, Backups: r.Backups, Log: r.Log, Opened: r.Opened, At: r.At, Most: r.Most}
}

// What somebody puts where state.json stands is restored, plain or sealed, and in the folder it is sealed, once.
func TestFound_sealed(t *testing.T) {
	h := open(t, t.TempDir())
	r := h.restorer(t)
	h.apply(t, "deployment/default/a", `{"n":1}`)
	f, err := r.Backups.Create(t.Context(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := os.ReadFile(filepath.Join(r.Backups.Dir, f.Name))
	if err != nil {
		t.Fatal(err)
	}
	r.Opened = filepath.Join(h.dir, "opened")
	r.Backups.Dir = filepath.Join(h.dir, "others")
	var keys seal.Keys
	r.Backups.For, keys, _ = pair(t)
	var brought string
	for range 2 {
		if err := os.WriteFile(h.view.Path, plain, 0o640); err != nil {
			t.Fatal(err)
		}
		from, err := r.Found(h.view.Path, false, false)
		if err != nil || !from.brought || from.File != strings.TrimSuffix(f.Name, ".json")+"-pinned.json.age" {
			t.Fatalf("got %+v, %v", from, err)
		}
		brought = from.File
	}
	if got := names(t, r.Backups.Dir); got != brought+" "+brought+besideEnd {
		t.Errorf("the folder has %s", got)
	}
	data, err := os.ReadFile(filepath.Join(r.Backups.Dir, brought))
	if err != nil {
		t.Fatal(err)
	}
	if is, err := keys.Open(data); err != nil || !bytes.Equal(is, plain) {
		t.Errorf("what is sealed is another: %v", err)
	}
	if err := os.WriteFile(h.view.Path, data, 0o640); err != nil {
		t.Fatal(err)
	}
	if from, err := r.Found(h.view.Path, false, false); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("a sealed one, without the key: %+v, %v", from, err)
	}
	r.Backups.Keys = keys
	if from, err := r.Found(h.view.Path, false, false); err != nil || from.brought || from.File != brought {
		t.Errorf("a sealed one, with the key: %+v, %v", from, err)
	}
	if name, put, err := r.Take(plain); err != nil || name != brought || put {
		t.Errorf("took it as %s, %v", name, err)
	}
}

// What is written is read by the tools that people have: age, zstd, jq; and what age has sealed is opened.
func TestBackups_realTools(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	var key string
	b.For, b.Keys, key = pair(t)
	b.Compress = true
	f, err := b.Create(t.Context(), "", false)
	if err != nil || !strings.HasSuffix(f.Name, ".json.zst.age") {
		t.Fatalf("got %+v, %v", f, err)
	}
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `age -d -i "$1" "$2" | zstd -d | jq -r '.deployments["default/web"].desired_replicas'`, "sh",
		keyFile, filepath.Join(b.Dir, f.Name)).CombinedOutput()
	if err != nil || string(out) != "3\n" {
		t.Errorf("age -d | zstd -d | jq says %s, %v; integration/setup.sh tests installs them", out, err)
	}
	if c, err := b.Check(f.Name); err != nil || !c.Opened {
		t.Errorf("got %+v, %v", c, err)
	}
}

func FuzzParseBeside(f *testing.F) {
	var b bytes.Buffer
	if err := (beside[About]{About{Node: "a", Index: 7}, "ab"}).write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if x, err := parseBeside[About](data); err == nil {
			var again bytes.Buffer
			if err := x.write(&again); err != nil {
				t.Errorf("%+v: %v", x, err)
			}
		}
	})
}
