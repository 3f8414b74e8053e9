package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanTold is one span as a collector gets it.
type spanTold struct {
	host, name, trace, span, parent string
	links                           string // of each the trace and the span
}

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
				links := ""
				for _, l := range s.Links {
					links += string(l.TraceId) + string(l.SpanId)
				}
				c.all = append(c.all, spanTold{host, s.Name, string(s.TraceId), string(s.SpanId), string(s.ParentSpanId), links})
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

	// Who asks in a trace of their own has a span in it, which leads to what became of each change. Nobody else has: neither who asked above, nor one
	// whose traceparent is none, nor one who changes nothing.
	caller, parent := strings.Repeat("\xab", 16), strings.Repeat("\xcd", 8)
	as := fmt.Sprintf("00-%x-%x-01", caller, parent)
	askIn(t, b, "traceparent", svc("one"))
	askIn(t, b, as, svc("two")+"---\n"+svc("three"))
	askIn(t, b, as, svc("two"))
	const asked, two, three = "POST /api/v1/manifests", "apply service/default/two", "apply service/default/three"
	for len(c.named(asked)) == 0 || len(c.named(two)) == 0 || len(c.named(three)) == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%+q, %+q, %+q\n%s", c.named(asked), c.named(two), c.named(three), &b.said)
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.end(t) // what is left to tell is told
	spans := c.named(asked)
	changed := append(c.named(two), c.named(three)...)
	if len(spans) != 1 || spans[0].host != "b" || spans[0].trace != caller || spans[0].parent != parent ||
		spans[0].links != changed[0].trace+changed[0].span+changed[1].trace+changed[1].span {
		t.Errorf("asked: %+q, want one below %q in %q, linked to %+q", spans, parent, caller, changed)
	}
	if changed[0].trace == caller || changed[0].parent != "" {
		t.Errorf("a change is in the trace of who asked: %+q", changed[0])
	}
}

// askIn applies a manifest within a trace.
func askIn(t *testing.T, h *host, traceparent, manifest string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/api/v1/manifests", strings.NewReader(manifest))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Traceparent", traceparent)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", resp.Status, b, err)
	}
}
