package discovery

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/podman-swarm/podman-swarm/projection"
)

// host is what matters of a host to who wants to reach its replicas.
type host struct {
	address netip.Addr
	boot    string // of its kernel; "" when it is not known
	away    string // why its replicas are not to be relied upon, for people; "" when it is here
}

// hostOf is how a host stands, as this one sees it. One whose agent was stopped is here: its containers run on, unless all of it goes down.
func (b *book) hostOf(st *projection.State, name string) host {
	const wall = "2006-01-02 15:04:05 MST"
	fact, _ := projection.Read[projection.Host](st, projection.HostKey(name))
	h := host{boot: fact.Boot}
	if name == b.self { // which knows better than what it recorded before its last boot
		h.boot = cmp.Or(b.boot, fact.Boot)
	}
	// One of which another host says that it is on its loopback would be this host's own.
	if a, err := netip.ParseAddr(fact.Address); err == nil && (name == b.self || !a.Unmap().IsLoopback() && !a.IsUnspecified()) {
		h.address = a.Unmap()
	}
	switch absence, since := b.heard.Absence(st, name); absence {
	case projection.HostRemoved:
		h.away = "host " + name + " was removed from the cluster"
	case projection.HostDown:
		h.away = "somebody gave their word that host " + name + " is dead"
	case projection.HostOff:
		h.away = "host " + name + " went down at " + since.UTC().Format(wall) + ", and what it ran with it"
	case projection.HostSilent:
		h.away = "host " + name + " has been silent since " + since.UTC().Format(wall) + ": what it runs is not to be relied upon until it is heard again"
	case projection.HostHere, projection.HostStopped:
	}
	return h
}

// hostsIn are the hosts that a key of what is said of hosts is about.
func hostIn(key string) (string, bool) {
	typ, name, ok := strings.Cut(key, "/")
	switch typ {
	case projection.HostType, projection.NodeType, projection.MemberType:
		return name, ok
	}
	return "", false
}
