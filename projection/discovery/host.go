package discovery

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// host is what matters of a host to who wants to reach its replicas.
type host struct {
	address netip.Addr
	away    string // why its replicas are not to be relied upon, for people; "" when it is here
}

// sight is whom this host hears.
type sight struct {
	silent map[string]time.Time
	index  uint64 // of what says so; 0: nothing does
}

func sightOf(st *projection.State, self string) sight {
	var s projection.Sight
	o, ok := st.Lookup(projection.SightKey(self))
	if !ok || json.Unmarshal(o.Version.Object, &s) != nil {
		return sight{}
	}
	return sight{s.Silent, o.Version.Index}
}

// wall is how times are told.
const wall = "2006-01-02 15:04:05 MST"

// hostOf is how a host stands. This host is always here. One whose agent was stopped is too: its containers run on, unless all of
// it goes down. What is heard of a host goes before what it, or a person, said of it last.
func hostOf(st *projection.State, self, name string, s sight) host {
	fact, index, spoke := read[projection.Host](st, projection.HostKey(name))
	var h host
	if a, err := netip.ParseAddr(fact.Address); err == nil {
		h.address = a.Unmap()
	}
	if name == self {
		return h
	}
	node, _, _ := read[projection.Node](st, projection.NodeKey(name))
	member, _, _ := read[projection.Member](st, projection.MemberKey(name))
	since, silent := s.silent[name]
	left := spoke && !fact.Left.IsZero() && (silent || s.index <= index)
	switch {
	case member.Removed:
		h.away = "host " + name + " was removed from the cluster"
	case !node.Down.IsZero() && (!spoke || node.Down.After(fact.Started)) && (silent || left || s.index == 0):
		h.away = "somebody gave their word that host " + name + " is dead"
	case left && fact.Off:
		h.away = "host " + name + " went down at " + fact.Left.UTC().Format(wall) + ", and what it ran with it"
	case left:
	case silent:
		h.away = "host " + name + " has been silent since " + since.UTC().Format(wall) +
			": what it runs is not to be relied upon until it is heard again"
	}
	return h
}

// read reads what the state shows under a key, and the index of the event that says so; false when it shows nothing that can be read.
func read[T any](st *projection.State, key string) (v T, index uint64, ok bool) {
	o, there := st.Lookup(key)
	if !there {
		return v, 0, false
	}
	if err := json.Unmarshal(o.Version.Object, &v); err != nil {
		var none T
		return none, o.Version.Index, false
	}
	return v, o.Version.Index, true
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
