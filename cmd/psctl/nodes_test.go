package main

import (
	"strings"
	"testing"
)

// What is shown again and again changes as the cluster does, and goes on when the agent has been away.
func TestStatus_watch(t *testing.T) {
	a := startAgent(t)
	if err := a.Join("host2"); err != nil {
		t.Fatal(err)
	}
	table := start(t, a, nil, "status", "--watch")
	table.saw("host2", "alive", "agrees")
	lines := start(t, a, nil, "nodes", "--watch", "-o", "json")
	if line := lines.saw(`"host":"host2"`); !strings.HasPrefix(line, "[{") || !strings.HasSuffix(line, "}]") {
		t.Errorf("got %s, want a whole list on a line", line)
	}
	if err := a.Silence("host2"); err != nil {
		t.Fatal(err)
	}
	table.saw("! host host2 has been silent since")
	lines.saw(`"state":"silent"`)
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if err := a.Silence(); err != nil {
		t.Fatal(err)
	}
	table.saw("Nothing needs a look")
	for _, s := range []*session{table, lines} {
		s.interrupt()
		s.ends(exitInterrupted)
	}
}

// An agent that looks for a cluster to join knows of no host, itself included.
func TestNodes_none(t *testing.T) {
	for _, wide := range []bool{false, true} {
		got, err := new(program).nodesText([]byte("[]"), wide)
		if err != nil || !strings.HasPrefix(got, "no host has spoken of itself yet") {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// An interrupt of a drain says that it goes on.
func TestDrain_interrupted(t *testing.T) {
	a := startAgent(t)
	if err := a.Join("host2"); err != nil {
		t.Fatal(err)
	}
	apply := start(t, a, strings.NewReader(web), "apply", "-f", "-", "--wait")
	apply.ends(exitDone)
	s := start(t, a, nil, "drain", "host1")
	s.saw("node/host1: ", "replica", "left; default/web-0")
	s.interrupt()
	s.ends(exitInterrupted)
	if got := s.stderr.String(); !strings.Contains(got, "Host host1 goes on being drained") || !strings.Contains(got, "psctl uncordon host1") {
		t.Errorf("got %q", got)
	}
}
