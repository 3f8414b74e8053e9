package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
)

// followers collects how those get on who are told of every event: the audit file, and whoever follows.
type followers struct {
	tail  *tail.Tail
	audit *audit
}

// Describe sends nothing: what Collect sends is all there is.
func (c *followers) Describe(chan<- *prometheus.Desc) {}

// Collect sends all of it; of the audit file, where there is one.
func (c *followers) Collect(out chan<- prometheus.Metric) {
	f := figures{out}
	stats := c.tail.Stats()
	f.gauge("events_followers", "Who follows the log now: over the API, and as one each the audit file and all of NATS.", float64(stats.Followers))
	f.counter("events_followers_dropped_total", "Who followed the log over the API, and was dropped since they were too slow.", float64(stats.Dropped))
	if c.audit.path == "" {
		return
	}
	f.gauge("audit_file_failing", "1 while the audit file cannot be written.", truth(c.audit.wrong.Load() != nil))
	f.counter("audit_file_errors_total", "Tries to write the audit file that failed.", float64(c.audit.errors.Load()))
	f.gauge("audit_file_lag_events", "Events of the log that are not in the audit file yet; all, while that could not be read since the start.", float64(c.audit.lag()))
}
