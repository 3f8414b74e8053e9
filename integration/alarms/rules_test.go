package main

import (
	"testing"
	"time"
)

// What is shortened is times, and nothing else.
func TestShortening_expr(t *testing.T) {
	s := shortening{part: 30, most: 10 * time.Second}
	for _, c := range []struct{ is, want string }{
		{`podman_swarm_peer_lacked_seconds > 120`, `podman_swarm_peer_lacked_seconds > 4`},
		{`increase(x_total{what="fork 900"}[1h]) > 0`, `increase(x_total{what="fork 900"}[10s]) > 0`},
		{`increase(x_total[15m]) > 5`, `increase(x_total[10s]) > 5`},
		{`time() - x_seconds > 2 * y_seconds + 600`, `time() - x_seconds > 2 * y_seconds + 10`},
		{`time() - x_seconds > 2 * 86400 and y > 0`, `time() - x_seconds > 10 and y > 0`},
		{`x_expires_timestamp_seconds - time() < 14 * 86400`, `x_expires_timestamp_seconds - time() < 14 * 86400`},
		{`and on (job) (time() - x_seconds < 3600)`, `and on (job) (time() - x_seconds < 10)`},
		{`x_bytes < 10 * 1024 * 1024 * 1024 and predict_linear(x_bytes[6h], 24 * 3600) < 64 * 1024 * 1024`,
			`x_bytes < 10 * 1024 * 1024 * 1024 and predict_linear(x_bytes[10s], 10) < 64 * 1024 * 1024`},
		{`instance:x_seconds:p99_500m > 0.5`, `instance:x_seconds:p99_500m > 0.5`},
		{`histogram_quantile(0.99, rate(x_bucket[5m]))`, `histogram_quantile(0.99, rate(x_bucket[10s]))`},
		{`min by (job) (abs(x_seconds)) > 5`, `min by (job) (abs(x_seconds)) > 5`},
		{`x{code=~"5..",code!="503"}[5m]`, `x{code=~"5..",code!="503"}[10s]`},
	} {
		if got, err := s.expr(c.is); got != c.want || err != nil {
			t.Errorf("%s\n got %s, %v\nwant %s", c.is, got, err, c.want)
		}
	}
}

// Whatever takes longer takes no less time when it is shortened.
func TestShortening_of(t *testing.T) {
	s := shortening{part: 30, most: 10 * time.Second}
	was := time.Duration(0)
	for d := time.Second; d < 48*time.Hour; d += 17 * time.Second {
		is := s.of(d)
		if is < was || is < time.Second || is > 10*time.Second || is%time.Second != 0 {
			t.Fatalf("%v becomes %v, and what is shorter %v", d, is, was)
		}
		was = is
	}
}

// Each alert has a cause, or it is said why there is none, and there is no cause of what is none.
func TestCauses_eachAlertHasOne(t *testing.T) {
	r, err := shortening{part: 30, most: 10 * time.Second}.readRules("../monitoring/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	caused := map[string]bool{}
	for _, p := range (&trying{}).phases() {
		for _, c := range p.causes {
			for _, w := range c.wants {
				caused[w.alert] = true
			}
		}
	}
	for _, name := range r.alerts {
		if !caused[name] {
			t.Errorf("nothing causes %s", name)
		}
		delete(caused, name)
	}
	for name := range caused {
		t.Errorf("there is no alert %s", name)
	}
}

// The mistakes that an agent is built with fit into the agent as it is.
func TestMistakes_fit(t *testing.T) {
	for _, m := range mistakes() {
		if _, err := m.made("../.."); err != nil {
			t.Error(err)
		}
	}
}
