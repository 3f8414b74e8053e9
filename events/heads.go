package events

import (
	"errors"
	"fmt"
)

// head is the last record of one incarnation in this log.
type head struct {
	last uint64 // number of its last event
	hash Hash
}

// heads hold the log to one unbroken chain of hashes per incarnation.
type heads map[Incarnation]head

// follow checks that a commit of count events, whose bytes are payload, can be the next of its incarnation here,
// and takes it in. own is the incarnation that may have no gaps; those of other hosts have one where the state was
// transferred instead of the events.
func (h heads) follow(inc Incarnation, seq uint64, count uint32, hash Hash, payload []byte, own Incarnation) error {
	prev, known, err := prevOf(payload, inc, seq)
	if err != nil {
		return err
	}
	at, held := h[inc]
	switch {
	case seq+uint64(count) < seq: // and what follows on it would be numbered from 1 again
		return fmt.Errorf("event %d of incarnation %v: the numbers of %d events overflow", seq, inc, count)
	case seq <= at.last:
		return fmt.Errorf("event %d of incarnation %v is in the log already, which has it up to %d", seq, inc, at.last)
	case seq > at.last+1 && inc == own:
		return fmt.Errorf("event %d of this log's own incarnation %v follows on %d", seq, inc, at.last)
	case held && seq == at.last+1 && known && prev != at.hash:
		return fmt.Errorf("event %d of incarnation %v does not follow on its record before: it names %v, that is %v",
			seq, inc, prev, at.hash)
	}
	h[inc] = head{seq + uint64(count) - 1, hash}
	return nil
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
