package main

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
)

const namespace = "podman_swarm"

// metrics is the agent's registry and what is observed as it happens; the rest is read when it is scraped.
//
// No label has a value that a stranger or a user can make up: those are of routes, codes, kinds and hosts.
type metrics struct {
	registry  *prometheus.Registry
	fsync     prometheus.Histogram
	batch     prometheus.Histogram
	bytes     prometheus.Histogram
	size      prometheus.Histogram
	commit    prometheus.Histogram
	reconcile prometheus.Histogram
	requests  *prometheus.CounterVec   // by method, route, code
	answers   *prometheus.HistogramVec // the same
	streams   prometheus.Gauge
}

func newMetrics() *metrics {
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(histogramOpts(name, help, buckets))
	}
	exponential := prometheus.ExponentialBuckets
	of := []string{"method", "route", "code"}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		fsync:    histogram("log_fsync_seconds", "Time that one fsync of the log took.", exponential(0.0001, 2, 15)),
		batch:    histogram("log_sync_commits", "Commits that shared one fsync.", exponential(1, 2, 13)),
		bytes:    histogram("log_sync_bytes", "Bytes that one fsync made durable.", exponential(256, 4, 10)),
		size: histogram("commit_bytes", "Size of one commit in the log. Those that shared an fsync count with their mean.",
			exponential(256, 4, 10)),
		commit: histogram("commit_seconds", "Time from asking for a change on this host until it was on disk and to be seen.",
			exponential(0.0001, 2, 17)),
		reconcile: histogram("reconcile_seconds", "Time that it took to do all the steps of one replica.", exponential(0.001, 2, 15)),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "api_requests_total",
			Help: "Requests to the API that were answered, streams once they have ended."}, of),
		answers: prometheus.NewHistogramVec(histogramOpts("api_request_seconds", "Time that it took to answer a request to the API, streams left out.",
			[]float64{0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 30}), of),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "api_streams",
			Help: "Streams of the API that go on now: watches, followed events, logs."}),
	}
	m.registry.MustRegister(m.fsync, m.batch, m.bytes, m.size, m.commit, m.reconcile, m.requests, m.answers, m.streams,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// histogramOpts are of a histogram that has the buckets for whoever scrapes text, and native ones, finer by much, for whoever
// takes those. Of native ones there are 160 at most, whatever is observed: then they get coarser.
func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}
}

// handler answers scrapes, in the text format, OpenMetrics, or protobuf. What cannot be gathered is left out, logged and counted: it must
// not take all the rest with it.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), Registry: m.registry})
}

// observe is told of each fsync of the log.
func (m *metrics) observe(took time.Duration, bytes, records int) {
	m.fsync.Observe(took.Seconds())
	m.batch.Observe(float64(records))
	m.bytes.Observe(float64(bytes))
	for range records {
		m.size.Observe(float64(bytes) / float64(records))
	}
}

// committed is told of each commit of this host.
func (m *metrics) committed(took time.Duration, id events.ID) { observeOf(m.commit, took, id) }

// reconciled is told of the steps of one replica.
func (m *metrics) reconciled(took time.Duration, err error) { m.reconcile.Observe(took.Seconds()) }

// answered is told of each request to the API.
func (m *metrics) answered(r api.Answered) {
	code := strconv.Itoa(r.Code)
	m.requests.WithLabelValues(r.Method, r.Route, code).Inc()
	if !r.Stream {
		observeOf(m.answers.WithLabelValues(r.Method, r.Route, code), r.Took, r.Event)
	}
}

// observeOf observes how long something took, and names the event that it was about, if any, so that who sees in a graph that it was
// slow can look it up: psctl events tells of it.
func observeOf(o prometheus.Observer, took time.Duration, id events.ID) {
	if e, ok := o.(prometheus.ExemplarObserver); ok && !id.IsZero() {
		e.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"event_id": id.String()})
		return
	}
	o.Observe(took.Seconds())
}

// figures are what a collector sends, one by one.
type figures struct{ out chan<- prometheus.Metric }

// gauge sends a figure that can fall; labels are names and values by turns.
func (f figures) gauge(name, help string, value float64, labels ...string) {
	f.send(prometheus.GaugeValue, name, help, value, labels)
}

// counter sends a figure that only grows while the agent lives.
func (f figures) counter(name, help string, value float64, labels ...string) {
	f.send(prometheus.CounterValue, name, help, value, labels)
}

func (f figures) send(typ prometheus.ValueType, name, help string, value float64, labels []string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	f.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(namespace+"_"+name, help, names, nil), typ, value, values...)
}

// truth is 1 or 0.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// timestamp is a time in seconds; 0 where it never was.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
