package ingress

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkServer is requests per second and the 99th percentile, over one client's kept connections: straight to a replica,
// and through the Server to the same.
func BenchmarkServer(b *testing.B) {
	at := serving(b, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") })
	_, through := one(b, service("web", at), nil)
	for _, c := range []struct {
		name, url string
		client    *http.Client
	}{
		{"direct", "http://" + at + "/", &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}},
		{"ingress", "http://example.com/", through},
	} {
		b.Run(c.name, func(b *testing.B) {
			var mu sync.Mutex
			var took []time.Duration
			b.ReportAllocs()
			b.SetParallelism(8)
			began := time.Now()
			b.RunParallel(func(pb *testing.PB) {
				var own []time.Duration
				for pb.Next() {
					at := time.Now()
					resp, err := c.client.Get(c.url)
					if err != nil {
						b.Error(err)
						return
					}
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != http.StatusOK {
						b.Errorf("got %d, %v", resp.StatusCode, err)
						return
					}
					own = append(own, time.Since(at))
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, own...)
			})
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "req/s")
			slices.Sort(took)
			if len(took) > 0 {
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			}
		})
	}
}
