package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Conflict is a change that lost without having been seen by whoever won.
type Conflict struct {
	Key    string          `json:"key"`
	Event  events.ID       `json:"event"` // by which it is named; the first of a commit or not
	UID    events.ID       `json:"uid"`
	Stamp  events.Stamp    `json:"stamp"`          // of the version that lost
	At     time.Time       `json:"at"`             // by its writer's clock
	Ended  bool            `json:"ended"`          // the object that it belongs to has been deleted
	Open   bool            `json:"open,omitempty"` // what is known of and has not come yet may have replaced it knowingly
	Object json.RawMessage `json:"object"`
}

// ConflictShown is a conflict with what stands against it.
type ConflictShown struct {
	Conflict
	By      *Author         `json:"by,omitempty"`       // who made the change that lost; absent where this host's log does not tell
	Shown   json.RawMessage `json:"shown,omitempty"`    // what the key shows instead; absent: nothing
	ShownBy *Author         `json:"shown_by,omitempty"` // who made that, or the end
	Changes []FieldChange   `json:"changes,omitempty"`  // what reapply would change in what is shown
}

// Author is who made a change, where, when, and why.
type Author struct {
	Event events.ID `json:"event"`
	Index uint64    `json:"index"` // in this host's log
	At    time.Time `json:"at"`    // by its writer's clock
	Node  string    `json:"node"`
	Actor string    `json:"actor"`
	Cause string    `json:"cause,omitempty"`
}

// ConflictEnded is the answer to what is done about a conflict.
type ConflictEnded struct {
	Key     string        `json:"key"`
	Event   events.ID     `json:"event"` // whose change lost
	Commit  string        `json:"commit"`
	Index   uint64        `json:"index"`
	Action  string        `json:"action"` // reapplied, dismissed
	Changes []FieldChange `json:"changes,omitempty"`
}

func (s *Server) conflictRoutes(handle func(string, func(*request) error)) {
	handle("GET /swarm/v1/conflicts", func(q *request) error {
		all := []Conflict{}
		for _, c := range s.Ledger.View().Conflicts() {
			all = append(all, conflictOf(&c))
		}
		return q.json(http.StatusOK, all)
	})
	handle("GET /swarm/v1/conflicts/{event}", s.showConflict)
	handle("POST /swarm/v1/conflicts/{event}/{verb}", s.endConflict)
}

func conflictOf(c *projection.Conflict) Conflict {
	return Conflict{Key: c.Key, Event: c.Stamp.ID, UID: c.UID, Stamp: c.Stamp, At: c.Stamp.Time.Wall(), Ended: c.Ended, Open: c.Open, Object: c.Version.Object}
}

// conflict finds the one that the path names.
func (q *request) conflict(st *projection.State) (projection.Conflict, error) {
	var id events.ID
	text := q.PathValue("event")
	if err := id.UnmarshalText([]byte(text)); err != nil || id.IsZero() {
		return projection.Conflict{}, badRequest("conflict %q: want the event that lost, as psctl conflicts lists it", text)
	}
	for _, c := range st.Conflicts() {
		if c.Stamp.ID == id {
			return c, nil
		}
	}
	return projection.Conflict{}, refused(http.StatusNotFound, "NotFound", "no conflict is of event "+text+": it may have been ended meanwhile; psctl conflicts lists those that there are")
}

// showConflict answers with both sides.
func (s *Server) showConflict(q *request) error {
	st := s.Ledger.View().State
	c, err := q.conflict(st)
	if err != nil {
		return err
	}
	answer := ConflictShown{Conflict: conflictOf(&c)}
	var shownAs events.ID
	if shown, ok := st.Lookup(c.Key); ok {
		answer.Shown, shownAs = shown.Version.Object, shown.Stamp.ID
		answer.Changes = fieldsBetween(c.Key, shown.Version.Object, c.Version.Object)
	}
	if s.Events != nil {
		if answer.By, answer.ShownBy, err = s.authors(q.Context(), &c, shownAs); err != nil {
			return err
		}
	}
	return q.json(http.StatusOK, answer)
}

// authors are who made the change that lost, and what is shown instead, or, where that is zero, the end of the object.
func (s *Server) authors(ctx context.Context, c *projection.Conflict, shown events.ID) (lost, won *Author, err error) {
	look := func(r events.Record) error {
		if r.Inc == 0 || !mentions(r.Payload, c.Key) {
			return nil
		}
		m, err := events.ParseCommit(bytes.Clone(r.Payload))
		if err != nil {
			return err
		}
		for i := range m.Events {
			e := &m.Events[i]
			a := Author{m.ID(i), r.Index + uint64(i), m.Time.Wall(), m.Node, m.Actor, m.Cause}
			switch {
			case e.Key != c.Key:
			case a.Event == c.Stamp.ID:
				lost = &a
			case a.Event == shown, shown.IsZero() && e.Object == nil:
				won = &a
			}
		}
		return nil
	}
	err = s.Events(ctx, 0, look)
	if t := s.tailed(); errors.Is(err, events.ErrTrimmed) && t.First != nil { // what was trimmed cannot be read: what is left may tell
		err = s.Events(ctx, t.First()-1, look)
	}
	if errors.Is(err, events.ErrTrimmed) {
		return lost, won, nil
	}
	return lost, won, err
}

// fieldsBetween is what differs between two versions; nothing where they cannot be read.
func fieldsBetween(key string, was, is json.RawMessage) []FieldChange {
	typ, _, _ := manifest.SplitKey(key)
	a, err1 := manifest.Decode(typ, was)
	b, err2 := manifest.Decode(typ, is)
	if err1 != nil || err2 != nil {
		return nil
	}
	b.SetGeneration(a.GetGeneration()) // which each host counts by itself, as it does when it was made
	b.SetCreationTimestamp(a.GetCreationTimestamp())
	changes, err := differences(a, b)
	if err != nil {
		return nil
	}
	return changes
}

// endConflict declares what lost anew, or what is shown, by somebody who has seen both. Either ends the conflict.
func (s *Server) endConflict(q *request) error {
	verb, done := q.PathValue("verb"), map[string]string{"reapply": "reapplied", "dismiss": "dismissed"}
	if done[verb] == "" {
		return unknownPath(q.URL.Path)
	}
	if err := q.writable(); err != nil {
		return err
	}
	c, err := q.conflict(s.Ledger.View().State)
	if err != nil {
		return err
	}
	if err := q.mayEnd(c.Key); err != nil {
		return err
	}
	decide := func(st *projection.State) (changes []projection.Change, err error) {
		if c, err = q.conflict(st); err != nil {
			return nil, err
		}
		if verb == "reapply" {
			changes, err = s.reapply(q, st, &c)
		}
		if err == nil && changes == nil { // what is shown stays so: said once more, by who has seen what lost
			shown, _ := st.Lookup(c.Key)
			changes = []projection.Change{{Kind: c.Kind, Key: c.Key}}
			if shown.Version != nil {
				changes[0].Kind, changes[0].Object = shown.Kind, shown.Version.Object
			}
		}
		if err == nil {
			changes[0].Saw = append(changes[0].Saw, c.Stamp)
		}
		return changes, err
	}
	var was, is json.RawMessage
	by := q.by(verb + " of the conflict of event " + c.Stamp.ID.String())
	r, err := s.Ledger.Record(q.Context(), by, func(st *projection.State) ([]projection.Change, error) {
		if shown, ok := st.Lookup(c.Key); ok {
			was = shown.Version.Object
		}
		changes, err := decide(st)
		if err == nil {
			is = changes[0].Object
		}
		return changes, err
	})
	if err != nil {
		return err
	}
	q.commits = []events.ID{r.Stamp.ID}
	s.log().Info("recorded", "key", c.Key, "conflict", c.Stamp.ID, "ended", verb, "actor", by.Actor, "cause", by.Cause, "index", r.First)
	answer := ConflictEnded{Key: c.Key, Event: c.Stamp.ID, Commit: r.Stamp.ID.String(), Index: r.State.Index(), Action: done[verb]}
	if was != nil && is != nil {
		answer.Changes = fieldsBetween(c.Key, was, is)
	}
	return q.json(http.StatusOK, answer)
}

// reapply is what it takes that the key shows what lost; nil where it says the same already.
func (s *Server) reapply(q *request, st *projection.State, c *projection.Conflict) ([]projection.Change, error) {
	typ, _, _ := manifest.SplitKey(c.Key)
	if _, known := manifest.ByType(typ); !known {
		return []projection.Change{{Kind: c.Kind, Key: c.Key, Object: c.Version.Object}}, nil
	}
	o, err := manifest.Decode(typ, c.Version.Object)
	if err != nil {
		return nil, err
	}
	manifest.Default(o)
	o, unfit := s.room(st).refit(o)
	d, wrong, err := declare(st, o, s.now())
	wrong = append(append(wrong, unfit...), q.unconfined(o)...)
	if err == nil && len(wrong) > 0 {
		err = invalid(o, wrong)
	}
	if err != nil {
		return nil, err
	}
	return d.changes(), nil
}

// mayEnd checks that the caller may change the object.
func (q *request) mayEnd(key string) error {
	typ, _, _ := manifest.SplitKey(key)
	if _, known := manifest.ByType(typ); known {
		return q.mayItem(key)
	}
	return q.mayPath(need{scope: ScopeAdmin})
}

// warnOfConflicts tells who has declared something that a change of it was lost unseen, and is still to be looked at.
func (q *request) warnOfConflicts(st *projection.State, keys []string) {
	for _, key := range keys {
		for _, c := range st.ConflictsOf(key) {
			text := fmt.Sprintf("%s: a change of it, made %s by who had not seen what is shown, was lost: psctl conflicts show %v", key,
				c.Stamp.Time.Wall().Format(time.RFC3339), c.Stamp.ID)
			q.w.Header().Add("Warning", fmt.Sprintf("299 - %q", plain(text, 300)))
		}
	}
}
