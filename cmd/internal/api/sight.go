package api

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// What the hosts of a cluster are to this one: heard or silent, here to stay or gone. All of it is computed from facts,
// so that a watch tells of it: which hosts are silent stands in what this host itself records of its sight.

// silent are the hosts that this one does not hear, and since when.
func (l *look) silent() map[string]time.Time { return l.hearing().Silent }

// hearing is whom this host hears.
func (l *look) hearing() *projection.Hearing {
	if l.heard == nil {
		h := l.HeardBy(l.self)
		l.heard = &h
	}
	return l.heard
}

// said is what people say of a host: nothing, until somebody does.
func said(st *projection.State, host string) projection.Node {
	n, _ := projection.Read[projection.Node](st, projection.NodeKey(host))
	return n
}

// absence is why nothing that a host said last need be so any more, and since when.
type absence struct {
	state  string // what it is: StateSilent, …
	reason string // one word, for a condition
	text   string // for people
	since  time.Time
}

// absence of a host, in words; nil when it is here.
func (l *look) absence(host string) *absence {
	why, since := l.hearing().Absence(l.State, host)
	switch why {
	case projection.HostRemoved:
		return &absence{StateRemoved, "NodeRemoved", "host " + host + " was removed from the cluster", since}
	case projection.HostDown:
		return &absence{StateDown, "NodeDown", "somebody gave their word that host " + host + " is dead", since}
	case projection.HostOff:
		return &absence{StateStopped, "NodeStopped", fmt.Sprintf("host %s was shut down at %s, and its containers with it", host, stamp(since)), since}
	case projection.HostStopped:
		return &absence{StateStopped, "NodeStopped", fmt.Sprintf("the agent of host %s was stopped at %s; its containers run on, and nobody looks after them",
			host, stamp(since)), since}
	case projection.HostSilent:
		return &absence{StateSilent, "NodeStatusUnknown", fmt.Sprintf("host %s has been silent since %s", host, stamp(since)), since}
	case projection.HostHere:
	}
	return nil
}

// stamp is a time as it stands in messages.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// knownHosts are the hosts that have spoken of themselves and have not been removed, in order.
func knownHosts(st *projection.State) iter.Seq[string] {
	return func(yield func(string) bool) {
		for o := range st.All(projection.HostType + "/") {
			if host := strings.TrimPrefix(o.Key, projection.HostType+"/"); !st.Removed(host) && !yield(host) {
				return
			}
		}
	}
}

// stirred are the hosts that may look different after an event of that key.
func stirred(step *projection.Step, self, key string) []string {
	typ, host, ok := strings.Cut(key, "/")
	if !ok {
		return nil
	}
	switch typ {
	case projection.HostType, projection.NodeType, projection.MemberType:
		return []string{host}
	case projection.SightType:
		if host != self {
			return nil
		}
		before, after := &look{State: step.Before, self: self}, &look{State: step.After, self: self}
		hosts := map[string]bool{}
		for _, l := range []*look{before, after} {
			for h := range l.silent() {
				hosts[h] = true
			}
		}
		for h := range knownHosts(step.After) {
			hosts[h] = true
		}
		var all []string
		for _, h := range slices.Sorted(maps.Keys(hosts)) {
			if !sameAbsence(before.absence(h), after.absence(h)) {
				all = append(all, h)
			}
		}
		return all
	}
	return nil
}

func sameAbsence(a, b *absence) bool {
	return a == nil && b == nil || a != nil && b != nil && a.state == b.state && a.text == b.text && a.since.Equal(b.since)
}

// stirredPods are the pods on the hosts that an event brings back or takes away.
func stirredPods(step *projection.Step, self, key string) []projection.Pod {
	gone := map[string]bool{}
	for _, host := range stirred(step, self, key) {
		was := (&look{State: step.Before, self: self}).absence(host)
		is := (&look{State: step.After, self: self}).absence(host)
		if !sameAbsence(was, is) {
			gone[host] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	var all []projection.Pod
	for p, err := range step.After.Placements("") {
		if err == nil && gone[p.Host] {
			all = append(all, p.Pod)
		}
	}
	return all
}

// hostLabels are the labels of a host: its own, and upon them those that people gave it.
func hostLabels(host string, h projection.Host, n projection.Node) map[string]string {
	labels := ownLabels(host, h)
	for k, v := range n.Labels {
		if !fixedLabel(k) {
			labels[k] = v
		}
	}
	return labels
}

// ownLabels are those that the host itself has.
func ownLabels(host string, h projection.Host) map[string]string {
	labels := map[string]string{labelHost: host, labelOS: "linux", labelArch: cmp.Or(h.Arch, "unknown")}
	if h.Arch == "" {
		delete(labels, labelArch)
	}
	for k, v := range h.Labels {
		labels[k] = v
	}
	return labels
}

const (
	labelHost = "kubernetes.io/hostname"
	labelOS   = "kubernetes.io/os"
	labelArch = "kubernetes.io/arch"
)

// fixedLabel reports whether people may not change the label: it says what the host is.
func fixedLabel(key string) bool { return key == labelHost || key == labelOS || key == labelArch }
