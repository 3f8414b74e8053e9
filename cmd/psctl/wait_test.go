package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A container that ends as soon as it has read its configuration has been ready for a moment: that is not done.
func TestWait_readyForAMoment(t *testing.T) {
	looks, available, state := 0, 1, `{"running":{"startedAt":"%s"}}`
	mux := http.NewServeMux()
	mux.HandleFunc("/apis/apps/v1/namespaces/default/deployments/web", func(w http.ResponseWriter, _ *http.Request) {
		if looks++; looks > 3 {
			available, state = 0, `{"waiting":{"reason":"CrashLoopBackOff","message":"exited with code 3, at %s"}}`
		}
		fmt.Fprintf(w, `{"metadata":{"name":"web","namespace":"default"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}}},
			"status":{"replicas":1,"updatedReplicas":1,"readyReplicas":%d,"availableReplicas":%[1]d}}`, available)
	})
	mux.HandleFunc("/api/v1/namespaces/default/pods", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"items":[{"metadata":{"name":"web-0","namespace":"default"},"status":{"phase":"Running",
			"containerStatuses":[{"name":"main","ready":%t,"state":`+state+`}]}}]}`, available == 1, time.Now().Format(time.RFC3339))
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	var out bytes.Buffer
	code := run(t.Context(), []string{"--server", s.URL, "rollout", "status", "web", "--timeout", "2s"}, nil, &out, &out,
		func(string) string { return "" })
	if code != exitTimeout || strings.Contains(out.String(), "done") || !strings.Contains(out.String(), "main: CrashLoopBackOff: exited with code 3") {
		t.Errorf("got %d, %s; want %d, and what holds it up", code, &out, exitTimeout)
	}
}

func TestWaiter_steady(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := &waiter{program: &program{now: func() time.Time { return now }}, runs: map[string]seen{}}
	pod := func(restarts int32, started time.Time) []corev1.Pod {
		return []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			ContainerID: "podman://1", RestartCount: restarts,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(started)}},
		}}}}}
	}
	ahead := now.Add(time.Hour) // by a clock that goes wrong
	for _, c := range []struct {
		name string
		pass time.Duration
		pods []corev1.Pod
		want bool
	}{
		{"none are wanted", 0, nil, true},
		{"ran already", 0, pod(0, now.Add(-steady)), true},
		{"just started", 0, pod(1, ahead), false},
		{"not long enough", steady - 1, pod(1, ahead), false},
		{"started again", time.Second, pod(2, ahead), false},
		{"that is not long ago", steady - 1, pod(2, ahead), false},
		{"stayed up, as seen from here", 1, pod(2, ahead), true},
	} {
		now = now.Add(c.pass)
		if got := w.steady(c.pods); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
	}
}

// A host that is not ready is what its replicas wait for, and that is said once.
func TestWait_hostNotReady(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/apis/apps/v1/namespaces/default/deployments/web", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"metadata":{"name":"web","namespace":"default"},"spec":{"replicas":1},"status":{"replicas":1,"updatedReplicas":1}}`)
	})
	mux.HandleFunc("/api/v1/namespaces/default/pods", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"items":[{"metadata":{"name":"web-0","namespace":"default"},"spec":{"nodeName":"host1"},"status":{"phase":"Pending"}}]}`)
	})
	mux.HandleFunc("/api/v1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"items":[{"metadata":{"name":"host1"},"status":{"conditions":[{"type":"Ready","status":"False","message":"Podman cannot be reached"}]}}]}`)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	var out bytes.Buffer
	run(t.Context(), []string{"--server", s.URL, "rollout", "status", "web", "--timeout", "1s"}, nil, &out, &out, func(string) string { return "" })
	if want := "host host1 is not ready: Podman cannot be reached"; strings.Count(out.String(), want) != 1 {
		t.Errorf("got %s; want %q in it, once", &out, want)
	}
}

func TestProgress_live(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, live: true}
	lines := []progressLine{{"a", "1 of 2", false}, {"b", "2 of 2", true}}
	p.show(lines)
	first := out.String()
	if want := noWrap + "a: 1 of 2\nb: 2 of 2\n" + wrap; first != want {
		t.Errorf("got %q, want %q", first, want)
	}
	p.show(lines)
	if got := out.String(); got != first {
		t.Errorf("nothing changed: got %q more", got[len(first):])
	}
	out.Reset()
	for i := range 20 {
		lines = append(lines, progressLine{fmt.Sprint(i), "0 of 1", false})
	}
	p.show(lines)
	if got, want := out.String(), "\x1b[2A\x1b[J"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q in front", got, want)
	}
	if got := strings.Count(p.drawn, "\n"); got != most || !strings.HasSuffix(p.drawn, "and 11 more\n") {
		t.Errorf("got %d lines, %q; want %d and what is left out", got, p.drawn, most)
	}
	out.Reset()
	p.say("held up")
	if got, want := out.String(), "\x1b[12A\x1b[Jheld up\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An interrupt while the agent is being asked says as much as one between two looks.
func TestWait_interruptedWhileItAsks(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked > 1 {
			interrupt()
			<-r.Context().Done()
		}
		fmt.Fprint(w, `{"metadata":{"name":"web","namespace":"default"},"spec":{"replicas":1}}`)
	}))
	defer s.Close()
	var out bytes.Buffer
	code := run(ctx, []string{"--server", s.URL, "rollout", "status", "web"}, nil, &out, &out, func(string) string { return "" })
	if want := "To go on waiting: psctl rollout status deployment/web\n"; code != exitInterrupted || !strings.HasSuffix(out.String(), want) {
		t.Errorf("exit code %d, got %q, want %q at its end", code, &out, want)
	}
}
