package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/podman-swarm/podman-swarm/cmd/internal/apitest"
)

var update = flag.Bool("update", false, "write what the scripts compare with anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"psctl": main})
}

// Each script has an agent of its own, without Podman; see apitest for what becomes of a replica there.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "psctl-test-")
			if err != nil {
				return err
			}
			a, err := apitest.Start(dir)
			if err != nil {
				return errors.Join(err, os.RemoveAll(dir))
			}
			env.Defer(func() {
				if err := errors.Join(a.Stop(), os.RemoveAll(dir)); err != nil {
					t.Error(err)
				}
			})
			env.Values["agent"] = a
			env.Setenv("PSCTL_SERVER", a.URL())
			env.Setenv("USER", "alice")
			env.Setenv("BACKUPS", filepath.Join(dir, "backups"))
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=1") // otherwise each psctl that ends sleeps a second
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"agent": agentCmd, "code": codeCmd},
	})
}

// agentCmd is "agent start", "agent stop", "agent recover WHY", "agent orphan ID NAME", "agent join HOST",
// "agent silence HOST…", "agent rival KEY OLD NEW", "agent move POD HOST", "agent stay POD WHY", "agent spoil", "agent increment", "agent forget", "agent interrupt RESTORE FILE", which names the backup, and "agent tls FILE", which writes the CA there.
func agentCmd(ts *testscript.TestScript, neg bool, args []string) {
	a, ok := ts.Value("agent").(*apitest.Agent)
	if !ok || neg || len(args) == 0 {
		ts.Fatalf("usage: agent start|stop|recover [WHY]|orphan ID NAME|join|silence|move|stay|spoil|increment|forget|interrupt|seal FILE|tls")
	}
	switch {
	case args[0] == "start":
		ts.Check(a.Start())
	case args[0] == "stop":
		ts.Check(a.Stop())
	case args[0] == "recover" && len(args) == 3: // WHY COUNT
		refusals, err := strconv.Atoi(args[2])
		ts.Check(err)
		a.Recover(args[1], refusals)
	case args[0] == "orphan" && len(args) == 3:
		a.Orphan(args[1], args[2])
	case args[0] == "join" && len(args) == 2:
		ts.Check(a.Join(args[1]))
	case args[0] == "silence":
		ts.Check(a.Silence(args[1:]...))
	case args[0] == "move" && len(args) == 3:
		ts.Check(a.Move(args[1], args[2]))
	case args[0] == "stay" && len(args) == 3:
		a.Stay(args[1], args[2])
	case args[0] == "seal" && len(args) == 2: // for the public key in a file
		key, err := os.ReadFile(ts.MkAbs(args[1]))
		ts.Check(err)
		ts.Check(a.SealFor(string(key)))
	case args[0] == "rival" && len(args) == 4: // KEY OLD NEW: another has changed it too, and lost
		ts.Check(a.Rival(args[1], args[2], args[3]))
	case args[0] == "twin" && len(args) == 3: // KEY NAME: another host has declared the same under another name
		ts.Check(a.Twin(args[1], args[2]))
	case args[0] == "spoil":
		ts.Check(a.Spoil())
	case args[0] == "increment":
		ts.Check(a.Increment())
	case args[0] == "interrupt" && len(args) == 3:
		ts.Check(a.Interrupt(args[1], strings.TrimSpace(ts.ReadFile(args[2]))))
	case args[0] == "forget":
		a.Forget()
	case args[0] == "tls" && len(args) == 2:
		url, ca, err := a.TLS()
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), ca, 0o600))
		ts.Setenv("TLS_SERVER", url)
	default:
		ts.Fatalf("agent %q: not known", args)
	}
}

// codeCmd is "code N COMMAND…": the command ends with that exit code.
func codeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%q ended with exit code %d, want %d", args[1:], got, want)
	}
}
