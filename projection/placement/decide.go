package placement

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// burst is how many replicas one decision creates at most, as in Kubernetes: the rest follows when these are recorded.
const burst = 500

// steady is how long a replica must have been ready before one that it replaces is let go for it. A program that ends as soon
// as it has read its configuration has been running, too, and without a pause it would take the place of all that serve.
// Kubernetes leaves that to probes and minReadySeconds; Docker Swarm watches an update for as long as this.
const steady = 5 * time.Second

// Decide is what has to be decided for one Deployment, in the given state and as things stand with the hosts, so that its
// replicas become what it says and are where they can run: pure.
//
// It follows the rules of Kubernetes' Deployment controller (kubernetes/pkg/controller/deployment, rolling.go): at
// most maxSurge replicas more than wanted, at least wanted-maxUnavailable available ones, and what is broken goes
// first. It differs in that a replica must have run for 5 s before an old one goes for it. Replicas that must leave a
// host that is alive go as old ones do; those of a host that is gone get another host. When the changes are recorded
// there may be more to decide. wake is when to ask again although nothing happened; zero: there is no need. With an error
// there are no changes. A replica that is ready since a time to come counts as ready since now: a Decider remembers since when.
func Decide(s *projection.State, c Cluster, namespace, name string) (changes []projection.Change, wake time.Time, err error) {
	inv := inventoryOf(s)
	return newPass(s, c.hosts(s, inv.register), inv).decide(namespace, name)
}

func (p *pass) decide(namespace, name string) (changes []projection.Change, wake time.Time, err error) {
	o, ok := p.state.Lookup(projection.DeploymentKey(namespace, name))
	if !ok {
		return forget(p.state, namespace, name), time.Time{}, nil
	}
	r, err := look(p.state, o, p.silent(), func(host string) bool { return p.hosts.at(host).gone != "" }, p.given.runs, p.cluster.Now)
	if err != nil {
		return nil, time.Time{}, err
	}
	d := &decision{pass: p, rollout: r, wanted: r.Wanted(), dropped: map[string]bool{}}
	if err := d.sort(); err != nil {
		return nil, time.Time{}, err
	}
	if d.rename() {
		return d.changes, time.Time{}, nil // then there is more to decide
	}
	switch {
	case r.Deployment.Spec.Paused && len(d.updated)+len(d.leaving) == 0: // nothing of it runs, and nothing is rolled out
	case r.Deployment.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		d.recreate()
	default:
		d.roll()
	}
	d.move()
	if len(d.changes) == 0 {
		d.flee()
	}
	d.retry()
	return d.changes, r.Wake, nil
}

// forget ends the placements of a Deployment that is no more.
func forget(s *projection.State, namespace, name string) (changes []projection.Change) {
	for o := range s.All(projection.PlacementType + "/" + namespace + "/" + name + "/") {
		changes = append(changes, projection.Change{Kind: events.Decided, Key: o.Key})
	}
	return changes
}

type decision struct {
	*pass
	rollout *Rollout
	wanted  int
	// Of the Deployment's own replicas: those that are what it says, those that are not, and those that are, and must leave
	// the host that they are on.
	updated, old, leaving []*Replica

	template json.RawMessage // of what is created
	hash     string
	changes  []projection.Change
	dropped  map[string]bool
	taken    map[int]bool // ordinals that are placed, or whose container is still there
}

// sort looks at what there is. What a paused Deployment now says must not be rolled out: then what runs is what it says.
func (d *decision) sort() error {
	var own []*Replica
	for i := range d.rollout.Replicas {
		if rep := &d.rollout.Replicas[i]; d.rollout.owns(rep) {
			own = append(own, rep)
		} else { // of a Deployment of that name that was deleted since
			d.drop(rep)
		}
	}
	paused := d.rollout.Deployment.Spec.Paused
	for _, rep := range own {
		switch {
		case !rep.Updated && !paused:
			d.old = append(d.old, rep)
		case d.leaves(rep) != "":
			d.leaving = append(d.leaving, rep)
		default:
			d.updated = append(d.updated, rep)
		}
	}
	if paused && len(own) > 0 {
		newest := slices.MaxFunc(own, func(a, b *Replica) int { return a.Object.Stamp.Compare(b.Object.Stamp) })
		d.template, d.hash = newest.Template, newest.SpecHash
		return nil
	}
	template, err := templateOf(d.rollout.Object.Version.Object)
	d.template, d.hash = template, d.rollout.SpecHash
	return err
}

// rename has what was decided for the Deployment under another number say whose it is now, and reports whether there is any: that number may
// come to mean something else. It is the same decision, by which the container runs on.
func (d *decision) rename() bool {
	all := slices.Concat(d.updated, d.old, d.leaving)
	all = slices.DeleteFunc(all, func(r *Replica) bool { return r.Owner == d.rollout.Object.UID })
	slices.SortFunc(all, func(a, b *Replica) int { return a.Object.Stamp.Compare(b.Object.Stamp) }) // what was decided last is again
	for _, r := range all {
		p := r.Placement
		p.Was = append(slices.Clone(p.Was), r.Event())
		d.put(r.Pod, p)
	}
	return len(all) > 0
}

func (d *decision) drop(r *Replica) {
	d.dropped[r.PlacementKey()] = true
	d.changes = append(d.changes, projection.Change{Kind: events.Decided, Key: r.PlacementKey(), For: d.rollout.Object.Stamp})
}

// retry decides again where no host could take a replica before, and that is still wanted: it comes last.
func (d *decision) retry() {
	for _, r := range slices.Concat(d.updated, d.old) {
		if r.Host == "" && !d.dropped[r.PlacementKey()] {
			if host, why := d.place(r.Pod, r.Template, r.SpecHash); host != "" || why != r.Why {
				d.put(r.Pod, projection.Placement{Host: host, SpecHash: r.SpecHash, Template: r.Template, Why: why, Moves: r.Moves, Moved: r.Moved})
			}
		}
	}
}

// roll takes one step of a rolling update, or of plain scaling when there is nothing to update.
func (d *decision) roll() {
	surge, unavailable := bounds(d.rollout.Deployment)
	total := len(d.updated) + len(d.old) + len(d.leaving)
	room := min(d.wanted-len(d.updated), d.wanted+surge-total)
	must := min(room, d.wanted-len(d.updated)-len(d.leaving))
	d.create(must)
	d.replace(room - max(0, must))
	d.updated = d.scaleDown(d.updated, d.wanted)

	// What may go: old replicas that are broken cost nothing, as long as new ones that have not stayed up yet are not
	// counted as serving; then old ones that serve, while enough others do.
	others := slices.Concat(d.old, d.leaving)
	available, notReady := 0, 0
	for _, r := range others {
		if r.Available {
			available++
		}
	}
	for _, r := range d.updated {
		if d.steady(r, len(others) > 0) {
			available++
		} else {
			notReady++
		}
	}
	least := d.wanted - unavailable
	budget := len(d.updated) + len(others) - least - notReady
	worstFirst(others)
	slices.SortStableFunc(others, func(a, b *Replica) int { // of those that serve, first those that must go in any case
		return cmp.Or(rank(a)-rank(b), stays(d.leaves(a))-stays(d.leaves(b)))
	})
	for _, r := range others {
		switch {
		case r.Available && available <= least, !r.Available && budget <= 0, !d.spared(r):
		case r.Available:
			available--
			d.drop(r)
		default:
			budget--
			d.drop(r)
		}
	}
}

// steady reports whether the new replica is one that old ones, if there are any, may go for.
func (d *decision) steady(r *Replica, forOthers bool) bool {
	if !r.Available {
		return false
	}
	since := r.since.Add(steady)
	if forOthers {
		d.rollout.wakeAt(since)
	}
	return !since.After(d.cluster.Now)
}

// recreate lets every old replica go, and begins with the new ones once their containers are gone. Those that must leave
// their host go one by one.
func (d *decision) recreate() {
	for _, r := range d.old {
		d.drop(r)
	}
	if going := len(d.changes) > 0 || len(d.rollout.Gone) > 0; going && len(d.updated)+len(d.leaving) == 0 {
		return
	}
	all := len(d.updated) + len(d.leaving)
	d.updated = d.scaleDown(d.updated, max(0, d.wanted-len(d.leaving)))
	d.leaving = d.scaleDown(d.leaving, d.wanted)
	d.create(d.wanted - all)
	if all < d.wanted || slices.ContainsFunc(d.updated, func(r *Replica) bool { return !r.Available }) {
		return
	}
	worstFirst(d.leaving)
	for _, r := range d.leaving {
		if !d.dropped[r.PlacementKey()] && d.elsewhere(r) {
			d.drop(r)
			return
		}
	}
}

// worstFirst sorts replicas in the order in which they can best be spared: those that serve last, and of these those
// that have a host to themselves.
func worstFirst(rs []*Replica) {
	slices.SortFunc(rs, func(a, b *Replica) int { return cmp.Or(rank(b)-rank(a), a.Ordinal-b.Ordinal) })
	before, on := map[*Replica]int{}, map[string]int{}
	for _, r := range rs {
		before[r] = on[r.Host]
		on[r.Host]++
	}
	slices.SortFunc(rs, func(a, b *Replica) int {
		return cmp.Or(rank(a)-rank(b), before[b]-before[a], b.Ordinal-a.Ordinal)
	})
}

// rank is the greater, the less a replica can be spared.
func rank(r *Replica) int {
	switch {
	case r.Available:
		return 3
	case r.Ready:
		return 2
	case r.Host != "":
		return 1
	}
	return 0
}

// scaleDown drops replicas until n are left, and returns those.
func (d *decision) scaleDown(rs []*Replica, n int) []*Replica {
	if len(rs) <= n {
		return rs
	}
	rs = slices.Clone(rs)
	worstFirst(rs)
	for _, r := range rs[:len(rs)-n] {
		d.drop(r)
	}
	return rs[len(rs)-n:]
}

// create places n more replicas.
func (d *decision) create(n int) {
	for range min(n, burst) {
		pod := d.freePod()
		host, why := d.place(pod, d.template, d.hash)
		d.put(pod, projection.Placement{Host: host, SpecHash: d.hash, Template: d.template, Why: why})
	}
}

// put decides where a pod is. What is there may be for a version that is greater than the one that is known: it was lost with its host, or has another
// number since it was recorded again. What is decided is for that then, or it would not be shown; the pod keeps the template that it has.
func (d *decision) put(pod projection.Pod, p projection.Placement) {
	p.Owner = d.rollout.Object.UID
	declared := d.rollout.Object.Stamp
	if o, ok := d.state.Lookup(pod.PlacementKey()); ok && declared.Less(o.For) {
		declared = o.For
	}
	d.changes = append(d.changes, projection.Change{Kind: events.Decided, Key: pod.PlacementKey(), For: declared, Object: projection.Encode(p)})
}

// freePod takes the pod of the lowest ordinal that is neither placed, nor has a container left, nor was taken before.
func (d *decision) freePod() projection.Pod {
	if d.taken == nil {
		d.taken = map[int]bool{}
		for i := range d.rollout.Replicas {
			d.taken[d.rollout.Replicas[i].Ordinal] = true
		}
		for _, p := range d.rollout.Gone {
			d.taken[p.Ordinal] = true
		}
	}
	meta := &d.rollout.Deployment.ObjectMeta
	p := projection.Pod{Namespace: meta.Namespace, Deployment: meta.Name}
	for d.taken[p.Ordinal] {
		p.Ordinal++
	}
	d.taken[p.Ordinal] = true
	return p
}

// bounds are how many replicas a rolling update may have beyond the wanted ones, and how many of those may be away:
// percentages are of the wanted number, rounded up and down, and never both none.
func bounds(d *appsv1.Deployment) (surge, unavailable int) {
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return 0, 0
	}
	wanted := 1
	if d.Spec.Replicas != nil {
		wanted = int(*d.Spec.Replicas)
	}
	quarter := intstr.FromString("25%")
	maxSurge, maxUnavailable := &quarter, &quarter
	if r := d.Spec.Strategy.RollingUpdate; r != nil {
		maxSurge, maxUnavailable = cmp.Or(r.MaxSurge, maxSurge), cmp.Or(r.MaxUnavailable, maxUnavailable)
	}
	surge, _ = intstr.GetScaledValueFromIntOrPercent(maxSurge, wanted, true)
	unavailable, _ = intstr.GetScaledValueFromIntOrPercent(maxUnavailable, wanted, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, min(unavailable, wanted)
}
