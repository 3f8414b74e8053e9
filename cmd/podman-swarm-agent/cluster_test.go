package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/integration/trial"
	"github.com/podman-swarm/podman-swarm/projection"
)

// host is an agent of a cluster within this process. Its data dir and its addresses outlive it.
type host struct {
	*running
	name, dir, cluster string
	api                string
	args               []string
	environ            []string
}

func freePort(t *testing.T) string {
	t.Helper()
	addr, err := trial.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func newHost(t *testing.T, name string, args ...string) *host {
	return &host{name: name, dir: filepath.Join(t.TempDir(), name), cluster: freePort(t), api: freePort(t), args: args}
}

func (h *host) start(t *testing.T, args ...string) *host {
	t.Helper()
	all := append([]string{"--service-cidr=none", "--ingress-http=none", "--ingress-https=none", "--data-dir=" + h.dir, "--node-name=" + h.name, "--api-addr=" + h.api, "--cluster-addr=" + h.cluster, "--recovery-delay=1ms",
		"--podman-url=unix://" + filepath.Join(h.dir, "no-podman.sock")}, append(h.args, args...)...)
	h.running = begin(t, "http://"+h.api, func(ctx context.Context, said *lines) int { return run(ctx, all, h.environ, io.Discard, said) })
	return h
}

// token waits until the host gives one by which others may join.
func (h *host) token(t *testing.T, args ...string) string {
	t.Helper()
	h.ask(t, "GET", "/healthz", "", http.StatusOK)
	var out, errs lines
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if code := run(t.Context(), append([]string{"token", "--api-addr", h.api}, args...), nil, &out, &errs); code == 0 {
			return strings.TrimSpace(out.String())
		}
		if time.Now().After(deadline) {
			t.Fatalf("no token: %s", &errs)
		}
		time.Sleep(20 * time.Millisecond) // an agent that has just started refuses changes
	}
}

// status waits until the host's status is as wanted.
func (h *host) status(t *testing.T, what string, ok func(*api.Status) bool) {
	t.Helper()
	var st api.Status
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		b := h.ask(t, "GET", "/swarm/v1/status", "", http.StatusOK)
		st = api.Status{}
		if err := json.Unmarshal([]byte(b), &st); err != nil {
			t.Fatal(err)
		}
		if ok(&st) {
			return
		}
	}
	b, _ := json.Marshal(st)
	t.Fatalf("%s: not %s: %s\n%s", h.name, what, b, &h.said)
}

func alive(n int) func(*api.Status) bool {
	return func(st *api.Status) bool {
		count := 0
		for _, h := range st.Hosts {
			if h.State == api.StateAlive {
				count++
			}
		}
		return count == n && len(st.Hosts) >= n && st.Agree != nil
	}
}

// refused waits until the agent has ended by itself, and gives what it said.
func (h *host) refused(t *testing.T) string {
	t.Helper()
	select {
	case code := <-h.code:
		if code == 0 {
			t.Errorf("%s: ended with 0", h.name)
		}
	case <-time.After(40 * time.Second):
		t.Errorf("%s: does not end:\n%s", h.name, &h.said)
	}
	return h.said.String()
}

func svc(name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: 80}], selector: {app: web}}\n", name)
}

// TestAgent_cluster has three agents form a cluster over mutual TLS and keep one state: failures-to-beat A14 (what was deleted
// while a host was away stays deleted), A17 (a returning host does not roll the others back), A29 (strangers stay out), A31
// (who is told to stop says so).
func TestAgent_cluster(t *testing.T) {
	a := newHost(t, "a").start(t)
	token := a.token(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+token).start(t)
	c := newHost(t, "c", "--join="+b.cluster, "--join-token="+token).start(t)
	a.status(t, "three alive and agreeing", alive(3))

	a.ask(t, "POST", "/api/v1/manifests", svc("kept")+"---\n"+svc("gone"), http.StatusOK)
	c.ask(t, "GET", "/api/v1/namespaces/default/services/gone", "", http.StatusOK)
	a.ask(t, "GET", "/api/v1/nodes/c", "", http.StatusOK) // it has spoken of itself, so it may record
	c.end(t)
	a.status(t, "told that c left", func(st *api.Status) bool {
		for _, h := range st.Hosts {
			if h.Host == "c" {
				return h.State == api.StateStopped
			}
		}
		return false
	})
	b.ask(t, "DELETE", "/api/v1/namespaces/default/services/gone", "", http.StatusOK)
	a.ask(t, "GET", "/api/v1/namespaces/default/services/gone", "", http.StatusNotFound)

	c.start(t) // with the token that it has no use for any more
	c.status(t, "three alive and agreeing", alive(3))
	for _, h := range []*host{a, b, c} {
		h.ask(t, "GET", "/api/v1/namespaces/default/services/gone", "", http.StatusNotFound)
		h.ask(t, "GET", "/api/v1/namespaces/default/services/kept", "", http.StatusOK)
	}
	// All at once, and nobody is told of anybody: they remember each other.
	for _, h := range []*host{a, b, c} {
		h.end(t)
		h.args = nil
	}
	for _, h := range []*host{a, b, c} {
		h.start(t)
	}
	b.status(t, "three alive and agreeing, all restarted at once", alive(3))
	for _, h := range []*host{a, b, c} {
		h.end(t)
	}
}

// TestAgent_clusterRefuses tries who must stay out: failures-to-beat A29.
func TestAgent_clusterRefuses(t *testing.T) {
	a := newHost(t, "a").start(t)
	old := a.token(t)
	token := a.token(t, "--rotate")
	other := newHost(t, "x").start(t)
	foreign := other.token(t)
	for what, try := range map[string]struct{ token, says, member string }{ // the member: "" for a host that does not ask it
		"no token":                   {"", "--join-token", ""},
		"no token at all":            {"secret", "--join-token", ""},
		"a rotated token":            {old, "rotated", "rotated"},
		"a token of another cluster": {foreign, "not of the cluster that the join token is of", "the join token is of another cluster"},
	} {
		h := newHost(t, "s", "--join="+a.cluster, "--join-token="+try.token).start(t)
		deadline := time.After(10 * time.Second)
		select {
		case code := <-h.code:
			if code == 0 || !strings.Contains(h.said.String(), try.says) {
				t.Errorf("%s: ended with %d, want it refused for %q:\n%s", what, code, try.says, &h.said)
			}
		case <-deadline: // one that pins another authority tries on: it may be that a stranger answers in the members' stead
			if !strings.Contains(h.said.String(), try.says) || what != "a token of another cluster" {
				t.Errorf("%s: want it refused for %q:\n%s", what, try.says, &h.said)
			}
			h.stop()
			<-h.code
		}
		if strings.Contains(h.said.String(), strings.TrimPrefix(try.token, "PSWTKN")) && len(try.token) > 20 {
			t.Errorf("%s: the token is in the log:\n%s", what, &h.said)
		}
		if !strings.Contains(a.said.String(), try.member) {
			t.Errorf("%s: want the member to say %q as well:\n%s", what, try.member, &a.said)
		}
	}

	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+token).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	if said := newHost(t, "b", "--join="+a.cluster, "--join-token="+token).start(t).refused(t); !strings.Contains(said, "called b is alive") {
		t.Errorf("a second agent of the same name:\n%s", said)
	}
	a.ask(t, "POST", "/swarm/v1/nodes/b/remove?force=true", "", http.StatusOK)
	if said := b.refused(t); !strings.Contains(said, "to use its machine again, give its agent another --node-name and an empty --data-dir") {
		t.Errorf("a removed host, told of it:\n%s", said)
	}
	if said := b.start(t).refused(t); !strings.Contains(said, "to use its machine again, give its agent another --node-name and an empty --data-dir") {
		t.Errorf("a removed host, started again:\n%s", said)
	}
	if said := newHost(t, "b", "--join="+a.cluster, "--join-token="+token).start(t).refused(t); !strings.Contains(said, "to use its machine again, give its agent another --node-name and an empty --data-dir") {
		t.Errorf("another host of the removed one's name:\n%s", said)
	}
	a.end(t)
	other.end(t)
}

// ends stops the agent and gives the index that it says its log ends with.
func (h *host) ends(t *testing.T) string {
	t.Helper()
	h.end(t)
	_, rest, _ := strings.Cut(h.said.String(), `"stopped; containers run on" index=`)
	index, _, _ := strings.Cut(rest, "\n")
	return index
}

// says waits until the agent has said something.
func (h *host) says(t *testing.T, what string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(h.said.String(), what); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not say %q:\n%s", h.name, what, &h.said)
		}
	}
}

// TestAgent_stoppedBeforeItHasHeard has an agent be stopped that has not heard the others yet. Its disk may be an older one,
// and others may know other events by the numbers that it would go on with: it must record nothing, not even that it leaves.
func TestAgent_stoppedBeforeItHasHeard(t *testing.T) {
	a := newHost(t, "a").start(t)
	a.token(t)
	was := a.ends(t)
	a.start(t, "--join="+freePort(t))
	a.says(t, "hearing the other hosts before anything is changed")
	if is := a.ends(t); is != was {
		t.Errorf("the log ends at %s, want %s, where it did before the start:\n%s", is, was, &a.said)
	}
}

// TestAgent_partOfTheFolderIsLost has the first host of a cluster, which was never told to join anybody, lose its log, and
// then its authority: it must neither act before it has heard the others, nor make an authority that they do not know.
func TestAgent_partOfTheFolderIsLost(t *testing.T) {
	a := newHost(t, "a").start(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	b.ask(t, "POST", "/api/v1/manifests", svc("kept"), http.StatusOK)
	a.end(t)
	if err := os.RemoveAll(filepath.Join(a.dir, "events")); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	a.says(t, "heard the other hosts")
	a.status(t, "two alive and agreeing", alive(2))
	a.ask(t, "GET", "/api/v1/namespaces/default/services/kept", "", http.StatusOK)
	a.end(t)
	if err := os.RemoveAll(filepath.Join(a.dir, "authority")); err != nil {
		t.Fatal(err)
	}
	if said := a.start(t).refused(t); !strings.Contains(said, "is missing, and this host knows of others (b)") {
		t.Errorf("without its authority:\n%s", said)
	}

	// b is alone now, and knows that a is dead: then it need not be waited for.
	b.status(t, "a is not here", func(st *api.Status) bool { return !alive(2)(st) })
	b.ask(t, "POST", "/swarm/v1/nodes/a/down", "", http.StatusOK)
	b.end(t)
	b.start(t, "--recover-alone-after=1h")
	b.ask(t, "POST", "/api/v1/manifests", svc("more"), http.StatusOK)
	b.end(t)
}

// TestAgent_silentFromTheStart has a host start while another is away: it must say so before it may act, since what that
// host said last of its containers holds no longer.
func TestAgent_silentFromTheStart(t *testing.T) {
	a := newHost(t, "a").start(t)
	token := a.token(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+token).start(t)
	c := newHost(t, "c", "--join="+a.cluster, "--join-token="+token).start(t)
	a.status(t, "three alive and agreeing", alive(3))
	for _, h := range []*host{a, b} {
		h.ask(t, "GET", "/api/v1/nodes/c", "", http.StatusOK) // it has spoken
	}
	a.end(t)
	c.end(t)
	a.start(t)
	a.ask(t, "POST", "/api/v1/manifests", svc("first"), http.StatusOK)
	if said := a.said.String(); !strings.Contains(said, `"a host is silent" host=c`) {
		t.Errorf("takes changes, and has not said that c is silent:\n%s", said)
	}
	a.end(t)
	b.end(t)
}

// TestAgent_removedWhileAway has the first host of a cluster, which was never told to join anybody, be removed while it is
// away: it asks those that it remembers, and ends.
func TestAgent_removedWhileAway(t *testing.T) {
	a := newHost(t, "a").start(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	b.ask(t, "GET", "/api/v1/nodes/a", "", http.StatusOK) // it has spoken
	a.end(t)
	b.ask(t, "POST", "/swarm/v1/nodes/a/remove?force=true", "", http.StatusOK)
	if said := a.start(t).refused(t); !strings.Contains(said, "removed") {
		t.Errorf("a host that was removed while it was away:\n%s", said)
	}
	b.end(t)
}

// TestAgent_removesItself asks a host to remove itself while nobody hears it: its agent ends once another one has heard.
func TestAgent_removesItself(t *testing.T) {
	a := newHost(t, "a").start(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	b.ask(t, "GET", "/api/v1/nodes/a", "", http.StatusOK) // it has spoken
	b.end(t)
	a.ask(t, "POST", "/swarm/v1/nodes/a/remove?force=true", "", http.StatusOK)
	b.start(t)
	if said := a.refused(t); !strings.Contains(said, "removed") || strings.Contains(said, "no other host") {
		t.Errorf("a host that removes itself:\n%s", said)
	}
	b.status(t, "alone", func(st *api.Status) bool { return len(st.Hosts) == 1 && st.Hosts[0].Host == "b" })
	b.end(t)
}

// TestAgent_staysWhoItIs: names own containers, so a host must not be started under another by accident.
func TestAgent_staysWhoItIs(t *testing.T) {
	h := newHost(t, "a").start(t)
	h.ask(t, "GET", "/api/v1/nodes/a", "", http.StatusOK)
	h.end(t)
	h.name = "b"
	if said := h.start(t).refused(t); !strings.Contains(said, "this host is a") || !strings.Contains(said, "--node-name a") {
		t.Errorf("started under another name:\n%s", said)
	}
}

// TestAgent_copiedMember starts a copy of a member's folder beside the member: of two agents of one name, with one
// certificate, the second ends. They have no route to each other; a third host tells them.
func TestAgent_copiedMember(t *testing.T) {
	a := newHost(t, "a").start(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	a.ask(t, "GET", "/api/v1/nodes/b", "", http.StatusOK)
	b.end(t)
	twin := newHost(t, "b")
	if err := os.CopyFS(twin.dir, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(twin.dir, secretsName), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{twin.dir, filepath.Join(twin.dir, "authority")} { // CopyFS takes no modes over
		if err := os.Chmod(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"authority.key", "node.key"} {
		if err := os.Chmod(filepath.Join(twin.dir, "authority", key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.start(t)
	a.status(t, "two alive and agreeing", alive(2))
	if said := twin.start(t).refused(t); !strings.Contains(said, "another agent of this name is alive") {
		t.Errorf("the copy:\n%s", said)
	}
	a.status(t, "two alive and agreeing", alive(2))
	b.end(t)
	a.end(t)
}

// TestAgent_staysOfItsCluster: containers are known by their cluster's name as well, on a host that is alone, too.
func TestAgent_staysOfItsCluster(t *testing.T) {
	a := seeing(t)
	start := func(name string) error {
		a.c.ClusterName = name
		return a.belong(t.Context())
	}
	key := projection.Pod{Namespace: "default", Deployment: "web"}
	a.c.ClusterName = "red"
	a.tell(t, projection.HostKey("a"), a.host(projection.Host{}))
	a.tell(t, key.ReplicaKey("b"), projection.Replica{Phase: projection.Running})
	if err := start("blue"); err != nil {
		t.Errorf("nothing runs here: %v", err)
	}
	a.tell(t, key.ReplicaKey("a"), projection.Replica{Phase: projection.Running})
	if err := start("blue"); err == nil || !strings.Contains(err.Error(), "start it with --cluster-name red") {
		t.Errorf("started under another name: %v", err)
	}
	if err := start("red"); err != nil {
		t.Errorf("under its own: %v", err)
	}
	a.tell(t, projection.HostKey("a"), projection.Host{Version: "one that does not say it"})
	if err := start("blue"); err != nil {
		t.Errorf("after an older version: %v", err)
	}
}
