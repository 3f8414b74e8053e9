package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Answers that no agent in order gives.
func TestRun_otherServers(t *testing.T) {
	conflicts := `[{"key":"deployment/default/web","event":"5f3a9c0e11223344-42","at":"2026-01-02T03:04:05Z","object":{}},
		{"key":"service/default/a","event":"5f3a9c0e11223344-43","at":"2026-01-02T03:04:05Z","ended":true,"object":{}}]`
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		args string
		code int
		want []string
	}{
		{"a web server", http.NotFound, "get pods", exitRefused, []string{"is no agent of Podman Swarm: 404 Not Found"}},
		{"a web server, asked for one object", http.NotFound, "get pod web-0", exitRefused, []string{"is no agent"}},
		{"a proxy", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<h1>Bad gateway</h1>", http.StatusBadGateway)
		},
			"status", exitRefused, []string{"is no agent", "502 Bad Gateway", "<h1>Bad gateway</h1>"}},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) },
			"get pods", exitRefused, []string{"answer of http://", "/api/v1/namespaces/default/pods"}},
		{"broken off while it writes", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			"delete svc a", exitUnreachable, []string{"went away before it had answered", "It is not known whether it was done"}},
		{"broken off while it reads", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			"get pods", exitUnreachable, []string{"went away before it had answered"}},
		{"a log that is not there of a pod that is", func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/log") {
				w.Write([]byte(`{"metadata":{"name":"web-0"}}`))
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no socket","reason":"NotFound","code":404}`))
		}, "logs web-0", exitRefused, []string{"log of pod default/web-0: no socket"}},
		{"conflicts", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(conflicts)) },
			"conflicts", exitDone, []string{"deployment/default/web   2026-01-02", "another change", "its deletion"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(c.h)
			s.Config.ErrorLog = nil
			defer s.Close()
			var out bytes.Buffer
			env := func(name string) string { return map[string]string{"PSCTL_SERVER": s.URL}[name] }
			if code := run(t.Context(), strings.Fields(c.args), nil, &out, &out, env); code != c.code {
				t.Errorf("exit code: got %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got %q, want %q in it", &out, want)
				}
			}
		})
	}
}

// What is advised after a change that was not answered does not undo it, or do more than it.
func TestRun_unansweredChange(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && r.URL.Query().Has("dry_run"):
			w.Write([]byte(`{"count":1,"results":[{"key":"deployment/default/web","result":"changed"}]}`))
		case r.Method != http.MethodGet:
			panic(http.ErrAbortHandler)
		case strings.HasPrefix(r.URL.Path, "/swarm/v1/history/"):
			w.Write([]byte(`[{"action":"created","object":{"spec":{"template":{}}}},
				{"action":"created","object":{"spec":{"template":{"metadata":{"labels":{"a":"b"}}}}}}]`))
		default:
			w.Write([]byte(`{"metadata":{"name":"web","namespace":"default","generation":2}}`))
		}
	}
	s := httptest.NewServer(http.HandlerFunc(h))
	defer s.Close()
	const safe = "Doing it again is safe"
	for args, want := range map[string]string{
		"delete svc a":                      safe,
		"scale deployment/web --replicas 2": safe,
		"cordon h1":                         safe,
		"token create ci --scope read":      "psctl token revoke ci",
		"rollout restart deployment/web":    "psctl rollout history deployment/web",
		"rollout undo deployment/web":       "psctl rollout history deployment/web",
		"restore --at 2h --yes":             "psctl restores",
		"backup create":                     "psctl backup list",
	} {
		var out bytes.Buffer
		code := run(t.Context(), append(strings.Fields(args), "--server", s.URL), nil, &out, &out, func(string) string { return "" })
		if code != exitUnreachable || !strings.Contains(out.String(), "It is not known whether it was done. ") || !strings.Contains(out.String(), want) ||
			strings.Contains(out.String(), safe) != (want == safe) {
			t.Errorf("%s: got %d, %q, want %q in it", args, code, &out, want)
		}
	}
}

// A host that takes the connection and then the address of nobody.
func TestRun_nobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := run(t.Context(), []string{"--server", addr, "get", "nodes"}, nil, &out, &out, func(string) string { return "" })
	if want := "no agent answers at http://" + addr; code != exitUnreachable || !strings.Contains(out.String(), want) {
		t.Errorf("got %d, %q; want %d, %q", code, &out, exitUnreachable, want)
	}
}
