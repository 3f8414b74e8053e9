package projection

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/tidwall/btree"

	"github.com/podman-swarm/podman-swarm/events"
)

// maxAhead is how far ahead of the wall clock a start believes its own last stamp: what is written next comes after
// what was written last, unless that had been stamped by a clock gone wrong.
const maxAhead = 10 * time.Second

// OpenLedger folds what the log holds after start (nil: all of it) and returns the ledger at its end. from is the
// number of the record that follows start. now is the wall clock; nil means time.Now. start must be a state of this
// very log; it is not changed.
//
// The error of a record that cannot be read or understood names its index: nothing is passed over, since every
// later event might depend on it.
func OpenLedger(log Log, start *State, from uint64, now func() time.Time) (*Ledger, error) {
	if start == nil {
		start, from = NewState(), 1
	}
	l := &Ledger{log: log, clock: events.NewClock(now), requests: make(chan *request), closed: make(chan struct{})}
	l.reread.Key = func([]byte) string { return "some/key" }
	r := replay{state: start.clone(), end: log.End(), own: log.Incarnation()}
	r.draft = draft{tree: r.state.objects, touched: map[string]*slot{}, from: start.index}
	r.parser.Key = r.draft.key
	if err := log.Scan(from, r.record); err != nil {
		return nil, fmt.Errorf("fold the log: %w", err)
	}
	r.draft.settle()
	if r.state.index != r.end.Index {
		return nil, fmt.Errorf("fold the log: it ends at event %d, and its fold at %d", r.end.Index, r.state.index)
	}
	l.clock.Witness(max(r.newest, events.TimeOf(r.state.at)), maxAhead)
	l.publish(r.state, r.steps, r.state)
	return l, nil
}

// Scanner is the part of a Log by which it is folded.
type Scanner interface {
	Scan(from uint64, fn func(events.Record) error) error
}

// errUntil ends a fold before the log's end.
var errUntil = errors.New("so far")

// FoldUntil folds what the log holds after start (nil: all of it), from record from on, until a record is later than wanted. What it returns is the state
// at some moment, as this log had it then. start is not changed.
func FoldUntil(log Scanner, start *State, from uint64, later func(events.Record) bool) (*State, error) {
	if start == nil {
		start, from = NewState(), 1
	}
	r := replay{state: start.clone()}
	r.draft = draft{tree: r.state.objects, touched: map[string]*slot{}, from: start.index}
	r.parser.Key = r.draft.key
	err := log.Scan(from, func(rec events.Record) error {
		if later(rec) {
			return errUntil
		}
		return r.record(rec)
	})
	if err != nil && !errors.Is(err, errUntil) {
		return nil, fmt.Errorf("fold the log: %w", err)
	}
	r.draft.settle()
	return r.state, nil
}

// replay folds a log's records.
type replay struct {
	state  *State // nobody else has it, but for the states in steps
	draft  draft  // what of it is not in its tree yet
	steps  []Step // the last ones
	end    events.Position
	own    events.Incarnation
	newest events.Time // of the own stamps
	parser events.Parser
}

func (r *replay) record(rec events.Record) error {
	if rec.Inc == 0 {
		return r.jump(&rec)
	}
	last := rec.Number <= r.end.Record && r.end.Record-rec.Number < recent // these become steps, which keep all of it
	if last {
		rec.Payload = bytes.Clone(rec.Payload)
		r.parser = events.Parser{}
	}
	c, err := r.parser.Parse(rec.Payload)
	if err != nil {
		return fmt.Errorf("event %d: %w", rec.Index, err)
	}
	switch head := r.state.Head(c.Inc); {
	case rec.Index != r.state.index+1:
		return fmt.Errorf("event %d: the fold before it ends at event %d", rec.Index, r.state.index)
	case c.Seq != head.Seq+1 || c.Prev != head.Hash:
		return fmt.Errorf("event %d: seq %d of incarnation %s does not follow its seq %d", rec.Index, c.Seq, c.Inc, head.Seq)
	}
	if c.Inc == r.own {
		r.newest = max(r.newest, c.Time)
	}
	if !last {
		for i := range c.Events {
			c.Events[i].Object = r.draft.keep(c.Events[i].Object)
		}
		r.state.fold(&r.draft, &c, rec.Hash, rec.Index, rec.At)
		return nil
	}
	r.draft.settle()
	before := r.state
	r.state = before.Fold(&c, rec.Hash, rec.Index, rec.At)
	r.steps = append(r.steps, Step{&c, before, r.state})
	return nil
}

// jump goes on from the state that a jump says.
func (r *replay) jump(rec *events.Record) error {
	if rec.Index != r.state.index+1 {
		return fmt.Errorf("event %d: the fold before it ends at event %d", rec.Index, r.state.index)
	}
	s, err := jumped(rec)
	if err != nil {
		return fmt.Errorf("event %d: %w", rec.Index, err)
	}
	r.state, r.steps = s, nil
	r.draft = draft{tree: s.objects, touched: map[string]*slot{}, from: s.index}
	return nil
}

// draft is the index of a state that is being folded from many events: a plain map upon the state's tree, whose
// memory is used again for what replaces it, since nobody else has seen it.
type draft struct {
	tree    *btree.Map[string, *entry]
	touched map[string]*slot
	at      *slot      // the one found last: what Get looked up is nearly always what Set is called for next
	from    uint64     // index of the last event that the tree holds
	spare   [32][]byte // memory of objects that were replaced, one by each power of two
}

// slot is where the draft keeps the entry of a key; nil when there is none any more.
type slot struct {
	key string
	*entry
}

// Get finds an entry in the draft, or else in the tree.
func (d *draft) Get(key string) (*entry, bool) {
	s := d.slot(key)
	return s.entry, s.entry != nil
}

func (d *draft) slot(key string) *slot {
	if d.at != nil && d.at.key == key {
		return d.at
	}
	s, ok := d.touched[key]
	if !ok {
		s = &slot{key: key}
		s.entry, _ = d.tree.Get(key)
		d.touched[key] = s
	}
	d.at = s
	return s
}

// key is the text of a key, of which there is one copy, and finds its slot.
func (d *draft) key(b []byte) string {
	s, ok := d.touched[string(b)]
	if !ok {
		return d.slot(string(b)).key
	}
	d.at = s
	return s.key
}

// Set puts an entry into the draft. What it returns has no meaning.
func (d *draft) Set(key string, e *entry) (*entry, bool) {
	s := d.slot(key)
	if old := s.entry; old != nil && old.alone() && e.alone() && old.lives[0].top != e.lives[0].top {
		if v := old.lives[0].top; v.Index > d.from {
			d.spare[bits.Len(uint(cap(v.Object)))%len(d.spare)] = v.Object
		}
	}
	s.entry = e
	return nil, false
}

// Delete takes an entry out. What it returns has no meaning.
func (d *draft) Delete(key string) (*entry, bool) {
	d.slot(key).entry = nil
	return nil, false
}

// alone reports whether the entry holds one version and no other.
func (e *entry) alone() bool {
	return len(e.lives) == 1 && e.lives[0].top != nil && len(e.lives[0].lost) == 0
}

// keep copies an object out of memory that will be overwritten.
func (d *draft) keep(object []byte) []byte {
	if object == nil {
		return nil
	}
	spare := &d.spare[bits.Len(uint(len(object)))%len(d.spare)]
	to := *spare
	if n := len(object); cap(to) < n || cap(to) > n+n/8 {
		return bytes.Clone(object)
	}
	*spare = nil
	return append(to[:0], object...)
}

// settle puts what was touched into the tree.
func (d *draft) settle() {
	for _, key := range slices.Sorted(maps.Keys(d.touched)) {
		if e := d.touched[key].entry; e != nil {
			d.tree.Set(key, e)
		} else {
			d.tree.Delete(key)
		}
	}
	clear(d.touched)
	d.at = nil
}
