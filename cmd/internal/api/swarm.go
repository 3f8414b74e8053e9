package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// swarmRoutes are the routes for what Kubernetes has no words for.
func (s *Server) swarmRoutes(handle func(string, func(*request) error)) {
	handle("GET /swarm/v1/state", func(q *request) error {
		if s.Document == nil {
			return notServed("the state")
		}
		v, err := q.view()
		if err != nil {
			return err
		}
		return q.json(http.StatusOK, s.Document(v.State))
	})
	handle("GET /swarm/v1/recovery", func(q *request) error {
		if s.Recovery == nil {
			return notServed("the recovery report")
		}
		return q.json(http.StatusOK, s.Recovery())
	})
	handle("GET /swarm/v1/events", s.events)
	handle("GET /swarm/v1/history/{type}/{key...}", s.history)
	handle("GET /swarm/v1/blame/{type}/{key...}", s.blame)
	handle("GET /swarm/v1/diff", s.diff)
	handle("POST /swarm/v1/undo", s.undo)
	handle("GET /swarm/v1/status", s.status)
	s.conflictRoutes(handle)
	handle("GET /swarm/v1/orphans", s.orphans)
	handle("POST /swarm/v1/orphans/{id}/adopt", func(q *request) error {
		return s.orphan(q, "orphan adopted", func(by projection.By, id string) error { return s.Orphans.Adopt(q.Context(), by, id) })
	})
	handle("POST /swarm/v1/orphans/{id}/remove", func(q *request) error {
		return s.orphan(q, "orphan removed", func(by projection.By, id string) error { return s.Orphans.Remove(q.Context(), by, id) })
	})
}

// events answers with the log, one JSON object a line, from the event after the given index on; with follow, also what
// is appended while the client stays. It reads the log at the pace of the client.
func (s *Server) events(q *request) error {
	if s.Events == nil {
		return notServed("the log")
	}
	var after uint64
	if text := q.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 63); err != nil {
			return badRequest("after %q: want the index of an event", text)
		}
	}
	if end := s.Ledger.View().Index(); after > end {
		return badRequest("after %d: the log ends at %d", after, end)
	}
	follow := truth(q.URL.Query().Get("follow"))
	// Once something has been sent, nothing can be said any more but by breaking off.
	err := s.Events(q.Context(), after, func(events.Record) error { return errFirst })
	if errors.Is(err, events.ErrTrimmed) {
		return refused(http.StatusGone, metav1.StatusReasonGone, err.Error()+": psctl events --since INDEX tells what came later")
	}
	if err != nil && !errors.Is(err, errFirst) {
		return err
	}
	out := q.stream("application/x-ndjson")
	ctx, cancel := q.streaming()
	defer cancel()
	for {
		changed := s.Ledger.View().Changed
		if err := s.sendEvents(ctx, out, &after); err != nil {
			if ctx.Err() == nil {
				s.log().Warn("a reader of the log was cut off", "after", after, "error", err)
				panic(http.ErrAbortHandler) // so that the client does not take it for the end
			}
			return nil
		}
		if !follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// streaming is a context that ends with the request, when streams must end, and when cancel is called.
func (q *request) streaming() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(q.Context())
	if q.stop != nil {
		go func() { // ends with the request
			select {
			case <-q.stop:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

// sendEvents sends the lines of all events after the index, and moves it past them.
func (s *Server) sendEvents(ctx context.Context, out *stream, after *uint64) error {
	var lines []byte
	flush := func() error {
		if len(lines) > 0 && !out.send(lines) {
			return context.Canceled
		}
		lines = lines[:0]
		return nil
	}
	err := s.Events(ctx, *after, func(r events.Record) error {
		from := len(lines)
		var commit *events.Commit
		if c, err := events.ParseCommit(r.Payload); err == nil {
			commit = &c
		}
		lines = events.AppendLines(lines, r, commit)
		if r.Index <= *after { // the client has the first of them
			lines = append(lines[:from], skipLines(lines[from:], *after-r.Index+1)...)
		}
		*after = r.Last()
		if len(lines) < piece {
			return nil
		}
		return flush()
	})
	return cmp.Or(err, flush())
}

// skipLines is what follows the first n lines.
func skipLines(b []byte, n uint64) []byte {
	for i := range b {
		if n == 0 {
			return b[i:]
		}
		if b[i] == '\n' {
			n--
		}
	}
	return nil
}

func (s *Server) orphans(q *request) error {
	if s.Orphans == nil {
		return notServed("the list of orphans")
	}
	all, err := s.Orphans.List(q.Context())
	if err != nil {
		return err
	}
	if all == nil {
		all = []Orphan{}
	}
	return q.json(http.StatusOK, all)
}

// orphan does something with one orphan.
func (s *Server) orphan(q *request, cause string, do func(projection.By, string) error) error {
	if s.Orphans == nil {
		return notServed("the list of orphans")
	}
	if err := q.writable(); err != nil {
		return err
	}
	id := q.PathValue("id")
	if err := do(q.by(cause), id); err != nil {
		return err
	}
	return q.json(http.StatusOK, struct {
		ID string `json:"id"`
	}{id})
}
