package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// Undone is what came of taking events back, or, after a dry run, what would come of it.
type Undone struct {
	Commit     string   `json:"commit,omitempty"` // id of its first event; "" where nothing was recorded
	First      uint64   `json:"first,omitempty"`  // index of its first event
	Last       uint64   `json:"last,omitempty"`
	Results    []Result `json:"results"`
	Containers Effect   `json:"containers"`
}

// taken is one event that is to be taken back.
type taken struct {
	index uint64
	events.Event
	typ    string
	before json.RawMessage // what its key showed on this host before it
}

var errFirst = errors.New("the first is enough")

// undo takes back what the given events declared, each with what has come since left as it is. All are taken back in one commit, or none.
func (s *Server) undo(q *request) error {
	if s.Events == nil || s.At == nil {
		return notServed("undo")
	}
	all, err := s.takenOf(q)
	if err != nil {
		return err
	}
	done := &Undone{Results: []Result{}}
	decide := func(st *projection.State) ([]projection.Change, error) {
		changes, err := s.takeBack(st, all)
		if err != nil {
			return nil, err
		}
		p, err := s.planOf(st, changes)
		if err != nil {
			return nil, err
		}
		done.Results, done.Containers = p.Results, p.Containers
		return changes, nil
	}
	dry, err := q.dry()
	if err != nil {
		return err
	}
	if dry {
		if _, err := decide(s.Ledger.View().State); err != nil {
			return err
		}
		return q.json(http.StatusOK, done)
	}
	if err := q.writable(); err != nil {
		return err
	}
	var keys []string
	for _, t := range all {
		keys = append(keys, t.Key)
	}
	// All of it within the ledger: whether a namespace is empty is not a question of those keys alone.
	by := q.by("undo")
	r, err := s.Ledger.Record(q.Context(), by, decide)
	if err == nil && r.Stamp.IsZero() {
		r, err = s.unrecorded(r.State, decide)
	}
	if err != nil {
		return err
	}
	if r.Stamp.IsZero() {
		q.unchanged(r.State, keys)
	} else {
		q.recorded(r.Stamp.ID)
		s.log().Info("recorded", "key", keys[0], "keys", len(keys), "actor", by.Actor, "cause", by.Cause, "index", r.First)
		done.Commit, done.First, done.Last = r.Stamp.ID.String(), r.First, r.First+uint64(len(done.Results))-1
	}
	return q.json(http.StatusOK, done)
}

// takenOf reads the events that the request names, the newest first. The error tells of all that cannot be taken back.
func (s *Server) takenOf(q *request) ([]taken, error) {
	var wrong []string
	all := map[uint64]taken{}
	for _, text := range q.URL.Query()["event"] {
		m, ok := snapshot.ParseMoment(text, s.now())
		if !ok || m.Index == 0 && m.Event.IsZero() {
			return nil, badRequest("event %q: want its index, as psctl events shows it, or its id", text)
		}
		var found []taken
		index, why, err := s.eventAt(q.Context(), m)
		if err == nil && why == "" {
			found, why, err = s.takenAt(q.Context(), index, truth(q.URL.Query().Get("commit")))
		}
		switch {
		case err != nil:
			return nil, err
		case why != "":
			wrong = append(wrong, fmt.Sprintf("event %s: %s", text, why))
		}
		for _, t := range found {
			all[t.index] = t
		}
	}
	if len(wrong) > 0 {
		return nil, refused(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, strings.Join(wrong, "; "))
	}
	if len(all) == 0 {
		return nil, badRequest("which event is to be taken back? ?event= gives its index or id")
	}
	return slices.SortedFunc(maps.Values(all), func(a, b taken) int { return cmp.Compare(b.index, a.index) }), nil
}

// eventAt is the index of an event in the log of this host, where it has another than in that of any other; why says why it has none.
func (s *Server) eventAt(ctx context.Context, m snapshot.Moment) (index uint64, why string, err error) {
	if m.Index > 0 {
		return m.Index, "", nil
	}
	st, err := s.At(ctx, m)
	if errors.Is(err, snapshot.ErrNoMoment) {
		return 0, "the log of this host does not hold it", nil
	}
	if err != nil {
		return 0, "", trimmed("event "+m.Event.String(), err)
	}
	err = s.Events(ctx, st.Index()-1, func(r events.Record) error {
		index = r.Index + m.Event.Seq - r.Seq
		return errFirst
	})
	if errors.Is(err, errFirst) {
		err = nil
	}
	return index, "", trimmed("event "+m.Event.String(), err)
}

// takenAt is the event of an index, or all of its commit; why says why it cannot be taken back.
func (s *Server) takenAt(ctx context.Context, index uint64, commit bool) (all []taken, why string, err error) {
	if end := s.Ledger.View().OnDisk().Index(); index > end {
		return nil, fmt.Sprintf("the log ends at event %d", end), nil
	}
	var rec events.Record
	err = s.Events(ctx, index-1, func(r events.Record) error {
		rec = r
		rec.Payload = bytes.Clone(r.Payload)
		return errFirst
	})
	if errors.Is(err, events.ErrTrimmed) {
		return nil, "", trimmed(fmt.Sprintf("event %d", index), err)
	}
	if !errors.Is(err, errFirst) {
		return nil, "the log does not hold it", err
	}
	if rec.Inc == 0 {
		return nil, fmt.Sprintf("it is a state that was taken over, and no change of anybody's; psctl diff %d.. shows what has changed since", index), nil
	}
	c, err := events.ParseCommit(rec.Payload)
	if err != nil {
		return nil, "", err
	}
	before := projection.NewState()
	if rec.Index > 1 {
		if before, err = s.At(ctx, snapshot.Moment{Index: rec.Index - 1}); err != nil {
			return nil, "", trimmed(fmt.Sprintf("what was before event %d", index), err)
		}
	}
	for i, e := range c.Events {
		t := taken{index: rec.Index + uint64(i), Event: e}
		if !commit && t.index != index {
			continue
		}
		t.typ, _, _ = manifest.SplitKey(e.Key)
		if _, known := manifest.ByType(t.typ); !known || e.Kind != events.Declared {
			if commit && len(c.Events) > 1 {
				continue
			}
			if id, ok := strings.CutPrefix(e.Key, projection.RestoreType+"/"); ok {
				return nil, "it is of a restore, and psctl undo " + id + " takes back all of that", nil
			}
			return nil, fmt.Sprintf("%s was %s: only what people declare of deployments, services, ingresses, endpoints, config maps, secrets and namespaces can be taken back", e.Key, e.Kind), nil
		}
		if o, ok := before.Lookup(e.Key); ok {
			t.before = o.Version.Object
		}
		all = append(all, t)
	}
	return all, "", nil
}

// takeBack is what taking the events back, the newest first, comes to upon a state. The error tells of all that cannot be taken back
// there, since somebody has changed the same since.
func (s *Server) takeBack(st *projection.State, all []taken) ([]projection.Change, error) {
	now := map[string]json.RawMessage{}
	var wrong []string
	for _, t := range all {
		if _, ok := now[t.Key]; !ok {
			o, _ := st.Lookup(t.Key)
			now[t.Key] = nil
			if o.Version != nil {
				now[t.Key] = o.Version.Object
			}
		}
		then, why, err := t.inverse(now[t.Key])
		if err != nil {
			return nil, err
		}
		if why != "" {
			wrong = append(wrong, fmt.Sprintf("event %d: %s %s", t.index, t.Key, why))
		}
		now[t.Key] = then
	}
	var changes []projection.Change
	room := s.room(st)
	for key, then := range now {
		if o, ok := st.Lookup(key); ok && !bytes.Equal(then, o.Version.Object) {
			room.leave(key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		shown, there := st.Lookup(key)
		typ, _, name := manifest.SplitKey(key)
		switch {
		case now[key] == nil && !there, there && bytes.Equal(now[key], shown.Version.Object):
		case now[key] == nil:
			if typ == "namespace" {
				for o := range inNamespace(st, name) {
					if v, ok := now[o.Key]; !ok || v != nil {
						wrong = append(wrong, key+" is not empty, and would end: psctl delete does that")
						break
					}
				}
			}
			changes = append(changes, projection.Change{Kind: events.Declared, Key: key})
		default:
			o, err := manifest.Decode(typ, now[key])
			if err != nil {
				return nil, err
			}
			manifest.Default(o)
			o, unfit := room.refit(o)
			d, mistakes, err := declare(st, o, s.now())
			if err != nil {
				return nil, err
			}
			if mistakes = append(mistakes, unfit...); len(mistakes) > 0 {
				wrong = append(wrong, key+" would not be valid: "+mistakes.ToAggregate().Error())
				continue
			}
			changes = append(changes, d.changes()...)
		}
	}
	if len(wrong) > 0 {
		return nil, refused(http.StatusConflict, metav1.StatusReasonConflict, "nothing is taken back: "+strings.Join(wrong, "; "))
	}
	return changes, nil
}

// inverse is what an object that is now as given becomes when the event is taken back; why says why it cannot be.
func (t *taken) inverse(now json.RawMessage) (then json.RawMessage, why string, err error) {
	var before, after, is object // nil: it is not there
	for _, o := range []struct {
		raw json.RawMessage
		to  *object
	}{{t.before, &before}, {t.Object, &after}, {now, &is}} {
		if o.raw == nil {
			continue
		}
		if *o.to, err = manifest.Decode(t.typ, o.raw); err != nil {
			return now, "", err
		}
	}
	by, since, still, err := t.differ(before, after, is)
	switch {
	case err != nil || (before == nil) == (is == nil) && len(still) == 0:
		return now, "", err // it has been taken back already
	case after == nil && is != nil:
		return now, "was deleted by it, and has been made anew since: delete that first", nil
	case after == nil:
		return t.before, "", nil
	case is == nil:
		return now, "has been deleted since", nil
	case before == nil && len(since) > 0:
		return now, "was made by it, and has been changed since (" + fieldNames(since) + "): take that back first, or delete it", nil
	case before == nil:
		return nil, "", nil
	}
	// What is again as it was before the event is no hindrance.
	both := slices.DeleteFunc(since, func(c FieldChange) bool { return !among(c.Field, by) || !among(c.Field, still) })
	if len(both) > 0 {
		return now, "has been changed since where it changed it (" + fieldNames(both) + "): take that back first", nil
	}
	return t.patched(after, before, is)
}

// differ is what the event changed, what has changed since, and what is otherwise than before it; nothing of what is not there.
func (t *taken) differ(before, after, is object) (by, since, still []FieldChange, err error) {
	for _, d := range []struct {
		from, to object
		all      *[]FieldChange
	}{{before, after, &by}, {after, is, &since}, {before, is, &still}} {
		if d.from == nil || d.to == nil {
			continue
		}
		if *d.all, err = differences(d.from, d.to); err != nil {
			return nil, nil, nil, err
		}
	}
	return by, since, still, nil
}

// among reports whether one of the changes is of the field, of what holds it, or of what is in it.
func among(field string, all []FieldChange) bool {
	return slices.ContainsFunc(all, func(c FieldChange) bool { return overlap(field, c.Field) })
}

// patched is now, with what differs between from and to as to has it.
func (t *taken) patched(from, to, now object) (then json.RawMessage, why string, err error) {
	var raw [3][]byte
	for i, o := range []object{from, to, now} {
		manifest.Default(o)
		if raw[i], err = json.Marshal(o); err != nil {
			return nil, "", err
		}
	}
	m, _ := manifest.ByType(t.typ)
	patch, err := strategicpatch.CreateTwoWayMergePatch(raw[0], raw[1], m.New())
	if err != nil {
		return nil, "", err
	}
	then, err = strategicpatch.StrategicMergePatch(raw[2], patch, m.New())
	return then, "", err
}

// overlap reports whether one of two fields is the other, or within it. Items of a list that have no name are the list.
func overlap(a, b string) bool {
	a, b = ofList(a), ofList(b)
	within := func(a, b string) bool { return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(a, b+"[") }
	return within(a, b) || within(b, a)
}

func ofList(field string) string {
	for i := range len(field) - 1 {
		if field[i] == '[' && field[i+1] >= '0' && field[i+1] <= '9' {
			if end := strings.IndexByte(field[i:], ']'); end > 0 {
				if _, err := strconv.Atoi(field[i+1 : i+end]); err == nil {
					return field[:i]
				}
			}
		}
	}
	return field
}

func fieldNames(all []FieldChange) string {
	var names []string
	for _, c := range all {
		names = append(names, c.Field)
	}
	return strings.Join(names, ", ")
}
