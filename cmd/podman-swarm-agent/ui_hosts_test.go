package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// TestUI_aRecoveryOnPodman looks at what the page says of a recovery that had something to do: the agent was away, and one of the two
// containers ended meanwhile.
func TestUI_aRecoveryOnPodman(t *testing.T) {
	real := podmanhost.Start(t)
	a := newHost(t, "a", "--podman-url="+real.Socket()).start(t)
	b := chromium(t)
	b.do("POST", "/url", map[string]string{"url": a.url + "/ui"}, nil)
	a.ask(t, "POST", "/api/v1/manifests", trial.Deployment("shop", 2, ""), http.StatusOK)
	b.shows("#verdict", "2 of 2 replicas run")
	b.shows("#deployments tbody", "2/2")
	b.shows("#events", "placement/default/shop/0: to run on a: ")
	b.shows("#events", "replica/default/shop/0/a: Running, container ")

	a.end(t)
	b.shows("#verdict", "The agent does not answer")
	before, err := trial.Pods(t.Context(), real, "shop", 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := real.Podman(t.Context(), "kill", "--signal=KILL", before[0].ID); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	b.shows("#events", "recovery/a: recovered: adopted 1, started 1, created 0, removed 0, failed 0, bounced 0")
	b.shows("#verdict", "2 of 2 replicas run")
	for _, row := range []string{"Left running\n1\n", "Started again\n1\n", "Made anew\n0\n", "Removed\n0\n", "Failed\n0\n", "Bounced\n0"} {
		b.shows("#recovery", row)
	}
	if took := b.run(`return document.querySelector("#recovery").innerText`); strings.Contains(took, "goes on") {
		t.Errorf("a recovery that is done goes on: %s", took)
	}
	after, err := trial.Pods(t.Context(), real, "shop", 2)
	if err != nil {
		t.Fatal(err)
	}
	if bounced := trial.Bounced(before[1:], after); len(bounced) > 0 {
		t.Errorf("the page says that none bounced, and these did: %v", bounced)
	}
	b.picture("recovered")
	if said := b.said(); strings.Contains(said, "TypeError") || strings.Contains(said, "ReferenceError") {
		t.Errorf("the page wrote to the console:\n%s", said)
	}
	a.end(t)
}

// TestUI_aSilentHost looks at what the page says of a host whose agent was killed, without a word, and of its return.
func TestUI_aSilentHost(t *testing.T) {
	a := newHost(t, "a").start(t)
	dir := t.TempDir()
	killed := &trial.Agent{Bin: filepath.Join(dir, "agent"), DataDir: filepath.Join(dir, "b"), Node: "b", Podman: "unix://" + filepath.Join(dir, "no-podman.sock"), Output: filepath.Join(dir, "output"),
		Args: []string{"--recovery-delay=1ms", "--cluster-addr=" + freePort(t), "--join=" + a.cluster, "--join-token=" + a.token(t)}}
	if err := trial.Build(t.Context(), killed.Bin); err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := killed.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the other agent wrote:\n%s", killed.OutputTail())
		}
	})
	a.status(t, "two alive and agreeing", alive(2))
	b := chromium(t)
	b.do("POST", "/url", map[string]string{"url": a.url + "/ui"}, nil)
	b.shows("#verdict", "2 of 2 hosts alive, all that are alive agree")

	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	b.shows("#verdict", "1 of 2 hosts alive")
	b.shows("#hosts tbody tr:nth-child(2)", "silent for ")
	b.shows("#hosts tbody tr:nth-child(2)", "host b has been silent since ")
	b.shows("#problems", "host b has been silent since ")
	b.shows("#problems", "psctl node down b")
	b.shows("#events", "sight/a: does not hear b")
	b.picture("silent")

	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	b.shows("#verdict", "2 of 2 hosts alive, all that are alive agree")
	if got := b.run(`return document.querySelector("#problems").innerText`); strings.Contains(got, "silent") {
		t.Errorf("a host that is back still needs a look: %s", got)
	}
	b.run(`const f = document.querySelector("#filters"); f.key.value = "sight/a"; f.dispatchEvent(new Event("input"))`)
	b.shows("#events li:first-child", "sight/a: hears all others")
	if got := b.run(`return document.querySelector("#hosts tbody tr:nth-child(2)").innerText`); strings.Contains(got, "silent") {
		t.Errorf("a host that is back is told of as silent: %s", got)
	}
	a.end(t)
}
