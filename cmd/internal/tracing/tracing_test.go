package tracing

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func TestWanted_asTheEnvironmentSays(t *testing.T) {
	for _, c := range []struct {
		env  string
		want bool
		err  string
	}{
		{"", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://x:4318", true, ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://x:4318", true, ""},
		{"OTEL_TRACES_EXPORTER=otlp", true, ""},
		{"OTEL_TRACES_EXPORTER=console OTEL_EXPORTER_OTLP_PROTOCOL=grpc", true, ""},
		{"OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://x:4318", false, ""},
		{"OTEL_SDK_DISABLED=true OTEL_EXPORTER_OTLP_ENDPOINT=http://x:4318", false, ""},
		{"OTEL_TRACES_EXPORTER=zipkin", false, "OTEL_TRACES_EXPORTER"},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc", false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_PROTOCOL=grpc", true, ""},
	} {
		env := map[string]string{}
		for f := range strings.FieldsSeq(c.env) {
			name, value, _ := strings.Cut(f, "=")
			env[name] = value
		}
		got, err := Wanted(func(name string) string { return env[name] })
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v", c.env, got, err)
		}
	}
}

// host is one that folds commits and makes spans of them.
type host struct {
	Spans
	state *projection.State
	spans *tracetest.InMemoryExporter
}

func newHost(name string, sampler sdktrace.Sampler) *host {
	out := tracetest.NewInMemoryExporter()
	p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(out), sdktrace.WithSampler(sampler), sdktrace.WithIDGenerator(named{}))
	return &host{Spans: Spans{Node: name, Tracer: p.Tracer("test"), Log: slog.New(slog.DiscardHandler)}, state: projection.NewState(), spans: out}
}

func (h *host) fold(c *events.Commit, now time.Time) {
	before := h.state
	h.state = before.Fold(c, events.Hash{}, before.Index()+1, now)
	h.step(&projection.Step{Commit: c, Before: before, After: h.state}, now)
}

func object(v any) []byte { b, _ := json.Marshal(v); return b }

// The spans of one change, as three hosts tell of them: the one on which it was made, the one that placed the replica, and the one that starts the container, which
// failed at first.
func TestSpans_ofOneChangeFindTogether(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	pod := projection.Pod{Namespace: "default", Deployment: "web", Ordinal: 0}
	commit := func(inc events.Incarnation, node string, seq uint64, after time.Duration, e events.Event) *events.Commit {
		e.UID = events.ID{Inc: inc, Seq: seq}
		return &events.Commit{Inc: inc, Seq: seq, Time: events.TimeOf(noon.Add(after)), Node: node, Actor: "token eve", Events: []events.Event{e}}
	}
	applied := commit(1, "a", 1, 0, events.Event{Kind: events.Declared, Key: "deployment/default/web", Object: []byte(`{}`)})
	placed := commit(2, "b", 1, time.Second, events.Event{Kind: events.Decided, Key: pod.PlacementKey(), For: applied.Stamp(0), Object: object(projection.Placement{Host: "c"})})
	says := func(seq uint64, r projection.Replica) *events.Commit {
		r.Placement = placed.ID(0)
		c := commit(3, "c", seq, time.Duration(seq+1)*time.Second, events.Event{Kind: events.Observed, Key: pod.ReplicaKey("c"), Object: object(r)})
		c.Events[0].UID = events.ID{Inc: 3, Seq: 1}
		if seq > 1 {
			c.Events[0].Base = events.Stamp{Time: events.TimeOf(noon.Add(time.Duration(seq) * time.Second)), ID: events.ID{Inc: 3, Seq: seq - 1}}
		}
		return c
	}
	all := []*events.Commit{applied, placed,
		says(1, projection.Replica{Phase: projection.Pending, Reason: "ContainerCreating"}),
		says(2, projection.Replica{Phase: projection.Pending, Reason: "ErrImagePull", Message: "no such image"}),
		says(3, projection.Replica{Phase: projection.Pending, Reason: "ErrImagePull", Message: "no such image, again"}),
		says(4, projection.Replica{Phase: projection.Running, Container: "c0ffee"}),
		says(5, projection.Replica{Phase: projection.Running, Container: "c0ffee", IP: "10.0.0.1"})}

	got := map[string]tracetest.SpanStub{}
	var root tracetest.SpanStub
	for _, name := range []string{"a", "b", "c"} {
		h := newHost(name, sdktrace.ParentBased(sdktrace.AlwaysSample()))
		for i, c := range all {
			h.fold(c, noon.Add(time.Duration(i)*time.Second+time.Millisecond))
		}
		for _, s := range h.spans.GetSpans() {
			key := name + " " + s.Name
			if s.Status.Code == codes.Error {
				key += ": " + s.Status.Description
			}
			if _, twice := got[key]; twice {
				t.Errorf("%s: twice", key)
			}
			if got[key] = s; !s.Parent.IsValid() {
				root = s
			}
		}
	}
	place := got["b place placement/default/web/0"]
	for key, parent := range map[string]tracetest.SpanStub{
		"a apply deployment/default/web": {}, "b receive deployment/default/web": root, "c receive deployment/default/web": root,
		"b place placement/default/web/0": root, "c start default/web-0: ErrImagePull: no such image": place, "c start default/web-0": place,
	} {
		s, ok := got[key]
		if !ok {
			t.Errorf("no span %q", key)
			continue
		}
		if s.Parent.SpanID() != parent.SpanContext.SpanID() || s.SpanContext.TraceID() != root.SpanContext.TraceID() {
			t.Errorf("%s: below %v of trace %v, want below %v of %v", key, s.Parent.SpanID(), s.SpanContext.TraceID(), parent.SpanContext.SpanID(), root.SpanContext.TraceID())
		}
		if s.EndTime.Before(s.StartTime) {
			t.Errorf("%s: ends at %v, before it begins at %v", key, s.EndTime, s.StartTime)
		}
		delete(got, key)
	}
	for key := range got {
		t.Errorf("a span too many: %s", key)
	}
	if took := place.StartTime.Sub(root.StartTime); took != time.Second {
		t.Errorf("placed %v after the change, want 1s", took)
	}
}

// Hosts that sample a part sample the same part: a trace is whole or not there.
func TestSpans_areSampledAlike(t *testing.T) {
	sampler := func() sdktrace.Sampler { return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(.5)) }
	a, b := newHost("a", sampler()), newHost("b", sampler())
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for i := range 200 {
		id := events.ID{Inc: 1, Seq: uint64(i) + 1}
		c := &events.Commit{Inc: 1, Seq: id.Seq, Time: events.TimeOf(noon.Add(time.Duration(i) * time.Millisecond)), Node: "a",
			Events: []events.Event{{Kind: events.Declared, Key: "deployment/default/" + id.String(), UID: id, Object: []byte(`{}`)}}}
		a.fold(c, noon.Add(time.Second))
		b.fold(c, noon.Add(time.Second))
	}
	roots, received := a.spans.GetSpans(), b.spans.GetSpans()
	if len(roots) < 50 || len(roots) > 150 || len(received) != len(roots) {
		t.Fatalf("%d of 200 are sampled by the one, %d by the other, want about half, and as many", len(roots), len(received))
	}
	for i, s := range received {
		if s.Parent.SpanID() != roots[i].SpanContext.SpanID() || s.SpanContext.TraceID() != roots[i].SpanContext.TraceID() {
			t.Fatalf("%s is not below %s", s.Name, roots[i].Name)
		}
	}
}

// A host whose clock is behind that of another does not tell of what ends before it began.
func TestBefore_whatAnotherClockSaysIsNotLater(t *testing.T) {
	h := newHost("b", sdktrace.AlwaysSample())
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	h.fold(&events.Commit{Inc: 1, Seq: 1, Time: events.TimeOf(now.Add(time.Hour)), Node: "a",
		Events: []events.Event{{Kind: events.Declared, Key: "deployment/default/a", UID: events.ID{Inc: 1, Seq: 1}, Object: []byte(`{}`)}}}, now)
	if s := h.spans.GetSpans(); len(s) != 1 || !s[0].StartTime.Equal(now) || !s[0].EndTime.Equal(now) {
		t.Errorf("got %+v", s)
	}
}
