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

// steady is how long a replica must have run before one that it replaces is let go for it. A program that ends as soon
// as it has read its configuration has been running, too, and without a pause it would take the place of all that serve.
// Kubernetes leaves that to probes and minReadySeconds; Docker Swarm watches an update for as long as this.
const steady = 5 * time.Second

// Decide is what has to be decided for one Deployment, in the given state and at the given time, so that its
// replicas become what it says: pure. hosts are those that may be given replicas.
//
// It follows the rules of Kubernetes' Deployment controller (kubernetes/pkg/controller/deployment, rolling.go): at
// most maxSurge replicas more than wanted, at least wanted-maxUnavailable available ones, and what is broken goes
// first. It differs in that a replica must have run for 5 s before an old one goes for it. When the changes are recorded
// there may be more to decide. wake is when to ask again although nothing happened; zero: there is no need. With an error
// there are no changes.
func Decide(s *projection.State, namespace, name string, hosts []string, now time.Time) (changes []projection.Change, wake time.Time, err error) {
	return newPass(s, hosts, now).decide(namespace, name)
}

func (p *pass) decide(namespace, name string) (changes []projection.Change, wake time.Time, err error) {
	o, ok := p.state.Lookup(projection.DeploymentKey(namespace, name))
	if !ok {
		return forget(p.state, namespace, name), time.Time{}, nil
	}
	r, err := Of(p.state, o, p.now)
	if err != nil {
		return nil, time.Time{}, err
	}
	d := &decision{pass: p, rollout: r, wanted: r.Wanted()}
	for i := range r.Replicas {
		switch rep := &r.Replicas[i]; {
		case !r.owns(rep): // of a Deployment of that name that was deleted since
			d.drop(rep)
		case rep.Updated:
			d.updated = append(d.updated, rep)
		default:
			d.old = append(d.old, rep)
		}
	}
	switch {
	case r.Deployment.Spec.Paused:
		d.scalePaused()
	case r.Deployment.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		err = d.recreate()
	default:
		err = d.roll()
	}
	if err != nil {
		return nil, time.Time{}, err
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
	pass         *pass
	rollout      *Rollout
	wanted       int
	updated, old []*Replica
	changes      []projection.Change
	taken        map[int]bool // ordinals that are placed, or whose container is still there
}

func (d *decision) drop(r *Replica) {
	d.changes = append(d.changes, projection.Change{Kind: events.Decided, Key: r.PlacementKey(), For: d.rollout.Object.Stamp})
}

// retry decides again where no host could take a replica before, and that is still wanted: it comes last.
func (d *decision) retry() {
	dropped := map[string]bool{}
	for _, c := range d.changes {
		dropped[c.Key] = true
	}
	for _, r := range slices.Concat(d.updated, d.old) {
		if r.Host == "" && !dropped[r.PlacementKey()] {
			if host, why := d.pass.host(r.Pod, r.Template); host != "" || why != r.Why {
				d.put(r.Pod, r.Template, r.SpecHash, host, why)
			}
		}
	}
}

// roll takes one step of a rolling update, or of plain scaling when there is nothing to update.
func (d *decision) roll() error {
	surge, unavailable := bounds(d.rollout.Deployment)
	total := len(d.updated) + len(d.old)
	if err := d.create(min(d.wanted-len(d.updated), d.wanted+surge-total)); err != nil {
		return err
	}
	d.updated = d.scaleDown(d.updated, d.wanted)

	// What may go: old replicas that are broken cost nothing, as long as new ones that have not stayed up yet are not
	// counted as serving; then old ones that serve, while enough others do.
	available, notReady := 0, 0
	for _, r := range d.old {
		if r.Available {
			available++
		}
	}
	for _, r := range d.updated {
		if d.steady(r) {
			available++
		} else {
			notReady++
		}
	}
	least := d.wanted - unavailable
	budget := len(d.updated) + len(d.old) - least - notReady
	worstFirst(d.old)
	for _, r := range d.old {
		switch {
		case !r.Available && budget > 0:
			budget--
			d.drop(r)
		case r.Available && available > least:
			available--
			d.drop(r)
		}
	}
	return nil
}

// steady reports whether the new replica is one that old ones may go for.
func (d *decision) steady(r *Replica) bool {
	if !r.Available {
		return false
	}
	since := r.Seen.Started.Add(steady)
	if len(d.old) > 0 {
		d.rollout.wakeAt(since)
	}
	return !since.After(d.pass.now)
}

// recreate lets every old replica go, and begins with the new ones once their containers are gone.
func (d *decision) recreate() error {
	for _, r := range d.old {
		d.drop(r)
	}
	if going := len(d.changes) > 0 || len(d.rollout.Gone) > 0; going && len(d.updated) == 0 {
		return nil
	}
	d.updated = d.scaleDown(d.updated, d.wanted)
	return d.create(d.wanted - len(d.updated))
}

// scalePaused scales a paused Deployment, whose template must not be rolled out, with the template that runs. One of
// which nothing runs gets nothing until it is resumed.
func (d *decision) scalePaused() {
	all := slices.Concat(d.old, d.updated)
	if len(all) == 0 {
		return
	}
	newest := slices.MaxFunc(all, func(a, b *Replica) int { return a.Object.Stamp.Compare(b.Object.Stamp) })
	d.place(d.wanted-len(all), newest.Template, newest.SpecHash)
	d.scaleDown(all, d.wanted)
}

// worstFirst sorts replicas in the order in which they can best be spared.
func worstFirst(rs []*Replica) {
	rank := func(r *Replica) int {
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
	slices.SortFunc(rs, func(a, b *Replica) int { return cmp.Or(rank(a)-rank(b), b.Ordinal-a.Ordinal) })
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

// create places n replicas of what the Deployment now says.
func (d *decision) create(n int) error {
	if n <= 0 {
		return nil
	}
	template, err := templateOf(d.rollout.Object.Version.Object)
	if err == nil {
		d.place(n, template, d.rollout.SpecHash)
	}
	return err
}

func (d *decision) place(n int, template json.RawMessage, hash string) {
	for range min(n, burst) {
		pod := d.freePod()
		host, why := d.pass.host(pod, template)
		d.put(pod, template, hash, host, why)
	}
}

func (d *decision) put(pod projection.Pod, template json.RawMessage, hash, host, why string) {
	p := projection.Placement{Host: host, Owner: d.rollout.Object.UID, SpecHash: hash, Template: template, Why: why}
	d.changes = append(d.changes, projection.Change{
		Kind: events.Decided, Key: pod.PlacementKey(), For: d.rollout.Object.Stamp, Object: projection.Encode(p)})
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
