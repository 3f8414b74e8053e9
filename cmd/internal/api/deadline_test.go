package api

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// A log in which nothing was written for longer than a client may take to read ends as it should, and is not cut off.
func TestPodLog_endsWholeAfterSilence(t *testing.T) {
	const patience = 200 * time.Millisecond
	a := start(t, t.TempDir(), func(s *Server) {
		s.Patience = patience
		s.Logs = func(context.Context, string, string, LogOptions) (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() {
				fmt.Fprintln(w, "a line")
				time.Sleep(2 * patience)
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

// A log that breaks off halfway is not given as one that ends there.
func TestPodLog_breaksOff(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) {
		s.Logs = func(context.Context, string, string, LogOptions) (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() {
				fmt.Fprintln(w, "a line")
				w.CloseWithError(io.ErrUnexpectedEOF)
			}()
			return r, nil
		}
	})
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	p := projection.Pod{Namespace: "default", Deployment: "a"}
	a.observe(p, "h1", &projection.Replica{Placement: a.place(p, "h1", ""), Phase: projection.Running, Container: "cafe"})
	r, err := a.http.Client().Get(a.http.URL + "/api/v1/namespaces/default/pods/a-0/log")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err == nil || string(b) != "a line\n" {
		t.Errorf("got %q, %v; want an error after the line", b, err)
	}
}

// slow is a client that reads 10 KiB a second.
type slow struct {
	httptest.ResponseRecorder
	deadline time.Time
}

func (w *slow) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }

func (w *slow) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(len(b)) * time.Second / (10 << 10))
	if time.Now().After(w.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	return w.ResponseRecorder.Write(b)
}

// A client that reads slowly, but reads, gets all of it, however much that is.
func TestAnswer_slowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := bytes.Repeat([]byte("x"), 2<<20)
		for name, give := range map[string]func(*request){
			"at once": func(q *request) { _ = q.answer(200, "text/plain", large) },
			"stream":  func(q *request) { q.stream("text/plain").send(large) },
		} {
			w := &slow{ResponseRecorder: *httptest.NewRecorder()}
			give(&request{Request: httptest.NewRequest("GET", "/", nil), w: w, s: &Server{}})
			if got := w.Body.Len(); got != len(large) {
				t.Errorf("%s: got %d bytes of %d", name, got, len(large))
			}
		}
	})
}

// That logs end with the agent is nothing to warn of.
func TestPodLog_endsWithTheAgent(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) {
		s.Logs = func(ctx context.Context, _, _ string, _ LogOptions) (io.ReadCloser, error) {
			r, w := io.Pipe()
			context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
			go fmt.Fprintln(w, "a line")
			return r, nil
		}
	})
	a.want(200, "POST", apply, deployment("a", 1, "w"))
	p := projection.Pod{Namespace: "default", Deployment: "a"}
	a.observe(p, "h1", &projection.Replica{Placement: a.place(p, "h1", ""), Phase: projection.Running, Container: "cafe"})
	stopping := make(chan struct{})
	h := httptest.NewServer(a.Server.handler(stopping, false))
	defer h.Close()
	r, err := h.Client().Get(h.URL + "/api/v1/namespaces/default/pods/a-0/log?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	in := bufio.NewReader(r.Body)
	if line, err := in.ReadString('\n'); err != nil {
		t.Errorf("got %q, %v", line, err)
	}
	close(stopping)
	if b, err := io.ReadAll(in); err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	if s := a.said.String(); strings.Contains(s, "WARN") {
		t.Errorf("said: %s", s)
	}
}
