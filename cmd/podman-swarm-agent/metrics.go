package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

const namespace = "podman_swarm"

// metrics is the agent's registry and what is observed as it happens; the rest is read when it is scraped.
type metrics struct {
	registry  *prometheus.Registry
	fsync     prometheus.Histogram
	batch     prometheus.Histogram
	bytes     prometheus.Histogram
	commit    prometheus.Histogram
	reconcile prometheus.Histogram
}

func newMetrics() *metrics {
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		fsync:    histogram("log_fsync_seconds", "Time that one fsync of the log took.", prometheus.ExponentialBuckets(0.0001, 2, 15)),
		batch:    histogram("log_sync_commits", "Commits that shared one fsync.", prometheus.ExponentialBuckets(1, 2, 13)),
		bytes:    histogram("log_sync_bytes", "Bytes that one fsync made durable.", prometheus.ExponentialBuckets(256, 4, 10)),
		commit: histogram("commit_bytes", "Size of one commit in the log. Those that shared an fsync count with their mean.",
			prometheus.ExponentialBuckets(256, 4, 10)),
		reconcile: histogram("reconcile_seconds", "Time that it took to do all the steps of one replica.", prometheus.ExponentialBuckets(0.001, 2, 15)),
	}
	m.registry.MustRegister(m.fsync, m.batch, m.bytes, m.commit, m.reconcile,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe is told of each fsync of the log.
func (m *metrics) observe(took time.Duration, bytes, records int) {
	m.fsync.Observe(took.Seconds())
	m.batch.Observe(float64(records))
	m.bytes.Observe(float64(bytes))
	for range records {
		m.commit.Observe(float64(bytes) / float64(records))
	}
}

// sources is what is read at each scrape.
type sources struct {
	started    time.Time
	log        *events.Log
	ledger     *projection.Ledger
	view       *snapshot.View
	folds      *snapshot.Folds
	backups    *snapshot.Backups
	reconciler *podman.Reconciler
}

// watch registers everything that is read at each scrape.
func (m *metrics) watch(s sources) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value))
	}
	counter := func(name, help string, labels prometheus.Labels, value func() float64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value))
	}
	gauge("build_info", "Always 1; the version of the agent.", prometheus.Labels{"version": version}, func() float64 { return 1 })

	for i, kind := range projection.Kinds() {
		counter("events_appended_total", "Events that this agent has recorded since it started.",
			prometheus.Labels{"kind": string(kind)}, func() float64 { return float64(s.ledger.Stats().Events[i].Load()) })
	}
	counter("commits_total", "Commits that this agent has recorded since it started.", nil,
		func() float64 { return float64(s.ledger.Stats().Commits.Load()) })
	gauge("log_index", "Index of the last event in the log.", nil, func() float64 { return float64(s.log.End().Index) })
	gauge("log_bytes", "Size of the log.", nil, func() float64 { return float64(s.log.Stats().Bytes) })
	gauge("log_free_bytes", "Free space on the log's disk.", nil, func() float64 { return float64(s.log.Stats().Free) })
	gauge("read_only", "1 while changes are refused since the log cannot be written.", nil, func() float64 {
		if s.log.Writable() != nil {
			return 1
		}
		return 0
	})
	gauge("conflicts", "Changes that lost without having been seen by what won.", nil,
		func() float64 { return float64(len(s.ledger.View().Conflicts())) })

	gauge("state_file_age_seconds", "Age of state.json, or of the agent while that has not written it, when the log has gone on since; else 0.", nil,
		func() float64 { return behind(s.view.Written(), s.ledger.View().Index(), s.started, time.Now()) })
	gauge("fold_snapshot_index", "Index of the newest snapshot of the fold; what came later is folded at a start.", nil,
		func() float64 { return float64(s.folds.Last()) })
	gauge("backup_last_success_timestamp_seconds", "When the newest backup was made, by its name; 0: there is none.", nil, func() float64 {
		if all, err := s.backups.List(); err == nil && len(all) > 0 {
			return float64(all[len(all)-1].Made.Unix())
		}
		return 0
	})
	gauge("backup_bytes", "Size of the newest backup.", nil, func() float64 {
		if all, err := s.backups.List(); err == nil && len(all) > 0 {
			return float64(all[len(all)-1].Bytes)
		}
		return 0
	})
	gauge("backup_seconds", "How long the making of the newest backup took, since the start of the agent.", nil,
		func() float64 { return s.backups.Made().Took.Seconds() })
	counter("backups_total", "Backups made since the start of the agent.", nil, func() float64 { return float64(s.backups.Made().Count) })
	counter("backup_errors_total", "Backups that could not be made.", nil, func() float64 { return float64(s.backups.Made().Errors) })
	m.registry.MustRegister(&containers{s.reconciler})
}

// behind is for how many seconds state.json has not been what the log is.
func behind(w *snapshot.Written, index uint64, started, now time.Time) float64 {
	switch {
	case w == nil || w.At.IsZero():
		return now.Sub(started).Seconds()
	case w.Index == index:
		return 0
	}
	return now.Sub(w.At).Seconds()
}

// reconciled is told of the steps of one replica.
func (m *metrics) reconciled(took time.Duration, err error) { m.reconcile.Observe(took.Seconds()) }

// containers collects what the reconciler says of itself, each at one moment.
type containers struct{ r *podman.Reconciler }

// sending sends figures to out; labels are names and values by turns.
func sending(out chan<- prometheus.Metric) func(typ prometheus.ValueType, name, help string, value float64, labels ...string) {
	return func(typ prometheus.ValueType, name, help string, value float64, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		desc := prometheus.NewDesc(namespace+"_"+name, help, names, nil)
		out <- prometheus.MustNewConstMetric(desc, typ, value, values...)
	}
}

// Describe sends nothing: the labels of what Collect sends are not known before.
func (c *containers) Describe(chan<- *prometheus.Desc) {}

// Collect sends the recovery's report and the containers by phase.
func (c *containers) Collect(out chan<- prometheus.Metric) {
	send := sending(out)
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue

	report, progress, stats := c.r.Report(), c.r.Progress(), c.r.Stats()
	ready := 0.0
	if progress.Stage == podman.Ready {
		ready = 1
	}
	send(gauge, "recovered", "1 once the recovery after the last start is done.", ready)
	for phase, seconds := range report.Seconds {
		send(gauge, "recovery_seconds", "How long each phase of the last recovery took.", seconds, "phase", phase)
	}
	send(gauge, "recovery_events_replayed", "Events folded from the log at the last start.", float64(report.Replayed))
	for outcome, n := range map[string]int{"adopted": report.Adopted, "started": report.Restart, "created": report.Created,
		"removed": report.Removed, "orphaned": report.Orphans, "failed": report.Failed, "bounced": report.Bounced} {
		send(gauge, "recovery_containers", "What the last recovery did about containers.", float64(n), "outcome", outcome)
	}
	for _, phase := range []projection.Phase{projection.Pending, projection.Running, projection.Exited} {
		send(gauge, "containers", "Replicas of this host by how they are doing.", float64(progress.Phases[phase]), "state", string(phase))
	}
	send(gauge, "orphans", "Containers of ours that nothing explains.", float64(len(c.r.Orphans())))
	send(counter, "container_restarts_total", "Containers that had exited and were started again.", float64(stats.Restarts.Load()))
	send(counter, "containers_created_total", "Containers made.", float64(stats.Created.Load()))
	send(counter, "containers_removed_total", "Containers removed.", float64(stats.Removed.Load()))
	send(counter, "reconcile_errors_total", "Lists and steps that ended in an error.", float64(stats.Errors.Load()))
}
