package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
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

// Lag is shown of every host, the asked one too, with its seconds; what is not known is not shown as 0.
func TestNodes_lag(t *testing.T) {
	const all = `[{"host":"a","self":true,"state":"alive","lag_events":4,"lag_seconds":7},{"host":"b","state":"alive"},
		{"host":"c","state":"alive","lag_seconds":6.5},{"host":"d","state":"silent"},{"host":"e","state":"silent","lag_events":2,"lag_seconds":60}]`
	hosts, err := readAs[[]client.Host]("nodes", []byte(all))
	if err != nil {
		t.Fatal(err)
	}
	lags := func(hosts []client.Host) (got []string) {
		for _, row := range new(program).hostTable(hosts, false).rows {
			got = append(got, row[3])
		}
		return got
	}
	if got, want := lags(hosts), []string{"4 (7.0 s)", "0", "? (6.5 s)", "", "2 (60.0 s)"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	hosts[0].Lag, hosts[0].Behind = 0, 0
	if got := lags(hosts)[0]; got != "0" {
		t.Errorf("of the asked host, which hears others: got %q, want 0", got)
	}
	if got := lags([]client.Host{hosts[0], hosts[3]})[0]; got != "" {
		t.Errorf("of the asked host, which hears nobody: got %q, want nothing", got)
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
