package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// Fate is what became of a commit of another host.
type Fate uint8

// The fates.
const (
	Taken   Fate = iota // folded, and on disk, unless that is full; see View.OnDisk
	Known               // folded before
	Ahead               // commits of its incarnation that come before it are missing
	Astray              // not on the chain of what is known here of its incarnation: one number means two things
	Unread              // no commit that can be read
	Forgone             // given up by others, who have recorded it again; see State.Forgone
)

// Admission is what Admit says of one commit.
type Admission struct {
	Fate Fate
	Inc  events.Incarnation // as the commit says; zero when it cannot be read
	Seq  uint64             // of its first event
	Last uint64             // of its last
	Err  error              // Unread: what is wrong
	Late bool               // Taken: it speaks of what was given up before, see Ledger.Late
}

// Admit folds commits that other hosts have written, and whoever has relayed them, in the given order and through the
// same fold as the own ones: their bytes and stamps are kept as they are. All of them share one sync with whatever else
// is written. An error says that none of them was taken, since the log takes nothing: then nothing is known of them.
//
// What is taken is on disk when Admit returns. While the disk is full, it is kept in memory, and follows when there is
// room; a crash before that forgets it.
func (l *Ledger) Admit(ctx context.Context, commits [][]byte) ([]Admission, error) {
	if len(commits) == 0 {
		return nil, nil
	}
	res := l.ask(ctx, &request{commits: commits})
	return res.admitted, res.err
}

func (l *Ledger) admit(w *writing, commits [][]byte) []Admission {
	all := make([]Admission, 0, len(commits))
	for _, b := range commits {
		a := l.admitOne(w, b)
		all = append(all, a)
		if a.Fate == Known {
			l.stats.Known.Add(a.Last - a.Seq + 1)
		}
	}
	return all
}

func (l *Ledger) admitOne(w *writing, b []byte) Admission {
	c, err := events.ParseCommit(b)
	if err == nil && c.Time > events.LastTime {
		err = fmt.Errorf("it is stamped %v", c.Time.Wall())
	}
	if err != nil {
		return Admission{Fate: Unread, Inc: c.Inc, Seq: c.Seq, Err: err}
	}
	a := Admission{Inc: c.Inc, Seq: c.Seq, Last: c.Last()}
	hash := events.HashOf(b)
	switch head := w.s.Head(c.Inc); {
	case c.Last() < head.Seq || c.Last() == head.Seq && hash == head.Hash:
		a.Fate = Known
		return a
	case c.Seq <= head.Seq || c.Seq == head.Seq+1 && c.Prev != head.Hash:
		a.Fate = Astray
		return a
	case c.Seq > head.Seq+1:
		a.Fate = Ahead
		return a
	case w.s.Forgone(c.Inc, hash):
		a.Fate = Forgone
		return a
	}
	skew := l.MaxSkew
	if skew == 0 {
		skew = maxAhead
	}
	if !l.clock.Witness(c.Time, skew) {
		l.stats.Skewed.Add(1)
	}
	l.stats.Admitted.Add(uint64(len(c.Events)))
	a.Late = len(l.moved) > 0 && speaksOf(&c, l.moved)
	w.add(&c, events.Entry{Payload: b, Count: uint32(len(c.Events)), Hash: hash, Inc: c.Inc, Seq: c.Seq}, time.Now())
	return a
}

// Renew has this host count its events under another incarnation from now on. It is for one that has to act without having
// heard all others: they may know more of the old one than it does, as when its disk was put back to what it once was, even
// to where it held no event yet. A full disk does not keep it from that.
func (l *Ledger) Renew(ctx context.Context) error {
	return l.ask(ctx, &request{aside: true, rewrite: func(*State) (*rewritten, error) {
		_, err := l.log.Renew()
		return nil, err
	}}).err
}

// rewritten is a state that does not follow from the one before by commits, and the commits that come with it.
type rewritten struct {
	state   *State // nobody else has it
	cause   string
	commits [][]byte           // to be folded upon it
	anew    events.Incarnation // of which the state is on another chain than the log; zero: none
}

// rewrite answers a caller who has the state be another. What is on disk says so before anybody sees it.
func (l *Ledger) rewrite(r *request) error {
	err := l.commitAll(nil) // what is behind comes first
	v := l.view.Load()
	if err != nil && !(r.aside && errors.Is(err, events.ErrFull)) {
		r.done <- result{err: err}
		return err
	}
	n, err := r.rewrite(v.State)
	if err == nil && n != nil {
		err = l.jump(v, n)
	}
	r.done <- result{Receipt: Receipt{State: l.view.Load().State}, err: err}
	return err
}

// jump makes n the state, by a record that says so, and folds its commits.
func (l *Ledger) jump(v *View, n *rewritten) error {
	n.state.index = v.index + 1
	e, err := jumpEntry(n.state, n.cause, n.anew)
	if err != nil {
		return err
	}
	w := writing{n.state, nil, []events.Entry{e}}
	for _, a := range l.admit(&w, n.commits) {
		if a.Fate != Taken && a.Fate != Known {
			return fmt.Errorf("event %d of incarnation %v does not follow on what is known of it", a.Seq, a.Inc)
		}
	}
	if err := l.log.Append(w.entries); err != nil {
		return err
	}
	at := l.log.End().At
	n.state.at = at
	for i := range w.steps {
		w.steps[i].After.at = at
	}
	l.stats.Jumps.Add(1)
	l.stats.Batches.Add(1)
	if l.Log != nil {
		l.Log.Warn("the state was taken over, not folded", "cause", n.cause, "index", n.state.index)
	}
	l.publish(w.s, w.steps, w.s)
	return nil
}

// Join takes over what other has and this host lacks, when the commits themselves cannot be had. The ledger may change
// other, which nobody else must have. When it returns nil, the log holds a jump, or there was nothing to take over. cause is
// for people.
func (l *Ledger) Join(ctx context.Context, other *State, cause string) error {
	return l.ask(ctx, &request{rewrite: func(s *State) (*rewritten, error) {
		other.renumber(s.index + 1)
		n := Join(s, other)
		if slices.Equal(n.vector, s.vector) && n.Digest() == s.Digest() {
			return nil, nil
		}
		return &rewritten{state: n, cause: cause}, nil
	}}).err
}

// renumber gives every version the index under which this host got to know of it.
func (s *State) renumber(index uint64) {
	s.objects.Scan(func(_ string, e *entry) bool {
		for i := range e.lives {
			for _, v := range e.lives[i].leaves() {
				v.Index = index
			}
		}
		return true
	})
}
