package events

import (
	"context"
	"fmt"
)

// trimmed takes in what was trimmed off the log, before its first place, and where it ends. It stands outside of the log's folder, so that each record
// is held to follow on the one before, as Open holds those of the log.
func (v *verifying) trimmed(ctx context.Context, first place, read Trimmed, h heads) error {
	if read == nil || first.number == 1 {
		return nil
	}
	any := false
	return read(ctx, first.index, func(r Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		v.partly = v.partly || !any && r.Index > 1
		any = true
		if r.Inc == 0 {
			if err := h.jump(r.Number, r.Payload); err != nil {
				return err
			}
			return v.record(&r)
		}
		c := v.chain(r.Inc)
		if _, ok := h[r.Inc]; !ok && v.partly && r.Seq > 1 { // what it follows on is not there
			if prev, known, err := prevOf(r.Payload, r.Inc, r.Seq); err == nil && known {
				h[r.Inc] = head{last: r.Seq - 1, hash: prev, floor: r.Seq - 1}
				c.Last, c.Head, c.Trimmed = r.Seq-1, prev, r.Seq-1
			}
		}
		if c.Bad == nil {
			if err := h.follow(r.Number, r.Inc, r.Seq, r.Count, r.Hash, r.Payload); err != nil {
				c.Bad = fmt.Errorf("host %q, incarnation %v, event %d, record %d, of what was trimmed off the log: %w", c.Node, r.Inc, c.Last+1, r.Number, err)
			}
		}
		return v.record(&r)
	})
}

// joins holds the end of what was trimmed off the log to where that goes on, which the log itself says.
func (v *verifying) joins(all, ends heads) {
	for _, inc := range sortedIncs(all) {
		begins, c := all[inc], v.chain(inc)
		end, there := ends[inc]
		switch {
		case c.Bad != nil:
		case v.partly && !there: // all of it was before what is there
			c.Last, c.Head, c.Trimmed = begins.last, begins.hash, begins.last
			v.pass(inc, begins.last, begins.last, begins.hash)
		case end.last != begins.last || end.hash != begins.hash:
			c.Bad = &unjoinedError{v, inc, end, begins}
		}
	}
	for _, inc := range sortedIncs(ends) {
		if _, ok := all[inc]; !ok {
			if c := v.chain(inc); c.Bad == nil {
				c.Bad = fmt.Errorf("host %q, incarnation %v, event 1: it is in what was trimmed off the log, and the log does not know of it", c.Node, inc)
			}
		}
	}
}

// unjoinedError says that a chain does not go on in the log where it ends in what was trimmed off. Whose it is may be known only from what comes later, where nothing
// of it is left before.
type unjoinedError struct {
	v           *verifying
	inc         Incarnation
	end, begins head
}

func (e *unjoinedError) Error() string {
	return fmt.Sprintf("host %q, incarnation %v, event %d: what was trimmed off the log ends with event %d of it and hash %v, and the log goes on after event %d with hash %v",
		e.v.chain(e.inc).Node, e.inc, min(e.end.last, e.begins.last)+1, e.end.last, e.end.hash, e.begins.last, e.begins.hash)
}
