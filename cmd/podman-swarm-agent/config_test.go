package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/podman-swarm/podman-swarm/snapshot"
)

func parse(t *testing.T, env map[string]string, args ...string) (config, error) {
	t.Helper()
	var c config
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.flags(fs)
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	var environ []string
	for k, v := range env {
		environ = append(environ, k+"="+v)
	}
	if err := fromEnv(fs, environ); err != nil {
		return c, err
	}
	return c, c.check(lookup(environ))
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
		"--recovery-delay=-1s", "--node-address=1.2.3.4:80", "--data-dir=", "--node-label=none", "--recovery-delay=soon", "--backup-keep-daily=x", "--backup-dir=/proc/version")
	if err == nil {
		t.Fatal("all of it was taken")
	}
	for _, want := range []string{"--node-name", "Not_A_Name", "--api-addr", "loopback", "--log-level", "loud", "--node-label",
		"--recovery-delay", "--node-address", "--data-dir", "--log-format", "xml", `"none"`, `"soon": want a time like`, "CONTAINER_HOST", `"x": want a whole number`, "is no folder"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in:\n%v", want, err)
		}
	}
}

// How many backups stay is said in restic's words.
func TestConfig_backupKeep(t *testing.T) {
	c, err := parse(t, map[string]string{"PODMAN_SWARM_BACKUP_KEEP_WEEKLY": "unlimited"}, "--node-name=n1", "--backup-keep-last=3", "--backup-keep-hourly=unlimited", "--backup-keep-daily=-1")
	if want := (snapshot.Keep{Last: 3, Hourly: -1, Daily: -1, Weekly: -1}); err != nil || c.BackupKeep != want {
		t.Errorf("got %+v, %v, want %+v", c, err, want)
	}
	if c, err = parse(t, nil, "--node-name=n1"); err != nil || c.BackupKeep != (snapshot.Keep{Hourly: 24, Daily: 7, Weekly: 4}) {
		t.Errorf("by default: %+v, %v", c, err)
	}
	for _, bad := range []string{"-2", "all", "1.5", ""} {
		if _, err := parse(t, nil, "--node-name=n1", "--backup-keep-last="+bad); err == nil || !strings.Contains(err.Error(), "--backup-keep-last \""+bad+"\": want a whole number, 0 or more, or unlimited") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// A mistake in whom backups are sealed for is said at the start, with its flag, and no secret.
func TestConfig_sealing(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(secret, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(t.TempDir(), "public")
	if err := os.WriteFile(public, []byte("correct horse\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const one, two = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg"
	for _, c := range []struct {
		env  string
		args []string
		want string
	}{
		{env: one + "," + two},
		{args: []string{"--backup-recipient=" + one, "--backup-recipient=" + two}},
		{args: []string{"--backup-passphrase-file=" + secret}},
		{args: []string{"--backup-recipient=" + one + ",age2"}, want: `--backup-recipient "age2": want a public key`},
		{env: "age1x", want: `--backup-recipient "age1x": not a public key`},
		{args: []string{"--backup-recipient=AGE-SECRET-KEY-1ABC"}, want: "--backup-recipient \"AGE-SECRET-KEY-…\": that is the secret half"},
		{args: []string{"--backup-passphrase-file=/none"}, want: "--backup-passphrase-file: open /none"},
		{args: []string{"--backup-passphrase-file=" + public}, want: "--backup-passphrase-file: everybody on this host can get at " + public},
		{args: []string{"--backup-identity-file=" + secret}, want: "--backup-identity-file: identity file " + secret + ": want lines"},
		{args: []string{"--backup-passphrase-file=" + secret, "--backup-recipient=" + one}, want: "age seals for one or the other"},
	} {
		cfg, err := parse(t, map[string]string{"PODMAN_SWARM_BACKUP_RECIPIENT": c.env}, append(c.args, "--node-name=n1")...)
		switch {
		case c.want == "" && (err != nil || cfg.sealing.forWhom.None()):
			t.Errorf("%v: %v", c, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "1ABC") || strings.Contains(err.Error(), "horse")):
			t.Errorf("%v: got %v, want %q", c.args, err, c.want)
		}
	}
}

func TestConfig_badEnvironmentNamesTheVariable(t *testing.T) {
	_, err := parse(t, map[string]string{"PODMAN_SWARM_RECOVERY_DELAY": "soon"})
	if err == nil || !strings.Contains(err.Error(), "PODMAN_SWARM_RECOVERY_DELAY") {
		t.Errorf("err = %v, want the variable named", err)
	}
}

// Of a setting that is mistyped nothing is read, and nothing of it is shown: it may be a token.
func TestConfig_strangeEnvironment(t *testing.T) {
	_, err := parse(t, map[string]string{"PODMAN_SWARM_BACKUP_RECIPIENTS": "age1secret", "PODMAN_SWARM_version": "1", "PODMAN_SWARM_HELP": "true",
		"PODMAN_SWARM_TEST_CLOCK_OFFSET": "1h", "PODMAN_SWARM_NODE_NAME": "n1", "PATH": "/bin"})
	for _, name := range []string{"PODMAN_SWARM_BACKUP_RECIPIENTS", "PODMAN_SWARM_version", "PODMAN_SWARM_HELP"} {
		if err == nil || !strings.Contains(err.Error(), name+" ") {
			t.Errorf("err = %v, want %s named", err, name)
		}
	}
	if err != nil && (strings.Contains(err.Error(), "age1secret") || strings.Count(err.Error(), "\n") != 2) {
		t.Errorf("err = %v, want these three, without what they are set to", err)
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
		{[]string{"log", "verify", "--help"}, 0, "looks at the log, and at nothing else of the host"},
		{[]string{"--nonsense"}, 2, "unknown flag: --nonsense"},
		{[]string{"stray"}, 2, "stray"},
		{[]string{"--log-level=loud"}, 2, "--log-level"},
		{[]string{"log", "dump", "--data-dir=" + t.TempDir()}, 1, "events"},
		{[]string{"--recovery-delay=soon", "--podman-url=x", "--log-level=loud"}, 2, "--log-level"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), tc.args, []string{"PODMAN_SWARM_VERSION=1.2"}, &out, &errs) // no flag that can be set
		if strings.Contains(errs.String(), "1.2") {
			t.Errorf("%v: %s", tc.args, &errs)
		}
		if code != tc.code || !strings.Contains(out.String()+errs.String(), tc.out) {
			t.Errorf("%v: exit code %d, printed:\n%s%s\nwant %d and %q", tc.args, code, &out, &errs, tc.code, tc.out)
		}
	}
}

func TestParseLogKeep(t *testing.T) {
	for text, want := range map[string]logKeep{
		"": {}, "all": {}, "30d": {age: 30 * 24 * time.Hour}, "2w": {age: 14 * 24 * time.Hour}, "36h": {age: 36 * time.Hour},
		"10GiB": {bytes: 10 << 30}, "500MB": {bytes: 500e6}, "30d,10GiB": {30 * 24 * time.Hour, 10 << 30}, "1TiB, 1h30m": {90 * time.Minute, 1 << 40},
	} {
		if got, err := parseLogKeep(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"30", "d", "0d", "-1h", "10 GiB", "1GiB,2GiB", "1d,2d", "30d,", "99999d", "9999999GiB", "1.5GiB"} {
		if got, err := parseLogKeep(text); err == nil {
			t.Errorf("%q: got %+v, want it refused", text, got)
		}
	}
	if _, err := parse(t, nil, "--node-name=a", "--log-keep=30d", "--backup-increment-interval=0"); err == nil || !strings.Contains(err.Error(), "is kept in increments") {
		t.Errorf("without increments: got %v", err)
	}
	if _, err := parse(t, nil, "--node-name=a", "--log-keep=30d", "--backup-recipient=age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"); err != nil {
		t.Errorf("where backups are sealed: got %v", err)
	}
}

// What is given may have a secret in it, and is not said again.
func TestConfig_backupTo(t *testing.T) {
	for _, wrong := range []string{"s3://key:hush@bucket", "ftp://hush/x", "/var/lib/podman-swarm"} {
		if _, err := parse(t, nil, "--node-name=a", "--backup-to="+wrong); err == nil || !strings.Contains(err.Error(), "--backup-to") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v", wrong, err)
		}
	}
}

func TestConfig_services(t *testing.T) {
	c, err := parse(t, nil)
	if err != nil || c.cidr.String() != "10.96.0.0/12" || c.IngressAnswer != time.Minute {
		t.Errorf("got %v, %v, %v, want Kubernetes' own addresses, and a minute", c.cidr, c.IngressAnswer, err)
	}
	c, err = parse(t, nil, "--service-cidr=none", "--ingress-http=none", "--ingress-https=none")
	if err != nil || c.cidr.IsValid() {
		t.Errorf("with none: got %v, %v", c.cidr, err)
	}
	_, err = parse(t, nil, "--service-cidr=10.96.0.1/12", "--ingress-http=80", "--ingress-https=:https-alt-no",
		"--ingress-trusted-proxy=10.0.0.0/8,somebody", "--ingress-answer-timeout=0")
	for _, want := range []string{`--service-cidr "10.96.0.1/12"`, "10.96.0.0/12", `--ingress-http "80"`, `--ingress-https ":https-alt-no"`,
		`--ingress-trusted-proxy "somebody"`, `--ingress-answer-timeout "0s": must be 1s or more`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in: %v", want, err)
		}
	}
}
