package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// ErrClosed is returned by a Ledger that does not run any more; nothing was recorded.
var ErrClosed = errors.New("the ledger is closed")

// Log is what a Ledger needs of a log; events.Log is one.
type Log interface {
	// Append makes the entries durable, all of them, with one sync; on an error none of them may be relied on.
	Append(entries []events.Entry) error
	// End is the durable end.
	End() events.Position
	Incarnation() events.Incarnation
	// Scan calls fn with each record from number from on, in order. Its payload may be overwritten when fn returns.
	Scan(from uint64, fn func(events.Record) error) error
	// Renew draws another incarnation, durably.
	Renew() (events.Incarnation, error)
}

// Ledger is the one writer: every change passes through it, so log and state are always in step. What it has
// published is on disk.
//
// Run must be running for Record to return. Everything else may be called from any goroutine, at any time, and
// waits for nothing.
type Ledger struct {
	Node string       // name of this host
	Log  *slog.Logger // nil: nothing is said
	// MaxSkew is how far ahead of the own wall clock another host may move the own stamps; zero: 10 s.
	MaxSkew time.Duration
	// Observe, unless nil, is told of each commit of this host: how long its caller has waited for it, and its first event's id. It is
	// called by the caller, and from many goroutines.
	Observe func(took time.Duration, id events.ID)

	log      Log
	clock    *events.Clock
	reread   events.Parser                 // of what is about to be written; keeps no keys
	behind   []events.Entry                // folded and not yet on disk, since that is full: only commits of other hosts
	excess   int                           // bytes of them
	moved    map[events.Stamp]events.Stamp // what versions that were given up became, as far as Late knows; of the ledger's goroutine
	requests chan *request
	closed   chan struct{}
	view     atomic.Pointer[View]
	stats    Stats
}

// Stats counts what the ledger has done since it was opened.
type Stats struct {
	Commits  atomic.Uint64    // of this host
	Events   [4]atomic.Uint64 // of this host, by kind, in the order of Kinds
	Batches  atomic.Uint64    // syncs; Commits/Batches is how many callers shared one
	Admitted atomic.Uint64    // events of other hosts
	Known    atomic.Uint64    // events of other hosts that came again
	Skewed   atomic.Uint64    // commits of other hosts that were stamped further ahead than MaxSkew
	Jumps    atomic.Uint64
}

// Kinds is the order of Stats.Events.
func Kinds() [4]events.Kind {
	return [...]events.Kind{events.Declared, events.Decided, events.Observed, events.Trust}
}

// View is the state at one moment, together with what is needed to wait for the next: take it, act upon it, wait
// for Changed, take the next. Nothing is missed, whatever happens in between.
type View struct {
	*State
	Changed <-chan struct{} // closed when there is a newer View
	changed chan struct{}
	steps   []Step
	onDisk  *State
}

// OnDisk is the newest state all of which is on disk: the View's own, save while the disk is full, when what other
// hosts say is folded all the same. What a host claims to hold is this.
func (v *View) OnDisk() *State { return v.onDisk }

// Durable is the View without what is not on disk yet. After a restart, other events may have the indexes of that: who hands out indexes
// does so from here. Changed tells of what has come to disk, too.
func (v *View) Durable() *View {
	if v.onDisk == nil || v.onDisk == v.State {
		return v
	}
	n := sort.Search(len(v.steps), func(i int) bool { return v.steps[i].After.index > v.onDisk.index })
	return &View{State: v.onDisk, Changed: v.Changed, steps: v.steps[:n:n], onDisk: v.onDisk}
}

// Step is one commit and the states before and after it.
type Step struct {
	Commit        *events.Commit
	Before, After *State
}

// First is the index of the step's first event.
func (s *Step) First() uint64 { return s.Before.index + 1 }

// recent is how many steps a View remembers at least (once there were as many), and half of how many at most.
const recent = 1024

// Since gives what was committed after index, oldest first; where index is within a commit, that commit comes first.
// It is false when that is further back than the view remembers, or when there is no such index yet: then look at
// the whole state.
func (v *View) Since(index uint64) ([]Step, bool) {
	if index == v.index {
		return nil, true
	}
	i := sort.Search(len(v.steps), func(i int) bool { return v.steps[i].After.index > index })
	if i == len(v.steps) || v.steps[i].Before.index > index {
		return nil, false
	}
	return v.steps[i:len(v.steps):len(v.steps)], true // beyond its end, others write
}

// By says who asks for a change, and why.
type By struct{ Actor, Cause string }

// Change is a wanted change of one key. The ledger completes it to an event: whose version it replaces, and what
// it ends.
type Change struct {
	Kind   events.Kind
	Key    string
	For    events.Stamp
	Object []byte // compact JSON, whole; nil deletes. Not to be changed afterwards
	// Saw are versions of the key that were lost unseen, and that whoever makes this change has seen: with it they are lost knowingly, and no
	// conflicts any more. What is no conflict is passed over.
	Saw []events.Stamp
}

// Receipt tells what was recorded. All of it is durable.
type Receipt struct {
	Stamp events.Stamp // of the first event; its ID names the commit
	First uint64       // index of the first event
	State *State       // right after this commit
}

// request is what one caller asks of the ledger's goroutine: one of Record, Admit, and what rewrites the state.
type request struct {
	by      By
	decide  func(*State) ([]Change, error)
	commits [][]byte
	rewrite func(*State) (*rewritten, error)
	aside   bool // rewrite writes no record, so what is behind need not come first
	done    chan result
}

type result struct {
	Receipt
	admitted []Admission
	err      error
}

// View is the newest state. It is on disk, save for what other hosts said while the disk is full; see View.OnDisk.
func (l *Ledger) View() *View { return l.view.Load() }

// Stats gives the counters, which go on counting.
func (l *Ledger) Stats() *Stats { return &l.stats }

// Record asks decide what to change, given the newest state, and commits that as a whole. Nobody else's change
// comes between the state that decide sees and the commit. When Record returns nil, the commit is on disk, and
// published; a decide that returns no change records nothing, and that is no error. The error of decide is
// returned as it is. decide must be quick, and pure: it is called in the ledger's own goroutine.
//
// An error of the log means that the commit did not happen, save for events.ErrFailed: then it is known only after
// a restart. When ctx ends while the commit waits for the disk, Record waits with it, since it can no longer be
// called back.
func (l *Ledger) Record(ctx context.Context, by By, decide func(*State) ([]Change, error)) (Receipt, error) {
	began := time.Now()
	res := l.ask(ctx, &request{by: by, decide: decide})
	if l.Observe != nil && res.err == nil && !res.Stamp.IsZero() {
		l.Observe(time.Since(began), res.Stamp.ID)
	}
	return res.Receipt, res.err
}

// ask hands a request to the ledger's goroutine and waits for what comes of it.
func (l *Ledger) ask(ctx context.Context, r *request) result {
	if err := ctx.Err(); err != nil {
		return result{err: err}
	}
	r.done = make(chan result, 1)
	select {
	case l.requests <- r:
	case <-l.closed:
		return result{err: ErrClosed}
	case <-ctx.Done():
		return result{err: ctx.Err()}
	}
	return <-r.done
}

// draft is the commit that the caller wants upon s, and its bytes; nil when there is nothing to change.
func (l *Ledger) draft(r *request, s *State) (*events.Commit, events.Entry, error) {
	changes, err := l.decide(r, s)
	if err != nil || len(changes) == 0 {
		return nil, events.Entry{}, err
	}
	c, err := l.stamp(s, r.by, changes)
	if err != nil {
		return nil, events.Entry{}, fmt.Errorf("record: %w", err)
	}
	payload, err := l.encode(c)
	if err != nil {
		return nil, events.Entry{}, fmt.Errorf("record: %w", err)
	}
	return c, events.Entry{Payload: payload, Count: uint32(len(c.Events)), Hash: events.HashOf(payload), Inc: c.Inc, Seq: c.Seq}, nil
}

// decide calls r.decide. A panic there is the mistake of one caller and must not end the agent, nor leave the other
// callers waiting.
func (l *Ledger) decide(r *request, s *State) (changes []Change, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("deciding what to record for %s: %v", r.by.Actor, p)
			if l.Log != nil {
				l.Log.Error("a decision ended in a panic; nothing was recorded", "actor", r.by.Actor, "panic", p, "stack", string(debug.Stack()))
			}
		}
	}()
	return r.decide(s)
}

// stamp completes the changes to a commit that follows upon s.
func (l *Ledger) stamp(s *State, by By, changes []Change) (*events.Commit, error) {
	inc := l.log.Incarnation()
	head := s.Head(inc)
	c := &events.Commit{Inc: inc, Seq: head.Seq + 1, Prev: head.Hash, Node: l.Node, Actor: by.Actor, Cause: by.Cause}
	var seen events.Time
	for i, ch := range changes {
		e := events.Event{Kind: ch.Kind, Key: ch.Key, UID: c.ID(i), For: ch.For, Object: ch.Object}
		if old, ok := s.objects.Get(ch.Key); ok {
			if shown, ok := old.shown(); ok && ch.Kind == events.Decided && ch.Object != nil && ch.For.Less(shown.carriesOut()) {
				return nil, fmt.Errorf("decide %s: it is for a declaration older than %v, for which it is decided already, and would not be shown", ch.Key, shown.For)
			}
			seen = max(seen, old.succeed(&e, ch.Saw))
		}
		if ch.Object == nil && len(e.Ends) == 0 {
			return nil, fmt.Errorf("delete %s: there is none", ch.Key)
		}
		c.Events = append(c.Events, e)
	}
	if c.Time = l.clock.After(seen); c.Time > events.LastTime {
		return nil, fmt.Errorf("the version to be replaced is stamped %v: nothing can be stamped later; delete the object on the host that stamped it, or set the clock right", seen.Wall())
	}
	return c, nil
}

// succeed has the event say what it replaces and what it ends, and returns the greatest time among that. A version
// that was lost unseen, and says what is shown or what the event says itself, is lost no more; nor is one that its author saw.
func (en *entry) succeed(e *events.Event, saw []events.Stamp) (seen events.Time) {
	end := func(uid events.ID, v *Version) {
		e.Ends = append(e.Ends, events.End{UID: uid, Base: v.Stamp})
		seen = max(seen, v.Stamp.Time)
	}
	shown, ok := en.shown()
	if ok {
		e.UID, e.Base = shown.UID, shown.Stamp
		seen = shown.Stamp.Time
	}
	for i := range en.lives {
		l := &en.lives[i]
		if l.top != nil && (e.Object == nil || l.uid != shown.UID) {
			end(l.uid, l.top)
		}
		for _, v := range l.lost {
			if branches(e.Kind) && (ok && same(v.Object, shown.Version.Object) || e.Object != nil && same(v.Object, e.Object) ||
				slices.Contains(saw, v.Stamp)) {
				end(l.uid, v)
			}
		}
	}
	return seen
}

// encode gives the commit's bytes. Every mistake in the changes themselves is found here, before anything is written:
// what is written is read back first, since a record that cannot be read would stop every start after it.
func (l *Ledger) encode(c *events.Commit) ([]byte, error) {
	keys := map[string]bool{}
	for i := range c.Events {
		e := &c.Events[i]
		if keys[e.Key] {
			return nil, fmt.Errorf("%s: changed twice in one commit", e.Key)
		}
		keys[e.Key] = true
		if o := e.Object; o != nil && (len(o) < 2 || o[0] != '{' || o[len(o)-1] != '}' || bytes.IndexByte(o, '\n') >= 0) {
			return nil, fmt.Errorf("%s: not a JSON object on one line: %.40q", e.Key, o)
		}
	}
	b, err := c.Append(nil)
	if err != nil {
		return nil, err
	}
	if _, err := l.reread.Parse(b); err != nil {
		return nil, fmt.Errorf("what would be written cannot be read: %w", err)
	}
	return b, nil
}
