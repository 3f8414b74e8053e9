package ingress

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// What is counted has the words of the Ingress's route and no stranger's, and goes when the route does, also if a request is under way.
func TestMetrics_areByRouteAndGoWithIt(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	finish, begun := make(chan struct{}), make(chan struct{}, 1)
	r := start(t, nil)
	reg.MustRegister(r.Metrics)
	services := []*discovery.Service{service("web", replica(t, "web")), service("slow", serving(t, func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-finish
	}))}
	a, b := declared("a", 1, rule{"a/", "Prefix", "web"}, rule{"a/deep", "Exact", "web"}, rule{"default", "", "web"}), declared("b", 2, rule{"b/", "Prefix", "slow"})
	r.put(t, services, a, b)
	c := r.client(t)
	for n := range 20 {
		get(t, c, fmt.Sprintf("http://a/path-%d?q=%d", n, n))
		get(t, c, fmt.Sprintf("http://a/deep?q=%d", n))
		get(t, c, fmt.Sprintf("http://strange-%d/", n)) // to the default backend
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		get(t, c, "http://b/")
	}()
	<-begun
	want := []string{
		"ingress_requests_in_flight default/a a / 0",
		"ingress_requests_in_flight default/b b / 1",
		"ingress_requests_total 2xx default/a a / 20",
		"ingress_requests_total 2xx default/a a /deep 20",
		"ingress_requests_total 2xx default/a 20",
	}
	var got []string
	eventually(t, func() bool { // a request is counted when it has been answered, which its client may know first
		got = figures(t, reg)
		for _, w := range want {
			if !slices.Contains(got, w) {
				return false
			}
		}
		return len(got) == 5*(2+4) // of the three of a, that of b, and of what has no rule: what is in flight and retried, and the codes of answers by class
	}, "got %q, want %q among it", &got, want)
	r.put(t, services, declared("a", 1, rule{"a/", "Prefix", "web"}))
	close(finish)
	<-answered
	r.settled(t)
	get(t, c, "http://strange/")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	got = figures(t, reg)
	if want := "ingress_requests_total 4xx / 1"; !slices.Contains(got, want) {
		t.Errorf("got %q, want %q among it", got, want)
	}
	for _, line := range got {
		if strings.Contains(line, "default/b") || strings.Contains(line, "/deep") || strings.Contains(line, "default/a 20") {
			t.Errorf("of a route that has gone there is %s", line)
		}
		if strings.Contains(line, "2xx default/a a / ") && !strings.HasSuffix(line, " 20") {
			t.Errorf("what stays has become %s", line)
		}
	}
	if n := histograms(t, reg); n != 2 {
		t.Errorf("got %d histograms, want those of a's one route and of what has none", n)
	}
}

// figures is all that is counted, but for the histograms, a line each.
func figures(t *testing.T, reg prometheus.Gatherer) (lines []string) {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.Metric {
			if m.Histogram != nil {
				continue
			}
			of := map[string]string{}
			for _, l := range m.Label {
				of[l.GetName()] = l.GetValue()
			}
			words := []string{strings.TrimPrefix(f.GetName(), "podman_swarm_")}
			if of["code"] != "" {
				words = append(words, of["code"])
			}
			words = append(words, of["namespace"]+"/"+of["ingress"])
			for _, label := range []string{"host", "path"} {
				if of[label] != "" {
					words = append(words, of[label])
				}
			}
			lines = append(lines, fmt.Sprint(strings.Join(words, " "), " ", m.GetCounter().GetValue()+m.GetGauge().GetValue()))
		}
	}
	return lines
}

func histograms(t *testing.T, reg prometheus.Gatherer) (n int) {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.Metric {
			if m.Histogram != nil {
				n++
			}
		}
	}
	return n
}
