package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events/manifest"
)

// Lines of failures-to-beat that concern hosts among each other, each held to agents that speak mutual TLS with each other.
// What needs containers is in integration; what needs thousands of histories in sync.

// far is a host with a wire.
type far struct {
	*host
	wire  *wire
	wrong time.Duration // its clock
	until *testing.T    // by whose end its agent ends, whichever part of it has started that
}

// trio is a cluster of three that all of a test share: to form one takes seconds.
type trio struct{ a, b, c *far }

func newTrio(t *testing.T) *trio {
	token, join := "", ""
	one := func(name string) *far {
		// Clocks are compared at each sync interval; half a minute is long to wait for.
		h := newHost(t, name, "--recover-alone-after=3s", "--sync-interval=5s")
		w := newWire(t, h.cluster)
		f := &far{host: h, wire: w, until: t}
		h.args = append(h.args, "--cluster-advertise="+w.Addr().String())
		if join != "" {
			h.args = append(h.args, "--join="+join, "--join-token="+token)
		}
		f.start()
		if join == "" {
			join, token = w.Addr().String(), f.token(t)
		}
		return f
	}
	s := &trio{a: one("a"), b: one("b"), c: one("c")}
	s.agree(t)
	return s
}

func (s *trio) all() []*far { return []*far{s.a, s.b, s.c} }

func (s *trio) agree(t *testing.T) {
	t.Helper()
	for _, h := range s.all() {
		h.status(t, "three alive and agreeing", alive(3))
	}
}

// split cuts everybody off from everybody. heal connects them again, and returns when all agree.
func (s *trio) split() {
	for _, h := range s.all() {
		h.wire.set(true)
	}
}

func (s *trio) heal(t *testing.T) {
	t.Helper()
	for _, h := range s.all() {
		h.wire.set(false)
	}
	s.agree(t)
}

func (f *far) start() {
	args := append([]string{"--service-cidr=none", "--ingress-http=none", "--ingress-https=none", "--data-dir=" + f.dir, "--node-name=" + f.name, "--api-addr=" + f.api, "--cluster-addr=" + f.cluster,
		"--podman-url=unix://" + filepath.Join(f.dir, "no-podman.sock")}, f.args...)
	f.running = begin(f.until, "http://"+f.api, func(ctx context.Context, said *lines) int { return serveAt(ctx, args, f.wrong, said) })
}

// apply declares a Service with a note, and returns once it is acknowledged.
func (f *far) apply(t *testing.T, name, note string) {
	t.Helper()
	f.ask(t, "POST", "/api/v1/manifests", noted(name, note), http.StatusOK)
}

func noted(name, note string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s, annotations: {note: %q}}\nspec: {ports: [{port: 80}]}\n", name, note)
}

func path(name string) string { return "/api/v1/namespaces/default/services/" + name }

func noteIn(t *testing.T, object string) string {
	t.Helper()
	var o struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal([]byte(object), &o); err != nil {
		t.Fatal(err)
	}
	return o.Metadata.Annotations["note"]
}

// shows waits until the host shows the Service with that note.
func (f *far) shows(t *testing.T, name, note string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got = noteIn(t, f.ask(t, "GET", path(name), "", http.StatusOK)); got == note {
			return
		}
	}
	t.Errorf("host %s shows Service %s of %q, want %q", f.name, name, got, note)
}

// has waits until the host answers as wanted.
func (f *far) has(t *testing.T, path string, ok func(answer string) bool) {
	t.Helper()
	last := ""
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(f.url + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if last = string(b); err == nil && resp.StatusCode == http.StatusOK && ok(last) {
			return
		}
	}
	t.Errorf("host %s answers to GET %s with %d bytes, %.300s", f.name, path, len(last), last)
}

// lost are the notes of the changes that the host lists as lost unseen, by name.
func (f *far) lost(t *testing.T) map[string][]string {
	t.Helper()
	var all []api.Conflict
	if err := json.Unmarshal([]byte(f.ask(t, "GET", "/swarm/v1/conflicts", "", http.StatusOK)), &all); err != nil {
		t.Fatal(err)
	}
	lost := map[string][]string{}
	for _, c := range all {
		name := c.Key[strings.LastIndexByte(c.Key, '/')+1:]
		lost[name] = append(lost[name], noteIn(t, string(c.Object)))
	}
	return lost
}

// metric is the sum of the samples of that name and labels.
func (f *far) metric(t *testing.T, sample string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(f.ask(t, "GET", "/metrics", "", http.StatusOK)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), sample+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

func TestFailures_inACluster(t *testing.T) {
	s := newTrio(t)
	t.Cleanup(func() {
		if t.Failed() { // the log of the host that was asked is seldom enough
			for _, h := range s.all() {
				said := h.said.String()
				t.Logf("host %s, cluster port %s by %s, said last:\n%s", h.name, h.cluster, h.wire.Addr(), said[max(0, len(said)-4000):])
			}
		}
	})
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"A15_idle", s.idle}, {"A13_B11_split", s.concurrent}, {"A27_size", s.large}, {"A16_clock", s.clock},
		{"A18_restore", s.restore}, {"B10_lostDisk", s.lostDisk}, {"B2_lostMajority", s.lostMajority},
	} {
		if !t.Run(c.name, c.test) {
			t.FailNow() // the next would find the hosts anyhow
		}
	}
	for _, h := range s.all() {
		h.end(t)
	}
}

// Failure A.15: five idle nodes rewrite everything for ever. Ours record nothing when nothing happens, and a beat is some
// hundred bytes.
func (s *trio) idle(t *testing.T) {
	const out = `podman_swarm_sync_bytes_total{direction="out"}`
	index := func(h *far) (n float64) { return h.metric(t, "podman_swarm_log_index") }
	for _, h := range s.all() { // each makes a backup soon after its first start, and tells all of it
		for _, of := range s.all() {
			told := func() bool {
				return strings.Contains(h.ask(t, "GET", "/swarm/v1/events", "", http.StatusOK), `"key":"backup/`+of.name+`"`)
			}
			for deadline := time.Now().Add(time.Minute); !told(); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("host %s has not heard of a backup of %s", h.name, of.name)
				}
			}
		}
	}
	before, sent, beats, last := map[*far]float64{}, map[*far]float64{}, 0, s.a.metric(t, out)
	for _, h := range s.all() {
		before[h], sent[h] = index(h), h.metric(t, out)
	}
	began := time.Now()
	for ; beats < 4 || time.Since(began) < 11*time.Second; time.Sleep(50 * time.Millisecond) { // what a host is, it says anew every 10 s
		if time.Since(began) > 40*time.Second {
			t.Fatal("host a beats no more")
		}
		if now := s.a.metric(t, out); now > last {
			beats, last = beats+1, now
		}
	}
	took := time.Since(began)
	for _, h := range s.all() {
		if now := index(h); now != before[h] {
			t.Errorf("host %s has recorded %v events in %v of idleness", h.name, now-before[h], took)
		}
		if each := (h.metric(t, out) - sent[h]) / took.Seconds() * 2; each < 50 || each > 1500 {
			t.Errorf("host %s sends %.0f bytes a beat, want some hundred", h.name, each)
		} else {
			t.Logf("host %s: %.0f bytes a beat", h.name, each)
		}
	}
}

// Failure A.13: with one timestamp for the whole state A's change to x is lost because B later changed y: ours keeps the
// newest of each object. Failure B.11: of two concurrent edits one is dropped and nobody is told: ours lists it, on all
// hosts, and lists no other.
func (s *trio) concurrent(t *testing.T) {
	for _, name := range []string{"left", "right", "both"} {
		s.c.apply(t, name, "old")
		s.a.shows(t, name, "old")
		s.b.shows(t, name, "old")
	}
	s.split()
	s.a.apply(t, "left", "of a")
	s.a.apply(t, "both", "of a")
	s.b.apply(t, "right", "of b")
	s.b.apply(t, "both", "of b")
	if got := noteIn(t, s.c.ask(t, "GET", path("both"), "", http.StatusOK)); got != "old" {
		t.Fatalf("the hosts are not split: c knows of %q", got)
	}
	s.heal(t)
	for _, h := range s.all() {
		h.shows(t, "left", "of a")
		h.shows(t, "right", "of b")
		h.shows(t, "both", "of b")
		lost := h.lost(t)
		if got := lost["both"]; len(lost) != 1 || !slices.Equal(got, []string{"of a"}) {
			t.Errorf("host %s lists as lost %v, want that of a to both alone", h.name, lost)
		}
		if n := h.metric(t, "podman_swarm_conflicts"); n != 1 {
			t.Errorf("host %s counts %v conflicts", h.name, n)
		}
	}
	s.a.apply(t, "both", "settled")
	for _, h := range s.all() {
		h.shows(t, "both", "settled")
	}
}

// Failure A.27: sync is one datagram of the whole state and fails above 39 Deployments. Ours carries what a manifest may
// be: 1,000 objects of some MB, and one object as large as the API takes.
func (s *trio) large(t *testing.T) {
	var all strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&all, "%s---\n", noted(fmt.Sprintf("many-%d", i), strings.Repeat("a note ", 350)))
	}
	s.b.ask(t, "POST", "/api/v1/manifests", all.String(), http.StatusOK)
	const most = manifest.MaxObjectBytes - 1024
	one := strings.Replace(`apiVersion: apps/v1
kind: Deployment
metadata: {name: large}
spec:
  replicas: 0
  selector: {matchLabels: {app: large}}
  template:
    metadata: {labels: {app: large}}
    spec: {containers: [{name: c, image: localhost/x, env: [{name: LONG, value: "*"}]}]}
`, "*", strings.Repeat("x", most), 1)
	s.b.ask(t, "POST", "/api/v1/manifests", one, http.StatusOK)
	for _, h := range []*far{s.a, s.c} {
		h.has(t, "/apis/apps/v1/namespaces/default/deployments/large", func(answer string) bool { return len(answer) > most })
		h.has(t, "/api/v1/namespaces/default/services", func(answer string) bool { return strings.Count(answer, `"name":"many-`) == 1000 })
	}
	s.agree(t)
	t.Logf("%d bytes in one manifest, %d in one object", all.Len(), most)
}

// Failure A.16: a host with a fast clock wins for an hour and reverts every peer. Ours loses to whoever has seen its
// version, cannot touch what it did not change, what it wins unseen is listed, and the others raise an alarm.
func (s *trio) clock(t *testing.T) {
	s.a.apply(t, "seen", "of a, first")
	s.a.apply(t, "untouched", "of a, first")
	s.c.end(t)
	s.c.wrong = time.Hour
	s.c.start()
	s.agree(t)
	s.c.apply(t, "seen", "of c, an hour ahead")
	s.a.shows(t, "seen", "of c, an hour ahead")
	s.a.apply(t, "seen", "of a, right")
	s.a.apply(t, "unseen", "of a, first")
	for _, h := range s.all() {
		h.shows(t, "seen", "of a, right")
		h.shows(t, "unseen", "of a, first")
	}
	s.split()
	s.c.apply(t, "unseen", "of c, an hour ahead")
	s.b.apply(t, "unseen", "of b, right")
	s.b.apply(t, "untouched", "of b, right")
	s.heal(t)
	for _, h := range s.all() {
		h.shows(t, "seen", "of a, right")
		h.shows(t, "untouched", "of b, right")
		h.shows(t, "unseen", "of c, an hour ahead")
		if lost := h.lost(t); !slices.Equal(lost["unseen"], []string{"of b, right"}) || lost["seen"] != nil || lost["untouched"] != nil {
			t.Errorf("host %s lists as lost %v, want what the fast clock won unseen alone", h.name, lost)
		}
	}
	s.b.apply(t, "unseen", "of b, again")
	for _, h := range s.all() {
		h.shows(t, "unseen", "of b, again")
	}
	for _, h := range []*far{s.a, s.b} {
		h.status(t, "alarmed by the clock of c", func(st *api.Status) bool {
			return slices.ContainsFunc(st.Problems, func(p api.Problem) bool { return strings.Contains(p.What, "the clock of host c differs") && p.Do != "" })
		})
		if offset := h.metric(t, `podman_swarm_peer_clock_offset_seconds{peer="c"}`); offset < 3540 || offset > 3660 {
			t.Errorf("host %s measures the clock of c to be off by %v s, want an hour", h.name, offset)
		}
	}
	s.c.end(t)
	s.c.wrong = 0
	s.c.start()
	s.agree(t)
	s.a.status(t, "calm again", func(st *api.Status) bool { // the hosts have no Podman, which is said of each
		return !slices.ContainsFunc(st.Problems, func(p api.Problem) bool { return strings.Contains(p.What, "the clock of") })
	})
}

// Failure B.10: an acknowledged write vanishes. One that was acknowledged with Podman-Swarm-Wait-For: 2 outlives the disk
// of the host that took it.
func (s *trio) lostDisk(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.a.url+"/api/v1/manifests", strings.NewReader(noted("durable", "kept")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(api.HeaderWaitFor, "2")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	s.split() // whoever has it now is who said so
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || len(strings.Split(resp.Header.Get(api.HeaderOnDisk), ", ")) < 2 {
		t.Fatalf("%d %s, on disk of %q: %v", resp.StatusCode, b, resp.Header.Get(api.HeaderOnDisk), err)
	}
	s.a.end(t)
	if err := os.RemoveAll(s.a.dir); err != nil {
		t.Fatal(err)
	}
	s.b.wire.set(false)
	s.c.wire.set(false)
	for _, h := range []*far{s.b, s.c} {
		h.shows(t, "durable", "kept")
	}
	token := s.b.token(t)
	s.a.args = []string{"--recover-alone-after=3s", "--sync-interval=5s", "--cluster-advertise=" + s.a.wire.Addr().String(), "--join=" + s.b.wire.Addr().String(), "--join-token=" + token}
	s.a.wire.set(false)
	s.a.start() // at once: whether it has been missed or not
	s.agree(t)
	s.a.shows(t, "durable", "kept")
}

// Failure B.2: with the quorum lost nothing can be managed, and the recovery command breaks more. Ours has no quorum for
// changes: the last of three is managed as ever, also after a restart, and the others come back by themselves.
func (s *trio) lostMajority(t *testing.T) {
	s.a.apply(t, "doomed", "before")
	s.c.shows(t, "doomed", "before")
	s.split()
	s.a.end(t)
	s.b.end(t)
	s.c.apply(t, "lonely", "one")
	s.c.ask(t, "DELETE", path("doomed"), "", http.StatusOK)
	s.c.end(t)
	s.c.start() // takes changes once it has waited for the others
	s.c.apply(t, "lonely", "two")
	s.c.shows(t, "lonely", "two")
	s.a.start()
	s.b.start()
	s.heal(t)
	for _, h := range s.all() {
		h.shows(t, "lonely", "two")
		h.ask(t, "GET", path("doomed"), "", http.StatusNotFound)
	}
	s.b.apply(t, "lonely", "three")
	s.c.shows(t, "lonely", "three")
}
