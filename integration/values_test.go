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
