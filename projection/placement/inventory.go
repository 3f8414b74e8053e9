package placement

import (
	"maps"
	"slices"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// inventory is what is placed where. It is kept in step with the state by looking at what has changed, so that a
// decision costs the same however much is placed. What is tried out in it can be taken back.
type inventory struct {
	register
	slots     map[projection.Pod]*slot
	templates map[string]*shared // by spec hash
	loads     map[string]*load   // by host
	groups    map[deployment]map[string]*group
	picky     map[*group]bool // those that want some others not to be near
	labelled  map[label]map[*group]bool
	undo      []undo
	runs      runs // not of what is placed, but kept for as long as that is
}

// slot is one placement.
type slot struct {
	version *projection.Version // as recorded; nil: tried out
	host    string              // "": nowhere
	group   *group
}

type shared struct {
	*template
	uses int // groups that it is the template of
}

// load is what one host has been given.
type load struct {
	need
	pods  map[projection.Pod]bool
	ports map[projection.Pod][]hostPort
}

// group are the replicas of one Deployment that were made from one template.
type group struct {
	deployment
	*template
	hash  string
	size  int            // those that are placed nowhere included
	hosts map[string]int // how many are where
}

// label is one label of a replica in a namespace.
type label struct{ namespace, key, value string }

type undo struct {
	pod  projection.Pod
	slot *slot
}

func newInventory() *inventory {
	return &inventory{register: register{}, slots: map[projection.Pod]*slot{}, templates: map[string]*shared{}, loads: map[string]*load{},
		groups: map[deployment]map[string]*group{}, picky: map[*group]bool{}, labelled: map[label]map[*group]bool{}, runs: runs{}}
}

// inventoryOf reads all placements of a state.
func inventoryOf(s *projection.State) *inventory {
	inv := newInventory()
	inv.readAll(s)
	return inv
}

func (inv *inventory) readAll(s *projection.State) {
	for pod := range inv.slots {
		if _, ok := s.Lookup(pod.PlacementKey()); !ok {
			inv.put(pod, nil)
		}
	}
	for o := range s.All(projection.PlacementType + "/") {
		inv.read(o)
	}
	inv.undo = nil
	inv.runs.bound(s)
}

// follow reads one placement anew.
func (inv *inventory) follow(s *projection.State, pod projection.Pod) {
	if o, ok := s.Lookup(pod.PlacementKey()); ok {
		inv.read(o)
	} else {
		inv.put(pod, nil)
		delete(inv.runs, pod)
	}
	inv.undo = nil
}

// read takes over a placement. One that cannot be read takes nothing; whoever decides about its Deployment says so.
func (inv *inventory) read(o projection.Object) {
	pod, _, ok := projection.PodOf(o.Key)
	if old := inv.slots[pod]; !ok || old != nil && old.version == o.Version {
		return
	}
	p, err := projection.AsPlacement(o)
	if err != nil {
		inv.put(pod, nil)
		return
	}
	g, err := inv.group(deployment{pod.Namespace, pod.Deployment}, p.SpecHash, p.Template)
	if err != nil {
		inv.put(pod, nil)
		return
	}
	inv.put(pod, &slot{o.Version, p.Host, g})
}

// group is the group of replicas of the Deployment that are made from the template; one that is not there yet is made, and
// is known once something is put into it.
func (inv *inventory) group(dep deployment, hash string, raw []byte) (*group, error) {
	if hash == "" {
		hash = manifest.SpecHash(raw)
	}
	if g := inv.groups[dep][hash]; g != nil {
		return g, nil
	}
	t := inv.templates[hash]
	if t == nil {
		read, err := readTemplate(raw)
		if err != nil {
			return nil, err
		}
		t = &shared{template: read}
		inv.templates[hash] = t
	}
	return &group{deployment: dep, template: t.template, hash: hash, hosts: map[string]int{}}, nil
}

// put notes what the pod has; nil: nothing.
func (inv *inventory) put(pod projection.Pod, s *slot) {
	old := inv.slots[pod]
	if old == nil && s == nil {
		return
	}
	inv.undo = append(inv.undo, undo{pod, old})
	inv.set(pod, s)
}

func (inv *inventory) set(pod projection.Pod, s *slot) {
	if old := inv.slots[pod]; old != nil {
		inv.take(pod, old)
	}
	if s == nil {
		delete(inv.slots, pod)
		return
	}
	if g := inv.groups[s.group.deployment][s.group.hash]; g != nil {
		s.group = g
	}
	inv.slots[pod] = s
	inv.give(pod, s)
}

func (inv *inventory) give(pod projection.Pod, s *slot) {
	g := s.group
	if g.size++; g.size == 1 {
		inv.begin(g)
	}
	if s.host == "" {
		return
	}
	g.hosts[s.host]++
	l := inv.loads[s.host]
	if l == nil {
		l = &load{pods: map[projection.Pod]bool{}, ports: map[projection.Pod][]hostPort{}}
		inv.loads[s.host] = l
	}
	l.cpu += g.need.cpu
	l.memory += g.need.memory
	l.pods[pod] = true
	if len(g.ports) > 0 {
		l.ports[pod] = g.ports
	}
}

func (inv *inventory) take(pod projection.Pod, s *slot) {
	g := s.group
	if g.size--; g.size == 0 {
		inv.end(g)
	}
	if s.host == "" {
		return
	}
	if g.hosts[s.host]--; g.hosts[s.host] == 0 {
		delete(g.hosts, s.host)
	}
	l := inv.loads[s.host]
	l.cpu -= g.need.cpu
	l.memory -= g.need.memory
	delete(l.pods, pod)
	delete(l.ports, pod)
	if len(l.pods) == 0 {
		delete(inv.loads, s.host)
	}
}

// begin makes a group known, when it gets its first replica.
func (inv *inventory) begin(g *group) {
	if inv.groups[g.deployment] == nil {
		inv.groups[g.deployment] = map[string]*group{}
	}
	inv.groups[g.deployment][g.hash] = g
	t := inv.templates[g.hash]
	if t == nil { // forgotten with the last that was made from it, and taken back now
		t = &shared{template: g.template}
		inv.templates[g.hash] = t
	}
	t.uses++
	if len(g.without) > 0 {
		inv.picky[g] = true
	}
	for k, v := range g.labels {
		l := label{g.namespace, k, v}
		if inv.labelled[l] == nil {
			inv.labelled[l] = map[*group]bool{}
		}
		inv.labelled[l][g] = true
	}
}

// end forgets a group that has no replica any more.
func (inv *inventory) end(g *group) {
	delete(inv.groups[g.deployment], g.hash)
	if len(inv.groups[g.deployment]) == 0 {
		delete(inv.groups, g.deployment)
	}
	if t := inv.templates[g.hash]; t != nil {
		if t.uses--; t.uses == 0 {
			delete(inv.templates, g.hash)
		}
	}
	delete(inv.picky, g)
	for k, v := range g.labels {
		l := label{g.namespace, k, v}
		if delete(inv.labelled[l], g); len(inv.labelled[l]) == 0 {
			delete(inv.labelled, l)
		}
	}
}

// meant are the groups that the term, of a replica in the namespace, means.
func (inv *inventory) meant(t *term, namespace string) (all []*group) {
	namespaces := t.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{namespace}
	}
	if key, value, ok := t.exact(); ok {
		for _, ns := range namespaces {
			for g := range inv.labelled[label{ns, key, value}] {
				if t.chooses(g, namespace) {
					all = append(all, g)
				}
			}
		}
		return all
	}
	for _, groups := range inv.groups {
		for _, g := range groups {
			if t.chooses(g, namespace) {
				all = append(all, g)
			}
		}
	}
	return all
}

// mark is how far things have been tried out; back takes back what was tried since.
func (inv *inventory) mark() int { return len(inv.undo) }

func (inv *inventory) back(mark int) {
	for _, u := range slices.Backward(inv.undo[mark:]) {
		inv.set(u.pod, u.slot)
	}
	inv.undo = inv.undo[:mark]
}

// on is what a host has been given.
func (inv *inventory) on(host string) *load {
	if l := inv.loads[host]; l != nil {
		return l
	}
	return &load{}
}

// placedOn are the Deployments that have replicas on the host.
func (inv *inventory) placedOn(host string) map[deployment]bool {
	all := map[deployment]bool{}
	for pod := range maps.Keys(inv.on(host).pods) {
		all[deployment{pod.Namespace, pod.Deployment}] = true
	}
	return all
}
