package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// pod is a replica, wherever it runs.
type pod struct{ deployment, name string } // uid of the Deployment; the pod's name

// container is a running container of a replica.
type container struct {
	ID     string `json:"Id"`
	Labels map[string]string
	Ports  []struct {
		Host      string `json:"host_ip"`
		Port      uint16 `json:"host_port"`
		Container uint16 `json:"container_port"`
	}
}

func (c *container) pod() pod {
	return pod{c.Labels["io.podman-swarm.deployment"], c.Labels["io.podman-swarm.pod"]}
}

// podmanClient asks the Podman service of a host.
func podmanClient(h *street.Host) *http.Client {
	socket := strings.TrimPrefix(h.Podman.Socket(), "unix://")
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
}

// running are the containers that run on a host for some Deployment.
func running(ctx context.Context, client *http.Client) ([]container, error) {
	b, err := trial.Do(ctx, client, http.MethodGet, "http://podman/v4.0.0/libpod/containers/json", "")
	if err != nil {
		return nil, err
	}
	var all, ours []container
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("read the list of containers: %w", err)
	}
	for _, c := range all {
		if c.pod().name != "" {
			ours = append(ours, c)
		}
	}
	return ours, nil
}

// watch looks all the time at what runs where, and notes moves and what runs twice.
type watch struct {
	hosts      []*street.Host
	clients    []*http.Client
	reschedule time.Duration
	standing   string // Deployments whose names begin so never change: a replica of theirs that runs elsewhere has moved
	report     *report

	mu     sync.Mutex
	at     map[pod]int // host on which it was last seen to run first
	quiet  [][]span    // for each host, when nobody could hear it
	healed time.Time   // since when all hosts hear each other; zero: they do not
	twice  map[pod]*span
	past   []time.Duration // for how long replicas ran twice, counted from the heal
	moves  int
}

// span is a time; until is zero while it lasts.
type span struct{ from, until time.Time }

func (t *trying) newWatch() *watch {
	w := &watch{hosts: t.street.Hosts, reschedule: t.reschedule, standing: standing, report: &t.report,
		at: map[pod]int{}, twice: map[pod]*span{}, quiet: make([][]span, len(t.street.Hosts)), healed: time.Now()}
	for _, h := range w.hosts {
		w.clients = append(w.clients, podmanClient(h))
	}
	return w
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	for ctx.Err() == nil {
		seen := map[pod][]int{}
		var deaf []int // hosts of which it cannot be told what runs
		for n := range w.hosts {
			all, err := running(ctx, w.clients[n])
			if err != nil {
				deaf = append(deaf, n)
			}
			for _, c := range all {
				seen[c.pod()] = append(seen[c.pod()], n)
			}
		}
		if ctx.Err() == nil {
			w.note(seen, deaf, time.Now())
		}
		pause(ctx, 300*time.Millisecond)
	}
	for _, c := range w.clients {
		c.CloseIdleConnections()
	}
}

// note takes in one look.
func (w *watch) note(seen map[pod][]int, deaf []int, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, hosts := range seen {
		if was, known := w.at[p]; !known {
			w.at[p] = hosts[0]
		} else if !contains(hosts, was) {
			w.moved(p, was, hosts[0], now)
			w.at[p] = hosts[0]
		} else if len(hosts) > 1 && !contains(deaf, was) {
			// Both run it: it will be seen to have moved once the first lets it go.
			if w.twice[p] == nil {
				w.twice[p] = &span{from: now}
			}
		}
	}
	for p, s := range w.twice {
		if len(seen[p]) < 2 {
			w.past = append(w.past, w.overlap(s.from, now))
			delete(w.twice, p)
		}
	}
}

// overlap is for how long something ran twice while the hosts heard each other: what they could not know does not
// count.
func (w *watch) overlap(from, until time.Time) time.Duration {
	if w.healed.IsZero() {
		return 0
	}
	if w.healed.After(from) {
		from = w.healed
	}
	return max(0, until.Sub(from))
}

// moved notes that a replica runs elsewhere, which is needless unless its host had been silent.
func (w *watch) moved(p pod, from, to int, now time.Time) {
	if !strings.HasPrefix(p.name, w.standing) {
		return
	}
	w.moves++
	// It may have been heard last a beat before it was cut off, 2 s; and is heard again once it is connected to: a dial that is under way when the cut
	// is healed is given up after a second, the next begins a second later, and then hands are shaken.
	const slack = 4500 * time.Millisecond
	for _, s := range w.quiet[from] {
		end := s.until
		if end.IsZero() {
			end = now
		}
		if now.Sub(end) < time.Minute && end.Sub(s.from) >= w.reschedule-slack {
			return
		}
	}
	w.report.add(needless, "%s from %s to %s at %s: the host was not silent for %v", p.name, w.hosts[from].Name, w.hosts[to].Name,
		now.Format(time.TimeOnly), w.reschedule)
}

// silent notes that nobody can hear a host from now on, or that all can.
func (w *watch) silent(host int, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if is {
		w.quiet[host] = append(w.quiet[host], span{from: time.Now()})
	} else if n := len(w.quiet[host]); n > 0 {
		w.quiet[host][n-1].until = time.Now()
	}
}

// whole notes that all hosts hear each other from now on, or that they do not.
func (w *watch) whole(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.healed = time.Time{}
	if is {
		w.healed = time.Now()
	}
}

// duplicates are how many replicas ran twice, and the longest time that one did while the hosts heard each other.
func (w *watch) duplicates() (n int, longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.past {
		longest = max(longest, d)
	}
	for _, s := range w.twice {
		longest = max(longest, w.overlap(s.from, time.Now()))
	}
	return len(w.past) + len(w.twice), longest
}

func (w *watch) movesSoFar() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moves
}

func contains(all []int, n int) bool {
	for _, a := range all {
		if a == n {
			return true
		}
	}
	return false
}
