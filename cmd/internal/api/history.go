package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// moment reads ?at=, as snapshot.ParseMoment does; false where nothing is said.
func (q *request) moment() (m snapshot.Moment, ok bool, err error) {
	text := q.URL.Query().Get("at")
	if text == "" {
		return m, false, nil
	}
	if m, err = q.s.momentOf(text); err != nil {
		err = badRequest("at %v", err)
	}
	return m, err == nil, err
}

// aheadMost is how far the clock of who asks may be ahead of this host's: a script asks for the state at its own "now".
const aheadMost = time.Minute

// momentOf reads a moment. One that is yet to come has no state: what is now might not be what will be then. What the log has of a time ahead,
// because the clock was set back, can be asked for.
func (s *Server) momentOf(text string) (snapshot.Moment, error) {
	var err error
	now := s.now()
	m, ok := snapshot.ParseMoment(text, now)
	if !ok {
		err = fmt.Errorf("%q: want %s", text, snapshot.MomentForms)
	} else if at := s.Ledger.View().State.At(); m.Time.After(now.Add(aheadMost)) && m.Time.After(at) {
		err = fmt.Errorf("%q: that is yet to come: it is %s on this host", text, now.UTC().Format(time.RFC3339))
	}
	return m, err
}

// view is what the request is answered from: the newest view that is on disk, or, with ?at=, the state at that moment alone.
func (q *request) view() (*projection.View, error) {
	m, past, err := q.moment()
	if err != nil || !past {
		return q.s.Ledger.View().Durable(), err
	}
	if q.s.At == nil {
		return nil, notServed("the state at another time")
	}
	st, err := q.s.At(q.Context(), m)
	if err != nil {
		return nil, q.noMoment(err)
	}
	return &projection.View{State: st}, nil
}

// noMoment is the answer where the log has no such moment, or not any more.
func (q *request) noMoment(err error) error { return noMoment(q.URL.Query().Get("at"), err) }

func noMoment(at string, err error) error {
	switch {
	case errors.Is(err, snapshot.ErrNoMoment):
		return badRequest("at %s: %v", at, err)
	case errors.Is(err, events.ErrTrimmed):
		return trimmed("at "+at, err)
	}
	return err
}

// trimmed is the answer where what is asked for has been trimmed off the log, and is nowhere that the agent could read it.
func trimmed(what string, err error) error {
	if errors.Is(err, events.ErrTrimmed) {
		return refused(http.StatusGone, metav1.StatusReasonGone, what+": "+err.Error())
	}
	return err
}

// Was is one version that an object had, and what it changed.
type Was struct {
	Index   uint64          `json:"index"` // of its event
	At      time.Time       `json:"at"`    // when this host wrote that
	Event   events.ID       `json:"event"`
	Node    string          `json:"node"`
	Actor   string          `json:"actor"`
	Cause   string          `json:"cause,omitempty"`
	Action  string          `json:"action"` // created, configured, unchanged (stamped anew), deleted; lost: what was shown here was newer; not held
	Changes []FieldChange   `json:"changes,omitempty"`
	Object  json.RawMessage `json:"object,omitempty"`
	From    string          `json:"from,omitempty"`     // the host that it was asked of, since it is not in this host's log; Index is 0 then, and At the writer's
	NotHeld []NotHeld       `json:"not_held,omitempty"` // what this host took over as state, and no host that was asked holds
}

// history answers with every version of an object in this host's log, the oldest first, and what each changed beside the one before.
func (s *Server) history(q *request) error {
	all, _, err := s.versions(q, true)
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, all)
}

// versions are those that the path's object had; with lacking, also those that this host took over as state, from others.
func (s *Server) versions(q *request, lacking bool) (all []Was, typ string, err error) {
	if s.Events == nil {
		return nil, "", notServed("the log")
	}
	key := q.PathValue("type") + "/" + q.PathValue("key")
	typ, _, _ = manifest.SplitKey(key)
	all = []Was{}
	ends, of := chainEnds{}, lives{}
	var last json.RawMessage
	var jump []byte // the last one, where nothing has been told of the key since: most need not be read for it, and a state may be large
	add := func(w Was) (err error) {
		if w.Action == "" {
			w.Action, w.Changes, err = step(typ, last, w.Object)
			last = w.Object
		}
		all = append(all, w)
		return err
	}
	err = s.Events(q.Context(), 0, func(r events.Record) error {
		over, cause, err := ends.pass(&r)
		if err != nil {
			return err
		}
		if len(over) > 0 && lacking {
			for _, w := range s.lacked(q.Context(), key, &r, over, cause) {
				if err := add(w); err != nil {
					return err
				}
			}
		}
		if r.Inc == 0 {
			jump = r.Payload
			return nil
		}
		if !mentions(r.Payload, key) {
			return nil
		}
		c, err := events.ParseCommit(r.Payload)
		if err != nil {
			return err
		}
		for i, e := range c.Events {
			if e.Key != key {
				continue
			}
			if jump != nil {
				if of, err = livesAfter(jump, key); err != nil {
					return fmt.Errorf("before event %d: %w", r.Index, err)
				}
				jump, last = nil, of.best().object
			}
			w := Was{Index: r.Index + uint64(i), At: r.At, Event: c.ID(i), Node: c.Node, Actor: c.Actor, Cause: c.Cause, Object: e.Object}
			shown, lost := of.pass(&e, c.Stamp(i))
			if lost {
				w.Action = "lost"
			} else if e.Object == nil { // then what had been declared beside what is ended is shown, if anything
				w.Object = shown
			}
			if err := add(w); err != nil {
				return err
			}
		}
		return nil
	})
	return all, typ, trimmed("history of "+key, err)
}

// step says how one version of an object differs from the one before.
func step(typ string, was, is json.RawMessage) (action string, changes []FieldChange, err error) {
	switch {
	case was == nil && is == nil:
		return "unchanged", nil, nil
	case is == nil:
		return "deleted", nil, nil
	case was == nil:
		return "created", nil, nil
	}
	old, err1 := treeOf(typ, was)
	now, err2 := treeOf(typ, is)
	if err1 != nil || err2 != nil {
		return "configured", nil, nil // by another version, which this one cannot read
	}
	var d difference
	d.values("", old, now)
	if d.err != nil || len(d.changes) > 0 {
		return "configured", d.changes, d.err
	}
	return "unchanged", nil, nil
}

// mentions reports whether a commit may be about a key: to parse only those is what makes a history quick.
func mentions(payload []byte, key string) bool {
	return bytes.Contains(payload, []byte(`"key":"`+key+`"`))
}
