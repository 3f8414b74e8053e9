package placement

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// leaves says why the replica must leave its host, which is alive: for another, as soon as one has taken its place; "":
// it stays. One that writes to a folder of its host stays.
func (p *pass) leaves(r *Replica) string {
	why := p.unwanted(r)
	if why == "" || p.writable(r) != "" {
		return ""
	}
	return why
}

// unwanted says why the replica's host, which is alive, is to be without it.
func (p *pass) unwanted(r *Replica) string {
	if r.Host == "" {
		return ""
	}
	h := p.hosts.at(r.Host)
	if !h.silent.IsZero() || h.gone != "" {
		return ""
	}
	if h.node.Draining {
		return "drained"
	}
	if s := p.given.slots[r.Pod]; s != nil {
		if t := untolerated(&s.group.spec, h, corev1.TaintEffectNoExecute); t != nil {
			return "tainted " + t.ToString()
		}
	}
	return ""
}

// writable is the path of a folder of its host that the replica may write to; "" for none.
func (p *pass) writable(r *Replica) string {
	if s := p.given.slots[r.Pod]; s != nil {
		return s.group.writable
	}
	return ""
}

// replace places as many replicas, n at most, as must leave their hosts and find room elsewhere. Those leave once these run.
func (d *decision) replace(n int) {
	for i := range min(n, len(d.leaving), burst) {
		r := d.leaving[i]
		pod := d.freePod()
		host, why := d.place(pod, d.template, d.hash)
		if host == "" {
			return // Stuck says why
		}
		why = fmt.Sprintf("in place of %s on %s, which is %s: %s", r.Name(), r.Host, d.leaves(r), why)
		d.put(pod, projection.Placement{Host: host, SpecHash: d.hash, Template: d.template, Why: why})
	}
}

// spared reports whether an old replica may go, as far as its place is concerned. One that must leave its host goes when
// there are enough without it, or when there is room for another elsewhere.
func (d *decision) spared(r *Replica) bool {
	if !slices.Contains(d.leaving, r) {
		return true
	}
	left := len(d.updated)
	for _, l := range d.leaving {
		if !d.dropped[l.PlacementKey()] {
			left++
		}
	}
	return left > d.wanted || d.elsewhere(r)
}

// elsewhere reports whether there is room for another replica on another host. What it finds is kept for it until all that
// is decided together has been recorded.
func (d *decision) elsewhere(r *Replica) bool {
	pod := projection.Pod{Namespace: r.Namespace, Deployment: r.Deployment, Ordinal: -1 - r.Ordinal} // no pod has that name
	mark := d.given.mark()
	d.given.put(r.Pod, nil)
	host, _ := d.place(pod, d.template, d.hash)
	if host == "" {
		d.given.back(mark)
		delete(d.unplaced, pod)
		d.unplaced[r.Pod] = true
	}
	return host != ""
}

// stays is 1 for a replica that need not leave its host, and 0 for one that must, for the given reason.
func stays(leaves string) int {
	if leaves == "" {
		return 1
	}
	return 0
}

// flee has an old replica leave a host that it must leave when the roll-out that is to replace it stands still: as it is, so
// from its own template, and one after the other. Meanwhile it counts as one that does not serve, and one less than the
// strategy wants may count; but its container runs on until the other does.
func (d *decision) flee() {
	available := 0
	for _, r := range slices.Concat(d.old, d.updated, d.leaving) {
		if r.Available {
			available++
		}
	}
	if slices.ContainsFunc(slices.Concat(d.updated, d.leaving), d.comes) {
		return // one that comes may be for one that is to go
	}
	_, unavailable := bounds(d.rollout.Deployment)
	old := slices.Clone(d.old)
	worstFirst(old)
	for _, r := range old {
		why := d.leaves(r)
		if why == "" || r.Available && available < d.wanted-unavailable {
			continue
		}
		if host, reason := d.place(r.Pod, r.Template, r.SpecHash); host != "" {
			d.put(r.Pod, projection.Placement{Host: host, SpecHash: r.SpecHash, Template: r.Template, Moves: r.Moves, Moved: r.Moved,
				Why: fmt.Sprintf("moved from %s, which is %s, while the roll-out stands still: %s", r.Host, why, reason)})
			return
		}
	}
}

// comes reports whether the replica is on its way to serve, as far as is known: it has neither failed nor taken too long.
func (d *decision) comes(r *Replica) bool {
	if deadline, running := d.rollout.deadline(); r.Host == "" || running && !deadline.After(d.cluster.Now) {
		return false
	}
	return r.Seen == nil || r.Seen.Phase == projection.Running && !d.steady(r, false) ||
		r.Seen.Phase == projection.Pending && (r.Seen.Reason == "" || r.Seen.Reason == "ContainerCreating")
}

// move gives the replicas of hosts that are gone other hosts. One for which there is none stays where it is: its host may
// return.
func (d *decision) move() {
	moved := 0
	for _, rs := range [][]*Replica{d.updated, d.old} {
		for _, r := range rs {
			if r.Host == "" || d.dropped[r.PlacementKey()] || moved == burst {
				continue
			}
			why, at := d.moves(r)
			if d.rollout.wakeAt(at); why == "" {
				d.part(r)
				continue
			}
			host, reason := d.place(r.Pod, r.Template, r.SpecHash)
			if host == "" {
				continue // Stuck says why
			}
			moved++
			now, n := d.cluster.Now, r.Moves+1
			if now.Sub(r.Moved) >= longestWait {
				n = 1
			}
			d.put(r.Pod, projection.Placement{Host: host, SpecHash: r.SpecHash, Template: r.Template, Moves: n, Moved: now.UTC(),
				Why: fmt.Sprintf("moved from %s (%s): %s", r.Host, why, reason)})
		}
	}
}

// part gives the replica another host, or none, if its host ports are another's: two hosts decided at once, or a host
// was given up for dead and was not.
func (d *decision) part(r *Replica) {
	taken := d.clash(r)
	if taken == "" {
		return
	}
	host, why := d.place(r.Pod, r.Template, r.SpecHash)
	d.put(r.Pod, projection.Placement{Host: host, SpecHash: r.SpecHash, Template: r.Template, Moves: r.Moves, Moved: r.Moved,
		Why: fmt.Sprintf("moved from %s (host port %s): %s", r.Host, taken, why)})
}

// clash says which host port of the replica, which does not run, another has that comes first: one that runs, or else
// the one that is first by name; "" when none has.
func (d *decision) clash(r *Replica) string {
	s := d.given.slots[r.Pod]
	if r.Ready || s == nil || len(s.group.ports) == 0 || !r.Silent.IsZero() {
		return ""
	}
	first := func(other projection.Pod) bool {
		if other.Compare(r.Pod) < 0 {
			return true
		}
		p, err := d.state.Placement(other)
		if err != nil || p == nil {
			return false
		}
		seen, err := d.state.Replica(p)
		return err == nil && seen != nil && seen.Phase == projection.Running
	}
	taken, by := "", projection.Pod{}
	for other, ports := range d.given.on(r.Host).ports {
		for _, hp := range s.group.ports {
			if other != r.Pod && slices.ContainsFunc(ports, hp.clashes) && first(other) && (taken == "" || other.Compare(by) < 0) {
				taken, by = fmt.Sprintf("%d/%s taken by %s/%s", hp.port, hp.protocol, other.Namespace, other.Name()), other
			}
		}
	}
	return taken
}

// moves says why the replica gets another host now; "" when it does not, and then when it will, if that is known.
func (p *pass) moves(r *Replica) (why string, at time.Time) {
	h := p.hosts.at(r.Host)
	word := h.removed || h.down // a person's
	switch {
	case h.silent.IsZero() && h.gone == "", !word && p.writable(r) != "":
		return "", time.Time{}
	case h.gone == "" && !p.majority:
		return "", time.Time{}
	case h.gone == "":
		return "", later(h.due, p.settled(r))
	case !word && p.settled(r).After(p.cluster.Now):
		return "", p.settled(r)
	}
	return h.gone, time.Time{}
}

// settled is when a replica that was moved may be moved again; zero: now. That it was moved at a time to come was said by a clock that was ahead,
// and is no word on when that was: it must not stay on a host that is dead for as long as that.
func (p *pass) settled(r *Replica) time.Time {
	if r.Moved.After(p.cluster.Now) {
		return time.Time{}
	}
	return r.Moved.Add(min(longestWait, p.cluster.reschedule()<<min(r.Moves, 20)))
}
