package integration

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// alice is an ordinary user of a host, with a Podman beside root's.
type alice struct {
	host *street.Host
	home string
}

// makeAlice has a machine know a user, in the host's own mounts alone: no file of the machine's is changed. Its /dev/net/tun is
// everybody's there, as udev makes it. Nothing lies over its /proc, where the host has a boot id of its own otherwise: the kernel lets
// a user's containers mount theirs only where root has hidden nothing.
const makeAlice = `
set -eu
home=$1 image=$2
mkdir -p /run/alice /run/made
mount -t tmpfs tmpfs /run/made
mknod -m 666 /run/made/tun c 10 200
{ cat /etc/passwd; echo "alice:x:64321:64321::$home:/bin/sh"; } >/run/made/passwd
{ cat /etc/group; echo "alice:x:64321:"; } >/run/made/group
echo alice:700000000:65536 | tee /run/made/subuid >/run/made/subgid
for file in passwd group subuid subgid; do mount --bind "/run/made/$file" "/etc/$file"; done
mount --bind /run/made/tun /dev/net/tun
umount /proc/sys/kernel/random/boot_id
chmod 644 "$image" "$home"/*
chmod 755 "$home/podman-swarm-agent"
chown -R 64321:64321 "$home" /run/alice
`

func newAlice(t *testing.T) *alice {
	t.Helper()
	s, err := street.Open(t.Context(), street.Options{Hosts: 1, Bin: built.folder(t)})
	must(t, err)
	h := s.Hosts[0]
	t.Cleanup(func() { must(t, s.Close()) })
	home, err := os.MkdirTemp("", "alice-") // its parents are for all to pass
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(home)) })
	t.Cleanup(func() { must(t, h.Podman.PowerOff()) })

	conf, err := podmanhost.Config()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(home, "containers.conf"), []byte(conf), 0o644))
	b, err := os.ReadFile(filepath.Join(built.folder(t), "podman-swarm-agent"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(home, "podman-swarm-agent"), b, 0o755))
	image := filepath.Join(home, "image.tar")
	_, err = h.Podman.Podman(t.Context(), "save", "--output", image, podmanhost.Image1)
	must(t, err)
	a := &alice{h, home}
	line := append(a.inside(), "bash", "-c", makeAlice, "alice", home, image)
	if out, err := exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("make a user: %v\n%s", err, out)
	}
	a.podman(t, "load", "--quiet", "--input", image)
	service := a.command(t, "podman", "system", "service", "--time=0", "unix:///run/alice/podman.sock")
	must(t, service.Start())
	t.Cleanup(func() { _ = service.Wait() }) // the host's power is cut by then
	return a
}

// inside is a command to run others with, so that they end with the host: in its process namespace, too.
func (a *alice) inside() []string {
	in := a.host.Podman.Inside()
	return append(in[:len(in)-1:len(in)-1], "--pid", "--")
}

// as is one to run others with as the user.
func (a *alice) as(inside []string) []string {
	return append(inside, "setpriv", "--reuid=64321", "--regid=64321", "--clear-groups", "env", "-i", "PATH="+os.Getenv("PATH"), "HOME="+a.home,
		"XDG_RUNTIME_DIR=/run/alice", "CONTAINERS_CONF="+filepath.Join(a.home, "containers.conf"), "PODMAN_IGNORE_CGROUPSV1_WARNING=1")
}

func (a *alice) command(t *testing.T, args ...string) *exec.Cmd {
	line := append(a.as(a.inside()), args...)
	return exec.CommandContext(t.Context(), line[0], line[1:]...)
}

func (a *alice) podman(t *testing.T, args ...string) string {
	t.Helper()
	cmd := a.command(t, append([]string{"podman"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("podman %v: %v\n%s", args, err, err.(*exec.ExitError).Stderr)
	}
	return strings.TrimSpace(string(out))
}

// agent is the user's own agent, which does not run yet.
func (a *alice) agent(t *testing.T) *trial.Agent {
	g := &trial.Agent{
		Bin: filepath.Join(a.home, "podman-swarm-agent"), DataDir: filepath.Join(a.home, "data"), Podman: "unix:///run/alice/podman.sock",
		Node: "h1", Addr: street.APIAddr, Dial: a.host.Dial, Before: a.as(a.host.Podman.Inside()), Output: filepath.Join(t.TempDir(), "agent.log"),
		Args: []string{"--node-address", a.host.Addr(), "--ingress-http", ":8000", "--recovery-delay", "20ms"},
	}
	t.Cleanup(func() {
		must(t, g.Kill())
		if t.Failed() {
			t.Logf("the agent wrote:\n%s", g.OutputTail())
		}
	})
	return g
}

// An ordinary user's agent runs that user's containers beside a Podman of the user's own, as the README says of it: a Service answers at the
// loopback address that stands for its own, at its NodePort and through an Ingress; a restart of the agent bounces nothing; what
// cannot be had without root is said.
func TestRootless(t *testing.T) {
	a := newAlice(t)
	agent := a.agent(t)
	up(t, agent)
	client := a.host.Client()
	_, err := trial.Apply(t.Context(), client, agent.URL(), trial.Deployment("web", 2, "")+`---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 8080, targetPort: 80, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: low}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {defaultBackend: {service: {name: web, port: {number: 8080}}}}
`)
	must(t, err)
	var service struct {
		Spec struct {
			ClusterIP string `json:"clusterIP"`
		} `json:"spec"`
	}
	must(t, trial.JSON(t.Context(), client, agent.URL()+"/api/v1/namespaces/default/services/web", &service))
	_, rest, _ := strings.Cut(service.Spec.ClusterIP, ".")
	atNodePort := "http://" + a.host.Addr() + ":30080/"
	answers := func() {
		t.Helper()
		for _, at := range []string{"http://127." + rest + ":8080/", atNodePort, "http://127.0.0.1:8000/", "http://" + a.host.Addr() + ":8000/"} {
			patiently(t, func() error {
				_, err := trial.Do(t.Context(), client, "GET", at, "")
				return err
			})
		}
	}
	answers()

	running := func() string { return a.podman(t, "ps", "--no-trunc", "--format", "{{.ID}} since {{.StartedAt}}") }
	before := running()
	if n := len(strings.Fields(before)); n != 6 {
		t.Fatalf("the user's Podman runs\n%s\nwant two containers", before)
	}
	if out, err := a.host.Podman.Podman(t.Context(), "ps", "--all", "--quiet"); err != nil || out != "" {
		t.Errorf("root's Podman has %q, %v", out, err)
	}

	// From a container, as from another host.
	var pods struct {
		Items []struct {
			Spec struct {
				Containers []struct{ Ports []struct{ HostPort int } }
			}
		}
	}
	must(t, trial.JSON(t.Context(), client, agent.URL()+"/api/v1/namespaces/default/pods", &pods))
	at := fmt.Sprintf("http://%s:%d", a.host.Addr(), pods.Items[0].Spec.Containers[0].Ports[0].HostPort)
	_, err = trial.Do(t.Context(), client, "GET", at+"/load?every=20ms&url="+url.QueryEscape(atNodePort), "")
	must(t, err)
	patiently(t, func() error {
		var got answered
		if err := trial.JSON(t.Context(), client, at+"/loaded", &got); err != nil || len(got.By) != 2 {
			return fmt.Errorf("a container asks %s: %+v, want answers of both replicas: %w", atNodePort, got, err)
		}
		return nil
	})
	_, err = trial.Do(t.Context(), client, "GET", at+"/load?every=0s", "")
	must(t, err)

	// What is not there is said.
	b, err := trial.Do(t.Context(), client, "GET", agent.URL()+"/swarm/v1/status", "")
	must(t, err)
	contains(t, string(b), "default/low/tcp/80 is not served at", "only root may listen below port 1024; sysctl net.ipv4.ip_unprivileged_port_start=80 allows it to all")
	contains(t, agent.OutputTail(), "containers reach NodePorts only", "names of Services are not answered")

	code, err := agent.Terminate(t.Context())
	if err != nil || code != 0 {
		t.Fatalf("the agent ended with %d, %v", code, err)
	}
	if now := running(); now != before {
		t.Errorf("with the agent off the user's Podman runs\n%s\nbefore\n%s", now, before)
	}
	up(t, agent)
	answers()
	if now := running(); now != before {
		t.Errorf("after a restart of the agent the user's Podman runs\n%s\nbefore\n%s", now, before)
	}

	must(t, trial.Delete(t.Context(), client, agent.URL(), "deployments", "web"))
	patiently(t, func() error {
		if now := a.podman(t, "ps", "--all", "--quiet"); now != "" {
			return fmt.Errorf("what was deleted is there: %s", now)
		}
		return nil
	})
}
