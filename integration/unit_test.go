package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/machine"
	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
)

// unitManifest is integration/examples/web.yaml without its limit of memory: a machine's cgroups have no controllers.
func unitManifest(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("examples/web.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const limit = "          resources:\n            limits:\n              memory: 64Mi\n"
	if !strings.Contains(string(b), limit) {
		t.Fatal("the example has no such limit any more")
	}
	return strings.Replace(string(b), limit, "", 1)
}

// booted is a machine with the unit installed.
type booted struct {
	*machine.Machine
	t *testing.T
}

// run runs a command line of a shell on the machine, and wants it to succeed within two minutes.
func (m *booted) run(line string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 2*time.Minute)
	defer cancel()
	out, err := m.Run(ctx, nil, "sh", "-c", line)
	if err != nil {
		journal, _ := m.Run(context.WithoutCancel(ctx), nil, "journalctl", "--no-pager", "-n", "60", "-u", "podman-swarm-agent")
		m.t.Fatalf("%v\n%s%s", err, out, journal)
	}
	return strings.TrimSpace(out)
}

// install does what README says under "On a host of yours".
func (m *booted) install(bin string) {
	m.t.Helper()
	for path, from := range map[string]string{
		"/usr/local/bin/podman-swarm-agent":              filepath.Join(bin, "podman-swarm-agent"),
		"/usr/local/bin/psctl":                           filepath.Join(bin, "psctl"),
		"/etc/systemd/system/podman-swarm-agent.service": "../cmd/podman-swarm-agent/podman-swarm-agent.service",
	} {
		f, err := os.Open(from)
		if err != nil {
			m.t.Fatal(err)
		}
		err = m.Put(m.t.Context(), path, "755", f)
		f.Close()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	m.run("systemctl daemon-reload; systemctl enable --now podman.socket podman-swarm-agent")
}

// containers are the machine's, with when each was started.
func (m *booted) containers() string {
	m.t.Helper()
	return m.run(`podman ps -q --no-trunc | sort | xargs podman inspect -f '{{.Id}} {{.State.Status}} {{.State.StartedAt}}'`)
}

// The unit under systemd itself, installed as README says: its sandbox lets the agent do all that it is for; a restart bounces nothing and fails no
// request, as the sockets of Ingresses are kept; whoever is killed is started again; a stop leaves the containers alone; and the key of a data dir that was sealed
// meanwhile can be a credential of systemd's.
func TestUnit_systemd(t *testing.T) {
	bin := built.folder(t)
	dir := t.TempDir()
	image, err := podmanhost.BuildImage(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "machine")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	booting, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	host, err := machine.Boot(booting, home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	m := &booted{host, t}
	if _, err := m.Run(t.Context(), bytes.NewReader(image), "podman", "import", "--quiet", "--change", `ENTRYPOINT ["/web"]`, "-", podmanhost.Image1); err != nil {
		t.Fatal(err)
	}
	m.install(bin)
	m.journals()
	if err := m.Put(t.Context(), "/root/web.yaml", "644", strings.NewReader(unitManifest(t))); err != nil {
		t.Fatal(err)
	}
	m.run("psctl apply -f /root/web.yaml --wait")
	m.works()
	m.restarts()
	m.killed()
	m.stopped()
	m.sealed()
	m.journaled()
}

// works wants the Deployment to be reached in every way that there is.
func (m *booted) works() {
	m.t.Helper()
	said, deadline := "", time.Now().Add(time.Minute)
	for said = m.run("psctl status"); !strings.Contains(said, "Nothing needs a look.") && time.Now().Before(deadline); said = m.run("psctl status") {
	}
	if !strings.Contains(said, "Nothing needs a look.") {
		m.t.Errorf("psctl status:\n%s", said)
	}
	address := m.run("psctl get service web -o json | jq -r .spec.clusterIP")
	for what, line := range map[string]string{
		"its address, from the host":      "curl -sf -m 10 http://" + address + "/",
		"its Ingress":                     "curl -sf -m 10 -H 'Host: web.example.com' http://127.0.0.1/",
		"the kernel's rules, not a proxy": "nft list table ip podman_swarm_default | grep " + address,
	} {
		if said := m.run(line); said == "" {
			m.t.Errorf("%s: nothing", what)
		}
	}
	// A replica asks the Service by its name, as containers do.
	m.run(`pod=$(psctl get pods -o json | jq -r '.items[0].status.podIP'); curl -sf -m 10 "http://$pod/load?every=20ms&url=http://web/"
		until test "$(curl -sf -m 10 http://$pod/loaded | jq .ok)" -ge 20; do sleep 0.1; done; curl -sf "http://$pod/load?every=0s"`)
	if got := m.run("dig +short @10.96.0.10 web.default.svc.cluster.local"); got != address {
		m.t.Errorf("the name leads to %q, want %s", got, address)
	}
}

// restarts restarts the agent three times while somebody asks the Ingress.
func (m *booted) restarts() {
	m.t.Helper()
	before := m.containers()
	m.run(`rm -f /run/enough; { while ! test -e /run/enough; do
		curl -s -m 30 -o /dev/null -w '%{http_code}\n' -H 'Host: web.example.com' http://127.0.0.1/ || echo "curl $?"
	done > /run/codes; touch /run/asked; } > /dev/null 2>&1 &`)
	m.run("for i in 1 2 3; do systemctl restart podman-swarm-agent; done; touch /run/enough; until test -e /run/asked; do sleep 0.1; done")
	codes := m.run(`sort /run/codes | uniq -c | awk '{ $1 = $1 " with"; print }'`)
	figure(m.t, "the agent is restarted three times: the Ingress answers %s", strings.ReplaceAll(codes, "\n", ", "))
	if strings.Contains(codes, "\n") || !strings.HasSuffix(codes, " with 200") {
		m.t.Errorf("over three restarts the Ingress answered:\n%s", codes)
	}
	if after := m.containers(); after != before {
		m.t.Errorf("containers before:\n%s\nafter three restarts:\n%s", before, after)
	}
}

// killed kills the agent. systemd starts it again, and it adopts what runs.
func (m *booted) killed() {
	m.t.Helper()
	before := m.containers()
	pid := m.run("systemctl show -P MainPID podman-swarm-agent")
	m.run("systemctl kill -s KILL podman-swarm-agent; until p=$(systemctl show -P MainPID podman-swarm-agent) && test $p != 0 -a $p != " + pid +
		" && systemctl is-active -q podman-swarm-agent; do sleep 0.1; done")
	var recovery struct{ Adopted, Bounced int }
	if err := json.Unmarshal([]byte(m.run("psctl recovery -o json")), &recovery); err != nil || recovery.Adopted != 3 || recovery.Bounced != 0 {
		m.t.Errorf("after a SIGKILL: got %+v, %v", recovery, err)
	}
	if after := m.containers(); after != before {
		m.t.Errorf("containers before:\n%s\nafter a SIGKILL of the agent:\n%s", before, after)
	}
}

// stopped stops the agent, which is no failure, and leaves the containers.
func (m *booted) stopped() {
	m.t.Helper()
	before := m.containers()
	if got := m.run("systemctl stop podman-swarm-agent; systemctl show -P Result podman-swarm-agent"); got != "success" {
		m.t.Errorf("systemd calls the stop %s", got)
	}
	if after := m.containers(); after != before || before == "" {
		m.t.Errorf("containers before:\n%s\nafter a stop of the agent:\n%s", before, after)
	}
	if left := fmt.Sprint(m.run("pgrep -c podman-swarm-ag || true")); left != "0" {
		m.t.Errorf("%s processes of the agent are left", left)
	}
}

// sealed seals the data dir of the stopped agent, and hands the key over as README says. The key lies nowhere in the open then.
func (m *booted) sealed() {
	m.t.Helper()
	before := m.containers()
	const data = "/var/lib/podman-swarm"
	const inPlain = "grep -a -q " + podmanhost.Image1 + " " + data + "/state.json"
	m.run("set -e; " + inPlain + "; podman-swarm-agent reseal --data-dir " + data + `
		mkdir -p /etc/podman-swarm
		echo PODMAN_SWARM_ENCRYPT_STATE=true > /etc/podman-swarm/agent.env
		systemd-creds encrypt --name=encryption.key ` + data + `/encryption.key /etc/podman-swarm/encryption.key
		rm ` + data + `/encryption.key
		mkdir -p /etc/systemd/system/podman-swarm-agent.service.d
		printf '[Service]\nLoadCredentialEncrypted=encryption.key:/etc/podman-swarm/encryption.key\n' > /etc/systemd/system/podman-swarm-agent.service.d/key.conf
		systemctl daemon-reload
		systemctl start podman-swarm-agent`)
	if got := m.run("psctl get deployment web -o json | jq .status.readyReplicas; " + inPlain + " || echo sealed; ls " + data); !strings.HasPrefix(got, "3\nsealed\n") || strings.Contains(got, "encryption.key") {
		m.t.Errorf("with the key as a credential: got %q", got)
	}
	if after := m.containers(); after != before {
		m.t.Errorf("containers before:\n%s\nafter the data dir was sealed:\n%s", before, after)
	}
	m.run("systemctl stop podman-swarm-agent")
}

// journals has all events go into the journal, by the unit that README has for it, which only tries more often here.
func (m *booted) journals() {
	m.t.Helper()
	b, err := os.ReadFile("../README.md")
	if err != nil {
		m.t.Fatal(err)
	}
	_, unit, _ := strings.Cut(string(b), "    # /etc/systemd/system/podman-swarm-audit.service\n")
	unit, _, found := strings.Cut(unit, "\n\n")
	if !found {
		m.t.Fatal("README has no such unit any more")
	}
	unit = strings.ReplaceAll(unit, "    ", "")
	if err := m.Put(m.t.Context(), "/etc/systemd/system/podman-swarm-audit.service", "644", strings.NewReader(unit)); err != nil {
		m.t.Fatal(err)
	}
	m.run(`mkdir -p /etc/systemd/system/podman-swarm-audit.service.d
		printf '[Service]\nRestartSec=100ms\n' > /etc/systemd/system/podman-swarm-audit.service.d/often.conf
		systemctl daemon-reload; systemctl enable --now podman-swarm-audit`)
}

// journaled wants each event in the journal, once and in order, over all that befell the agent, though it was away for many tries.
func (m *booted) journaled() {
	m.t.Helper()
	m.run(`before=$(systemctl show -P NRestarts podman-swarm-audit)
		until test "$(systemctl show -P NRestarts podman-swarm-audit)" -ge $((before+8)); do
			if systemctl is-failed -q podman-swarm-audit; then echo it has given up; exit 1; fi; sleep 0.1
		done; systemctl start podman-swarm-agent`)
	var log, journal string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		journal = m.run("journalctl -q -u podman-swarm-audit -o cat | jq -R 'fromjson? | .index' | tr '\n' ' '")
		if log = m.run("psctl events -o json | jq .index | tr '\n' ' '"); log == journal {
			return
		}
	}
	m.t.Errorf("the log has the events\n%s\nand the journal\n%s", log, journal)
}
