package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/podman/podmantest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// samples are the figures of a scrape by name and labels, ours without the prefix.
type samples map[string]float64

func parseSamples(t *testing.T, text string) samples {
	t.Helper()
	all := samples{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[strings.TrimPrefix(line[:at], namespace+"_")] = value
	}
	return all
}

// are gives what is not as wanted. A sample that is to be absent is wanted to be absent.
func (s samples) are(want samples) (wrong []string) {
	for name, value := range want {
		switch got, ok := s[name]; {
		case value == absent && ok:
			wrong = append(wrong, fmt.Sprintf("%s is %v, want that there is none", name, got))
		case value != absent && (!ok || got != value):
			wrong = append(wrong, fmt.Sprintf("%s is %v (there: %v), want %v", name, got, ok, value))
		}
	}
	return wrong
}

const absent = -1

// scrape waits until the figures are as wanted, and check finds nothing wrong with them either.
func (r *running) scrape(t *testing.T, want samples, check func(samples) []string) samples {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s := parseSamples(t, r.ask(t, "GET", "/metrics", "", http.StatusOK))
		wrong := s.are(want)
		if check != nil {
			wrong = append(wrong, check(s)...)
		}
		if len(wrong) == 0 {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s\n%s", strings.Join(wrong, "\n"), &r.said)
		}
	}
}

// need is a list of what is wrong, for who checks.
func need(wrong *[]string, ok bool, format string, args ...any) {
	if !ok {
		*wrong = append(*wrong, fmt.Sprintf(format, args...))
	}
}

// Each figure of one host is what can be seen from outside: on the disk, by the API, by what the test did.
func TestMetrics_ofOneHost(t *testing.T) {
	dir, began := t.TempDir(), float64(time.Now().Unix())-1
	r := start(t, dir, "--backup-to="+t.TempDir(), "--backup-increment-interval=20ms")
	r.ask(t, "POST", "/api/v1/manifests", service, http.StatusOK)
	r.ask(t, "POST", "/api/v1/manifests", "kind: [", http.StatusBadRequest)
	r.ask(t, "GET", "/api/v1/namespaces/default/services/web", "", http.StatusOK)
	r.ask(t, "GET", "/apis/apps/v1/namespaces/made-up/deployments/anything", "", http.StatusNotFound)
	r.ask(t, "GET", "/made/up", "", http.StatusNotFound)
	r.ask(t, "GET", "/swarm/v1/events", "", http.StatusOK)
	r.backupOf(t, dir)
	const manifests = `{code="200",method="POST",route="/api/v1/manifests"}`
	r.scrape(t, samples{
		`build_info{version="` + version + `"}`: 1, `events_appended_total{kind="declared"}`: 1, "log_first_index": 1, "log_trim_waiting": 0,
		"api_requests_total" + manifests: 1, "api_request_seconds_count" + manifests: 1,
		`api_requests_total{code="400",method="POST",route="/api/v1/manifests"}`:                                      1,
		`api_requests_total{code="200",method="GET",route="/api/v1/namespaces/{namespace}/services/{name}"}`:          1,
		`api_requests_total{code="404",method="GET",route="/apis/apps/v1/namespaces/{namespace}/deployments/{name}"}`: 1,
		`api_requests_total{code="404",method="GET",route="other"}`:                                                   1,
		`api_requests_total{code="200",method="GET",route="/swarm/v1/events"}`:                                        1,
		`api_request_seconds_count{code="200",method="GET",route="/swarm/v1/events"}`:                                 absent, // a stream
		"api_streams": 0, "read_only": 0, "conflicts": 0, "restores_unfinished": 0, "orphans": 0, "replicas_stuck": 0, "state_file_age_seconds": 0,
		"podman_up": 0, "recovered": 0, `recovery_result{result="running"}`: 1, `recovery_result{result="succeeded"}`: 0, "recovery_finished_timestamp_seconds": 0,
		"backup_interval_seconds": 3600, "backup_failing": 0, "backup_prune_failing": 0, "backup_damaged": 0, "backup_errors_total": 0, "backup_drill_errors_total": 0,
		"backup_copies_missing": 0, "backup_copies_missing_bytes": 0, "backup_copy_errors_total": 0, "backup_increment_failing": 0, "backup_increment_errors_total": 0,
		"events_followers": 0, "events_followers_dropped_total": 0, "audit_file_failing": absent,
		"sync_agree": absent, // there is nobody to agree with
	}, func(s samples) (wrong []string) {
		bytes, segments := 0.0, 0.0
		for _, path := range glob(t, dir, "events", "[0-9]*[0-9]") {
			if info, err := os.Stat(path); err == nil {
				bytes, segments = bytes+float64(info.Size()), segments+1
			}
		}
		size, made := 0.0, time.Time{} // of the newest backup: the one that was asked for, or that of the start
		for _, path := range glob(t, dir, "state-backup-*.json") {
			if info, err := os.Stat(path); err == nil && info.ModTime().After(made) {
				size, made = float64(info.Size()), info.ModTime()
			}
		}
		need(&wrong, s["log_index"] == float64(r.index(t)), "log_index is %v", s["log_index"])
		need(&wrong, s["log_bytes"] == bytes && s["log_segments"] == segments, "the log is %v bytes in %v files, want %v in %v", s["log_bytes"], s["log_segments"], bytes, segments)
		need(&wrong, s["log_free_bytes"] > 0 && s["log_reserve_bytes"] > 0, "free %v, in reserve %v", s["log_free_bytes"], s["log_reserve_bytes"])
		need(&wrong, s["commits_total"] >= 1 && s["commit_seconds_count"] == s["commits_total"], "%v commits, %v timed", s["commits_total"], s["commit_seconds_count"])
		need(&wrong, s["log_sync_commits_sum"] == s["commit_bytes_count"] && s["log_sync_commits_sum"] >= s["commits_total"], "%v commits synced, %v sized", s["log_sync_commits_sum"], s["commit_bytes_count"])
		need(&wrong, s["log_fsync_seconds_count"] == s["log_sync_bytes_count"] && s["log_fsync_seconds_sum"] > 0, "%v fsyncs took %v s", s["log_fsync_seconds_count"], s["log_fsync_seconds_sum"])
		need(&wrong, s["backup_bytes"] == size, "backup_bytes is %v, want %v", s["backup_bytes"], size)
		need(&wrong, s["backups_total"] >= 1 && s["backup_seconds"] > 0 && s["backup_copies_total"] >= 1, "%v backups, %v s, %v copied", s["backups_total"], s["backup_seconds"], s["backup_copies_total"])
		need(&wrong, s["backup_increment_index"] == s["log_index"] && s["backup_increments"] >= 1 && s["backup_increments_total"] >= 1 && s["backup_increment_bytes"] > 0,
			"increments up to %v of %v", s["backup_increment_index"], s["log_index"])
		need(&wrong, s["backup_drills_total"] >= 1, "%v drills", s["backup_drills_total"])
		for _, name := range []string{"backup_last_success_timestamp_seconds", "backup_last_verified_timestamp_seconds", "backup_copy_last_success_timestamp_seconds",
			"recovery_started_timestamp_seconds"} {
			need(&wrong, s[name] >= began && s[name] < began+600, "%s is %v, want just now, %v", name, s[name], began)
		}
		need(&wrong, s["go_goroutines"] > 0 && s["process_start_time_seconds"] > 0, "nothing of Go and the process")
		return wrong
	})
	follow(t, r)
	openMetrics(t, r)
	r.end(t)
	// What a start finds is told by the next one.
	r = start(t, dir)
	r.scrape(t, samples{`recovery_result{result="running"}`: 1}, func(s samples) (wrong []string) {
		need(&wrong, s["fold_snapshot_index"]+s["recovery_events_replayed"] > 0 && s["fold_snapshot_index"] <= s["log_index"],
			"the fold's snapshot is of %v, %v events were replayed, the log ends at %v", s["fold_snapshot_index"], s["recovery_events_replayed"], s["log_index"])
		need(&wrong, s[`recovery_seconds{phase="replay"}`] > 0, "replaying took no time")
		return wrong
	})
	r.end(t)
}

func glob(t *testing.T, path ...string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A stream is counted while it goes on, and is no slow request afterwards.
func follow(t *testing.T, r *running) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", r.url+"/api/v1/services?watch=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r.scrape(t, samples{"api_streams": 1}, nil)
	cancel()
	r.scrape(t, samples{"api_streams": 0, `api_requests_total{code="200",method="GET",route="/api/v1/services"}`: 1,
		`api_request_seconds_count{code="200",method="GET",route="/api/v1/services"}`: absent}, nil)
}

// In OpenMetrics, the slow ones name an event that psctl events knows. All names are as Prometheus wants them.
func openMetrics(t *testing.T, r *running) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(r.ask(t, "GET", "/metrics", "", http.StatusOK))).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasSuffix(string(b), "# EOF\n") {
		t.Errorf("%v, want OpenMetrics:\n%.300s", err, b)
	}
	log := r.ask(t, "GET", "/swarm/v1/events", "", http.StatusOK)
	for _, name := range []string{"commit_seconds_bucket", `api_request_seconds_bucket{code="200",method="POST",route="/api/v1/manifests"`} {
		found := regexp.MustCompile(`(?m)^podman_swarm_` + regexp.QuoteMeta(name) + `.* # \{event_id="([^"]+)"\}`).FindStringSubmatch(string(b))
		if found == nil || !strings.Contains(log, `"`+found[1]+`"`) {
			t.Errorf("%s: names %q, want the id of an event", name, found)
		}
	}
}

// What a recovery did, and what the reconciler does, is what the figures say.
func TestMetrics_ofContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger, stop := podmantest.Ledger(t, podmantest.NewLog())
		defer stop()
		fake := podmantest.New("localhost/web:1")
		place := func(deployment, image string, replicas int) {
			template := []byte(`{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"` + image + `","imagePullPolicy":"IfNotPresent"}]}}`)
			_, err := ledger.Record(t.Context(), projection.By{Actor: "test", Cause: "test"}, func(*projection.State) (all []projection.Change, _ error) {
				for i := range replicas {
					all = append(all, projection.Change{Kind: events.Decided, Key: projection.Pod{Namespace: "default", Deployment: deployment, Ordinal: i}.PlacementKey(),
						Object: projection.Encode(projection.Placement{Host: "a", Owner: events.ID{Inc: 1, Seq: 1}, SpecHash: manifest.SpecHash(template), Template: template, Why: "test"})})
				}
				return all, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		live := func(do func(m *metrics, is func(what string, want samples))) {
			m := newMetrics()
			r := &podman.Reconciler{Engine: fake, Ledger: ledger, Host: "a", Observe: m.reconciled}
			m.registry.MustRegister(&containers{r})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- r.Run(ctx) }()
			do(m, func(what string, want samples) {
				t.Helper()
				var wrong []string
				for range 100 { // of this clock, a bubble's, nearly two minutes
					if wrong = gathered(t, m.registry).are(want); len(wrong) == 0 {
						return
					}
					time.Sleep(time.Second)
				}
				t.Errorf("%s: %s", what, strings.Join(wrong, "\n"))
			})
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		place("web", "localhost/web:1", 3)
		live(func(m *metrics, is func(string, samples)) {
			is("from nothing", samples{"recovered": 1, `recovery_result{result="succeeded"}`: 1, `recovery_result{result="failed"}`: 0, `recovery_containers{outcome="created"}`: 3,
				`containers{state="Running"}`: 3, `containers{state="Pending"}`: 0, "containers_created_total": 3, "containers_started_total": 3,
				"container_restarts_total": 0, "containers_removed_total": 0, "podman_up": 1, "reconcile_errors_total": 0, "orphans": 0})
			s := gathered(t, m.registry)
			if s["reconcile_passes_total"] < 1 || s["reconcile_seconds_count"] < 3 || s["recovery_finished_timestamp_seconds"] < s["recovery_started_timestamp_seconds"] || s["recovery_started_timestamp_seconds"] == 0 {
				t.Errorf("%v passes, a recovery from %v to %v", s["reconcile_passes_total"], s["recovery_started_timestamp_seconds"], s["recovery_finished_timestamp_seconds"])
			}
			if _, ok := s[`recovery_seconds{phase="act"}`]; !ok {
				t.Error("not said how long acting took")
			}
		})
		all := fake.Containers()
		fake.Exit(all[0].ID, 1)
		if err := fake.Remove(t.Context(), all[1].ID); err != nil {
			t.Fatal(err)
		}
		place("none", "localhost/missing:1", 1)
		live(func(m *metrics, is func(string, samples)) {
			is("after a restart", samples{"recovered": 1, `recovery_result{result="failed"}`: 1, `recovery_result{result="succeeded"}`: 0,
				`recovery_containers{outcome="adopted"}`: 1, `recovery_containers{outcome="started"}`: 1, `recovery_containers{outcome="created"}`: 1,
				`recovery_containers{outcome="failed"}`: 1, `recovery_containers{outcome="bounced"}`: 0, `recovery_containers{outcome="removed"}`: 0, `recovery_containers{outcome="orphaned"}`: 0,
				"container_restarts_total": 1, "containers_created_total": 1, "containers_started_total": 2, `containers{state="Running"}`: 3, `containers{state="Pending"}`: 1})
			fake.SetDown(true)
			is("without Podman", samples{"podman_up": 0})
			if gathered(t, m.registry)["reconcile_errors_total"] == 0 {
				t.Error("an error is not counted")
			}
			fake.SetDown(false)
			is("with Podman again", samples{"podman_up": 1, "containers_crash_looping": 0})
			fake.Exit(all[0].ID, 1) // as before, and not long after
			is("in a crash loop", samples{"containers_crash_looping": 1, `containers{state="Running"}`: 2})
			is("once it runs again", samples{"containers_crash_looping": 0, `containers{state="Running"}`: 3})
		})
	})
}

// gathered is what a scrape of the registry gives.
func gathered(t *testing.T, r *prometheus.Registry) samples {
	t.Helper()
	var b recorder
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(&b, &http.Request{Method: "GET", Header: http.Header{}})
	return parseSamples(t, b.String())
}

// recorder is the body of an answer.
type recorder struct{ strings.Builder }

func (*recorder) Header() http.Header { return http.Header{} }
func (*recorder) WriteHeader(int)     {}

// What cannot be gathered does not take the rest with it, and is said.
func TestMetrics_oneThatFails(t *testing.T) {
	m := newMetrics()
	m.registry.MustRegister(failing{})
	var said lines
	var b recorder
	m.handler(logger(&config{LogFormat: "text"}, &said)).ServeHTTP(&b, &http.Request{Method: "GET", Header: http.Header{}})
	if !strings.Contains(b.String(), "podman_swarm_api_streams 0\n") || !strings.Contains(said.String(), "cannot be had") {
		t.Errorf("got %.300s\nsaid %s", b.String(), &said)
	}
}

type failing struct{}

func (failing) Describe(chan<- *prometheus.Desc) {}
func (failing) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.NewInvalidMetric(prometheus.NewDesc("podman_swarm_broken", "Never.", nil, nil), fmt.Errorf("it cannot be had"))
}

// A label has no value that a stranger can make up.
func TestMetrics_labelsAreBounded(t *testing.T) {
	m := newMetrics()
	s := &api.Server{Node: "a", Observe: m.answered}
	h := s.Handler()
	for i := range 50 {
		for _, path := range []string{"/x%d", "/api/v1/x%d", "/api/v1/namespaces/default/pods/p%d/x%[1]d", "/apis/g%d/v1/things", "/swarm/v1/x%d"} {
			for _, method := range []string{"GET", fmt.Sprint("M", i)} {
				req, err := http.NewRequest(method, "http://localhost"+fmt.Sprintf(path, i), nil)
				if err != nil {
					t.Fatal(err)
				}
				h.ServeHTTP(&recorder{}, req)
			}
		}
	}
	got := gathered(t, m.registry)
	for name := range got {
		if strings.HasPrefix(name, "api_requests_total") && (!strings.Contains(name, `method="GET"`) && !strings.Contains(name, `method="other"`) || !strings.Contains(name, `route="other"`)) {
			t.Errorf("got %s", name)
		}
	}
	if got[`api_requests_total{code="404",method="GET",route="other"}`] != 250 {
		t.Errorf("got %v", got)
	}
}
