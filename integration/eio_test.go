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
	"regexp"
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

// appendToLog opens the log, commits twelve times and closes it, and writes of each commit that it was acknowledged, with
// its hash. It ends at the first error. All that it does itself it does in one thread, since strace
// counts the calls of each thread by themselves.
func appendToLog(dir string, w io.Writer) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	log, err := events.Open(dir, eioOptions())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	c := events.Commit{Inc: log.Incarnation(), Node: "h1", Actor: "test"}
	last, hash := log.Head(c.Inc)
	c.Seq, c.Prev = last+1, hash
	for n := range 12 {
		n += int(last) / 2
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
// creation or the repair of what a crash left, to its close. Whatever the process makes of it, when the log is opened
// again all that was acknowledged is there, and nothing else than what was tried.
func TestLog_eioOnEachCall(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("%v; `integration/setup.sh tests` installs it", err)
	}
	self, err := os.Executable()
	must(t, err)
	none := filepath.Join(t.TempDir(), "none")
	must(t, os.Mkdir(none, 0o750))
	crashed, before := eioCrashed(t)
	for _, c := range []struct {
		name, errno, start string
		before             []string
	}{
		{"EIO, new log", "EIO", none, nil},
		{"EIO, after a crash", "EIO", crashed, before},
		{"ENOSPC, after a crash", "ENOSPC", crashed, before},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			calls, names := eioCalls(t, self, c.start)
			t.Logf("calls that touch the log: %v", calls)
			for call, n := range calls {
				for when := 1; when <= n; when++ {
					dir := filepath.Join(t.TempDir(), "events")
					must(t, os.CopyFS(dir, os.DirFS(c.start)))
					acknowledged, said := eioRun(t, self, dir, names, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", call, c.errno, when))
					if said == "" && c.errno == "EIO" && (call == "fsync" || call == "write" || call == "renameat") {
						t.Errorf("nobody noticed EIO on %s %d of %d", call, when, n)
					}
					acknowledged = append(slices.Clone(c.before), acknowledged...)
					eioCheck(t, dir, acknowledged, fmt.Sprintf("%s on %s %d of %d (%s)", c.errno, call, when, n, said))
				}
			}
			if calls["fsync"] < 15 || calls["write"] < 12 || calls["pwrite64"] < 3 {
				t.Errorf("the calls were %v: fewer than a log of several segments makes", calls)
			}
		})
	}
}

// eioCrashed is a log whose process was killed within a write, and the hashes of what it had acknowledged.
func eioCrashed(t *testing.T) (dir string, acknowledged []string) {
	t.Helper()
	whole := filepath.Join(t.TempDir(), "events")
	var out bytes.Buffer
	must(t, appendToLog(whole, &out))
	for line := range strings.Lines(out.String()) {
		acknowledged = append(acknowledged, strings.Fields(line)[2])
	}
	log, err := events.Open(whole, eioOptions()) // which notes down that the log was not closed
	must(t, err)
	defer func() { must(t, log.Close()) }()
	dir = filepath.Join(t.TempDir(), "events")
	must(t, os.CopyFS(dir, os.DirFS(whole)))
	segs := segments(t, filepath.Dir(dir))
	f, err := os.OpenFile(segs[len(segs)-1], os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("unfinished")
	must(t, errors.Join(err, f.Close()))
	return dir, acknowledged
}

// eioCalls runs on a copy of start without errors, and gives how often which call touches the log, and the names of its files.
func eioCalls(t *testing.T, self, start string) (calls map[string]int, names []string) {
	t.Helper()
	dir, again := filepath.Join(t.TempDir(), "events"), filepath.Join(t.TempDir(), "events")
	must(t, errors.Join(os.CopyFS(dir, os.DirFS(start)), os.CopyFS(again, os.DirFS(start))))
	eioRun(t, self, dir, nil)
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(path, dir))
		return err
	}))
	names = append(names, "/MANIFEST.tmp")
	trace := filepath.Join(t.TempDir(), "trace")
	eioRun(t, self, again, names, "-o", trace)
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

// TestLog_syncedBeforeAcknowledged looks at the calls of a log from its creation to its close: when a commit is
// acknowledged, every segment and the folder must have been synced since they were changed last, and so must all else
// when MANIFEST gets its name, and all in the end. Not every file system loses what is not synced, so no power cut here would show it.
func TestLog_syncedBeforeAcknowledged(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	dir, trace := filepath.Join(t.TempDir(), "events"), filepath.Join(t.TempDir(), "trace")
	acknowledged, said := eioRun(t, self, dir, []string{}, "-y", "-s", "20", "-o", trace,
		"-e", "trace=mkdirat,openat,write,pwrite64,ftruncate,renameat,fsync")
	if len(acknowledged) != 12 || said != "" {
		t.Fatalf("%d commits acknowledged, and it said %q", len(acknowledged), said)
	}
	b, err := os.ReadFile(trace)
	must(t, err)
	path := regexp.MustCompile(`[<"](` + regexp.QuoteMeta(filepath.Dir(dir)) + `[^>"]*)[>"]`)
	dirty, acks, syncs := map[string]bool{}, 0, 0
	unsynced := func() (names []string) {
		for name, d := range dirty {
			if d {
				names = append(names, filepath.Base(name))
			}
		}
		return names
	}
	for line := range strings.Lines(string(b)) {
		call, args, _ := strings.Cut(strings.TrimLeft(line, "0123456789 "), "(")
		if strings.Contains(args, `"acknowledged`) {
			acks++
			if names := unsynced(); len(names) > 0 && !slices.Equal(names, []string{"MANIFEST"}) {
				t.Errorf("commit %d is acknowledged, and not synced are %v", acks, names)
			}
		}
		name := path.FindStringSubmatch(args)
		switch {
		case name == nil || strings.HasSuffix(name[1], "/LOCK") || strings.HasSuffix(name[1], "/RESERVE"): // need not last
		case call == "fsync":
			syncs++
			dirty[name[1]] = false
		case call == "renameat":
			if names := unsynced(); len(names) > 0 {
				t.Errorf("MANIFEST gets its name, and not synced are %v", names)
			}
			dirty[dir] = true
		case call == "mkdirat", call == "openat" && strings.Contains(args, "O_CREAT") && !strings.HasSuffix(name[1], ".tmp"):
			dirty[filepath.Dir(name[1])] = true
		case call != "openat":
			dirty[name[1]] = true
		}
	}
	if names := unsynced(); len(names) > 0 || acks != 12 || syncs < 20 {
		t.Errorf("%d acknowledged with %d syncs, and in the end not synced are %v", acks, syncs, names)
	}
}
