package events

import (
	"errors"
	"fmt"
	"slices"
	"sort"
)

// head is how far this log has one incarnation, and where.
type head struct {
	last  uint64      // number of its last event
	hash  Hash        // of its last record
	floor uint64      // of its events up to this one, not all are here: the log jumped over them
	marks []headMark  // every so many events of it, or records of any, where they are
	void  []headRange // records that a jump said are not the incarnation's
}

// headMark is the record that holds, or is the first after, an event of an incarnation.
type headMark struct{ seq, record uint64 }

// headRange is the events after one, as far as they stand before a record.
type headRange struct{ after, before uint64 }

// markEveryEvents and markEveryRecords are how many events of an incarnation, and records of any, are between two of its marks at most: before one
// of its commits, so much may be read in vain. The second is for an incarnation that writes seldom, among others that write often.
const (
	markEveryEvents  = 256
	markEveryRecords = 1024
)

// heads hold the log to one unbroken chain of hashes per incarnation, and find its records.
type heads map[Incarnation]head

// follow checks that a record can be the next one here, and takes it in. number is the record's.
func (h heads) follow(number uint64, inc Incarnation, seq uint64, count uint32, hash Hash, payload []byte) error {
	if inc == 0 {
		return h.jump(number, payload)
	}
	prev, known, err := prevOf(payload, inc, seq)
	if err != nil {
		return err
	}
	at := h[inc]
	switch {
	case seq+uint64(count) < seq: // and what follows on it would be numbered from 1 again
		return fmt.Errorf("event %d of incarnation %v: the numbers of %d events overflow", seq, inc, count)
	case seq <= at.last:
		return fmt.Errorf("event %d of incarnation %v is in the log already, which has it up to %d", seq, inc, at.last)
	case seq > at.last+1:
		return fmt.Errorf("event %d of incarnation %v follows on %d", seq, inc, at.last)
	case known && prev != at.hash:
		return fmt.Errorf("event %d of incarnation %v does not follow on its record before: it names %v, that is %v",
			seq, inc, prev, at.hash)
	}
	if n := len(at.marks); n == 0 || seq-at.marks[n-1].seq >= markEveryEvents || number-at.marks[n-1].record >= markEveryRecords {
		at.marks = append(at.marks, headMark{seq, number})
	}
	at.last, at.hash = seq+uint64(count)-1, hash
	h[inc] = at
	return nil
}

// jump sets all heads to those of a jump. What the log has of an incarnation beyond its new head is not the
// incarnation's any more; where the new head is further on, events are missing up to it.
func (h heads) jump(number uint64, payload []byte) error {
	j, err := parseJump(payload)
	if err != nil {
		return err
	}
	for inc, at := range h {
		to := JumpHead{}
		if i := slices.IndexFunc(j.Jump.Heads, func(o JumpHead) bool { return o.Inc == inc }); i >= 0 {
			to = j.Jump.Heads[i]
		}
		if to.Anew {
			h[inc] = head{last: to.Seq, hash: to.Hash, floor: to.Seq, void: []headRange{{0, number}}}
			continue
		}
		if to.Seq < at.last {
			at.void = append(slices.Clone(at.void), headRange{to.Seq, number})
			at.marks = slices.Clone(at.marks[:sort.Search(len(at.marks), func(i int) bool { return at.marks[i].seq > to.Seq })])
		}
		if to.Seq > at.last || to.Seq == at.last && to.Hash != at.hash {
			at.floor, at.marks = to.Seq, nil
		}
		at.floor = min(at.floor, to.Seq)
		at.last, at.hash = to.Seq, to.Hash
		h[inc] = at
	}
	for _, to := range j.Jump.Heads {
		if _, ok := h[to.Inc]; !ok {
			h[to.Inc] = head{last: to.Seq, hash: to.Hash, floor: to.Seq}
		}
	}
	return nil
}

// from is the record at which, or before which, the first event after seq stands.
func (h *head) from(seq uint64) uint64 {
	i := sort.Search(len(h.marks), func(i int) bool { return h.marks[i].seq > seq+1 })
	if i == 0 {
		return 1
	}
	return h.marks[i-1].record
}

// holds reports whether the record is one of the incarnation's commits, and none that a jump made void.
func (h *head) holds(r *Record) bool {
	return r.Seq <= h.last && !slices.ContainsFunc(h.void, func(v headRange) bool { return r.Seq > v.after && r.Number < v.before })
}

// prevOf reads from a commit's bytes the hash of the one before. It is not known of a commit in a later format.
func prevOf(payload []byte, inc Incarnation, seq uint64) (prev Hash, known bool, err error) {
	var c Commit
	if !(&parser{b: payload}).start(&c) {
		c, err = parseSlow(payload)
		if errors.Is(err, ErrVersion) {
			return Hash{}, false, nil
		}
		if err != nil {
			return Hash{}, false, err
		}
	}
	if c.Inc != inc || c.Seq != seq {
		return Hash{}, false, fmt.Errorf("commit of incarnation %v, event %d, put down as %v, %d", c.Inc, c.Seq, inc, seq)
	}
	return c.Prev, true, nil
}
