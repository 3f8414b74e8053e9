package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/summary"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// What becomes of hosts and of their agents is told as Events of Nodes. A fact that names several hosts is one Event, of the host that says it; what
// is said of one other host alone, of its log, is of that one. Who says it is the Event's source.

// aboutNode is something that happened to a host.
func aboutNode(st *projection.State, host string) *happening {
	h := &happening{about: corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: host}}
	if o, ok := st.Lookup(projection.HostKey(host)); ok {
		h.about.UID = uidOf(o.UID)
	}
	return h
}

// hasOthers reports whether other hosts than this one are known.
func hasOthers(st *projection.State, host string) bool {
	for other := range knownHosts(st) {
		if other != host {
			return true
		}
	}
	return false
}

func happenNode(step *projection.Step, e *events.Event, host string) *happening {
	h := aboutNode(step.After, host)
	if strings.HasPrefix(e.Key, projection.RecoveryType+"/") {
		r, ok := projection.Read[projection.Recovery](step.After, e.Key)
		if !ok || r.Done.IsZero() {
			return nil
		}
		h.reason, h.warning = "Recovered", r.Failed > 0 || r.Bounced > 0
		h.message = fmt.Sprintf("adopted %d, started %d, created %d, removed %d, orphans %d, failed %d",
			r.Adopted, r.Restart, r.Created, r.Removed, r.Orphans, r.Failed)
		if r.More > 0 {
			h.warning = true
			h.message += fmt.Sprintf("; the agent was started %d times before that of which no event tells", r.More)
		}
		return h
	}
	was, before := projection.Read[projection.Host](step.Before, e.Key)
	is, ok := projection.Read[projection.Host](step.After, e.Key)
	switch {
	case !ok:
		return nil
	case !before && hasOthers(step.Before, host):
		h.reason, h.message = "Joined", "is a host of the cluster, with agent "+is.Version
	case !before || !was.Started.Equal(is.Started):
		h.reason, h.message = "Starting", "agent "+is.Version
	case (was.Podman == "") == (is.Podman == ""):
		return nil
	case is.Podman == "":
		h.reason, h.message, h.warning = "NodeNotReady", "Podman cannot be reached", true
	default:
		h.reason, h.message = "NodeReady", "Podman "+is.Podman
	}
	return h
}

// happenSaid is what people have said of a host.
func happenSaid(step *projection.Step, e *events.Event, host string) *happening {
	h := aboutNode(step.After, host)
	h.warning = true
	was, is := said(step.Before, host), said(step.After, host)
	switch {
	case strings.HasPrefix(e.Key, projection.MemberType+"/"):
		if h.reason = "Removed"; !step.After.Removed(host) {
			return nil
		}
	case !is.Down.Equal(was.Down) && !is.Down.IsZero():
		h.reason = "Down"
	case is.Draining && !was.Draining:
		h.reason = "Draining"
	case is.Unschedulable && !was.Unschedulable:
		h.reason, h.warning = "NodeNotSchedulable", false
	case !is.Unschedulable && was.Unschedulable:
		h.reason, h.warning = "NodeSchedulable", false
	default:
		h.reason, h.warning = "Changed", false
	}
	h.message = strings.TrimSuffix("by "+step.Commit.Actor+": "+step.Commit.Cause, ": ")
	return h
}

// happenSight is which hosts one does not hear any more, or hears again. That one which said that it stops is silent needs nobody's attention.
func happenSight(step *projection.Step, host string) *happening {
	h := aboutNode(step.After, host)
	was, is := step.Before.HeardBy(host), step.After.HeardBy(host)
	after := &look{State: step.After, self: host}
	var said []string
	for _, other := range slices.Sorted(maps.Keys(is.Silent)) {
		if _, before := was.Silent[other]; before {
			continue
		}
		if a := after.absence(other); a != nil {
			h.reason, h.warning = "PeerSilent", h.warning || a.state == StateSilent
			said = append(said, a.text)
		}
	}
	for _, other := range slices.Sorted(maps.Keys(was.Silent)) {
		if _, still := is.Silent[other]; still || step.After.Removed(other) { // who was removed is not listened for
			continue
		}
		if h.reason == "" {
			h.reason = "PeerReturned"
		}
		text := "host " + other + " is heard again"
		if slices.Contains(is.Recovering, other) {
			text += ", and recovers"
		}
		said = append(said, text)
	}
	if h.message = strings.Join(said, "; "); h.message == "" {
		return nil
	}
	return h
}

// read is what a fact says; false: nothing that can be read.
func read[T any](e *events.Event) (fact T, ok bool) {
	ok = json.Unmarshal(e.Object, &fact) == nil
	return fact, ok
}

// happenAgent is what an agent tells of itself.
func happenAgent(step *projection.Step, e *events.Event, typ, host string) *happening {
	h, ok := aboutNode(step.After, host), false
	h.message = summary.Of(e.Key, e.Base.IsZero(), e.Object)
	switch typ {
	case projection.ReadOnlyType:
		_, ok = read[projection.ReadOnly](e)
		h.reason, h.warning = "ReadOnly", true
	case projection.ClockType:
		var c projection.Clocks
		c, ok = read[projection.Clocks](e)
		if h.reason, h.warning = "ClocksDiffer", true; len(c.Off) == 0 {
			h.reason, h.warning = "ClocksAgree", false
		}
	case projection.BackupType:
		var b projection.Backups
		b, ok = read[projection.Backups](e)
		h.backup(&b)
	case projection.ClashType:
		_, ok = read[projection.Clash](e)
		h.reason, h.warning = "Conflict", true
	}
	if !ok {
		return nil
	}
	return h
}

// backup tells of what has become of a host's backups.
func (h *happening) backup(b *projection.Backups) {
	if n := len(b.Removed); n > 0 {
		h.reason, h.message = "BackupsRemoved", fmt.Sprintf("%d, the first %s", uint64(n)+b.More, b.Removed[0])
		return
	}
	h.reason, h.message = "BackupMade", fmt.Sprintf("%s, %d bytes", b.Name, b.Bytes)
	if b.Brought {
		h.reason = "BackupBrought"
	}
	if b.Sealed {
		h.message += ", sealed"
	}
	if b.Pinned {
		h.message += ", pinned"
	}
	if b.More > 0 {
		h.message += fmt.Sprintf("; %d others were made since the one told of before", b.More)
	}
}

// happenFinding is what one host has found of the log of another.
func happenFinding(step *projection.Step, e *events.Event, by, host string) *happening {
	f, ok := read[projection.Finding](e)
	if !ok {
		return nil
	}
	h := aboutNode(step.After, host)
	h.warning = true
	if f.Had > f.Has {
		h.reason = "DiskPutBack"
		h.message = fmt.Sprintf("its log had events up to %d of incarnation %v, and came back with %d, as host %s found: the disk was put back or lost, or the log was cut",
			f.Had, f.Incarnation, f.Has, by)
		return h
	}
	h.reason = "LogChanged"
	h.message = fmt.Sprintf("its log is not what it was from event %d of incarnation %v on: host %s holds others in their place", f.First, f.Incarnation, by)
	return h
}

// happenRestore is that a restore has begun, or has been done; the commits between need nobody's attention.
func happenRestore(step *projection.Step, e *events.Event) *happening {
	r, ok := read[projection.Restore](e)
	if !ok {
		return nil
	}
	was, begun := projection.Read[projection.Restore](step.Before, e.Key)
	h := aboutNode(step.After, r.Host)
	h.message = strings.TrimSuffix("by "+step.Commit.Actor+": "+step.Commit.Cause, ": ")
	switch {
	case !r.Done.IsZero() && was.Done.IsZero():
		h.reason = "Restored"
		h.message = fmt.Sprintf("%d objects, %s; what was there before is in %s", r.Count, h.message, r.Before)
	case !begun:
		h.reason = "Restoring"
	default:
		return nil
	}
	return h
}
