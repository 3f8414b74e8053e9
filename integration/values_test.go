package integration

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

const taking = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: taking}
spec:
  selector: {matchLabels: {app: taking}}
  template:
    metadata: {labels: {app: taking}}
    spec:
      volumes: [{name: keys, secret: {secretName: keys, defaultMode: 0400}}]
      containers:
        - {name: web, image: ` + podmanhost.Image1 + `, imagePullPolicy: Never, volumeMounts: [{name: keys, mountPath: /keys}]}
`

// TestAgent_volumesOfSecrets has a container read a Secret from a file that follows it, whatever becomes of the agent and the host meanwhile, and looks
// for the value in every file of the agent and of Podman.
func TestAgent_volumesOfSecrets(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	inside := func() { // its /run is the host's, as for an agent on it
		a.Before = slices.DeleteFunc(host.Inside(), func(arg string) bool { return arg == "--net" })
	}
	inside()
	in := func(args ...string) string {
		line := append(slices.Clone(a.Before), args...)
		out, err := exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput()
		if err != nil {
			return err.Error() + ": " + string(out)
		}
		return string(out)
	}
	declare := func(value string) {
		t.Helper()
		apply(t, a, "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {key: "+value+"}\n")
	}
	has := func(c trial.Container, want string) {
		t.Helper()
		eventually(t, func() error {
			pid, err := host.Podman(t.Context(), "inspect", "--format", "{{.State.Pid}}", c.ID)
			if got := in("cat", "/proc/"+pid+"/root/keys/key"); err != nil || got != want {
				return fmt.Errorf("the container reads %q, %v, want %q", got, err, want)
			}
			return nil
		})
	}
	up(t, a)
	declare("open-sesame-1")
	apply(t, a, taking)
	before := pods(t, host, "taking", 1)
	has(before[0], "open-sesame-1")
	declare("open-sesame-2")
	has(before[0], "open-sesame-2")

	must(t, a.Kill())
	up(t, a)
	untouched(t, host, before)
	has(before[0], "open-sesame-2")

	must(t, a.Kill())
	must(t, host.Reboot(t.Context()))
	inside()
	if left := in("ls", "/run/podman-swarm"); !strings.Contains(left, "No such file") {
		t.Errorf("it outlives the boot: %s", left)
	}
	up(t, a)
	after := pods(t, host, "taking", 1)
	if after[0].ID != before[0].ID {
		t.Errorf("after a reboot: got container %s, want %s", after[0].ID, before[0].ID)
	}
	has(after[0], "open-sesame-2")

	said, err := host.Podman(t.Context(), "inspect", after[0].ID)
	must(t, err)
	for dir, all := range map[string]map[string][]byte{"the agent's": files(t, a.DataDir), "its output": {"": []byte(a.OutputTail())}, "what Podman says": {"": []byte(said)}} {
		for path, b := range all {
			if bytes.Contains(b, []byte("open-sesame")) || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString([]byte("open-sesame-2"))[:16])) {
				t.Errorf("%s %s holds a value of the Secret", dir, path)
			}
		}
	}
	must(t, trial.DeleteOnce(t.Context(), a.URL(), "Deployment", "taking"))
	eventually(t, func() error {
		if left := in("find", "/run/podman-swarm", "-mindepth", "2"); left != "" {
			return fmt.Errorf("files are left: %s", left)
		}
		return nil
	})
}

// TestKubectl_values has kubectl show, and set, what a container takes of other objects: as it is declared.
func TestKubectl_values(t *testing.T) {
	k, _, _ := kubectlOf(t)
	k.run("apply", "-f", k.file(taking))
	k.says("secret/s created", "create", "secret", "generic", "s", "--from-literal=K=open-sesame")
	k.says("configmap/m created", "create", "configmap", "m", "--from-literal=A=1")
	k.run("set", "env", "deployment/taking", "--from=secret/s")
	k.run("set", "env", "deployment/taking", "--from=configmap/m", "--prefix=M_")
	k.run("patch", "deployment/taking", "-p",
		`{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"ME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],"envFrom":[{"secretRef":{"name":"s","optional":true}}]}]}}}}`)
	eventually(t, func() error {
		said := k.run("describe", "pods") + k.run("get", "pods", "-o=jsonpath={.items[*].status.containerStatuses[*].state.waiting.message}")
		for _, want := range []string{"CreateContainerConfigError", `volume "keys": secret "keys" not found`, "<set to the key 'K' in secret 's'>", "M_A:", "of config map 'm'>", "(v1:metadata.name)",
			"s  Secret  Optional: true", "/keys from keys", "Type:        Secret"} {
			if !strings.Contains(said, want) {
				return fmt.Errorf("it lacks %q:\n%s", want, said)
			}
		}
		if strings.Contains(said, "sesame") {
			t.Errorf("it shows a value:\n%s", said)
		}
		return nil
	})
}
