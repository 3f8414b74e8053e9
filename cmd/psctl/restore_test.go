package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// shownPlan is what psctl prints of a plan that the agent gives.
func shownPlan(t *testing.T, plan string, args ...string) string {
	t.Helper()
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(plan)) }))
	t.Cleanup(agent.Close)
	var out, errs strings.Builder
	if code := run(t.Context(), args, strings.NewReader(""), &out, &errs, func(name string) string {
		return map[string]string{"PSCTL_SERVER": agent.URL}[name]
	}); code != exitDone {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	return out.String()
}

// Secrets that come back, and that nobody could open then, are told of while it can still be left, with what to do.
func TestRestore_secretsWithoutTheirKey(t *testing.T) {
	const containers = `"containers":{"restart":0,"start":0,"stop":0}`
	for plan, want := range map[string]string{
		`{"results":[],` + containers + `}`: "",
		`{"results":[],` + containers + `,"locked":["default/db (key 0102030405060708)","shop/tls (key 0102030405060708)"]}`: "Secrets that the asked host cannot open: 2, the first default/db (key 0102030405060708). ",
	} {
		got := shownPlan(t, plan, "restore", "state-backup-20260121-120000.json", "--dry-run")
		if !strings.Contains(got, want) || strings.Contains(got, "secrets.key") != (want != "") {
			t.Errorf("%s: got\n%s", plan, got)
		}
	}
}
