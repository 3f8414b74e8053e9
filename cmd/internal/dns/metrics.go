package dns

import (
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what a Server does. A nil one counts nothing.
type Metrics struct {
	queries *prometheus.CounterVec
	took    *prometheus.HistogramVec
	cache   *prometheus.CounterVec
	errors  prometheus.Counter
}

// NewMetrics registers the metrics of a Server: podman_swarm_dns_queries_total, by what was asked about (cluster, reverse,
// outside, none) and rcode; podman_swarm_dns_query_seconds; podman_swarm_dns_cache_total, by result (hit, miss); and
// podman_swarm_dns_upstream_errors_total. It panics where they are registered already.
func NewMetrics(to prometheus.Registerer) *Metrics {
	const namespace = "podman_swarm"
	m := &Metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "dns_queries_total",
			Help: "DNS questions that were answered."}, []string{"about", "rcode"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "dns_query_seconds",
			Help: "Time that it took to answer a DNS question.", Buckets: prometheus.ExponentialBuckets(0.00005, 4, 9),
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}, []string{"about"}),
		cache: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "dns_cache_total",
			Help: "Names outside of the cluster that were looked for in the cache of answers."}, []string{"result"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "dns_upstream_errors_total",
			Help: "Questions that a resolver outside of the cluster did not answer."}),
	}
	for _, about := range []string{"cluster", "reverse", "outside"} { // what will be asked for is there before it has grown
		m.took.WithLabelValues(about)
		for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeServerFailure} {
			m.queries.WithLabelValues(about, dns.RcodeToString[rcode])
		}
	}
	m.cache.WithLabelValues("hit")
	m.cache.WithLabelValues("miss")
	to.MustRegister(m.queries, m.took, m.cache, m.errors)
	return m
}

func (m *Metrics) answered(about string, rcode int, took time.Duration) {
	if m == nil {
		return
	}
	name, ok := dns.RcodeToString[rcode]
	if !ok { // of upstream's making
		name = "other"
	}
	m.queries.WithLabelValues(about, name).Inc()
	m.took.WithLabelValues(about).Observe(took.Seconds())
}

func (m *Metrics) cached(hit bool) {
	switch {
	case m == nil:
	case hit:
		m.cache.WithLabelValues("hit").Inc()
	default:
		m.cache.WithLabelValues("miss").Inc()
	}
}

func (m *Metrics) failed() {
	if m != nil {
		m.errors.Inc()
	}
}
