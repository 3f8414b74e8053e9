package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAgent_answersWhileItJoins has a host look for a member that is not there yet: its API tells so, and takes no changes.
// Once the member is there the same API goes on as that of a member.
func TestAgent_answersWhileItJoins(t *testing.T) {
	a := newHost(t, "a").start(t)
	token := a.token(t)
	a.end(t)
	b := newHost(t, "b", "--join="+a.cluster, "--join-token="+token).start(t)
	b.ask(t, "GET", "/healthz", "", http.StatusOK)
	for _, path := range []string{"/readyz", "/swarm/v1/status", "/api/v1/health"} {
		want := http.StatusOK
		if path == "/readyz" {
			want = http.StatusServiceUnavailable
		}
		if got := b.ask(t, "GET", path, "", want); !strings.Contains(got, "looking for a member to join by at "+a.cluster) {
			t.Errorf("%s: %s", path, got)
		}
	}
	b.ask(t, "GET", "/metrics", "", http.StatusOK)
	b.ask(t, "POST", "/api/v1/manifests", svc("early"), http.StatusServiceUnavailable)
	b.ask(t, "POST", "/swarm/v1/join-token", "{}", http.StatusServiceUnavailable)
	a.start(t)
	b.status(t, "two alive and agreeing", alive(2))
	b.ask(t, "POST", "/api/v1/manifests", svc("later"), http.StatusOK)
	b.end(t)

	// One that is stopped while it looks ends.
	c := newHost(t, "c", "--join="+freePort(t), "--join-token="+token).start(t)
	c.ask(t, "GET", "/readyz", "", http.StatusServiceUnavailable)
	c.stop()
	if said := c.refused(t); !strings.Contains(said, "stopped before a member of the cluster could be reached") {
		t.Errorf("%s", said)
	}
	a.end(t)
}

// TestToken_waitsForTheAgent asks an agent for a token that has not begun to answer, and then takes no changes for a while.
func TestToken_waitsForTheAgent(t *testing.T) {
	a := newHost(t, "a")
	var out, errs lines
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"token", "--api-addr", a.api}, nil, &out, &errs)
	}()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(errs.String(), "trying for up to 5s"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("says %q", errs.String())
		}
	}
	a.start(t, "--recovery-delay=1s")
	if got := <-code; got != 0 || !strings.HasPrefix(out.String(), "PSWTKN-1-") || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("ended with %d, %q, %q", got, out.String(), errs.String())
	}
	a.end(t)
	began := time.Now()
	errs = lines{}
	if got := run(t.Context(), []string{"token", "--api-addr", a.api}, nil, &out, &errs); got != 1 ||
		time.Since(began) < untilThere || time.Since(began) > 3*untilThere {
		t.Errorf("nobody is there: ended with %d after %v, %q", got, time.Since(began), errs.String())
	}
}

// A token that ends is not printed as if it did not, neither to who asked for it nor to who asks next.
func TestToken_saysWhenItEnds(t *testing.T) {
	a := newHost(t, "a").start(t)
	made := a.token(t, "--ttl=1h")
	for _, c := range []struct {
		args []string
		ends bool
		same bool
	}{{nil, true, true}, {[]string{"--ttl=2h"}, true, false}, {[]string{"--rotate"}, false, false}, {nil, false, false}} {
		var out, errs lines
		code := run(t.Context(), append([]string{"token", "--api-addr", a.api}, c.args...), nil, &out, &errs)
		if code != 0 || strings.Contains(errs.String(), "it ends at 2") != c.ends || (errs.String() != "") != c.ends || (strings.TrimSpace(out.String()) == made) != c.same {
			t.Errorf("%v: ended with %d, %q, %q", c.args, code, out.String(), errs.String())
		}
	}
	a.end(t)
}
