package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// What is remembered is evidence: it is neither thrown away when it cannot be read, nor replaced by what shows less before that is in the log.
func TestClaims_areNotThrownAway(t *testing.T) {
	dir := t.TempDir()
	a := &agent{c: &config{DataDir: dir}, log: slog.New(slog.DiscardHandler)}
	want := []peersync.Claim{{Host: "b", Inc: 7, Seq: 9, Boot: 1, At: time.Now().UTC()}}
	if err := a.keepClaims(want); err != nil {
		t.Fatal(err)
	}
	if got := a.recall(); len(got) != 1 || got[0] != want[0] {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for _, damaged := range []string{`{"version":1,"claims":[{"ho`, `{"version":2,"claims":[]}`} {
		if err := os.WriteFile(filepath.Join(dir, claimsName), []byte(damaged), 0o640); err != nil {
			t.Fatal(err)
		}
		if got := a.recall(); got != nil {
			t.Errorf("of %s it has %+v", damaged, got)
		}
		if err := a.keepClaims(want); err != nil {
			t.Fatal(err)
		}
	}
	aside, err := filepath.Glob(filepath.Join(dir, claimsName+".set-aside-*"))
	if err != nil || len(aside) != 2 {
		t.Fatalf("%v %v, want both damaged files kept", aside, err)
	}
	if b, err := os.ReadFile(aside[0]); err != nil || !strings.HasSuffix(string(b), `"ho`) {
		t.Errorf("%v: %s", err, b)
	}

	st := &peersync.Status{Claims: want}
	if st.Counts.Findings = 1; toKeep(nil, st, 0) {
		t.Error("what a host said to have is forgotten before it is in the log that it has less")
	}
	if !toKeep(nil, st, 1) || toKeep(st.Claims, st, 1) {
		t.Error("it is written when it has changed, and once")
	}
}
