package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// load asks a URL again and again and counts what comes of it: a client that runs where other containers do, with their
// resolver and their network.
type load struct {
	mu  sync.Mutex
	now *loaded
	end context.CancelFunc
}

// loaded is what came of a load.
type loaded struct {
	mu     sync.Mutex
	OK     int            `json:"ok"`
	Failed int            `json:"failed"`
	Open   int            `json:"open"`   // neither yet
	By     map[string]int `json:"by"`     // how many answers each host gave
	Errors map[string]int `json:"errors"` // how often each was met
}

func nothingYet() *loaded { return &loaded{By: map[string]int{}, Errors: map[string]int{}} }

// start begins a load in place of the one that goes on. Each request has a connection and a name lookup of its own; a slow
// one does not hold the next one up.
func (l *load) start(w http.ResponseWriter, r *http.Request) {
	every, err := time.ParseDuration(r.FormValue("every"))
	if err != nil || every < 0 {
		http.Error(w, fmt.Sprintf("every: want a duration: %q", r.FormValue("every")), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
	if every == 0 {
		return // what came of it is still told
	}
	var ctx context.Context
	ctx, l.end = context.WithCancel(context.WithoutCancel(r.Context()))
	l.now = nothingYet()
	go l.now.run(ctx, r.FormValue("url"), every) // ends with the next, or with the program
}

func (l *loaded) run(ctx context.Context, url string, every time.Duration) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		l.Open++
		l.mu.Unlock()
		go func() {
			host, err := ask(context.WithoutCancel(ctx), client, url) // one under way is counted, too
			l.mu.Lock()
			defer l.mu.Unlock()
			l.Open--
			if err != nil {
				l.Failed++
				l.Errors[err.Error()]++
				return
			}
			l.OK++
			l.By[host]++
		}()
	}
}

// ask gives the host that answered.
func ask(ctx context.Context, client *http.Client, url string) (host string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", answer.Status, strings.TrimSpace(line))
	}
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "host ")), nil
}

// tell says what has come of the load so far.
func (l *load) tell(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	now := l.now
	l.mu.Unlock()
	now.mu.Lock()
	defer now.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(now); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
