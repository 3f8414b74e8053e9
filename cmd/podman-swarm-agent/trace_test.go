package main

import (
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanTold is one span as a collector gets it.
type spanTold struct{ host, name, trace, span, parent string }

// collect takes what is sent by OTLP.
type collect struct {
	mu  sync.Mutex
	all []spanTold
}

func (c *collect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var q collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, &q) != nil {
		http.Error(w, "not traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range q.ResourceSpans {
		var host string
		for _, a := range of.Resource.Attributes {
			if a.Key == "host.name" {
				host = a.Value.GetStringValue()
			}
		}
		for _, in := range of.ScopeSpans {
			for _, s := range in.Spans {
				c.all = append(c.all, spanTold{host, s.Name, string(s.TraceId), string(s.SpanId), string(s.ParentSpanId)})
			}
		}
	}
}

func (c *collect) named(name string) (all []spanTold) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.all {
		if s.name == name {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b spanTold) int { return cmp.Compare(a.host, b.host) })
	return all
}

// A change is one trace, whichever hosts have to do with it: made on one, received by the other.
func TestTraces_ofAChangeAcrossHosts(t *testing.T) {
	var c collect
	server := httptest.NewServer(&c)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	a, b := newHost(t, "a"), newHost(t, "b")
	a.environ, b.environ = os.Environ(), os.Environ()
	a.start(t)
	b.start(t, "--join="+a.cluster, "--join-token="+a.token(t))
	a.status(t, "two alive and agreeing", alive(2))
	b.ask(t, "POST", "/api/v1/manifests", `apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: web, image: localhost/web}]}
`, http.StatusOK)

	const apply, receive = "apply deployment/default/shop", "receive deployment/default/shop"
	var root, received []spanTold
	deadline := time.Now().Add(time.Minute)
	for len(root) == 0 || len(received) == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d, %d spans\n%s\n%s", len(root), len(received), &a.said, &b.said)
		}
		time.Sleep(20 * time.Millisecond)
		root, received = c.named(apply), c.named(receive)
	}
	if len(root) != 1 || root[0].host != "b" || root[0].parent != "" {
		t.Errorf("%d roots: %+q", len(root), root)
	}
	if len(received) != 1 || received[0].host != "a" || received[0].trace != root[0].trace || received[0].parent != root[0].span {
		t.Errorf("received: %+q, want by a, below %+q", received, root[0])
	}
}
