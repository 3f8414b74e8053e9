package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// systemctl makes a program of that name the only one there is, which does what is given; nothing: there is none.
func systemctl(t *testing.T, does string) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if does == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\n[ \"$*\" = is-system-running ] || exit 2\n"+does+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestGoingDown(t *testing.T) {
	for does, want := range map[string]bool{
		"echo stopping; exit 1": true,
		"echo running":          false,
		"echo degraded; exit 1": false,
		"echo offline; exit 1":  false,
		"":                      false,
	} {
		systemctl(t, does)
		if got := goingDown(t.Context()); got != want {
			t.Errorf("systemctl: %q: got %v, want %v", does, got, want)
		}
	}
	systemctl(t, "exec /bin/sleep 600")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if goingDown(ctx) {
		t.Error("systemctl says nothing, and the host goes down")
	}
}

// A host that goes down tells the others so; one whose agent is stopped, as for another version of it, does not, and neither says so once it is back.
func TestAgent_hostGoesDown(t *testing.T) {
	a := newHost(t, "a", "--sync-interval=1s").start(t)
	b := newHost(t, "b", "--sync-interval=1s", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	off := func() bool { // what it has said of itself last
		said := ""
		for line := range strings.Lines(a.ask(t, "GET", "/swarm/v1/events", "", http.StatusOK)) {
			if strings.Contains(line, `"host/b"`) {
				said = line
			}
		}
		if !strings.Contains(said, `"cpus"`) {
			t.Fatalf("it has said nothing of itself: %q", said)
		}
		return strings.Contains(said, `"off":true`)
	}
	for _, stopping := range []bool{true, false} {
		systemctl(t, map[bool]string{true: "echo stopping; exit 1", false: "echo running"}[stopping])
		b.end(t)
		if got := off(); got != stopping {
			t.Errorf("the host goes down: %v, and the other has it as %v", stopping, got)
		}
		b.start(t)
		a.status(t, "two alive and agreeing", alive(2))
		if off() {
			t.Error("it is back, and is said to be down")
		}
	}
}
