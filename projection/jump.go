package projection

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
)

// jumpEntry is the record that makes s the state.
func jumpEntry(s *State, cause string) (events.Entry, error) {
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		return events.Entry{}, err
	}
	// What cannot be read again must not be written: no start could go past it.
	if _, err := DecodeState(bytes.NewReader(b.Bytes())); err != nil {
		return events.Entry{}, fmt.Errorf("the state cannot be written down: %w", err)
	}
	j := events.Jump{Cause: cause, State: b.Bytes()}
	for _, h := range s.vector {
		if h.Seq > 0 {
			j.Heads = append(j.Heads, events.JumpHead{Inc: h.Inc, Seq: h.Seq, Hash: h.Hash})
		}
	}
	return j.Entry()
}

// jumped is the state that a jump in the log says.
func jumped(rec *events.Record) (*State, error) {
	j, err := events.ParseJump(rec.Payload)
	if err != nil {
		return nil, err
	}
	s, err := DecodeState(bytes.NewReader(j.State))
	if err != nil {
		return nil, fmt.Errorf("jump: state: %w", err)
	}
	same := func(h Head, o events.JumpHead) bool { return h.Inc == o.Inc && h.Seq == o.Seq && h.Hash == o.Hash }
	if !slices.EqualFunc(s.vector, j.Heads, same) {
		return nil, errors.New("jump: its heads are not those of its state")
	}
	s.index, s.at = rec.Index, rec.At
	return s, nil
}

// ErrEntangled says that commits cannot be given up, since a state that was taken over after them holds what they did.
var ErrEntangled = errors.New("what has to be given up is part of a state that was taken over since")

// GiveUp has this host forget the commits of an incarnation after event seq: others know other commits by their numbers,
// and all hosts have agreed, each by itself, that those stand. What is given up is recorded again, at the same time and by
// the same hands, under an incarnation that follows from what it is, so that all hosts that do so write the very same
// commits. If the incarnation is this host's own, it draws another for what it writes from now on.
//
// It reads the whole log. When it returns nil, the log holds all that; after an error, and after a crash, either all or
// nothing of it, save that another incarnation may have been drawn. Where nothing is known after seq, nothing happens.
func (l *Ledger) GiveUp(ctx context.Context, inc events.Incarnation, seq uint64, cause string) error {
	return l.ask(ctx, &request{rewrite: func(s *State) (*rewritten, error) {
		if s.Head(inc).Seq <= seq {
			return nil, nil
		}
		before, given, err := l.without(inc, seq)
		if err != nil {
			return nil, err
		}
		again, err := recordAgain(given, seq)
		if err != nil {
			return nil, err
		}
		if inc == l.log.Incarnation() {
			if _, err := l.log.Renew(); err != nil {
				return nil, err
			}
		}
		return &rewritten{before, cause, again}, nil
	}}).err
}

// without is what the log comes to without the commits of an incarnation after event seq, and those commits.
func (l *Ledger) without(inc events.Incarnation, seq uint64) (*State, [][]byte, error) {
	s := NewState()
	var given [][]byte
	err := l.log.Scan(1, func(rec events.Record) error {
		if rec.Inc == 0 {
			n, err := jumped(&rec)
			if err != nil {
				return err
			}
			if n.Head(inc).Seq > seq {
				return ErrEntangled
			}
			s, given = n, nil
			return nil
		}
		payload := bytes.Clone(rec.Payload)
		if rec.Inc == inc && rec.Seq > seq {
			given = append(given, payload)
			return nil
		}
		c, err := events.ParseCommit(payload)
		if err != nil {
			return err
		}
		s.fold(s.objects, &c, rec.Hash, rec.Index, rec.At)
		return nil
	})
	return s, given, err
}

// recordAgain makes of commits of one incarnation after event seq those of another, which follows from the first of them.
// What they say of each other says so under the new numbers.
func recordAgain(given [][]byte, seq uint64) ([][]byte, error) {
	var to events.Incarnation
	var prev events.Hash
	var all [][]byte
	for i, b := range given {
		c, err := events.ParseCommit(b)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			to = forkOf(c.Inc, events.HashOf(b))
		}
		r := renumbering{c.Inc, seq, to}
		for n := range c.Events {
			r.event(&c.Events[n])
		}
		c.Inc, c.Seq, c.Prev = to, c.Seq-seq, prev
		again, err := c.Append(nil)
		if err != nil {
			return nil, fmt.Errorf("record again event %d of incarnation %v: %w", c.Seq+seq, r.inc, err)
		}
		prev = events.HashOf(again)
		all = append(all, again)
	}
	return all, nil
}

// forkOf is the incarnation under which is recorded again what was given up of another, from a certain commit on.
func forkOf(inc events.Incarnation, first events.Hash) events.Incarnation {
	b := binary.LittleEndian.AppendUint64([]byte("podman-swarm fork "), uint64(inc))
	sum := sha256.Sum256(append(b, first[:]...))
	return cmp.Or(events.Incarnation(binary.LittleEndian.Uint64(sum[:])), 1)
}

// renumbering is what ids become of an incarnation's events after one.
type renumbering struct {
	inc   events.Incarnation
	after uint64
	to    events.Incarnation
}

func (r *renumbering) id(id *events.ID) {
	if id.Inc == r.inc && id.Seq > r.after {
		id.Inc, id.Seq = r.to, id.Seq-r.after
	}
}

func (r *renumbering) event(e *events.Event) {
	r.id(&e.UID)
	r.id(&e.Base.ID)
	r.id(&e.For.ID)
	for i := range e.Ends {
		r.id(&e.Ends[i].UID)
		r.id(&e.Ends[i].Base.ID)
	}
}
