package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An agent that takes the connection and is silent holds up nothing for longer than was asked for.
func TestRun_silentAgent(t *testing.T) {
	for _, c := range []struct {
		args     string
		answered int // so many requests are, and then none
		code     int
		want     string
	}{
		{"rollout status web --timeout 100ms", 1, exitTimeout, "the agent at http://"},
		{"rollout status web --timeout 1500ms", 1, exitTimeout, "the agent at http://"},
		{"drain host2 --timeout 100ms", 2, exitTimeout, "the agent does not answer"},
		{"__complete token revoke ", 0, exitDone, ":4"},
		{"__complete restore ", 0, exitDone, ":4"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // and not for ever
			defer cancel()
			asked := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body) // or the server does not see that the client has gone
				if asked++; asked <= c.answered {
					io.WriteString(w, "{}")
					return
				}
				<-r.Context().Done()
			}))
			defer s.Close()
			var out bytes.Buffer
			code := run(ctx, strings.Split(c.args, " "), nil, &out, &out, func(name string) string {
				return map[string]string{"PSCTL_SERVER": s.URL}[name]
			})
			if code != c.code || !strings.Contains(out.String(), c.want) {
				t.Errorf("got %d, %q; want %d, %q", code, &out, c.code, c.want)
			}
		})
	}
}
