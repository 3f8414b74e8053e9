package snapshot

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// files are backups made at these times.
func files(times ...string) (all []BackupFile) {
	for _, t := range times {
		f, ok := parseBackupName("state-backup-" + t + ".json")
		if !ok {
			panic(t)
		}
		all = append(all, f)
	}
	return all
}

func TestKeep_plan(t *testing.T) {
	for name, c := range map[string]struct {
		keep Keep
		of   []BackupFile
		want string // for each, the oldest first: why it stays, or -
	}{
		"nothing set": {Keep{}, files("20260101-000000", "20260101-000001"), "all are kept; all are kept"},
		"the last two": {Keep{Last: 2}, files("20260101-000000", "20260101-000001", "20260101-000002"),
			"-; last; last"},
		"the last of each hour": {Keep{Hourly: 2}, files("20260101-100000", "20260101-110000", "20260101-115900", "20260101-120000"),
			"-; -; hourly; hourly"},
		"one for several rules": {Keep{Hourly: 1, Daily: 2, Monthly: 1}, files("20251231-230000", "20260101-100000", "20260101-110000"),
			"daily; -; hourly, daily, monthly"},
		// As restic does: where there are fewer than a rule would keep, the oldest stays.
		"the oldest, where a rule has room": {Keep{Daily: 3}, files("20260101-010000", "20260101-020000", "20260101-030000"),
			"oldest, for daily; -; daily"},
		"of all days": {Keep{Daily: -1}, files("20250101-010000", "20250601-010000", "20250601-020000", "20260101-010000", "20260101-020000"),
			"daily; -; daily; -; daily"},
		"all": {Keep{Last: -1}, files("20260101-000000", "20260101-000001"), "last; last"},
		"weeks are those of ISO 8601": {Keep{Weekly: 2}, files("20251227-000000", "20251229-000000", "20260104-000000", "20260105-000000"),
			"-; -; weekly; weekly"},
		"the pinned stay, and take nobody's place": {Keep{Last: 1}, files("20260101-000000-pinned", "20260101-000001", "20260101-000002", "20260101-000003-pinned"),
			"pinned; -; last; pinned"},
		"days without a backup do not count": {Keep{Daily: 2}, files("20260101-000000", "20260107-000000", "20260108-000000"),
			"-; daily; daily"},
	} {
		var got []string
		for _, k := range c.keep.Plan(c.of) {
			got = append(got, strings.Join(append(k.Why, map[bool][]string{true: {"-"}}[k.Why == nil]...), ", "))
		}
		if g := strings.Join(got, "; "); g != c.want {
			t.Errorf("%s: got %s, want %s", name, g, c.want)
		}
	}
}

// Backups of a time when the clock was ahead are no newest ones: until that time has come they stay, and take no other's place.
func TestBackups_clockWasAhead(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	b.Keep, b.Every = Keep{Last: 2}, time.Hour
	now := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	b.Now = func() time.Time { return now }
	made := func(times ...time.Time) (names []string) {
		t.Helper()
		was := now
		for _, now = range times {
			h.changes(t, 1)
			f, err := b.Create(t.Context(), "", false)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, f.Name)
		}
		now = was
		return names
	}
	pruned := func(want ...string) {
		t.Helper()
		if _, err := b.Prune(false); err != nil {
			t.Fatal(err)
		}
		if got := b.names(t); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	due := func() bool {
		t.Helper()
		wait, err := b.due(true)
		if err != nil {
			t.Fatal(err)
		}
		return wait < time.Minute
	}
	year := now.AddDate(1, 0, 0)
	ahead := made(year, year.Add(time.Minute), year.Add(2*time.Minute))
	if !due() {
		t.Error("with none but those of a year to come no backup is due at the start")
	}
	pruned(ahead...)
	plain := made(now, now.Add(time.Minute), now.Add(2*time.Minute), now.Add(30*time.Minute))
	now = now.Add(2 * time.Minute) // so the last is of half an hour to come, which is no matter
	pruned(append(slices.Clone(ahead), plain[2:]...)...)
	if due() {
		t.Error("the newest is young, and another is due")
	}
	for i, k := range mustPlan(t, b) {
		if want := map[bool]string{true: "made when the clock was ahead", false: "last"}[i < 3]; !slices.Equal(k.Why, []string{want}) || k.Ahead != (i < 3) {
			t.Errorf("got %+v, want that it is kept as %q", k, want)
		}
	}
	d := &Drill{Backups: b, Log: b.Log}
	if f, err := d.Once(t.Context()); err != nil || f.Name != plain[3] {
		t.Errorf("the drill takes %s for the newest: %v", f.Name, err)
	}
	if n, err := (&Restorer{Backups: b, Log: b.Log}).Newest(t.Context()); err != nil || n.File != plain[3] {
		t.Errorf("the newest to restore from is %s: %v", n.File, err)
	}
	// Where a rule has room for the oldest, that is none of them.
	b.Keep = Keep{Daily: 3}
	if plan := mustPlan(t, b); plan[0].Why[0] != "made when the clock was ahead" || !slices.Equal(plan[3].Why, []string{"oldest, for daily"}) {
		t.Errorf("got %+v", plan)
	}
	b.Keep = Keep{Last: 2}
	now = year.Add(time.Minute)                         // when they are as good as any
	pruned(append([]string{plain[3]}, ahead[1:]...)...) // with the one that the drill found whole
}

func mustPlan(t *testing.T, b *Backups) []Kept {
	t.Helper()
	plan, err := b.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// What the plan keeps may be damaged: the newest that is whole is not removed, and where none is, nothing is.
func TestPrune_newestWholeStays(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	b.Keep = Keep{Last: 1}
	now := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	b.Now = func() time.Time { now = now.Add(time.Second); return now }
	var made []string
	for range 4 {
		f, err := b.Create(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, f.Name)
	}
	spoil := func(i int) {
		if err := os.WriteFile(filepath.Join(b.Dir, made[i]), []byte("{"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	spoil(3)
	spoil(2)
	if plan, err := b.Prune(true); err != nil || plan[0].Why != nil || plan[1].Why == nil || plan[2].Why != nil || plan[3].Why == nil {
		t.Errorf("got %+v, %v", plan, err)
	}
	if got := b.names(t); len(got) != 4 {
		t.Fatalf("only a plan was asked for, and there are %v", got)
	}
	if _, err := b.Prune(false); err != nil {
		t.Fatal(err)
	}
	if got := b.names(t); !slices.Equal(got, []string{made[1], made[3]}) {
		t.Errorf("got %v, want the newest that is whole, and the last", got)
	}
	spoil(1)
	if _, err := b.Prune(false); err == nil || !strings.Contains(err.Error(), "none of the backups is whole") {
		t.Errorf("got %v", err)
	}
	if got := b.names(t); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

// whenSaid does something when something is logged.
type whenSaid struct {
	slog.Handler
	do func()
}

func (w whenSaid) Handle(ctx context.Context, r slog.Record) error {
	w.do()
	return w.Handler.Handle(ctx, r)
}

// One that cannot be removed holds up no other, and that it stays is said until it goes.
func TestPrune_oneThatCannotGo(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	b.Keep = Keep{Last: 1}
	now := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	b.Now = func() time.Time { now = now.Add(time.Second); return now }
	var made []string
	for range 5 {
		f, err := b.Create(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, f.Name)
	}
	path := func(i int) string { return filepath.Join(b.Dir, made[i]) }
	if err := os.Truncate(path(4), 1); err != nil {
		t.Fatal(err)
	}
	stuck := func() { // once it is listed, the second is a folder that is not empty, which root cannot remove either
		if err := errors.Join(os.Remove(path(1)), os.MkdirAll(filepath.Join(path(1), "x"), 0o750)); err != nil {
			t.Error(err)
		}
	}
	quiet := b.Log
	b.Log = slog.New(whenSaid{quiet.Handler(), sync.OnceFunc(stuck)}) // that the last is damaged
	plan, err := b.Prune(false)
	if err == nil || !strings.Contains(err.Error(), made[1]) || b.Made().Stays == nil {
		t.Errorf("got %v, and it says %v", err, b.Made().Stays)
	}
	if got := b.names(t); !slices.Equal(got, made[3:]) {
		t.Errorf("got %v, want only the last and the newest that is whole", got)
	}
	if len(plan) != 5 || plan[0].Why != nil || !slices.Equal(plan[1].Why, []string{"cannot be removed"}) || plan[2].Why != nil {
		t.Errorf("got %+v", plan)
	}
	if said := h.said.String(); strings.Count(said, "an old backup was removed") != 2 || !strings.Contains(said, made[2]) {
		t.Errorf("got %s", said)
	}
	b.Log = quiet
	if _, err := b.Prune(true); err != nil || b.Made().Stays == nil {
		t.Errorf("a plan only: %v, %v", err, b.Made().Stays)
	}
	if _, err := b.Prune(false); err != nil || b.Made().Stays != nil {
		t.Errorf("in the end: %v, %v", err, b.Made().Stays)
	}
	// What cannot be swept holds up nothing either.
	for range 2 {
		if _, err := b.Create(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(b.Dir, "state-backup-20250101-000000.json.age"+besideEnd)
	if err := os.MkdirAll(filepath.Join(left, "x"), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Prune(false); err == nil || !strings.Contains(err.Error(), filepath.Base(left)) || b.Made().Stays == nil {
		t.Errorf("what cannot be swept: %v, %v", err, b.Made().Stays)
	}
	if got := b.names(t); len(got) != 1 {
		t.Errorf("got %v, want the last", got)
	}
}

func (b *Backups) names(t *testing.T) (names []string) {
	t.Helper()
	all, err := b.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		names = append(names, f.Name)
	}
	return names
}

// A backup is made soon after a start when the newest is older than the interval, then each interval, at a moment that is
// the host's own, and again soon when it could not be made.
func TestBackups_schedule(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	view := h.backups(t).Ledger
	synctest.Test(t, func(t *testing.T) {
		start := func(node string, for_ time.Duration) []BackupFile {
			b := &Backups{Dir: filepath.Join(dir, node), Node: node, Ledger: view, Every: time.Hour, Keep: Keep{Last: 3}, Log: h.view.Log}
			ctx, cancel := context.WithTimeout(t.Context(), for_)
			defer cancel()
			if err := b.Run(ctx); err != nil {
				t.Error(err)
			}
			all, err := b.List()
			if err != nil {
				t.Error(err)
			}
			return all
		}
		first := time.Now()
		a := start("a", time.Minute)
		if len(a) != 1 || a[0].Made.Sub(first) >= time.Minute {
			t.Fatalf("got %v, want one within a minute of the start", a)
		}
		if again := start("a", time.Minute); len(again) != 1 {
			t.Errorf("got %v, want none made anew: the newest is young", again)
		}
		a = start("a", 5*time.Hour)
		if len(a) != 3 || a[2].Made.Sub(a[1].Made) != time.Hour {
			t.Errorf("got %v, want the last three, an hour apart", a)
		}
		moments := map[time.Duration]bool{}
		for _, node := range []string{"a", "b", "c", "host-1", "host-2"} {
			all := start(node, 3*time.Hour)
			last := all[len(all)-1].Made
			moments[last.Sub(last.Truncate(time.Hour)).Truncate(time.Second)] = true
		}
		if len(moments) != 5 {
			t.Errorf("got %v: hosts back up in the same second", moments)
		}
		if err := os.WriteFile(filepath.Join(dir, "full"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		// The folder is a file at the start, and again when the second backup is due: both are made within a minute of its being a folder again.
		full := filepath.Join(dir, "full")
		b := &Backups{Dir: full, Node: "a", Ledger: view, Every: time.Hour, Log: h.view.Log}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		mended := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if err := os.Remove(full); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute) // one to be tried again, and the host's own moment in the first
			synctest.Wait()
			if all := b.names(t); len(all) != want {
				t.Errorf("after two minutes there are %v, want %d: it is tried again in a minute", all, want)
			}
		}
		mended(10*time.Minute, 1)
		aside := full + "-aside"
		if err := errors.Join(os.Rename(full, aside), os.WriteFile(full, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		made := b.Made().Errors
		for b.Made().Errors == made {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		mended(10*time.Minute, 1)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, said := range []string{"whether a backup is due cannot be told", "a backup cannot be made"} {
			if !strings.Contains(h.said.String(), said) {
				t.Errorf("a folder that is a file: nobody says %q:\n%s", said, h.said.String())
			}
		}
	})
}
