package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestCrash_short is a small `task crash`. Failure A.6: kill -9 and restart: "name already in use", one of two
// recovered, and a DELETE that leaves the container running.
func TestCrash_short(t *testing.T) {
	program(t, "crash", "-rounds", "5", "-containers", "3", "-load", "700ms")
}

// TestCrash_restores is a small `task crash -- -restores`: killed in the middle of backups, prunes, trims, restores and reseals, as it falls out: only the whole run must
// come upon each.
func TestCrash_restores(t *testing.T) {
	program(t, "crash", "-rounds", "3", "-containers", "1", "-load", "500ms", "-restores")
}

// TestPowercut_short is a small `task powercut`. Failure A.3: no fsync; a power cut loses what was acknowledged, or
// the whole file.
func TestPowercut_short(t *testing.T) {
	program(t, "powercut", "-rounds", "2", "-images", "6")
}

// TestAudit_short is a small `task audit`: a log that somebody has touched is found out, also by what was trimmed off it, and one that nobody has touched is not
// called so.
func TestAudit_short(t *testing.T) {
	program(t, "audit", "-events", "2000", "-tamperings", "36", "-untouched", "18")
}

// TestFollow_short is a small `task follow`.
func TestFollow_short(t *testing.T) {
	program(t, "follow", "-restarts", "4")
}

// TestAlarms_short is a small `task alarms`: of three hosts and a real Prometheus, in which no alert fires while nothing is wrong, and that of one kind of trouble fires and clears.
// The agent's clock stays as it is: that takes one that is built for it.
func TestAlarms_short(t *testing.T) {
	program(t, "alarms", "-only", "Conflict")
}

// program runs one of the programs of the folders beside this one to its good end, in the root of the repository as people do.
func program(t *testing.T, name string, args ...string) {
	t.Helper()
	bin := built.folder(t)
	cmd := exec.Command(filepath.Join(bin, name), append(args, "-bin", bin, "-dir", shortTemp(t))...)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", cmd, out)
	must(t, err)
}

// shortTemp is a temporary folder with a short path: that of a socket may have 107 bytes.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "swarm-")
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("left for you to look at: %s", dir)
			return
		}
		must(t, os.RemoveAll(dir))
	})
	return dir
}
