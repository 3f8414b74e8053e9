package ingress

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// Metrics counts what the ingress does, by route as an Ingress declares it: never by what a request says of its host, path or client, which strangers make
// up. What no Ingress has a route for is counted with empty labels. What is counted of a route goes when it goes. It is a prometheus.Collector.
type Metrics struct {
	mu   sync.Mutex
	all  map[discovery.Name]map[place]*series
	took *prometheus.HistogramVec

	requests, inFlight, retries *prometheus.Desc
}

// place is what a route is for, as its Ingress declares it. Host "" is all hosts; of the default backend both are "".
type place struct{ host, path string }

// series is what is counted of one route. Requests that were under way when it went go on counting, and nobody reads it.
type series struct {
	codes    [6]atomic.Uint64 // by class; 0: the client left before there was one
	inFlight atomic.Int64
	retries  atomic.Uint64
	took     prometheus.Observer
}

// NewMetrics is metrics of nothing yet.
func NewMetrics() *Metrics {
	of := []string{"namespace", "ingress", "host", "path"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("podman_swarm_ingress_"+name, help, append(of[:4:4], labels...), nil)
	}
	m := &Metrics{
		all: map[discovery.Name]map[place]*series{},
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "podman_swarm", Name: "ingress_request_seconds",
			Help:    "Time from a request until its answer had been handed on; upgraded connections are left out.",
			Buckets: []float64{0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 30},
			// As for the API's requests: finer ones for whoever scrapes those.
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}, of),
		requests: desc("requests_total", "Requests that were answered, by the class of the code; none: the client left before.", "code"),
		inFlight: desc("requests_in_flight", "Requests that are being answered, upgraded connections among them."),
		retries:  desc("retries_total", "Times that a request was handed to another replica, because one could not be reached or broke off."),
	}
	m.of(discovery.Name{}, place{})
	return m
}

// of gives the series of an Ingress's route, a new one where there is none; nil where m is.
func (m *Metrics) of(n discovery.Name, at place) *series {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all[n] == nil {
		m.all[n] = map[place]*series{}
	}
	s := m.all[n][at]
	if s == nil {
		s = &series{took: m.took.WithLabelValues(n.Namespace, n.Name, at.host, at.path)}
		m.all[n][at] = s
	}
	return s
}

// keep forgets the routes of an Ingress that it does not declare any more; all of them where now is nil.
func (m *Metrics) keep(n discovery.Name, now *discovery.Ingress) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	declared := map[place]bool{}
	if now != nil {
		for r := range routesOf(now) {
			declared[place{r.Host, r.Path}] = true
		}
	}
	for at := range m.all[n] {
		if !declared[at] {
			delete(m.all[n], at)
			m.took.DeleteLabelValues(n.Namespace, n.Name, at.host, at.path)
		}
	}
	if len(m.all[n]) == 0 {
		delete(m.all, n)
	}
}

// names are the Ingresses of which something is counted.
func (m *Metrics) names() (all []discovery.Name) {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range m.all {
		if n != (discovery.Name{}) {
			all = append(all, n)
		}
	}
	return all
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
	for n, routes := range m.all {
		for at, s := range routes {
			of := []string{n.Namespace, n.Name, at.host, at.path}
			for class := range s.codes {
				if v := s.codes[class].Load(); v > 0 || class > 1 { // what will be asked for is there before it has grown
					ch <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(v), append(of[:4:4], classes[class])...)
				}
			}
			ch <- prometheus.MustNewConstMetric(m.inFlight, prometheus.GaugeValue, float64(s.inFlight.Load()), of...)
			ch <- prometheus.MustNewConstMetric(m.retries, prometheus.CounterValue, float64(s.retries.Load()), of...)
		}
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
