package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// TestAgent_secondOnTheFolder starts a second agent on a data dir. Failure A.21: two agents on one data dir spoil each
// other's files.
func TestAgent_secondOnTheFolder(t *testing.T) {
	host := podmanhost.Start(t)
	dir := filepath.Join(t.TempDir(), "data")
	first, second := newAgent(t, host, dir), newAgent(t, host, dir)
	up(t, first)
	must(t, second.Start())
	code(t, second, 1)
	contains(t, second.OutputTail(), "log is in use", fmt.Sprintf("process %d", first.Pid()), dir)
	apply(t, first, trial.Deployment("web", 0, "")) // the first goes on
}

// files are the contents of all files below a folder but LOCK, which is empty or says who looked last.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "LOCK" {
			return err
		}
		all[path], err = os.ReadFile(path)
		return err
	}))
	return all
}

// unchanged wants each file as it was, and no other.
func unchanged(t *testing.T, before map[string][]byte, dir string) {
	t.Helper()
	after := files(t, dir)
	for path, b := range before {
		if a, ok := after[path]; !ok || !bytes.Equal(a, b) {
			t.Errorf("%s was changed", path)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s was made", path)
		}
	}
}

// segments are the log's segments in a data dir, in order.
func segments(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "events", strings.Repeat("[0-9]", 20)))
	must(t, err)
	return all
}

// TestAgent_damagedLog starts an agent on logs that no crash leaves like that. Failure A.4: starts empty over damage,
// and overwrites the damaged file.
func TestAgent_damagedLog(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, segs []string) (named string)
	}{
		{"first segment missing", func(t *testing.T, s []string) string { must(t, os.Remove(s[0])); return s[0] }},
		{"middle segment missing", func(t *testing.T, s []string) string { must(t, os.Remove(s[len(s)/2])); return s[len(s)/2] }},
		{"last segment missing", func(t *testing.T, s []string) string { must(t, os.Remove(s[len(s)-1])); return s[len(s)-1] }},
		{"a bit flipped", func(t *testing.T, s []string) string {
			b, err := os.ReadFile(s[1])
			must(t, err)
			b[len(b)/2] ^= 4
			must(t, os.WriteFile(s[1], b, 0o640))
			return s[1]
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			must(t, appendToLog(filepath.Join(dir, "events"), io.Discard))
			segs := segments(t, dir)
			if len(segs) < 4 {
				t.Fatalf("%d segments, want 4 or more", len(segs))
			}
			named := filepath.Base(c.do(t, segs))
			before := files(t, dir)
			a := &trial.Agent{Bin: filepath.Join(built.folder(t), "podman-swarm-agent"), DataDir: dir,
				Podman: "unix:///nowhere/podman.sock", Output: filepath.Join(t.TempDir(), "agent.log")}
			must(t, a.Start())
			code(t, a, 1)
			contains(t, a.OutputTail(), "open log "+filepath.Join(dir, "events"), "segment "+named, "damaged")
			unchanged(t, before, dir)
			out, err := exec.Command(a.Bin, "log", "dump", "--data-dir", dir).CombinedOutput()
			if err == nil {
				t.Errorf("log dump finds nothing wrong: %s", out)
			}
			contains(t, string(out), named)
			unchanged(t, before, dir)
		})
	}
}

// smallDisk is an ext4 file system of that many MiB, and the file that it is in.
func smallDisk(t *testing.T, mebibytes int64) (dir, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Truncate(file, mebibytes<<20))
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", file).CombinedOutput(); err != nil {
		t.Fatalf("make a file system: %v\n%s", err, out)
	}
	return mounted(t, file), file
}

// mounted is where the file system in a file is mounted until the test ends.
func mounted(t *testing.T, file string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop", file, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount %s: %v\n%s", file, err, out)
	}
	t.Cleanup(func() {
		eventually(t, func() error { return unix.Unmount(dir, 0) })
	})
	return dir
}

// fill takes all room of a disk but some MiB. Remove the file to give it back.
func fill(t *testing.T, file string, but int64) {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(filepath.Dir(file), &st))
	f, err := os.Create(file)
	must(t, err)
	defer f.Close()
	must(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-but<<20))
}

// TestAgent_fullDisk fills the disk under an agent and frees it again. Failure A.5: the state cannot be written, and
// the answer is 200 all the same.
func TestAgent_fullDisk(t *testing.T) {
	host := podmanhost.Start(t)
	disk, _ := smallDisk(t, 256)
	a := newAgent(t, host, filepath.Join(disk, "data"))
	t.Cleanup(func() { must(t, a.Kill()) }) // before the disk is unmounted
	up(t, a)
	apply(t, a, trial.Deployment("before", 1, ""))
	running := pods(t, host, "before", 1)

	filler := filepath.Join(disk, "filler")
	fill(t, filler, 3)
	s := refused(t, a, 507, trial.Deployment("while", 0, ""))
	contains(t, s.Body, "disk is full", "nothing was written")
	readOnly := func(want string) error {
		b, err := trial.Get(context.Background(), a.URL()+"/metrics")
		if err == nil && !strings.Contains(string(b), "\npodman_swarm_read_only "+want+"\n") {
			err = fmt.Errorf("the metric read_only is not %s", want)
		}
		return err
	}
	must(t, readOnly("1"))
	var health struct{ ReadOnly string }
	must(t, trial.GetJSON(t.Context(), a.URL()+"/swarm/v1/status", &health))
	contains(t, health.ReadOnly, "disk is full")
	if !there(t, a, "before") || there(t, a, "while") {
		t.Error("a read-only agent must show what was there before, and nothing that it has refused")
	}

	must(t, a.Kill())
	up(t, a) // a full disk is no reason not to start
	refused(t, a, 507, trial.Deployment("while", 0, ""))
	untouched(t, host, running)

	must(t, os.Remove(filler))
	apply(t, a, trial.Deployment("after", 0, ""))
	must(t, readOnly("0"))
	must(t, a.Kill())
	up(t, a)
	if !there(t, a, "before") || there(t, a, "while") || !there(t, a, "after") {
		t.Error("after a full disk: want what was acknowledged, and nothing else")
	}
	untouched(t, host, running)
	must(t, trial.Verify(t.Context(), a.Bin, a.DataDir))
}

// there reports whether there is a Deployment of that name.
func there(t *testing.T, a *trial.Agent, name string) bool {
	t.Helper()
	_, err := trial.Get(t.Context(), a.URL()+"/apis/apps/v1/namespaces/default/deployments/"+name)
	if s, ok := err.(*trial.StatusError); ok && s.Code == 404 {
		return false
	}
	must(t, err)
	return true
}

// TestLog_shownAfterAKillIsDurable opens a log whose process was killed after a write and before its sync: the record is
// in memory, and whole. Once Open has shown it, it must not be gone when the power goes.
func TestLog_shownAfterAKillIsDurable(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "events")
	log, err := events.Open(elsewhere, events.Options{Reserve: -1, MinFree: 1})
	must(t, err)
	defer func() { must(t, log.Close()) }()
	disk, file := smallDisk(t, 64)
	dir := filepath.Join(disk, "events")
	must(t, os.CopyFS(dir, os.DirFS(elsewhere)))
	unix.Sync()
	c := events.Commit{Inc: log.Incarnation(), Seq: 1, Node: "h1", Actor: "test"}
	c.Events = eioEvents(&c, 20)
	payload, err := c.Append(nil)
	must(t, err)
	must(t, log.Append([]events.Entry{{Payload: payload, Count: 2, Hash: events.HashOf(payload), Inc: c.Inc, Seq: 1}}))
	segment := filepath.Base(segments(t, filepath.Dir(elsewhere))[0])
	written, err := os.ReadFile(filepath.Join(elsewhere, segment))
	must(t, err)
	f, err := os.OpenFile(filepath.Join(dir, segment), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.Write(written)
	must(t, errors.Join(err, f.Close())) // and not synced

	again, err := events.Open(dir, events.Options{Reserve: -1, MinFree: 1})
	must(t, err)
	defer func() { must(t, again.Close()) }()
	if got := again.End().Record; got != 1 {
		t.Fatalf("%d records are shown, want what was written", got)
	}
	cut := filepath.Join(t.TempDir(), "cut") // what the disk holds now
	b, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(cut, b, 0o600))
	after, err := events.Open(filepath.Join(mounted(t, cut), "events"), events.Options{Reserve: -1, MinFree: 1})
	must(t, err)
	if got := after.End().Record; got != 1 {
		t.Errorf("after a power cut %d records are there, and one was shown", got)
	}
	must(t, after.Close())
}
