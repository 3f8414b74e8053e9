package api

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// A log in which nothing was written for longer than a client may take to read ends as it should, and is not cut off.
func TestPodLog_endsWholeAfterSilence(t *testing.T) {
	const patience = 10 * time.Millisecond
	a := start(t, t.TempDir(), func(s *Server) {
		s.Patience = patience
		s.Logs = func(context.Context, string, string, LogOptions) (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() {
				fmt.Fprintln(w, "a line")
				time.Sleep(5 * patience)
				w.Close()
			}()
			return r, nil
		}
	})
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	p := projection.Pod{Namespace: "default", Deployment: "a"}
	a.observe(p, "h1", &projection.Replica{Placement: a.place(p, "h1", ""), Phase: projection.Running, Container: "cafe"})
	r, err := a.http.Client().Get(a.http.URL + "/api/v1/namespaces/default/pods/a-0/log?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != "a line\n" {
		t.Errorf("got %q, %v", b, err)
	}
}
