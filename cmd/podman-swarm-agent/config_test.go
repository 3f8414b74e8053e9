package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func parse(t *testing.T, env map[string]string, args ...string) (config, error) {
	t.Helper()
	var c config
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.flags(fs)
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if err := fromEnv(fs, func(k string) string { return env[k] }); err != nil {
		return c, err
	}
	return c, c.check(func(k string) string { return env[k] })
}

// Failure A.1: it starts with its documented flags.
func TestConfig_documentedDefaults(t *testing.T) {
	c, err := parse(t, nil, "--node-name=n1")
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/var/lib/podman-swarm" || c.APIAddr != "127.0.0.1:8080" || c.RecoveryDelay != 5*time.Second {
		t.Errorf("defaults are %+v", c)
	}
}

func TestConfig_flagWinsOverEnvironmentWinsOverDefault(t *testing.T) {
	env := map[string]string{"PODMAN_SWARM_NODE_NAME": "from-env", "PODMAN_SWARM_API_ADDR": "127.0.0.1:1", "PODMAN_SWARM_NODE_LABEL": "disk=ssd,zone=a"}
	c, err := parse(t, env, "--api-addr=127.0.0.1:2")
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeName != "from-env" || c.APIAddr != "127.0.0.1:2" || c.NodeLabels["disk"] != "ssd" || c.NodeLabels["zone"] != "a" {
		t.Errorf("got %+v", c)
	}
}

// Failure A.1: every mistake is said at once, naming flag and value.
func TestConfig_everyMistakeAtOnce(t *testing.T) {
	_, err := parse(t, map[string]string{"PODMAN_SWARM_LOG_FORMAT": "xml", "CONTAINER_HOST": "http://podman"},
		"--node-name=Not_A_Name", "--api-addr=0.0.0.0:8080", "--log-level=loud", "--node-label=a b=c",
		"--recovery-delay=-1s", "--node-address=1.2.3.4:80", "--data-dir=", "--node-label=none", "--recovery-delay=soon")
	if err == nil {
		t.Fatal("all of it was taken")
	}
	for _, want := range []string{"--node-name", "Not_A_Name", "--api-addr", "loopback", "--log-level", "loud", "--node-label",
		"--recovery-delay", "--node-address", "--data-dir", "--log-format", "xml", `"none"`, `"soon"`, "CONTAINER_HOST"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in:\n%v", want, err)
		}
	}
}

func TestConfig_badEnvironmentNamesTheVariable(t *testing.T) {
	_, err := parse(t, map[string]string{"PODMAN_SWARM_RECOVERY_DELAY": "soon"})
	if err == nil || !strings.Contains(err.Error(), "PODMAN_SWARM_RECOVERY_DELAY") {
		t.Errorf("err = %v, want the variable named", err)
	}
}

func TestRun_usage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"--version"}, 0, "podman-swarm-agent dev"},
		{[]string{"--help"}, 0, "--data-dir"},
		{[]string{"--nonsense"}, 2, "unknown flag: --nonsense"},
		{[]string{"stray"}, 2, "stray"},
		{[]string{"--log-level=loud"}, 2, "--log-level"},
		{[]string{"log", "dump", "--data-dir=" + t.TempDir()}, 1, "events"},
		{[]string{"--recovery-delay=soon", "--podman-url=x", "--log-level=loud"}, 2, "--log-level"},
	} {
		var out, errs bytes.Buffer
		env := map[string]string{"PODMAN_SWARM_VERSION": "1.2"} // no flag that can be set
		code := run(t.Context(), tc.args, func(k string) string { return env[k] }, &out, &errs)
		if strings.Contains(errs.String(), "1.2") {
			t.Errorf("%v: %s", tc.args, &errs)
		}
		if code != tc.code || !strings.Contains(out.String()+errs.String(), tc.out) {
			t.Errorf("%v: exit code %d, printed:\n%s%s\nwant %d and %q", tc.args, code, &out, &errs, tc.code, tc.out)
		}
	}
}
