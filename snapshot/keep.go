package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Keep says which backups stay, by restic's words and rules: of each hour (day, week, month) that has any, the last one, for so many of
// them; and the last so many. Less than zero is of all. All in UTC. With nothing set, all stay.
type Keep struct{ Last, Hourly, Daily, Weekly, Monthly int }

// Kept is a backup and why it stays; without a reason, it goes.
type Kept struct {
	BackupFile
	Why []string `json:"why,omitempty"`
}

// Plan says of each backup whether it stays, and why. Files are sorted as List does; so is the plan.
func (k Keep) Plan(files []BackupFile) []Kept {
	plan := make([]Kept, len(files))
	if k == (Keep{}) {
		for i, f := range files {
			plan[i] = Kept{f, []string{"all are kept"}}
		}
		return plan
	}
	rules := []struct {
		why  string
		left int
		of   func(int, time.Time) string // what only one stays of
	}{
		{"last", k.Last, func(i int, _ time.Time) string { return fmt.Sprint(i) }},
		{"hourly", k.Hourly, func(_ int, t time.Time) string { return t.Format("2006-01-02 15") }},
		{"daily", k.Daily, func(_ int, t time.Time) string { return t.Format("2006-01-02") }},
		{"weekly", k.Weekly, func(_ int, t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprintf("%d-%d", y, w) }},
		{"monthly", k.Monthly, func(_ int, t time.Time) string { return t.Format("2006-01") }},
	}
	last := make([]string, len(rules))
	oldest := slices.IndexFunc(files, func(f BackupFile) bool { return !f.Pinned && !f.Ahead })
	for i, f := range slices.Backward(files) {
		plan[i].BackupFile = f
		if f.Pinned { // and takes no other's place
			plan[i].Why = []string{"pinned"}
			continue
		}
		if f.Ahead { // nor do these: what is made now would go at once
			plan[i].Why = []string{"made when the clock was ahead"}
			continue
		}
		for r := range rules {
			rule := &rules[r]
			of := rule.of(i, f.Made.UTC())
			// The oldest of all stays where a rule still has room: it is the nearest to what the rule would want.
			if rule.left != 0 && (of != last[r] || i == oldest) {
				if of == last[r] {
					plan[i].Why = append(plan[i].Why, "oldest, for "+rule.why)
				} else {
					plan[i].Why = append(plan[i].Why, rule.why)
				}
				last[r] = of
				rule.left-- // which never comes to 0 from below it
			}
		}
	}
	return plan
}

// ErrNoneWhole says that of all the backups none can be read, so that none was removed.
var ErrNoneWhole = errors.New("none of the backups is whole: none is removed")

// Plan says of each backup in the folder whether the next Prune would keep it, and why, the oldest first.
func (b *Backups) Plan() ([]Kept, error) {
	files, err := b.List()
	plan := b.Keep.Plan(files)
	b.mu.Lock()
	held := maps.Clone(b.held)
	b.mu.Unlock()
	restores := unfinished(b.Ledger.View().State, b.Node)
	for i := range plan {
		k := &plan[i]
		if slices.ContainsFunc(restores, func(x Restored) bool { return x.From == k.Name }) {
			k.Why = append(k.Why, forRestore) // and could not go on without
		}
		for _, why := range slices.Sorted(maps.Keys(held)) {
			if held[why] == k.Name && !slices.Contains(k.Why, why) {
				k.Why = append(k.Why, why)
			}
		}
	}
	return plan, err
}

// Why a backup is held.
const (
	forRestore = "an unfinished restore is from it"
	beingRead  = "it is being verified"
	verified   = "newest that was verified" // what the log has been trimmed behind, or is about to be
)

// hold keeps a backup for a reason from being removed by a rule, in place of the one that was kept for it before; "": none any more.
func (b *Backups) hold(why, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		b.held = map[string]string{}
	}
	if b.held[why] = name; name == "" {
		delete(b.held, why)
	}
}

// reserve keeps a backup that is about to be read, until release is called: a restore is not known to be unfinished before its first commit, and could
// not go on without it. The error wraps fs.ErrNotExist where it has been removed since it was listed.
func (b *Backups) reserve(why, name string) (release func(), err error) {
	b.hold(why, name)
	b.busy.Lock() // until a Prune that has not seen it is done
	defer b.busy.Unlock()
	if _, err := b.Stat(name); err != nil {
		b.hold(why, "")
		return nil, err
	}
	return func() { b.hold(why, "") }, nil
}

// Prune removes the backups that are not to be kept, and says of each what was decided. The newest that is whole always stays: if the
// plan would keep only such as are damaged, nothing is removed. One that cannot be removed holds up no other. What it decides is decided anew after a crash.
func (b *Backups) Prune(dry bool) ([]Kept, error) {
	b.busy.Lock()
	defer b.busy.Unlock()
	plan, err := b.prune(dry)
	if !dry {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.made.Stays = err
	}
	return plan, err
}

// Tidy is the Prune that follows on each backup. What it must leave is said (Made.Stays), and makes that backup no worse.
func (b *Backups) Tidy() {
	if _, err := b.Prune(false); err != nil {
		b.Log.Warn("old backups cannot be removed", "err", err)
	}
}

func (b *Backups) prune(dry bool) ([]Kept, error) {
	plan, err := b.Plan()
	if err != nil {
		return nil, err
	}
	goes := func(k Kept) bool { return k.Why == nil }
	if slices.ContainsFunc(plan, goes) {
		if err := b.holdNewestWhole(plan); err != nil {
			return plan, err
		}
	}
	some := slices.ContainsFunc(plan, goes)
	if dry {
		return plan, nil
	}
	var errs []error
	if some {
		b.Log.Debug("removing old backups")
		defer b.Log.Debug("done with the old backups")
	}
	for i := range plan {
		k := &plan[i]
		if k.Why != nil {
			continue
		}
		if err := os.Remove(filepath.Join(b.Dir, k.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.Why = []string{"cannot be removed"}
			errs = append(errs, fmt.Errorf("remove an old backup: %w", err))
			continue
		}
		b.Log.Info("an old backup was removed", "file", k.Name)
	}
	errs = append(errs, b.sweep())
	if some {
		errs = append(errs, SyncFolder(b.Dir))
	}
	return plan, errors.Join(errs...)
}

// holdNewestWhole keeps the newest backup that is whole, and of this form, whatever the rules say: of a sealed one that cannot be opened here, that its bytes
// are those that were written, as it was read before they were.
func (b *Backups) holdNewestWhole(plan []Kept) error {
	for i := len(plan) - 1; i >= 0; i-- {
		c, err := b.Check(plan[i].Name)
		if err != nil {
			b.Log.Warn("a backup is damaged", "file", plan[i].Name, "err", err)
			continue
		}
		if c.Original != nil { // which may be old, whenever it was put there, and has no checksum
			continue
		}
		if plan[i].Why == nil {
			plan[i].Why = []string{"newest that is whole"}
		}
		return nil
	}
	return fmt.Errorf("%w: all %d in %s", ErrNoneWhole, len(plan), b.Dir)
}
