package projection

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// maxBatch bounds how many callers share one sync, so that the first of them does not wait for ever.
const maxBatch = 4096

// retryDisk is how often what is behind is tried again, when nothing else is to be written.
const retryDisk = time.Second

// Run commits until ctx ends, and then what it has already taken on. It returns before that, with events.ErrFailed,
// when the log has stopped for good: what is on disk is then found out by opening it again. It must be called once.
func (l *Ledger) Run(ctx context.Context) error {
	defer close(l.closed)
	again := time.NewTicker(retryDisk)
	defer again.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case r := <-l.requests:
			err = l.commit(l.gather(r))
		case <-again.C:
			if len(l.behind) > 0 {
				err = l.commitAll(nil)
			}
		}
		if errors.Is(err, events.ErrFailed) {
			return err
		}
	}
}

// gather collects the callers that share one sync. It lets the others run first, and again as long as more of them come
// of it: those that were answered just now are about to ask for their next change, and the sync costs the same for all.
func (l *Ledger) gather(r *request) []*request {
	batch := []*request{r}
	for came := 1; came > 0 && len(batch) < maxBatch; {
		runtime.Gosched()
		came = -len(batch)
		batch = l.take(batch)
		came += len(batch)
	}
	return batch
}

// take adds the callers that wait now.
func (l *Ledger) take(batch []*request) []*request {
	for len(batch) < maxBatch {
		select {
		case r := <-l.requests:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// commit answers a batch of callers. What rewrites the state does so by itself, between what came before and after it.
func (l *Ledger) commit(batch []*request) (failure error) {
	for len(batch) > 0 {
		n := 0
		for n < len(batch) && batch[n].rewrite == nil {
			n++
		}
		if n > 0 {
			failure = errors.Join(failure, l.commitAll(batch[:n]))
			batch = batch[n:]
			continue
		}
		failure = errors.Join(failure, l.rewrite(batch[0]))
		batch = batch[1:]
	}
	return failure
}

// writing is what a batch comes to: a state, and what must be on disk for it.
type writing struct {
	s       *State
	steps   []Step // appended to beyond what holders of the view can see, and only by the ledger's goroutine
	entries []events.Entry
}

// add folds a commit.
func (w *writing) add(c *events.Commit, e events.Entry, at time.Time) {
	after := w.s.Fold(c, e.Hash, w.s.index+1, at)
	w.entries = append(w.entries, e)
	w.steps = append(w.steps, Step{c, w.s, after})
	w.s = after
}

// commitAll answers a batch of callers. Each decides upon the state that those before it will have made, if the log
// takes them all; if not, nothing of it has happened, and the log's error is returned. Only what other hosts say has
// happened in any case: a full disk keeps nobody from knowing of it.
func (l *Ledger) commitAll(batch []*request) error {
	v := l.view.Load()
	w := writing{v.State, v.steps, nil}
	results := make([]result, len(batch))
	for i, r := range batch {
		if r.commits != nil {
			results[i] = result{admitted: l.admit(&w, r.commits)}
		}
	}
	heard := w
	first := len(batch) // the first caller who has something to write that is his own
	for i, r := range batch {
		if r.commits != nil {
			continue
		}
		c, e, err := l.draft(r, w.s)
		if results[i] = (result{Receipt: Receipt{State: w.s}, err: err}); err != nil || c == nil {
			continue
		}
		first = min(first, i)
		w.add(c, e, time.Time{})
		results[i].Receipt = Receipt{c.Stamp(0), w.s.index - uint64(len(c.Events)) + 1, w.s}
	}
	err := l.write(v, &w, len(heard.entries))
	if err != nil {
		for i := first; i < len(results); i++ { // also who wrote nothing, or refused: it may be for what did not happen
			if batch[i].commits == nil {
				results[i] = result{err: err}
			}
		}
		if errors.Is(err, events.ErrFull) && l.keep(&heard) {
			l.publish(heard.s, heard.steps, v.onDisk)
		} else if len(heard.entries) > 0 { // then nobody has decided upon what there is
			for i := range results {
				results[i] = result{err: err}
			}
		}
	}
	for i, r := range batch {
		r.done <- results[i]
	}
	return err
}

// write makes durable what was behind and what the batch adds, of which the first heard entries are other hosts', and
// publishes it.
func (l *Ledger) write(v *View, w *writing, heard int) error {
	if len(l.behind)+len(w.entries) == 0 {
		return nil
	}
	if err := l.log.Append(append(l.behind[:len(l.behind):len(l.behind)], w.entries...)); err != nil {
		return err
	}
	l.behind, l.excess = nil, 0
	done := w.steps[len(w.steps)-len(w.entries):]
	at := l.log.End().At
	for i := range done {
		done[i].After.at = at // nobody has seen them yet
	}
	l.count(done[heard:])
	l.publish(w.s, w.steps, w.s)
	return nil
}

// maxBehind bounds in bytes what is folded while the disk is full; what comes then is asked for again later.
const maxBehind = 64 << 20

// keep remembers what other hosts said and the full disk did not take, and reports whether that is anything.
func (l *Ledger) keep(heard *writing) bool {
	size := 0
	for _, e := range heard.entries {
		size += len(e.Payload)
	}
	if len(heard.entries) == 0 || l.excess+size > maxBehind {
		return false
	}
	l.behind = append(l.behind, heard.entries...)
	l.excess += size
	return true
}

func (l *Ledger) count(steps []Step) {
	l.stats.Batches.Add(1) // also of what other hosts said: it was a sync
	l.stats.Commits.Add(uint64(len(steps)))
	for _, step := range steps {
		for i := range step.Commit.Events {
			for k, kind := range Kinds() {
				if step.Commit.Events[i].Kind == kind {
					l.stats.Events[k].Add(1)
				}
			}
		}
	}
}

// publish makes s the newest state and wakes whoever waits for one. Older views share the steps' array and never
// look beyond their own length.
func (l *Ledger) publish(s *State, steps []Step, onDisk *State) {
	if len(steps) > 2*recent {
		steps = append(make([]Step, 0, 2*recent+maxBatch), steps[len(steps)-recent:]...)
	}
	changed := make(chan struct{})
	old := l.view.Swap(&View{State: s, Changed: changed, changed: changed, steps: steps, onDisk: onDisk})
	if old != nil {
		close(old.changed)
	}
}
