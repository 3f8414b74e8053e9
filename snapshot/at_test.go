package snapshot

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// The state at every moment is the one that was recorded then, from whichever snapshot it is folded.
func TestFolds_at(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "of[a]") // which filepath.Glob takes for a pattern
	h := open(t, dir)
	before := time.Now()
	states := map[uint64]*projection.State{0: nil}
	for i := range 40 {
		h.apply(t, fmt.Sprintf("deployment/default/d%d", i%7), map[bool]string{false: fmt.Sprintf(`{"n":%d}`, i), true: ""}[i%7 == 3 && i > 7 && i%2 == 0])
		s := h.View().State
		states[s.Index()] = s
		if i == 12 || i == 25 {
			if err := h.folds.Save(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if names, err := h.folds.names(); err != nil || len(names) != 2 {
		t.Errorf("snapshots: %v, %v", names, err)
	}
	for index, want := range states {
		if want == nil {
			continue
		}
		for _, m := range []Moment{{Index: index}, {Time: want.At()}} {
			got, err := h.folds.At(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			// Several events can have one time; then it is the last of them.
			if m.Index == 0 && states[got.Index()] != nil && got.At().Equal(want.At()) && got.Index() >= want.Index() {
				want = states[got.Index()]
			}
			if got.Digest() != want.Digest() || got.Index() != want.Index() {
				t.Errorf("%+v: got the state at event %d, %s; want event %d, %s", m, got.Index(), got.Digest(), want.Index(), want.Digest())
			}
		}
	}
	for _, m := range []Moment{{Index: 1000}, {Time: before.Add(-time.Hour)}} {
		if s, err := h.folds.At(t.Context(), m); !errors.Is(err, ErrNoMoment) {
			t.Errorf("%+v: got %v, %v", m, s, err)
		}
	}
	now, err := h.folds.At(t.Context(), Moment{Time: time.Now().Add(time.Hour)})
	if err != nil || now.Digest() != h.View().Digest() {
		t.Errorf("the state now: %v", err)
	}
}

// A moment that is asked for by its time is folded without a look into the snapshots that are later.
func TestFolds_atTimeLeavesLaterOnesUnread(t *testing.T) {
	h := open(t, t.TempDir())
	h.apply(t, "deployment/default/web", web)
	was := h.View().State
	if err := h.folds.Save(t.Context(), was); err != nil {
		t.Fatal(err)
	}
	for !time.Now().After(was.At().Add(time.Millisecond)) { // what comes next is later, by the clock that moments are told by
		runtime.Gosched()
	}
	const many = 3000
	if _, err := h.Record(t.Context(), projection.By{Actor: "test"}, func(*projection.State) (all []projection.Change, err error) {
		for i := range many {
			all = append(all, projection.Change{Kind: events.Declared, Key: fmt.Sprintf("deployment/default/d%d", i), Object: []byte(`{}`)})
		}
		return all, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := h.folds.Save(t.Context(), h.View().State); err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(1, func() {
		got, err := h.folds.At(t.Context(), Moment{Time: was.At()})
		if err != nil || got.Digest() != was.Digest() {
			t.Errorf("got %v", err)
		}
	})
	if allocs > many {
		t.Errorf("it took %v allocations: the later snapshot, of %d objects, was read", allocs, many)
	}
}

// Of many snapshots stay the two newest, and the first of each span of so many events.
func TestFolds_thin(t *testing.T) {
	h := open(t, t.TempDir())
	for _, index := range []uint64{1, 150_000, 250_000, 299_999, 400_000, 450_000, 500_000, 550_000, 600_000} {
		name := filepath.Join(h.folds.Dir, fmt.Sprintf("fold-%020d.snap", index))
		if err := WriteFile(name, name+".tmp", 0o600, func(io.Writer) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.folds.thin(); err != nil {
		t.Fatal(err)
	}
	names, err := h.folds.names()
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, n := range names {
		var index uint64
		if _, err := fmt.Sscanf(filepath.Base(n), "fold-%d.snap", &index); err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprintf(" %d", index)
	}
	if want := " 250000 400000 550000 600000"; got != want {
		t.Errorf("got%s, want%s", got, want)
	}
}
