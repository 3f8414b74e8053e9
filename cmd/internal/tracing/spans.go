package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Ledger is what Spans follows.
type Ledger interface{ View() *projection.View }

// Spans makes spans of what is committed, on this host and on the others, from Run's start on.
type Spans struct {
	Ledger Ledger
	Node   string // of this host
	Tracer trace.Tracer
	Log    *slog.Logger
}

// Run follows the ledger until ctx ends. It holds nobody up: what is committed faster than it can follow has no spans, and is counted in the log.
func (s *Spans) Run(ctx context.Context) error {
	v := s.Ledger.View()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.Changed:
		}
		now := s.Ledger.View()
		steps, ok := now.Since(v.Index())
		if !ok {
			s.Log.Warn("some events have no spans: they came faster than they could be followed, or as a state", "events", int64(now.Index()-v.Index()))
		}
		v = now
		for i := range steps {
			s.step(&steps[i], time.Now())
		}
	}
}

// step makes the spans of one commit.
func (s *Spans) step(st *projection.Step, now time.Time) {
	c := st.Commit
	for i := range c.Events {
		switch e := &c.Events[i]; e.Kind {
		case events.Declared:
			s.declared(c, e, c.ID(i), now)
		case events.Decided:
			if c.Node == s.Node && !e.For.IsZero() {
				s.decided(c, e, c.ID(i), now)
			}
		case events.Observed:
			if pod, host, ok := projection.PodOf(e.Key); ok && host == s.Node && c.Node == s.Node {
				s.observed(st, pod, e, now)
			}
		}
	}
}

// declared is the root where the change was made, and on every other host that it has come.
func (s *Spans) declared(c *events.Commit, e *events.Event, id events.ID, now time.Time) {
	verb := "apply "
	if e.Object == nil {
		verb = "delete "
	}
	about := trace.WithAttributes(attribute.String("podman_swarm.event", id.String()), attribute.String("podman_swarm.key", e.Key),
		attribute.String("podman_swarm.actor", c.Actor), attribute.String("podman_swarm.cause", c.Cause), attribute.String("podman_swarm.node", c.Node))
	began := before(c.Time.Wall(), now)
	ctx, root := s.Tracer.Start(withIDs(context.Background(), traceOf(id), spanOf(rootSpan, id)), verb+e.Key, trace.WithNewRoot(), trace.WithTimestamp(began), about)
	if c.Node == s.Node {
		root.End(trace.WithTimestamp(now))
		return
	}
	// The root is another host's to tell of. Here it was begun to have the sampler decide as it does there, and is never ended.
	_, span := s.Tracer.Start(ctx, "receive "+e.Key, trace.WithTimestamp(began), trace.WithSpanKind(trace.SpanKindConsumer), about)
	span.End(trace.WithTimestamp(now))
}

// decided is the placement of one replica, by the host that decided it.
func (s *Spans) decided(c *events.Commit, e *events.Event, id events.ID, now time.Time) {
	var p projection.Placement
	if e.Object == nil || json.Unmarshal(e.Object, &p) != nil {
		return
	}
	ctx := withIDs(s.within(e.For.ID), trace.TraceID{}, spanOf(placeSpan, id))
	_, span := s.Tracer.Start(ctx, "place "+e.Key, trace.WithTimestamp(before(c.Time.Wall(), now)),
		trace.WithAttributes(attribute.String("podman_swarm.event", id.String()), attribute.String("podman_swarm.host", p.Host), attribute.String("podman_swarm.why", p.Why)))
	if p.Host == "" {
		span.SetStatus(codes.Error, p.Why)
	}
	span.End(trace.WithTimestamp(now))
}

// observed is what a host has done about a placement: from when that was decided until the container runs, or cannot be started.
func (s *Spans) observed(st *projection.Step, pod projection.Pod, e *events.Event, now time.Time) {
	var is, was projection.Replica
	if e.Object == nil || json.Unmarshal(e.Object, &is) != nil {
		return
	}
	if o, ok := st.Before.Lookup(e.Key); ok && json.Unmarshal(o.Version.Object, &was) != nil {
		return
	}
	placed, ok := st.After.Lookup(pod.PlacementKey())
	if !ok || placed.Stamp.ID != is.Placement || placed.For.IsZero() {
		return
	}
	started := is.Phase == projection.Running && (was.Phase != projection.Running || was.Container != is.Container)
	failed := is.Phase != projection.Running && is.Reason != "" && is.Reason != "ContainerCreating" && is.Reason != was.Reason
	if !started && !failed {
		return
	}
	began := placed.Stamp.Time.Wall()
	if is.Restarts > 0 && was.Finished.After(began) {
		began = was.Finished
	}
	id := placed.Stamp.ID
	parent := trace.SpanContextFromContext(s.within(placed.For.ID))
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), parent.WithSpanID(spanOf(placeSpan, id)))
	_, span := s.Tracer.Start(ctx, "start "+pod.Namespace+"/"+pod.Name(), trace.WithTimestamp(before(began, now)),
		trace.WithAttributes(attribute.String("podman_swarm.placement", id.String()), attribute.String("container.id", is.Container),
			attribute.String("container.name", is.Name), attribute.Int("podman_swarm.restarts", is.Restarts)))
	if failed {
		span.SetStatus(codes.Error, is.Reason+": "+is.Message)
	}
	span.End(trace.WithTimestamp(now))
}

// within is a context within the trace of a declared event, sampled as that is on every host.
func (s *Spans) within(id events.ID) context.Context {
	ctx, _ := s.Tracer.Start(withIDs(context.Background(), traceOf(id), spanOf(rootSpan, id)), "apply", trace.WithNewRoot())
	return ctx
}

// before is the first of two moments: what another host's clock says may be yet to come on this one's.
func before(t, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	return t
}

// Which span of an event.
const (
	rootSpan  = 'r'
	placeSpan = 'p'
)

// traceOf is the trace of a declared event, the same on every host. It is a hash since samplers count on every bit.
func traceOf(id events.ID) (t trace.TraceID) {
	sum := sha256.Sum256([]byte("trace " + id.String()))
	copy(t[:], sum[:])
	return t
}

func spanOf(which byte, id events.ID) (s trace.SpanID) {
	sum := sha256.Sum256(append([]byte{which, ' '}, id.String()...))
	copy(s[:], sum[:])
	return s
}

type idsKey struct{}

type ids struct {
	trace trace.TraceID
	span  trace.SpanID
}

// withIDs has the next span have these ids; of one that has a parent, that says the trace.
func withIDs(ctx context.Context, t trace.TraceID, s trace.SpanID) context.Context {
	return context.WithValue(ctx, idsKey{}, &ids{t, s})
}

// named generates the ids that withIDs asks for, once, and else random ones.
type named struct{}

// NewIDs is sdktrace.IDGenerator's.
func (named) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if want, ok := ctx.Value(idsKey{}).(*ids); ok {
		return want.trace, want.span
	}
	var t trace.TraceID
	fill(t[:])
	return t, randomSpan()
}

// NewSpanID is sdktrace.IDGenerator's.
func (named) NewSpanID(ctx context.Context, t trace.TraceID) trace.SpanID {
	if want, ok := ctx.Value(idsKey{}).(*ids); ok && want.trace != t {
		return want.span
	}
	return randomSpan()
}

func randomSpan() (s trace.SpanID) {
	fill(s[:])
	return s
}

func fill(b []byte) {
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
}
