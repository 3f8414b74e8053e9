package placement

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// tolerates reports whether the pod tolerates the taint.
func tolerates(spec *corev1.PodSpec, taint *corev1.Taint) bool {
	return slices.ContainsFunc(spec.Tolerations, func(t corev1.Toleration) bool {
		switch {
		case t.Effect != "" && t.Effect != taint.Effect, t.Key != "" && t.Key != taint.Key:
			return false
		case t.Operator == corev1.TolerationOpExists:
			return true
		}
		return t.Key != "" && t.Value == taint.Value
	})
}

// untolerated is the host's first taint of the effects that the pod does not tolerate; nil when there is none.
func untolerated(spec *corev1.PodSpec, h *host, effects ...corev1.TaintEffect) *corev1.Taint {
	for i := range h.node.Taints {
		if t := &h.node.Taints[i]; slices.Contains(effects, t.Effect) && !tolerates(spec, t) {
			return t
		}
	}
	return nil
}

// mismatch says which label the pod wants the host to have, and it has not; nothing when it may run there.
func mismatch(spec *corev1.PodSpec, h *host) reason {
	for _, k := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
		if v, ok := h.labels[k]; !ok || v != spec.NodeSelector[k] {
			return reason{fmt.Sprintf("without the label %s=%s that nodeSelector wants", k, spec.NodeSelector[k]), ""}
		}
	}
	a := spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return reason{}
	}
	for _, t := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if matches(&t, h) {
			return reason{}
		}
	}
	return reason{"not matched by nodeAffinity", ""}
}

// matches reports whether all that the term says is true of the host. A term that says nothing matches none.
func matches(t *corev1.NodeSelectorTerm, h *host) bool {
	holds := func(r corev1.NodeSelectorRequirement) bool { return holds(r, h.labels) }
	field := func(r corev1.NodeSelectorRequirement) bool {
		return r.Key == "metadata.name" && holdsOf(r, h.name, true)
	}
	return len(t.MatchExpressions)+len(t.MatchFields) > 0 &&
		!slices.ContainsFunc(t.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool { return !holds(r) }) &&
		!slices.ContainsFunc(t.MatchFields, func(r corev1.NodeSelectorRequirement) bool { return !field(r) })
}

func holds(r corev1.NodeSelectorRequirement, labels map[string]string) bool {
	v, ok := labels[r.Key]
	return holdsOf(r, v, ok)
}

func holdsOf(r corev1.NodeSelectorRequirement, v string, ok bool) bool {
	switch r.Operator {
	case corev1.NodeSelectorOpIn:
		return ok && slices.Contains(r.Values, v)
	case corev1.NodeSelectorOpNotIn:
		return !ok || !slices.Contains(r.Values, v)
	case corev1.NodeSelectorOpExists:
		return ok
	case corev1.NodeSelectorOpDoesNotExist:
		return !ok
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			return false
		}
		has, err := strconv.ParseInt(v, 10, 64)
		than, err2 := strconv.ParseInt(r.Values[0], 10, 64)
		return ok && err == nil && err2 == nil && (has > than) == (r.Operator == corev1.NodeSelectorOpGt) && has != than
	}
	return false
}

// liked is how much, by weight, the pod prefers the host by its labels.
func liked(spec *corev1.PodSpec, h *host) (n int) {
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return 0
	}
	for _, t := range spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
		if matches(&t.Preference, h) {
			n += int(t.Weight)
		}
	}
	return n
}

// nearness is what other replicas, and where they run, mean for one that is to be placed.
type nearness struct {
	group     *group
	with      []places
	alone     []bool // of with: nobody is there to be with, and the replica means itself as well
	without   []places
	forbidden []places // by others, which do not want it near
	spread    []places
	least     []int // of spread: in any place
	liked     []places
}

// places is how many replicas that a term means are in each place.
type places struct {
	*term
	count map[string]int
}

func (p *places) at(h *host) (n int, ok bool) {
	v, ok := h.labels[p.key]
	return p.count[v], ok
}

// nearness counts what matters to a replica of the group.
func (p *pass) nearness(g *group) *nearness {
	n := &nearness{group: g}
	for i := range g.with {
		at := p.count(&g.with[i], g.namespace)
		n.with = append(n.with, at)
		n.alone = append(n.alone, len(at.count) == 0 && g.with[i].chooses(g, g.namespace))
	}
	for i := range g.without {
		n.without = append(n.without, p.count(&g.without[i], g.namespace))
	}
	for other := range p.given.picky {
		for i := range other.without {
			if t := &other.without[i]; t.chooses(g, other.namespace) {
				n.forbidden = append(n.forbidden, p.sum(t, other))
			}
		}
	}
	for i := range g.liked {
		n.liked = append(n.liked, p.count(&g.liked[i].term, g.namespace))
	}
	for i := range g.spread {
		at := p.count(&g.spread[i].term, g.namespace)
		n.spread = append(n.spread, at)
		n.least = append(n.least, p.least(&at, g))
	}
	return n
}

// count counts the replicas that the term means.
func (p *pass) count(t *term, namespace string) places {
	return p.sum(t, p.given.meant(t, namespace)...)
}

func (p *pass) sum(t *term, groups ...*group) places {
	at := places{t, map[string]int{}}
	for _, g := range groups {
		for host, n := range g.hosts {
			if v, ok := p.hosts.at(host).labels[t.key]; ok {
				at.count[v] += n
			}
		}
	}
	return at
}

// least is how many replicas are in the place that has the fewest of those where one of the group could be.
func (p *pass) least(at *places, g *group) int {
	least := -1
	for _, h := range p.all {
		if h.closed != "" || mismatch(&g.spec, h).what != "" {
			continue
		}
		if n, ok := at.at(h); ok && (least < 0 || n < least) {
			least = n
		}
	}
	return max(0, least)
}

// refusal says which others keep a replica off the host; nothing when none do.
func (n *nearness) refusal(h *host) reason {
	for i := range n.with {
		if have, ok := n.with[i].at(h); !ok || have == 0 && !n.alone[i] {
			return reason{"not near what podAffinity wants", ""}
		}
	}
	for i := range n.without {
		if have, _ := n.without[i].at(h); have > 0 {
			return reason{"near what podAntiAffinity does not want", ""}
		}
	}
	for i := range n.forbidden {
		if have, _ := n.forbidden[i].at(h); have > 0 {
			return reason{"with replicas that do not want it near", ""}
		}
	}
	for i := range n.spread {
		if s := &n.group.spread[i]; s.required {
			if have, ok := n.spread[i].at(h); !ok || have+n.itself(i)-n.least[i] > s.skew {
				return reason{"kept free by topologySpreadConstraints", ""}
			}
		}
	}
	return reason{}
}

// itself is 1 when the replica counts in its own constraint.
func (n *nearness) itself(i int) int {
	if n.group.spread[i].selector.Matches(n.group.labels) {
		return 1
	}
	return 0
}

// unspread is how many replicas are where constraints that are not required would rather have few.
func (n *nearness) unspread(h *host) (all int) {
	for i := range n.spread {
		if !n.group.spread[i].required {
			have, _ := n.spread[i].at(h)
			all += have
		}
	}
	return all
}

// unliked is how little, by weight, the replica prefers to be near what is there.
func (n *nearness) unliked(h *host) (all int) {
	for i := range n.liked {
		if have, _ := n.liked[i].at(h); have > 0 {
			all -= n.group.liked[i].weight
		}
	}
	return all
}
