package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// report is what was wrong, a line for each, and the times that it took to agree.
type report struct {
	mu     sync.Mutex
	wrong  []finding
	agreed []time.Duration
}

// finding is one thing that is not as it must be.
type finding struct{ what, line string }

// The kinds of finding.
const (
	lost        = "lost"          // acknowledged, and neither there nor superseded nor reported
	resurrected = "resurrected"   // deleted, and there
	needless    = "needless move" // of a replica whose host was not silent for long enough
	wrong       = "wrong"         // all else
)

func (r *report) add(what, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, finding{what, fmt.Sprintf(format, args...)})
}

func (r *report) count(what string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.wrong {
		if f.what == what {
			n++
		}
	}
	return n
}

func (r *report) clean() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.wrong) == 0
}

func (r *report) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, f := range r.wrong {
		all = append(all, f.what+": "+f.line)
	}
	return all
}

// last is the time that the last agreement took.
func (r *report) last() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.agreed) == 0 {
		return 0
	}
	return r.agreed[len(r.agreed)-1]
}

// percentile is of the times to agree; 0 when there are none.
func (r *report) percentile(p float64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.agreed) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(r.agreed))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// summary is the figures of all rounds.
func (t *trying) summary(took time.Duration) string {
	duplicates, longest := 0, time.Duration(0)
	if t.watch != nil {
		duplicates, longest = t.watch.duplicates()
	}
	return fmt.Sprintf("rounds %d  acknowledged %d  conflicts %d  lost %d  resurrected %d  needless moves %d  wrong %d  moves %d  "+
		"duplicates %d  longest overlap %.1fs  agree p50/p99 %.1f/%.1fs  seed %d  seconds %.0f",
		t.done, t.acknowledged(), t.conflicts, t.report.count(lost), t.report.count(resurrected), t.report.count(needless),
		t.report.count(wrong), t.moves(), duplicates, longest.Seconds(),
		t.report.percentile(0.5).Seconds(), t.report.percentile(0.99).Seconds(), t.seed, took.Seconds())
}
