package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The replicas that are not where they should be, the conflicts and what is read-only are those of psctl status; see TestFailures_inACluster
// (conflicts, clocks) and integration: TestAgent_fullDisk (read_only).

// Each figure of other hosts is what the test made of them.
func TestMetrics_ofACluster(t *testing.T) {
	began := float64(time.Now().Unix()) - 1
	a := newHost(t, "a", "--sync-interval=1s", "--recover-alone-after=1s", "--backup-to="+t.TempDir(), "--ingress-http="+freePort(t),
		"--audit-file="+filepath.Join(t.TempDir(), "audit.jsonl")).start(t)
	b := newHost(t, "b", "--sync-interval=1s", "--recover-alone-after=1s", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	b.ask(t, "POST", "/api/v1/manifests", svc("of-b"), http.StatusOK)
	a.ask(t, "GET", path("of-b"), "", http.StatusOK)
	a.ask(t, "GET", "/api/v1/nodes/b", "", http.StatusOK) // it has spoken of itself
	// Without Podman, both recover for ever.
	a.scrape(t, samples{`peers{state="recovering"}`: 1, `peers{state="alive"}`: 0, `peers{state="silent"}`: 0, `peer_up{peer="b"}`: 1, `peer_state{peer="b",state="recovering"}`: 1,
		`peer_state{peer="b",state="silent"}`: 0, `peer_agrees{peer="b"}`: 1, "sync_agree": 1, `peer_differs{peer="b"}`: 0, `peer_lacked_events{peer="b"}`: 0,
		`peer_lacked_seconds{peer="b"}`: 0, `peer_behind_events{peer="b"}`: 0, `peer_behind_seconds{peer="b"}`: 0, "sync_problems": 0, "conflicts": 0,
		`sync_incidents_total{what="unequal"}`: 0, `sync_incidents_total{what="fork"}`: 0, "clock_skewed_total": 0},
		func(s samples) (wrong []string) {
			rtt, offset := s[`peer_round_trip_seconds{peer="b"}`], s[`peer_clock_offset_seconds{peer="b"}`]
			need(&wrong, rtt > 0 && rtt < 60 && offset > -60 && offset < 60, "there and back %v, offset %v", rtt, offset)
			for _, name := range []string{"sync_agree_since_timestamp_seconds", `peer_agrees_since_timestamp_seconds{peer="b"}`} {
				need(&wrong, s[name] >= began && s[name] < began+600, "%s is %v, want just now, %v", name, s[name], began)
			}
			need(&wrong, s[`peer_heard_seconds{peer="b"}`] >= 0 && s[`peer_heard_seconds{peer="b"}`] < 60, "heard %v s ago", s[`peer_heard_seconds{peer="b"}`])
			received, fetched := s[`sync_events_total{what="received"}`], s[`sync_events_total{what="fetched"}`]
			need(&wrong, received >= 1 && fetched <= received && s[`sync_events_total{what="published"}`] >= 1, "%v received, %v of them fetched", received, fetched)
			need(&wrong, s[`sync_bytes_total{direction="in"}`] > 100 && s[`sync_bytes_total{direction="out"}`] > 100, "no bytes")
			need(&wrong, s["certificate_expires_timestamp_seconds"] > began+60*86400, "certificates end at %v", s["certificate_expires_timestamp_seconds"])
			return wrong
		})
	a.ask(t, "POST", "/api/v1/manifests", ingressOf("shop"), http.StatusOK) // what there is to say of one
	a.scrape(t, samples{`services_up{part="ingress-http"}`: 1}, nil)
	namesAreThere(t, a.ask(t, "GET", "/metrics", "", http.StatusOK))

	b.end(t)
	a.ask(t, "POST", "/api/v1/manifests", svc("missed"), http.StatusOK)
	gone := samples{`peers{state="stopped"}`: 1, `peers{state="recovering"}`: 0, `peer_up{peer="b"}`: 0, `peer_state{peer="b",state="stopped"}`: 1, `peer_agrees{peer="b"}`: 0,
		`peer_agrees_since_timestamp_seconds{peer="b"}`: 0, "sync_agree_since_timestamp_seconds": 0, `peer_clock_offset_seconds{peer="b"}`: absent, `peer_lacked_seconds{peer="b"}`: 0}
	a.scrape(t, gone, func(s samples) (wrong []string) {
		need(&wrong, s[`peer_behind_events{peer="b"}`] >= 1 && s[`peer_behind_seconds{peer="b"}`] > 0, "b lacks %v events for %v s", s[`peer_behind_events{peer="b"}`], s[`peer_behind_seconds{peer="b"}`])
		return wrong
	})
	// A host that was away before this one started is none the less away.
	a.end(t)
	a.start(t)
	gone[`peer_behind_events{peer="b"}`], gone[`peer_heard_seconds{peer="b"}`] = absent, absent
	a.scrape(t, gone, nil)
	a.ask(t, "POST", "/swarm/v1/nodes/b/down", "", http.StatusOK)
	a.scrape(t, samples{`peers{state="down"}`: 1, `peers{state="stopped"}`: 0, `peer_up{peer="b"}`: 0}, nil)

	b.start(t)
	b.ask(t, "GET", path("missed"), "", http.StatusOK)
	b.scrape(t, samples{`peer_up{peer="a"}`: 1}, func(s samples) (wrong []string) {
		fetched, asks := s[`sync_events_total{what="fetched"}`], s["sync_asks_total"]
		need(&wrong, fetched >= 1 && asks >= 1 && fetched <= s[`sync_events_total{what="received"}`], "%v events fetched by %v asks", fetched, asks)
		return wrong
	})
	a.scrape(t, samples{`peer_up{peer="b"}`: 1, `peers{state="down"}`: 0}, func(s samples) (wrong []string) {
		need(&wrong, s[`sync_events_total{what="served"}`] >= 1, "served nothing")
		return wrong
	})
	b.end(t)
	a.end(t)
}

// namesAreThere holds what people are told of metrics to those that there are: in the README, the dashboard, the rules, the runbooks.
func namesAreThere(t *testing.T, scraped string) {
	t.Helper()
	there := map[string]bool{}
	for line := range strings.Lines(scraped) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, typ, _ := strings.Cut(strings.TrimSpace(name), " ")
			there[name] = true
			for _, end := range []string{"_bucket", "_sum", "_count"} {
				there[name+end] = typ == "histogram"
			}
		}
	}
	named := regexp.MustCompile(`(?:^|[^:a-z_])((?:podman_swarm|process|go)_[a-z0-9_]+)`) // and none that is recorded: instance:podman_swarm_…
	for _, file := range []string{"dashboard.json", "rules.yaml", "runbooks.md", "rules_test.yaml", "rules_services_test.yaml", "rules_loops_test.yaml", "rules_hours_test.yaml", "rules_days_test.yaml"} {
		b, err := os.ReadFile(filepath.Join("../../integration/monitoring", file))
		if err != nil {
			t.Fatal(err)
		}
		names := named.FindAllStringSubmatch(string(b), -1)
		if (file == "dashboard.json" || file == "rules.yaml") && len(names) < 20 {
			t.Errorf("%s names %d metrics", file, len(names))
		}
		for _, name := range names {
			if !there[name[1]] {
				t.Errorf("%s names %s, and there is none", file, name[1])
			}
		}
	}
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(section, -1)
	if len(rows) < 20 {
		t.Errorf("the README has %d rows of metrics", len(rows))
	}
	told := map[string]bool{}
	for _, row := range rows {
		for _, name := range regexp.MustCompile("`([a-z_]+)").FindAllStringSubmatch(row[1], -1) {
			if told["podman_swarm_"+name[1]] = true; !there["podman_swarm_"+name[1]] {
				t.Errorf("the README names %s, and there is none", name[1])
			}
		}
	}
	for line := range strings.Lines(scraped) {
		if name, ok := strings.CutPrefix(line, "# TYPE podman_swarm_"); ok {
			if name, _, _ = strings.Cut(name, " "); !told["podman_swarm_"+name] {
				t.Errorf("the README does not tell of podman_swarm_%s", name)
			}
		}
	}
}
