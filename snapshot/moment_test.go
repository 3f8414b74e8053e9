package snapshot

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	id := events.ID{Inc: 0x5f3a9c0e11223344, Seq: 42}
	for text, want := range map[string]Moment{
		"120": {Index: 120}, "2h": {Time: now.Add(-2 * time.Hour)}, "0s": {Time: now}, "2026-01-21T11:00:00Z": {Time: now.Add(-time.Hour)},
		"5f3a9c0e11223344-42": {Event: id}, "019b000000000000-5f3a9c0e11223344-42": {Event: id},
	} {
		if got, ok := ParseMoment(text, now); !ok || got.Index != want.Index || got.Event != want.Event || !got.Time.Equal(want.Time) {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "noon", "-2h", "5f3a9c0e11223344-", "5f3a-42", "5f3a9c0e11223344-42x", "1 2"} {
		if got, ok := ParseMoment(text, now); ok {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

// The moment of an event, by its id, is the one by its index: from whatever snapshot of the fold or backup it is folded. An event that the log has
// only as part of a state that was taken over has none.
func TestMoment_byEvent(t *testing.T) {
	h := open(t, t.TempDir())
	p, keys := h.sealedIncrements(t)
	h.changes(t, 1)
	p.turn(t)
	for range 2 {
		h.changes(t, 4)
		if err := h.folds.Save(t.Context(), h.View().State); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Backups.Create(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
	}
	other := open(t, t.TempDir())
	other.apply(t, "service/default/elsewhere", `{"kind":"Service"}`)
	if err := h.Join(t.Context(), other.View().State, "told by another"); err != nil {
		t.Fatal(err)
	}
	h.changes(t, 2)
	p.turn(t)
	folder := Folder{Dir: p.Backups.Dir, Keys: keys}
	tried := 0
	err := h.log.Read(t.Context(), 0, func(r events.Record) error {
		if r.Inc == 0 {
			return nil
		}
		for i := range uint64(r.Count) {
			m := Moment{Event: events.ID{Inc: r.Inc, Seq: r.Seq + i}}
			s, err := h.folds.At(t.Context(), m)
			if err != nil || s.Index() != r.Last() {
				t.Errorf("event %d, by the log: got that of event %d, %v", r.Index+i, s.Index(), err)
			}
			if tried++; r.Index == 1 { // the first backup has it
				continue
			}
			if s, _, err := folder.At(t.Context(), "", m); err != nil || s.Index() != r.Last() {
				t.Errorf("event %d, by the folder: %v", r.Index+i, err)
			}
		}
		return nil
	})
	if err != nil || tried < 11 {
		t.Fatal(tried, err)
	}
	for what, id := range map[string]events.ID{"to come": {Inc: h.log.Incarnation(), Seq: 1 << 40}, "of nobody": {Inc: 7, Seq: 1}, "taken over": {Inc: other.log.Incarnation(), Seq: 1}} {
		if _, err := h.folds.At(t.Context(), Moment{Event: id}); !errors.Is(err, ErrNoMoment) {
			t.Errorf("an event %s: %v", what, err)
		}
		if _, _, err := folder.At(t.Context(), "", Moment{Event: id}); !errors.Is(err, ErrNoMoment) {
			t.Errorf("an event %s, by the folder: %v", what, err)
		}
	}
}

// shortened is a log that begins with an event: what was before it is trimmed off, and nowhere.
type shortened struct {
	Log
	first uint64
}

func (l shortened) First() uint64 { return l.first }

func (l shortened) Read(ctx context.Context, after uint64, fn func(events.Record) error) error {
	if after+1 < l.first {
		return events.ErrTrimmed
	}
	return l.Log.Read(ctx, after, fn)
}

// An event that was given up is in the log, and has its moment: a snapshot that does not cover it may well be of after it.
func TestMoment_byEventThatWasGivenUp(t *testing.T) {
	other, h := open(t, t.TempDir()), open(t, t.TempDir())
	other.changes(t, 3)
	h.changes(t, 2)
	save := func() {
		t.Helper()
		if err := h.folds.Save(t.Context(), h.View().State); err != nil {
			t.Fatal(err)
		}
	}
	save()
	p := h.increments(t)
	p.turn(t) // makes the first backup
	was := map[events.ID]*projection.State{}
	if err := other.log.Read(t.Context(), 0, func(r events.Record) error {
		_, err := h.Admit(t.Context(), [][]byte{bytes.Clone(r.Payload)})
		was[events.ID{Inc: r.Inc, Seq: r.Seq}] = h.View().State
		return err
	}); err != nil {
		t.Fatal(err)
	}
	h.changes(t, 1)
	inc := other.log.Incarnation()
	if err := h.GiveUp(t.Context(), inc, 0, "a fork"); err != nil {
		t.Fatal(err)
	}
	h.changes(t, 1)
	save()
	p.turn(t)
	if _, err := p.Backups.Create(t.Context(), "", false); err != nil { // which does not cover it either
		t.Fatal(err)
	}
	h.changes(t, 1)
	p.turn(t)
	second := open(t, t.TempDir()) // which has its backups, and the newest of all, in the same folder
	q := second.increments(t)
	q.Backups.Dir = p.Backups.Dir
	second.changes(t, 2)
	q.turn(t)
	folder := Folder{Dir: p.Backups.Dir}
	for id, want := range was {
		got, about, err := folder.At(t.Context(), "", Moment{Event: id})
		if err != nil || got.Index() != want.Index() || got.Digest() != want.Digest() || about.Log != p.Of() {
			t.Errorf("event %v, by the folder: %v; want the state at event %d", id, err, want.Index())
		}
	}
	if _, _, err := folder.At(t.Context(), "", Moment{Event: events.ID{Inc: inc, Seq: 4}}); !errors.Is(err, ErrNoMoment) {
		t.Errorf("an event that nobody has recorded, by the folder: %v", err)
	}
	whole := h.folds.Source
	for what, source := range map[string]Log{"the whole log": whole, "what is left of it": shortened{whole, 2}} {
		h.folds.Source = source
		for id, want := range was {
			got, err := h.folds.At(t.Context(), Moment{Event: id})
			if err != nil || got.Index() != want.Index() || got.Digest() != want.Digest() {
				t.Errorf("event %v, by %s: %v; want the state at event %d", id, what, err, want.Index())
			}
		}
		if _, err := h.folds.At(t.Context(), Moment{Event: events.ID{Inc: inc, Seq: 4}}); len(was) != 3 || !errors.Is(err, ErrNoMoment) {
			t.Errorf("an event that nobody has recorded, by %s: %v", what, err)
		}
	}
}
