package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// appendTo is the environment variable that makes this program append to the log in the folder that it names.
const appendTo = "INTEGRATION_APPEND_TO"

// eioOptions make segments of few records, so that a short run begins several.
func eioOptions() events.Options {
	return events.Options{SegmentBytes: 1500, MinFree: 1, Reserve: 8192, Machine: "m"}
}

// appendToLog commits twelve times and closes the log, and writes of each commit that it was acknowledged, with its
// hash. It ends at the first error. All that it does itself it does in one thread, since strace
// counts the calls of each thread by themselves.
func appendToLog(dir string, w io.Writer) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	log, err := events.Open(dir, eioOptions())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	c := events.Commit{Inc: log.Incarnation(), Seq: 1, Node: "h1", Actor: "test"}
	for n := range 12 {
		c.Time, c.Events = c.Time+1, eioEvents(&c, n)
		payload, err := c.Append(nil)
		if err != nil {
			return err
		}
		hash := events.HashOf(payload)
		e := events.Entry{Payload: payload, Count: uint32(len(c.Events)), Hash: hash, Inc: c.Inc, Seq: c.Seq}
		if err := log.Append([]events.Entry{e}); err != nil {
			return err
		}
		fmt.Fprintln(w, "acknowledged", n, hash)
		c.Seq, c.Prev = c.Last()+1, hash
	}
	return nil
}

// eioEvents are two objects of several hundred bytes, which follow from n.
func eioEvents(c *events.Commit, n int) []events.Event {
	var all []events.Event
	for i := range 2 {
		all = append(all, events.Event{Kind: events.Declared, Key: fmt.Sprintf("thing/%d-%d", n, i), UID: c.ID(i),
			Object: fmt.Appendf(nil, `{"n":%d,"filler":"%s"}`, n, strings.Repeat(string(rune('a'+n)), 50*n))})
	}
	return all
}

// TestLog_eioOnEachCall has the disk report an error to each single call that touches the log, in turn, from its
// creation to its close. Whatever the process makes of it, when the log is opened again all that was acknowledged is
// there, and nothing else than what was tried.
func TestLog_eioOnEachCall(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("%v; `integration/setup.sh tests` installs it", err)
	}
	self, err := os.Executable()
	must(t, err)
	calls, names := eioCalls(t, self)
	t.Logf("calls that touch the log: %v", calls)
	for call, n := range calls {
		for when := 1; when <= n; when++ {
			dir := filepath.Join(t.TempDir(), "events")
			acknowledged, said := eioRun(t, self, dir, names, "-e", fmt.Sprintf("inject=%s:error=EIO:when=%d", call, when))
			if said == "" && (call == "fsync" || call == "write" || call == "renameat") {
				t.Errorf("nobody noticed EIO on %s %d of %d", call, when, n)
			}
			eioCheck(t, dir, acknowledged, fmt.Sprintf("EIO on %s %d of %d (%s)", call, when, n, said))
		}
	}
	if calls["fsync"] < 15 || calls["write"] < 12 || calls["pwrite64"] < 3 {
		t.Errorf("the calls were %v: fewer than a log of several segments makes", calls)
	}
}

// eioCalls runs without errors, and gives how often which call touches the log, and the names of its files.
func eioCalls(t *testing.T, self string) (calls map[string]int, names []string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "events")
	eioRun(t, self, dir, nil)
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(path, dir))
		return err
	}))
	names = append(names, "/MANIFEST.tmp")
	trace := filepath.Join(t.TempDir(), "trace")
	eioRun(t, self, filepath.Join(t.TempDir(), "events"), names, "-o", trace)
	b, err := os.ReadFile(trace)
	must(t, err)
	threads := map[string]map[string]int{}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line) // with -f the number of the thread comes first
		if len(fields) < 2 || !strings.Contains(line, "(") || strings.Contains(line, "resumed>") {
			continue
		}
		name, _, _ := strings.Cut(fields[1], "(")
		if slices.Contains([]string{"fsync", "write", "pwrite64", "ftruncate", "renameat", "rename", "fallocate"}, name) {
			if threads[fields[0]] == nil {
				threads[fields[0]] = map[string]int{}
			}
			threads[fields[0]][name]++
		}
	}
	for _, c := range threads {
		if c["write"] > calls["write"] { // the thread that appends
			calls = c
		}
	}
	return calls, names
}

// eioRun appends to a log in a process of its own, under strace unless there are no names, and gives the hashes that
// were acknowledged and what the process said in the end.
func eioRun(t *testing.T, self, dir string, names []string, args ...string) (acknowledged []string, said string) {
	t.Helper()
	line := []string{self}
	if names != nil {
		line = append([]string{"strace", "-f", "-qq", "-o", "/dev/null"}, args...)
		for _, n := range names {
			line = append(line, "-P", dir+n)
		}
		line = append(line, self)
	}
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), appendTo+"="+dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (names == nil || !errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("%v: %v\n%s", line, err, stderr.String())
	}
	if err == nil && stderr.Len() > 0 {
		t.Fatalf("%v: %s", line, stderr.String())
	}
	for lines := bufio.NewScanner(&stdout); lines.Scan(); {
		if f := strings.Fields(lines.Text()); f[0] == "acknowledged" {
			acknowledged = append(acknowledged, f[2])
		}
	}
	return acknowledged, strings.TrimSpace(stderr.String())
}

// eioCheck opens the log and compares.
func eioCheck(t *testing.T, dir string, acknowledged []string, what string) {
	t.Helper()
	log, err := events.Open(dir, eioOptions())
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	n := 0
	err = log.Replay(1, func(r events.Record) error {
		if n < len(acknowledged) && r.Hash.String() != acknowledged[n] {
			t.Errorf("%s: commit %d is not the one that was acknowledged", what, n)
		}
		c, err := events.ParseCommit(r.Payload)
		if err != nil || events.HashOf(r.Payload) != r.Hash {
			t.Errorf("%s: commit %d has wrong bytes: %v", what, n, err)
			return err
		}
		want := eioEvents(&c, n)
		for i := range want {
			if len(c.Events) != len(want) || !bytes.Equal(c.Events[i].Object, want[i].Object) {
				t.Errorf("%s: commit %d is not what was tried", what, n)
			}
		}
		n++
		return nil
	})
	if err = errors.Join(err, log.Close()); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if n < len(acknowledged) || n > len(acknowledged)+1 {
		t.Errorf("%s: %d commits are there, and %d were acknowledged", what, n, len(acknowledged))
	}
}
