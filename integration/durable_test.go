package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// disk is what a data dir's disk would have kept of what a program did, by its calls: only what was synced.
type disk struct {
	dir    string
	dirty  map[string]bool     // files and folders with something that is not durable
	names  map[string][]string // by folder, the renames in it that are not
	synced map[string]bool     // whatever was synced
	wrong  []string
}

var (
	callStart = regexp.MustCompile(`^(\d+) +(\w+)\((.*?)(?: <unfinished \.\.\.>|\) += (-?\d+).*)$`)
	callEnd   = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>.*\) += (-?\d+).*$`)
	fdPath    = regexp.MustCompile(`^\d+<([^>]*)>`)
	quoted    = regexp.MustCompile(`(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"`)
)

// read goes through what strace has written.
func (d *disk) read(trace []byte) {
	begun := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(trace))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := callStart.FindStringSubmatch(lines.Text()); m != nil {
			if begun[m[1]] = m[3]; m[4] != "" && !strings.HasPrefix(m[4], "-") {
				d.call(m[2], m[3])
			}
		} else if m := callEnd.FindStringSubmatch(lines.Text()); m != nil && !strings.HasPrefix(m[3], "-") {
			d.call(m[2], begun[m[1]])
		}
	}
}

func (d *disk) ours(path string) bool {
	if filepath.Base(path) == "LOCK" { // says nothing after a crash
		return false
	}
	return strings.HasPrefix(path, d.dir+"/") || path == d.dir
}

// call is one call that succeeded.
func (d *disk) call(name, args string) {
	path := ""
	if m := fdPath.FindStringSubmatch(args); m != nil {
		path = m[1]
	}
	var paths []string
	for _, m := range quoted.FindAllStringSubmatch(args, -1) {
		if name := m[2]; filepath.IsAbs(name) {
			paths = append(paths, name)
		} else {
			paths = append(paths, filepath.Join(m[1], name))
		}
	}
	switch name {
	case "write", "pwrite64":
		if d.ours(path) {
			d.dirty[path] = true
		}
	case "fsync", "fdatasync":
		delete(d.dirty, path)
		delete(d.names, path)
		d.synced[path] = true
	case "openat", "mkdirat", "mkdir":
		if len(paths) > 0 && d.ours(paths[0]) && (name != "openat" || strings.Contains(args, "O_CREAT")) {
			d.dirty[filepath.Dir(paths[0])] = true
		}
	case "rename", "renameat", "renameat2":
		if len(paths) > 1 && d.ours(paths[1]) {
			d.rename(paths[0], paths[1])
		}
	case "unlink", "unlinkat", "rmdir":
		if len(paths) > 0 && d.ours(paths[0]) && !strings.HasSuffix(paths[0], ".tmp") {
			d.remove(paths[0])
		}
	}
}

// rename: what gets a name that counts must be durable before.
func (d *disk) rename(from, to string) {
	for path := range d.dirty {
		if path == from || strings.HasPrefix(path, from+"/") {
			d.wrong = append(d.wrong, fmt.Sprintf("%s becomes %s, and %s was not synced", from, to, path))
		}
	}
	d.names[filepath.Dir(to)] = append(d.names[filepath.Dir(to)], from+" to "+to)
}

// remove: what takes the place of what goes must be durable before.
func (d *disk) remove(path string) {
	for dir, names := range d.names {
		d.wrong = append(d.wrong, fmt.Sprintf("%s goes, and in %s are not synced: %v", path, dir, names))
	}
}

// traced has a command be run under strace, and looks at what it did to a data dir.
func traced(t *testing.T, dir string, run func(before []string)) *disk {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("%v; `integration/setup.sh tests` installs it", err)
	}
	file := filepath.Join(t.TempDir(), "trace")
	run([]string{"strace", "-f", "-y", "-qq", "-s", "300", "-o", file, "-e", "signal=none",
		"-e", "trace=write,pwrite64,fsync,fdatasync,openat,mkdirat,mkdir,rename,renameat,renameat2,unlink,unlinkat,rmdir"})
	trace, err := os.ReadFile(file)
	must(t, err)
	d := &disk{dir: dir, dirty: map[string]bool{}, names: map[string][]string{}, synced: map[string]bool{}}
	d.read(trace)
	for _, w := range d.wrong {
		t.Error(w)
	}
	for dir, names := range d.names {
		t.Errorf("at the end, in %s are not synced: %v", dir, names)
	}
	if t.Failed() {
		t.Logf("%s", trace)
	}
	return d
}

// without is an agent without Podman.
func without(t *testing.T, dir string) *trial.Agent {
	t.Helper()
	a := &trial.Agent{Bin: filepath.Join(built.folder(t), "podman-swarm-agent"), DataDir: dir, Podman: "unix://" + filepath.Join(dir, "none.sock"),
		Args: []string{"--recovery-delay", "20ms"}, Output: filepath.Join(t.TempDir(), "agent.log")}
	t.Cleanup(func() { must(t, a.Kill()) })
	return a
}

// TestReseal_durableInOrder: in all that a reseal does, what takes something's place is on the disk before that goes.
func TestReseal_durableInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	a := without(t, dir)
	must(t, a.Start())
	must(t, a.Settled(t.Context(), 0))
	_, err := a.Terminate(t.Context())
	must(t, err)
	for _, args := range [][]string{{}, {"--new-key"}, {"--plain"}} {
		traced(t, dir, func(before []string) {
			line := append(append(before, a.Bin, "reseal", "--data-dir", dir), args...)
			out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		})
	}
}

// TestMigration_durableInOrder: what stands as state.json, and is taken over or gone back to, is on the disk before the log says anything on account of it.
func TestMigration_durableInOrder(t *testing.T) {
	for _, m := range []trial.Migration{trial.Version1, trial.FallBack} {
		dir := filepath.Join(t.TempDir(), "data")
		must(t, m.Lay(dir, ""))
		a := without(t, dir)
		d := traced(t, dir, func(before []string) {
			a.Before = before
			must(t, a.Start())
			must(t, a.Settled(t.Context(), 1))
			pid, err := os.ReadFile(filepath.Join(dir, "events", "LOCK")) // the process that was started is strace
			must(t, err)
			n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
			must(t, err)
			must(t, syscall.Kill(n, syscall.SIGTERM))
			_, err = a.Wait(t.Context())
			must(t, err)
		})
		if !d.synced[filepath.Join(dir, "state.json")] {
			t.Errorf("migration %d: what stood as state.json was not synced", m)
		}
	}
}
