package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
)

func (h *host) audit(t *testing.T, body string) (a api.Audit) {
	t.Helper()
	if err := json.Unmarshal([]byte(h.ask(t, "POST", "/swarm/v1/audit/verify", body, http.StatusOK)), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// The disk of a host is put back to what it was, and all agents start again: the others still know what it had, say so in status and in an event, and
// it has it back. Before and after, the audit of every host is good; offline, what was written down tells.
func TestAgent_diskThatWasPutBackIsNoticed(t *testing.T) {
	a := newHost(t, "a").start(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	b.ask(t, "POST", "/api/v1/manifests", svc("first"), http.StatusOK)
	b.end(t)
	then := filepath.Join(t.TempDir(), "then")
	if err := os.CopyFS(then, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	b.start(t)
	b.ask(t, "POST", "/api/v1/manifests", svc("second"), http.StatusOK)
	b.ask(t, "POST", "/api/v1/manifests", svc("third"), http.StatusOK)
	b.status(t, "two alive and agreeing", alive(2))
	for _, h := range []*host{a, b} {
		got := h.audit(t, `{"peers":["all"]}`)
		for deadline := time.Now().Add(time.Minute); len(got.HeldTo) < 5 && time.Now().Before(deadline); got = h.audit(t, `{"peers":["all"]}`) {
			time.Sleep(50 * time.Millisecond) // the other has not said yet where it can be asked
		}
		if !got.Good || len(got.HeldTo) < 5 || len(got.Findings) > 0 {
			t.Errorf("%s: nobody has touched anything, and the audit says %+v", h.name, got)
		}
	}
	var heads api.AuditHeads
	if err := json.Unmarshal([]byte(b.ask(t, "GET", "/swarm/v1/audit/head", "", http.StatusOK)), &heads); err != nil || len(heads.Lines) < 2 {
		t.Fatalf("%v: %+v", err, heads)
	}
	// What a heard of b is on its disk some seconds later.
	inc, seq := "", uint64(0)
	for _, m := range heads.Heads {
		if m.Host == "b" {
			inc, seq = m.Incarnation.String(), m.Seq
		}
	}
	deadline := time.Now().Add(time.Minute)
	for remembered := false; !remembered; {
		kept, err := os.ReadFile(filepath.Join(a.dir, claimsName))
		var f claimsFile
		_ = json.Unmarshal(kept, &f) // there may be none yet
		for _, k := range f.Claims {
			remembered = remembered || k.Host == "b" && k.Inc.String() == inc && k.Seq >= seq
		}
		if !remembered && time.Now().After(deadline) {
			t.Fatalf("a does not remember %s: %s %v\n%s", inc, kept, err, &a.said)
		}
		time.Sleep(50 * time.Millisecond)
	}
	var third metav1.PartialObjectMetadata
	if err := json.Unmarshal([]byte(b.ask(t, "GET", "/api/v1/namespaces/default/services/third", "", http.StatusOK)), &third); err != nil {
		t.Fatal(err)
	}
	a.end(t)
	b.end(t)
	written := filepath.Join(t.TempDir(), "heads.txt")
	if err := os.WriteFile(written, []byte(strings.Join(heads.Lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	offline := func(dir string) (int, string) {
		var out lines
		code := run(t.Context(), []string{"log", "verify", "--data-dir", dir, "--head", written}, nil, &out, &out)
		return code, out.String()
	}
	if code, said := offline(b.dir); code != 0 {
		t.Errorf("the log of b, offline: %d %s", code, said)
	}
	if code, said := offline(then); code != 1 || !strings.Contains(said, `host "b", incarnation `+inc) || !strings.Contains(said, "the log ends with event") {
		t.Errorf("the log of before, held to what was written down: %d %s", code, said)
	}

	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(b.dir, os.DirFS(then)); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{".": 0o750, "authority": 0o750, "authority/authority.key": 0o600, "authority/node.key": 0o600, secretsName: 0o600} { // CopyFS takes no modes over
		if err := os.Chmod(filepath.Join(b.dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	a.args, b.args = nil, nil
	a.start(t)
	b.start(t)
	a.status(t, "told that b lacks what it had", func(st *api.Status) bool {
		for _, p := range st.Problems {
			if strings.Contains(p.What, "the log of host b is not what it was") && strings.Contains(p.What, inc) {
				return true
			}
		}
		return false
	})
	b.ask(t, "GET", "/api/v1/namespaces/default/services/third", "", http.StatusOK)
	b.status(t, "two alive and agreeing", alive(2))
	// Its log has them in another order now: what a client goes on from may mean another event.
	if said := b.ask(t, "GET", "/api/v1/services?watch=true&resourceVersion="+third.ResourceVersion, "", http.StatusOK); !strings.Contains(said, `"reason":"Expired"`) {
		t.Errorf("a watch from resourceVersion %s, given before: %s", third.ResourceVersion, said)
	}
	got := b.audit(t, `{"peers":["a"]}`)
	if !got.Good || len(got.Findings) != 1 || got.Findings[0].By != "a" || got.Findings[0].Host != "b" || got.Findings[0].Had <= got.Findings[0].Has {
		t.Errorf("b has it all back, and a found it gone; the audit says %+v", got)
	}
	if events := a.ask(t, "GET", "/swarm/v1/events", "", http.StatusOK); !strings.Contains(events, `"key":"finding/a/b"`) {
		t.Error("no event tells of it")
	}
	a.end(t)
	b.end(t)
}
