package api

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
	"github.com/podman-swarm/podman-swarm/projection"
)

// asked is what a client wants to be told of the log.
type asked struct {
	after     uint64    // the index of the last event that it has, or does not want
	until     *uint64   // of the last one that it wants; nil: all
	untilAt   time.Time // in time to come, the last moment of which it wants to be told; zero: no end
	filter    tail.Filter
	follow    bool
	sse       bool // as server-sent events
	cloud     bool // as CloudEvents
	summary   bool // with each event in words what happened
	bookmarks bool
}

// reached reports whether the client has all that it wants.
func (a *asked) reached() bool { return a.until != nil && a.after >= *a.until }

// query reads a request's parameters and keeps what is wrong with them, to say all of it at once.
type query struct {
	q     *request
	wrong []string
}

func (y *query) mistake(name, value, want string) {
	y.wrong = append(y.wrong, fmt.Sprintf("%s %q: want %s", name, value, want))
}

// askOf reads the request. What is wrong with it is one error.
func (s *Server) askOf(q *request, t *tail.Tail) (a asked, err error) {
	y := &query{q: q}
	y.known("after", "since", "until", "kind", "key", "node", "actor", "namespace", "follow", "format", "summary", "bookmarks")
	a.follow, a.bookmarks, a.summary = y.truth("follow"), y.truth("bookmarks"), y.truth("summary")
	a.sse = strings.Contains(q.Header.Get("Accept"), "text/event-stream")
	switch form := q.URL.Query().Get("format"); form {
	case "cloudevents":
		a.cloud = true
	case "", "json":
	default:
		y.mistake("format", form, "json or cloudevents")
	}
	if a.summary && a.cloud {
		y.wrong = append(y.wrong, "summary and format=cloudevents: a CloudEvent has none; leave one of them out")
	}
	a.filter = y.filter()
	position := y.position()
	since, sinceAt := y.moment("since", s.now())
	until, untilAt := y.moment("until", s.now())
	switch {
	case q.Header.Get("Last-Event-ID") != "": // it says what has come since the client asked the first time
		since, sinceAt = nil, time.Time{}
	case position != nil && (since != nil || !sinceAt.IsZero()):
		y.wrong = append(y.wrong, "after and since: want one of them")
	}
	if len(y.wrong) > 0 {
		return a, badRequest("%s", strings.Join(y.wrong, "; "))
	}
	switch {
	case since != nil:
		position = since
	case !sinceAt.IsZero():
		if a.after, err = t.Since(q.Context(), sinceAt); err != nil {
			return a, err
		}
		position = &tail.Position{Index: a.after}
	case position == nil:
		position = &tail.Position{}
	}
	a.after = position.Index
	switch {
	case until != nil:
		a.until = &until.Index
	case !untilAt.IsZero() && !untilAt.Before(s.now()):
		a.untilAt = untilAt
	case !untilAt.IsZero():
		last, err := t.Since(q.Context(), untilAt.Add(1))
		if err != nil {
			return a, err
		}
		a.until = &last
	}
	return a, t.Check(q.Context(), *position)
}

// known refuses parameters that there are not: what they were to leave out would be told.
func (y *query) known(names ...string) {
	for _, name := range slices.Sorted(maps.Keys(y.q.URL.Query())) {
		if !slices.Contains(names, name) {
			y.wrong = append(y.wrong, fmt.Sprintf("there is no parameter %q: there are %s", name, strings.Join(names, ", ")))
		}
	}
}

func (y *query) truth(name string) bool {
	text := y.q.URL.Query().Get(name)
	if text == "" {
		return false
	}
	yes, err := strconv.ParseBool(text)
	if err != nil {
		y.mistake(name, text, "true or false")
	}
	return yes
}

// position reads where the client goes on; nil: it does not say.
func (y *query) position() *tail.Position {
	name, text := "Last-Event-ID", y.q.Header.Get("Last-Event-ID")
	if text == "" {
		if name, text = "after", y.q.URL.Query().Get("after"); text == "" {
			return nil
		}
	}
	p, err := tail.ParsePosition(text)
	if err != nil {
		y.wrong = append(y.wrong, name+" "+err.Error())
	}
	return &p
}

// moment reads a position, a time, or how long ago.
func (y *query) moment(name string, now time.Time) (*tail.Position, time.Time) {
	text := y.q.URL.Query().Get(name)
	if text == "" {
		return nil, time.Time{}
	}
	if p, err := tail.ParsePosition(text); err == nil {
		return &p, time.Time{}
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return nil, at
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return nil, now.Add(-d)
	}
	y.mistake(name, text, "the index of an event like 120, a time like 2026-01-21T12:00:00Z, or how long ago, like 2h")
	return nil, time.Time{}
}

// filter reads which events the client wants. Each parameter may be given several times, or several values with commas.
func (y *query) filter() (f tail.Filter) {
	kinds := []string{}
	for _, k := range projection.Kinds() {
		kinds = append(kinds, string(k))
	}
	for _, k := range y.list("kind") {
		if !slices.Contains(kinds, k) {
			y.mistake("kind", k, strings.Join(kinds, ", ")+" (a Deployment is key=deployment)")
		}
		f.Kinds = append(f.Kinds, k)
	}
	for _, text := range y.list("key") {
		k, err := tail.ParseKey(text)
		if err != nil {
			y.wrong = append(y.wrong, "key "+err.Error())
		}
		f.Keys = append(f.Keys, k)
	}
	f.Nodes, f.Actors, f.Namespaces = y.list("node"), y.list("actor"), y.list("namespace")
	return f
}

func (y *query) list(name string) (all []string) {
	for _, value := range y.q.URL.Query()[name] {
		for one := range strings.SplitSeq(value, ",") {
			if one = strings.TrimSpace(one); one == "" {
				y.mistake(name, value, "something, or leave it out")
			}
			all = append(all, one)
		}
	}
	return all
}
