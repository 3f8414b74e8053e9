package api

import (
	"net/http"

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
	t := s.tailed()
	handle("GET /swarm/v1/events", func(q *request) error { return s.events(q, t) })
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
