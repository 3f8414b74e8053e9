package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
)

// jumpEntry is the record that makes s the state, in which an incarnation (zero: none) is on another chain than in the log before it.
func jumpEntry(s *State, cause string, anew events.Incarnation) (events.Entry, error) {
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
			j.Heads = append(j.Heads, events.JumpHead{Inc: h.Inc, Seq: h.Seq, Hash: h.Hash, Anew: h.Inc == anew})
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

// GiveUp has this host forget the commits of an incarnation after event seq: others know other commits by their numbers,
// and all hosts have agreed, each by itself, that those stand. What is given up is recorded again, at the same time and by
// the same hands, under an incarnation that follows from what it is, so that all hosts that do so write the very same
// commits; and so is what others said of its objects. If the incarnation is this host's own, it draws another for what it writes from now on.
//
// It reads the whole log. When it returns nil, the log holds all that; after an error, and after a crash, either all or
// nothing of it, save that another incarnation may have been drawn, or what others have recorded again of the same been given up in its turn.
// Where nothing is known after seq, nothing happens. ErrEntangled: the log does not hold all commits of the state.
func (l *Ledger) GiveUp(ctx context.Context, inc events.Incarnation, seq uint64, cause string) error {
	for {
		err := l.giveUp(ctx, inc, seq, cause)
		var parted *partedError
		if !errors.As(err, &parted) {
			return err
		}
		if err := l.GiveUp(ctx, parted.inc, parted.seq, cause); err != nil {
			return err
		}
	}
}

func (l *Ledger) giveUp(ctx context.Context, inc events.Incarnation, seq uint64, cause string) error {
	return l.ask(ctx, &request{rewrite: func(s *State) (*rewritten, error) {
		if s.Head(inc).Seq <= seq {
			return nil, nil
		}
		without, err := l.refold(s.vector, inc, seq)
		if err != nil {
			return nil, err
		}
		again, err := recordAgain(without.given, seq, without.others, without.links.renumbered(s))
		if err != nil {
			return nil, err
		}
		commits, err := again.fit(without.state, without.links)
		if err != nil {
			return nil, err
		}
		if inc == l.log.Incarnation() {
			if _, err := l.log.Renew(); err != nil {
				return nil, err
			}
		}
		return &rewritten{state: without.state, cause: cause, commits: commits}, nil
	}}).err
}
