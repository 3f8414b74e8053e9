package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// Answered is what there is to measure of one request. What its client can make up is in none of it but Traceparent.
type Answered struct {
	Method string // "GET"; "other" where it is none of HTTP's usual ones
	Route  string // what has answered it: "/swarm/v1/nodes/{name}/down", "/api/v1/nodes/{name}"; "other" where nothing is served
	Code   int
	Took   time.Duration
	Stream bool      // it went on for as long as its client or its subject did: Took is no word on how fast this server is
	Event  events.ID // the first that it recorded; zero: none
	// Traceparent is of what span the client says that this is a part (https://www.w3.org/TR/trace-context); "": of none.
	Traceparent string
}

// answeredKey is the key of a request's Answered.
type answeredKey struct{}

// observed tells Observe of each request, those that are refused at the door included.
func (s *Server) observed(next http.Handler) http.Handler {
	if s.Observe == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, began := &Answered{Method: "other", Route: "other", Code: http.StatusOK, Traceparent: r.Header.Get("Traceparent")}, time.Now()
		if slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, r.Method) {
			a.Method = r.Method
		}
		defer func() { // also when a stream is broken off, which is a panic
			if a.Stream && s.Streams != nil {
				s.Streams(-1)
			}
			a.Took = time.Since(began)
			s.Observe(*a)
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), answeredKey{}, a)))
	})
}

// answered is what is noted of the request.
func (q *request) answered() *Answered {
	if a, ok := q.Context().Value(answeredKey{}).(*Answered); ok {
		return a
	}
	return &Answered{} // nobody looks at it
}

// recorded notes a commit of the request, by its first event, for who waits until others have it, and for who measures.
func (q *request) recorded(id events.ID) {
	q.commits = []events.ID{id}
	q.answered().Event = id
}

// streams notes that the answer is a stream.
func (q *request) streams() {
	a := q.answered()
	if !a.Stream && q.s.Streams != nil && q.s.Observe != nil {
		q.s.Streams(1)
	}
	a.Stream = true
}

// routeOf is the path of a pattern; those that stand for anything have none.
func routeOf(pattern string) string {
	path := pattern[strings.IndexByte(pattern, ' ')+1:]
	if path == "/" || path == "/api/" || path == "/apis/" {
		return "other"
	}
	return path
}

// route is the target's path, with what names one object left open.
func (t *target) route() string {
	path := "/api/v1"
	if t.group != "" {
		path = "/apis/" + t.group + "/v1"
	}
	if t.namespace != "" {
		path += "/namespaces/{namespace}"
	}
	path += "/" + t.plural
	if t.name.name != "" {
		path += "/{name}"
	}
	switch {
	case t.sub == "":
		return path
	case slices.Contains([]string{"log", "scale", "eviction", "status"}, t.sub):
		return path + "/" + t.sub
	}
	return "other"
}

// noted notes what next, which knows nothing of it, answers.
func noted(route string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := (&request{Request: r}).answered()
		a.Route = route
		next.ServeHTTP(coded{w, a}, r)
	})
}

// coded is an answer whose code is noted.
type coded struct {
	http.ResponseWriter
	a *Answered
}

// WriteHeader notes the code.
func (c coded) WriteHeader(code int) {
	c.a.Code = code
	c.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (c coded) Unwrap() http.ResponseWriter { return c.ResponseWriter }
