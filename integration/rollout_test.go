package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// TestAgent_badRollOut rolls out what cannot start, and what ends soon after its start: the old replicas serve on, and
// are still the same ones once the change is taken back. All of it is in the traces.
func TestAgent_badRollOut(t *testing.T) {
	host := podmanhost.Start(t)
	spans := collect(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	up(t, a)
	good := trial.Deployment("web", 2, "")
	apply(t, a, good)
	serving := pods(t, host, "web", 2)
	const image = "image: localhost/podman-swarm-web:1\n"
	for what, c := range map[string]struct{ becomes, reason string }{
		"no such image": {"image: localhost/nonesuch:1\n        imagePullPolicy: Never\n", "ErrImageNeverPull"},
		"ends at once":  {image + "        args: [-exit-after=300ms, -exit-code=3]\n", "CrashLoopBackOff"},
	} {
		bad := strings.Replace(good, image, c.becomes, 1)
		if bad == good {
			t.Fatalf("no %q in %s", image, good)
		}
		apply(t, a, bad)
		eventually(t, func() error {
			b, err := trial.Get(t.Context(), a.URL()+"/api/v1/pods")
			if err == nil && !strings.Contains(string(b), c.reason) {
				err = fmt.Errorf("%s: no pod says %s", what, c.reason)
			}
			return err
		})
		untouched(t, host, serving)
		apply(t, a, good)
		pods(t, host, "web", 2)
		untouched(t, host, serving)
	}
	eventually(t, func() error {
		for _, want := range []string{"apply deployment/default/web", "start default/web-0", "start default/web-1", ": ErrImageNeverPull: ", ": CrashLoopBackOff: "} {
			if !spans.have(want) {
				return fmt.Errorf("no span %q of %q", want, spans.names())
			}
		}
		return nil
	})
}

// collected are the names of spans, and how those that failed did.
type collected struct {
	mu  sync.Mutex
	all []string
}

// collect has the agents that are started after it send their traces, and takes them.
func collect(t *testing.T) *collected {
	t.Helper()
	var c collected
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var q collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(b, &q) != nil {
			http.Error(w, "not traces", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, of := range q.ResourceSpans {
			for _, in := range of.ScopeSpans {
				for _, s := range in.Spans {
					name := s.Name
					if s.Status.GetMessage() != "" {
						name += ": " + s.Status.GetMessage()
					}
					c.all = append(c.all, name)
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	return &c
}

func (c *collected) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

func (c *collected) have(part string) bool {
	return slices.ContainsFunc(c.names(), func(s string) bool { return strings.Contains(s, part) })
}
