package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestParse_portFromEnvironment(t *testing.T) {
	env := map[string]string{"PORT": "8123"}
	o, err := parse([]string{"-exit-after", "3s"}, func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	if o.listen != ":8123" || o.exitAfter != 3*time.Second {
		t.Errorf("got listen %s, exit after %s; want :8123, 3s", o.listen, o.exitAfter)
	}
}

func TestRun_exitsWithTheCodeToldAfterItsLines(t *testing.T) {
	o, err := parse([]string{"-exit-after=0s", "-exit-code=7", "-lines=2"}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), o, &stdout, &stderr); code != 7 {
		t.Errorf("got exit code %d, want 7", code)
	}
	if got, want := stdout.String()+stderr.String(), "out 1\nout 2\nerr 1\nerr 2\n"; got != want {
		t.Errorf("got output %q, want %q", got, want)
	}
}

func TestHealth(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	check := func() int {
		return run(context.Background(), options{check: "live"}, &bytes.Buffer{}, &bytes.Buffer{})
	}
	for _, c := range []struct {
		path         string
		status, code int
	}{
		{"/health/live", 200, 0}, {"/health/live?set=503", 200, 1}, {"/health/live", 503, 1}, {"/health/live?set=200", 200, 0}, {"/health/live", 200, 0},
	} {
		w := httptest.NewRecorder()
		routes(nil).ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		if code := check(); w.Code != c.status || code != c.code {
			t.Errorf("GET %s: got %d, and -check exits with %d; want %d and %d", c.path, w.Code, code, c.status, c.code)
		}
	}
}

func TestRun_portTaken(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	var stderr bytes.Buffer
	o := options{listen: taken.Listener.Addr().String(), exitAfter: -1}
	if code := run(context.Background(), o, &bytes.Buffer{}, &stderr); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	if !strings.Contains(stderr.String(), "address already in use") {
		t.Errorf("stderr does not say why: %q", stderr.String())
	}
}

func TestRoutes(t *testing.T) {
	t.Setenv("VERSION", "2")
	exit := make(chan int, 1)
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/some/path", 200, "version 2\npath /some/path\n"},
		{"/env", 200, "VERSION=2\n"},
		{"/exit?code=3", 200, "exiting with 3\n"},
		{"/exit?code=x", 400, "code: "},
	} {
		w := httptest.NewRecorder()
		routes(exit).ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("GET %s: got %d %q, want %d with %q", c.path, w.Code, w.Body, c.status, c.want)
		}
	}
	if code := <-exit; code != 3 {
		t.Errorf("got exit code %d, want 3", code)
	}
}
