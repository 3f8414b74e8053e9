package placement

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// pass is what decisions that are recorded together share: each counts on what those before it have given away.
type pass struct {
	*hosts
	state    *projection.State
	given    *inventory
	unplaced map[projection.Pod]bool // no host can take these
}

func newPass(s *projection.State, hs *hosts, inv *inventory) *pass {
	return &pass{hosts: hs, state: s, given: inv, unplaced: map[projection.Pod]bool{}}
}

// choice is a host that could take a replica, and all that makes it a better or worse one. Less is better.
type choice struct {
	*host
	avoided  int     // taints that say so, and that the replica does not tolerate
	unspread int     // what topologySpreadConstraints would rather not have
	unliked  int     // preferred affinities, by weight
	same     int     // replicas of the Deployment there, of the same template
	all      int     // replicas of the Deployment there
	load     float64 // the greater of the shares of cpu and memory that are asked for there
	replicas int
}

// criteria are what hosts are compared by, in this order, and what is said of the one that is chosen for it.
func criteria() []struct {
	say string
	cmp func(a, b *choice) int
} {
	return []struct {
		say string
		cmp func(a, b *choice) int
	}{
		{"has no taint to be avoided", func(a, b *choice) int { return cmp.Compare(a.avoided, b.avoided) }},
		{"spread: as its topologySpreadConstraints prefer", func(a, b *choice) int { return cmp.Compare(a.unspread, b.unspread) }},
		{"preferred by its affinity", func(a, b *choice) int { return cmp.Compare(a.unliked, b.unliked) }},
		{"spread: fewest replicas of %s", func(a, b *choice) int { return cmp.Or(cmp.Compare(a.same, b.same), cmp.Compare(a.all, b.all)) }},
		{"least asked of its cpu and memory", func(a, b *choice) int { return cmp.Compare(a.load, b.load) }},
		{"fewest replicas", func(a, b *choice) int { return cmp.Compare(a.replicas, b.replicas) }},
		{"first by name", func(a, b *choice) int { return cmp.Compare(a.name, b.name) }},
	}
}

// place chooses where a pod runs and takes what it needs there, or says why no host can take it. It is not the host
// that it is on now.
func (p *pass) place(pod projection.Pod, raw json.RawMessage, hash string) (host, why string) {
	defer func() {
		if host == "" {
			p.unplaced[pod] = true
		}
	}()
	g, err := p.given.group(deployment{pod.Namespace, pod.Deployment}, hash, raw)
	if err != nil {
		return "", "the recorded template cannot be read: " + err.Error()
	}
	mark, from := p.given.mark(), ""
	if old := p.given.slots[pod]; old != nil {
		from = old.host
	}
	p.given.put(pod, nil) // it is not in its own way
	host, why = p.choose(g, from)
	if host == "" {
		p.given.back(mark)
		return "", why
	}
	p.given.put(pod, &slot{nil, host, g})
	return host, why
}

func (p *pass) choose(g *group, from string) (host, why string) {
	n := p.nearness(g)
	var can []*choice
	var no refusals
	total := 0
	for _, h := range p.all {
		if h.name == from {
			continue
		}
		total++
		if reason := p.refusal(g, h, n); reason.what != "" {
			no.add(h.name, reason)
			continue
		}
		can = append(can, p.weigh(g, h, n))
	}
	switch {
	case len(p.all) == 0:
		return "", "there is no host"
	case total == 0:
		return "", "there is no other host"
	case len(can) == 0:
		return "", fmt.Sprintf("0/%d hosts can take it: %s", total, no)
	case total == 1 && from == "":
		return can[0].name, "only host"
	case total == 1:
		return can[0].name, "only other host"
	case len(can) == 1:
		return can[0].name, fmt.Sprintf("only 1/%d hosts can take it: %s", total, no)
	}
	return best(can, g)
}

// best is the best of several hosts, and why.
func best(can []*choice, g *group) (host, why string) {
	n := len(can)
	for _, c := range criteria() {
		slices.SortStableFunc(can, c.cmp)
		left := 1
		for left < len(can) && c.cmp(can[0], can[left]) == 0 {
			left++
		}
		if left < len(can) && why == "" {
			if why = c.say; strings.Contains(why, "%s") {
				why = fmt.Sprintf(why, g.name)
			}
			why = fmt.Sprintf("%s of %d hosts", why, n)
		}
		can = can[:left]
	}
	return can[0].name, why
}

// weigh finds out how good a host is for a replica of the group.
func (p *pass) weigh(g *group, h *host, n *nearness) *choice {
	on := p.given.on(h.name)
	c := &choice{host: h, same: g.hosts[h.name], replicas: len(on.pods)}
	for _, other := range p.given.groups[g.deployment] {
		c.all += other.hosts[h.name]
	}
	for i := range h.node.Taints {
		if t := &h.node.Taints[i]; t.Effect == corev1.TaintEffectPreferNoSchedule && !tolerates(&g.spec, t) {
			c.avoided++
		}
	}
	c.unspread, c.unliked = n.unspread(h), n.unliked(h)-liked(&g.spec, h)
	share := func(asked, has int64) float64 {
		if has == 0 {
			return 0
		}
		return float64(asked) / float64(has)
	}
	c.load = max(share(on.cpu, int64(h.fact.CPUs)*1000), share(on.memory, h.fact.Memory))
	return c
}

// reason says why a host cannot take a replica: what, as one word for all hosts of which it is true, and of the host
// itself what particulars there are.
type reason struct{ what, detail string }

// refusal says why the host cannot take a replica of the group; nothing when it can.
func (p *pass) refusal(g *group, h *host, n *nearness) reason {
	if h.closed != "" {
		return reason{what: h.closed}
	}
	if t := untolerated(&g.spec, h, corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute); t != nil {
		return reason{"tainted", t.ToString()}
	}
	if r := mismatch(&g.spec, h); r.what != "" {
		return r
	}
	if r := p.portTaken(g, h); r.what != "" {
		return r
	}
	on := p.given.on(h.name)
	if has := int64(h.fact.CPUs) * 1000; has > 0 && g.need.cpu > 0 && on.cpu+g.need.cpu > has {
		return reason{"too little cpu", ""}
	}
	if has := h.fact.Memory; has > 0 && g.need.memory > 0 && on.memory+g.need.memory > has {
		return reason{"too little memory", ""}
	}
	return n.refusal(h)
}

func (p *pass) portTaken(g *group, h *host) reason {
	if len(g.ports) == 0 {
		return reason{}
	}
	detail, by := "", projection.Pod{}
	for other, ports := range p.given.on(h.name).ports {
		if detail != "" && other.Compare(by) > 0 {
			continue // the first by name is named, so that the same state gives the same reason
		}
		for _, hp := range g.ports {
			if slices.ContainsFunc(ports, hp.clashes) {
				by, detail = other, fmt.Sprintf("%d/%s by %s/%s", hp.port, hp.protocol, other.Namespace, other.Name())
				break
			}
		}
	}
	if detail == "" {
		return reason{}
	}
	return reason{"host port taken", detail}
}

// refusals are why hosts cannot take a replica.
type refusals []refused

type refused struct {
	what  string
	hosts []string
}

func (r *refusals) add(host string, why reason) {
	if why.detail != "" {
		host += ": " + why.detail
	}
	for i := range *r {
		if (*r)[i].what == why.what {
			(*r)[i].hosts = append((*r)[i].hosts, host)
			return
		}
	}
	*r = append(*r, refused{why.what, []string{host}})
}

// named is how many hosts are named of those for which the same is true.
const named = 5

// String is "1 cordoned (a), 2 too little memory (b, c)".
func (r refusals) String() string {
	var all []string
	for _, why := range r {
		hosts, more := why.hosts, ""
		if len(hosts) > named {
			hosts, more = hosts[:named], ", …"
		}
		all = append(all, fmt.Sprintf("%d %s (%s%s)", len(why.hosts), why.what, strings.Join(hosts, ", "), more))
	}
	return strings.Join(all, ", ")
}
