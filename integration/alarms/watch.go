package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// want is an alert that is to fire, and the labels that it is to have then.
type want struct {
	alert  string
	labels map[string]string
}

func (w want) is(a *alert) bool {
	if a.Labels["alertname"] != w.alert {
		return false
	}
	for name, value := range w.labels {
		if is := a.Labels[name] == value; !is && (name != either || a.Labels["instance"] != value && a.Labels["peer"] != value) {
			return false
		}
	}
	return true
}

// either stands for the label that says of whom something is said, or who says it.
const either = "instance or peer"

// watch notes which alerts fire, all the time: some do so for moments only.
type watch struct {
	p *prometheus

	mu  sync.Mutex
	all map[string]*seen // by name and labels
	at  time.Time        // of the last look
}

// seen is when an alert fired last.
type seen struct {
	alert       alert // as it was at first
	since, last time.Time
	over        bool
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	for ctx.Err() == nil {
		if firing, err := w.p.firing(ctx); err == nil {
			w.note(firing, time.Now())
		}
		pause(ctx, 200*time.Millisecond)
	}
}

func (w *watch) note(firing []alert, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = now
	is := map[string]bool{}
	for _, a := range firing {
		key := fmt.Sprint(a.Labels) // in order of their names
		is[key] = true
		s := w.all[key]
		if s == nil || s.over {
			s = &seen{alert: a, since: now}
			w.all[key] = s
		}
		s.last = now
	}
	for key, s := range w.all {
		s.over = s.over || !is[key]
	}
}

// since is the first alert that is wanted and has fired since a time; nil: none has.
func (w *watch) since(wanted want, t time.Time) (first *seen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		if wanted.is(&s.alert) && !s.since.Before(t) && (first == nil || s.since.Before(first.since)) {
			c := *s
			first = &c
		}
	}
	return first
}

// fires is when the last look was, and whether an alert that is wanted fired then.
func (w *watch) fires(wanted want) (at time.Time, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		is = is || wanted.is(&s.alert) && !s.over
	}
	return w.at, is
}

// others are the alerts that have fired since a time, and those that fire now, which nobody wants.
func (w *watch) others(t time.Time, wanted []want) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		expected := slices.ContainsFunc(wanted, func(w want) bool { return w.is(&s.alert) })
		if !expected && (!s.over || s.last.After(t)) {
			all = append(all, s.alert.String())
		}
	}
	slices.Sort(all)
	return all
}

// String names the alert, and whom it is about.
func (a *alert) String() string {
	text := a.Labels["alertname"]
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		if name == "instance" || name == "peer" {
			text += fmt.Sprintf(" %s=%s", name, a.Labels[name])
		}
	}
	return text
}

// lacks says what a person who is woken by the alert is not told; "": nothing.
func (a *alert) lacks() string {
	says := a.Annotations["summary"] + a.Annotations["description"]
	switch {
	case a.Annotations["summary"] == "" || a.Annotations["description"] == "" || a.Annotations["runbook_url"] == "" || a.Labels["severity"] == "":
		return fmt.Sprintf("wants a severity, a summary, a description and a runbook: %v %v", a.Labels, a.Annotations)
	case regexp.MustCompile(`\d{4,}d`).MatchString(says): // of what never was
		return "what it says makes no sense: " + says
	case strings.Contains(says, "{{") || strings.Contains(says, "<no value>") || strings.Contains(says, "error expanding") || strings.Contains(says, "%!"):
		return "what it says cannot be read: " + says
	}
	for _, name := range []string{"instance", "peer"} {
		if a.Labels[name] != "" && !strings.Contains(a.Annotations["summary"], a.Labels[name]) {
			return fmt.Sprintf("its summary does not name the %s, %s: %s", name, a.Labels[name], a.Annotations["summary"])
		}
	}
	if a.Labels["job"] != job {
		return fmt.Sprintf("it does not say which cluster it is about: %v", a.Labels)
	}
	return ""
}
