package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

func TestLoad_countsAnswersAndFailures(t *testing.T) {
	mux := routes(make(chan int, 1))
	held := make(chan struct{})
	late := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}))
	defer late.Close()
	answers := httptest.NewServer(mux)
	refused := httptest.NewServer(http.NotFoundHandler())
	defer answers.Close()
	defer refused.Close()
	ask := func(path string) []byte {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusOK {
			t.Fatalf("GET %s: got %d %s", path, w.Code, w.Body)
		}
		return w.Body.Bytes()
	}
	until := func(what string, want func(*loaded) bool) {
		t.Helper()
		got := &loaded{}
		for deadline := time.Now().Add(time.Minute); !want(got); { // each turn asks, so it takes its time
			if time.Now().After(deadline) {
				t.Fatalf("%s: got %+v", what, got)
			}
			got = &loaded{}
			if err := json.Unmarshal(ask("/loaded"), got); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		url  string
		want func(*loaded) bool
	}{
		{answers.URL, func(l *loaded) bool { return l.OK > 2 && l.Failed == 0 && len(l.By) == 1 }},
		{refused.URL, func(l *loaded) bool { return l.OK == 0 && l.Failed > 2 && len(l.Errors) == 1 }},
		{late.URL, func(l *loaded) bool { return l.OK == 0 && l.Failed == 0 && l.Open > 2 }},
	} {
		ask("/load?every=1ms&url=" + url.QueryEscape(c.url))
		until(c.url, c.want)
		ask("/load?every=0s")
	}
	close(held)
	until("once those that are late are answered", func(l *loaded) bool { return l.OK > 2 && l.Open == 0 })
}
