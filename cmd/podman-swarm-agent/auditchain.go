package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// ownPoints answers another member where the commits of an incarnation end, one a line.
func (a *agent) ownPoints(w http.ResponseWriter, r *http.Request) {
	a.ownChain(w, r, func(r events.Record) (last uint64, line []byte) {
		last = lastOf(&r)
		line, _ = json.Marshal(api.Mark{Incarnation: r.Inc, Seq: last, Hash: r.Hash}) // of numbers and texts
		return last, line
	})
}

// ownCommits answers another member with commits of an incarnation, one a line.
func (a *agent) ownCommits(w http.ResponseWriter, r *http.Request) {
	a.ownChain(w, r, func(r events.Record) (last uint64, line []byte) { return r.Seq, r.Payload })
}

// ownChain answers with a line for each commit of an incarnation after an event, up to another; with 410 where not all of them are in the log, or in
// the increments of what was trimmed off it.
func (a *agent) ownChain(w http.ResponseWriter, r *http.Request, of func(events.Record) (last uint64, line []byte)) {
	q := r.URL.Query()
	var inc events.Incarnation
	after, err1 := strconv.ParseUint(q.Get("after"), 10, 64)
	upTo, err2 := strconv.ParseUint(q.Get("up_to"), 10, 64)
	if err := errors.Join(inc.UnmarshalText([]byte(q.Get("incarnation"))), err1, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	give := func(r events.Record) error {
		last, line := of(r)
		if last > upTo {
			return errWriter
		}
		_, err := w.Write(append(line[:len(line):len(line)], '\n'))
		return err
	}
	gone, err := a.events.Missing(r.Context(), onlyOf(inc, after), 0, give)
	if err == nil && slices.Contains(gone, inc) { // and nothing of it was given
		c := heldChain{inc: inc, after: after, upTo: upTo}
		if err = c.find(r.Context(), a.history); err != nil && r.Context().Err() == nil {
			code := http.StatusServiceUnavailable
			if errors.Is(err, errLacked) || errors.Is(err, events.ErrTrimmed) {
				code = http.StatusGone
			}
			http.Error(w, err.Error(), code) // an answer with nothing in it would say that there is nothing
			return
		}
		if err == nil {
			err = c.give(r.Context(), a.history, give)
		}
	}
	if err != nil && !errors.Is(err, errWriter) {
		panic(http.ErrAbortHandler) // so that it is not taken for the end
	}
}

// errLacked says that commits are not here any more.
var errLacked = errors.New("neither in the log of this host nor in its increments")

// lastOf is the last event of a record, as its incarnation counts.
func lastOf(r *events.Record) uint64 { return r.Seq + uint64(r.Count) - 1 }

// heldChain is what a log, with what was trimmed off it, has of the commits of an incarnation after one event, up to another. The log is read twice: what
// a jump says is not on the chain comes before it, and nothing must be given that is not.
type heldChain struct {
	inc         events.Incarnation
	after, upTo uint64

	runs []chainRun
	last uint64 // event at which the chain stands
	hash events.Hash
	over bool // a jump has come since the last of its commits: what follows is another run
}

// chainRun are commits without a gap, and without a jump between them that says that the chain is another.
type chainRun struct {
	from, to uint64 // events
	record   uint64 // number of the first record
	index    uint64 // of its first event
}

// find reads where the commits are. The error says that not all are here, or that it cannot be told.
func (c *heldChain) find(ctx context.Context, log *snapshot.History) error {
	if err := log.Read(ctx, 0, c.pass); err != nil {
		return err
	}
	return c.whole()
}

// whole reports what of the commits that were asked for is not here.
func (c *heldChain) whole() error {
	next := c.after + 1
	for _, run := range c.runs {
		if run.from <= next && next <= run.to {
			next = run.to + 1
		}
	}
	if end := min(c.upTo, c.last); next <= end {
		return fmt.Errorf("event %d of incarnation %v: %w", next, c.inc, errLacked)
	}
	return nil
}

// pass takes in a record.
func (c *heldChain) pass(r events.Record) error {
	switch r.Inc {
	case c.inc:
		n := len(c.runs)
		if n == 0 || c.over {
			c.runs = append(c.runs, chainRun{from: r.Seq, record: r.Number, index: r.Index})
			n++
		}
		c.runs[n-1].to = lastOf(&r)
		c.last, c.hash, c.over = lastOf(&r), r.Hash, false
	case 0:
		_, heads, err := events.JumpHeads(r.Payload)
		if err != nil {
			return err
		}
		var to events.JumpHead // one that is not named has not been heard of
		if i := slices.IndexFunc(heads, func(h events.JumpHead) bool { return h.Inc == c.inc }); i >= 0 {
			to = heads[i]
		}
		if to.Anew || to.Seq == c.last && to.Hash != c.hash {
			c.runs = nil
		}
		for n := len(c.runs); n > 0 && c.runs[n-1].to > to.Seq; n = len(c.runs) {
			if c.runs[n-1].from > to.Seq {
				c.runs = c.runs[:n-1]
				continue
			}
			c.runs[n-1].to = to.Seq
		}
		c.last, c.hash, c.over = to.Seq, to.Hash, true
	}
	return nil
}

// give calls fn with each of the commits that find has found.
func (c *heldChain) give(ctx context.Context, log *snapshot.History, fn func(events.Record) error) error {
	i := slices.IndexFunc(c.runs, func(run chainRun) bool { return run.to > c.after })
	if i < 0 {
		return nil
	}
	return log.Read(ctx, c.runs[i].index-1, func(r events.Record) error {
		if lastOf(&r) <= c.after || !c.has(&r) {
			return nil
		}
		return fn(r)
	})
}

// has reports whether a record is one of the commits, and none that a jump made void.
func (c *heldChain) has(r *events.Record) bool {
	return r.Inc == c.inc && slices.ContainsFunc(c.runs, func(run chainRun) bool { return r.Number >= run.record && r.Seq >= run.from && lastOf(r) <= run.to })
}
