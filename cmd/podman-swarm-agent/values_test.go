package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

const takes = `
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {greeting: hello}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: takes}
spec:
  selector: {matchLabels: {app: takes}}
  template:
    metadata: {labels: {app: takes}}
    spec:
      containers:
        - name: web
          image: ` + podmanhost.Image1 + `
          imagePullPolicy: Never
          env:
            - {name: PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}
            - {name: SAYS, value: "<$(PASSWORD)>"}
          envFrom: [{configMapRef: {name: web}}, {prefix: DB_, secretRef: {name: db}}]
`

// A container of an agent has what it takes of a Secret that was declared after it, and no file of the agent has.
func TestValues_reachContainersAndNoFile(t *testing.T) {
	real := podmanhost.Start(t)
	a := newHost(t, "a", "--podman-url="+real.Socket()).start(t)
	a.ask(t, "POST", "/api/v1/manifests", takes, http.StatusOK)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(a.ask(t, "GET", "/api/v1/namespaces/default/pods/takes-0", "", http.StatusOK), `secret \"db\" not found`); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not say what it waits for:\n%s", &a.said)
		}
	}
	a.ask(t, "POST", "/api/v1/manifests", secretOf(openSesame), http.StatusOK)
	pods, err := trial.Pods(t.Context(), real, "takes", 1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := real.Podman(t.Context(), "inspect", "--format", "{{json .Config.Env}}", pods[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	if err := json.Unmarshal([]byte(out), &env); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PASSWORD=" + openSesame, "SAYS=<" + openSesame + ">", "greeting=hello", "DB_password=" + openSesame} {
		if !slices.Contains(env, want) {
			t.Errorf("its environment lacks %s: %q", want, env)
		}
	}
	a.end(t)
	nowhere(t, openSesame, a.dir)
}

// Agents of one machine are told apart by their data dirs, by whichever path they are given.
func TestFilesFolder(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(one, link); err != nil {
		t.Fatal(err)
	}
	a := filesFolder(0, "/run/user/0", one)
	if filepath.Dir(a) != "/run/podman-swarm" || a == filesFolder(0, "", two) || a != filesFolder(0, "", link) {
		t.Errorf("got %s, %s, %s", a, filesFolder(0, "", two), filesFolder(0, "", link))
	}
	if got := filesFolder(1000, "/run/user/1000", one); got != "/run/user/1000/podman-swarm/"+filepath.Base(a) {
		t.Errorf("without root: got %s", got)
	}
}
