package placement

import (
	"maps"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// runs remembers when those runs of replicas were first seen here that are ready since a time which had yet to come then: their host's clock is
// ahead. That time is no longer to come some day, and still says nothing, so each is kept for as long as it is the run that there is.
type runs map[projection.Pod]spell

type spell struct {
	readied time.Time // by its host's clock
	seen    time.Time // by this one's, which may be set meanwhile: with its monotonic reading
}

// since is since when a replica has been ready that is since readied by its host's clock, as far as can be told here: not for longer than it was.
func (rs runs) since(pod projection.Pod, readied, now time.Time) time.Time {
	if r, ok := rs[pod]; ok && r.readied.Equal(readied) {
		return r.seen
	}
	if !readied.After(now) {
		delete(rs, pod)
		return readied
	}
	rs[pod] = spell{readied, now}
	return now
}

// bound forgets what is placed no more.
func (rs runs) bound(s *projection.State) {
	maps.DeleteFunc(rs, func(pod projection.Pod, _ spell) bool {
		_, ok := s.Lookup(pod.PlacementKey())
		return !ok
	})
}

// since is since when the replica, which is ready, has been, by the clock of who looks. Who remembers nothing cannot tell that of one that is ready
// since a time to come: then the newest event here is when that was known at the latest, and the replica counts as available by then. To say
// that it is not would have people wait, and roll-outs with them, for as long as the other clock is ahead; what a roll-out takes away goes by
// what the Decider remembers.
func (r *Rollout) since(rep *Replica) time.Time {
	t := readied(rep.Seen)
	if r.runs != nil {
		return r.runs.since(rep.Pod, t, r.now)
	}
	known := r.known
	if known.After(r.now) {
		known = r.now
	}
	if minReady := r.minReady(); t.After(r.now) && t.After(known.Add(minReady)) { // for that long it is waited for in any case, so a clock may be off by as much
		r.wakeAt(t)
		return known.Add(-minReady)
	}
	return t
}
