package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/placement"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// sight is which hosts are heard, for who must know when that changes.
type sight struct {
	a     *agent
	since time.Time
	left  map[string]time.Time // hosts that said that they stop, and since when they are heard all the same
	told  budget               // of changes: a host whose agent ends again and again is silent and back for ever

	mu      sync.Mutex
	peers   []placement.Peer
	changed chan struct{} // closed when peers is another
}

const (
	sightBurst = 1000 // so many changes are told of as they come: Services go by them, so a bad day must not use that up,
	sightEvery = 15 * time.Second
)

func newSight(a *agent) *sight {
	return &sight{a: a, since: time.Now(), left: map[string]time.Time{}, told: budget{burst: sightBurst, every: sightEvery}, changed: make(chan struct{}),
		peers: []placement.Peer{{Host: a.c.NodeName}}}
}

// Peers are the hosts as they are heard now, and a channel that is closed when that changes.
func (s *sight) Peers() ([]placement.Peer, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers, s.changed
}

// silence is after how long without a beat a host counts as silent.
const silence = 5 * time.Second

// catchUp is for how long a host that is heard again keeps this one from deciding, while what it had by then is not folded here: what cannot be read
// must not do so for good.
const catchUp = 30 * time.Second

// look reads how the hosts are heard at this moment, and how this one is.
func (s *sight) look(st *peersync.Status) []placement.Peer {
	starting, readOnly := s.a.standing()
	return s.see(st, placement.Peer{Host: s.a.c.NodeName, Ready: !starting, Writable: !readOnly, Hears: []string{s.a.c.NodeName}})
}

// see reads how the hosts are heard. Since when one is silent is told as it was measured, and neither rounded nor put into a zone: that would leave
// the time of the wall clock alone, which can be set while a host is waited for. This one is not ready to decide while it catches up with one that it hears again: a host that it takes for silent may
// have said to the other meanwhile that it will be back.
func (s *sight) see(st *peersync.Status, self placement.Peer) []placement.Peer {
	all := []placement.Peer{}
	heard := map[string]bool{self.Host: true}
	for _, p := range s.a.members(st) {
		heard[p.Host] = true
		o := placement.Peer{Host: p.Host, Ready: !p.Starting, Writable: !p.ReadOnly, Hears: p.Hears}
		switch {
		case p.Alive:
			self.Hears, o.Since = append(self.Hears, p.Host), p.Since
			self.Ready = self.Ready && (p.Folded || st.At.Sub(p.Since) >= catchUp)
		case st.At.Sub(p.Heard) >= silence:
			if o.Silent = p.Heard; o.Silent.IsZero() {
				o.Silent = s.since
			}
		default:
			o.Hears = s.recorded(p.Host)
		}
		all = append(all, o)
	}
	if st.At.Sub(s.since) >= silence {
		for _, host := range s.a.known() {
			if !heard[host] {
				all = append(all, placement.Peer{Host: host, Silent: s.since})
			}
		}
	}
	slices.Sort(self.Hears)
	return append(all, self)
}

// recorded are the hosts that one hears by what it has recorded, which comes also from others. It is asked of those whose
// beats do not come here: what they said in their last one need not be so any more.
func (s *sight) recorded(host string) []string {
	silent := s.a.ledger.View().HeardBy(host).Silent
	return slices.DeleteFunc(s.a.known(), func(other string) bool { _, ok := silent[other]; return ok })
}

// backAfter is for how long a host that said that it stops must be heard all the same to count as back: one that does stop
// is silent by then.
const backAfter = 2 * silence

// back reports whether a host is back that said that it stops, and has not taken that back, as on a full disk, and whether
// that is to be recorded: it is by saying anew who is silent.
func (s *sight) back(v *projection.View, at time.Time, peers []placement.Peer) bool {
	said, ok := v.Lookup(projection.SightKey(s.a.c.NodeName))
	back := false
	for _, p := range peers {
		var h projection.Host
		o, spoken := v.Lookup(projection.HostKey(p.Host))
		if !spoken || json.Unmarshal(o.Version.Object, &h) != nil || h.Left.IsZero() || !p.Silent.IsZero() || p.Host == s.a.c.NodeName ||
			ok && said.Version.Index > o.Version.Index {
			delete(s.left, p.Host)
			continue
		}
		if _, ok := s.left[p.Host]; !ok {
			s.left[p.Host] = at
		}
		back = back || at.Sub(s.left[p.Host]) >= backAfter
	}
	return back
}

// recordAgain is how long to wait with who is silent when the log does not take it, as on a full disk.
const recordAgain = 10 * time.Second

// Run follows what is heard until ctx ends, and records which hosts are silent: what the API shows of them is what the
// log says.
func (s *sight) Run(ctx context.Context) error {
	var failed time.Time
	for {
		st, next := s.a.cluster.sync.Status()
		now := s.look(st)
		s.mu.Lock()
		if !slices.EqualFunc(now, s.peers, samePeer) {
			s.peers = now
			close(s.changed)
			s.changed = make(chan struct{})
		}
		s.mu.Unlock()
		select {
		case <-s.a.heard:
			if time.Since(failed) < recordAgain {
				break
			}
			if err := s.record(ctx, st.At, false, now); err != nil && ctx.Err() == nil {
				failed = time.Now()
				s.a.log.Warn("which hosts are silent cannot be recorded; trying again", "err", err)
			}
		default:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		}
	}
}

// settle waits until each known host is heard, or has been silent for long enough to be known for silent, and records which
// are. Before that, what a host said last of its containers would count as if it were heard, and this host could let go
// of one of its own for it.
func (s *sight) settle(ctx context.Context) {
	for {
		st, next := s.a.cluster.sync.Status()
		now := s.look(st)
		unsure := slices.ContainsFunc(s.a.known(), func(host string) bool {
			return host != s.a.c.NodeName && !slices.ContainsFunc(st.Peers, func(p peersync.Peer) bool { return p.Host == host && p.Alive }) &&
				!slices.ContainsFunc(now, func(p placement.Peer) bool { return p.Host == host && !p.Silent.IsZero() })
		})
		if !unsure || st.At.Sub(s.since) >= 2*silence { // one that only others hear is neither
			if err := s.record(ctx, st.At, true, now); err != nil && ctx.Err() == nil {
				s.a.log.Warn("which hosts are silent cannot be recorded", "err", err)
			}
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
	}
}

func samePeer(a, b placement.Peer) bool {
	return a.Host == b.Host && a.Silent.Equal(b.Silent) && a.Ready == b.Ready && a.Writable == b.Writable && a.Since.Equal(b.Since) && slices.Equal(a.Hears, b.Hears)
}

// record records who is silent, and who recovers since it was, if that is not what is recorded. When this host sees the others
// for the first time since it started, it does not know who was.
func (s *sight) record(ctx context.Context, at time.Time, first bool, peers []placement.Peer) error {
	key, silent, recovering := projection.SightKey(s.a.c.NodeName), map[string]time.Time{}, []string(nil)
	known, view := s.a.known(), s.a.ledger.View()
	saw := view.HeardBy(s.a.c.NodeName)
	was := saw.Silent
	for _, p := range peers {
		_, unheard := was[p.Host]
		switch {
		case !slices.Contains(known, p.Host), p.Host == s.a.c.NodeName:
		case !p.Silent.IsZero():
			silent[p.Host] = at.Add(-at.Sub(p.Silent)).UTC().Truncate(time.Millisecond) // by the clock as it is set now
		case !p.Ready && (unheard || first || slices.Contains(saw.Recovering, p.Host)):
			recovering = append(recovering, p.Host)
		}
	}
	slices.Sort(recovering)
	back := s.back(view, at, peers)
	if slices.Equal(slices.Sorted(maps.Keys(silent)), slices.Sorted(maps.Keys(was))) && slices.Equal(recovering, saw.Recovering) && !back { // since when may be seen to be a little later
		return nil
	}
	if s.told.wait(at) > 0 {
		return nil // it is seen again with the next beat
	}
	s.told.take(at)
	for host := range silent {
		if _, ok := was[host]; !ok {
			s.a.log.Warn("a host is silent", "host", host, "since", silent[host])
		}
	}
	for host := range was {
		if _, ok := silent[host]; !ok {
			s.a.log.Info("a host is heard again", "host", host)
		}
	}
	object := projection.Encode(projection.Sight{Silent: silent, Recovering: recovering})
	_, err := s.a.ledger.Record(ctx, projection.By{Actor: "agent", Cause: "which hosts are heard"}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: events.Observed, Key: key, Object: object}}, nil
	})
	return err
}

// seen is what the API shows of the other hosts, and, of one that is alone, of what should leave it.
func (a *agent) seen() api.Cluster {
	if !a.many() {
		var c api.Cluster
		c.Unmoved, c.Waiting = unmoved(placement.Stuck(a.ledger.View().State, a.lookingAt(nil)))
		return c
	}
	st, _ := a.cluster.sync.Status()
	view := a.ledger.View()
	peers, _ := a.cluster.sight.Peers()
	c := api.Cluster{Name: a.c.ClusterName, Digest: view.Digest()[:16]}
	agree, members := true, a.members(st)
	c.Lag, c.Behind = lacks(members, st.At)
	for _, p := range members {
		o := asPeer(p, a.cluster.sight.since, st.At)
		if p.Alive || !o.Elsewhere.IsZero() {
			if agree = agree && !o.Agrees.IsZero(); o.Agrees.After(c.Agrees) {
				c.Agrees = o.Agrees
			}
		}
		c.Peers = append(c.Peers, o)
	}
	if !agree {
		c.Agrees = time.Time{}
	}
	c.Unmoved, c.Waiting = unmoved(placement.Stuck(view.State, a.lookingAt(peers)))
	c.Stuck = append(c.Stuck, a.touched(view)...)
	for _, p := range st.Problems {
		c.Stuck = append(c.Stuck, api.Problem{What: p.What, Why: "since " + p.Since.UTC().Format(time.TimeOnly) + " UTC", Do: p.Do})
	}
	if left := time.Until(a.cluster.member.Expires()); left < 14*24*time.Hour {
		c.Stuck = append(c.Stuck, api.Problem{What: "this host's certificate, or the cluster's authority, ends in " + left.Round(time.Minute).String(),
			Why: "it could not be renewed", Do: "see the agent's log; is the disk full, or the clock wrong?"})
	}
	if back := view.At().Sub(a.now()); back > time.Minute {
		c.Stuck = append(c.Stuck, api.Problem{What: "the clock of this host says that it is " + a.now().UTC().Format(time.DateTime) + " UTC, and its log was written at " +
			view.At().UTC().Format(time.DateTime) + " already", Why: "the others refuse a host whose clock is off by more than a day", Do: "set it right (timedatectl, chrony); if it was ahead then, and is right now, nothing is to be done"})
	}
	for _, p := range st.Peers {
		if p.Alive && p.Offset.Abs() > a.c.MaxClockSkew/2 {
			c.Stuck = append(c.Stuck, api.Problem{What: "the clock of host " + p.Host + " differs from this host's by " + p.Offset.Round(time.Millisecond).String(),
				Why: "changes are ordered by clocks where they did not know of each other", Do: "set the clock that is wrong right (timedatectl, chrony)"})
		}
	}
	return c
}

// lackedFor is for how long a host has had something that this one lacks. Of one that is not heard it is known only of its own events: others
// may have brought the rest meanwhile.
func lackedFor(p peersync.Peer, at time.Time) time.Duration {
	if p.Ahead.IsZero() || !p.Alive && p.Lacked == 0 {
		return 0
	}
	return at.Sub(p.Ahead)
}

// lacks is how far this host is behind the others: how many events of theirs, each its own, and for how many seconds.
func lacks(peers []peersync.Peer, at time.Time) (events uint64, seconds float64) {
	for _, p := range peers {
		events, seconds = events+p.Lacked, max(seconds, lackedFor(p, at).Seconds())
	}
	return events, seconds
}

// asPeer is what the API is told of a host at that time, as it is heard by this one, which has listened since then.
func asPeer(p peersync.Peer, since, at time.Time) api.Peer {
	o := api.Peer{Host: p.Host, Version: p.Version, Alive: p.Alive, Heard: p.Heard, Ready: !p.Starting, Writable: !p.ReadOnly,
		Lag: p.Behind + p.Lacked, Behind: max(p.For, lackedFor(p, at)).Seconds(), Digest: "unknown", Agrees: p.Agrees, Offset: p.Offset, RTT: p.RTT}
	switch {
	case !p.Alive:
		o.Agrees = time.Time{} // what it had when it was heard is no word on what it has now
		direct := p.Direct
		if direct.IsZero() {
			direct = since
		}
		if p.Heard.Sub(direct) >= silence { // whom nobody hears, all heard last at about the same time
			o.Elsewhere = direct
		}
	case p.Differs:
		o.Digest = "differs"
		if p.Parts != "" {
			o.Digest += " at " + p.Parts
		}
	case !p.Agrees.IsZero():
		o.Digest = "agrees"
	}
	return o
}

// unmoved tells the replicas that cannot be moved as things are from those that merely have not been yet: why, or what they wait for.
func unmoved(stuck map[projection.Pod]string) (cannot, waiting map[string]string) {
	cannot, waiting = map[string]string{}, map[string]string{}
	for pod, why := range stuck {
		into := waiting
		why, not := strings.CutPrefix(why, "not moved: ")
		if not || strings.HasPrefix(why, "stays ") {
			into = cannot
		}
		into[pod.Namespace+"/"+pod.Name()] = why
	}
	return cannot, waiting
}

// lookingAt is the cluster for who looks at what is placed, with the hosts as they are heard.
func (a *agent) lookingAt(peers []placement.Peer) placement.Cluster {
	c := placement.Cluster{Host: a.c.NodeName, Alone: !a.many(), Peers: peers, Now: time.Now(), RescheduleAfter: a.c.RescheduleAfter}
	if a.many() {
		c.Since = a.cluster.sight.since
	}
	return c
}

// stuck is how many replicas are not where they should be, or nowhere.
func (a *agent) stuck() int {
	var peers []placement.Peer
	if a.many() {
		peers, _ = a.cluster.sight.Peers()
	}
	return len(placement.Stuck(a.ledger.View().State, a.lookingAt(peers)))
}

// unshared says which events of this host's log are on no other host, as far as is known, since they are lost to the cluster with it;
// "" where that is not known of any.
func (a *agent) unshared() string {
	st, _ := a.cluster.sync.Status()
	n := alone(st.Peers)
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(". The last %d events of its log are not known to be on any other host: podman-swarm-agent log dump --data-dir %s --from %d shows them",
		n, a.c.DataDir, a.ledger.View().Index()-n+1)
}

// alone is how many of the newest events no other host had when it was last heard.
func alone(peers []peersync.Peer) (least uint64) {
	for i, p := range peers {
		if p.Unknown { // it may have had all
			return 0
		}
		if i == 0 || p.Behind < least {
			least = p.Behind
		}
	}
	return least
}
