package ingress

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// Metrics counts what the ingress does, by Ingress: never by host, path or client, which strangers make up. What no Ingress has a
// route for is counted with empty labels. What is counted of an Ingress goes when it goes. It is a prometheus.Collector.
type Metrics struct {
	mu   sync.Mutex
	all  map[discovery.Name]*series
	took *prometheus.HistogramVec

	requests, inFlight, retries *prometheus.Desc
}

// series is what is counted of one Ingress. Requests that were under way when it went go on counting, and nobody reads it.
type series struct {
	codes    [6]atomic.Uint64 // by class; 0: the client left before there was one
	inFlight atomic.Int64
	retries  atomic.Uint64
	took     prometheus.Observer
}

// NewMetrics is metrics of nothing yet.
func NewMetrics() *Metrics {
	of := []string{"namespace", "ingress"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("podman_swarm_ingress_"+name, help, append(of[:2:2], labels...), nil)
	}
	m := &Metrics{
		all: map[discovery.Name]*series{},
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "podman_swarm", Name: "ingress_request_seconds",
			Help:    "Time from a request until its answer had been handed on; upgraded connections are left out.",
			Buckets: []float64{0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 30},
			// As for the API's requests: finer ones for whoever scrapes those.
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}, of),
		requests: desc("requests_total", "Requests that were answered, by the class of the code; none: the client left before.", "code"),
		inFlight: desc("requests_in_flight", "Requests that are being answered, upgraded connections among them."),
		retries:  desc("retries_total", "Times that a request was handed to another replica, because one could not be reached or broke off."),
	}
	m.of(discovery.Name{})
	return m
}

// of gives the series of an Ingress, a new one where there is none; nil where m is.
func (m *Metrics) of(n discovery.Name) *series {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.all[n]
	if s == nil {
		s = &series{took: m.took.WithLabelValues(n.Namespace, n.Name)}
		m.all[n] = s
	}
	return s
}

// drop forgets an Ingress.
func (m *Metrics) drop(n discovery.Name) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, n)
	m.took.DeleteLabelValues(n.Namespace, n.Name)
}

// keep forgets all but those that keep says yes of.
func (m *Metrics) keep(keep func(discovery.Name) bool) {
	if m == nil {
		return
	}
	var gone []discovery.Name
	m.mu.Lock()
	for n := range m.all {
		if n != (discovery.Name{}) && !keep(n) {
			gone = append(gone, n)
		}
	}
	m.mu.Unlock()
	for _, n := range gone {
		m.drop(n)
	}
}

// Describe gives the descriptions of all that is counted.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.took.Describe(ch)
	ch <- m.requests
	ch <- m.inFlight
	ch <- m.retries
}

// Collect gives what has been counted.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.took.Collect(ch)
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, s := range m.all {
		for class := range s.codes {
			if v := s.codes[class].Load(); v > 0 || class > 1 { // what will be asked for is there before it has grown
				ch <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(v), n.Namespace, n.Name, classes[class])
			}
		}
		ch <- prometheus.MustNewConstMetric(m.inFlight, prometheus.GaugeValue, float64(s.inFlight.Load()), n.Namespace, n.Name)
		ch <- prometheus.MustNewConstMetric(m.retries, prometheus.CounterValue, float64(s.retries.Load()), n.Namespace, n.Name)
	}
}

var classes = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// began counts a request in; nothing where s is nil.
func (s *series) began() {
	if s != nil {
		s.inFlight.Add(1)
	}
}

// ended counts a request out: with its code, 0 if there was none, and how long it took, unless the connection was taken over.
func (s *series) ended(code int, took time.Duration, upgraded bool) {
	if s == nil {
		return
	}
	s.inFlight.Add(-1)
	s.codes[min(max(code/100, 0), 5)].Add(1)
	if !upgraded {
		s.took.Observe(took.Seconds())
	}
}

func (s *series) retried() {
	if s != nil {
		s.retries.Add(1)
	}
}
