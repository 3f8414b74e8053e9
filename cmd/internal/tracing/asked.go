package tracing

import (
	"context"
	"slices"
	"sort"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Request is a request that recorded something.
type Request struct {
	Method, Route string
	Code          int
	Traceparent   string    // of what span who asked says that it is a part
	Event         events.ID // the first of its commit
}

// Asked makes the span of a request that has just been answered, in the trace of who asked, linked to the trace of each change that it declared.
// Where the traceparent names no span there is none.
func (s *Spans) Asked(r *Request, took time.Duration) {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": r.Traceparent})
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return
	}
	now := time.Now()
	about := []trace.SpanStartOption{trace.WithTimestamp(now.Add(-took)), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("http.route", r.Route), attribute.Int("http.response.status_code", r.Code),
		attribute.String("podman_swarm.event", r.Event.String()))}
	if c := commitOf(s.Ledger.View(), r.Event); c != nil {
		for i := range c.Events {
			if id := c.ID(i); c.Events[i].Kind == events.Declared {
				about = append(about, trace.WithLinks(trace.LinkFromContext(s.within(id), attribute.String("podman_swarm.key", c.Events[i].Key))))
			}
		}
	}
	_, span := s.Tracer.Start(ctx, r.Method+" "+r.Route, about...)
	span.End(trace.WithTimestamp(now))
}

// commitOf is the commit that begins with an event; nil where that is further back than the view remembers.
func commitOf(v *projection.View, id events.ID) *events.Commit {
	first := sort.Search(int(v.Index()), func(i int) bool { _, ok := v.Since(uint64(i)); return ok })
	steps, _ := v.Since(uint64(first))
	for _, st := range slices.Backward(steps) {
		if st.Commit.ID(0) == id {
			return st.Commit
		}
	}
	return nil
}
