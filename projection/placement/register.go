package placement

import (
	"encoding/json"
	"maps"

	"github.com/podman-swarm/podman-swarm/projection"
)

// hostname is the label that tells hosts apart.
const hostname = "kubernetes.io/hostname"

// register keeps what was read of each host, for as long as the state says the same.
type register map[string]*fixed

// read gives what the state says of each host, by name. The one that looks is always among them.
func (r register) read(s *projection.State, c Cluster) (all []*fixed) {
	seen := false
	add := func(name string, fact *projection.Version) {
		seen = seen || name == c.Host
		versions := [3]*projection.Version{fact, version(s, projection.NodeKey(name)), version(s, projection.MemberKey(name))}
		f := r[name]
		if f == nil || f.versions != versions {
			f = readHost(name, versions)
			r[name] = f
		}
		all = append(all, f)
	}
	for o := range s.All(projection.HostType + "/") {
		name := o.Key[len(projection.HostType)+1:]
		if !seen && name > c.Host {
			add(c.Host, nil)
		}
		if !c.Alone || name == c.Host {
			add(name, o.Version)
		}
	}
	if !seen {
		add(c.Host, nil)
	}
	return all
}

func version(s *projection.State, key string) *projection.Version {
	o, _ := s.Lookup(key)
	return o.Version
}

// readHost reads what the state says of a host. What cannot be read says nothing.
func readHost(name string, versions [3]*projection.Version) *fixed {
	f := &fixed{versions: versions, name: name}
	var member projection.Member
	f.spoke = read(versions[0], &f.fact)
	read(versions[1], &f.node)
	f.removed = read(versions[2], &member) && member.Removed
	f.labels = map[string]string{hostname: name}
	maps.Copy(f.labels, f.fact.Labels)
	maps.Copy(f.labels, f.node.Labels)
	return f
}

func read(v *projection.Version, into any) bool {
	return v != nil && json.Unmarshal(v.Object, into) == nil
}
