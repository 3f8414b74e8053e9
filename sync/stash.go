package sync

import (
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// stash keeps commits that came before those that they follow on, so that they need not be asked for again.
type stash struct {
	held  map[events.Incarnation]map[uint64]stashed // by the number of the first event
	bytes int
}

type stashed struct {
	commit []byte
	last   uint64
}

// stashMost bounds the bytes of a stash. What does not fit is asked for again.
const stashMost = 16 << 20

func (s *stash) put(a *projection.Admission, commit []byte) {
	if s.bytes+len(commit) > stashMost {
		return
	}
	if s.held == nil {
		s.held = map[events.Incarnation]map[uint64]stashed{}
	}
	if s.held[a.Inc] == nil {
		s.held[a.Inc] = map[uint64]stashed{}
	}
	if _, ok := s.held[a.Inc][a.Seq]; !ok {
		s.held[a.Inc][a.Seq] = stashed{commit, a.Last}
		s.bytes += len(commit)
	}
}

// next takes out the commits that follow on an event, one on the other.
func (s *stash) next(inc events.Incarnation, last uint64) (all [][]byte) {
	of := s.held[inc]
	for {
		h, ok := of[last+1]
		if !ok {
			return all
		}
		s.drop(inc, last+1)
		all, last = append(all, h.commit), h.last
	}
}

// prune forgets what has been folded since.
func (s *stash) prune(state *projection.State) {
	for inc, of := range s.held {
		for seq, h := range of {
			if h.last <= state.Head(inc).Seq {
				s.drop(inc, seq)
			}
		}
	}
}

// forget forgets what is kept of an incarnation.
func (s *stash) forget(inc events.Incarnation) {
	for seq := range s.held[inc] {
		s.drop(inc, seq)
	}
}

func (s *stash) drop(inc events.Incarnation, seq uint64) {
	s.bytes -= len(s.held[inc][seq].commit)
	if delete(s.held[inc], seq); len(s.held[inc]) == 0 {
		delete(s.held, inc)
	}
}
