package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// others reports whether there are other hosts that may know more than this one.
func (a *agent) others() bool {
	if !a.many() {
		return false
	}
	ever := false
	for o := range a.ledger.View().All(projection.HostType + "/") {
		ever = ever || o.Key != projection.HostKey(a.c.NodeName)
	}
	if len(a.known()) > 1 || ever {
		return len(a.known()) > 1 // else all others were removed, for good
	}
	// Who is to join has heard of nobody yet; nor has a member that has lost its log.
	return len(a.c.Join) > 0 || a.empty && a.cluster.old
}

// members are the other hosts of which anything was heard, without those that were removed.
func (a *agent) members(st *peersync.Status) []peersync.Peer {
	return slices.DeleteFunc(slices.Clone(st.Peers), func(p peersync.Peer) bool { return a.welcome(p.Host) != nil })
}

// lives reports whether a host is heard, by this one or by one that it hears.
func lives(st *peersync.Status, host string) bool {
	return slices.ContainsFunc(st.Peers, func(p peersync.Peer) bool { return p.Host == host && (p.Alive || st.At.Sub(p.Heard) < silence) })
}

// neverHeard are the other known hosts of which nothing has been heard since this agent started.
func (a *agent) neverHeard(peers []peersync.Peer) []string {
	return slices.DeleteFunc(a.known()[1:], func(name string) bool {
		return slices.ContainsFunc(peers, func(p peersync.Peer) bool { return p.Host == name })
	})
}

// awaited are the known hosts that can be heard: without those of which somebody has said that they are dead, unless they
// are heard all the same.
func (a *agent) awaited(peers []peersync.Peer) []string {
	st := a.ledger.View().State
	return slices.DeleteFunc(a.known(), func(name string) bool {
		n, _ := projection.Read[projection.Node](st, projection.NodeKey(name))
		h, spoke := projection.Read[projection.Host](st, projection.HostKey(name))
		return name != a.c.NodeName && spoke && n.Down.After(h.Started) &&
			!slices.ContainsFunc(peers, func(p peersync.Peer) bool { return p.Host == name && p.Alive })
	})
}

// grace is how long the rest of the hosts is waited for once a majority has been heard.
const grace = 3 * time.Second

// hearOthers returns once everything that a majority of the hosts had is folded here, or when patience is over: nothing of what they have has come for
// --recover-alone-after, or not all in ten times as long. Unless it is
// everything that all of them had, this host then counts its events under another incarnation: one that was not heard may
// know more of the old one than this host does, if its disk is not the newest. So it does where its disk was not the newest, as the others told.
func (a *agent) hearOthers(ctx context.Context) error {
	// Until sync has begun, nobody can be heard, and who waited meanwhile would go on alone for nothing.
	for st, next := a.cluster.sync.Status(); st.At.IsZero(); st, next = a.cluster.sync.Status() {
		a.waiting.Store("beginning to hear the other hosts")
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		}
	}
	wait := a.c.RecoverAloneAfter
	if len(a.known()) > 1 && len(a.awaited(nil)) == 1 {
		wait = min(wait, a.c.RecoveryDelay) // all others are said to be dead
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	p := patience{each: wait, until: time.Now().Add(catchingUp * wait)}
	var told, majority time.Time
	for {
		st, next := a.cluster.sync.Status()
		known := a.awaited(st.Peers)
		folded, all := 1, true
		for _, host := range a.known() {
			i := slices.IndexFunc(st.Peers, func(p peersync.Peer) bool { return p.Host == host })
			if i >= 0 && st.Peers[i].Folded && slices.Contains(known, host) { // one that has only just joined has nothing to tell
				folded++
			}
			all = all && (host == a.c.NodeName || i >= 0 && st.Peers[i].Folded && !st.Peers[i].ReadOnly)
		}
		// Who knows of no other host has heard none that could tell it anything, but perhaps one that is as new.
		enough := max(len(known)/2+1, 2)
		switch reached := folded >= enough && len(a.known()) > 1; {
		case st.Looking: // else what others have given up, and deleted since, would be started again
		case reached && all && st.Counts.Own > 0:
			a.log.Warn("the log of this host was put back to an earlier time, and what it lacked came from the others: it counts its events anew, "+
				"since what clients have been told of it as resourceVersion may mean other events now", "events", st.Counts.Own, "heard", folded-1)
			return a.ledger.Renew(ctx)
		case reached && all:
			a.log.Info("heard the other hosts", "heard", folded-1)
			return nil
		case reached && majority.IsZero():
			majority = time.Now()
		case reached && time.Since(majority) > grace:
			a.log.Info("heard a majority of the hosts, and not all", "heard", folded-1, "known", len(a.known())-1)
			return a.ledger.Renew(ctx)
		case !reached && time.Since(told) > 10*time.Second:
			a.log.Info("hearing the other hosts before anything is changed", "heard", folded-1, "wanted", enough-1, "alone_after", wait)
			told = time.Now()
		}
		waiting := fmt.Sprintf("hearing the other hosts: %d of %d that are needed", folded, enough)
		if st.Looking {
			waiting = "reading the log of this host for what the other hosts have given up of it"
		}
		a.waiting.Store(waiting)
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		case <-timer.C:
			if st.Looking || p.left(time.Now(), &st.Counts) {
				a.log.Info("still catching up with the other hosts", "events", st.Counts.Taken, "pieces_of_states", st.Counts.Pieces, "reads_its_log", st.Looking)
				timer.Reset(p.each)
				continue
			}
			a.log.Warn("not enough of the other hosts could be heard; going on alone", "known", strings.Join(a.known(), ", "), "after", wait)
			return a.ledger.Renew(ctx)
		}
	}
}

// catchingUp is how many times as long as for a word of others a start waits for all that they have, while more of it comes.
const catchingUp = 10

// patience is with others that are heard: who takes over what they have, which can be much, is not alone.
type patience struct {
	each  time.Duration
	until time.Time
	came  uint64
}

// left reports whether to wait as long again, when so much of others has come since the start: events, or a state in their stead.
func (p *patience) left(now time.Time, c *peersync.Counts) bool {
	came := c.Taken + c.Pieces + c.Transfers
	more := came > p.came
	p.came = came
	return more && now.Before(p.until)
}

// lastWord waits until another host has it that this one was removed: where this host was asked to do that, they may have it from
// nobody else once its agent has ended, and that does not start again.
func (a *agent) lastWord(ctx context.Context, removal events.ID) {
	if len(a.known()) < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, _, err := a.spread(ctx, removal, 2); err != nil {
		a.log.Warn("no other host is known to have heard that this one was removed: have it removed there too, by psctl node remove "+
			a.c.NodeName+" --force", "err", err)
	}
}

// hear waits until this host has heard enough of the others to act upon what it knows. As long as no other host is
// known that is a delay, in which whoever started the machine can still stop the agent. Until then changes are
// refused, and nothing is started, made or removed.
func (a *agent) hear(ctx context.Context) error {
	if a.others() {
		if err := a.hearOthers(ctx); err != nil {
			return err
		}
	} else {
		a.waiting.Store(fmt.Sprintf("for %v after a start, whoever is near is heard first", a.c.RecoveryDelay))
		select {
		case <-ctx.Done():
		case <-time.After(a.c.RecoveryDelay):
		}
	}
	if ctx.Err() == nil && a.many() {
		a.cluster.sight.settle(ctx)
	}
	if ctx.Err() == nil {
		close(a.heard)
	}
	return nil
}

func (a *agent) settle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.heard:
		return nil
	}
}

// ready is settle for who makes containers, which look up names where they are answered.
func (a *agent) ready(ctx context.Context) error {
	if err := a.settle(ctx); err != nil {
		return err
	}
	a.services.known(ctx)
	return ctx.Err()
}
